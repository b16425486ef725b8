// SPDX-License-Identifier: BSD-3-Clause
// vmuxctl host vfs

#include <CLI/CLI.hpp>

#include "app/console/choice.hpp"
#include "app/number_option.hpp"
#include "app/vmuxctl/host/session.hpp"
#include "base/text/format.hpp"

namespace vmux::app {

using control::Json;
using host::Machine;
using host::Outcome;

namespace {

void add_switch(CLI::App& app, const char* name, std::optional<bool>& into, const char* help) {
  const auto take = [&into](const std::string& word) { into = word == "on"; };
  app.add_option_function<std::string>(name, take, help)->type_name("on|off")->check(one_of({"on", "off"}));
}

/// The address of the n-th function that is set; nullopt if none is asked for.
Outcome<std::optional<std::string>> mac_of(const HostArguments& arguments, std::size_t place, std::size_t count) {
  if (arguments.macs.empty()) return std::optional<std::string>{};
  const bool counts_up = arguments.macs.size() == 1;
  if (!counts_up && arguments.macs.size() != count)
    return host::refuse(Errc::invalid_argument,
                        fmt::format("--mac: {} addresses for {} virtual functions; give one, or one for each",
                                    arguments.macs.size(), count));
  const std::string& written = arguments.macs[counts_up ? 0 : place];
  const auto mac = parse_mac(written);
  if (!mac)
    return host::refuse(Errc::invalid_argument, fmt::format("--mac: expected {}, got '{}'", mac.error(), written));
  return std::optional{to_text(offset_mac(*mac, counts_up ? static_cast<unsigned>(place) : 0))};
}

host::VfEntry entry_of(const HostArguments& arguments) {
  host::VfEntry entry{{{}, {}, {}, arguments.trust, arguments.spoofchk, {}}, arguments.driver};
  if (arguments.vlan) entry.settings.vlan = static_cast<std::uint16_t>(*arguments.vlan);
  if (arguments.qos) entry.settings.qos = static_cast<std::uint8_t>(*arguments.qos);
  if (arguments.link == "auto") entry.settings.link = host::VfLink::automatic;
  if (arguments.link == "enable") entry.settings.link = host::VfLink::up;
  if (arguments.link == "disable") entry.settings.link = host::VfLink::down;
  return entry;
}

Outcome<std::map<unsigned, host::VfEntry>> entries_of(const HostArguments& arguments, unsigned count) {
  std::map<unsigned, host::VfEntry> entries;
  const unsigned first = arguments.index.value_or(0);
  const unsigned end = arguments.index ? first + 1 : count;
  for (unsigned index = first; index < end; ++index) {
    auto mac = mac_of(arguments, index - first, end - first);
    if (!mac) return pass(mac);
    entries[index] = entry_of(arguments);
    entries[index].settings.mac = std::move(*mac);
  }
  return entries;
}

bool sets_something(const HostArguments& a) {
  return a.vlan || a.qos || a.trust || a.spoofchk || !a.macs.empty() || !a.link.empty() || !a.driver.empty();
}

/// Settings that would be about none at all are no settings that are made.
Outcome<> require_some(const HostArguments& arguments, const host::PciFunction& physical) {
  if (!sets_something(arguments) || arguments.index || physical.physical || physical.max_vfs == 0) return {};
  if (arguments.count == 0u)
    return host::refuse(Errc::invalid_argument,
                        "with 0 virtual functions there is none to set: leave the settings out");
  if (arguments.count || physical.vfs > 0) return {};
  return host::refuse(Errc::not_found,
                      fmt::format("{0} has no virtual functions now: `vmuxctl host vfs {0} N` with the "
                                  "settings makes N of them",
                                  physical.address.text()));
}

}  // namespace

void declare_vfs(CLI::App& app, HostArguments& arguments) {
  app.add_option("PF", arguments.name, "physical function: PCI address or interface")->type_name("")->required();
  app.add_option("N", arguments.count, "how many there shall be; without it those that there are")
      ->type_name("")
      ->transform(number(0, 65535));
  app.add_option("--vf", arguments.index, "set this one only (default: all)")
      ->type_name("INDEX")
      ->transform(number(0, 65534));
  app.add_option("--mac", arguments.macs, "address of the first, the others count up; or one for each")
      ->type_name("MAC,...")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--vlan", arguments.vlan, "VLAN that the card adds and takes off, 0 for none")
      ->type_name("N")
      ->transform(number(0, 4094));
  app.add_option("--qos", arguments.qos, "priority in that VLAN's tag")->type_name("N")->transform(number(0, 7));
  add_switch(app, "--trust", arguments.trust, "let the VM change its address and hear everything");
  add_switch(app, "--spoofchk", arguments.spoofchk, "drop frames from other addresses than its own");
  app.add_option("--link", arguments.link, "its link: auto (the card's), enable or disable")
      ->type_name("STATE")
      ->check(one_of({"auto", "enable", "disable"}));
  app.add_option("--driver", arguments.driver, "give them to this driver, or none (default: the kernel's choice)")
      ->type_name("DRIVER");
  app.add_flag("--no-up", arguments.keeps_link,
               "do not set the physical function's interface up (VFs have no link without)");
}

Outcome<Json> run_vfs(Machine& machine, const HostArguments& arguments) {
  const auto physical = find_function(machine, arguments, arguments.name);
  if (!physical) return pass(physical);
  if (!arguments.count && !sets_something(arguments)) {
    const auto settings = host::vf_settings(machine, *physical);
    if (!settings) return pass(settings);
    return json_of(machine, *physical, *settings);
  }
  if (arguments.qos && !arguments.vlan) return host::refuse(Errc::invalid_argument, "--qos: a priority needs a --vlan");
  if (const auto done = require_some(arguments, *physical); !done) return pass(done);
  auto entries = entries_of(arguments, arguments.count.value_or(physical->vfs));
  if (!entries) return pass(entries);
  const host::VfsRequest request{physical->address.text(), arguments.count, std::move(*entries), !arguments.keeps_link};
  return in_session(machine, arguments, [&](host::Session& session) { return host::set_vfs(session, request); });
}

}  // namespace vmux::app
