// SPDX-License-Identifier: BSD-3-Clause
#include "runtime/gate.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace vmux::runtime {
namespace {

TEST(Gate, KeepsTheOwnerOutWhileThingsChange) {
  Gate gate;
  std::uint64_t left = 0, right = 0, uses = 0;  // plain: whoever is let in wrongly sees them differ
  std::atomic<bool> is_done{false};
  std::thread owner{[&] {
    while (!is_done.load() || uses < 1000) {
      gate.enter();
      ASSERT_EQ(left, right);
      ++uses;
      gate.leave();
    }
  }};
  for (int i = 0; i < 20'000; ++i) {
    gate.close();
    ++left;
    ++right;
    gate.open();
  }
  is_done = true;
  owner.join();
  EXPECT_GE(uses, 1000u);
}

TEST(Gate, ClosesAtOnceWhenNobodyIsInside) {
  Gate gate;
  gate.close();
  gate.open();
  gate.enter();
  gate.leave();
  gate.close();
}

// Whoever is inside twice would be outside after the first leave(), with work still going on.
TEST(GateDeathTest, IsNotEnteredTwice) {
  Gate gate;
  gate.enter();
  EXPECT_DEATH(gate.enter(), "");
  gate.leave();
}

// Two homes that close each other's gates from inside their own would wait for each other for ever.
TEST(GateDeathTest, IsNotClosedFromInsideAnother) {
  Gate own, others;
  others.close();
  others.open();
  own.enter();
  EXPECT_DEATH(others.close(), "");
  own.leave();
}

}  // namespace
}  // namespace vmux::runtime
