// SPDX-License-Identifier: BSD-3-Clause
// Both kinds of ring, with and without event index, against a driver that reads the specification by itself.
#include "virtio/queue.hpp"

#include <gtest/gtest.h>

#include "virtio/test/queue_rig.hpp"

namespace vmux::virtio {
namespace {

using fake_guest::VirtioPart;
using test::Kind;
using test::QueueRig;
using Tokens = std::vector<std::uint32_t>;

class VirtioQueue : public ::testing::TestWithParam<Kind> {
 protected:
  QueueRig rig{GetParam()};
  bool has_event_idx() const { return GetParam().has_event_idx; }
};

INSTANTIATE_TEST_SUITE_P(, VirtioQueue,
                         ::testing::Values(Kind{false, false}, Kind{false, true}, Kind{true, false}, Kind{true, true}),
                         [](const auto& each) {
                           return std::string{each.param.is_packed ? "Packed" : "Split"} +
                                  (each.param.has_event_idx ? "EventIdx" : "");
                         });

TEST_P(VirtioQueue, GivesChainsInOrderAndBack) {
  rig.post(1, 60);
  rig.post(2, 61);
  const auto chains = rig.queue.ready(2);
  ASSERT_EQ(chains.size(), 2u);
  EXPECT_EQ(rig.queue.readable(chains[1])[0].length, 61u);
  EXPECT_EQ(rig.queue.readable(chains[1])[0].at, Iova{QueueRig::kBuffers + 0x2000});
  EXPECT_EQ(rig.use({0, 0}), (Tokens{1, 2}));
}

TEST_P(VirtioQueue, TellsTheLengthWritten) {
  rig.driver->post({{QueueRig::kBuffers, 100, true}}, 7);
  ASSERT_EQ(rig.waiting(), 1u);
  const std::uint32_t written[] = {42};
  EXPECT_TRUE(rig.queue.use(written));
  EXPECT_EQ(rig.driver->take_used()->length, 42u);
}

TEST_P(VirtioQueue, ChainsOfManyBuffersGoRoundTheRing) {
  for (std::uint32_t token = 1; token <= 100; ++token) {  // 3 of 8 descriptors: every place in every lap
    rig.driver->post(
        {{QueueRig::kBuffers, 10, false}, {QueueRig::kBuffers + 64, 20, false}, {QueueRig::kBuffers + 128, 30, true}},
        token);
    const auto chains = rig.queue.ready(1);
    ASSERT_EQ(chains.size(), 1u);
    ASSERT_EQ(rig.queue.readable(chains[0]).size(), 2u);
    ASSERT_EQ(rig.queue.writable(chains[0])[0].length, 30u);
    ASSERT_EQ(rig.use({30}), Tokens{token});
  }
}

TEST_P(VirtioQueue, KeepsWhatWasReadAndNotUsed) {
  rig.post(1);
  rig.post(2);
  rig.post(3);
  EXPECT_EQ(rig.waiting(), 3u);
  EXPECT_EQ(rig.use({0}), Tokens{1});
  rig.post(4);
  const auto chains = rig.queue.ready(Queue::kMaxReady);
  ASSERT_EQ(chains.size(), 3u);
  EXPECT_EQ(rig.queue.readable(chains[0])[0].at, Iova{QueueRig::kBuffers + 0x2000});
  EXPECT_EQ(rig.use({0, 0, 0}), (Tokens{2, 3, 4}));
}

TEST_P(VirtioQueue, ReadsAnIndirectTable) {
  rig.driver->post({{QueueRig::kBuffers, 10, false}, {QueueRig::kBuffers + 64, 20, true}}, 5, QueueRig::kTables);
  const auto chains = rig.queue.ready(1);
  ASSERT_EQ(chains.size(), 1u);
  EXPECT_EQ(rig.queue.readable(chains[0])[0].length, 10u);
  EXPECT_EQ(rig.queue.writable(chains[0])[0].length, 20u);
  EXPECT_EQ(rig.use({20}), Tokens{5});
}

TEST_P(VirtioQueue, ReadsADescriptorOnce) {
  rig.post(1, 60);
  ASSERT_EQ(rig.waiting(), 1u);
  rig.driver->put<std::uint32_t>(QueueRig::kDescriptors + 8, 1'000'000);  // the driver changes its mind
  const auto chains = rig.queue.ready(Queue::kMaxReady);
  EXPECT_EQ(rig.queue.readable(chains[0])[0].length, 60u);
}

TEST_P(VirtioQueue, GoesOnWhereAnotherStopped) {
  for (std::uint32_t token = 1; token <= 11; ++token) {
    rig.post(token);
    ASSERT_EQ(rig.waiting(), 1u);
    ASSERT_EQ(rig.use({0}), Tokens{token});
  }
  rig.post(12);
  ASSERT_EQ(rig.waiting(), 1u);  // read, and not used
  const QueueState state = rig.queue.stop();
  EXPECT_FALSE(rig.queue.is_started());
  ASSERT_TRUE(can_be(rig.setup, state));
  rig.queue.start(rig.setup, state);
  ASSERT_EQ(rig.waiting(), 1u);
  EXPECT_EQ(rig.use({0}), Tokens{12});
}

TEST_P(VirtioQueue, AsksForAnInterruptWhenTheDriverWantsOne) {
  rig.driver->want_interrupt(has_event_idx());
  rig.post(1);
  ASSERT_EQ(rig.waiting(), 1u);
  EXPECT_FALSE(rig.queue.take_interrupt());  // nothing used yet
  rig.use({0});
  EXPECT_TRUE(rig.queue.take_interrupt());
  EXPECT_FALSE(rig.queue.take_interrupt());  // told
}

TEST_P(VirtioQueue, IsSilentWhenTheDriverLooksForItself) {
  rig.driver->refuse_interrupts(has_event_idx());
  rig.post(1);
  ASSERT_EQ(rig.waiting(), 1u);
  rig.use({0});
  EXPECT_FALSE(rig.queue.take_interrupt());
}

TEST_P(VirtioQueue, KicksAreRefusedAndAskedFor) {
  rig.queue.refuse_kicks();
  rig.post(1);
  EXPECT_FALSE(rig.driver->wants_kick(has_event_idx()));
  ASSERT_EQ(rig.waiting(), 1u);
  EXPECT_FALSE(rig.queue.ask_for_kicks());
  rig.post(2);
  EXPECT_TRUE(rig.driver->wants_kick(has_event_idx()));
}

TEST_P(VirtioQueue, FindsWhatCameBeforeItAskedForKicks) {
  rig.post(1);
  EXPECT_TRUE(rig.queue.ask_for_kicks());
}

TEST_P(VirtioQueue, StopsAtABufferToReadBehindOneToWrite) {
  rig.driver->post({{QueueRig::kBuffers, 10, true}, {QueueRig::kBuffers + 64, 10, false}}, 1);
  EXPECT_EQ(rig.waiting(), 0u);
  EXPECT_EQ(rig.queue.fault(), Fault::bad_descriptor);
  EXPECT_FALSE(rig.queue.runs());
  rig.start_over();
  EXPECT_TRUE(rig.queue.runs());
}

TEST_P(VirtioQueue, StopsAtATableWithinATable) {
  const std::vector<VirtioPart> parts{{QueueRig::kBuffers, 10, false}};
  rig.driver->add(parts, 1, QueueRig::kTables);
  const std::uint64_t flags = QueueRig::kTables + (GetParam().is_packed ? 14 : 12);
  rig.driver->put<std::uint16_t>(flags, 4);
  rig.driver->publish();
  EXPECT_EQ(rig.waiting(), GetParam().is_packed ? 1u : 0u);  // packed: the flag means nothing there (2.8.7)
  EXPECT_EQ(rig.queue.fault(), GetParam().is_packed ? Fault::none : Fault::bad_descriptor);
}

TEST_P(VirtioQueue, StopsAtATableThatWasNotAgreedUpon) {
  rig.setup.has_indirect = false;
  rig.start_over();
  rig.driver->post({{QueueRig::kBuffers, 10, false}}, 1, QueueRig::kTables);
  EXPECT_EQ(rig.waiting(), 0u);
  EXPECT_EQ(rig.queue.fault(), Fault::bad_descriptor);
}

TEST_P(VirtioQueue, StopsAtATableOutsideMemory) {
  rig.driver->post({{QueueRig::kBuffers, 10, false}}, 1, QueueRig::kTables);
  ASSERT_EQ(rig.waiting(), 1u);
  rig.use({0});
  rig.driver->add({{QueueRig::kBuffers, 10, false}}, 2, QueueRig::kTables);
  for (std::uint64_t at = QueueRig::kDescriptors; at < QueueRig::kDescriptors + 8 * 16; at += 16)
    rig.driver->put<std::uint64_t>(at, QueueRig::kBase - 0x1000);
  rig.driver->publish();
  EXPECT_EQ(rig.waiting(), 0u);
  EXPECT_EQ(rig.queue.fault(), Fault::ring_unmapped);
}

TEST_P(VirtioQueue, StopsWhenItsRingIsTakenAway) {
  rig.post(1);
  ASSERT_TRUE(rig.space().unmap(Iova{QueueRig::kBase}, ByteCount{QueueRig::kSize}, [] {}));
  EXPECT_EQ(rig.waiting(), 0u);
  EXPECT_EQ(rig.queue.fault(), Fault::ring_unmapped);
}

TEST(VirtioSplitQueue, StopsAtALoop) {
  QueueRig rig{{false, false}};
  rig.driver->add({{QueueRig::kBuffers, 10, false}, {QueueRig::kBuffers, 10, false}}, 1);
  rig.driver->put<std::uint16_t>(QueueRig::kDescriptors + 16 + 12, 1);  // descriptor 1 leads on to 0
  rig.driver->put<std::uint16_t>(QueueRig::kDescriptors + 16 + 14, 0);
  rig.driver->publish();
  EXPECT_EQ(rig.waiting(), 0u);
  EXPECT_EQ(rig.queue.fault(), Fault::chain_too_long);
}

// None of them is a buffer, and each costs a look.
TEST(VirtioQueues, StopAtMoreDescriptorsThanBuffersWhateverTheirLength) {
  for (const bool is_packed : {false, true}) {
    QueueRig rig{{is_packed, false}, 1024};
    const std::vector<fake_guest::VirtioPart> empty(1023, {QueueRig::kBuffers, 0, false});
    rig.driver->add(empty, 1);
    rig.driver->publish();
    EXPECT_EQ(rig.waiting(), 0u);
    EXPECT_EQ(rig.queue.fault(), Fault::chain_too_long);
  }
}

TEST(VirtioSplitQueue, StopsAtADescriptorBeyondItsTable) {
  QueueRig rig{{false, false}};
  rig.driver->put<std::uint16_t>(QueueRig::kDriver + 4, 8);
  rig.driver->put<std::uint16_t>(QueueRig::kDriver + 2, 1);
  EXPECT_EQ(rig.waiting(), 0u);
  EXPECT_EQ(rig.queue.fault(), Fault::ring_index);
}

TEST(VirtioSplitQueue, StopsWhenMoreIsAvailableThanTheRingHolds) {
  QueueRig rig{{false, false}};
  rig.driver->put<std::uint16_t>(QueueRig::kDriver + 2, 9);
  EXPECT_EQ(rig.waiting(), 0u);
  EXPECT_EQ(rig.queue.fault(), Fault::ring_index);
}

TEST(VirtioSplitQueue, StopsWhenMoreIsAvailableThanTheRingHoldsBesideWhatWaits) {
  QueueRig rig{{false, false}};
  rig.post(1);
  ASSERT_EQ(rig.waiting(), 1u);
  rig.driver->put<std::uint16_t>(QueueRig::kDriver + 2, 9);
  EXPECT_EQ(rig.waiting(), 0u);
  EXPECT_EQ(rig.queue.fault(), Fault::ring_index);
}

TEST(VirtioPackedQueue, StopsAtAChainAsLongAsItsRing) {
  QueueRig rig{{true, false}};
  for (std::uint64_t i = 0; i < 8; ++i) {
    rig.driver->put<std::uint32_t>(QueueRig::kDescriptors + 16 * i + 8, 10);
    rig.driver->put<std::uint16_t>(QueueRig::kDescriptors + 16 * i + 14, 0x81);
  }
  EXPECT_EQ(rig.waiting(), 0u);
  EXPECT_EQ(rig.queue.fault(), Fault::chain_too_long);
}

TEST(VirtioPackedQueue, TellsAtTheDescriptorThatTheDriverNamed) {
  QueueRig rig{{true, true}};
  rig.driver->want_interrupt(true, 3);
  for (std::uint32_t token = 1; token <= 3; ++token)
    rig.post(token);
  ASSERT_EQ(rig.waiting(), 3u);
  rig.use({0, 0});
  EXPECT_FALSE(rig.queue.take_interrupt());
  rig.use({0});
  EXPECT_TRUE(rig.queue.take_interrupt());
}

TEST(VirtioPackedQueue, TellsAtADescriptorOfTheLapThatIsOver) {
  QueueRig rig{{true, true}};
  for (std::uint32_t token = 1; token <= 7; ++token)
    rig.post(token);
  ASSERT_EQ(rig.waiting(), 7u);
  rig.use({0, 0, 0, 0, 0, 0, 0});
  static_cast<void>(rig.queue.take_interrupt());
  rig.driver->want_interrupt(true, 1);  // the last descriptor of the ring
  rig.post(1);
  rig.post(2);
  ASSERT_EQ(rig.waiting(), 2u);
  rig.use({0, 0});
  EXPECT_TRUE(rig.queue.take_interrupt());
}

TEST(VirtioPackedQueue, StopsAtALapOfEmptyBuffers) {
  QueueRig rig{{true, false}};
  for (std::uint64_t i = 0; i < 8; ++i)
    rig.driver->put<std::uint16_t>(QueueRig::kDescriptors + 16 * i + 14, 0x81);
  EXPECT_EQ(rig.waiting(), 0u);
  EXPECT_EQ(rig.queue.fault(), Fault::chain_too_long);
}

TEST(VirtioSplitQueue, StopsAtALoopOfEmptyBuffers) {
  QueueRig rig{{false, false}};
  rig.driver->add({{QueueRig::kBuffers, 0, false}}, 1);
  rig.driver->put<std::uint16_t>(QueueRig::kDescriptors + 12, 1);
  rig.driver->put<std::uint16_t>(QueueRig::kDescriptors + 14, 0);
  rig.driver->publish();
  EXPECT_EQ(rig.waiting(), 0u);
  EXPECT_EQ(rig.queue.fault(), Fault::chain_too_long);
}

TEST(VirtioSplitQueue, TellsAtTheChainThatTheDriverNamed) {
  QueueRig rig{{false, true}};
  rig.driver->want_interrupt(true, 3);
  for (std::uint32_t token = 1; token <= 3; ++token)
    rig.post(token);
  ASSERT_EQ(rig.waiting(), 3u);
  rig.use({0, 0});
  EXPECT_FALSE(rig.queue.take_interrupt());
  rig.use({0});
  EXPECT_TRUE(rig.queue.take_interrupt());
}

TEST(VirtioQueueSetup, HasRulesForPlaceAndSize) {
  const QueueSetup fine{Iova{0x1000}, Iova{0x2002}, Iova{0x3004}, 256};
  EXPECT_TRUE(can_be(fine));
  QueueSetup wrong = fine;
  wrong.size = 0;
  EXPECT_FALSE(can_be(wrong));
  wrong.size = 100;
  EXPECT_FALSE(can_be(wrong));
  wrong.is_packed = true;
  wrong.driver = Iova{0x2004};
  EXPECT_TRUE(can_be(wrong));
  wrong.driver = Iova{0x2002};
  EXPECT_FALSE(can_be(wrong));
  wrong = fine;
  wrong.descriptors = Iova{0x1008};
  EXPECT_FALSE(can_be(wrong));
  wrong = fine;
  wrong.descriptors = Iova{~std::uint64_t{0} - 15};
  EXPECT_FALSE(can_be(wrong));
}

TEST(VirtioQueueEvent, PassesOnlyWhatLiesBetween) {
  EXPECT_TRUE(passes(5, 6, 5));
  EXPECT_FALSE(passes(5, 5, 4));
  EXPECT_FALSE(passes(6, 6, 5));
  EXPECT_TRUE(passes(0xffff, 0, 0xfffe));
}

}  // namespace
}  // namespace vmux::virtio
