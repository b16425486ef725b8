// SPDX-License-Identifier: BSD-3-Clause
#include "runtime/mailbox.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace vmux::runtime {
namespace {

TEST(Mailbox, RefusesWhenFullAndKeepsTheItem) {
  Mailbox<int> box{2};
  EXPECT_TRUE(box.push(1));
  EXPECT_TRUE(box.push(2));
  EXPECT_FALSE(box.push(3));
  int item = 0;
  EXPECT_TRUE(box.pop(item));
  EXPECT_EQ(item, 1);
  EXPECT_TRUE(box.push(3));
}

TEST(Mailbox, LosesNothingAndKeepsEachWritersOrder) {
  constexpr int kWriters = 4;
  constexpr int kEach = 5000;
  Mailbox<int> box{64};
  std::vector<std::thread> writers;
  writers.reserve(kWriters);
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&box, writer] {
      for (int i = 0; i < kEach; ++i) {
        while (!box.push(writer * kEach + i))
          std::this_thread::yield();
      }
    });
  }
  std::vector<int> next(kWriters, 0);
  int item = 0;
  for (int taken = 0; taken < kWriters * kEach;) {
    if (!box.pop(item)) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(item % kEach, next[static_cast<std::size_t>(item / kEach)]++);
    ++taken;
  }
  for (auto& writer : writers)
    writer.join();
  EXPECT_TRUE(box.is_empty());
}

}  // namespace
}  // namespace vmux::runtime
