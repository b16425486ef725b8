// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/runtime/spsc_ring.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>

namespace vmux::runtime {
namespace {

TEST(SpscRing, GivesBackInOrderWhatWasPut) {
  SpscRing<int> ring{4};
  ASSERT_TRUE(ring.push(1) && ring.push(2));
  int a = 0, b = 0;
  ASSERT_TRUE(ring.pop(a) && ring.pop(b));
  EXPECT_EQ(a, 1);
  EXPECT_EQ(b, 2);
}

TEST(SpscRing, RefusesWhenFullAndWhenEmpty) {
  SpscRing<int> ring{2};
  int item = 7;
  EXPECT_FALSE(ring.pop(item));
  ASSERT_TRUE(ring.push(1) && ring.push(2));
  EXPECT_FALSE(ring.push(3));
  EXPECT_EQ(item, 7);
  ASSERT_TRUE(ring.pop(item));
  EXPECT_TRUE(ring.push(3));
}

TEST(SpscRing, CarriesEveryItemBetweenTwoThreads) {
  constexpr std::uint64_t kItems = 50'000;
  SpscRing<std::uint64_t> ring{64};
  std::thread writer{[&ring] {
    for (std::uint64_t i = 0; i < kItems; ++i) {
      while (!ring.push(i))
        std::this_thread::yield();
    }
  }};
  std::uint64_t expected = 0, item = 0, wrong = 0;
  while (expected < kItems) {
    if (!ring.pop(item)) {
      std::this_thread::yield();
      continue;
    }
    wrong += item != expected ? 1 : 0;
    ++expected;
  }
  writer.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace vmux::runtime
