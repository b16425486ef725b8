// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux/limits.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace vmux::app {
namespace {

TEST(Limits, OfAMachineThatHasNoneInTheWayThereIsNothingToSay) { EXPECT_TRUE(limits_of({}).empty()); }

struct Row {
  const char* name;
  Surroundings around;
  const char* word;  ///< of its sentence
};
class LimitsInTheWay : public testing::TestWithParam<Row> {};
TEST_P(LimitsInTheWay, AreASentenceEach) {
  const auto said = limits_of(GetParam().around);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said[0].find(GetParam().word), std::string::npos) << said[0];
}
INSTANTIATE_TEST_SUITE_P(, LimitsInTheWay,
                         testing::Values(Row{"descriptors", {.descriptors = 640, .may_exceed = true}, "some 10 ports"},
                                         Row{"locked", {.locked_memory = 8 << 20}, "8192 KiB"},
                                         Row{"oom", {.kills_as_one = true}, "memory.oom.group"},
                                         Row{"old", {.has_pidfd = false}, "Linux before 5.3"},
                                         Row{"filter", {.has_pidfd = false, .has_seccomp = true}, "seccomp"},
                                         Row{"container", {.is_first_process = true}, "process 1"}),
                         [](const auto& row) { return std::string{row.param.name}; });

TEST(Limits, OnDescriptorsUnderWayIsOnlyOfThoseWhoMayNotExceedIt) {
  EXPECT_EQ(limits_of({.descriptors = 640}).size(), 2u);
  EXPECT_TRUE(limits_of({.locked_memory = 8 << 20, .may_lock = true}).empty());
}

/// A tree as /proc and /sys have it.
struct Tree {
  std::filesystem::path root = std::filesystem::temp_directory_path() / ("vmux-limits-" + std::to_string(::getpid()));
  ~Tree() { std::filesystem::remove_all(root); }
  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((root / path).parent_path());
    std::ofstream{root / path} << text;
  }
};

TEST(Limits, AreFoundWhereTheKernelTellsThem) {
  const Tree tree;
  tree.write("proc/self/status", "Name:\tvmux\nCapEff:\t0000000001000000\nSeccomp:\t2\n");
  tree.write("proc/self/cgroup", "1:cpu:/elsewhere\n0::/a.slice/vmux.service\n");
  tree.write("sys/fs/cgroup/a.slice/vmux.service/memory.oom.group", "0\n");
  auto found = look_around(tree.root);
  EXPECT_TRUE(found.may_exceed);
  EXPECT_FALSE(found.may_lock);
  EXPECT_TRUE(found.has_seccomp);
  EXPECT_FALSE(found.kills_as_one);
  tree.write("sys/fs/cgroup/a.slice/memory.oom.group", "1\n");
  found = look_around(tree.root);
  EXPECT_TRUE(found.kills_as_one) << "a group above is killed with all below";
}

}  // namespace
}  // namespace vmux::app
