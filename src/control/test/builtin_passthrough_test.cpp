// SPDX-License-Identifier: BSD-3-Clause
// One sentence for each thing that can stand in the way, with the command that helps.
#include "control/builtin/builtin_passthrough.hpp"

#include <gtest/gtest.h>

namespace vmux::control {
namespace {

using passthrough::Diagnosis;
using passthrough::Obstacle;

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
