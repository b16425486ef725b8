// SPDX-License-Identifier: BSD-3-Clause
#include "host/describe/vm_args.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/fake_machine.hpp"

namespace vmux::host {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

class HostVmArgs : public testing::Test {
 protected:
  HostVmArgs() { fake::make_good_host(machine_); }
  VmArgs args(const VmArgsRequest& request) {
    auto made = vm_args(machine_, request);
    EXPECT_TRUE(made) << made.error().text;
    return made.value_or(VmArgs{});
  }
  fake::FakeMachine machine_;
};

TEST_F(HostVmArgs, OfQemuHaveTheFunctionAndMemoryOfItsNode) {
  const VmArgs made = args({.function = "ens2"});
  EXPECT_THAT(made.lines, Contains("-device vfio-pci,host=0000:02:00.0"));
  EXPECT_THAT(made.lines, Contains(HasSubstr("size=1024M,host-nodes=1,policy=bind")));
  EXPECT_THAT(made.notes, Contains(HasSubstr("to one of CPUs 4,5 of node 1")));
  EXPECT_THAT(made.notes, Contains(HasSubstr("has the driver e1000e now: vmuxctl host bind 0000:02:00.0 first")));
}

TEST_F(HostVmArgs, OfAFunctionThatIsReadyAskForNothing) {
  machine_.add_function("0000:03:00.0", {.driver = "vfio-pci", .group = 20, .numa_node = 0});
  const VmArgs made = args({.function = "03:00.0"});
  EXPECT_THAT(made.notes, Not(Contains(HasSubstr("bind"))));
  EXPECT_THAT(made.notes, Not(Contains(HasSubstr("IOMMU"))));
}

TEST_F(HostVmArgs, OfLibvirtAreAHostdevWithPinnedCpus) {
  const VmArgs made = args({.function = "02:00.0", .vmm = "libvirt", .vcpus = 2, .memory_mb = 2048});
  EXPECT_THAT(made.lines, Contains(HasSubstr("<address domain='0x0000' bus='0x02' slot='0x00' function='0x0'/>")));
  EXPECT_THAT(made.lines, Contains("    <vcpupin vcpu='1' cpuset='5'/>"));
  EXPECT_THAT(made.lines, Contains(HasSubstr("nodeset='1'")));
}

TEST_F(HostVmArgs, OfCloudHypervisorHaveAPathAndAffinity) {
  const VmArgs made = args({.function = "02:00.0", .vmm = "cloud-hypervisor"});
  EXPECT_THAT(made.lines, Contains("--cpus boot=2,affinity=[0@[4],1@[5]]"));
  EXPECT_THAT(made.lines, Contains(HasSubstr("host_numa_node=1")));
  EXPECT_THAT(made.lines, Contains("--device path=/sys/bus/pci/devices/0000:02:00.0/"));
}

TEST_F(HostVmArgs, TakeIsolatedCpusAndWholeCoresFirst) {
  machine_.put("/sys/devices/system/cpu/isolated", "5-7\n");
  machine_.put("/sys/devices/system/cpu/cpu5/topology/thread_siblings_list", "4-5\n");
  EXPECT_THAT(args({.function = "ens2", .vcpus = 3}).notes, Contains(HasSubstr("CPUs 6,7,5 of node 1")));
}

TEST_F(HostVmArgs, PinNothingWhereCpusAreTooFew) {
  const VmArgs made = args({.function = "ens2", .vmm = "libvirt", .vcpus = 5});
  EXPECT_THAT(made.notes, Contains(HasSubstr("5 vCPUs are more than the CPUs of node 1")));
  EXPECT_THAT(made.lines, Not(Contains(HasSubstr("vcpupin"))));
}

TEST_F(HostVmArgs, OfADomainBeyond16BitsGoByThePath) {
  machine_.add_function("10000:e1:00.0", {.driver = "vfio-pci", .group = 30});
  EXPECT_THAT(args({.function = "10000:e1:00.0"}).lines,
              Contains("-device vfio-pci,sysfsdev=/sys/bus/pci/devices/10000:e1:00.0"));
  EXPECT_THAT(args({.function = "10000:e1:00.0", .vmm = "libvirt"}).notes, Contains(HasSubstr("above 0xffff")));
}

TEST_F(HostVmArgs, NameWhatSharesTheGroupAndWhatHasNone) {
  EXPECT_THAT(args({.function = "00:1f.2"}).notes, Contains(HasSubstr("its IOMMU group has 0000:00:1f.3 as well")));
  machine_.add_function("0000:05:00.0", {});
  EXPECT_THAT(args({.function = "05:00.0"}).notes, Contains(HasSubstr("behind no IOMMU")));
}

TEST_F(HostVmArgs, AreRefusedForABridgeAnotherVmmAndNothing) {
  EXPECT_THAT(vm_args(machine_, {.function = "00:02.0"}).error().text, HasSubstr("is a bridge"));
  EXPECT_THAT(vm_args(machine_, {.function = "ens2", .vmm = "xen"}).error().text, HasSubstr("got 'xen'"));
  EXPECT_EQ(vm_args(machine_, {.function = "ens9"}).error().code, Errc::not_found);
}

}  // namespace
}  // namespace vmux::host
