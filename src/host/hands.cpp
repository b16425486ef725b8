// SPDX-License-Identifier: BSD-3-Clause
#include "host/hands.hpp"

#include "base/format.hpp"
#include "host/values.hpp"

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

Outcome<> Hands::write(const std::string& path, const std::string& value) {
  if (auto done = try_write(path, value); !done)
    return refuse(fmt::format("write '{}' to {}", value, path), done.error());
  return {};
}

Result<> Hands::try_write(const std::string& path, const std::string& value) {
  const bool is_plain = value.find_first_of(" \t\n\"'$\\*?;&|<>()") == std::string::npos && !value.empty();
  deeds_.push_back(fmt::format("echo {} > {}", is_plain ? value : "'" + value + "'", path));
  if (is_rehearsal_) return {};
  // sysfs takes an empty write for none at all; a line end is what `echo` gives it.
  auto done = machine_.write(path, value + "\n");
  if (!done) deeds_.pop_back();
  return done;
}

Outcome<> Hands::load_module(const std::string& name) {
  deeds_.push_back("modprobe " + name);
  if (is_rehearsal_) return {};
  Ran ran = machine_.run({"modprobe", name});
  if (ran.status == 127) ran = machine_.run({"/sbin/modprobe", name});  // an ordinary user's PATH
  if (ran.status == 0) return {};
  return refuse(Errc::not_found,
                fmt::format("cannot load the module {}: {}", name,
                            ran.out.empty() ? "modprobe failed" : ran.out.substr(0, ran.out.find('\n'))));
}

Outcome<> Hands::set_vf(const std::string& interface, unsigned vf, const VfSettings& settings) {
  deeds_.push_back(vf_command(interface, vf, settings));
  if (is_rehearsal_) return {};
  if (auto done = machine_.network().set_vf(interface, vf, settings); !done)
    return refuse(fmt::format("set virtual function {} of {}", vf, interface), done.error());
  return {};
}

Outcome<> Hands::set_up(const std::string& interface, bool up) {
  deeds_.push_back(fmt::format("ip link set {} {}", interface, up ? "up" : "down"));
  if (is_rehearsal_) return {};
  if (auto done = machine_.network().set_up(interface, up); !done)
    return refuse(fmt::format("set {} {}", interface, up ? "up" : "down"), done.error());
  return {};
}

Outcome<> Hands::mount_hugepages(const std::string& path, std::uint64_t size_kib) {
  const std::string size = size_text(size_kib);
  deeds_.push_back(fmt::format("mkdir -p {0} && mount -t hugetlbfs -o pagesize={1} hugetlbfs {0}", path, size));
  if (is_rehearsal_) return {};
  if (auto done = machine_.mount_hugepages(path, size); !done)
    return refuse(fmt::format("mount huge pages of {} at {}", size, path), done.error());
  return {};
}

Outcome<> Hands::unmount(const std::string& path) {
  deeds_.push_back("umount " + path);
  if (is_rehearsal_) return {};
  if (auto done = machine_.unmount(path); !done) return refuse("unmount " + path, done.error());
  return {};
}

}  // namespace vmux::host
