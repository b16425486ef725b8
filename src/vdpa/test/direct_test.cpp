// SPDX-License-Identifier: BSD-3-Clause
// A function that serves the guest's rings by itself: when it may, and where they stand when it may no more.
#include <gmock/gmock.h>

#include "vdpa/test/accelerated_rig.hpp"

namespace vmux::vdpa {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using namespace test;

class ADirectQueue : public testing::Test {
 protected:
  explicit ADirectQueue(RigOptions options = {}) : rig_(options) {}
  void start(std::uint64_t features = kVersion1) {
    rig_.accept(features);
    rig_.new_ring(0);
    rig_.start(0);
    rig_.settle();
  }
  AcceleratedRig rig_;
};

TEST_F(ADirectQueue, IsTheGuestsOwnRing) {
  start();
  ASSERT_EQ(rig_.device->mode(), Mode::direct);
  EXPECT_EQ(rig_.device->reason(), "");
  EXPECT_EQ(rig_.card().queues[0].descriptors, AcceleratedRig::ring_at(0));
  EXPECT_EQ(rig_.card().accepted & kPlatform, kPlatform);
  rig_.post(0, 1);
  EXPECT_EQ(rig_.card().serve(0, 0x31), 1u);
  EXPECT_THAT(rig_.taken(0), ElementsAre(1));  // and nobody of ours has run
  EXPECT_EQ(rig_.byte_at(1), 0x31);
}

TEST_F(ADirectQueue, InterruptsTheGuestWithoutUs) {
  start();
  drain_eventfd(rig_.eventfds[0].get());
  rig_.post(0, 1);
  rig_.card().serve(0);
  EXPECT_EQ(drain_eventfd(rig_.eventfds[0].get()), 1u);
  const UniqueFd other = std::move(*make_eventfd());
  rig_.signals.eventfds[0] = other.get();
  rig_.device->call_changed(0);
  rig_.post(0, 2);
  rig_.card().serve(0);
  EXPECT_EQ(drain_eventfd(other.get()), 1u);
}

TEST_F(ADirectQueue, PassesKicksOn) {
  start();
  const int before = rig_.card().queues[0].kicks;
  rig_.post(0, 1);
  EXPECT_EQ(rig_.card().queues[0].kicks, before + 1);
}

struct Obstacle {
  const char* name;
  std::uint64_t accepted;
  RigOptions options;
  virtio::QueueState state;
};
class AnObstacle : public testing::TestWithParam<Obstacle> {};
TEST_P(AnObstacle, IsShadowedInstead) {
  AcceleratedRig rig(GetParam().options);
  rig.accept(GetParam().accepted | kVersion1);
  rig.new_ring(0);
  rig.start(0, GetParam().state);
  rig.settle();
  EXPECT_EQ(rig.device->mode(), Mode::shadow);
  EXPECT_NE(rig.device->reason(), "");
}
INSTANTIATE_TEST_SUITE_P(All, AnObstacle,
                         testing::Values(Obstacle{"asked_for", 0, {.only_shadow = true}, {}},
                                         Obstacle{"packed", kPacked, {}, {}},
                                         Obstacle{"missing_event_idx", kEventIdx, {}, {}},
                                         Obstacle{"not_at_zero", 0, {}, {.next_avail = 3, .next_used = 3}},
                                         Obstacle{"few_vectors", 0, {.vectors = 1}, {}}),
                         [](const auto& one) { return one.param.name; });

TEST_F(ADirectQueue, StandsWhereTheFunctionHasUsed) {
  start();
  for (std::uint32_t token = 1; token <= 3; ++token)
    rig_.post(0, token);
  rig_.card().fetch(0);
  rig_.card().complete(0, 0, 1);
  const virtio::QueueState state = rig_.device->stop_queue(0);
  EXPECT_EQ(state.next_avail, 1);
  EXPECT_EQ(state.next_used, 1);
  EXPECT_FALSE(rig_.card().masters_bus());
}

// A full ring, as a guest keeps its receive queue; every place of it, beyond the end of the ring.
TEST_F(ADirectQueue, GoesOnInShadowWithChainsUnderWay) {
  for (unsigned done = 0; done < 20; ++done) {
    AcceleratedRig rig;
    rig.accept(kVersion1);
    rig.new_ring(0);
    rig.start(0);
    rig.settle();
    ASSERT_EQ(rig.device->mode(), Mode::direct);
    std::vector<std::uint32_t> seen, wanted;
    std::uint32_t token = 0;
    for (; token < AcceleratedRig::kRing; ++token)
      rig.post(0, token);
    for (unsigned i = 0; i < done; ++i) {
      rig.card().fetch(0);
      rig.card().complete(0, 0, 1);
      for (const std::uint32_t one : rig.taken(0))
        seen.push_back(one);
      rig.post(0, token++);
    }
    const virtio::QueueState state = rig.device->stop_queue(0);
    ASSERT_EQ(rig.device->counters().lost_order.get(), 0u) << done;
    ASSERT_EQ(state.next_avail, done);
    rig.start(0, state);
    rig.settle();
    ASSERT_EQ(rig.device->mode(), done == 0 ? Mode::direct : Mode::shadow);
    rig.card().serve(0);
    rig.pump();
    for (const std::uint32_t one : rig.taken(0))
      seen.push_back(one);
    for (std::uint32_t i = 0; i < token; ++i)
      wanted.push_back(i);
    EXPECT_EQ(seen, wanted);
  }
}

TEST_F(ADirectQueue, ThatWasServedOutOfOrderStandsStill) {
  for (const std::uint32_t posted : {3u, 8u}) {
    AcceleratedRig rig;
    rig.accept(kVersion1);
    rig.new_ring(0);
    rig.start(0);
    rig.settle();
    for (std::uint32_t token = 0; token < posted; ++token)
      rig.post(0, token);
    rig.card().fetch(0);
    rig.card().complete(0, 1, 1);
    if (posted == AcceleratedRig::kRing) {  // what was given back is posted again: the ring is full
      for (const std::uint32_t token : rig.taken(0))
        rig.post(0, token);
    }
    const virtio::QueueState state = rig.device->stop_queue(0);
    EXPECT_EQ(rig.device->counters().lost_order.get(), 1u);
    EXPECT_EQ(rig.signals.failed[0], 1);
    rig.start(0, {.next_avail = 1, .next_used = 1});
    EXPECT_EQ(rig.signals.failed[0], 2);
    const std::uint64_t later = monotonic_ns() + 20'000'000;
    rig.pump([later] { return monotonic_ns() >= later; });
    EXPECT_EQ(rig.device->mode(), Mode::stopped);
    EXPECT_EQ(state.next_avail, posted == AcceleratedRig::kRing ? 9 : 3);  // nothing is taken again
    EXPECT_EQ(rig.device->stop_queue(0).next_avail, state.next_avail);
    rig.leave();  // its front end comes back, and goes on from the used ring
    rig.boot();
    rig.accept(kVersion1);
    rig.start(0, {.next_avail = 1, .next_used = 1});
    EXPECT_EQ(rig.signals.failed[0], 3);
    rig.new_ring(0);  // its driver begins anew
    rig.start(0);
    rig.settle();
    EXPECT_EQ(rig.device->mode(), Mode::direct);
  }
}

// Head 0 waits for ever, and the driver has used head 1 alone since: both rings name it in all of their entries.
TEST_F(ADirectQueue, ThatRepeatsOneHeadIsNotTakenToBeInOrder) {
  start();
  std::byte* const ring = rig_.memory.data();
  const auto put16 = [ring](std::uint64_t at, std::uint16_t value) { std::memcpy(ring + at, &value, sizeof value); };
  for (std::uint64_t i = 0; i < 10; ++i)
    put16(0x400 + 4 + 2 * (i % 8), i == 0 ? 0 : 1);
  for (std::uint64_t i = 0; i < 9; ++i)
    put16(0x800 + 4 + 8 * (i % 8), 1);
  put16(0x400 + 2, 10);
  put16(0x800 + 2, 9);
  static_cast<void>(rig_.device->stop_queue(0));
  EXPECT_EQ(rig_.device->counters().lost_order.get(), 1u);
}

TEST_F(ADirectQueue, IsShadowedFromTheFirstLoggedWriteOn) {
  start();
  for (std::uint32_t token = 1; token <= 3; ++token)
    rig_.post(0, token);
  rig_.card().fetch(0);
  rig_.card().complete(0, 0, 1);
  ASSERT_TRUE(rig_.space->start_dirty_log());
  EXPECT_FALSE(rig_.card().masters_bus());  // before whoever asked for the log is answered
  rig_.settle();
  ASSERT_EQ(rig_.device->mode(), Mode::shadow);
  rig_.card().serve(0, 0x42);
  rig_.pump();
  EXPECT_THAT(rig_.taken(0), ElementsAre(1, 2, 3));
  std::vector<std::uint64_t> dirty(4);
  ASSERT_TRUE(rig_.space->take_dirty(Iova{AcceleratedRig::kBase}, ByteCount{AcceleratedRig::kSize}, 4096, dirty));
  const std::uint64_t page = (AcceleratedRig::buffer(3) - AcceleratedRig::kBase) / 4096;
  EXPECT_TRUE((dirty[page / 64] >> page % 64 & 1) != 0);
}

TEST_F(ADirectQueue, GetsTheFunctionsFeaturesOfRings) {
  AcceleratedRig rig({.function = kVersion1 | kPlatform | kEventIdx | kIndirect});
  rig.accept(kVersion1 | kEventIdx);
  rig.new_ring(0);
  rig.start(0);
  rig.settle();
  EXPECT_EQ(rig.device->mode(), Mode::direct);
  EXPECT_EQ(rig.card().accepted & (kEventIdx | kIndirect), kEventIdx);
}

}  // namespace
}  // namespace vmux::vdpa
