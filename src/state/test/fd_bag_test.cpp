// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "vmux/state/fd_bag.hpp"

namespace vmux::state {
namespace {

UniqueFd an_fd() { return make_eventfd().value(); }

TEST(StateFdBag, GivesCopiesOfWhatItHasByName) {
  FdBag bag;
  const UniqueFd event = an_fd();
  ASSERT_TRUE(bag.put_copy("irq/msix/5", event.get()));
  const auto copy = bag.copy("irq/msix/5");
  ASSERT_TRUE(copy);
  signal_eventfd(copy->get());
  EXPECT_EQ(drain_eventfd(event.get()), 1u);
  EXPECT_NE(copy->get(), bag.get("irq/msix/5"));
}

TEST(StateFdBag, SaysWhatIsMissing) {
  const FdBag bag;
  EXPECT_EQ(bag.get("connection"), -1);
  ASSERT_FALSE(bag.copy("connection"));
  EXPECT_EQ(bag.copy("connection").error().code, Errc::not_found);
}

TEST(StateFdBag, RefusesANameTwiceAndOnesThatAreNone) {
  FdBag bag;
  ASSERT_TRUE(bag.put("a", an_fd()));
  EXPECT_EQ(bag.put("a", an_fd()).error().code, Errc::already_exists);
  for (const std::string& name : {std::string{}, std::string{"A"}, std::string{"a:b"}, std::string(65, 'a')})
    EXPECT_EQ(bag.put(name, an_fd()).error().code, Errc::invalid_argument) << name;
  EXPECT_EQ(bag.put("b", UniqueFd{}).error().code, Errc::invalid_argument);
  EXPECT_EQ(bag.size(), 1u);
}

TEST(StateFdBag, ListsItsContentsInOrderOfNames) {
  FdBag bag;
  ASSERT_TRUE(bag.put("ram/1", an_fd()));
  ASSERT_TRUE(bag.put("connection", an_fd()));
  std::vector<std::string> names;
  bag.for_each([&](const std::string& name, int) { names.push_back(name); });
  EXPECT_EQ(names, (std::vector<std::string>{"connection", "ram/1"}));
}

}  // namespace
}  // namespace vmux::state
