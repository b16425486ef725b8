// SPDX-License-Identifier: BSD-3-Clause
#include "host/machine/openers.hpp"

#include <set>

#include "base/text/format.hpp"
#include "host/machine/values.hpp"

namespace vmux::host {

void Openers::watch_file(const std::string& file, const std::string& number) {
  const std::string what = "has " + file + " open";
  links_.emplace(file, what);
  if (!number.empty()) numbers_.emplace(number, what);
}

void Openers::watch_socket(std::uint64_t inode, std::string what) {
  links_.emplace(fmt::format("socket:[{}]", inode), std::move(what));
}

std::vector<std::string> Openers::find(const Machine& machine) const {
  std::vector<std::string> users;
  if (links_.empty()) return users;
  std::set<std::string> seen;
  const std::string self = machine.link("/proc/self");
  for (const std::string& process : machine.list("/proc")) {
    if (!parse_decimal(process) || process == self) continue;
    const std::string fds = "/proc/" + process + "/fd/";
    std::set<std::string> theirs;
    for (const std::string& fd : machine.list(fds)) {
      const std::string link = machine.target(fds + fd);
      auto found = links_.find(link);
      // Only of devices: asking about a file of a network file system may take for ever.
      if (found == links_.end() && link.rfind("/dev/", 0) == 0) {
        found = numbers_.find(machine.device_number(fds + fd));
        if (found == numbers_.end()) continue;
      }
      if (found == links_.end()) continue;
      theirs.insert(found->second);
      seen.insert(link);
    }
    for (const std::string& what : theirs)
      users.push_back(fmt::format("process {} ({}) {}", process, machine.text("/proc/" + process + "/comm"), what));
  }
  for (const auto& [link, what] : links_) {
    if (link.rfind("socket:", 0) == 0 && seen.count(link) == 0)
      users.push_back("a program that cannot be seen from here " + what);
  }
  return users;
}

}  // namespace vmux::host
