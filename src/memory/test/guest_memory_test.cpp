// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/memory/guest_memory.hpp"

#include <gtest/gtest.h>

#include <array>

#include "memory/test/test_support.hpp"
#include "rigs/allocations.hpp"

namespace vmux::memory {
namespace {

using namespace test;

/// 0x0000..0x1fff writable, 0x2000..0x2fff readable only, 0x3000.. a hole, 0x4000..0x4fff by message only.
class GuestMemoryTest : public ::testing::Test {
 protected:
  GuestMemoryTest() {
    space_.attach(memory_);
    EXPECT_TRUE(space_.map(range(0, kPage, file_.fd(), 5 * kPage)));
    EXPECT_TRUE(space_.map(range(kPage, kPage, file_.fd(), 2 * kPage)));
    EXPECT_TRUE(space_.map(range(2 * kPage, kPage, file_.fd(), 0, Access::read)));
    EXPECT_TRUE(space_.map(range(4 * kPage, kPage, {})));
  }
  File file_{8 * kPage};
  AddressSpace space_;
  GuestMemory memory_;
};

TEST_F(GuestMemoryTest, FetchAndStoreSpanWindows) {
  ASSERT_TRUE(memory_.store(Iova{kPage - 4}, 0x8877665544332211ull));
  EXPECT_EQ(memory_.fetch<std::uint64_t>(Iova{kPage - 4}), 0x8877665544332211ull);
  EXPECT_EQ(file_.get(6 * kPage - 1), 0x44);
  EXPECT_EQ(file_.get(2 * kPage), 0x55);
}

TEST_F(GuestMemoryTest, StoreIsAllOrNothing) {
  EXPECT_FALSE(memory_.store(Iova{2 * kPage - 4}, ~0ull));
  EXPECT_EQ(file_.get(3 * kPage - 1), 0);
}

TEST_F(GuestMemoryTest, RefusesHolesWrapsAndMessageOnlyRanges) {
  EXPECT_FALSE(memory_.fetch<std::uint64_t>(Iova{3 * kPage}));
  EXPECT_FALSE(memory_.fetch<std::uint64_t>(Iova{3 * kPage - 4}));
  EXPECT_FALSE(memory_.fetch<std::uint64_t>(Iova{~0ull - 3}));
  EXPECT_FALSE(memory_.fetch<std::uint64_t>(Iova{4 * kPage}));
  EXPECT_FALSE(memory_.store(Iova{~0ull - 3}, 0ull));
}

TEST_F(GuestMemoryTest, AccessIsTheWindowsOwn) {
  EXPECT_TRUE(memory_.fetch<std::uint32_t>(Iova{2 * kPage}));
  EXPECT_FALSE(memory_.store(Iova{2 * kPage}, 1u));
  EXPECT_TRUE(memory_.borrow_for_write(Iova{2 * kPage}, ByteCount{16}).empty());
  EXPECT_TRUE(memory_.covers(Iova{0}, ByteCount{3 * kPage}, Access::read));
  EXPECT_FALSE(memory_.covers(Iova{0}, ByteCount{3 * kPage}, Access::write));
  EXPECT_FALSE(memory_.covers(Iova{0}, ByteCount{3 * kPage + 1}, Access::read));
}

TEST_F(GuestMemoryTest, BorrowEndsWithTheWindow) {
  EXPECT_EQ(memory_.borrow(Iova{kPage - 16}, ByteCount{64}).size(), 16u);
  EXPECT_EQ(memory_.borrow(Iova{kPage}, ByteCount{64}).size(), 64u);
  EXPECT_EQ(memory_.borrow(Iova{kPage - 1}, ByteCount{~0ull}).size(), 1u);
  EXPECT_TRUE(memory_.borrow(Iova{3 * kPage}, ByteCount{1}).empty());
  EXPECT_TRUE(memory_.borrow(Iova{4 * kPage}, ByteCount{1}).empty());
}

TEST_F(GuestMemoryTest, EmptyAccessTouchesNothing) {
  EXPECT_TRUE(memory_.read(Iova{3 * kPage}, {}));
  EXPECT_TRUE(memory_.write(Iova{3 * kPage}, {}));
  EXPECT_TRUE(memory_.borrow(Iova{3 * kPage}, ByteCount{0}).empty());
}

TEST_F(GuestMemoryTest, ForgetsItsLastHitWithTheTable) {
  ASSERT_TRUE(memory_.fetch<std::uint8_t>(Iova{0}));
  ASSERT_TRUE(space_.unmap(Iova{0}, ByteCount{kPage}, {}));
  EXPECT_FALSE(memory_.fetch<std::uint8_t>(Iova{0}));
  ASSERT_TRUE(space_.map(range(0, kPage, file_.fd(), 7 * kPage)));
  file_.put(7 * kPage, 0x3c);
  EXPECT_EQ(memory_.fetch<std::uint8_t>(Iova{0}), 0x3c);
}

TEST_F(GuestMemoryTest, WithoutATableEveryAccessFails) {
  GuestMemory memory;
  EXPECT_FALSE(memory.fetch<std::uint8_t>(Iova{0}));
  EXPECT_FALSE(memory.store(Iova{0}, std::uint8_t{0}));
  EXPECT_TRUE(memory.borrow(Iova{0}, ByteCount{1}).empty());
  EXPECT_FALSE(memory.covers(Iova{0}, ByteCount{1}, Access::read));
}

TEST_F(GuestMemoryTest, AccessesAllocateNothing) {
  std::array<std::byte, 2 * kPage> buffer{};
  ASSERT_TRUE(space_.start_dirty_log());
  const rigs::CountAllocations allocations;
  EXPECT_TRUE(memory_.read(Iova{0}, buffer));
  EXPECT_TRUE(memory_.write(Iova{0}, buffer));
  EXPECT_TRUE(memory_.fetch<std::uint64_t>(Iova{kPage - 4}));
  EXPECT_TRUE(memory_.store(Iova{kPage - 4}, 1ull));
  EXPECT_EQ(memory_.borrow(Iova{0}, ByteCount{64}).size(), 64u);
  EXPECT_EQ(memory_.borrow_for_write(Iova{kPage}, ByteCount{64}).size(), 64u);
  EXPECT_EQ(allocations.seen(), 0u);
}

}  // namespace
}  // namespace vmux::memory
