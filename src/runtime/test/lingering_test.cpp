// SPDX-License-Identifier: BSD-3-Clause
#include "runtime/lingering.hpp"

#include <gtest/gtest.h>

namespace vmux::runtime {
namespace {

constexpr std::uint64_t kMax = 100'000;

void grow(Lingering& lingering) {
  for (int i = 0; i < 10; ++i)
    lingering.found(kMax);
}

TEST(Lingering, GrowsWhileEventsComeLaterThanALookAndWithinTheLongest) {
  Lingering lingering{kMax};
  EXPECT_EQ(lingering.window_ns(), 0u);
  for (const std::uint64_t expected : {10'000u, 20'000u, 40'000u, 80'000u, 100'000u, 100'000u}) {
    lingering.found(kMax);
    EXPECT_EQ(lingering.window_ns(), expected);
  }
}

TEST(Lingering, StaysWhereEventsAreFoundByLooking) {
  Lingering lingering{kMax};
  lingering.found(9'000);
  lingering.found(10'000);
  EXPECT_EQ(lingering.window_ns(), 10'000u);
}

TEST(Lingering, StopsWhereEventsComeLaterThanTheLongest) {
  Lingering lingering{kMax};
  grow(lingering);
  lingering.found(kMax + 1);
  EXPECT_EQ(lingering.window_ns(), 0u);
}

TEST(Lingering, IsNeverWantedWithALongestOfNothing) {
  Lingering lingering{0};
  for (const std::uint64_t after : {0u, 1u, 1'000u})
    lingering.found(after);
  EXPECT_EQ(lingering.window_ns(), 0u);
}

TEST(Lingering, NeverExceedsAShortLongest) {
  Lingering lingering{3'000};
  lingering.found(2'000);
  EXPECT_EQ(lingering.window_ns(), 3'000u);
}

TEST(Lingering, WaitsTwiceAsLongEachTimeThatItWasInTheWay) {
  Lingering lingering{kMax};
  unsigned crowded = 0;
  for (const unsigned skipped : {1u, 2u, 4u, 8u}) {
    lingering.crowded();
    ++crowded;
    for (unsigned i = 0; i < skipped; ++i) {
      lingering.found(kMax);
      EXPECT_EQ(lingering.window_ns(), 0u) << crowded << " times, event " << i;
    }
    lingering.found(kMax);
    EXPECT_GT(lingering.window_ns(), 0u) << crowded << " times";
  }
}

TEST(Lingering, WaitsForABoundedTime) {
  Lingering lingering{kMax};
  for (int i = 0; i < 100; ++i)
    lingering.crowded();
  for (int i = 0; i < 1024; ++i)
    lingering.found(kMax);
  EXPECT_EQ(lingering.window_ns(), 0u);
  lingering.found(kMax);
  EXPECT_GT(lingering.window_ns(), 0u);
}

TEST(Lingering, ForgetsThatItWasInTheWayOnceALookFoundAnEvent) {
  Lingering lingering{kMax};
  for (int i = 0; i < 100; ++i)
    lingering.crowded();
  for (int i = 0; i <= 1024; ++i)
    lingering.found(kMax);
  lingering.found(1);
  lingering.crowded();
  lingering.found(kMax);
  lingering.found(kMax);
  EXPECT_GT(lingering.window_ns(), 0u);
}

}  // namespace
}  // namespace vmux::runtime
