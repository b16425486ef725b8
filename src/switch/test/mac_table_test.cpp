// SPDX-License-Identifier: BSD-3-Clause
#include "switch/mac_table.hpp"

#include <gtest/gtest.h>

namespace vmux::switching {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kAgeing = 300 * kSecond;
constexpr PortId kA{1}, kB{2};

class MacTableTest : public testing::Test {
 protected:
  MacTableTest() {
    table_.set_limit(slot_of(kA), 4);
    table_.set_limit(slot_of(kB), 4);
  }
  MacTable table_{6, kAgeing, 0x1234'5678'9abc'def1};
};

TEST_F(MacTableTest, FindsWhatItLearnt) {
  EXPECT_EQ(table_.learn(station_key(1, 5), kA, 0), Learnt::added);
  ASSERT_NE(table_.find(station_key(1, 5), 0), nullptr);
  EXPECT_EQ(table_.find(station_key(1, 5), 0)->port, kA);
  EXPECT_EQ(table_.find(station_key(1, 6), 0), nullptr);
  EXPECT_EQ(table_.learn(station_key(1, 5), kA, 1), Learnt::known);
}

TEST_F(MacTableTest, ForgetsAStationThatWasSilentTooLong) {
  EXPECT_EQ(table_.learn(1, kA, 0), Learnt::added);
  EXPECT_NE(table_.find(1, kAgeing), nullptr);
  EXPECT_EQ(table_.find(1, kAgeing + 1), nullptr);
}

TEST_F(MacTableTest, RemembersAStationThatKeepsTalking) {
  EXPECT_EQ(table_.learn(1, kA, 0), Learnt::added);
  EXPECT_EQ(table_.learn(1, kA, 200 * kSecond), Learnt::known);
  EXPECT_NE(table_.find(1, 450 * kSecond), nullptr);
  EXPECT_EQ(table_.find(1, 501 * kSecond), nullptr);
}

TEST_F(MacTableTest, FollowsAStationToAnotherPort) {
  EXPECT_EQ(table_.learn(1, kA, 0), Learnt::added);
  EXPECT_EQ(table_.learn(1, kB, 1), Learnt::moved);
  EXPECT_EQ(table_.find(1, 1)->port, kB);
  EXPECT_EQ(table_.size(), 1u);
}

TEST_F(MacTableTest, KeepsAStationWhereItWasHeardLaterThanATidingTells) {
  EXPECT_EQ(table_.learn(1, kB, 20), Learnt::added);
  EXPECT_EQ(table_.learn(1, kA, 19), Learnt::outdated);
  EXPECT_EQ(table_.find(1, 20)->port, kB);
  EXPECT_EQ(table_.learn(1, kB, 18), Learnt::known);
  EXPECT_NE(table_.find(1, 20 + kAgeing), nullptr) << "an older time makes nobody older";
  EXPECT_EQ(table_.learn(1, kA, 20), Learnt::moved);
}

TEST_F(MacTableTest, KnowsAStationNowhereThatMovesToAPortWithoutRoom) {
  for (StationKey key = 1; key <= 4; ++key)
    EXPECT_EQ(table_.learn(key, kA, 0), Learnt::added);
  EXPECT_EQ(table_.learn(9, kB, 0), Learnt::added);
  EXPECT_EQ(table_.learn(9, kA, 1), Learnt::refused);
  EXPECT_EQ(table_.find(9, 1), nullptr);
  EXPECT_EQ(table_.learn(4, kB, 2), Learnt::moved);  // one goes, and there is room
  EXPECT_EQ(table_.learn(9, kA, 3), Learnt::added);
}

TEST_F(MacTableTest, RefusesAPortBeyondItsShareAndKeepsTheOthers) {
  EXPECT_EQ(table_.learn(100, kB, 0), Learnt::added);
  for (StationKey key = 1; key <= 4; ++key)
    EXPECT_EQ(table_.learn(key, kA, 0), Learnt::added);
  EXPECT_EQ(table_.learn(5, kA, 1), Learnt::refused);
  EXPECT_EQ(table_.find(5, 1), nullptr);
  EXPECT_NE(table_.find(100, 1), nullptr);
  EXPECT_NE(table_.find(1, 1), nullptr);
}

TEST_F(MacTableTest, RefusesWhenItIsFull) {
  for (StationKey key = 1; key <= 4; ++key)
    EXPECT_EQ(table_.learn(key, kA, 0), Learnt::added);
  EXPECT_EQ(table_.learn(11, kB, 0), Learnt::added);
  EXPECT_EQ(table_.learn(12, kB, 0), Learnt::added);
  EXPECT_EQ(table_.learn(13, kB, 0), Learnt::refused);
}

TEST_F(MacTableTest, MakesRoomFromWhatHasAged) {
  for (StationKey key = 1; key <= 4; ++key)
    EXPECT_EQ(table_.learn(key, kA, 0), Learnt::added);
  EXPECT_EQ(table_.learn(5, kA, kAgeing + kSecond), Learnt::added);
  EXPECT_EQ(table_.size(), 1u);
}

TEST_F(MacTableTest, ForgetsAPortAltogether) {
  EXPECT_EQ(table_.learn(1, kA, 0), Learnt::added);
  EXPECT_EQ(table_.learn(2, kB, 0), Learnt::added);
  table_.forget(kA);
  EXPECT_EQ(table_.find(1, 0), nullptr);
  EXPECT_NE(table_.find(2, 0), nullptr);
  EXPECT_EQ(table_.size(), 1u);
}

TEST_F(MacTableTest, ForgetsWhatIsLeftOfAPortWhoseStationsCameAndWent) {
  for (StationKey key = 1; key <= 4; ++key)
    EXPECT_EQ(table_.learn(key, kA, 0), Learnt::added);
  EXPECT_EQ(table_.learn(2, kB, 1), Learnt::moved);  // from the middle,
  EXPECT_EQ(table_.learn(4, kB, 1), Learnt::moved);  // the latest
  EXPECT_EQ(table_.learn(1, kB, 1), Learnt::moved);  // and the first
  EXPECT_EQ(table_.learn(2, kA, 2), Learnt::moved);
  table_.forget(kA);
  EXPECT_EQ(table_.size(), 2u);
  EXPECT_EQ(table_.find(1, 2)->port, kB);
  EXPECT_EQ(table_.find(4, 2)->port, kB);
  table_.forget(kB);
  EXPECT_EQ(table_.size(), 0u);
  for (StationKey key = 1; key <= 4; ++key)
    EXPECT_EQ(table_.learn(key, kA, 3), Learnt::added);
}

TEST_F(MacTableTest, ForgetsNothingOfALaterPortInTheSameSlot) {
  constexpr PortId kLater{kA.raw + (1u << kSlotBits)};
  EXPECT_EQ(table_.learn(1, kLater, 0), Learnt::added);
  table_.forget(kA);
  EXPECT_NE(table_.find(1, 0), nullptr);
}

TEST_F(MacTableTest, CopiesWhatIsAlive) {
  EXPECT_EQ(table_.learn(1, kA, 0), Learnt::added);
  EXPECT_EQ(table_.learn(2, kB, 200 * kSecond), Learnt::added);
  std::array<MacTable::Entry, 4> entries;
  ASSERT_EQ(table_.copy(entries, 301 * kSecond), 1u);
  EXPECT_EQ(entries[0].key, 2u);
}

}  // namespace
}  // namespace vmux::switching
