// SPDX-License-Identifier: BSD-3-Clause
#include "base/accounts.hpp"

#include <gtest/gtest.h>

namespace vmux {
namespace {

TEST(Accounts, AreFoundByName) {
  EXPECT_EQ(find_user("root").value().id, 0u);
  EXPECT_EQ(find_group("root").value().id, 0u);
  EXPECT_EQ(find_user("root").value().name, "root");
}

TEST(Accounts, MayBeNumbersOfNobody) {
  EXPECT_EQ(find_user("4294967294").value().id, 4294967294u);
  EXPECT_EQ(find_group("12345").value().id, 12345u);
}

class NoAccount : public testing::TestWithParam<const char*> {};
TEST_P(NoAccount, IsRefused) {
  EXPECT_EQ(find_user(GetParam()).error(), "a user of this machine, by name or number");
  EXPECT_EQ(find_group(GetParam()).error(), "a group of this machine, by name or number");
}
INSTANTIATE_TEST_SUITE_P(Texts, NoAccount,
                         testing::Values("", "nobody-of-this-name", "4294967295", "-1", "0100", "ro ot", "root\n",
                                         "root:x", "99999999999999999999"));

}  // namespace
}  // namespace vmux
