// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux/flags.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "app/console/understand.hpp"
#include "app/vmux/sets.hpp"
#include "base/text/format.hpp"
#include "base/text/printable.hpp"
#include "control/model/spec/kinds.hpp"
#include "control/version.hpp"

namespace vmux::app {
namespace {

using control::Json;
using control::Problem;

constexpr const char* kAbout =
    "vmux - network cards for virtual machines, served over vfio-user\n\n"
    "Each -s PATH is one VM: a NIC of the mode -m, served on the socket PATH. An option of -m, -d and -t that is given "
    "as\n"
    "often as -s is matched by order (the n-th with the n-th); one that is given less often belongs to the -s before "
    "it.\n"
    "A port is named after its socket: vm0 for /tmp/vm0.sock. Ports without -t join one switch in memory;\n"
    "those with the same -t share a switch with that tap as uplink. More ports, switches and uplinks can be added at "
    "run time with vmuxctl(1).";

constexpr const char* kExamples =
    "Examples:\n"
    "  vmux -s /tmp/vm0.sock -m e1000-emu -s /tmp/vm1.sock -m e1000-emu    two VMs on one switch\n"
    "  vmux -s /tmp/vm0.sock -m e1000-emu -t tap0                          a VM and the host\n"
    "  vmux --config /etc/vmux/vmux.toml\n"
    "Exit status: 0 after a clean stop, 1 when the machine refused something, 2 for a usage error. See vmux(8).";

/// An option that sets one value of the daemon: each of the tables of the configuration file.
struct ValueOption {
  const control::OptionText* text;
  bool is_poller;  // of [pollers], else of [daemon]
  std::string written;
  CLI::Option* option = nullptr;
  [[nodiscard]] std::string shown() const {  // "--base-mac" of "-b,--base-mac"
    const std::string flags = control::flags_of(*text);
    return flags.substr(flags.find("--"));
  }
};

std::vector<ValueOption> value_options() {
  std::vector<ValueOption> all;
  for (const control::KindText& table : control::setting_tables()) {
    for (const control::OptionText* text : table.options)
      all.push_back({text, table.name == std::string_view{"pollers"}, {}});
  }
  return all;
}

/// The flag that stands for a parameter of a step.
constexpr auto kStepFlags = std::to_array<std::pair<std::string_view, std::pair<const char*, const char*>>>({
    // parameter      in port.add  in uplink.add and switch.add
    {"model", {"-m", "-m"}},
    {"socket", {"-s", "-s"}},
    {"device", {"-d", "-t"}},
    {"name", {"-s", "-t"}},
    {"switch", {"-t", "-t"}},
    {"backend", {"-t", "-t"}},
    {"mac", {"--base-mac", "--base-mac"}},
});

tl::unexpected<Exit> usage(const std::string& text) {
  return tl::unexpected<Exit>(usage_error("vmux", text, /*as_json=*/false));
}

std::string with_flag(const Problem& problem) {
  for (const ValueOption& option : value_options()) {
    if (problem.field == option.text->name) return fmt::format("{}: {}", option.shown(), problem.text);
  }
  return control::text_of(problem);
}

std::string with_flag(const control::StepProblem& found) {
  const Problem& problem = found.problem;
  const control::Step& step = *found.step;
  if (!step.from_flags) return fmt::format("{}: {}", control::place_of(step, problem), control::text_of(problem));
  for (const auto& [field, flags] : kStepFlags) {
    if (problem.field != field) continue;
    return fmt::format("{} (for {}): {}", step.method == "port.add" ? flags.first : flags.second, step.where,
                       problem.text);
  }
  return fmt::format("{}: {}", step.where, control::text_of(problem));
}

class Parser {
 public:
  explicit Parser(const control::Catalogue& catalogue) : catalogue_(catalogue) {}
  tl::expected<Flags, Exit> parse(const std::vector<std::string>& arguments, const Screen& screen);

 private:
  void declare();
  void collect();
  tl::expected<void, Exit> apply_values();
  tl::expected<void, Exit> add_steps();
  std::string switch_of_tap(const std::string& tap, const std::string& where);
  [[nodiscard]] std::string name_for(const std::string& socket) const;

  const control::Catalogue& catalogue_;
  CLI::App app_{kAbout, "vmux"};
  std::array<CLI::Option*, 4> set_options_{};
  std::array<std::vector<std::string>, 4> set_values_;
  std::vector<ValueOption> values_ = value_options();  // CLI11 writes into it
  std::string config_;
  CLI::Option* config_option_ = nullptr;
  std::vector<Occurrence> occurrences_;
  Flags flags_;
};

constexpr std::string_view kSetLetters = "smdt";

void Parser::declare() {
  app_.set_version_flag("-V,--version", fmt::format("vmux {}", control::version()));
  app_.footer(kExamples);
  app_.add_option("-s,--socket", set_values_[0], "vfio-user socket of a VM")->type_name("PATH");
  app_.add_option("-m,--mode", set_values_[1],
                  fmt::format("what the VM gets (default e1000-emu); built: {}; known: {}",
                              catalogue_.built_model_names(), catalogue_.model_names()))
      ->type_name("MODE");
  app_.add_option("-d,--device", set_values_[2], "PCI address of the physical NIC behind it, or none")
      ->type_name("PCI");
  app_.add_option("-t,--tap", set_values_[3], "tap interface that its switch reaches the host by, or none")
      ->type_name("IF");
  for (std::size_t i = 0; i < set_options_.size(); ++i) {
    set_options_[i] = app_.get_option(fmt::format("-{}", kSetLetters[i]));
    set_options_[i]->expected(1)->take_all()->allow_extra_args(false);  // "-s a b" is not two sockets
  }
  config_option_ =
      app_.add_option("-c,--config", config_, "configuration file (TOML); flags come on top of it")->type_name("FILE");
  for (ValueOption& each : values_) {
    const std::string flags = control::flags_of(*each.text), help = control::help_of(*each.text);
    each.option = *each.text->type == '\0' ? app_.add_flag(flags, help)->disable_flag_override()
                                           : app_.add_option(flags, each.written, help)->type_name(each.text->type);
  }
  app_.add_flag("--check", flags_.only_check, "check flags and configuration, start nothing")->disable_flag_override();
  auto* const keeper = app_.add_flag("--keeper", flags_.is_keeper,
                                     "start the daemon, and when it dies the next one, which goes on where it was");
  keeper->disable_flag_override();
  app_.add_flag("--standby", flags_.has_standby, "with --keeper: have the next daemon started beforehand")
      ->disable_flag_override()
      ->needs(keeper);
}

void Parser::collect() {
  std::array<std::size_t, 4> seen{};
  for (const CLI::Option* option : app_.parse_order()) {
    for (std::size_t i = 0; i < set_options_.size(); ++i) {
      if (option == set_options_[i]) occurrences_.push_back({kSetLetters[i], set_values_[i].at(seen[i]++)});
    }
  }
}

tl::expected<void, Exit> Parser::apply_values() {
  control::DaemonSpec& daemon = flags_.configuration.daemon;
  Json of_daemon = Json::object();
  Json of_pollers = Json::object();
  for (const ValueOption& each : values_) {
    if (each.option->count() == 0) continue;
    Json& table = each.is_poller ? of_pollers : of_daemon;
    const bool is_switch = *each.text->type == '\0';
    table[each.text->name] = is_switch ? Json(true) : control::from_word(each.text->form, each.written);
  }
  if (auto done = control::apply_daemon(of_daemon, daemon); !done) return usage(with_flag(done.error()));
  if (auto done = control::apply_pollers(of_pollers, daemon.pollers); !done) return usage(with_flag(done.error()));
  if (auto done = control::settle(daemon); !done) return usage(with_flag(done.error()));
  return {};
}

/// The socket's file name without its ending (vm0 for /tmp/vm0.sock); vm0, vm1, ... when that is taken or no name.
std::string Parser::name_for(const std::string& socket) const {
  const auto& steps = flags_.configuration.steps;
  const auto is_free = [&steps](const std::string& name) {
    return std::none_of(steps.begin(), steps.end(),
                        [&name](const control::Step& step) { return step.params.value("name", Json()) == name; });
  };
  std::string name = std::filesystem::path{socket}.stem().string();
  if (control::is_name(name) && is_free(name)) return name;
  for (std::size_t index = 0;; ++index) {
    name = fmt::format("vm{}", index);
    if (is_free(name)) return name;
  }
}

/// The switch that a tap is the uplink of, from the file or an earlier flag; a new one named like the tap otherwise.
std::string Parser::switch_of_tap(const std::string& tap, const std::string& where) {
  auto& steps = flags_.configuration.steps;
  for (const control::Step& step : steps) {
    if (step.method != "uplink.add" || step.params.value("backend", Json()) != "tap") continue;
    if (step.params.value("device", Json()) != tap) continue;
    const Json name = step.params.value("switch", Json(control::kDefaultSwitch));
    return name.is_string() ? name.get<std::string>() : tap;
  }
  steps.push_back({"switch.add", Json{{"name", tap}}, where, true});
  steps.push_back(
      {"uplink.add", Json{{"name", tap}, {"switch", tap}, {"backend", "tap"}, {"device", tap}}, where, true});
  return tap;
}

tl::expected<void, Exit> Parser::add_steps() {
  const auto sets = match_sets(occurrences_);
  if (!sets) return usage(sets.error());
  for (const VmSet& set : *sets) {
    const std::string where = "-s " + set.socket;
    if (set.device && !set.mode)
      return usage(fmt::format("-d (for {}): expected a -m that uses a device as well", where));
    const auto switch_name = set.tap ? std::optional{switch_of_tap(*set.tap, where)} : std::nullopt;
    Json params{{"name", name_for(set.socket)}, {"model", set.mode.value_or("e1000-emu")}, {"socket", set.socket}};
    if (switch_name) params["switch"] = *switch_name;
    if (set.device) params["device"] = *set.device;
    flags_.configuration.steps.push_back({"port.add", std::move(params), where, true});
  }
  return {};
}

tl::expected<Flags, Exit> Parser::parse(const std::vector<std::string>& arguments, const Screen& screen) {
  declare();
  if (auto exit = app::parse(app_, arguments, screen)) return tl::unexpected<Exit>(std::move(*exit));
  collect();
  if (config_option_->count() > 0) {
    if (config_.empty()) return usage("--config: expected the path of a file, got ''");
    flags_.file = config_;
    auto loaded = control::load_configuration(config_, flags_.configuration);
    if (!loaded) return usage(fmt::format("--config: {}", control::text_of(loaded.error())));
  }
  if (auto done = apply_values(); !done) return tl::unexpected<Exit>(done.error());
  if (auto done = add_steps(); !done) return tl::unexpected<Exit>(done.error());
  if (auto done = control::rehearse(flags_.configuration, catalogue_); !done) return usage(with_flag(done.error()));
  return std::move(flags_);
}

}  // namespace

tl::expected<Flags, Exit> parse_flags(const std::vector<std::string>& arguments, const control::Catalogue& catalogue,
                                      const Screen& screen) {
  return Parser{catalogue}.parse(arguments, screen);
}

}  // namespace vmux::app
