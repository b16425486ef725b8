// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include <array>

#include "memory/test/test_support.hpp"

namespace vmux::memory {
namespace {

using namespace test;

class DirtyLogTest : public ::testing::Test {
 protected:
  DirtyLogTest() {
    space_.attach(memory_);
    EXPECT_TRUE(space_.map(range(0x100000, 200 * kPage, file_.fd())));
    EXPECT_TRUE(space_.start_dirty_log());
  }
  /// The log's first 64 pages from 0x100000 on.
  std::uint64_t take(std::uint64_t page_size = kPage) {
    std::array<std::uint64_t, 4> bitmap{};
    EXPECT_TRUE(space_.take_dirty(Iova{0x100000}, ByteCount{200 * kPage}, page_size, bitmap));
    return bitmap[0];
  }
  File file_{256 * kPage};
  AddressSpace space_;
  GuestMemory memory_;
};

TEST_F(DirtyLogTest, HoldsThePagesThatWereWritten) {
  ASSERT_TRUE(memory_.store(Iova{0x100000}, std::uint8_t{1}));
  ASSERT_TRUE(memory_.store(Iova{0x103ffe}, std::uint32_t{1}));
  ASSERT_TRUE(memory_.fetch<std::uint32_t>(Iova{0x105000}));
  ASSERT_FALSE(memory_.borrow_for_write(Iova{0x107000}, ByteCount{kPage + 1}).empty());
  EXPECT_EQ(take(), 0b1'1001'1001u);
}

TEST_F(DirtyLogTest, TakingClears) {
  ASSERT_TRUE(memory_.store(Iova{0x100000}, std::uint8_t{1}));
  EXPECT_EQ(take(), 1u);
  EXPECT_EQ(take(), 0u);
  ASSERT_TRUE(memory_.store(Iova{0x100000}, std::uint8_t{1}));
  EXPECT_EQ(take(), 1u);
}

TEST_F(DirtyLogTest, CrossesWordsOfTheBitmap) {
  std::array<std::byte, 3 * kPage> bytes{};
  ASSERT_TRUE(memory_.write(Iova{0x100000 + 62 * kPage}, bytes));
  std::array<std::uint64_t, 4> bitmap{};
  ASSERT_TRUE(space_.take_dirty(Iova{0x100000}, ByteCount{200 * kPage}, kPage, bitmap));
  EXPECT_EQ(bitmap[0], 3ull << 62);
  EXPECT_EQ(bitmap[1], 1u);
}

TEST_F(DirtyLogTest, TakesPartsOnly) {
  std::array<std::byte, 200 * kPage> bytes{};
  ASSERT_TRUE(memory_.write(Iova{0x100000}, bytes));
  std::array<std::uint64_t, 1> bitmap{};
  ASSERT_TRUE(space_.take_dirty(Iova{0x102000}, ByteCount{3 * kPage}, kPage, bitmap));
  EXPECT_EQ(bitmap[0], 0b111u);
  EXPECT_EQ(take(), ~0b11100ull);
}

TEST_F(DirtyLogTest, ReportsInLargerPages) {
  ASSERT_TRUE(memory_.store(Iova{0x100000 + 9 * kPage}, std::uint8_t{1}));
  EXPECT_EQ(take(8 * kPage), 0b10u);
}

TEST_F(DirtyLogTest, RefusesWhatItCannotReport) {
  std::array<std::uint64_t, 1> bitmap{};
  EXPECT_FALSE(space_.take_dirty(Iova{0x100000}, ByteCount{65 * kPage}, kPage, bitmap));
  EXPECT_FALSE(space_.take_dirty(Iova{0x100000}, ByteCount{kPage}, 512, bitmap));
  EXPECT_FALSE(space_.take_dirty(Iova{0x100000}, ByteCount{kPage}, 3 * kPage, bitmap));
  EXPECT_FALSE(space_.take_dirty(Iova{0x100200}, ByteCount{kPage}, kPage, bitmap));
  EXPECT_FALSE(space_.take_dirty(Iova{0x100000}, ByteCount{0}, kPage, bitmap));
  EXPECT_EQ(code_of(space_.start_dirty_log()), Errc::already_exists);
  space_.stop_dirty_log();
  EXPECT_FALSE(space_.take_dirty(Iova{0x100000}, ByteCount{kPage}, kPage, bitmap));
}

TEST_F(DirtyLogTest, CoversRangesThatCameLater) {
  ASSERT_TRUE(space_.map(range(0x10000, kPage, file_.fd())));
  ASSERT_TRUE(memory_.store(Iova{0x10000}, std::uint8_t{1}));
  std::array<std::uint64_t, 1> bitmap{};
  ASSERT_TRUE(space_.take_dirty(Iova{0x10000}, ByteCount{kPage}, kPage, bitmap));
  EXPECT_EQ(bitmap[0], 1u);
}

TEST_F(DirtyLogTest, ForgetsItselfWhenStopped) {
  ASSERT_TRUE(memory_.store(Iova{0x100000}, std::uint8_t{1}));
  space_.stop_dirty_log();
  EXPECT_FALSE(space_.is_logging());
  ASSERT_TRUE(memory_.store(Iova{0x101000}, std::uint8_t{1}));
  ASSERT_TRUE(space_.start_dirty_log());
  EXPECT_EQ(take(), 0u);
}

class LaggingObserver final : public Observer {
 public:
  void adopt(std::shared_ptr<const Table>, std::uint64_t) noexcept override {}
};

TEST_F(DirtyLogTest, ReportsTwiceWhileAnotherThreadMayStillWrite) {
  LaggingObserver observer;
  space_.attach(observer);
  ASSERT_TRUE(memory_.store(Iova{0x100000}, std::uint8_t{1}));
  EXPECT_EQ(take(), 1u);
  EXPECT_EQ(take(), 1u);
  EXPECT_EQ(take(), 0u);
  space_.detach(observer);
}

}  // namespace
}  // namespace vmux::memory
