// SPDX-License-Identifier: BSD-3-Clause
// Queue pairs on two pollers: what the home thread changes while the other one works, driven in turn.
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "device/iavf/test/two_pollers.hpp"

namespace vmux::rigs {
namespace {

TEST(IavfLanes, EveryOtherQueueIsTheOtherPollers) {
  TwoPollers rig;
  rig.bring_up();
  ASSERT_EQ(rig.lanes.size(), 2u);
  for (unsigned queue = 0; queue < 4; ++queue) {
    static_cast<void>(rig.guest->interrupts(queue + 1));
    rig.guest->arm(queue + 1);
    rig.guest->send_frame(to_iavf(64), queue, 2ull << 4);  // RS
    EXPECT_EQ(rig.take(1 - queue % 2), 0u);
    EXPECT_EQ(rig.take(queue % 2), 1u);
    EXPECT_EQ(rig.guest->reap(queue), 1u);
    EXPECT_EQ(rig.guest->interrupts(queue + 1), 1u);
  }
}

TEST(IavfLanes, FramesTakeTheLaneOfTheirQueue) {
  TwoPollers rig;
  rig.bring_up();
  for (const std::uint8_t queue : {std::uint8_t{3}, std::uint8_t{2}, std::uint8_t{1}}) {
    rig.lead_all_to(queue);
    const Bytes frame = ip_frame(queue);
    const unsigned lane = rig.lane_for(frame);
    EXPECT_EQ(lane, queue % 2u);
    EXPECT_EQ(rig.arrive(lane, frame), 1u);
    const auto got = rig.guest->receive(queue);
    ASSERT_TRUE(got) << int{queue};
    EXPECT_EQ(got->bytes, frame);
  }
}

TEST(IavfLanes, AQueueThatDoesNotRunLeadsHome) {
  TwoPollers rig;
  rig.bring_up();
  rig.lead_all_to(3);
  EXPECT_EQ(rig.guest->call(kDisableQueues, IavfBody{}.u16(1).u16(0).u32(8).u32(8).bytes()).status, 0);
  EXPECT_EQ(rig.lane_for(ip_frame(1)), 0u);
}

TEST(IavfLanes, AFrameForAnotherLanesQueueIsTakenWhereItCame) {
  TwoPollers rig;
  rig.bring_up();
  rig.lead_all_to(2);
  EXPECT_EQ(rig.arrive(1, ip_frame(1)), 1u);  // under way while the table changed
  EXPECT_TRUE(rig.guest->receive(1));
}

TEST(IavfLanes, WhatOneQueueHasNoRoomForIsLostAndTheOthersGetTheirs) {
  TwoPollers rig;
  rig.bring_up();
  rig.lead_all_to(2);  // but for frames that are not hashed: those take queue 0
  const Bytes full = ip_frame(1), other = to_iavf(64);
  while (rig.arrive(0, full) == 1) {
  }
  packet::Slice payloads[2];
  const packet::FrameView views[] = {view_of(full, payloads[0]), view_of(other, payloads[1])};
  port::test::Round round{*rig.lanes[0]};
  const port::Delivery done = rig.lanes[0]->deliver(views);
  EXPECT_EQ(done.taken, 2u);
  EXPECT_EQ(rig.guest->receive(0).value().bytes, other);
  EXPECT_EQ(done.lost, 1u);
  EXPECT_EQ(done.lost_bytes, full.size());
  EXPECT_EQ(done.why[port::index_of(port::DropReason::no_room)], 1u);
}

// A frame that returns to the lane that sent it, as with a mirror, must not let the home poller in.
TEST(IavfLanes, WhoeverChangesALaneWaitsForTheEndOfItsRound) {
  TwoPollers rig;
  rig.bring_up();
  rig.guest->queue(1, ip_frame(1));
  rig.guest->ring_tx(1);
  std::atomic<bool> is_down{false};
  rig.lanes[1]->begin_round();
  std::array<packet::FrameView, port::kMaxBurst> views;
  const std::size_t count = rig.lanes[1]->take(views);
  ASSERT_EQ(count, 1u);
  EXPECT_EQ(rig.lanes[1]->deliver(std::span{views}.first(count)).taken, 1u);
  std::thread home{[&] {
    rig.nic->set_link(false);
    is_down = true;
  }};
  for (int i = 0; i < 100; ++i) {  // it would have been let in by now
    std::this_thread::yield();
    rig.other->run_once(100'000);
  }
  EXPECT_FALSE(is_down);
  port::test::finish(*rig.lanes[1], count);
  rig.lanes[1]->end_round();
  home.join();
  EXPECT_FALSE(rig.lanes[1]->is_ready());
  EXPECT_TRUE(rig.guest->receive(1));
}

TEST(IavfLanes, AResetStopsThemAll) {
  TwoPollers rig;
  rig.bring_up();
  EXPECT_TRUE(rig.lanes[1]->is_ready());
  EXPECT_TRUE(rig.lanes[1]->needs_polling());
  rig.guest->queue(1, to_iavf(64));
  rig.guest->ring_tx(1);
  rig.nic->function().reset(pci::ResetKind::client_request);
  EXPECT_FALSE(rig.lanes[1]->is_ready());
  EXPECT_FALSE(rig.lanes[1]->needs_polling());
  EXPECT_EQ(rig.take(1), 0u);
  EXPECT_EQ(rig.arrive(1, ip_frame(1)), 0u);
}

// The home poller sleeps meanwhile, as far as it knows.
TEST(IavfLanes, AQueueThatStopsOnAnotherPollerEndsInAReset) {
  constexpr std::uint32_t kArqlen = 0x8000;
  TwoPollers rig;
  rig.bring_up();
  while (rig.home->run_once(0)) {
  }
  rig.guest->queue_raw(1, 0, 0x8);  // a filter to be programmed: not for us
  rig.guest->ring_tx(1);
  EXPECT_EQ(rig.take(1), 0u);
  pollfd woken{rig.home->fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&woken, 1, 0), 1);
  EXPECT_EQ(rig.take(0), 0u);
  for (int i = 0; i < 2000 && rig.guest->read(kArqlen) != 0; ++i)
    rig.home->run_once(1'000'000);
  EXPECT_EQ(rig.guest->read(kArqlen), 0u);
  EXPECT_FALSE(rig.lanes[1]->is_ready());
}

class IavfEachLane : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Lanes, IavfEachLane, testing::Values(0, 1));

TEST_P(IavfEachLane, HasNoMemoryWhileBusMasteringIsOff) {
  const unsigned lane = GetParam();
  TwoPollers rig;
  rig.bring_up();
  rig.guest->set_bus_master(false);
  EXPECT_FALSE(rig.lanes[lane]->is_ready());
  rig.guest->queue(lane, to_iavf(64));
  rig.guest->ring_tx(lane);
  EXPECT_EQ(rig.take(lane), 0u);
  rig.guest->set_bus_master(true);
  EXPECT_TRUE(rig.lanes[lane]->is_ready());
  EXPECT_EQ(rig.take(lane), 1u);
}

// A VMM takes the mapping away for a while, and the driver's writes come as messages to the home poller.
TEST(IavfLanes, ADoorbellByMessageWakesTheOtherPoller) {
  TwoPollers rig;
  rig.guest->bring_up({.queues = 4});
  while (rig.other->run_once(0)) {
  }
  rig.guest->queue(1, to_iavf(64));
  rig.guest->ring_tx(1);
  pollfd bell{rig.other->fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&bell, 1, 0), 1);
}

TEST(IavfLanes, AnUnmapIsQuietAtOnce) {
  TwoPollers rig;
  rig.bring_up();
  bool is_quiet = false;
  ASSERT_TRUE(rig.nic->function().unmap_all([&] { is_quiet = true; }));
  EXPECT_TRUE(is_quiet);
  EXPECT_EQ(rig.arrive(1, ip_frame(1)), 0u);
}

TEST(IavfLanes, CountMessagesOfAllLanes) {
  TwoPollers rig;
  rig.bring_up();
  const std::uint64_t before = rig.nic->interrupts(&device::iavf::InterruptCounters::sent);
  rig.lead_all_to(1);
  const std::uint64_t admin = rig.nic->interrupts(&device::iavf::InterruptCounters::sent);
  EXPECT_EQ(rig.arrive(1, ip_frame(1)), 1u);
  EXPECT_EQ(rig.nic->interrupts(&device::iavf::InterruptCounters::sent), admin + 1);
  EXPECT_GE(admin, before);
}

// Saved with two pollers, loaded into a card with one, and back: which poller has a queue is nobody's business.
TEST(IavfLanes, SavedCardGoesOnWithAnyNumberOfPollers) {
  TwoPollers rig;
  rig.bring_up();
  rig.lead_all_to(1);
  ASSERT_EQ(rig.arrive(1, ip_frame(1)), 1u);
  rig.guest->arm(2, 0);
  ASSERT_EQ(rig.arrive(1, ip_frame(2)), 1u);  // the vector has news that nobody is told of
  rig.guest->queue(1, ip_frame(3));
  rig.guest->ring_tx(1);
  static_cast<void>(rig.guest->interrupts(2));

  rig.nic->function().pause();
  EXPECT_EQ(rig.take(1), 0u);
  EXPECT_EQ(rig.arrive(1, ip_frame(4)), 0u);
  EXPECT_FALSE(rig.lanes[1]->is_ready());
  const auto image = rig.nic->function().save();
  EXPECT_EQ(rig.nic->function().save(), image);
  for (const bool has_other : {false, true}) {
    std::vector<runtime::Poller*> more;
    if (has_other) more.push_back(rig.other.get());
    auto next = *Nic::create({.name = "test", .mac = kIavfStation, .queue_pairs = 4, .more_pollers = more}, *rig.home);
    const auto loaded = next->function().load(image);
    ASSERT_TRUE(loaded) << loaded.error();
    EXPECT_EQ(next->function().save(), image);
    rig.nic = std::move(next);
    rig.guest->move_to(rig.nic->function());
  }
  rig.lanes = rig.nic->lanes();
  rig.nic->function().resume();
  EXPECT_EQ(rig.take(1), 1u);
  EXPECT_EQ(rig.take(1), 0u);
  rig.guest->arm(2, 1 | 3u << 3);
  rig.home->run_once();  // its clock goes on
  EXPECT_EQ(rig.take(0), 0u);
  EXPECT_EQ(rig.guest->interrupts(2), 1u);
  EXPECT_EQ(rig.arrive(1, ip_frame(5)), 1u);
  for (const std::uint8_t port : {std::uint8_t{1}, std::uint8_t{2}, std::uint8_t{5}})
    EXPECT_EQ(rig.guest->receive(1).value().bytes, ip_frame(port));
}

// ITR 0 of vector 1 for two queues: 0, of the home poller, and 1, of the other.
struct SharedVector : TwoPollers {
  static constexpr std::uint32_t kConfigIrqMap = 7, kEna = 1, kLongest = 0xfff;  // ITR: 8190 us
  SharedVector() {
    bring_up();
    EXPECT_EQ(guest->call(kConfigIrqMap, IavfBody{}.u16(1).u16(1).u16(1).u16(3).u16(3).u16(0).u16(0).bytes()).status,
              0);
    EXPECT_EQ(guest->call(kSetHena, IavfBody{}.u64(~0ull).bytes()).status, 0);
    guest->arm(1, kEna | kLongest << 5);
    home->run_once(0);
    other->run_once(0);
  }
  void fire(unsigned lane) {
    static_cast<void>(guest->interrupts(1));
    EXPECT_EQ(arrive(lane, ip_frame(1)), 1u);
    EXPECT_EQ(guest->interrupts(1), 1u);
  }
  // Whether a message comes while this poller runs.
  bool fires_on(runtime::Poller& poller) {
    const std::uint64_t end = monotonic_ns() + 2'000'000'000;
    while (monotonic_ns() < end) {
      if (guest->interrupts(1) == 1) return true;
      poller.run_once(1'000'000);
    }
    return false;
  }
};

TEST(IavfLanesInterrupts, AVectorOfTwoLanesFiresOnceAnInterval) {
  for (const unsigned first : {0u, 1u}) {
    SharedVector rig;
    const unsigned second = 1 - first;
    rig.fire(first);
    const std::uint64_t before = (first == 0 ? rig.home : rig.other)->now_ns();  // as the lane has it
    rig.guest->arm(1, SharedVector::kEna | SharedVector::kLongest << 5);
    EXPECT_EQ(rig.arrive(second, ip_frame(1)), 1u);
    runtime::Poller& owner = second == 0 ? *rig.home : *rig.other;
    EXPECT_TRUE(rig.fires_on(owner));
    EXPECT_GE(monotonic_ns() - before, 8'190'000u);
  }
}

TEST(IavfLanesInterrupts, ATimerOfTheLanesPollerTellsWhatHadToWait) {
  SharedVector rig;
  rig.fire(1);
  rig.guest->arm(1, SharedVector::kEna | SharedVector::kLongest << 5);
  EXPECT_EQ(rig.arrive(1, ip_frame(1)), 1u);
  EXPECT_EQ(rig.guest->interrupts(1), 0u);
  EXPECT_TRUE(rig.fires_on(*rig.other));  // nobody calls the lane any more: only the timer can
}

TEST(IavfLanesInterrupts, AnUnarmedVectorKeepsNobodyAwake) {
  TwoPollers rig{Doorbell::trap};
  rig.guest->bring_up({.queues = 4});
  EXPECT_EQ(rig.arrive(1, ip_frame(1)), 1u);  // fires and takes INTENA back
  EXPECT_EQ(rig.arrive(1, ip_frame(1)), 1u);
  static_cast<void>(rig.guest->interrupts(2));
  EXPECT_FALSE(rig.lanes[1]->needs_polling());
  rig.guest->arm(2);
  static_cast<void>(rig.take(1));  // the round that the write has asked for
  EXPECT_EQ(rig.guest->interrupts(2), 1u);
}

TEST(IavfLanesInterrupts, NoTimerIsLeftBehindWhenTheSwitchLetsGo) {
  SharedVector rig;
  rig.fire(1);
  rig.guest->arm(1, SharedVector::kEna | SharedVector::kLongest << 5);
  EXPECT_EQ(rig.arrive(1, ip_frame(1)), 1u);
  rig.lanes[1]->released();
  const std::uint64_t end = monotonic_ns() + 20'000'000;
  while (monotonic_ns() < end)
    rig.other->run_once(1'000'000);
  EXPECT_EQ(rig.guest->interrupts(1), 0u);
}

}  // namespace
}  // namespace vmux::rigs
