// SPDX-License-Identifier: BSD-3-Clause
// Cards that are handed over to new objects under traffic: their guests go on with the same rings, the same registers
// and the same interrupts, and every frame is there once.
#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "rigs/e1000_rig.hpp"
#include "rigs/iavf_rig.hpp"

namespace vmux::rigs {
namespace {

constexpr unsigned kHandovers = 100;
constexpr std::uint32_t kModerated = 1 | 0x20u << 5;  // armed, 64 us apart
constexpr unsigned kRing = 64, kSpare = 8;            // descriptors; those that a driver leaves free

FrameBytes numbered(unsigned number) {
  FrameBytes frame = frame_to_us(64 + number % 900);
  for (unsigned i = 0; i < 4; ++i)
    frame[14 + i] = std::byte(number >> 8 * i & 0xff);
  return frame;
}
unsigned number_of(std::span<const std::byte> frame) { return fake_guest::load<std::uint32_t>(frame, 14); }

struct E1000Card {
  explicit E1000Card(bool is_mapped) : rig(is_mapped ? Doorbell::poll : Doorbell::trap) {
    rig.guest->bring_up({.mapped_doorbells = is_mapped});
    start();
  }
  void start() {
    rig.nic->function().unmask_intx();
    static_cast<void>(rig.guest->read(0xc0));
    static_cast<void>(rig.guest->interrupts());
  }
  void queue(unsigned number) { rig.guest->queue(numbered(number)); }
  void ring() { rig.guest->ring_doorbell(); }
  unsigned reap() { return rig.guest->reap(); }
  std::optional<FrameBytes> receive() {
    auto frame = rig.guest->receive();
    if (!frame) return std::nullopt;
    rig.guest->refill();
    return std::move(frame->bytes);
  }
  std::vector<Sent> take(std::size_t most) { return rig.take(most); }
  /// What a driver's handler does; false when there was no interrupt.
  bool handle() {
    if (rig.guest->interrupts() == 0) return false;
    static_cast<void>(rig.guest->read(0xc0));
    rig.nic->function().unmask_intx();
    return true;
  }
  E1000Rig rig;
};

struct IavfCard {
  explicit IavfCard(bool is_mapped) : rig(is_mapped ? IavfRig::Doorbell::poll : IavfRig::Doorbell::trap, 1) {
    rig.guest->bring_up({.mapped_doorbells = is_mapped});
    static_cast<void>(rig.guest->interrupts(1));
    rig.guest->arm(1);
  }
  void queue(unsigned number) { rig.guest->queue(0, numbered(number)); }
  void ring() { rig.guest->ring_tx(0); }
  unsigned reap() { return rig.guest->reap(); }
  std::optional<FrameBytes> receive() {
    auto frame = rig.guest->receive();
    if (!frame) return std::nullopt;
    return std::move(frame->bytes);
  }
  std::vector<Sent> take(std::size_t most) { return rig.NicRig::take(most); }
  bool handle() {
    if (rig.guest->interrupts(1) == 0) return false;
    rig.guest->arm(1, kModerated);
    return true;
  }
  IavfRig rig;
};

/// Numbers all that goes either way, and finds what is missing, or there twice.
template <class Card>
class Traffic {
 public:
  Traffic(bool is_mapped, bool by_interrupt) : card_(is_mapped), is_mapped_(is_mapped), by_interrupt_(by_interrupt) {}

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
      if (card_.rig.arrive(numbered(arrived_)) == 1) ++arrived_;
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
class HandoverTraffic : public testing::TestWithParam<Way> {};
INSTANTIATE_TEST_SUITE_P(, HandoverTraffic,
                         testing::Values(Way{false, false}, Way{false, true}, Way{true, false}, Way{true, true}),
                         [](const auto& each) {
                           return std::string{each.param.is_mapped ? "Mapped" : "Trapped"} +
                                  (each.param.by_interrupt ? "ByInterrupt" : "ByPolling");
                         });

TEST_P(HandoverTraffic, OfAnE1000LosesNothingAndRepeatsNothing) {
  Traffic<E1000Card>{GetParam().is_mapped, GetParam().by_interrupt}.run();
}
TEST_P(HandoverTraffic, OfAnIavfLosesNothingAndRepeatsNothing) {
  Traffic<IavfCard>{GetParam().is_mapped, GetParam().by_interrupt}.run();
}

// The image is as old as the last change of control state; heads have moved since.
TEST_P(HandoverTraffic, OfAnE1000GoesOnFromTheCursorsOfOneThatDied) {
  Traffic<E1000Card>{GetParam().is_mapped, GetParam().by_interrupt}.run_and_die();
}
TEST_P(HandoverTraffic, OfAnIavfGoesOnFromTheCursorsOfOneThatDied) {
  Traffic<IavfCard>{GetParam().is_mapped, GetParam().by_interrupt}.run_and_die();
}

/// Whatever lies in the memory that the other one has left: it is refused, or used without harm.
template <class Rig>
void tamper(Rig& rig) {
  unsigned refused = 0;
  for (std::size_t at = 0, size = 1; at < size; at += at < 8192 ? 29 : 4999) {
    rig.start_record();
    size = static_cast<std::size_t>(::lseek(rig.cursors.get(), 0, SEEK_END));
    auto mapping = Mapping::create(rig.cursors.get(), 0, size, true);
    ASSERT_TRUE(mapping);
    auto died = rig.die();
    std::byte& byte = mapping->data()[at];
    const std::byte before = byte;
    byte ^= std::byte{0xa5};
    rig.nic = rig.make_nic();
    auto reader = state::Reader::open(died.image);
    ASSERT_TRUE(reader);
    const auto adopted = rig.nic->function().adopt(*reader, died.fds, nullptr);
    if (!adopted) {
      ++refused;
      byte = before;
      rig.nic.reset();
      rig.take_over(died);
      continue;
    }
    rig.guest->follow(rig.nic->function());
    rig.nic->function().go_on();
    static_cast<void>(rig.take());
    static_cast<void>(rig.arrive(numbered(1)));
    rig.poller->run_once();
    byte = before;
  }
  EXPECT_GT(refused, 50u);
}

TEST(HandoverCard, CursorsThatWereTamperedWithAreRefusedOrHarmless) {
  E1000Card e1000{true};
  tamper(e1000.rig);
  IavfCard iavf{true};
  tamper(iavf.rig);
}

TEST(HandoverCard, TellsItsGuestNothing) {
  E1000Card e1000{true};
  e1000.rig.hand_over();
  e1000.rig.poller->run_once();
  EXPECT_EQ(e1000.rig.guest->interrupts(), 0u);
  EXPECT_EQ(e1000.rig.guest->read(0xc0), 0u);       // no cause
  EXPECT_EQ(e1000.rig.guest->read(8) & 2, 2u);      // link up
  EXPECT_NE(e1000.rig.guest->read(0x100) & 2, 0u);  // still receiving
  IavfCard iavf{true};
  while (iavf.rig.guest->receive_message()) {
  }
  iavf.rig.guest->arm(0, 1);
  static_cast<void>(iavf.rig.guest->interrupts(0));
  iavf.rig.guest->arm(0, 1);
  iavf.rig.hand_over();
  iavf.rig.poller->run_once();
  EXPECT_EQ(iavf.rig.guest->interrupts(0), 0u);
  EXPECT_EQ(iavf.rig.guest->interrupts(1), 0u);
  EXPECT_FALSE(iavf.rig.guest->receive_message());
}

TEST(HandoverCard, LevelThatWasToldIsNotToldAgain) {
  E1000Card card{false};
  card.rig.arrive(numbered(1));
  EXPECT_EQ(card.rig.guest->interrupts(), 1u);
  card.rig.hand_over();
  EXPECT_EQ(card.rig.guest->interrupts(), 0u);
  card.rig.nic->function().unmask_intx();  // the guest has not read ICR
  EXPECT_EQ(card.rig.guest->interrupts(), 1u);
}

}  // namespace
}  // namespace vmux::rigs
