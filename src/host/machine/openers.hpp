// SPDX-License-Identifier: BSD-3-Clause
// Programs that have one of some files or sockets open, found in one walk through /proc.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "host/machine/machine.hpp"

namespace vmux::host {

class Openers {
 public:
  /// A device's file, as programs usually name it, and its number ("" if it is not known), by which it is found under
  /// another name too (a container's, a chroot's).
  void watch_file(const std::string& file, const std::string& number);
  /// `what`: "has a packet socket on ens1".
  void watch_socket(std::uint64_t inode, std::string what);
  /// "process 77 (qemu) has /dev/sda open". Only root sees everybody's; a socket that nobody is seen to have is told
  /// too.
  [[nodiscard]] std::vector<std::string> find(const Machine& machine) const;

 private:
  std::map<std::string, std::string> links_;    ///< what a link in /proc/PID/fd says -> what that program does
  std::map<std::string, std::string> numbers_;  ///< of devices -> the same
};

}  // namespace vmux::host
