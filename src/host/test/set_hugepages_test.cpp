// SPDX-License-Identifier: BSD-3-Clause
// Huge pages and where they are mounted: set, again, back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/test/operations_rig.hpp"

namespace vmux::host {
namespace {

using test::Operations;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(Operations, HugepagesAreSpreadOverNodes) {
  ASSERT_TRUE(pages({.count = 101, .size_kib = 2048}));
  EXPECT_EQ(pages_of(0), "51");
  EXPECT_EQ(pages_of(1), "50");
  ASSERT_TRUE(restore());
  EXPECT_EQ(pages_of(0), "512");
  EXPECT_EQ(pages_of(1), "0");
}

TEST_F(Operations, HugepagesOfOneNode) {
  ASSERT_TRUE(pages({.count = 64, .node = 1}));
  EXPECT_EQ(pages_of(0), "512");
  EXPECT_EQ(pages_of(1), "64");
}

TEST_F(Operations, HugepagesThatThereIsNoMemoryForAreTakenBack) {
  const auto report = pages({.count = 5000, .node = 1});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::no_space);
  EXPECT_THAT(report.error().text, HasSubstr("1000 huge pages of 2M only, not 5000"));
  EXPECT_EQ(pages_of(1), "0");
}

TEST_F(Operations, HugepagesOfASizeThatThereIsNot) {
  EXPECT_THAT(pages({.count = 1, .size_kib = 1048576}).error().text,
              HasSubstr("no huge pages of 1G; this machine offers: 2M on node 0, 2M on node 1"));
}

TEST_F(Operations, HugepagesGoWhereThereIsMemory) {
  machine_.put("/sys/devices/system/node/has_memory", "1\n");
  ASSERT_TRUE(pages({.count = 101}));
  EXPECT_EQ(pages_of(0), "512");
  EXPECT_EQ(pages_of(1), "101");
  EXPECT_THAT(pages({.count = 1, .node = 0}).error().text, HasSubstr("node 0 has no memory"));
}

TEST_F(Operations, HugepagesOfANodeThatIsSmallAreTakenByTheOthers) {
  machine_.put("/sys/devices/system/node/node1/meminfo",
               "Node 1 MemTotal:  99999 kB\nNode 1 MemFree:  20480 kB\nNode 1 Inactive(file):  2048 kB\n");
  const auto report = pages({.count = 101});
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_EQ(pages_of(0), "90");
  EXPECT_EQ(pages_of(1), "11");
  EXPECT_THAT(report->notes, ElementsAre(HasSubstr("node 1 has room for 11 huge pages of 2M only")));
}

TEST_F(Operations, HugepagesThatFitNowhereAreSpreadEvenlyAndTheKernelSaysWhatItFound) {
  machine_.most_pages = 30;
  for (const char* node : {"node0", "node1"})
    machine_.put(std::string{"/sys/devices/system/node/"} + node + "/meminfo", "Node 0 MemFree:  20480 kB\n");
  const auto report = pages({.count = 2000});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("30 huge pages of 2M only, not 1000"));
}

TEST_F(Operations, HugepagesInUseBecomeSurplusAndThatIsSaid) {
  machine_.pages_in_use["/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"] = 40;
  const auto report = pages({.count = 10, .node = 0});
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_THAT(report->notes, ElementsAre(HasSubstr("30 huge pages of 2M on node 0 beyond those are in use")));
  EXPECT_EQ(hugepages(machine_)[0].total, 10u);
  EXPECT_EQ(hugepages(machine_)[0].surplus, 30u);
  EXPECT_THAT(pages({.count = 10, .node = 0})->actions, IsEmpty());
  ASSERT_TRUE(restore());
  EXPECT_EQ(hugepages(machine_)[0].total, 512u);
}

TEST_F(Operations, HugepagesThatTheKernelMadeOnDemandAreNotCounted) {
  const std::string pool = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/";
  machine_.put(pool + "nr_hugepages", "15\n");
  machine_.put(pool + "surplus_hugepages", "5\n");
  EXPECT_THAT(pages({.count = 10, .node = 0})->actions, IsEmpty());
}

class Mounts : public Operations {
 protected:
  Mounts() {
    machine_.add_node(0, "0-3", {{2048, 512}, {1048576, 0}});
    machine_.put("/proc/self/mountinfo", "25 1 0:1 / /dev/hugepages rw - hugetlbfs hugetlbfs rw,pagesize=2M\n");
  }
};

TEST_F(Mounts, AreMadeOnceAndUndone) {
  const auto report = pages({.count = 2, .size_kib = 1048576, .mounts = true});
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_THAT(
      report->actions,
      testing::Contains("mkdir -p /dev/hugepages1G && mount -t hugetlbfs -o pagesize=1G hugetlbfs /dev/hugepages1G"));
  EXPECT_THAT(report->notes, ElementsAre(HasSubstr("libvirtd")));
  EXPECT_EQ(hugepage_mounts(machine_).at(1).path, "/dev/hugepages1G");
  EXPECT_THAT(pages({.count = 2, .size_kib = 1048576, .mounts = true})->actions, IsEmpty());
  ASSERT_TRUE(restore());
  EXPECT_EQ(hugepage_mounts(machine_).size(), 1u);
  EXPECT_THAT(journal(), IsEmpty());
}

TEST_F(Mounts, OfOthersAreEnough) {
  EXPECT_THAT(run([](Session& session) { return mount_hugepages(session, std::nullopt); })->actions, IsEmpty());
}

TEST_F(Mounts, ThatAreRefusedPutThePagesBack) {
  machine_.refuses["/dev/hugepages1G"] = EBUSY;
  const auto report = pages({.count = 2, .size_kib = 1048576, .mounts = true});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("cannot mount huge pages of 1G at /dev/hugepages1G: mount: Device or"));
  EXPECT_EQ(hugepages(machine_).at(0).total, 0u);
}

TEST_F(Mounts, NeedASizeThatThereIs) {
  EXPECT_THAT(run([](Session& session) { return mount_hugepages(session, 64); }).error().text,
              HasSubstr("no huge pages of 64K to mount"));
}

TEST_F(Mounts, AreReadWithTheirSizesAndNames) {
  machine_.put("/proc/self/mountinfo",
               "25 1 0:1 / / rw - ext4 /dev/sda1 rw\n26 1 0:2 / /mnt/big\\040ones rw shared:1 - hugetlbfs none "
               "rw,relatime,pagesize=1024M\n27 1 0:3 / /dev/hugepages rw - hugetlbfs hugetlbfs rw,gid=5,pagesize=2M\n");
  const auto mounts = hugepage_mounts(machine_);
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[0].path, "/mnt/big ones");
  EXPECT_EQ(mounts[0].size_kib, 1048576u);
  EXPECT_EQ(mounts[1].size_kib, 2048u);
}

}  // namespace
}  // namespace vmux::host
