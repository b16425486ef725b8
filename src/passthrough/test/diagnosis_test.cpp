// SPDX-License-Identifier: BSD-3-Clause
// On a machine of files and links in a temporary directory.
#include "passthrough/diagnosis.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace vmux::passthrough {
namespace {

namespace fs = std::filesystem;

constexpr char kCard[] = "0000:04:01.0", kTwin[] = "0000:04:02.0", kBridge[] = "0000:03:00.0";

class ADiagnosis : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("vmux-diagnosis-" + std::to_string(::getpid()));
    fs::remove_all(root_);
    machine_ = {root_ / "sys", root_ / "dev", root_ / "proc"};
    fs::create_directories(root_ / "dev/vfio");
    fs::create_directories(root_ / "proc");
    std::ofstream{root_ / "dev/vfio/vfio"};
    std::ofstream{root_ / "dev/vfio/12"};
    add(kBridge, "pcieport");
    add(kCard, "vfio-pci");
    add(kTwin, "");
  }
  void TearDown() override { fs::remove_all(root_); }

  void add(const std::string& address, const std::string& driver, bool has_group = true) {
    const fs::path device = root_ / "sys/bus/pci/devices" / address;
    fs::create_directories(device);
    const fs::path group = root_ / "sys/kernel/iommu_groups/12";
    fs::create_directories(group / "devices" / address);
    if (has_group) fs::create_directory_symlink(group, device / "iommu_group");
    set_driver(address, driver);
  }
  void set_driver(const std::string& address, const std::string& driver) {
    const fs::path link = root_ / "sys/bus/pci/devices" / address / "driver";
    fs::remove(link);
    if (!driver.empty()) fs::create_symlink("../../drivers/" + driver, link);
  }
  void add_process(const std::string& pid, const std::string& name, const std::string& target) {
    fs::create_directories(root_ / "proc" / pid / "fd");
    std::ofstream{root_ / "proc" / pid / "comm"} << name << "\n";
    fs::create_symlink(target, root_ / "proc" / pid / "fd/9");
  }
  Diagnosis diagnose(Errc code = Errc::system, const std::string& address = kCard) {
    return passthrough::diagnose(machine_, address, {code, "", 0});
  }

  fs::path root_;
  Machine machine_;
};

TEST_F(ADiagnosis, FindsNothingWrongWithAGroupThatIsReady) {
  EXPECT_EQ(diagnose().obstacle, Obstacle::none);
  EXPECT_EQ(group_of(machine_, kCard), 12u);
}

TEST_F(ADiagnosis, SeesThatTheDeviceIsNotThere) {
  EXPECT_EQ(diagnose(Errc::not_found, "0000:7f:00.0").obstacle, Obstacle::no_such_device);
}

TEST_F(ADiagnosis, SeesThatThereIsNoIommu) {
  add("0000:05:00.0", "vfio-pci", false);
  EXPECT_EQ(diagnose(Errc::not_supported, "0000:05:00.0").obstacle, Obstacle::no_iommu);
}

TEST_F(ADiagnosis, CallsAGroupOfTheNoIommuModeNoIommu) {
  std::ofstream{root_ / "sys/kernel/iommu_groups/12/name"} << "vfio-noiommu\n";
  EXPECT_EQ(diagnose().obstacle, Obstacle::no_iommu);
  EXPECT_EQ(group_of(machine_, kCard).error().code, Errc::not_supported);
}

TEST_F(ADiagnosis, NamesTheDriverThatHasTheDevice) {
  set_driver(kCard, "e1000");
  EXPECT_EQ(diagnose().obstacle, Obstacle::not_bound);
  EXPECT_EQ(diagnose().driver, "e1000");
  set_driver(kCard, "");
  EXPECT_EQ(diagnose().obstacle, Obstacle::not_bound);
}

TEST_F(ADiagnosis, NamesWhoSpoilsTheGroupAndNobodyElse) {
  set_driver(kTwin, "e1000");
  const auto found = diagnose();
  EXPECT_EQ(found.obstacle, Obstacle::group_not_viable);
  EXPECT_EQ(found.group, 12u);
  ASSERT_EQ(found.spoilers.size(), 1u);
  EXPECT_EQ(found.spoilers[0].address, kTwin);
  EXPECT_EQ(found.spoilers[0].driver, "e1000");
}

TEST_F(ADiagnosis, TakesVariantsOfVfioPciForWhatTheyAre) {
  set_driver(kCard, "mlx5_vfio_pci");
  EXPECT_EQ(diagnose().obstacle, Obstacle::none);
}

TEST_F(ADiagnosis, SeesThatVfioIsNotLoaded) {
  fs::remove(root_ / "dev/vfio/vfio");
  EXPECT_EQ(diagnose(Errc::not_found).obstacle, Obstacle::no_vfio);
}

TEST_F(ADiagnosis, NamesTheFileThatMayNotBeOpened) {
  EXPECT_EQ(diagnose(Errc::permission).obstacle, Obstacle::no_permission);
  EXPECT_EQ(diagnose(Errc::permission).file, root_ / "dev/vfio/12");
}

TEST_F(ADiagnosis, NamesTheProcessesThatHoldIt) {
  add_process("41", "qemu", "anon_inode:[vfio-device]");
  add_process("42", "vmux", root_ / "dev/vfio/12");
  add_process("43", "innocent", root_ / "dev/vfio/13");
  const auto found = diagnose(Errc::busy);
  EXPECT_EQ(found.obstacle, Obstacle::held);
  EXPECT_THAT(found.holders, testing::ElementsAre("41 qemu", "42 vmux"));
}

}  // namespace
}  // namespace vmux::passthrough
