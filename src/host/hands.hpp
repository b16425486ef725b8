// SPDX-License-Identifier: BSD-3-Clause
// Everything that this room does to a machine goes through here: done and told, or (in a rehearsal) only told.
#pragma once

#include <string>
#include <vector>

#include "host/failure.hpp"
#include "host/machine.hpp"

namespace vmux::host {

class Hands {
 public:
  Hands(Machine& machine, bool is_rehearsal) : machine_(machine), is_rehearsal_(is_rehearsal) {}

  [[nodiscard]] Outcome<> write(const std::string& path, const std::string& value);
  /// The same, for those who know what the kernel means by an errno. What failed is not among the deeds.
  [[nodiscard]] Result<> try_write(const std::string& path, const std::string& value);
  [[nodiscard]] Outcome<> load_module(const std::string& name);
  [[nodiscard]] Outcome<> set_vf(const std::string& interface, unsigned vf, const VfSettings& settings);
  [[nodiscard]] Outcome<> mount_hugepages(const std::string& path, std::uint64_t size_kib);
  [[nodiscard]] Outcome<> unmount(const std::string& path);
  [[nodiscard]] Outcome<> set_up(const std::string& interface, bool up);

  [[nodiscard]] Machine& machine() noexcept { return machine_; }
  [[nodiscard]] bool is_rehearsal() const noexcept { return is_rehearsal_; }
  /// What was (or would be) done, as commands that do the same.
  [[nodiscard]] const std::vector<std::string>& deeds() const noexcept { return deeds_; }

 private:
  Machine& machine_;
  bool is_rehearsal_;
  std::vector<std::string> deeds_;
};

}  // namespace vmux::host
