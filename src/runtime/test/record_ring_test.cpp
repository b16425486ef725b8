// SPDX-License-Identifier: BSD-3-Clause
#include "runtime/record_ring.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace vmux::runtime {
namespace {

bool push(RecordRing& ring, std::size_t size, std::uint8_t fill) {
  const auto room = ring.reserve(size);
  if (room.data() == nullptr) return false;
  std::memset(room.data(), fill, size);
  ring.commit(size);
  ring.publish();
  return true;
}

std::vector<std::uint8_t> pop(RecordRing& ring) {
  const auto record = ring.front();
  std::vector<std::uint8_t> bytes(record.size());
  if (!bytes.empty()) std::memcpy(bytes.data(), record.data(), bytes.size());
  if (record.data() != nullptr) ring.pop();
  return bytes;
}

TEST(RecordRing, GivesRecordsAsTheyWereInTheirOrder) {
  RecordRing ring{256};
  ASSERT_TRUE(push(ring, 3, 1) && push(ring, 17, 2) && push(ring, 8, 3));
  EXPECT_EQ(pop(ring), std::vector<std::uint8_t>(3, 1));
  EXPECT_EQ(pop(ring), std::vector<std::uint8_t>(17, 2));
  EXPECT_EQ(pop(ring), std::vector<std::uint8_t>(8, 3));
  EXPECT_EQ(ring.front().data(), nullptr);
}

TEST(RecordRing, ShowsNothingBeforeItIsPublished) {
  RecordRing ring{256};
  ASSERT_NE(ring.reserve(8).data(), nullptr);
  ring.commit(8);
  EXPECT_EQ(ring.front().data(), nullptr);
  ring.publish();
  EXPECT_EQ(ring.front().size(), 8u);
}

TEST(RecordRing, LeavesNothingOfWhatWasReservedOnly) {
  RecordRing ring{64};
  for (int i = 0; i < 100; ++i)
    ASSERT_NE(ring.reserve(24).data(), nullptr);
  ASSERT_TRUE(push(ring, 24, 7));
  EXPECT_EQ(pop(ring), std::vector<std::uint8_t>(24, 7));
}

TEST(RecordRing, TakesFewerBytesThanWereReserved) {
  RecordRing ring{128};
  ASSERT_NE(ring.reserve(48).data(), nullptr);
  ring.commit(5);
  ring.publish();
  EXPECT_EQ(ring.front().size(), 5u);
}

TEST(RecordRing, RefusesWhatFindsNoRoomUntilThereIsSome) {
  RecordRing ring{64};
  ASSERT_TRUE(push(ring, 24, 1));
  ASSERT_TRUE(push(ring, 24, 2));
  EXPECT_FALSE(push(ring, 1, 3));
  static_cast<void>(pop(ring));
  EXPECT_TRUE(push(ring, 24, 3));
  EXPECT_FALSE(push(ring, 65, 3));
}

TEST(RecordRing, HoldsItsLargestRecordWhereverItBegins) {
  for (std::size_t before = 0; before < 64; before += 8) {
    RecordRing ring{128};
    ASSERT_TRUE(push(ring, before, 1));
    static_cast<void>(pop(ring));
    ASSERT_TRUE(push(ring, ring.largest(), 9)) << before;
    EXPECT_EQ(pop(ring), std::vector<std::uint8_t>(ring.largest(), 9));
  }
}

TEST(RecordRing, CarriesAllBetweenTwoThreads) {
  constexpr std::uint32_t kRecords = 200'000;
  RecordRing ring{1024};
  std::thread writer{[&ring] {
    for (std::uint32_t i = 0; i < kRecords;) {
      const auto room = ring.reserve(4 + i % 60);
      if (room.data() == nullptr) {
        std::this_thread::yield();
        continue;
      }
      std::memcpy(room.data(), &i, sizeof i);
      ring.commit(room.size());
      if (++i % 3 == 0) ring.publish();
    }
    ring.publish();
  }};
  std::uint32_t wrong = 0;
  for (std::uint32_t i = 0; i < kRecords;) {
    const auto record = ring.front();
    if (record.data() == nullptr) {
      std::this_thread::yield();
      continue;
    }
    std::uint32_t number = 0;
    std::memcpy(&number, record.data(), sizeof number);
    wrong += number != i || record.size() != 4 + i % 60 ? 1 : 0;
    ring.pop();
    ++i;
  }
  writer.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace vmux::runtime
