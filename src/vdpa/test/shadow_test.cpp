// SPDX-License-Identifier: BSD-3-Clause
// Rings of ours between a guest and a function: order, indices, dirty pages, and either side's lies.
#include <gmock/gmock.h>

#include "vdpa/test/accelerated_rig.hpp"

namespace vmux::vdpa {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using namespace test;

struct Kind {
  const char* name;
  std::uint64_t features;
};

class AShadowedQueue : public testing::TestWithParam<Kind> {
 protected:
  AShadowedQueue() : rig_({.only_shadow = true}) { rig_.accept(GetParam().features | kVersion1); }
  void start(unsigned queue = 0) {
    rig_.new_ring(queue);
    rig_.start(queue);
    rig_.settle();
  }
  AcceleratedRig rig_;
};

TEST_P(AShadowedQueue, BringsChainsToTheFunctionAndBack) {
  start();
  ASSERT_EQ(rig_.device->mode(), Mode::shadow);
  const int told = rig_.signals.used[0];
  rig_.post(0, 1);
  EXPECT_EQ(rig_.card().serve(0, 0x77), 1u);
  rig_.pump();
  EXPECT_THAT(rig_.taken(0), ElementsAre(1));
  EXPECT_EQ(rig_.byte_at(1), 0x77);
  EXPECT_EQ(rig_.signals.used[0], told + 1);
  EXPECT_EQ(rig_.machine.iommu.faults, 0);
}

TEST_P(AShadowedQueue, GivesThemBackInTheGuestsOrder) {
  start();
  for (std::uint32_t token = 1; token <= 3; ++token)
    rig_.post(0, token);
  ASSERT_EQ(rig_.card().fetch(0), 3u);
  rig_.card().complete(0, 2, 3);
  rig_.pump();
  EXPECT_THAT(rig_.taken(0), IsEmpty());
  rig_.card().complete(0, 0, 1);
  rig_.pump();
  EXPECT_THAT(rig_.taken(0), ElementsAre(1));
  rig_.card().complete(0, 0, 2);
  rig_.pump();
  EXPECT_THAT(rig_.taken(0), ElementsAre(2, 3));
}

// Chains in flight when it stops, one of them done out of its turn: none is lost, none is given back twice. Often
// enough for a packed ring to go round, at each of its places.
TEST_P(AShadowedQueue, GoesOnWhereItStoppedWithChainsUnderWay) {
  start();
  std::vector<std::uint32_t> seen, wanted;
  std::uint32_t token = 0;
  for (int round = 0; round < 40; ++round) {
    const std::uint32_t posted = 1 + static_cast<std::uint32_t>(round) % 5;
    for (std::uint32_t i = 0; i < posted; ++i) {
      wanted.push_back(++token % 100);
      rig_.post(0, token % 100);
    }
    rig_.card().fetch(0);
    if (posted > 2) rig_.card().complete(0, 2, 9);
    rig_.card().complete(0, 0, 9);
    const virtio::QueueState state = rig_.device->stop_queue(0);
    EXPECT_EQ(rig_.card().status, 0);
    EXPECT_FALSE(rig_.card().masters_bus());
    for (const std::uint32_t one : rig_.taken(0))
      seen.push_back(one);
    rig_.start(0, state);
    rig_.settle();
    rig_.card().serve(0);
    rig_.pump();
    for (const std::uint32_t one : rig_.taken(0))
      seen.push_back(one);
  }
  EXPECT_EQ(seen, wanted);
}

TEST_P(AShadowedQueue, StandsAtWhatTheFunctionHasDone) {
  start();
  for (std::uint32_t token = 1; token <= 3; ++token)
    rig_.post(0, token);
  rig_.card().fetch(0);
  rig_.card().complete(0, 0, 1);
  const virtio::QueueState state = rig_.device->stop_queue(0);
  EXPECT_EQ(state.next_avail, 1);
  EXPECT_EQ(state.next_used, 1);
}

TEST_P(AShadowedQueue, WaitsForRoomInAShorterRing) {
  AcceleratedRig rig({.function_ring = 4, .only_shadow = true});
  rig.accept(GetParam().features | kVersion1);
  rig.new_ring(0);
  rig.start(0);
  rig.settle();
  for (std::uint32_t token = 1; token <= 4; ++token)
    rig.rings[0]->post({{AcceleratedRig::buffer(token), 50, false}, {AcceleratedRig::buffer(token) + 50, 50, true}},
                       token);
  rig.device->kicked(0);
  EXPECT_EQ(rig.card().serve(0), 2u);
  rig.pump();
  EXPECT_EQ(rig.card().serve(0), 2u);
  rig.pump();
  EXPECT_THAT(rig.taken(0), ElementsAre(1, 2, 3, 4));
}

TEST_P(AShadowedQueue, StopsAtAChainThatTheFunctionHasNoRingFor) {
  AcceleratedRig rig({.function_ring = 2, .only_shadow = true});
  rig.accept(GetParam().features | kVersion1);
  rig.new_ring(0);
  rig.start(0);
  rig.settle();
  const std::uint64_t at = AcceleratedRig::buffer(1);
  rig.rings[0]->post({{at, 50, false}, {at + 50, 50, false}, {at + 100, 50, true}}, 1);
  rig.device->kicked(0);
  EXPECT_EQ(rig.signals.failed[0], 1);
}

TEST_P(AShadowedQueue, DoesNotGiveTheFunctionWhatIsNotTheGuests) {
  start();
  const auto ours = std::prev(rig_.machine.iommu.ranges.end())->first;  // behind all that the guest has
  ASSERT_GT(ours, AcceleratedRig::kBase + AcceleratedRig::kSize);
  rig_.rings[0]->post({{ours, 64, true}}, 1);
  rig_.device->kicked(0);
  EXPECT_EQ(rig_.card().fetch(0), 0u);
  EXPECT_EQ(rig_.signals.failed[0], 1);
  EXPECT_EQ(rig_.device->mode(), Mode::shadow);  // it is the guest's queue alone that stands still
}

TEST_P(AShadowedQueue, MarksWhatTheFunctionWrites) {
  ASSERT_TRUE(rig_.space->start_dirty_log());
  start();
  rig_.rings[0]->post({{AcceleratedRig::buffer(2), 10, false}, {AcceleratedRig::buffer(5) + 4000, 200, true}}, 5);
  rig_.device->kicked(0);
  rig_.card().serve(0);
  rig_.pump();
  ASSERT_THAT(rig_.taken(0), ElementsAre(5));
  std::vector<std::uint64_t> dirty(4);
  ASSERT_TRUE(rig_.space->take_dirty(Iova{AcceleratedRig::kBase}, ByteCount{AcceleratedRig::kSize}, 4096, dirty));
  const auto is_dirty = [&dirty](std::uint64_t at) {
    const std::uint64_t page = (at - AcceleratedRig::kBase) / 4096;
    return (dirty[page / 64] >> page % 64 & 1) != 0;
  };
  EXPECT_TRUE(is_dirty(AcceleratedRig::ring_at(0)));
  EXPECT_TRUE(is_dirty(AcceleratedRig::buffer(5)));
  EXPECT_TRUE(is_dirty(AcceleratedRig::buffer(6)));
  EXPECT_FALSE(is_dirty(AcceleratedRig::buffer(2)));
}

TEST_P(AShadowedQueue, OutlivesAFunctionThatUsesWhatItWasNotGiven) {
  start();
  rig_.post(0, 1);
  rig_.card().fetch(0);
  rig_.card().use(0, 5, 0);
  rig_.pump([this] { return rig_.device->mode() == Mode::software; });
  EXPECT_FALSE(rig_.card().masters_bus());
  EXPECT_THAT(rig_.taken(0), ElementsAre(1));
  EXPECT_EQ(rig_.device->counters().failures.get(), 1u);
}

TEST_P(AShadowedQueue, OutlivesAFunctionThatUsesMoreThanItWasGiven) {
  start();
  rig_.post(0, 1);
  rig_.card().fetch(0);
  rig_.card().queues[0].used = 100;
  rig_.card().use(0, 0, 0);
  rig_.pump([this] { return rig_.device->mode() == Mode::software; });
  EXPECT_EQ(rig_.device->shadowed_chains(), 0u);  // nothing of it is believed
  EXPECT_THAT(rig_.taken(0), ElementsAre(1));
}

TEST_P(AShadowedQueue, DoesNotBelieveHowMuchWasWritten) {
  start();
  rig_.post(0, 1);
  rig_.card().fetch(0);
  rig_.card().use(0, rig_.card().queues[0].taken.front().head, 0xffffffff);
  rig_.pump();
  const auto used = rig_.rings[0]->take_used();
  ASSERT_TRUE(used);
  EXPECT_EQ(used->length, 100u);
}

TEST_P(AShadowedQueue, LetsOneQueueStopWhileOthersGoOn) {
  rig_.new_ring(0);
  rig_.new_ring(1);
  rig_.start(0);
  rig_.start(1);
  rig_.settle();
  rig_.post(0, 1);
  rig_.post(1, 2);
  static_cast<void>(rig_.device->stop_queue(1));
  EXPECT_FALSE(rig_.card().is_live());
  rig_.settle();
  EXPECT_EQ(rig_.card().queues[1].enabled, 0);
  EXPECT_EQ(rig_.card().serve(0), 1u);
  rig_.pump();
  EXPECT_THAT(rig_.taken(0), ElementsAre(1));
  EXPECT_THAT(rig_.taken(1), IsEmpty());
}

TEST_P(AShadowedQueue, SharesVectorsThatAreTooFew) {
  AcceleratedRig rig({.vectors = 1, .only_shadow = true});
  rig.accept(GetParam().features | kVersion1);
  for (unsigned queue = 0; queue < 2; ++queue) {
    rig.new_ring(queue);
    rig.start(queue);
  }
  rig.settle();
  rig.post(0, 1);
  rig.post(1, 2);
  rig.card().serve(0);
  rig.card().serve(1);
  rig.pump();
  EXPECT_THAT(rig.taken(0), ElementsAre(1));
  EXPECT_THAT(rig.taken(1), ElementsAre(2));
}

TEST_P(AShadowedQueue, AnnouncesItsGuestItself) {
  rig_.new_ring(1);
  rig_.start(1);
  rig_.settle();
  const MacAddress station{2, 0, 0, 0, 0, 9};
  rig_.device->announce(station);
  ASSERT_EQ(rig_.card().fetch(1), 1u);
  const fake::Piece piece = rig_.card().queues[1].taken.front().pieces.at(0);
  ASSERT_EQ(piece.length, 12u + 60);
  const std::byte* const frame = rig_.machine.iommu.at(piece.at, piece.length) + 12;
  EXPECT_EQ(std::to_integer<int>(frame[0]), 0xff);
  EXPECT_EQ(std::to_integer<int>(frame[11]), 9);
  EXPECT_EQ(std::to_integer<int>(frame[12]), 0x80);
  EXPECT_EQ(std::to_integer<int>(frame[13]), 0x35);
  rig_.card().complete(1, 0, 0);
  rig_.post(1, 4);
  rig_.card().serve(1);
  rig_.pump();
  EXPECT_THAT(rig_.taken(1), ElementsAre(4));  // no guest has ever seen it
}

INSTANTIATE_TEST_SUITE_P(All, AShadowedQueue,
                         testing::Values(Kind{"split", 0}, Kind{"split_event_idx", kEventIdx}, Kind{"packed", kPacked},
                                         Kind{"packed_event_idx", kPacked | kEventIdx}),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace vmux::vdpa
