// SPDX-License-Identifier: BSD-3-Clause
// Users of a function whom no address, route or mount table shows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/fake_machine.hpp"
#include "host/operations.hpp"

namespace vmux::host {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kDisk = "0000:00:1f.2";

class Users : public testing::Test {
 protected:
  Users() { fake::make_good_host(machine_); }
  std::vector<std::string> of(const char* name) { return *users_of(machine_, *find_function(machine_, name)); }
  void add_process(const char* number, const char* name, const char* open) {
    machine_.put(std::string{"/proc/"} + number + "/comm", std::string{name} + "\n");
    machine_.put_link(std::string{"/proc/"} + number + "/fd/9", open);
  }
  /// An NVMe controller with native multipath: the hidden path below it, the head below the virtual subsystem.
  void add_nvme(const std::string& address) {
    machine_.add_function(address, {.class_code = 0x010802, .driver = "nvme", .group = 20});
    const std::string controller = machine_.resolve(kPciDevices + address) + "/nvme/nvme3";
    const std::string head = "/sys/devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n2";
    machine_.put(controller + "/nvme1c3n2/hidden", "1\n");
    machine_.put(head + "/dev", "259:4\n");
    machine_.put(head + "/nvme1n2p1/dev", "259:5\n");
    machine_.put(head + "/nvme1n2p1/partition", "1\n");
    machine_.put_link("/sys/class/nvme/nvme3", controller);
    machine_.put_link("/sys/class/block/nvme1c3n2", controller + "/nvme1c3n2");
    machine_.put_link("/sys/class/block/nvme1n2", head);
    machine_.put_link("/sys/class/block/nvme1n2p1", head + "/nvme1n2p1");
  }
  void probe_finds(const std::string& file, const std::string& type) {
    machine_.programs["blkid --probe --output value --match-tag TYPE " + file] = {0, type + "\n"};
  }
  fake::FakeMachine machine_;
};

TEST_F(Users, OfAHeadOfNvmeMultipathAreTheControllers) {
  add_nvme("0000:05:00.0");
  EXPECT_THAT(of("05:00.0"), IsEmpty());
  machine_.put("/proc/self/mountinfo", "22 1 259:5 / /mnt rw - ext4 /dev/nvme1n2p1 rw\n");
  EXPECT_THAT(of("05:00.0"), ElementsAre("/dev/nvme1n2p1 is mounted on /mnt"));
}

TEST_F(Users, OfAHeadThatIsClaimedAreTheControllers) {
  add_nvme("0000:05:00.0");
  machine_.claimed = {"/dev/nvme1n2", "/dev/nvme1n2p1"};
  EXPECT_THAT(of("05:00.0"), ElementsAre(HasSubstr("/dev/nvme1n2p1 is claimed")));
}

TEST_F(Users, OfADiskOfADomainBelowAreTheFunctions) {  // VMD
  machine_.add_function("0000:00:0e.0", {.class_code = 0x010400, .driver = "vmd", .group = 21});
  const std::string disk =
      machine_.resolve("/sys/bus/pci/devices/0000:00:0e.0") + "/pci10000:e0/10000:e0:1d.0/nvme/nvme0/nvme0n1";
  machine_.put(disk + "/dev", "259:0\n");
  machine_.put_link("/sys/class/block/nvme0n1", disk);
  machine_.put("/proc/self/mountinfo", "22 1 259:0 / / rw - ext4 /dev/nvme0n1 rw\n");
  EXPECT_THAT(of("00:0e.0"), ElementsAre("/dev/nvme0n1 is mounted on /"));
}

TEST_F(Users, OfADiskAreWhoeverHasItClaimed) {
  machine_.add_disk(kDisk, "sda", "8");
  machine_.claimed = {"/dev/sda"};
  EXPECT_THAT(of(kDisk), ElementsAre(HasSubstr("/dev/sda is claimed by the kernel or a program")));
}

TEST_F(Users, OfADiskThatAreNamedAreNotToldTwice) {
  machine_.add_disk(kDisk, "sda", "8");
  machine_.claimed = {"/dev/sda", "/dev/sda1"};
  machine_.put("/proc/swaps", "Filename Type Size Used Priority\n/dev/sda1 partition 100 0 -2\n");
  EXPECT_THAT(of(kDisk), ElementsAre("/dev/sda1 holds swap"));
}

TEST_F(Users, OfASecondDiskOfABtrfsAreThoseOfTheFirst) {
  machine_.add_disk(kDisk, "sdb", "8");
  machine_.put("/sys/fs/btrfs/ab-cd/devices/sda", "");
  machine_.put("/sys/fs/btrfs/ab-cd/devices/sdb", "");
  machine_.put("/proc/self/mountinfo", "22 1 0:40 / /data rw - btrfs /dev/sda rw\n");
  machine_.claimed = {"/dev/sdb"};
  EXPECT_THAT(of(kDisk), ElementsAre("/dev/sdb belongs to the btrfs ab-cd, mounted on /data"));
}

TEST_F(Users, OfABcacheAreTheDisks) {
  machine_.add_disk(kDisk, "sda", "8");
  machine_.put("/sys/class/block/sda1/bcache/state", "clean\n");
  EXPECT_THAT(of(kDisk), ElementsAre("/dev/sda1 belongs to a bcache"));
}

TEST_F(Users, OfADiskAreThoseThatItIsExportedTo) {
  machine_.add_disk(kDisk, "sda", "8");
  machine_.put("/sys/kernel/config/nvmet/subsystems/nqn/namespaces/1/device_path", "/dev/sda\n");
  machine_.put("/sys/kernel/config/target/core/iblock_0/disk/udev_path", "/dev/disk/by-id/x\n");
  machine_.device_numbers["/dev/disk/by-id/x"] = "8:1";
  machine_.put("/sys/class/block/loop0/loop/backing_file", "/dev/sda1\n");
  EXPECT_THAT(of(kDisk),
              testing::UnorderedElementsAre("/dev/sda is exported by nvmet", "/dev/sda1 is exported by LIO (target)",
                                            "/dev/sda1 is behind a loop device"));
}

struct Whole {
  const char* type;
  const char* expected;
};
class Members : public Users, public testing::WithParamInterface<Whole> {};
TEST_P(Members, OfSomethingLargerAreTold) {
  machine_.add_disk(kDisk, "sda", "8");
  probe_finds("/dev/sda1", GetParam().type);
  EXPECT_THAT(of(kDisk), ElementsAre(std::string{"/dev/sda1 is a member of "} + GetParam().expected));
}
INSTANTIATE_TEST_SUITE_P(Signatures, Members,
                         testing::Values(Whole{"LVM2_member", "an LVM volume group"}, Whole{"zfs_member", "a ZFS pool"},
                                         Whole{"linux_raid_member", "a Linux RAID (md)"}, Whole{"bcache", "a bcache"},
                                         Whole{"drbd", "a DRBD resource"},
                                         Whole{"isw_raid_member", "a larger whole (isw_raid_member)"}));

TEST_F(Users, OfAFileSystemThatNobodyMountsAreNone) {
  machine_.add_disk(kDisk, "sda", "8");
  probe_finds("/dev/sda1", "ext4");
  EXPECT_THAT(of(kDisk), IsEmpty());
}

TEST_F(Users, OfAnUnmountedBtrfsAreNoneUnlessItHasSeveralDisks) {
  machine_.add_disk(kDisk, "sda", "8");
  probe_finds("/dev/sda", "btrfs");
  std::string disk(0x10100, '\0');
  disk[0x10088] = 1;
  machine_.put("/dev/sda", disk);
  EXPECT_THAT(of(kDisk), IsEmpty());
  disk[0x10088] = 2;
  machine_.put("/dev/sda", disk);
  EXPECT_THAT(of(kDisk), ElementsAre("/dev/sda is a member of a btrfs over several disks"));
}

TEST_F(Users, OfADiskAreFoundUnderAnotherNameToo) {  // a container's
  machine_.add_disk(kDisk, "sda", "8");
  add_process("77", "qemu", "/dev/xvda");
  machine_.device_numbers["/proc/77/fd/9"] = "8:0";
  EXPECT_THAT(of(kDisk), ElementsAre("process 77 (qemu) has /dev/sda open"));
}

TEST_F(Users, OfAnyDeviceFileBelowTheFunctionAreIts) {  // a PTP clock
  const std::string place = machine_.resolve("/sys/bus/pci/devices/0000:01:00.0") + "/ptp/ptp0";
  machine_.put(place + "/uevent", "MAJOR=248\nDEVNAME=ptp0\n");
  machine_.put_link("/sys/dev/char/248:0", place);
  add_process("77", "ptp4l", "/dev/ptp0");
  EXPECT_THAT(of("ens1"), ElementsAre("process 77 (ptp4l) has /dev/ptp0 open"));
}

constexpr const char* kPackets =
    "sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n"
    "ffff9400 3      3    0003   7     1 0      0      4711\n"
    "ffff9401 3      3    0003   8     1 0      0      4712\n"
    "ffff9402 3      3    0003   0     1 0      0      4713\n";

TEST_F(Users, WithAPacketSocketAreNamed) {  // vMux's own net_af_packet among them
  machine_.put("/sys/class/net/ens1/ifindex", "7\n");
  machine_.put("/proc/net/packet", kPackets);
  add_process("812", "vmux", "socket:[4711]");
  add_process("900", "other", "socket:[4712]");
  EXPECT_THAT(of("ens1"), ElementsAre("process 812 (vmux) has a packet socket on ens1"));
}

TEST_F(Users, WithASocketWhoCannotBeSeenAreUsersNevertheless) {
  machine_.put("/sys/class/net/ens1/ifindex", "7\n");
  machine_.put("/proc/net/packet", kPackets);
  EXPECT_THAT(of("ens1"), ElementsAre("a program that cannot be seen from here has a packet socket on ens1"));
}

TEST_F(Users, WithAPacketSocketOnABridgeAboveAreNamed) {
  machine_.put("/sys/devices/virtual/net/br0/ifindex", "8\n");
  machine_.put_link("/sys/class/net/br0", "/sys/devices/virtual/net/br0");
  machine_.put_link("/sys/class/net/ens1/master", "/sys/devices/virtual/net/br0");
  machine_.put_link("/sys/class/net/ens1/upper_br0", "/sys/devices/virtual/net/br0");
  machine_.put("/proc/net/packet", kPackets);
  add_process("900", "dhcpd", "socket:[4712]");
  EXPECT_THAT(of("ens1"), ElementsAre("ens1 belongs to br0", "process 900 (dhcpd) has a packet socket on br0"));
}

TEST_F(Users, WithAnXdpSocketAreNamed) {
  machine_.put("/sys/class/net/ens1/ifindex", "7\n");
  machine_.net.all_xdp_sockets = {{7, 3, 99}, {8, 0, 98}};
  add_process("812", "xdpsock", "socket:[99]");
  EXPECT_THAT(of("ens1"), ElementsAre("process 812 (xdpsock) has an XDP socket on queue 3 of ens1"));
}

TEST_F(Users, AnXdpProgramIsOne) {
  machine_.net.all_links = {{"ens1", {}, 7, true}};
  EXPECT_THAT(of("ens1"), ElementsAre("an XDP program is attached to ens1"));
}

TEST_F(Users, APppoeSessionIsOne) {
  machine_.put("/proc/net/pppoe", "Id       Address              Device\n00000100 52:54:00:00:00:01    ens1\n");
  EXPECT_THAT(of("ens1"), ElementsAre("a PPPoE session runs over ens1"));
}

TEST_F(Users, CannotBeginWhileTheDiskIsTaken) {
  machine_.add_disk(kDisk, "sda", "8");
  bool was_claimed = false;
  machine_.before_write = [&](const std::string& path) {
    if (path.find("/driver/unbind") != std::string::npos) was_claimed = machine_.is_claimed("/dev/sda");
  };
  auto session = Session::open(machine_, {});
  ASSERT_TRUE(session->finish(bind(*session, {kDisk})));
  EXPECT_TRUE(was_claimed);
  EXPECT_FALSE(machine_.is_claimed("/dev/sda"));
}

class ForcedOrNot : public Users, public testing::WithParamInterface<bool> {};
TEST_P(ForcedOrNot, BindTakesAClaimedDiskOnlyWithForce) {
  machine_.add_disk(kDisk, "sda", "8");
  machine_.claimed = {"/dev/sda"};
  auto session = Session::open(machine_, {.is_forced = GetParam()});
  const auto report = session->finish(bind(*session, {kDisk}));
  EXPECT_EQ(report.has_value(), GetParam());
  EXPECT_EQ(machine_.link("/sys/bus/pci/devices/0000:00:1f.2/driver"), GetParam() ? "vfio-pci" : "ahci");
  EXPECT_THAT(report ? "" : report.error().text, GetParam() ? HasSubstr("") : HasSubstr("/dev/sda is claimed"));
}
INSTANTIATE_TEST_SUITE_P(Both, ForcedOrNot, testing::Bool());

}  // namespace
}  // namespace vmux::host
