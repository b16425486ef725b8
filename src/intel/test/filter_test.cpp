// SPDX-License-Identifier: BSD-3-Clause
// The table of addresses, and what becomes of those that find no room in it.
#include "intel/rules/filter.hpp"

#include <gtest/gtest.h>

namespace vmux::intel {
namespace {

MacAddress mac(bool is_group, unsigned number) {
  return {static_cast<std::uint8_t>(is_group ? 0x01 : 0x02),
          0,
          0,
          0,
          static_cast<std::uint8_t>(number >> 8),
          static_cast<std::uint8_t>(number)};
}
MacAddress group(unsigned number) { return mac(true, number); }
MacAddress station(unsigned number) { return mac(false, number); }

template <class F>
void add(Filters& filters, unsigned count, F address) {
  for (unsigned i = 0; i < count; ++i)
    ASSERT_TRUE(filters.add(address(i)));
}
constexpr auto kMost = static_cast<unsigned>(Filters::kMaxMacs);
constexpr auto kMore = static_cast<unsigned>(Filters::kMaxMoreGroups);

TEST(IntelFilters, AsManyAddressesAsTheTableHasAreTakenExactly) {
  Filters filters;
  add(filters, kMost, group);
  EXPECT_TRUE(filters.admits(key_of(group(kMost - 1))));
  EXPECT_FALSE(filters.admits(key_of(group(kMost))));
  EXPECT_EQ(filters.groups_beyond(), 0u);
}

TEST(IntelFilters, AGroupBeyondTheTableMeansAllGroups) {
  Filters filters;
  add(filters, kMost + 64, group);
  EXPECT_TRUE(filters.admits(key_of(group(kMost + 63))));
  EXPECT_TRUE(filters.admits(key_of(group(9999))));
  EXPECT_FALSE(filters.admits(key_of(station(1))));
}

TEST(IntelFilters, GroupsAreTakenExactlyAgainOnceTheyFit) {
  Filters filters;
  add(filters, kMost + 64, group);
  for (unsigned i = 0; i < 63; ++i)
    filters.remove(group(i * 5));
  EXPECT_TRUE(filters.admits(key_of(group(9999))));
  filters.remove(group(63 * 5));
  EXPECT_FALSE(filters.admits(key_of(group(9999))));
  EXPECT_FALSE(filters.admits(key_of(group(0))));
  EXPECT_TRUE(filters.admits(key_of(group(1))));
  EXPECT_TRUE(filters.admits(key_of(group(kMost + 62))));
}

TEST(IntelFilters, AGroupThatIsAddedTwiceOrTakenAwayTwiceIsOne) {
  Filters filters;
  add(filters, kMost, group);
  add(filters, 2, [](unsigned) { return group(1000); });
  EXPECT_EQ(filters.groups_beyond(), 1u);
  filters.remove(group(1001));
  EXPECT_EQ(filters.groups_beyond(), 1u);
  filters.remove(group(1000));
  EXPECT_EQ(filters.groups_beyond(), 0u);
}

TEST(IntelFilters, AStationTakesThePlaceOfAGroup) {
  Filters filters;
  add(filters, kMost, group);
  add(filters, kMost, station);
  EXPECT_TRUE(filters.admits(key_of(station(kMost - 1))));
  EXPECT_EQ(filters.groups_beyond(), kMost);
  EXPECT_EQ(filters.mac_count(), kMost);
  EXPECT_TRUE(filters.admits(key_of(group(0))));
}

TEST(IntelFilters, AStationBeyondTheTableIsRefused) {
  Filters filters;
  add(filters, kMost, station);
  EXPECT_FALSE(filters.add(station(kMost)));
  EXPECT_FALSE(filters.admits(key_of(station(kMost))));
  EXPECT_TRUE(filters.add(station(0)));
  filters.remove(station(0));
  EXPECT_TRUE(filters.add(station(kMost)));
}

TEST(IntelFilters, GroupsHaveAnEndAndAreReceivedBeyondIt) {
  Filters filters;
  add(filters, kMost + kMore, group);
  EXPECT_FALSE(filters.add(group(kMost + kMore)));
  EXPECT_TRUE(filters.admits(key_of(group(kMost + kMore))));
}

}  // namespace
}  // namespace vmux::intel
