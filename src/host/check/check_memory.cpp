// SPDX-License-Identifier: BSD-3-Clause
// Memory for VMs: huge pages, and how much of it may be pinned; and how many files may be open.

#include <algorithm>

#include "base/descriptor_limit.hpp"
#include "base/text/format.hpp"
#include "host/check/checkup.hpp"

namespace vmux::host {
namespace {

constexpr const char* kNodes = "/sys/devices/system/node";

/// Directories that hold hugepages-*kB, with what to call them: every node, or the machine.
std::vector<std::pair<std::string, std::string>> places(const Machine& machine) {
  std::vector<std::pair<std::string, std::string>> found;
  for (const std::string& name : machine.list(kNodes)) {
    const std::string path = fmt::format("{}/{}/hugepages", kNodes, name);
    if (name.rfind("node", 0) == 0 && machine.exists(path)) found.emplace_back("node " + name.substr(4), path);
  }
  if (found.empty()) found.emplace_back("the machine", "/sys/kernel/mm/hugepages");
  return found;
}

/// A line of /proc/self/limits: numbers or "unlimited"; "" if it cannot be read.
struct Limit {
  std::string soft, hard;
};
Limit limit_of(const Machine& machine, std::string_view name) {
  for (const std::string& line : lines(machine.text("/proc/self/limits"))) {
    if (line.compare(0, name.size(), name) != 0) continue;
    const std::vector<std::string> parts = words(line.substr(name.size()));
    if (parts.size() >= 2) return {parts[0], parts[1]};
  }
  return {};
}

}  // namespace

void check_hugepages(Checkup& c) {
  std::uint64_t sum = 0;
  for (const auto& [place, path] : places(c.machine)) {
    std::string text;
    for (const std::string& name : c.machine.list(path)) {  // hugepages-2048kB
      const auto size = parse_size_kib(std::string_view{name}.substr(std::min(name.size(), sizeof "hugepages-" - 1)));
      const std::uint64_t total = c.machine.number(path + "/" + name + "/nr_hugepages").value_or(0);
      const std::uint64_t free = c.machine.number(path + "/" + name + "/free_hugepages").value_or(0);
      sum += total;
      text += fmt::format("{}{} of {} ({} free)", text.empty() ? "" : ", ", total, size_text(size.value_or(0)), free);
    }
    if (sum > 0) c.good(fmt::format("{}: {}", place, text));
  }
  if (sum == 0)
    c.warn("none: each VM's memory is mapped into the IOMMU in small pages",
           "`vmuxctl host hugepages 1024 --size 2M` for 2 GiB; for good " + c.add_parameter("hugepages=1024"));
}

void check_memlock(Checkup& c) {
  constexpr unsigned kCapIpcLock = 14;  // linux/capability.h
  const auto effective = parse_hex(field(c.machine.text("/proc/self/status"), "CapEff"));
  const std::string limit = limit_of(c.machine, "Max locked memory").soft;
  if (limit.empty()) return c.unknown("the limits cannot be read", "");
  if ((effective.value_or(0) >> kCapIpcLock & 1) != 0) return c.good("this process may pin any amount");
  if (limit == "unlimited") return c.good("unlimited");
  const std::uint64_t mib = parse_decimal(limit).value_or(0) >> 20;
  const std::string text =
      fmt::format("{} MiB: a device of a VM with more memory cannot be attached by this user", mib);
  const std::string mend =
      "`@kvm - memlock unlimited` in /etc/security/limits.d/vmux.conf, `LimitMEMLOCK=infinity` in a systemd unit";
  if (mib < 256) return c.bad(text, mend);
  c.warn(text, mend);
}

void check_open_files(Checkup& c) {
  const Limit limit = limit_of(c.machine, "Max open files");
  if (limit.hard.empty()) return c.unknown("the limits cannot be read", "");
  if (limit.hard == "unlimited") return c.good(fmt::format("unlimited (vmux raises {} to it)", limit.soft));
  const std::uint64_t ports = parse_decimal(limit.hard).value_or(0) / kDescriptorsPerPort;
  const std::string text =
      fmt::format("{} (vmux raises {} to it): some {} descriptors for each port with a VM, room for {} ports",
                  limit.hard, limit.soft, kDescriptorsPerPort, ports);
  if (ports >= 64) return c.good(text);
  const std::string mend =
      "`LimitNOFILE=524288` in a systemd unit, `* hard nofile 524288` in /etc/security/limits.d/vmux.conf";
  ports == 0 ? c.bad(text, mend) : c.warn(text, mend);
}

}  // namespace vmux::host
