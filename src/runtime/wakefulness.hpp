// SPDX-License-Identifier: BSD-3-Clause
// A request to the kernel that idle CPUs stay awake (Documentation/power/pm_qos_interface.rst): a number of
// microseconds that waking up may take, written to a descriptor that holds the request as long as it is open.
//
// An exchange with a VM goes from thread to thread: its VCPU, this poller, a thread of the VMM, the VCPU again. Each
// finds the CPU that it is woken on halted a few microseconds ago; in a virtual machine leaving that state takes tens
// of microseconds, more than all the work in between.
#pragma once

#include <cstdint>
#include <string>

#include "vmux/base/unique_fd.hpp"

namespace vmux::runtime {

class Wakefulness {
 public:
  Wakefulness() noexcept = default;
  /// Without permission, or such a device, it holds nothing ever.
  explicit Wakefulness(const std::string& device);

  [[nodiscard]] bool is_available() const noexcept { return static_cast<bool>(device_); }
  [[nodiscard]] bool is_held() const noexcept { return is_held_; }
  void hold() noexcept;
  void release() noexcept;

 private:
  void ask(std::int32_t latency_us) noexcept;
  UniqueFd device_;
  bool is_held_ = false;
};

/// True where a halted CPU leaves to a hypervisor and has to come back from it.
[[nodiscard]] bool in_virtual_machine() noexcept;

}  // namespace vmux::runtime
