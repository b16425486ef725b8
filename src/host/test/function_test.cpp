// SPDX-License-Identifier: BSD-3-Clause
#include "host/look/function.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/fake_machine.hpp"

namespace vmux::host {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Functions : public testing::Test {
 protected:
  Functions() { fake::make_good_host(machine_); }
  PciFunction function(const char* name) { return *find_function(machine_, name); }
  std::vector<std::string> users(const char* name) { return *users_of(machine_, function(name)); }
  fake::FakeMachine machine_;
};

TEST_F(Functions, AreSeenWithTheirDriverGroupAndInterface) {
  const PciFunction nic = function("01:00.0");
  EXPECT_EQ(nic.driver, "igb");
  EXPECT_EQ(nic.driver_override, "");
  EXPECT_EQ(nic.group, 13u);
  EXPECT_EQ(nic.numa_node, 0u);
  EXPECT_EQ(nic.max_vfs, 7u);
  ASSERT_EQ(nic.interfaces.size(), 1u);
  EXPECT_EQ(nic.interfaces[0].name, "ens1");
  EXPECT_EQ(nic.interfaces[0].speed_mbit, 1000);
  EXPECT_TRUE(nic.interfaces[0].is_up);
}

TEST_F(Functions, AreFoundByInterface) { EXPECT_EQ(function("ens2").address.text(), "0000:02:00.0"); }

TEST_F(Functions, ThatDoNotExistAreToldSo) {
  EXPECT_THAT(find_function(machine_, "05:00.0").error().text, HasSubstr("no PCI function 0000:05:00.0"));
  EXPECT_THAT(find_function(machine_, "../../etc").error().text, HasSubstr("neither"));
}

TEST_F(Functions, AreFoundByAnotherNameOfTheirInterface) {
  machine_.net.all_links = {{"ens2", {"enp2s0"}}};
  EXPECT_EQ(function("enp2s0").address.text(), "0000:02:00.0");
}

class Switchdev : public Functions {
 protected:
  Switchdev() {
    add("aaa0", "pf0vf0");
    add("aaa1", "c1pf0vf1");
    add("aaa2", "pf0sf88");
    machine_.put(kNet + std::string{"ens1/phys_port_name"}, "p0\n");
  }
  void add(const std::string& name, const char* port) {
    machine_.put(kNet + name + "/phys_port_name", std::string{port} + "\n");
    machine_.put(kNet + name + "/flags", "0x1002\n");
    machine_.put_link("/sys/class/net/" + name, kNet + name);
  }
  static constexpr const char* kNet = "/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/net/";
};

TEST_F(Switchdev, TheUplinkIsThePortNotARepresentor) {
  EXPECT_EQ(function("01:00.0").uplink(), "ens1");
  EXPECT_EQ(uplink_of(machine_, {0, 1, 0, 0}), "ens1");
  EXPECT_EQ(function("01:00.0").interfaces.size(), 4u);
}

TEST_F(Switchdev, OfSeveralPortsTheUplinkIsTheFirst) {
  add("aab0", "p10");
  add("aab1", "p1s0");
  EXPECT_EQ(function("01:00.0").uplink(), "ens1");
  machine_.put(kNet + std::string{"ens1/phys_port_name"}, "p2\n");
  EXPECT_EQ(function("01:00.0").uplink(), "aab1");
}

TEST_F(Switchdev, WithoutItsPortHereThereIsNoUplink) {
  machine_.take("/sys/class/net/ens1");
  EXPECT_EQ(function("01:00.0").uplink(), "");
}

TEST_F(Switchdev, ARepresentorIsNoNameOfTheCard) {
  EXPECT_THAT(find_function(machine_, "aaa0").error().text, HasSubstr("aaa0 stands for pf0vf0 of the switch in"));
}

TEST_F(Functions, VirtualOnesKnowTheirPlace) {
  ASSERT_TRUE(machine_.write("/sys/bus/pci/devices/0000:01:00.0/sriov_numvfs", "2"));
  const PciFunction vf = function("01:10.2");
  EXPECT_EQ(vf.physical->text(), "0000:01:00.0");
  EXPECT_EQ(vf.vf_index, 1u);
}

TEST_F(Functions, VirtualOnesAreForeseen) {
  const auto expected = expected_virtual_functions(machine_, {0, 1, 0, 0}, 2);
  EXPECT_THAT(expected, ElementsAre(PciAddress{0, 1, 0x10, 0}, PciAddress{0, 1, 0x10, 2}));
}

TEST_F(Functions, GroupMatesLeaveBridgesOut) {
  EXPECT_THAT(group_mates(machine_, function("00:1f.2")), ElementsAre(PciAddress{0, 0, 0x1f, 3}));
  EXPECT_THAT(group_mates(machine_, function("01:00.0")), IsEmpty());
}

TEST_F(Functions, NamesComeFromPciIds) {
  EXPECT_EQ(device_name(machine_, function("01:00.0")), "8086:10c9");
  machine_.put("/usr/share/misc/pci.ids",
               "8085  Other\n\t10c9  Wrong\n8086  Intel Corporation\n\t10c9  82576\n8087  Next\n");
  EXPECT_EQ(device_name(machine_, function("01:00.0")), "Intel Corporation 82576");
}

TEST_F(Functions, AnIdleCardHasNoUser) {
  machine_.net.all_addresses = {{"ens1", "fe80::1/64", true}, {"lo", "127.0.0.1/8", false}};
  EXPECT_THAT(users("ens1"), IsEmpty());
}

TEST_F(Functions, AnAddressIsAUser) {
  machine_.net.all_addresses = {{"ens1", "10.0.0.1/24", false}};
  EXPECT_THAT(users("ens1"), ElementsAre("ens1 carries 10.0.0.1/24"));
}

TEST_F(Functions, ARouteIsAUser) {
  machine_.net.all_routes = {{"ens1", "default"}};
  EXPECT_THAT(users("ens1"), ElementsAre(HasSubstr("default")));
}

TEST_F(Functions, AnAddressOfABridgeAboveIsAUser) {
  machine_.put("/sys/devices/virtual/net/br0/address", "x");
  machine_.put_link("/sys/class/net/br0", "/sys/devices/virtual/net/br0");
  machine_.put_link("/sys/class/net/ens1/master", "/sys/devices/virtual/net/br0");
  machine_.put_link("/sys/class/net/ens1/upper_br0", "/sys/devices/virtual/net/br0");
  machine_.net.all_addresses = {{"br0", "10.0.0.1/24", false}};
  EXPECT_THAT(users("ens1"), ElementsAre("ens1 belongs to br0", "br0 carries 10.0.0.1/24"));
}

TEST_F(Functions, AVlanInABridgeWithoutAddressIsAUser) {
  machine_.put_link("/sys/class/net/ens1/upper_ens1.10", "/sys/devices/virtual/net/ens1.10");
  machine_.put_link("/sys/class/net/ens1.10/master", "/sys/devices/virtual/net/br10");
  machine_.put_link("/sys/class/net/ens1.10/upper_br10", "/sys/devices/virtual/net/br10");
  EXPECT_THAT(users("ens1"), ElementsAre("ens1.10 stands on ens1", "ens1.10 belongs to br10"));
}

TEST_F(Functions, AMacvtapOfAVmIsAUser) {
  machine_.put_link("/sys/class/net/ens1/upper_macvtap0", "/sys/devices/virtual/net/macvtap0");
  EXPECT_THAT(users("ens1"), ElementsAre("macvtap0 stands on ens1"));
}

TEST_F(Functions, AMountedPartitionIsAUser) {
  machine_.add_disk("0000:00:1f.2", "sda", "8");
  EXPECT_THAT(users("00:1f.2"), IsEmpty());
  machine_.put("/proc/self/mountinfo", "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n");
  EXPECT_THAT(users("00:1f.2"), ElementsAre("/dev/sda1 is mounted on /"));
}

TEST_F(Functions, AMountedVolumeOnADiskIsAUser) {
  machine_.add_disk("0000:00:1f.2", "sda", "8");
  machine_.put("/sys/devices/virtual/block/dm-0/dev", "253:0\n");
  machine_.put_link("/sys/class/block/dm-0", "/sys/devices/virtual/block/dm-0");
  machine_.put_link("/sys/class/block/sda1/holders/dm-0", "/sys/devices/virtual/block/dm-0");
  machine_.put("/proc/self/mountinfo", "22 1 253:0 / /home rw - ext4 /dev/mapper/home rw\n");
  EXPECT_THAT(users("00:1f.2"), ElementsAre("/dev/sda1 is part of /dev/dm-0", "/dev/dm-0 is mounted on /home"));
}

TEST_F(Functions, AVolumeThatNobodyMountsIsAUser) {  // of LVM, given to a VM
  machine_.add_disk("0000:00:1f.2", "sda", "8");
  machine_.put_link("/sys/class/block/sda1/holders/dm-0", "/sys/devices/virtual/block/dm-0");
  EXPECT_THAT(users("00:1f.2"), ElementsAre("/dev/sda1 is part of /dev/dm-0"));
}

TEST_F(Functions, AProgramWithTheDiskOpenIsAUser) {
  machine_.add_disk("0000:00:1f.2", "sda", "8");
  machine_.put("/proc/77/comm", "qemu\n");
  machine_.put_link("/proc/77/fd/9", "/dev/sda");
  EXPECT_THAT(users("00:1f.2"), ElementsAre("process 77 (qemu) has /dev/sda open"));
}

TEST_F(Functions, SwapIsAUser) {
  machine_.add_disk("0000:00:1f.2", "sda", "8");
  machine_.put("/proc/swaps", "Filename Type Size Used Priority\n/dev/sda1 partition 100 0 -2\n");
  EXPECT_THAT(users("00:1f.2"), ElementsAre("/dev/sda1 holds swap"));
}

TEST_F(Functions, AProgramWithTheGroupOpenIsAUser) {
  ASSERT_TRUE(machine_.write("/sys/bus/pci/devices/0000:02:00.0/driver/unbind", "0000:02:00.0"));
  ASSERT_TRUE(machine_.write("/sys/bus/pci/devices/0000:02:00.0/driver_override", "vfio-pci"));
  ASSERT_TRUE(machine_.write("/sys/bus/pci/drivers_probe", "0000:02:00.0"));
  machine_.put("/proc/77/comm", "qemu\n");
  machine_.put_link("/proc/77/fd/9", "/dev/vfio/14");
  EXPECT_THAT(users("02:00.0"), ElementsAre("process 77 (qemu) has /dev/vfio/14 open"));
}

TEST_F(Functions, AProgramWithTheFunctionItselfOpenIsAUser) {  // as QEMU does with iommufd
  machine_.put("/sys/bus/pci/devices/0000:02:00.0/vfio-dev/vfio3/dev", "511:3\n");
  machine_.put("/proc/77/comm", "qemu\n");
  machine_.put_link("/proc/77/fd/9", "/dev/vfio/devices/vfio3");
  EXPECT_THAT(users("02:00.0"), ElementsAre("process 77 (qemu) has /dev/vfio/devices/vfio3 open"));
}

TEST_F(Functions, VirtualFunctionsAreUsersOfTheirPhysicalOne) {
  ASSERT_TRUE(machine_.write("/sys/bus/pci/devices/0000:01:00.0/sriov_numvfs", "2"));
  EXPECT_THAT(users("01:00.0"), ElementsAre(HasSubstr("it has 2 virtual functions")));
}

TEST_F(Functions, ACardWithoutAnInterfaceMayBeInAnotherNamespace) {
  machine_.take("/sys/class/net/ens2");
  EXPECT_THAT(users("02:00.0"), ElementsAre(HasSubstr("another network namespace")));
}

}  // namespace
}  // namespace vmux::host
