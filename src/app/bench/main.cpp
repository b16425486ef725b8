// SPDX-License-Identifier: BSD-3-Clause
// vmux-bench: measures vMux beside a reference, in one run, and prints both sides and the ratio.
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "app/bench/benches.hpp"
#include "app/bench/crowd.hpp"
#include "app/console/understand.hpp"
#include "app/number_option.hpp"
#include "base/text/format.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::bench {
namespace {

struct Bench {
  Result<Report> (*run)(const Options&);
  unsigned rounds;  ///< unless told otherwise
  const char* help;
};

int print(const Result<Report>& report, bool as_json) {
  if (!report) {
    const std::string text = report.error().text();
    return app::leave("vmux-bench",
                      {1, as_json ? app::error_line("host", text) : "", "vmux-bench: " + printable(text) + "\n"});
  }
  const std::string text = as_json ? report->to_json() + "\n" : report->to_table();
  return app::leave("vmux-bench", {0, text, ""});
}

/// Benchmarks that drive other programs are scripts of the source tree: they need its lab, or the programs built there.
/// An installation has those that do without (share/vmux/bench).
std::filesystem::path find_script(const char* name) {
  for (auto at = std::filesystem::read_symlink("/proc/self/exe").parent_path(); at != at.root_path();
       at = at.parent_path()) {
    for (const char* folder : {"bench", "share/vmux/bench"})
      if (auto script = at / folder / name; std::filesystem::is_regular_file(script)) return script;
  }
  return {};
}

int run_script(const char* name, const std::vector<std::string>& arguments) {
  const std::string script = find_script(name);
  if (script.empty()) {
    fmt::print(stderr, "vmux-bench: this needs the source tree (bench/{} and lab/): run it from a build in there\n",
               name);
    return 1;
  }
  std::vector<const char*> argv{script.c_str()};
  for (const std::string& argument : arguments)
    argv.push_back(argument.c_str());
  argv.push_back(nullptr);
  ::execv(script.c_str(), const_cast<char* const*>(argv.data()));
  fmt::print(stderr, "vmux-bench: cannot run {}: {}\n", script, std::strerror(errno));
  return 1;
}

/// Of the time stamp counter. 0: there is none.
double cycles_per_second() {
#if defined(__x86_64__)
  const std::uint64_t start_ns = monotonic_ns(), start = __rdtsc();
  while (monotonic_ns() - start_ns < 20'000'000) {
  }
  return static_cast<double>(__rdtsc() - start) * 1e9 / static_cast<double>(monotonic_ns() - start_ns);
#else
  return 0;
#endif
}

int print_distance(const std::vector<int>& cpus, bool as_json) {
  const auto distance = measure_distance(cpus[0], cpus[1]);
  if (!distance) return print(tl::unexpected(distance.error()), as_json);
  if (!as_json) {
    return app::leave("vmux-bench", {0, fmt::format("{:.0f} ns\n", *distance), ""});
  }
  Row row;
  row.name = "line there and back";
  row.bytes = 64;
  row.direction = fmt::format("CPU {} to {}", cpus[0], cpus[1]);
  row.unit = "ns";
  row.ours = {*distance};
  Report report;
  report.benchmark = "distance";
  report.rows = {std::move(row)};
  return print(report, as_json);
}

struct ScriptOptions {
  unsigned rounds = 0;
  bool as_json = false;
  std::string model = "e1000";
  std::vector<std::string> rest;  ///< as the script takes them
};

/// Two rows of one script; the others are scripts of their own.
bool is_of_the_yardstick(const std::string& name) { return name == "nic" || name == "switch"; }
bool is_of_a_model(const std::string& name) { return is_of_the_yardstick(name) || name == "ports" || name == "guests"; }

int run_named_script(const std::string& name, const ScriptOptions& options) {
  std::vector<std::string> arguments;
  if (is_of_a_model(name)) arguments = {"--model", options.model};
  if (is_of_the_yardstick(name)) {
    arguments.insert(arguments.begin(), name);
    if (const double hertz = cycles_per_second(); hertz > 0) arguments.push_back(fmt::format("--hertz={:.0f}", hertz));
  }
  if (options.rounds > 0) arguments.insert(arguments.end(), {"--rounds", std::to_string(options.rounds)});
  if (options.as_json) arguments.emplace_back("--json");
  arguments.insert(arguments.end(), options.rest.begin(), options.rest.end());
  return run_script(is_of_the_yardstick(name) ? "yardstick" : name.c_str(), arguments);
}

/// Scripts whose options are their own, so that they are not parsed here.
bool has_its_own_options(const std::string& name) { return name == "vm" || name == "compare"; }

/// `NAME ...` or `help NAME ...`: what stands behind it.
std::optional<std::vector<std::string>> words_behind(const std::string& name, const std::vector<std::string>& written,
                                                     const std::vector<std::string>& commands) {
  const bool asks_for_help = !written.empty() && written.front() == "help";
  const std::size_t at = asks_for_help ? 1 : 0;
  if (written.size() <= at || app::command_of(written[at], commands, "vmux-bench") != name) return std::nullopt;
  std::vector<std::string> words{written.begin() + static_cast<std::ptrdiff_t>(at) + 1, written.end()};
  if (asks_for_help) words.emplace_back("--help");
  return words;
}

int main_of(const std::vector<std::string>& written) {
  CLI::App app{"Measures vMux beside a reference, in one run on one machine, and prints both sides and the ratio.",
               "vmux-bench"};
  app.require_subcommand(1);
  ScriptOptions script;
  bool& as_json = script.as_json;
  unsigned& rounds = script.rounds;
  app.add_flag("--json", as_json, "print one JSON object instead of a table");
  app.add_option("--rounds", rounds,
                 "interleaved rounds of each side (default: rtt, dma 100; forward, rules 7; guests, passthrough 3; "
                 "limits 1; nic, "
                 "switch, ports 5)")
      ->transform(app::number(1, 1000));
  app.fallthrough();
  const std::map<std::string, Bench> in_process = {
      {"rtt", {run_rtt, 100, "register read round trip, beside an AF_UNIX ping-pong of the same bytes"}},
      {"dma", {run_dma, 100, "DMA map + unmap of 4 KiB windows of one file, beside the same ping-pong"}},
      {"forward",
       {run_forward, 7, "frames between two e1000 ports through the switch, beside bare copies between their rings"}},
      {"rules",
       {run_rules, 7,
        "frames under 1000 rules of a switch, beside the same without: known flows, many, and new ones alone"}},
  };
  for (const auto& [name, bench] : in_process)
    app.add_subcommand(name, bench.help);
  const std::map<std::string, const char*> scripts = {
      {"guests", "iperf3 and ping between two guests, beside the same guests on QEMU's own e1000"},
      {"passthrough", "a virtual function through vMux, beside its twin on QEMU's vfio-pci, in a host VM"},
      {"nic", "DPDK's driver of a model against vMux, beside DPDK's virtio-user against its vhost"},
      {"switch", "the same driver on two ports that the switch joins, beside testpmd joining two vhost ports"},
      {"survive",
       "what VMs see when their daemon is upgraded or killed, beside a vhost front end that reconnects (--help)"},
      {"limits", "how near limits of ports are to what was asked for (-- --seconds S)"},
      {"ports", "what a frame costs with 64 ports attached, beside one alone; and what 64 idle ports cost"},
  };
  for (const auto& [name, help] : scripts) {
    CLI::App* const command = app.add_subcommand(name, help);
    if (is_of_a_model(name)) command->add_option("--model", script.model, "vMux's model (default e1000)");
    command->add_option("rest", script.rest, "more options of the script, behind --: see its --help");
  }
  app.add_subcommand("vm",
                     "any VM: traffic, CPU, interrupts, IOMMU, a profile; kept and compared (vmux-bench vm --help)");
  app.add_subcommand("compare", "two builds of vMux in turn: is the new one as fast? (vmux-bench compare --help)");
  std::vector<int> cpus{0, 1};
  app.add_subcommand("distance", "what a cache line takes from one CPU to another and back")
      ->add_option("cpus", cpus, "the two (default 0 1)")
      ->transform(app::number(0, kMostCpus - 1))
      ->expected(2);
  CrowdOptions crowd;
  CLI::App* const crowd_command =
      app.add_subcommand("crowd", "VMs' cards with traffic, for `survive` and for tests: commands on its input");
  crowd_command->add_option("directory", crowd.directory, "of their sockets")->required();
  crowd_command->add_option("--ports", crowd.ports, "an even number: they send to each other")
      ->transform(app::number(2, 254));
  crowd_command->add_option("--memory", crowd.memory_mib, "MiB of touched memory, of all together")
      ->transform(app::number(1, 65536));
  crowd_command->add_option("--interval", crowd.interval_us, "us between two frames of a port")
      ->transform(app::number(1, 1000000));
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands({}))
    commands.push_back(command->get_name());
  for (const std::string& name : commands) {
    if (!has_its_own_options(name)) continue;
    if (const auto words = words_behind(name, written, commands)) return run_script(name.c_str(), *words);
  }
  if (const auto exit = app::parse(app, written, app::screen_of_stdout())) return app::leave("vmux-bench", *exit);
  const std::string name = app.get_subcommands().front()->get_name();
  if (has_its_own_options(name))  // behind an option of ours, of which they have --json too
    return run_script(name.c_str(), as_json ? std::vector<std::string>{"--json"} : std::vector<std::string>{});
  if (scripts.count(name) != 0) return run_named_script(name, script);
  if (name == "distance") return print_distance(cpus, as_json);
  if (name == "crowd") return run_crowd(crowd);
  const bool show = ::isatty(STDERR_FILENO) == 1;
  const Bench& bench = in_process.at(name);
  Options options{.rounds = rounds == 0 ? bench.rounds : rounds,
                  .progress = [&](const std::string& what, unsigned round) {
                    if (show) fmt::print(stderr, "\r{} {}: round {} ...   ", name, what, round + 1);
                  }};
  const auto report = bench.run(options);
  if (show) fmt::print(stderr, "\r\033[K");
  return print(report, as_json);
}

}  // namespace
}  // namespace vmux::bench

int main(int argc, char** argv) { return vmux::bench::main_of({argv + 1, argv + argc}); }
