// SPDX-License-Identifier: BSD-3-Clause
// Traffic through a card that is handed over again and again: numbered frames both ways, each of which is to be there
// once and in order.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <span>
#include <vector>

#include "fake_guest/guest.hpp"
#include "rigs/nic_rig.hpp"

namespace vmux::rigs {

inline constexpr unsigned kHandovers = 100;
inline constexpr unsigned kSpare = 8;  // descriptors that a driver leaves free

inline FrameBytes numbered(unsigned number) {
  FrameBytes frame = frame_to_us(64 + number % 900);
  for (unsigned i = 0; i < 4; ++i)
    frame[14 + i] = std::byte(number >> 8 * i & 0xff);
  return frame;
}
inline unsigned number_of(std::span<const std::byte> frame) { return fake_guest::load<std::uint32_t>(frame, 14); }

/// Numbers all that goes either way, and finds what is missing, or there twice.
template <class Card, unsigned kRing = 64>
class Traffic {
 public:
  /// What follows is for the card.
  template <class... Args>
  Traffic(bool is_mapped, bool by_interrupt, Args&&... args)
      : card_(is_mapped, std::forward<Args>(args)...), is_mapped_(is_mapped), by_interrupt_(by_interrupt) {}

  /// Each card dies instead, between two rounds: nothing is saved then, only what it has recorded is left.
  void run_and_die() {
    dies_ = true;
    card_.rig.start_record();
    run();
  }
  void run() {
    for (unsigned i = 0; i < kHandovers; ++i) {
      for (unsigned steps = below(40); steps > 0; --steps)
        step();
      const auto suspended = dies_ ? card_.rig.die() : card_.rig.let_go();
      // The guest does not wait: it writes descriptors, and the doorbell where that is memory.
      send(3, is_mapped_);
      card_.rig.take_over(suspended);
      if (dies_) card_.rig.start_record();
      if (!is_mapped_) card_.ring();
    }
    drain();
  }

 private:
  [[nodiscard]] unsigned below(unsigned limit) { return static_cast<unsigned>(random_()) % limit; }
  void step() {
    switch (below(6)) {
      case 0:
      case 1:
        return send(below(6), true);
      case 2:
        return take(1 + below(8));
      case 3:
        return arrive(below(dies_ ? 6 : 60));  // what waits in a FIFO dies with it
      case 4:
        static_cast<void>(card_.rig.poller->run_once());
        return look();
      default:
        unreaped_ -= card_.reap();
    }
  }
  void send(unsigned count, bool rings) {
    for (; count > 0 && unreaped_ + kSpare < kRing; --count, ++unreaped_)
      card_.queue(sent_++);
    if (rings) card_.ring();
  }
  void take(std::size_t most) {
    for (const Sent& frame : card_.take(most)) {
      ASSERT_EQ(number_of(frame.bytes), on_wire_);
      ASSERT_EQ(frame.bytes, numbered(on_wire_));
      ++on_wire_;
    }
  }
  void arrive(unsigned count) {
    for (; count > 0; --count) {
      if (card_.arrive(numbered(arrived_)) == 1) ++arrived_;
    }
  }
  /// A driver that waits for interrupts looks at its ring only then.
  void look() {
    if (by_interrupt_ && !card_.handle()) return;
    while (const auto frame = card_.receive()) {
      ASSERT_EQ(number_of(*frame), received_);
      ASSERT_EQ(frame->size(), numbered(received_).size());
      ++received_;
    }
  }
  void drain() {
    if (!is_mapped_) card_.ring();
    EXPECT_TRUE(card_.rig.run_until([&] {
      take(port::kMaxBurst);
      look();
      unreaped_ -= card_.reap();
      return on_wire_ == sent_ && received_ == arrived_ && unreaped_ == 0;
    })) << "on the wire "
        << on_wire_ << " of " << sent_ << ", received " << received_ << " of " << arrived_ << ", not reported "
        << unreaped_;
    EXPECT_GT(sent_, kHandovers);
    EXPECT_GT(arrived_, kHandovers);
  }

  Card card_;
  const bool is_mapped_, by_interrupt_;
  bool dies_ = false;
  std::minstd_rand random_{1};
  unsigned sent_ = 0, on_wire_ = 0, unreaped_ = 0, arrived_ = 0, received_ = 0;
};

struct Way {
  bool is_mapped, by_interrupt;
};
inline std::string name_of(const Way& way) {
  return std::string{way.is_mapped ? "Mapped" : "Trapped"} + (way.by_interrupt ? "ByInterrupt" : "ByPolling");
}

}  // namespace vmux::rigs
