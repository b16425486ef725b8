// SPDX-License-Identifier: BSD-3-Clause
#include "preload/dma_space.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>

namespace vmux::preload {
namespace {

constexpr std::uint64_t kPage = 4096;

/// A server that writes down what it is given, and refuses from some map on.
class Recorder : public DmaUser {
 public:
  int dma_map(const DmaPiece& piece) override {
    if (maps_left == 0) return -EIO;
    --maps_left;
    mapped[piece.iova] = piece.memory.size;
    return 0;
  }
  int dma_unmap(const DmaPiece& piece) override {
    mapped.erase(piece.iova);
    return 0;
  }
  [[nodiscard]] std::size_t dma_limit() const noexcept override { return limit; }
  std::map<std::uint64_t, std::uint64_t> mapped;
  unsigned maps_left = 1000;
  std::size_t limit = 100;
};

class Space : public ::testing::Test {
 protected:
  Space() : at_(::mmap(nullptr, 16 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  ~Space() override { ::munmap(at_, 16 * kPage); }
  int map(std::uint64_t iova, std::uint64_t pages) {
    return space_.map({iova, pages * kPage, reinterpret_cast<std::uint64_t>(at_), true, true});
  }
  void* at_;
  DmaSpace space_;
  Recorder server_;
};

TEST_F(Space, ServerThatJoinsLaterGetsEverything) {
  ASSERT_EQ(map(0, 2), 0);
  ASSERT_EQ(map(0x10000, 1), 0);
  ASSERT_EQ(space_.add(server_), 0);
  EXPECT_EQ(server_.mapped, (std::map<std::uint64_t, std::uint64_t>{{0, 2 * kPage}, {0x10000, kPage}}));
}
TEST_F(Space, OverlapIsRefusedWithoutEffect) {
  ASSERT_EQ(space_.add(server_), 0);
  ASSERT_EQ(map(kPage, 2), 0);
  EXPECT_EQ(map(kPage, 2), -EEXIST);
  EXPECT_EQ(map(0, 2), -EEXIST);
  EXPECT_EQ(map(2 * kPage, 1), -EEXIST);
  EXPECT_EQ(server_.mapped.size(), 1u);
}
TEST_F(Space, UnmapTakesWholeMappingsOnly) {
  ASSERT_EQ(space_.add(server_), 0);
  ASSERT_EQ(map(0, 2), 0);
  ASSERT_EQ(map(2 * kPage, 2), 0);
  EXPECT_TRUE(space_.unmap(kPage, 4 * kPage - 1).cuts);
  EXPECT_TRUE(space_.unmap(0, 3 * kPage - 1).cuts);
  EXPECT_EQ(server_.mapped.size(), 2u);
  EXPECT_EQ(space_.unmap(0, UINT64_MAX).bytes, 4 * kPage);
  EXPECT_TRUE(server_.mapped.empty());
  EXPECT_EQ(space_.unmap(0, UINT64_MAX).bytes, 0u);
}
TEST_F(Space, RefusalOfOneServerLeavesNothingWithTheOthers) {
  Recorder refuser;
  refuser.maps_left = 0;
  ASSERT_EQ(space_.add(server_), 0);
  ASSERT_EQ(space_.add(refuser), 0);
  EXPECT_EQ(map(0, 1), -EIO);
  EXPECT_TRUE(server_.mapped.empty());
  EXPECT_EQ(space_.unmap(0, UINT64_MAX).bytes, 0u);
}
TEST_F(Space, LimitOfAServerIsNoSpace) {
  server_.limit = 1;
  ASSERT_EQ(space_.add(server_), 0);
  ASSERT_EQ(map(0, 1), 0);
  EXPECT_EQ(space_.available(), 0u);
  EXPECT_EQ(map(0x10000, 1), -ENOSPC);
}
TEST_F(Space, UnmappedMemoryIsFault) { EXPECT_EQ(space_.map({0, kPage, 0x1000, true, true}), -EFAULT); }
TEST_F(Space, FreePlacesAreBetweenMappings) {
  ASSERT_EQ(map(kPage, 2), 0);
  ASSERT_EQ(map(4 * kPage, 1), 0);
  EXPECT_EQ(space_.find_free(kPage, kPage, 0xfffff), 3 * kPage);
  EXPECT_EQ(space_.find_free(2 * kPage, kPage, 0xfffff), 5 * kPage);
  EXPECT_EQ(space_.find_free(2 * kPage, kPage, 5 * kPage), std::nullopt);
}

}  // namespace
}  // namespace vmux::preload
