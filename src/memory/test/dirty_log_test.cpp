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

/// Of readers on another thread, which go on with the old table until they come to it; or at once, behind a gate.
class OtherThread final : public Observer {
 public:
  OtherThread(AddressSpace& space, bool is_prompt) : space_(space), is_prompt_(is_prompt) { space_.attach(*this); }
  ~OtherThread() override { space_.detach(*this); }
  OtherThread(const OtherThread&) = delete;
  OtherThread& operator=(const OtherThread&) = delete;
  void adopt(std::shared_ptr<const Table>, std::uint64_t generation) noexcept override {
    newest_ = generation;
    ++told_;
    if (is_prompt_) catch_up();
  }
  void catch_up() { space_.adopted(*this, newest_); }
  [[nodiscard]] unsigned told() const { return told_; }

 private:
  AddressSpace& space_;
  const bool is_prompt_;
  std::uint64_t newest_ = 0;
  unsigned told_ = 0;
};

// It may have marked the page, and not have written it yet.
TEST_F(DirtyLogTest, ReportsAgainUntilAnotherThreadCanNoLongerWriteThere) {
  OtherThread other{space_, /*is_prompt=*/false};
  ASSERT_TRUE(memory_.store(Iova{0x100000}, std::uint8_t{1}));
  for (unsigned i = 0; i < 3; ++i)
    EXPECT_EQ(take(), 1u) << i;
  other.catch_up();
  EXPECT_EQ(take(), 1u);
  EXPECT_EQ(take(), 0u);
}

TEST_F(DirtyLogTest, ReportsOnceWhenTheOtherThreadIsDoneAtOnce) {
  OtherThread other{space_, /*is_prompt=*/true};
  ASSERT_TRUE(memory_.store(Iova{0x100000}, std::uint8_t{1}));
  const unsigned told = other.told();
  EXPECT_EQ(take(), 1u);
  EXPECT_EQ(other.told(), told + 1);  // behind its gate, when the bits had been taken
  EXPECT_EQ(take(), 0u);
}

}  // namespace
}  // namespace vmux::memory
