// SPDX-License-Identifier: BSD-3-Clause
// The uplink that leads nowhere: swallows and counts.
#pragma once

#include <memory>

#include "port/port.hpp"
#include "vmux/base/result.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::backend {

struct NullOptions {};

class NullPort final : public port::Port {
 public:
  [[nodiscard]] static Result<std::unique_ptr<NullPort>> create(const NullOptions& options, runtime::Poller& poller);

  std::size_t take(std::span<packet::FrameView> into) noexcept override;
  void finish(std::span<const port::FrameResult> results) noexcept override;
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept override;
  [[nodiscard]] packet::Accepts accepts() const noexcept override;
  [[nodiscard]] bool needs_polling() const noexcept override { return false; }
  [[nodiscard]] bool is_ready() const noexcept override { return true; }

 private:
  NullPort() = default;
};

}  // namespace vmux::backend
