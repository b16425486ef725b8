// SPDX-License-Identifier: BSD-3-Clause
// An uplink through any DPDK ethdev, named by its EAL device argument. DPDK types stay out of this header.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "port/port.hpp"
#include "vmux/base/result.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::backend {

struct DpdkOptions {
  std::string device;       ///< `net_af_packet0,iface=eth1`, `net_pcap0,...`, `net_tap0`, `0000:08:00.0`
  std::uint32_t mtu = 0;    ///< bytes; 0 leaves the device's own
  bool promiscuous = true;  ///< a switch sends from and receives for many addresses
};

/// Created and destroyed on a control thread (after it was detached from its switch); the rest on `poller`. The first
/// one starts DPDK's EAL in this process: without hugepages, and without PCI unless a PCI device is asked for first.
class DpdkPort final : public port::Port {
 public:
  [[nodiscard]] static Result<std::unique_ptr<DpdkPort>> create(const DpdkOptions& options, runtime::Poller& poller);
  ~DpdkPort() override;

  std::size_t take(std::span<packet::FrameView> into) noexcept override;
  void finish(std::span<const port::FrameResult> results) noexcept override;
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept override;
  [[nodiscard]] packet::Accepts accepts() const noexcept override;
  [[nodiscard]] bool needs_polling() const noexcept override;
  [[nodiscard]] bool is_ready() const noexcept override;

 private:
  struct Impl;
  explicit DpdkPort(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmux::backend
