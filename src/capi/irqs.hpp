// SPDX-License-Identifier: BSD-3-Clause
// The client's eventfds. INTx, MSI and MSI-X share one set of vectors: only one of them is in use at a time.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "vfio-user/libvfio-user.h"
#include "vmux/base/unique_fd.hpp"

namespace vmux::capi {

class Irqs {
 public:
  std::array<std::uint32_t, VFU_DEV_NUM_IRQS> counts{};
  std::array<vfu_dev_irq_state_cb_t*, VFU_DEV_NUM_IRQS> state_callbacks{};

  /// As many vectors as the kind with the most has. False: no memory.
  [[nodiscard]] bool realize() noexcept;

  /// Any thread, like signal(): 0, EINVAL (no such vector), ENOENT (nobody listens) or what write() says.
  [[nodiscard]] int trigger(std::uint32_t vector) noexcept;

  // For the thread that serves the context; `vector` is below the count of its kind.
  [[nodiscard]] bool has(std::uint32_t kind, std::uint32_t vector) const noexcept;
  [[nodiscard]] bool is_attached(std::uint32_t kind, std::uint32_t vector) const noexcept;
  [[nodiscard]] int signal(std::uint32_t kind, std::uint32_t vector) noexcept;  ///< 0 when nobody listens
  [[nodiscard]] int attach(std::uint32_t kind, std::uint32_t vector, UniqueFd fd) noexcept;
  void detach(std::uint32_t kind, std::uint32_t vector) noexcept;
  void detach_all() noexcept;

 private:
  /// The descriptor keeps its number from the first client on, and others are duplicated onto it: a trigger on another
  /// thread never meets one that was closed, or that is something else by now.
  struct Vector {
    UniqueFd fd;
    std::atomic<bool> is_attached{false};
  };
  [[nodiscard]] Vector* find(std::uint32_t kind, std::uint32_t vector) const noexcept;
  [[nodiscard]] static int signal(Vector& vector) noexcept;
  void detach(Vector& vector) noexcept;

  std::unique_ptr<Vector[]> vectors_;
  std::uint32_t count_ = 0;
  mutable Vector error_, request_;
  UniqueFd nobody_;  // an eventfd that no client has
};

}  // namespace vmux::capi
