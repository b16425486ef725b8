// SPDX-License-Identifier: BSD-3-Clause
// Walks over /sys and /dev by the C library's functions for it.
#include <ftw.h>
#include <sys/stat.h>

#include <map>
#include <string>
#include <vector>

#include "preload/program.hpp"

namespace vmux::tests {
namespace {

const std::string kDevices = "/sys/bus/pci/devices", kDevice = kDevices + "/" + kBdf;

struct Step {
  int type, level;
  std::string name;
};
std::map<std::string, Step> steps;
std::vector<std::string> order;

int note(const char* path, const struct stat*, int type, FTW* where) {
  steps[path] = {type, where->level, path + where->base};
  order.emplace_back(path);
  return 0;
}
void walk(const std::string& from, int flags) {
  steps.clear();
  order.clear();
  EXPECT_EQ(nftw(from.c_str(), note, 8, flags), 0) << strerror(errno);
}

TEST(Nftw, FindsDevicesAsLinks) {
  walk(kDevices, FTW_PHYS);
  ASSERT_EQ(steps.count(kDevice), 1u);
  EXPECT_EQ(steps[kDevice].type, FTW_SL);
  EXPECT_EQ(steps[kDevice].level, 1);
  EXPECT_EQ(steps[kDevice].name, kBdf);
  EXPECT_EQ(steps[kDevices].type, FTW_D);
  EXPECT_EQ(order.front(), kDevices);
}
TEST(Nftw, FollowsLinksUnlessToldNotTo) {
  walk(kDevices, 0);
  EXPECT_EQ(steps[kDevice].type, FTW_D);
  EXPECT_EQ(steps[kDevice + "/vendor"].type, FTW_F);
  EXPECT_EQ(steps[kDevice + "/vendor"].level, 2);
}
TEST(Nftw, MayBeginAbove) {
  walk("/sys/bus", FTW_PHYS | FTW_MOUNT);
  EXPECT_EQ(steps[kDevice].type, FTW_SL);
  EXPECT_EQ(steps["/sys/bus/pci/drivers/vfio-pci/" + std::string{kBdf}].type, FTW_SL);
}
TEST(Nftw, DirectoriesComeLastOnRequest) {
  walk("/dev/vfio", FTW_PHYS | FTW_DEPTH);
  EXPECT_EQ(order.back(), "/dev/vfio");
  EXPECT_EQ(steps["/dev/vfio"].type, FTW_DP);
  EXPECT_EQ(steps["/dev/vfio/" + group_of(kBdf)].type, FTW_F);
}
TEST(Nftw, ChangesDirectoriesOnRequestAndComesBack) {
  char before[256], after[256];
  ASSERT_NE(getcwd(before, sizeof before), nullptr);
  static int reached;
  reached = 0;
  const auto look = [](const char* path, const struct stat*, int, FTW* where) {
    struct stat status {};
    reached += lstat(path + where->base, &status) == 0 ? 1 : 0;
    return 0;
  };
  EXPECT_EQ(nftw(kDevices.c_str(), look, 8, FTW_PHYS | FTW_CHDIR), 0);
  EXPECT_GE(reached, 3);
  ASSERT_NE(getcwd(after, sizeof after), nullptr);
  EXPECT_STREQ(after, before);
}
TEST(Nftw, ResultsOfTheFunctionCount) {
  const auto stop = [](const char* path, const struct stat*, int, FTW*) { return path == kDevice ? 7 : 0; };
  EXPECT_EQ(nftw(kDevices.c_str(), stop, 8, FTW_PHYS), 7);
  steps.clear();
  const auto skip = [](const char* path, const struct stat* status, int type, FTW* where) -> int {
    (void)note(path, status, type, where);
    return path == kDevice ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
  };
  EXPECT_EQ(nftw(kDevices.c_str(), skip, 8, FTW_ACTIONRETVAL), 0);
  EXPECT_EQ(steps.count(kDevice + "/vendor"), 0u);
  EXPECT_EQ(steps.count(kDevices + "/0000:40:00.1/vendor"), 1u);
  EXPECT_EQ(errno_of(nftw("/sys/nowhere", note, 8, 0)), ENOENT);
}
TEST(Ftw, TellsOldTypes) {
  static std::map<std::string, int> types;
  const auto look = [](const char* path, const struct stat*, int type) {
    types[path] = type;
    return 0;
  };
  EXPECT_EQ(ftw(kDevices.c_str(), look, 8), 0);
  EXPECT_EQ(types[kDevice + "/vendor"], FTW_F);
  EXPECT_EQ(types[kDevice], FTW_D);
}

}  // namespace
}  // namespace vmux::tests
