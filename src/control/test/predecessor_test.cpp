// SPDX-License-Identifier: BSD-3-Clause
// What a daemon makes of the marks that the one before it died with.
#include "control/live/predecessor.hpp"

#include <gtest/gtest.h>

#include "switch/switch.hpp"

namespace vmux::control {
namespace {

using switching::kDeliveryMark;
constexpr std::uint32_t kOneDeath = 1u << switching::kMarkBits;

struct MarkRow {
  const char* what;
  std::vector<std::uint32_t> shown;
  std::uint32_t after;  // of port 5
};

class AMarkAfterADeath : public testing::TestWithParam<MarkRow> {};

TEST_P(AMarkAfterADeath, SaysHowManyDiedOfThePortInARow) {
  EXPECT_EQ(mark_after(5, GetParam().shown), GetParam().after) << GetParam().what;
}

INSTANTIATE_TEST_SUITE_P(
    Shown, AMarkAfterADeath,
    testing::Values(
        MarkRow{"nothing", {}, 5}, MarkRow{"another port", {6 | kOneDeath}, 5},
        MarkRow{"its frames were taken", {5}, 5 | kOneDeath},
        MarkRow{"and it was not the first time", {5 | kOneDeath}, 5 | 2 * kOneDeath},
        MarkRow{"frames were delivered to it", {5 | kDeliveryMark}, 5 | kOneDeath | kDeliveryMark},
        MarkRow{"the worst of several lanes", {5, 5 | kOneDeath | kDeliveryMark, 5}, 5 | 2 * kOneDeath | kDeliveryMark},
        MarkRow{"more than there is room for",
                {5 | switching::kMostSuspicion << switching::kMarkBits},
                5 | switching::kMostSuspicion << switching::kMarkBits}));

// Ports that have no number are not told from each other.
TEST(AMarkOfNoPort, IsNeverSuspect) { EXPECT_EQ(mark_after(0, std::vector<std::uint32_t>{0, kOneDeath}), 0u); }

}  // namespace
}  // namespace vmux::control
