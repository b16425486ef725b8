// SPDX-License-Identifier: BSD-3-Clause
// Virtual functions: set, again, back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/test/operations_rig.hpp"

namespace vmux::host {
namespace {

constexpr const char* kPf = "0000:01:00.0";

using test::kPfPath;
using test::Operations;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

VfEntry entry(const char* mac, const char* driver = "") {
  return {{.mac = mac, .vlan = 7, .is_trusted = true}, driver};
}

TEST_F(Operations, VfsGetTheirAddressBeforeTheirDriver) {
  ASSERT_TRUE(vfs({kPf, 2, {{0, entry("52:54:00:00:00:01", "vfio-pci")}, {1, entry("52:54:00:00:00:02")}}}));
  EXPECT_EQ(count(), "2");
  EXPECT_EQ(vf(0).mac, "52:54:00:00:00:01");
  EXPECT_EQ(vf(0).vlan, 7);
  EXPECT_TRUE(*vf(0).is_trusted);
  EXPECT_TRUE(*vf(0).checks_spoofing);
  EXPECT_EQ(driver("0000:01:10.0"), "vfio-pci");
  EXPECT_EQ(driver("0000:01:10.2"), "igbvf");
  EXPECT_THAT(machine_.written,
              ElementsAre(HasSubstr("0 > "), HasSubstr("2 > "), HasSubstr("1 > "), HasSubstr("driver_override"),
                          HasSubstr("drivers_probe"), HasSubstr("drivers_probe")));
  EXPECT_EQ(machine_.text(std::string{kPfPath} + "sriov_drivers_autoprobe"), "1");
}

TEST_F(Operations, VfsTwiceDoNothingTheSecondTime) {
  const VfsRequest request{kPf, 2, {{0, entry("52:54:00:00:00:01", "vfio-pci")}}};
  ASSERT_TRUE(vfs(request));
  EXPECT_THAT(vfs(request)->actions, IsEmpty());
}

TEST_F(Operations, VfsBringTheLinkUpUnlessToldNotTo) {
  machine_.put("/sys/class/net/ens1/flags", "0x1002\n");
  ASSERT_TRUE(vfs({.physical = kPf, .count = 1, .brings_link_up = false}));
  EXPECT_EQ(machine_.text("/sys/class/net/ens1/flags"), "0x1002");
  ASSERT_TRUE(vfs({.physical = kPf}));
  EXPECT_EQ(machine_.text("/sys/class/net/ens1/flags"), "0x1003");
  ASSERT_TRUE(restore());
  EXPECT_EQ(machine_.text("/sys/class/net/ens1/flags"), "0x1002");
}

TEST_F(Operations, VfsOfARehearsalAreToldWhereTheyWillBe) {
  const auto report = vfs({kPf, 1, {{0, entry("52:54:00:00:00:01", "vfio-pci")}}}, {.is_rehearsal = true});
  ASSERT_TRUE(report);
  EXPECT_THAT(report->actions, ElementsAre("echo 0 > /sys/bus/pci/devices/0000:01:00.0/sriov_drivers_autoprobe",
                                           "echo 1 > /sys/bus/pci/devices/0000:01:00.0/sriov_numvfs",
                                           "echo 1 > /sys/bus/pci/devices/0000:01:00.0/sriov_drivers_autoprobe",
                                           "ip link set ens1 vf 0 mac 52:54:00:00:00:01 vlan 7 qos 0 trust on",
                                           "echo vfio-pci > /sys/bus/pci/devices/0000:01:10.0/driver_override",
                                           "echo 0000:01:10.0 > /sys/bus/pci/drivers_probe"));
  EXPECT_EQ(count(), "0");
}

TEST_F(Operations, VfsAreRestoredToNone) {
  ASSERT_TRUE(vfs({kPf, 2, {{0, entry("52:54:00:00:00:01", "vfio-pci")}}}));
  EXPECT_THAT(journal(), testing::SizeIs(1));  // what is about them goes with them
  ASSERT_TRUE(restore());
  EXPECT_EQ(count(), "0");
  EXPECT_THAT(journal(), IsEmpty());
}

TEST_F(Operations, VfsOfAnotherNumberComeBackAsTheyWere) {
  ASSERT_TRUE(machine_.write(std::string{kPfPath} + "sriov_numvfs", "2"));
  machine_.net.all_vfs["ens1"][1].mac = "52:54:00:00:00:99";
  ASSERT_TRUE(vfs({.physical = kPf, .count = 4}));
  EXPECT_EQ(count(), "4");
  ASSERT_TRUE(restore());
  EXPECT_EQ(count(), "2");
  EXPECT_EQ(vf(1).mac, "52:54:00:00:00:99");
  EXPECT_EQ(driver("0000:01:10.2"), "igbvf");
  EXPECT_THAT(journal(), IsEmpty());
}

TEST_F(Operations, VfsThatAreInUseStay) {
  ASSERT_TRUE(machine_.write(std::string{kPfPath} + "sriov_numvfs", "2"));
  machine_.net.all_addresses = {{"ens1v1", "10.0.0.1/24", false}};
  const auto report = vfs({.physical = kPf, .count = 0});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::busy);
  EXPECT_THAT(report.error().text, HasSubstr("ens1v1 carries 10.0.0.1/24"));
  EXPECT_EQ(count(), "2");
}

TEST_F(Operations, VfThatIsBeingResetIsWaitedFor) {
  std::vector<std::string> waits;
  machine_.on_wait = [&](const std::string& what) { waits.push_back(what); };
  for (const int error : {EAGAIN, EBUSY}) {
    machine_.net.refuses_vf = error;
    machine_.net.refusals_left = 20;
    ASSERT_TRUE(vfs({kPf, 2, {{1, entry("52:54:00:00:00:01")}}}));
    EXPECT_EQ(vf(1).mac, "52:54:00:00:00:01");
    ASSERT_TRUE(restore());
  }
  EXPECT_THAT(waits, ElementsAre("virtual function 1 of ens1, which is being reset"));  // once
}

TEST_F(Operations, VfThatIsBeingResetForEverTakesAllOfThemBack) {
  machine_.net.refuses_vf = EAGAIN;
  machine_.net.refusals_left = 1000;
  EXPECT_THAT(vfs({kPf, 2, {{1, entry("52:54:00:00:00:01")}}}).error().text, HasSubstr("nothing has changed"));
  EXPECT_EQ(machine_.slept.count(), 10'000);
  EXPECT_EQ(count(), "0");
}

TEST_F(Operations, VfThatTheKernelLeavesOutIsWaitedFor) {
  ASSERT_TRUE(vfs({.physical = kPf, .count = 2}));
  const VfSettings there = vf(1);
  machine_.net.all_vfs["ens1"][1] = {};
  machine_.on_sleep = [&] { machine_.net.all_vfs["ens1"][1] = there; };
  ASSERT_TRUE(vfs({kPf, std::nullopt, {{1, entry("52:54:00:00:00:01")}}}));
  EXPECT_EQ(vf(1).mac, "52:54:00:00:00:01");
}

TEST_F(Operations, VfThatTheKernelLeavesOutForEverIsNotSetBlindly) {
  ASSERT_TRUE(vfs({.physical = kPf, .count = 2}));
  machine_.net.all_vfs["ens1"][1] = {};
  EXPECT_THAT(vfs({kPf, std::nullopt, {{1, entry("52:54:00:00:00:01")}}}).error().text,
              HasSubstr("cannot read the settings of virtual function 1 of ens1: it is being reset"));
}

TEST_F(Operations, VfsOfOneAddressAreRefused) {
  EXPECT_THAT(vfs({kPf, 2, {{0, entry("52:54:00:00:00:01")}, {1, entry("52:54:00:00:00:01")}}}).error().text,
              HasSubstr("virtual functions 0 and 1 cannot both have the MAC 52:54:00:00:00:01"));
  ASSERT_TRUE(vfs({kPf, 2, {{0, entry("52:54:00:00:00:01")}}}));
  EXPECT_THAT(vfs({kPf, std::nullopt, {{1, entry("52:54:00:00:00:01")}}}).error().text,
              HasSubstr("virtual function 0 has the MAC 52:54:00:00:00:01 already"));
  EXPECT_TRUE(vfs({kPf, std::nullopt, {{0, entry("52:54:00:00:00:02")}, {1, entry("52:54:00:00:00:01")}}}));
}

TEST_F(Operations, VfsOfADriverThatThereIsNotAreNotMade) {
  EXPECT_THAT(vfs({kPf, 2, {{0, entry("52:54:00:00:00:01", "nosuch")}}}).error().text, HasSubstr("no driver nosuch"));
  EXPECT_THAT(machine_.written, IsEmpty());
}

TEST_F(Operations, VfsOfACardInSwitchdevModeAreSetThroughItsPort) {
  const std::string net = machine_.resolve(kPfPath) + "/net/";
  machine_.put(net + "ens1/phys_port_name", "p0\n");
  machine_.put(net + "aaa0/phys_port_name", "pf0vf0\n");
  machine_.put(net + "aaa0/flags", "0x1002\n");
  machine_.put_link("/sys/class/net/aaa0", net + "aaa0");
  ASSERT_TRUE(vfs({kPf, 1, {{0, entry("52:54:00:00:00:01")}}}));
  EXPECT_EQ(vf(0).mac, "52:54:00:00:00:01");
  EXPECT_EQ(machine_.text("/sys/class/net/aaa0/flags"), "0x1002");
  EXPECT_EQ(vf_settings(machine_, *find_function(machine_, kPf))->size(), 1u);
}

class TooManyVfs : public Operations {
 protected:
  TooManyVfs() {
    machine_.refuses[std::string{kPfPath} + "sriov_numvfs"] = ENOMEM;
    put_memory("0x00000000fe000000 0x00000000fe003fff 0x0000000000140204\n");
  }
  void put_memory(const std::string& of_vfs) {
    std::string lines;
    for (int i = 0; i < 13; ++i)
      lines += i == 7 ? of_vfs : "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";
    machine_.put(std::string{kPfPath} + "resource", lines);
  }
  std::string said() { return vfs({.physical = kPf, .count = 7}).error().text; }
};

TEST_F(TooManyVfs, ForTheBusesOfTheBridgeSaySo) {
  machine_.put(std::string{kPfPath} + "sriov_offset", "384\n");  // 01:00.0 + 384 is on bus 2
  machine_.put("/sys/devices/pci0000:00/0000:00:02.0/subordinate_bus_number", "1\n");
  EXPECT_THAT(said(),
              HasSubstr("on bus 02, and the bridge above has buses up to 01 only: boot with pci=assign-busses"));
}

TEST_F(TooManyVfs, WithoutAddressesSaySo) {
  machine_.put("/sys/devices/pci0000:00/0000:00:02.0/subordinate_bus_number", "1\n");
  put_memory("0x0000000000000000 0x0000000000000000 0x0000000000000000\n");
  EXPECT_THAT(said(), HasSubstr("their memory has no addresses: boot with pci=realloc"));
}

TEST_F(TooManyVfs, ForTheirFirmwareSaySo) {
  machine_.refuses[std::string{kPfPath} + "sriov_numvfs"] = ENOSPC;
  EXPECT_THAT(said(), HasSubstr("the card's firmware or driver allows fewer"));
}

TEST_F(Operations, VfsAreWaitedForWhileTheDriverIsNotReady) {
  machine_.refuses[std::string{kPfPath} + "sriov_numvfs"] = EAGAIN;
  machine_.on_sleep = [&] { machine_.refuses.clear(); };
  EXPECT_TRUE(vfs({.physical = kPf, .count = 2}));
  EXPECT_EQ(count(), "2");
}

TEST_F(Operations, VfThatTheDriverRefusesTakesAllOfThemBack) {
  machine_.net.refuses_vf = EINVAL;
  const auto report = vfs({kPf, 2, {{0, entry("52:54:00:00:00:01")}}});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text,
              HasSubstr("cannot set virtual function 0 of ens1: its MAC address: Invalid argument"));
  EXPECT_EQ(count(), "0");
  EXPECT_THAT(journal(), IsEmpty());
}

struct BadVfs {
  VfsRequest request;
  const char* expected;
};
class RefusedVfs : public Operations, public testing::WithParamInterface<BadVfs> {};
TEST_P(RefusedVfs, IsToldWhyAndChangesNothing) {
  const auto report = vfs(GetParam().request);
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr(GetParam().expected));
  EXPECT_THAT(machine_.written, IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(Requests, RefusedVfs,
                         testing::Values(BadVfs{{.physical = kPf, .count = 8}, "7 virtual functions at most"},
                                         BadVfs{{.physical = "ens2", .count = 1}, "no SR-IOV"},
                                         BadVfs{{kPf, 2, {{2, {}}}}, "no virtual function 2, the last is 1"},
                                         BadVfs{{kPf, std::nullopt, {{0, {}}}}, "no virtual functions now"}));

TEST_F(Operations, VfsNeedTheCardsOwnDriver) {
  ASSERT_TRUE(run([](Session& session) { return bind(session, {kPf}); }));
  EXPECT_THAT(vfs({.physical = kPf, .count = 1}).error().text, HasSubstr("vmuxctl host unbind 0000:01:00.0"));
}

class CrashWhileMakingVfs : public Operations, public testing::WithParamInterface<int> {};
TEST_P(CrashWhileMakingVfs, IsUndoneByRestore) {
  machine_.crashes_at = GetParam();
  EXPECT_THROW(static_cast<void>(vfs({kPf, 2, {{0, entry("52:54:00:00:00:01", "vfio-pci")}}})), fake::Crash);
  ASSERT_TRUE(restore());
  EXPECT_EQ(count(), "0");
  EXPECT_EQ(machine_.text(std::string{kPfPath} + "sriov_drivers_autoprobe"), "1");
  EXPECT_THAT(journal(), IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(Writes, CrashWhileMakingVfs, testing::Range(0, 6));

}  // namespace
}  // namespace vmux::host
