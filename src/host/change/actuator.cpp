// SPDX-License-Identifier: BSD-3-Clause
#include "host/change/actuator.hpp"

#include <algorithm>

#include "base/text/format.hpp"
#include "base/text/words.hpp"
#include "host/look/function.hpp"
#include "host/machine/values.hpp"

namespace vmux::host {
namespace {

const char* on_off(bool value) { return value ? "on" : "off"; }

/// As ip-link(8) spells it.
std::string vf_command(const std::string& interface, unsigned vf, const VfSettings& settings) {
  std::string text = fmt::format("ip link set {} vf {}", interface, vf);
  if (settings.mac) text += " mac " + *settings.mac;
  if (settings.vlan) text += fmt::format(" vlan {}", *settings.vlan);
  if (settings.qos && settings.vlan) text += fmt::format(" qos {}", *settings.qos);
  if (settings.is_trusted) text += fmt::format(" trust {}", on_off(*settings.is_trusted));
  if (settings.checks_spoofing) text += fmt::format(" spoofchk {}", on_off(*settings.checks_spoofing));
  constexpr const char* kStates[] = {"auto", "enable", "disable"};
  if (settings.link) text += fmt::format(" state {}", kStates[static_cast<unsigned>(*settings.link)]);
  return text;
}

}  // namespace

Outcome<> Actuator::write(const std::string& path, const std::string& value) {
  if (auto done = try_write(path, value); !done)
    return refuse(fmt::format("write '{}' to {}", value, path), done.error());
  return {};
}

Result<> Actuator::try_write(const std::string& path, const std::string& value) {
  const bool is_plain = value.find_first_of(" \t\n\"'$\\*?;&|<>()") == std::string::npos && !value.empty();
  actions_.push_back(fmt::format("echo {} > {}", is_plain ? value : "'" + value + "'", path));
  if (is_rehearsal_) return {};
  // sysfs takes an empty write for none at all; a line end is what `echo` gives it.
  auto done = machine_.write(path, value + "\n");
  if (!done) actions_.pop_back();
  return done;
}

Result<> Actuator::set_vf_count(const std::string& path, const std::string& count) {
  actions_.push_back(fmt::format("echo {} > {}", count, path));
  if (is_rehearsal_) return {};
  return patiently(machine_, "the driver, which is not ready to make virtual functions",
                   [&] { return machine_.write(path, count + "\n"); });
}

Ran Actuator::modprobe(const std::vector<std::string>& arguments) {
  std::vector<std::string> all{"modprobe"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  Ran ran = machine_.run(all);
  all.front() = "/sbin/modprobe";  // not in an ordinary user's PATH
  return ran.status == 127 ? machine_.run(all) : ran;
}

Outcome<> Actuator::require_driver(const std::string& name) {
  const std::vector<std::string> present = machine_.list(kPciDrivers);
  if (std::find(present.begin(), present.end(), name) != present.end()) return {};
  std::string dashed = name;
  std::replace(dashed.begin(), dashed.end(), '_', '-');
  // vfio_pci is a module, the driver that it brings is vfio-pci.
  const bool is_modules_name = std::find(present.begin(), present.end(), dashed) != present.end();
  // What is not there can come with its module, unless modprobe would find none either. 127: there is no modprobe.
  const int status = modprobe({"--dry-run", "--quiet", name}).status;
  if ((status == 0 || status == 127) && !is_modules_name) return {};
  return refuse(Errc::not_found,
                fmt::format("this kernel has no driver {} for PCI functions{}{}", name,
                            is_modules_name ? "" : ", and no module of that name", did_you_mean(name, present)));
}

Outcome<> Actuator::load_driver(const std::string& name) {
  if (machine_.exists(kPciDrivers + name)) return {};
  if (auto done = require_driver(name); !done) return done;
  actions_.push_back("modprobe " + name);
  if (is_rehearsal_) return {};
  const Ran ran = modprobe({name});
  if (ran.status != 0)
    return refuse(Errc::not_found,
                  fmt::format("cannot load the module {}: {}", name,
                              ran.out.empty() ? "modprobe failed" : ran.out.substr(0, ran.out.find('\n'))));
  if (machine_.exists(kPciDrivers + name)) return {};
  return refuse(Errc::not_found,
                fmt::format("the module {} is loaded, but it brings no driver of that name for PCI functions{}", name,
                            did_you_mean(name, machine_.list(kPciDrivers))));
}

Outcome<> Actuator::set_vf(const std::string& interface, unsigned vf, const VfSettings& settings) {
  actions_.push_back(vf_command(interface, vf, settings));
  if (is_rehearsal_) return {};
  // i40e says EAGAIN and ice EBUSY while they reset it, as they do after it was made or given another driver.
  const auto done = patiently(machine_, fmt::format("virtual function {} of {}, which is being reset", vf, interface),
                              [&] { return machine_.network().set_vf(interface, vf, settings); });
  if (!done) return refuse(fmt::format("set virtual function {} of {}", vf, interface), done.error());
  return {};
}

Outcome<> Actuator::set_up(const std::string& interface, bool up) {
  actions_.push_back(fmt::format("ip link set {} {}", interface, up ? "up" : "down"));
  if (is_rehearsal_) return {};
  if (auto done = machine_.network().set_up(interface, up); !done)
    return refuse(fmt::format("set {} {}", interface, up ? "up" : "down"), done.error());
  return {};
}

Outcome<> Actuator::mount_hugepages(const std::string& path, std::uint64_t size_kib) {
  const std::string size = size_text(size_kib);
  actions_.push_back(fmt::format("mkdir -p {0} && mount -t hugetlbfs -o pagesize={1} hugetlbfs {0}", path, size));
  if (is_rehearsal_) return {};
  if (auto done = machine_.mount_hugepages(path, size); !done)
    return refuse(fmt::format("mount huge pages of {} at {}", size, path), done.error());
  return {};
}

Outcome<> Actuator::unmount(const std::string& path) {
  actions_.push_back("umount " + path);
  if (is_rehearsal_) return {};
  if (auto done = machine_.unmount(path); !done) return refuse("unmount " + path, done.error());
  return {};
}

}  // namespace vmux::host
