// SPDX-License-Identifier: BSD-3-Clause
// One sentence for each thing that can stand in the way, with the command that helps.
#include "control/builtin/builtin_passthrough.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "control/model/hardware.hpp"
#include "kvfio/test/fake_kernel.hpp"

namespace vmux::control {
namespace {

using passthrough::Diagnosis;
using passthrough::Obstacle;

/// A machine with one card in IOMMU group 7, and all that a process holds of it.
struct AMachine {
  explicit AMachine(const std::string& name) : root(std::filesystem::temp_directory_path() / name) {
    std::filesystem::create_directories(root / "sys/bus/pci/devices/0000:04:01.0");
    std::filesystem::create_directories(root / "sys/kernel/iommu_groups/7");
    std::filesystem::create_directory_symlink(root / "sys/kernel/iommu_groups/7",
                                              root / "sys/bus/pci/devices/0000:04:01.0/iommu_group");
    auto fake = std::make_unique<kvfio::fake::TestKernel>();
    kernel = fake.get();
    kernel->cards["0000:04:01.0"];
    hardware = std::make_unique<Hardware>(std::move(fake), passthrough::Machine{root / "sys", root / "dev", root});
  }
  ~AMachine() { std::filesystem::remove_all(root); }
  Result<std::unique_ptr<Device>> make(runtime::Poller& poller) {
    return make_passthrough({"vm0", {}, {}, 1, "0000:04:01.0", {}, {&poller}, *hardware}, poller);
  }

  std::filesystem::path root;
  kvfio::fake::TestKernel* kernel = nullptr;
  std::unique_ptr<Hardware> hardware;
};

TEST(Passthrough, OfTwoMachinesInOneProcessSharesNothing) {
  const auto poller = std::move(*runtime::Poller::create());
  const std::string name = "vmux-hardware-" + std::to_string(::getpid());
  AMachine one{name + "-one"}, other{name + "-other"};
  other.kernel->is_held = true;
  const auto device = one.make(*poller);
  ASSERT_TRUE(device);
  EXPECT_TRUE((*device)->is_ready());
  EXPECT_EQ(one.kernel->domains, 1);
  EXPECT_FALSE(other.make(*poller));  // its group of the same number is held by somebody else
  EXPECT_EQ(other.kernel->attempts, 1);
  other.kernel->is_held = false;
  ASSERT_TRUE(other.make(*poller));
  EXPECT_EQ(one.kernel->domains, 1);
}

struct SentenceCase {
  Diagnosis found;
  const char* sentence;
};
class PassthroughSentences : public testing::TestWithParam<SentenceCase> {};
TEST_P(PassthroughSentences, NameTheCauseAndTheCure) {
  EXPECT_EQ(sentence_of("0000:04:01.0", GetParam().found), GetParam().sentence);
}
INSTANTIATE_TEST_SUITE_P(
    All, PassthroughSentences,
    testing::Values(
        SentenceCase{{}, ""},
        SentenceCase{{.obstacle = Obstacle::no_such_device}, "there is no PCI device 0000:04:01.0; see: lspci -D"},
        SentenceCase{
            {.obstacle = Obstacle::no_iommu},
            "0000:04:01.0 is not behind an IOMMU that the kernel uses: switch it on in the firmware and, if it is "
            "Intel's, add intel_iommu=on to the kernel's command line; vmuxctl host check tells more"},
        SentenceCase{{.obstacle = Obstacle::not_bound, .driver = "e1000"},
                     "0000:04:01.0 is bound to e1000 instead of vfio-pci: vmuxctl host bind 0000:04:01.0"},
        SentenceCase{{.obstacle = Obstacle::not_bound},
                     "0000:04:01.0 is bound to no driver instead of vfio-pci: vmuxctl host bind 0000:04:01.0"},
        SentenceCase{
            {.obstacle = Obstacle::group_not_viable,
             .group = 12,
             .spoilers = {{"0000:04:02.0", "e1000"}, {"0000:04:03.0", "igb"}}},
            "0000:04:01.0 shares IOMMU group 12 with 0000:04:02.0 (driver e1000), 0000:04:03.0 (driver igb), which "
            "the host must give up too: vmuxctl host bind 0000:04:02.0 0000:04:03.0"},
        SentenceCase{{.obstacle = Obstacle::no_vfio}, "the kernel's VFIO is not there: modprobe vfio_iommu_type1"},
        SentenceCase{{.obstacle = Obstacle::no_permission, .file = "/dev/vfio/12"},
                     "/dev/vfio/12 may not be opened: run vmux as root, or give it to vmux's user: chown USER "
                     "/dev/vfio/12"},
        SentenceCase{{.obstacle = Obstacle::held}, "0000:04:01.0 is in use by another process"},
        SentenceCase{{.obstacle = Obstacle::held, .holders = {"41 qemu", "42 vmux"}},
                     "0000:04:01.0 is in use: process 41 qemu or process 42 vmux must let go of it first"}));

}  // namespace
}  // namespace vmux::control
