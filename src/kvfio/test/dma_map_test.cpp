// SPDX-License-Identifier: BSD-3-Clause
#include "kvfio/dma_map.hpp"

#include <array>

#include "kvfio/group_kernel.hpp"
#include "kvfio/test/fake_kernel.hpp"

namespace vmux::kvfio {
namespace {

constexpr OwnerBit kOne = 1, kTwo = 2;

class ADmaMap : public testing::Test {
 protected:
  Result<void> map(OwnerBit owner, std::uint64_t start, std::uint64_t size, ino_t inode = 7) {
    return map_.map(domain_, owner,
                    {Iova{start}, ByteCount{size}, memory::Access::read_write, {1, inode, start}, &byte_});
  }
  void unmap(OwnerBit owner, std::uint64_t start, std::uint64_t size) {
    EXPECT_TRUE(map_.unmap(domain_, owner, Iova{start}, ByteCount{size}));
  }

  std::byte byte_{};
  fake::TestKernel kernel_;
  fake::Domain domain_{kernel_};
  DmaMap map_;
};

TEST_F(ADmaMap, CountsCallsPagesAndWhatIsPinnedNow) {
  ASSERT_TRUE(map(kOne, 0x1000, 0x2000));
  ASSERT_TRUE(map(kOne, 0x3000, 0x1000));
  EXPECT_EQ(map_.counters().maps, 2u);
  EXPECT_EQ(map_.counters().pinned, 3u);
  unmap(kOne, 0x1000, 0x2000);
  EXPECT_EQ(map_.counters().pinned, 1u);
  EXPECT_EQ(map_.counters().pinned_ever, 3u);
}

TEST_F(ADmaMap, UnmapsNeighboursInOneCall) {
  ASSERT_TRUE(map(kOne, 0x1000, 0x1000));
  ASSERT_TRUE(map(kOne, 0x2000, 0x1000));
  ASSERT_TRUE(map(kOne, 0x100000000, 0x1000));
  ASSERT_TRUE(map_.unmap_all(domain_, kOne));
  EXPECT_EQ(kernel_.unmap_calls, 1);
  EXPECT_TRUE(kernel_.maps.empty());
}

TEST_F(ADmaMap, PinsOnceWhatTwoFunctionsOfAVmReach) {
  ASSERT_TRUE(map(kOne, 0x1000, 0x1000));
  ASSERT_TRUE(map(kTwo, 0x1000, 0x1000));
  EXPECT_EQ(kernel_.map_calls, 1);
  EXPECT_EQ(map_.counters().shared, 1u);
  unmap(kOne, 0x1000, 0x1000);
  EXPECT_EQ(kernel_.maps.size(), 1u);
  unmap(kTwo, 0x1000, 0x1000);
  EXPECT_TRUE(kernel_.maps.empty());
}

// What is taken out of the domain lies between what is kept, before it, and behind it.
TEST_F(ADmaMap, SettlesByTakingAwayAllThatIsNotAdopted) {
  kernel_.maps = {{0, 0x1000}, {0x1000, 0x1000}, {0x2000, 0x1000}, {0x8000, 0x1000}, {1ull << 50, 0x1000}};
  const DmaMap::Holding held{Iova{0x1000}, ByteCount{0x1000}, memory::Access::read_write, {1, 7, 0}, ByteCount{0x1000}};
  ASSERT_TRUE(map_.adopt(kOne, held, &byte_));
  ASSERT_TRUE(map_.settle(domain_, 0));
  EXPECT_EQ(kernel_.maps, (std::map<std::uint64_t, std::uint64_t>{{0x1000, 0x1000}}));
  EXPECT_EQ(map_.counters().pinned, 1u);
  ASSERT_EQ(map_.holdings(kOne).size(), 1u);
  EXPECT_EQ(map_.holdings(kOne)[0].start, Iova{0x1000});
  EXPECT_TRUE(map_.holdings(kTwo).empty());
}

TEST_F(ADmaMap, AdoptsNoRangeThatThereCannotBe) {
  constexpr auto kAccess = memory::Access::read_write;
  const DmaMap::Holding good{Iova{0x1000}, ByteCount{0x2000}, kAccess, {1, 7, 0}, ByteCount{0x1000}};
  const auto refuses = [&](DmaMap::Holding bad) { return !map_.adopt(kTwo, bad, &byte_); };
  ASSERT_TRUE(map_.adopt(kOne, good, &byte_));
  EXPECT_TRUE(refuses({Iova{0x1000}, ByteCount{0}, kAccess, {}, ByteCount{0}}));
  EXPECT_TRUE(refuses({Iova{0x1001}, ByteCount{0x1000}, kAccess, {}, ByteCount{0}}));
  EXPECT_TRUE(refuses({Iova{~0xfffull}, ByteCount{0x1000}, kAccess, {}, ByteCount{0}}));
  EXPECT_TRUE(refuses({Iova{~0xfffull}, ByteCount{0x2000}, kAccess, {}, ByteCount{0}}));
  EXPECT_TRUE(refuses({Iova{0x8000}, ByteCount{0x1000}, kAccess, {}, ByteCount{0x2000}}));
  EXPECT_TRUE(refuses({Iova{0x8000}, ByteCount{0x1000}, kAccess, {}, ByteCount{1}}));
  EXPECT_TRUE(refuses({Iova{0x2000}, ByteCount{0x2000}, kAccess, {}, ByteCount{0}}));
  EXPECT_TRUE(refuses({Iova{0x1000}, ByteCount{0x2000}, kAccess, {1, 8, 0}, ByteCount{0}}));
  EXPECT_FALSE(map_.adopt(kOne, good, &byte_)) << "twice";
  EXPECT_TRUE(map_.adopt(kTwo, good, &byte_));
  map_.disown(kOne);
  EXPECT_EQ(map_.counters().pinned, 1u);
  map_.disown(kTwo);
  EXPECT_EQ(map_.counters().pinned, 0u);
  EXPECT_EQ(map_.size(), 0u);
}

TEST(GroupKernel, KnowsSinceWhenAProcessMayUnmapForAnother) {
  EXPECT_FALSE(lets_others_unmap("5.19.0-50-generic"));
  EXPECT_TRUE(lets_others_unmap("6.0.0"));
  EXPECT_TRUE(lets_others_unmap("6.1.0-28-amd64"));
  EXPECT_TRUE(lets_others_unmap("10.0"));
  EXPECT_FALSE(lets_others_unmap("?"));
}

TEST_F(ADmaMap, RefusesOtherMemoryAtTheSamePlace) {
  ASSERT_TRUE(map(kOne, 0x1000, 0x1000, 7));
  const auto other_vm = map(kTwo, 0x1000, 0x1000, 8);
  ASSERT_FALSE(other_vm);
  EXPECT_EQ(other_vm.error().code, Errc::already_exists);
  EXPECT_FALSE(map(kTwo, 0x0, 0x2000, 7));  // overlaps, without being the same
  EXPECT_EQ(map_.counters().refused, 2u);
}

TEST_F(ADmaMap, KeepsWhatOthersReachInTheMiddleOfAnUnmap) {
  ASSERT_TRUE(map(kOne, 0x1000, 0x1000));
  ASSERT_TRUE(map(kOne, 0x2000, 0x1000));
  ASSERT_TRUE(map(kOne, 0x3000, 0x1000));
  ASSERT_TRUE(map(kTwo, 0x2000, 0x1000));
  ASSERT_TRUE(map_.unmap_all(domain_, kOne));
  EXPECT_EQ(kernel_.unmap_calls, 2);
  EXPECT_EQ(kernel_.maps, (std::map<std::uint64_t, std::uint64_t>{{0x2000, 0x1000}}));
}

TEST_F(ADmaMap, RemembersNothingThatTheKernelRefused) {
  kernel_.can_pin = false;
  EXPECT_FALSE(map(kOne, 0x1000, 0x1000));
  EXPECT_EQ(map_.size(), 0u);
  kernel_.can_pin = true;
  EXPECT_TRUE(map(kOne, 0x1000, 0x1000));
}

TEST_F(ADmaMap, PassesOnThatTheKernelDoesNotUnmapAndMapsNothingElseThere) {
  ASSERT_TRUE(map(kOne, 0x1000, 0x2000));
  kernel_.can_unpin = false;
  const auto refused = map_.unmap(domain_, kOne, Iova{0x1000}, ByteCount{0x2000});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().as_errno(), EFAULT);
  EXPECT_EQ(map_.counters().stuck, 2u);
  EXPECT_EQ(map_.counters().pinned, 2u);
  EXPECT_FALSE(map(kOne, 0x1000, 0x2000)) << "even of the same memory: nobody knows what the kernel has there";
}

TEST_F(ADmaMap, AsksAgainForWhatTheKernelKept) {
  ASSERT_TRUE(map(kOne, 0x1000, 0x1000));
  kernel_.can_unpin = false;
  ASSERT_FALSE(map_.unmap_all(domain_, kOne));
  kernel_.can_unpin = true;
  ASSERT_TRUE(map_.unmap_all(domain_, kTwo));
  EXPECT_FALSE(map_.has_stuck());
  EXPECT_EQ(map_.counters().pinned, 0u);
  EXPECT_TRUE(kernel_.maps.empty());
  EXPECT_TRUE(map(kOne, 0x1000, 0x1000));
}

TEST_F(ADmaMap, UnmapsTheOtherRunsWhenTheKernelKeepsOne) {
  ASSERT_TRUE(map(kOne, 0x1000, 0x1000));
  ASSERT_TRUE(map(kTwo, 0x2000, 0x1000));
  ASSERT_TRUE(map(kOne, 0x3000, 0x1000));
  kernel_.kept = 0x1000;
  EXPECT_FALSE(map_.unmap_all(domain_, kOne));
  EXPECT_EQ(kernel_.maps, (std::map<std::uint64_t, std::uint64_t>{{0x1000, 0x1000}, {0x2000, 0x1000}}));
  EXPECT_EQ(map_.counters().stuck, 1u);
}

TEST_F(ADmaMap, TakesARangeThatEndsAtTheTop) {
  ASSERT_TRUE(map(kOne, ~0ull - 0xfff, 0x1000));
  unmap(kOne, 0, ~0ull);
  EXPECT_TRUE(kernel_.maps.empty());
}

// No time is measured: every answer is late, every piece was quick.
constexpr PinPace kImpatient{
    .answer_within_ns = 0, .smallest_piece = 0x4000, .largest_piece = 0x10000, .quick_ns = ~0ull, .slow_ns = ~0ull};

class AnImpatientDmaMap : public testing::Test {
 protected:
  Result<void> map(OwnerBit owner, std::uint64_t start, std::uint64_t size, bool may_follow = true) {
    return map_.map(
        domain_, owner,
        {Iova{start}, ByteCount{size}, memory::Access::read_write, {1, 7, start}, memory_.data(), may_follow});
  }

  std::array<std::byte, 0x20000> memory_{};
  fake::TestKernel kernel_;
  fake::Domain domain_{kernel_};
  DmaMap map_{kImpatient};
};

TEST_F(AnImpatientDmaMap, AnswersBeforeAllIsPinnedAndPinsTheRestInAlignedPieces) {
  ASSERT_TRUE(map(kOne, 0x1000, 0x9000));
  EXPECT_TRUE(kernel_.maps.empty());
  EXPECT_EQ(map_.counters().waiting, 9u);
  ASSERT_TRUE(map_.work(domain_));
  EXPECT_EQ(kernel_.maps, (std::map<std::uint64_t, std::uint64_t>{{0x1000, 0x3000}}));
  EXPECT_EQ(map_.counters().waiting, 6u);
  ASSERT_TRUE(map_.finish(domain_));
  EXPECT_EQ(map_.counters().pinned, 9u);
  EXPECT_FALSE(map_.has_backlog());
  ASSERT_TRUE(map_.unmap_all(domain_, kOne));
  EXPECT_TRUE(kernel_.maps.empty());
  EXPECT_EQ(kernel_.unmap_calls, 1);
}

TEST_F(AnImpatientDmaMap, TakesLargerPiecesWhileTheKernelIsQuick) {
  ASSERT_TRUE(map(kOne, 0x100000, 0x20000));
  ASSERT_TRUE(map_.finish(domain_));
  EXPECT_EQ(kernel_.maps, (std::map<std::uint64_t, std::uint64_t>{
                              {0x100000, 0x4000}, {0x104000, 0x4000}, {0x108000, 0x8000}, {0x110000, 0x10000}}));
}

TEST_F(AnImpatientDmaMap, PinsAtOnceWhatMayNotFollow) {
  ASSERT_TRUE(map(kOne, 0x0, 0x9000));
  ASSERT_TRUE(map(kOne, 0x100000, 0x1000, /*may_follow=*/false));
  EXPECT_EQ(kernel_.maps.count(0x100000), 1u);
  EXPECT_EQ(map_.counters().waiting, 9u);
}

TEST_F(AnImpatientDmaMap, ForgetsAPromiseThatIsUnmapped) {
  ASSERT_TRUE(map(kOne, 0x0, 0x9000));
  ASSERT_TRUE(map_.work(domain_));
  ASSERT_TRUE(map_.unmap(domain_, kOne, Iova{0}, ByteCount{0x9000}));
  EXPECT_EQ(map_.counters().waiting, 0u);
  EXPECT_EQ(map_.counters().pinned, 0u);
  ASSERT_TRUE(map_.finish(domain_));
  EXPECT_TRUE(kernel_.maps.empty());
}

TEST_F(AnImpatientDmaMap, KeepsItsPromiseBeforeAnotherFunctionSharesTheRange) {
  ASSERT_TRUE(map(kOne, 0x0, 0x9000));
  ASSERT_TRUE(map(kTwo, 0x0, 0x9000));
  EXPECT_FALSE(map_.has_backlog());
  ASSERT_TRUE(map_.unmap_all(domain_, kOne));
  EXPECT_EQ(map_.counters().pinned, 9u);
}

TEST_F(AnImpatientDmaMap, PromisesNoMoreOfARangeThatTheKernelKeeps) {
  ASSERT_TRUE(map(kOne, 0x1000, 0x9000));
  ASSERT_TRUE(map_.work(domain_));
  kernel_.can_unpin = false;
  EXPECT_FALSE(map_.unmap_all(domain_, kOne));
  EXPECT_EQ(map_.counters().stuck, 3u);
  EXPECT_EQ(map_.counters().waiting, 0u);
  ASSERT_TRUE(map_.finish(domain_));
  EXPECT_EQ(kernel_.maps, (std::map<std::uint64_t, std::uint64_t>{{0x1000, 0x3000}}));
}

TEST_F(AnImpatientDmaMap, TellsThatAPromiseCannotBeKept) {
  ASSERT_TRUE(map(kOne, 0x0, 0x9000));
  ASSERT_TRUE(map_.work(domain_));
  kernel_.can_pin = false;
  EXPECT_FALSE(map_.finish(domain_));
  EXPECT_FALSE(map_.has_backlog());
  ASSERT_TRUE(map_.unmap_all(domain_, kOne));
  EXPECT_EQ(map_.counters().pinned, 0u);
  EXPECT_EQ(map_.counters().waiting, 0u);
}

}  // namespace
}  // namespace vmux::kvfio
