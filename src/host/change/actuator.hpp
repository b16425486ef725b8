// SPDX-License-Identifier: BSD-3-Clause
// Everything that this room does to a machine goes through here: done and told, or (in a rehearsal) only told.
#pragma once

#include <string>
#include <vector>

#include "host/failure.hpp"
#include "host/machine/machine.hpp"

namespace vmux::host {

class Actuator {
 public:
  Actuator(Machine& machine, bool is_rehearsal) : machine_(machine), is_rehearsal_(is_rehearsal) {}

  [[nodiscard]] Outcome<> write(const std::string& path, const std::string& value);
  /// The same, for those who know what the kernel means by an errno. What failed is not among the actions.
  [[nodiscard]] Result<> try_write(const std::string& path, const std::string& value);
  /// Errc::not_found unless the kernel has this PCI driver, or a module for it. Changes nothing.
  [[nodiscard]] Outcome<> require_driver(const std::string& name);
  /// Loads its module if the kernel does not have it.
  [[nodiscard]] Outcome<> load_driver(const std::string& name);
  /// sriov_numvfs, as far as the driver is ready for it.
  [[nodiscard]] Result<> set_vf_count(const std::string& path, const std::string& count);
  [[nodiscard]] Outcome<> set_vf(const std::string& interface, unsigned vf, const VfSettings& settings);
  [[nodiscard]] Outcome<> mount_hugepages(const std::string& path, std::uint64_t size_kib);
  [[nodiscard]] Outcome<> unmount(const std::string& path);
  [[nodiscard]] Outcome<> set_up(const std::string& interface, bool up);

  [[nodiscard]] Machine& machine() const noexcept { return machine_; }
  [[nodiscard]] bool is_rehearsal() const noexcept { return is_rehearsal_; }
  /// What was (or would be) done, as commands that do the same.
  [[nodiscard]] const std::vector<std::string>& actions() const noexcept { return actions_; }
  /// Forgets all but the first `count`: what came of the others is nothing.
  void keep_actions(std::size_t count) { actions_.resize(count); }

 private:
  [[nodiscard]] Ran modprobe(const std::vector<std::string>& arguments);

  Machine& machine_;
  bool is_rehearsal_;
  std::vector<std::string> actions_;
};

}  // namespace vmux::host
