// SPDX-License-Identifier: BSD-3-Clause
// Walks over /sys and /dev by the C library's functions for it.
#include <fts.h>
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

/// What fts finds, with the last type of each.
std::map<std::string, int> found_by_fts(const char* from, int options, const std::string& where = {},
                                        int instruction = FTS_SKIP, const std::string& also = "-") {
  char* paths[] = {const_cast<char*>(from), nullptr};
  std::map<std::string, int> found;
  FTS* walk = fts_open(paths, options, nullptr);
  while (FTSENT* entry = fts_read(walk)) {
    found[entry->fts_path] = entry->fts_info;
    const bool is_new = entry->fts_info != FTS_D || instruction == FTS_SKIP;
    if (is_new && (entry->fts_path == where || entry->fts_path == also)) fts_set(walk, entry, instruction);
  }
  EXPECT_EQ(errno, 0);
  EXPECT_EQ(fts_close(walk), 0);
  return found;
}
TEST(Fts, FindsDevicesAsLinks) {
  const auto found = found_by_fts("/sys/bus/pci/devices", FTS_PHYSICAL);
  EXPECT_EQ(found.at(kDevice), FTS_SL);
  EXPECT_EQ(found.at(kDevices), FTS_DP);
  EXPECT_EQ(found_by_fts("/dev/vfio", FTS_PHYSICAL).at("/dev/vfio/" + group_of(kBdf)), FTS_DEFAULT);
}
TEST(Fts, MayBeginAboveAndKeepToOneFileSystem) {
  EXPECT_EQ(found_by_fts("/sys/bus", FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR).at(kDevice), FTS_SL);
}
TEST(Fts, FollowsLinksThatItIsToldTo) {
  const auto found = found_by_fts("/sys/bus/pci/devices", FTS_PHYSICAL, kDevice, FTS_FOLLOW);
  EXPECT_EQ(found.at(kDevice), FTS_DP);
  EXPECT_EQ(found.at(kDevice + "/vendor"), FTS_F);
  EXPECT_EQ(found.at(kDevice + "/driver"), FTS_SL);
  EXPECT_EQ(found.at(kDevices + "/0000:40:00.1"), FTS_SL);
}
TEST(Fts, NoticesCycles) {
  const auto found =
      found_by_fts("/sys/bus/pci/drivers/vfio-pci", FTS_PHYSICAL, "/sys/bus/pci/drivers/vfio-pci/" + std::string{kBdf},
                   FTS_FOLLOW, "/sys/bus/pci/drivers/vfio-pci/" + std::string{kBdf} + "/driver");
  EXPECT_EQ(found.at("/sys/bus/pci/drivers/vfio-pci/" + std::string{kBdf} + "/driver"), FTS_DC);
}
TEST(Fts, SkipsWhatItIsToldTo) {
  const auto found =
      found_by_fts("/sys/kernel/iommu_groups", FTS_PHYSICAL, "/sys/kernel/iommu_groups/" + group_of(kBdf));
  EXPECT_EQ(found.count("/sys/kernel/iommu_groups/" + group_of(kBdf) + "/type"), 0u);
  EXPECT_EQ(found.count("/sys/kernel/iommu_groups/" + group_of("0000:40:00.1") + "/type"), 1u);
}
TEST(Fts, TellsChildrenInTheOrderAskedFor) {
  char device[] = "/sys/bus/pci/devices/0000:40:00.0/";
  char* paths[] = {device, nullptr};
  FTS* walk = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW, [](const FTSENT** one, const FTSENT** other) {
    return -std::strcmp((*one)->fts_name, (*other)->fts_name);
  });
  ASSERT_NE(fts_read(walk), nullptr);
  const FTSENT* first = fts_children(walk, 0);
  ASSERT_NE(first, nullptr);
  EXPECT_STREQ(first->fts_name, "vfio-dev");
  EXPECT_STREQ(first->fts_link->fts_name, "vendor");
  EXPECT_STREQ(fts_read(walk)->fts_path, "/sys/bus/pci/devices/0000:40:00.0/vfio-dev");
  fts_close(walk);  // in the middle
}
TEST(Fts, ElsewhereIsTheCLibrarys) { EXPECT_EQ(found_by_fts("/usr/lib", FTS_PHYSICAL).count("/usr/lib"), 1u); }

}  // namespace
}  // namespace vmux::tests
