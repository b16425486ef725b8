// SPDX-License-Identifier: BSD-3-Clause
// A VM's card as a benchmark drives it: an e1000 behind a socket, with numbered frames both ways. It knows nothing of
// who serves it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "app/bench/e1000_driver.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/base/result.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::bench {

/// What a receiver saw of its peer's numbers. All times are of CLOCK_MONOTONIC, nanoseconds.
struct Arrivals {
  std::uint64_t frames = 0;
  std::uint64_t lost = 0;       ///< numbers that never came
  std::uint64_t twice = 0;      ///< frames that had come: at most kMostTwice behind the newest
  std::uint64_t reordered = 0;  ///< frames from further behind: those are no repeated burst
  std::uint64_t damaged = 0;    ///< frames with other contents than their number says
  std::uint64_t longest_gap_ns = 0;
  std::uint64_t last_ns = 0;  ///< when the last one came
};

class CrowdPort {
 public:
  static constexpr std::uint32_t kDescriptors = 256;
  static constexpr std::uint64_t kMostTwice = 32;  ///< a burst

  /// Attaches to the port at `path`, whose address is `number`'s; frames go to `peer`. `memory` bytes are given to the
  /// device: each page of them receives in its turn, so that the server touches all.
  [[nodiscard]] static Result<std::unique_ptr<CrowdPort>> create(const std::string& path, unsigned number,
                                                                 unsigned peer, std::uint64_t memory);
  /// Queues the next frame, if there is room.
  void send() noexcept;
  /// The next frame is one that a server that is made for it dies of (tests/poison), as it takes the frame or as it
  /// delivers it to the peer.
  enum class Poison : std::uint8_t { when_taken, when_delivered };
  void poison(Poison kind) noexcept;
  /// Takes what has arrived by `now_ns`.
  void receive(std::uint64_t now_ns) noexcept;

  [[nodiscard]] const Arrivals& arrivals() const noexcept { return arrivals_; }
  /// From here on gaps are looked for; what was counted before does not count.
  void begin_window(std::uint64_t now_ns) noexcept;
  /// Every page has been written by the server.
  [[nodiscard]] bool has_touched_all() const noexcept { return arrivals_.frames >= pages_; }

 private:
  explicit CrowdPort(std::unique_ptr<vfio_user::Client> client) noexcept : client_(std::move(client)) {}
  Result<void> give_memory(std::uint64_t size);
  Result<void> bring_up(unsigned number, unsigned peer);
  Result<void> write(std::uint32_t at, std::uint32_t value);
  [[nodiscard]] std::uint64_t next_buffer() noexcept;
  void take(const RingDescriptor& done, std::uint64_t now_ns) noexcept;

  std::unique_ptr<vfio_user::Client> client_;
  Mapping memory_, registers_;
  std::span<std::byte> bar_;  // as far as it is mapped
  RingDescriptor *tx_ring_ = nullptr, *rx_ring_ = nullptr;
  std::uint32_t tx_next_ = 0, rx_next_ = 0;
  std::uint64_t sent_ = 0, expected_ = 0;
  std::uint64_t pages_ = 0, page_ = 0;  // that receive, and the one that is next
  std::uint32_t sender_ = 0;            // the peer's number
  bool is_in_step_ = false;             // the first frame tells where the peer is
  Arrivals arrivals_;
};

}  // namespace vmux::bench
