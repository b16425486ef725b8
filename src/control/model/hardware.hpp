// SPDX-License-Identifier: BSD-3-Clause
// What this process holds of the machine for models that use hardware.
#pragma once

#include <memory>
#include <utility>

#include "kvfio/group.hpp"
#include "passthrough/diagnosis.hpp"

namespace vmux::control {

/// The kernel's VFIO and the groups that are held through it. Made by whoever makes the daemon, which passes it on with
/// each request for a device, and outlives those. Used by one thread at a time.
class Hardware {
 public:
  /// The machine that this process runs on.
  Hardware();
  Hardware(std::unique_ptr<kvfio::Kernel> kernel, passthrough::Machine files)
      : kernel_(std::move(kernel)), groups_(*kernel_), files_(std::move(files)) {}

  [[nodiscard]] kvfio::Groups& groups() noexcept { return groups_; }
  [[nodiscard]] const passthrough::Machine& files() const noexcept { return files_; }

 private:
  std::unique_ptr<kvfio::Kernel> kernel_;
  kvfio::Groups groups_;
  passthrough::Machine files_;
};

}  // namespace vmux::control
