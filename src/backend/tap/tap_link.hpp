// SPDX-License-Identifier: BSD-3-Clause
// Follows the state of an interface that the host's administrator may change at any time: up or down, MTU.
#pragma once

#include <cstdint>
#include <string>

#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::backend {

/// Made on a control thread; then its poller's. The kernel tells of changes (rtnetlink), nothing is asked in vain.
class TapLink {
 public:
  [[nodiscard]] static Result<TapLink> open(const std::string& name);

  /// There is something to read: true when it was about this interface, whose state was read anew.
  [[nodiscard]] bool read_news() noexcept;
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// Of an interface that is not in our network namespace any more nothing is known: it counts as up.
  [[nodiscard]] bool is_up() const noexcept { return is_up_; }
  [[nodiscard]] std::uint32_t mtu() const noexcept { return mtu_; }  ///< bytes; the last that was known

  runtime::Watch watch;  // the port's

 private:
  void ask() noexcept;

  UniqueFd fd_;
  int index_ = 0;
  bool is_up_ = true;
  std::uint32_t mtu_ = 1500;
};

}  // namespace vmux::backend
