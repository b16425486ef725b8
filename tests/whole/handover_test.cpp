// SPDX-License-Identifier: BSD-3-Clause
// Cards that are handed over to new objects under traffic: their guests go on with the same rings, the same registers
// and the same interrupts, and every frame is there once.
#include <gtest/gtest.h>

#include "rigs/e1000_rig.hpp"
#include "rigs/e810_rig.hpp"
#include "rigs/iavf_rig.hpp"
#include "rigs/virtio_net_rig.hpp"
#include "whole/handover_traffic.hpp"

namespace vmux::rigs {
namespace {

constexpr std::uint32_t kModerated = 1 | 0x20u << 5;  // armed, 64 us apart

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
  std::size_t arrive(const FrameBytes& frame) { return rig.arrive(frame); }
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
  std::size_t arrive(const FrameBytes& frame) { return rig.arrive(frame); }
  bool handle() {
    if (rig.guest->interrupts(1) == 0) return false;
    rig.guest->arm(1, kModerated);
    return true;
  }
  IavfRig rig;
};

struct E810OnASwitch {
  explicit E810OnASwitch(bool is_mapped) : rig(is_mapped ? E810Rig::Doorbell::poll : E810Rig::Doorbell::trap) {
    rig.start();
    static_cast<void>(rig.guest->interrupts(1));
    rig.guest->arm(1);
  }
  void queue(unsigned number) { waiting_.push_back(numbered(number)); }
  void ring() {
    for (const FrameBytes& frame : std::exchange(waiting_, {}))
      rig.guest->send_frame(frame);
  }
  unsigned reap() { return rig.guest->reap(); }
  std::optional<FrameBytes> receive() {
    auto frame = rig.guest->receive();
    if (!frame) return std::nullopt;
    rig.guest->refill();
    return std::move(frame->bytes);
  }
  std::vector<Sent> take(std::size_t most) { return rig.take(most); }
  std::size_t arrive(const FrameBytes& frame) { return rig.arrive(frame); }
  bool handle() {
    if (rig.guest->interrupts(1) == 0) return false;
    rig.guest->arm(1);
    return true;
  }
  E810Rig rig;

 private:
  std::vector<FrameBytes> waiting_;  // the fake driver rings with each
};

/// Two pairs of queues, each on a poller of its own: frames take turns.
struct VirtioCardOnTwo {
  VirtioCardOnTwo(bool is_mapped, bool is_packed)
      : rig(is_mapped ? VirtioNetRig::Doorbell::poll : VirtioNetRig::Doorbell::trap, 2, 0, {other.get()}),
        is_mapped_(is_mapped) {
    rig.guest->bring_up({.features = ~(is_packed ? 0 : fake_guest::virtio_bit::packed), .pairs = 2});
    for (const unsigned pair : {0u, 1u})
      rig.guest->ring(2 * pair).want_interrupt(true);
  }
  void queue(unsigned number) { rig.guest->queue(numbered(number), {}, number % 2); }
  void ring() {
    for (const unsigned queue : {1u, 3u}) {
      rig.guest->ring(queue).publish();
      if (!is_mapped_) rig.guest->notify(queue);  // else the card looks
    }
  }
  unsigned reap() { return rig.guest->reap(0) + rig.guest->reap(1); }
  std::optional<FrameBytes> receive() {
    const unsigned pair = received_ % 2;
    auto frame = rig.guest->receive(pair);
    if (!frame) {
      for (const unsigned each : {0u, 1u})
        rig.guest->ring(2 * each).want_interrupt(true);
      return std::nullopt;
    }
    ++received_;
    rig.guest->refill(pair);
    return std::move(frame->bytes);
  }
  std::vector<Sent> take(std::size_t most) {
    std::vector<Sent> all;
    for (; all.size() < most; ++taken_) {
      auto one = take_from(*rig.nic->lanes()[taken_ % 2], 1);
      if (one.empty()) break;
      all.push_back(std::move(one.front()));
    }
    return all;
  }
  std::size_t arrive(const FrameBytes& frame) {
    const port::Delivery done = deliver_at(*rig.nic->lanes()[arrived_ % 2], frame);
    const std::size_t kept = done.taken - done.lost;
    arrived_ += static_cast<unsigned>(kept);
    return kept;
  }
  bool handle() { return rig.guest->interrupts(1) + rig.guest->interrupts(3) != 0; }
  std::unique_ptr<runtime::Poller> other = runtime::Poller::create().value();
  VirtioNetRig rig;

 private:
  const bool is_mapped_;
  unsigned taken_ = 0, arrived_ = 0, received_ = 0;
};

class HandoverTraffic : public testing::TestWithParam<Way> {};
INSTANTIATE_TEST_SUITE_P(, HandoverTraffic,
                         testing::Values(Way{false, false}, Way{false, true}, Way{true, false}, Way{true, true}),
                         [](const auto& each) { return name_of(each.param); });

TEST_P(HandoverTraffic, OfAnE1000LosesNothingAndRepeatsNothing) {
  Traffic<E1000Card>{GetParam().is_mapped, GetParam().by_interrupt}.run();
}
TEST_P(HandoverTraffic, OfAnIavfLosesNothingAndRepeatsNothing) {
  Traffic<IavfCard>{GetParam().is_mapped, GetParam().by_interrupt}.run();
}

TEST_P(HandoverTraffic, OfAnE810LosesNothingAndRepeatsNothing) {
  Traffic<E810OnASwitch>{GetParam().is_mapped, GetParam().by_interrupt}.run();
}

// The image is as old as the last change of control state; heads have moved since.
TEST_P(HandoverTraffic, OfAnE1000GoesOnFromTheCursorsOfOneThatDied) {
  Traffic<E1000Card>{GetParam().is_mapped, GetParam().by_interrupt}.run_and_die();
}
TEST_P(HandoverTraffic, OfAnIavfGoesOnFromTheCursorsOfOneThatDied) {
  Traffic<IavfCard>{GetParam().is_mapped, GetParam().by_interrupt}.run_and_die();
}

TEST_P(HandoverTraffic, OfAnE810GoesOnFromTheCursorsOfOneThatDied) {
  Traffic<E810OnASwitch>{GetParam().is_mapped, GetParam().by_interrupt}.run_and_die();
}

TEST_P(HandoverTraffic, OfAVirtioCardOnTwoPollersLosesNothingAndRepeatsNothing) {
  for (const bool is_packed : {false, true})
    Traffic<VirtioCardOnTwo>{GetParam().is_mapped, GetParam().by_interrupt, is_packed}.run();
}
TEST_P(HandoverTraffic, OfAVirtioCardOnTwoPollersGoesOnFromTheCursorsOfOneThatDied) {
  for (const bool is_packed : {false, true})
    Traffic<VirtioCardOnTwo>{GetParam().is_mapped, GetParam().by_interrupt, is_packed}.run_and_die();
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
  E810OnASwitch e810{true};
  tamper(e810.rig);
  for (const bool is_packed : {false, true}) {
    VirtioCardOnTwo virtio{true, is_packed};
    tamper(virtio.rig);
  }
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
  VirtioCardOnTwo virtio{true, false};
  for (unsigned vector = 0; vector < 5; ++vector)
    static_cast<void>(virtio.rig.guest->interrupts(vector));
  virtio.rig.hand_over();
  virtio.rig.poller->run_once();
  for (unsigned vector = 0; vector < 5; ++vector)
    EXPECT_EQ(virtio.rig.guest->interrupts(vector), 0u) << vector;
  EXPECT_EQ(virtio.rig.guest->config(6, 2), 1u);  // link up, and nothing to announce
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
