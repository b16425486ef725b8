// SPDX-License-Identifier: BSD-3-Clause
#include "packet/pool.hpp"

#include <gtest/gtest.h>

#include "packet/test/test_frames.hpp"

namespace vmux::packet {
namespace {

using test::Bytes;
using test::View;

Bytes bytes_of(const FrameView& view) {
  Bytes out;
  const auto join = [&out](Slice part) {
    for (const std::byte byte : part)
      out.push_back(static_cast<std::uint8_t>(byte));
  };
  join(view.header);
  for (const Slice& slice : view.payload)
    join(slice);
  return out;
}

class PoolOfLength : public testing::TestWithParam<std::size_t> {};

TEST_P(PoolOfLength, KeepsBytesLengthAndOffload) {
  Pool pool{4, 64};
  const Bytes bytes = test::pattern(GetParam());
  View v{bytes, 100, {1, 3000, 77}};
  v.view.offload = {.needs_checksum = true, .has_vlan = true, .csum_start = 34, .vlan_tci = 9};
  const Pool::Packet packet = pool.store(v.view);
  ASSERT_TRUE(packet);
  EXPECT_EQ(bytes_of(packet.view()), bytes);
  EXPECT_EQ(packet.view().length, bytes.size());
  EXPECT_LE(packet.view().header.size(), kHeaderRoom);
  EXPECT_TRUE(packet.view().offload.needs_checksum && packet.view().offload.has_vlan);
  EXPECT_EQ(packet.view().offload.vlan_tci, 9);
}

INSTANTIATE_TEST_SUITE_P(Lengths, PoolOfLength, testing::Values(0, 1, 60, 256, 257, 1514, 2048, 2049, 9000, 65549));

TEST(Pool, KeepsHeadersThatEndFarBehindWhole) {
  Pool pool{1, 64};
  const test::FarFrame frame{1440, test::pattern(5000)};
  View v{frame.undone, frame.l4 + 20u, {3000}};
  v.view.offload = frame.offload();
  const Pool::Packet packet = pool.store(v.view);
  ASSERT_TRUE(packet);
  EXPECT_EQ(bytes_of(packet.view()), frame.undone);
  EXPECT_EQ(packet.view().header.size(), v.view.header.size());
}

TEST(Pool, GivesBackEverythingWhenPacketsGo) {
  Pool pool{2, 8};
  const Bytes bytes = test::pattern(5000);
  const View v{bytes, 64, {5000}};
  {
    Pool::Packet first = pool.store(v.view);
    const Pool::Packet second = std::move(first);
    EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): a moved-from handle is empty
    EXPECT_EQ(pool.free_packets(), 1u);
    EXPECT_EQ(pool.free_segments(), 5u);
  }
  EXPECT_EQ(pool.free_packets(), 2u);
  EXPECT_EQ(pool.free_segments(), 8u);
}

TEST(Pool, IsEmptyHandedWhenPacketsOrSegmentsAreUsedUp) {
  Pool pool{2, 3};
  const Bytes large = test::pattern(4096), small = test::pattern(64);
  const View two{large, 64, {5000}}, one{small, 64, {1}};
  const Pool::Packet first = pool.store(two.view);
  EXPECT_FALSE(pool.store(two.view));
  const Pool::Packet second = pool.store(one.view);
  EXPECT_TRUE(first && second);
  EXPECT_FALSE(pool.store(one.view));
}

TEST(Pool, RefusesAFrameThatIsTooLong) {
  Pool pool{2, 64};
  const Bytes bytes = test::pattern(Pool::kMaxFrame + 1);
  const View v{bytes, 64, {5000}};
  EXPECT_FALSE(pool.store(v.view));
  EXPECT_EQ(pool.free_segments(), 64u);
}

TEST(Pool, TakesBackWhatWasReleasedToAnother) {
  Pool pool{1, 1};
  const Bytes bytes = test::pattern(64);
  const View v{bytes, 64, {1}};
  Pool::Slot* const slot = pool.store(v.view).release();
  EXPECT_EQ(pool.free_packets(), 0u);
  pool.give_back(*slot);
  EXPECT_EQ(pool.free_packets(), 1u);
}

}  // namespace
}  // namespace vmux::packet
