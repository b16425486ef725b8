// SPDX-License-Identifier: BSD-3-Clause
#include "preload/dma/dma_space.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>
#include <vector>

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
  int dirty_start() override { return logs ? 0 : -ENOTTY; }
  int dirty_report(std::uint64_t iova, std::span<std::uint64_t> bits, std::uint64_t pages) override {
    if (is_gone) return -ENODEV;
    for (std::uint64_t page = 0; page < pages; ++page) {
      if (written.erase(iova + page * kPage) != 0) bits[page / 64] |= std::uint64_t{1} << (page % 64);
    }
    return 0;
  }
  bool logs = true, is_gone = false;
  std::set<std::uint64_t> written;
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

TEST_F(Space, CutsAreAtBothEnds) {
  ASSERT_EQ(map(kPage, 2), 0);
  ASSERT_EQ(map(3 * kPage, 2), 0);
  EXPECT_FALSE(space_.cuts(0, 16 * kPage - 1));
  EXPECT_FALSE(space_.cuts(kPage, 3 * kPage - 1));
  EXPECT_FALSE(space_.cuts(8 * kPage, 9 * kPage - 1));
  EXPECT_TRUE(space_.cuts(2 * kPage, 5 * kPage - 1));
  EXPECT_TRUE(space_.cuts(kPage, 4 * kPage - 1));
  EXPECT_TRUE(space_.cuts(2 * kPage, 3 * kPage - 1));
}
TEST_F(Space, DirtyPagesOfAllDevicesAreJoinedAndToldOnce) {
  Recorder other;
  ASSERT_EQ(space_.add(server_), 0);
  ASSERT_EQ(map(2 * kPage, 4), 0);
  ASSERT_EQ(map(66 * kPage, 2), 0);
  space_.start_dirty();
  ASSERT_EQ(space_.add(other), 0);  // joins while pages are tracked
  server_.written = {3 * kPage, 67 * kPage, 100 * kPage};
  other.written = {2 * kPage, 3 * kPage};
  std::array<std::uint64_t, 2> bits{~0ull, ~0ull};
  space_.take_dirty(kPage, 100, bits);
  // Page 1 is bit 0; what is not mapped keeps its bit.
  EXPECT_EQ(bits[0], ~0ull & ~(0b11ull << 3));
  EXPECT_EQ(bits[1], ~0ull & ~(1ull << (65 - 64)));
  bits = {};
  space_.take_dirty(kPage, 100, bits);
  EXPECT_EQ(bits, (std::array<std::uint64_t, 2>{}));
  space_.remove(other);
}
TEST_F(Space, DeviceThatKeepsNoLogMayHaveWrittenEverywhere) {
  ASSERT_EQ(space_.add(server_), 0);
  ASSERT_EQ(map(2 * kPage, 4), 0);
  server_.logs = false;
  space_.start_dirty();
  std::array<std::uint64_t, 1> bits{};
  space_.take_dirty(0, 64, bits);
  EXPECT_EQ(bits[0], 0b111100u);
  space_.stop_dirty();
  server_.logs = server_.is_gone = true;
  space_.start_dirty();
  bits = {};
  space_.take_dirty(3 * kPage, 2, bits);  // a part of the mapping
  EXPECT_EQ(bits[0], 0b11u);
}
TEST_F(Space, DirtyPagesOfALargeMappingComeInSeveralReports) {
  const std::uint64_t pages = 300'000;
  ASSERT_EQ(space_.add(server_), 0);
  void* large =
      ::mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_EQ(space_.map({0, pages * kPage, reinterpret_cast<std::uint64_t>(large), true, true}), 0);
  space_.start_dirty();
  server_.written = {0, 131'071 * kPage, 131'072 * kPage, (pages - 1) * kPage};
  std::vector<std::uint64_t> bits((pages + 63) / 64);
  space_.take_dirty(0, pages, bits);
  const auto is_set = [&](std::uint64_t page) { return (bits[page / 64] >> (page % 64) & 1) != 0; };
  EXPECT_TRUE(is_set(0) && is_set(131'071) && is_set(131'072) && is_set(pages - 1));
  EXPECT_EQ(std::count_if(bits.begin(), bits.end(), [](std::uint64_t word) { return word != 0; }), 4);
  ::munmap(large, pages * kPage);
}

}  // namespace
}  // namespace vmux::preload
