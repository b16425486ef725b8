// SPDX-License-Identifier: BSD-3-Clause
// All that a device model, the switch and a backend know of each other.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "packet/frame.hpp"
#include "port/counters.hpp"
#include "port/steering.hpp"

namespace vmux::port {

/// Largest burst that the switch asks for.
inline constexpr std::size_t kMaxBurst = 32;

/// Where a queue is told: the port has none that could be, or no frame went to one.
inline constexpr std::uint16_t kNoQueue = 0xffff;

/// What became of the frames that deliver() was called with.
struct Delivery {
  std::size_t taken = 0;  ///< from the front: the port has dealt with them. The others found no room
  std::size_t lost = 0;   ///< of those taken
  std::uint64_t lost_bytes = 0;
  std::array<std::uint8_t, kDropReasons.size()> why{};  ///< how many of the lost for each reason
  std::array<DropReason, kMaxBurst> reasons{};          ///< for which each of the taken was lost; none: it was not

  /// The frame `at` of those.
  void lose(DropReason reason, std::uint64_t bytes, std::size_t at) noexcept {
    if (at < reasons.size()) reasons[at] = reason;
    ++lost;
    ++why[index_of(reason)];
    lost_bytes += bytes;
  }
};

/// What the switch has to say of a frame that a port has sent.
struct FrameResult {
  DropReason dropped = DropReason::none;  ///< the switch let it go nowhere
};

/// One side of a virtual cable: a VM's NIC, or an uplink; or one lane of it, where its queues are spread over pollers.
/// Owned by its model or backend; every call is made on the poller that owns the port. A port's rounds:
///   begin_round() ; { take() ; deliver() of the receivers ; finish() }* and deliver(), in any order ; end_round()
/// Several ports are in a round at the same time, a sender and its receivers. A port that has lent a burst may be
/// delivered to before it is finished (a mirror, a way back to the same card).
class Port {
 public:
  virtual ~Port() = default;

  /// Before anything else of a round: interrupts that have become due, what waits inside the port. A lane of another
  /// poller keeps the device's home out from here to end_round(), so nobody in a round waits for a home.
  virtual void begin_round() noexcept {}
  /// After all of a round: publish indices, consider interrupts.
  virtual void end_round() noexcept {}

  /// In a round: the next frames that this port sends, borrowed until finish(). At most into.size(); 0 = none now.
  virtual std::size_t take(std::span<packet::FrameView> into) noexcept = 0;
  /// The oldest of those, one for each result, are done: write back, recycle. Never more than were taken; those that
  /// are left will be taken again.
  virtual void finish(std::span<const FrameResult> results) noexcept = 0;

  /// In a round: copies frames, at most kMaxBurst, to the port's receiver, finishing what accepts() does not take. Each
  /// is packet::is_consistent() and has its Ethernet header (14 bytes) in `header`: the switch lets nothing shorter
  /// pass. A frame that the receiver's own filters discard counts as taken, and is not lost. The caller counts what was
  /// lost, and drops what was not taken.
  [[nodiscard]] virtual Delivery deliver(std::span<const packet::FrameView> frames) noexcept = 0;
  /// In a round.
  [[nodiscard]] virtual packet::Accepts accepts() const noexcept = 0;
  /// True when frames can appear without an event on the port's poller (a mapped doorbell, a NIC queue).
  [[nodiscard]] virtual bool needs_polling() const noexcept = 0;
  /// False while nothing can be received (no driver, link down): frames for it are dropped, not queued, and the switch
  /// forgets whom it had heard from it. Asked once for each burst that is for the port, and every now and then; in a
  /// round or not.
  [[nodiscard]] virtual bool is_ready() const noexcept = 0;

  /// In a round, for whoever captures frames: the queue of the card from which take() had its last burst.
  [[nodiscard]] virtual std::uint16_t taken_from() const noexcept { return kNoQueue; }
  /// The same: the queue to which the frame `at` of the last delivery went, as far as it was taken and not lost.
  [[nodiscard]] virtual std::uint16_t given_to(std::size_t /*at*/) const noexcept { return kNoQueue; }

  /// On the port's poller, after its last round: the switch has let go of the port. What the port keeps on
  /// that thread (a timer) ends here.
  virtual void released() noexcept {}

  [[nodiscard]] PortCounters& counters() noexcept { return counters_; }
  [[nodiscard]] const PortCounters& counters() const noexcept { return counters_; }

  /// Of a port with several lanes, asked of lane 0 in every round: how frames choose among them. Null: any lane will
  /// do, so that a frame takes the one of the poller where it is, if there is one, else one by its flow.
  [[nodiscard]] const std::shared_ptr<const Steering>& steering() const noexcept { return steering_; }

 protected:
  /// On lane 0's poller; before the switch learns of the port, or at any time. The pollers of the switch follow one by
  /// one: until all have, two frames of a flow may take two lanes (as in a NIC whose table is changed under traffic),
  /// and a frame that is flooded may reach the port in two lanes or in none. What a lane is given is for it, even if a
  /// newer steering says otherwise.
  void publish(std::shared_ptr<const Steering> steering) noexcept { steering_ = std::move(steering); }

 private:
  PortCounters counters_;
  std::shared_ptr<const Steering> steering_;
};

}  // namespace vmux::port
