// SPDX-License-Identifier: BSD-3-Clause
#include "preload/tree/sysfs.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "preload/tree/paths.hpp"

namespace vmux::preload {
namespace {

namespace fs = std::filesystem;

Identity network_card() {
  Identity identity;
  identity.address = *parse_pci_address("0000:40:00.0");
  identity.group = 7;
  identity.config.resize(256);
  const auto put = [&](std::size_t at, std::initializer_list<std::uint8_t> bytes) {
    std::copy(bytes.begin(), bytes.end(), identity.config.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(0x00, {0x86, 0x80, 0x0e, 0x10});
  put(0x08, {0x03, 0x00, 0x00, 0x02});
  put(0x10, {0x0c, 0, 0, 0, 0, 0, 0, 0, 0x01, 0, 0, 0});  // BAR 0: 64 bit prefetchable; BAR 2: I/O
  put(0x2c, {0x86, 0x80, 0x1e, 0x00});
  identity.region_sizes = {0x20000, 0, 0x40, 0, 0, 0, 0x10000};
  return identity;
}

class Tree : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(root_.data()), nullptr);
    fs::create_directories(root_ + "/host/sys/bus/pci/devices/0000:00:01.0");
    fs::create_directories(root_ + "/host/sys/kernel/iommu_groups/3");
    fs::create_directories(root_ + "/tree");
    ASSERT_TRUE(build_tree(root_ + "/tree", root_ + "/host", {network_card()}));
  }
  void TearDown() override { fs::remove_all(root_); }
  [[nodiscard]] std::string text(const std::string& path) const {
    std::stringstream stream;
    stream << std::ifstream{root_ + "/tree" + path}.rdbuf();
    return stream.str();
  }
  std::string root_ = "/tmp/preload-tree-XXXXXX";
};

TEST_F(Tree, FunctionIsFoundByItsBus) {
  const std::string device = "/sys/bus/pci/devices/0000:40:00.0";
  EXPECT_EQ(text(device + "/vendor"), "0x8086\n");
  EXPECT_EQ(text(device + "/device"), "0x100e\n");
  EXPECT_EQ(text(device + "/class"), "0x020000\n");
  EXPECT_EQ(text(device + "/numa_node"), "-1\n");
  EXPECT_EQ(text(device + "/config").size(), 256u);
  EXPECT_EQ(text(device + "/vfio-dev/vfio7/dev"), "511:7\n");
}
TEST_F(Tree, LinksLeadWhereSysfsLeads) {
  const fs::path device = root_ + "/tree/sys/bus/pci/devices/0000:40:00.0";
  EXPECT_EQ(fs::read_symlink(device), "../../../devices/pci0000:40/0000:40:00.0");
  EXPECT_EQ(fs::canonical(device / "driver").filename(), "vfio-pci");
  EXPECT_EQ(fs::canonical(device / "iommu_group").filename(), "7");
  EXPECT_EQ(fs::canonical(device / "subsystem"), root_ + "/tree/sys/bus/pci");
  EXPECT_TRUE(fs::exists(device / "iommu_group/devices/0000:40:00.0/vendor"));
  EXPECT_TRUE(fs::exists(root_ + "/tree/sys/bus/pci/drivers/vfio-pci/0000:40:00.0/vendor"));
}
TEST_F(Tree, DevicesOfTheMachineStayVisible) {
  EXPECT_TRUE(fs::is_directory(root_ + "/tree/sys/bus/pci/devices/0000:00:01.0"));
  EXPECT_TRUE(fs::is_directory(root_ + "/tree/sys/kernel/iommu_groups/3"));
  EXPECT_EQ(first_free_group(root_ + "/host"), 4u);
}
TEST_F(Tree, ResourceLinesCarryKindsAndSizes) {
  std::stringstream lines{resource_text(network_card())};
  std::uint64_t start = 0, end = 0, flags = 0;
  std::vector<std::uint64_t> sizes, kinds;
  while (lines >> std::hex >> start >> end >> flags) {
    sizes.push_back(flags == 0 ? 0 : end - start + 1);
    kinds.push_back(flags);
    if (flags != 0) {
      EXPECT_EQ(start % (end - start + 1), 0u);
    }
  }
  ASSERT_EQ(sizes.size(), 13u);
  EXPECT_EQ(sizes[0], 0x20000u);
  EXPECT_EQ(kinds[0] & 0x102300u, 0x102200u);  // memory, prefetchable, 64 bit
  EXPECT_EQ(sizes[1], 0u);
  EXPECT_EQ(kinds[2] & 0x300u, 0x100u);  // I/O
  EXPECT_EQ(sizes[6], 0x10000u);
}

class PathTable : public ::testing::Test {
 protected:
  Paths paths_{"/root", "/no/such/host", {network_card()}};
};
TEST_F(PathTable, OursAreRedirectedWithAllBelow) {
  EXPECT_EQ(paths_.redirect("/sys/bus/pci/devices/0000:40:00.0"), "/root/sys/bus/pci/devices/0000:40:00.0");
  EXPECT_EQ(paths_.redirect("//sys/bus/./pci/devices//0000:40:00.0/driver/"),
            "/root/sys/bus/pci/devices/0000:40:00.0/driver/");
  EXPECT_EQ(paths_.redirect("/sys/kernel/iommu_groups/7/devices"), "/root/sys/kernel/iommu_groups/7/devices");
}
TEST_F(PathTable, ListsAreRedirectedButNotWhatTheMachineHasInThem) {
  EXPECT_EQ(paths_.redirect("/sys/bus/pci/devices/"), "/root/sys/bus/pci/devices/");
  EXPECT_FALSE(paths_.redirect("/sys/bus/pci/devices/0000:00:01.0"));
  EXPECT_FALSE(paths_.redirect("/sys/bus/pci/devices/0000:40:00.01"));
  EXPECT_FALSE(paths_.redirect("/dev/null"));
  EXPECT_FALSE(paths_.redirect("sys/bus/pci/devices"));
}
TEST_F(PathTable, HostBridgeIsOursUnlessTheMachineHasIt) {
  EXPECT_TRUE(paths_.redirect("/sys/devices/pci0000:40"));
  std::string root = "/tmp/preload-paths-XXXXXX";
  ASSERT_NE(mkdtemp(root.data()), nullptr);
  fs::create_directories(root + "/sys/devices/pci0000:40");
  EXPECT_FALSE(Paths("/root", root, {network_card()}).redirect("/sys/devices/pci0000:40"));
  fs::remove_all(root);
}
TEST(JoinPaths, LeadingDotsAreResolved) {
  EXPECT_EQ(join_paths("/sys/bus/pci", "devices/0000:40:00.0"), "/sys/bus/pci/devices/0000:40:00.0");
  EXPECT_EQ(join_paths("/sys/bus/pci", "../../.././/dev/vfio"), "/dev/vfio");
  EXPECT_EQ(join_paths("/", "sys"), "/sys");
  EXPECT_EQ(join_paths("/", "../.."), "/");
  EXPECT_EQ(join_paths("/sys/bus", "pci/../x"), "/sys/bus/pci/../x");  // pci might be a link
}
TEST_F(PathTable, NodesAreKnown) {
  EXPECT_EQ(paths_.node("/dev/vfio/vfio")->kind, Node::Kind::container);
  EXPECT_EQ(paths_.node("/dev/vfio/7")->number, 7u);
  EXPECT_EQ(paths_.node("/dev/vfio/devices/vfio7")->kind, Node::Kind::cdev);
  EXPECT_EQ(paths_.node("/dev/iommu")->kind, Node::Kind::iommufd);
  EXPECT_FALSE(paths_.node("/dev/vfio/8"));
}
TEST_F(PathTable, RealPathsAreConcealed) {
  EXPECT_EQ(paths_.conceal("/root/sys/bus/pci"), "/sys/bus/pci");
  EXPECT_EQ(paths_.conceal("/rootless"), "/rootless");
}

}  // namespace
}  // namespace vmux::preload
