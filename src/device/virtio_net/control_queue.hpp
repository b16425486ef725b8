// SPDX-License-Identifier: BSD-3-Clause
// The control queue: commands out of its chains, and answers into them. Home thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "device/virtio_net/queues/queue_pair.hpp"
#include "virtio/queue.hpp"
#include "vmux/memory/address_space.hpp"

namespace vmux::device::virtio_net {

class ControlQueue {
 public:
  static constexpr std::uint16_t kSize = 64;           ///< descriptors
  static constexpr std::size_t kMaxCommand = 8 << 10;  ///< bytes: far more than the longest has

  using Obey = std::function<bool(std::uint8_t group, std::uint8_t command, std::span<const std::byte> data)>;
  ControlQueue(const char* name, nic::Alarm& alarm, virtio::QueueJournal& journal, Obey obey)
      : ring_(&journal), report_(name, "control", 0, alarm), obey_(std::move(obey)), command_(kMaxCommand) {}

  void attach(memory::AddressSpace& space);
  void detach(memory::AddressSpace& space) noexcept;
  void start(const virtio::QueueSetup& setup, const virtio::QueueState& state) noexcept;
  virtio::QueueState stop() noexcept { return ring_.stop(); }
  [[nodiscard]] const virtio::Queue& ring() const noexcept { return ring_; }
  [[nodiscard]] bool journal_taken_over() noexcept { return !ring_.is_started() || ring_.take_over(); }

  struct Served {
    bool has_news = false, has_more = false;  ///< cause for an interrupt; commands that wait
  };
  /// Answers what is there, up to a bound.
  [[nodiscard]] Served serve() noexcept;
  [[nodiscard]] const QueueCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_.get(); }

 private:
  [[nodiscard]] bool answer(const virtio::Chain& chain) noexcept;
  [[nodiscard]] bool read(const virtio::Chain& chain, std::span<const std::byte>& command) noexcept;

  virtio::Queue ring_;
  memory::GuestMemory buffers_;
  QueueCounters counters_;
  Counter refused_;
  FaultReport report_;
  const Obey obey_;
  std::vector<std::byte> command_;
  std::uint32_t written_ = 0;  // of the last answer()
};

}  // namespace vmux::device::virtio_net
