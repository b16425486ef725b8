// SPDX-License-Identifier: BSD-3-Clause
// Virtual functions, huge pages and interrupts: set, again, back.
#include "host/operations.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/fake_machine.hpp"

namespace vmux::host {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kPf = "0000:01:00.0";
constexpr const char* kPfPath = "/sys/bus/pci/devices/0000:01:00.0/";

class Operations : public testing::Test {
 protected:
  Operations() {
    fake::make_good_host(machine_);
    machine_.add_driver("igbvf");
  }
  template <class Work>
  Outcome<Report> run(Work work, const Options& options = {}) {
    auto session = Session::open(machine_, options);
    if (!session) return tl::unexpected<Failure>(session.error());
    return session->finish(work(*session));
  }
  Outcome<Report> vfs(const VfsRequest& request, const Options& options = {}) {
    return run([&](Session& session) { return set_vfs(session, request); }, options);
  }
  Outcome<Report> pages(const HugepagesRequest& request) {
    return run([&](Session& session) { return set_hugepages(session, request); });
  }
  Outcome<Report> restore() { return Session::open(machine_, {})->restore({}); }
  std::vector<Entry> journal() { return Journal::load(machine_, "/var/lib/vmux/host.journal")->entries(); }
  std::string driver(const char* name) { return machine_.link(std::string{kPciDevices} + name + "/driver"); }
  std::string count() { return machine_.text(std::string{kPfPath} + "sriov_numvfs"); }
  std::string pages_of(unsigned node) {
    return machine_.text("/sys/devices/system/node/node" + std::to_string(node) +
                         "/hugepages/hugepages-2048kB/nr_hugepages");
  }
  const VfSettings& vf(unsigned index) { return machine_.net.all_vfs["ens1"][index]; }

  fake::FakeMachine machine_;
};

VfWish wish(const char* mac, const char* driver = "") { return {{.mac = mac, .vlan = 7, .is_trusted = true}, driver}; }

TEST_F(Operations, VfsGetTheirAddressBeforeTheirDriver) {
  ASSERT_TRUE(vfs({kPf, 2, {{0, wish("52:54:00:00:00:01", "vfio-pci")}, {1, wish("52:54:00:00:00:02")}}}));
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
  const VfsRequest request{kPf, 2, {{0, wish("52:54:00:00:00:01", "vfio-pci")}}};
  ASSERT_TRUE(vfs(request));
  EXPECT_THAT(vfs(request)->deeds, IsEmpty());
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
  const auto report = vfs({kPf, 1, {{0, wish("52:54:00:00:00:01", "vfio-pci")}}}, {.is_rehearsal = true});
  ASSERT_TRUE(report);
  EXPECT_THAT(report->deeds, ElementsAre("echo 0 > /sys/bus/pci/devices/0000:01:00.0/sriov_drivers_autoprobe",
                                         "echo 1 > /sys/bus/pci/devices/0000:01:00.0/sriov_numvfs",
                                         "echo 1 > /sys/bus/pci/devices/0000:01:00.0/sriov_drivers_autoprobe",
                                         "ip link set ens1 vf 0 mac 52:54:00:00:00:01 vlan 7 qos 0 trust on",
                                         "echo vfio-pci > /sys/bus/pci/devices/0000:01:10.0/driver_override",
                                         "echo 0000:01:10.0 > /sys/bus/pci/drivers_probe"));
  EXPECT_EQ(count(), "0");
}

TEST_F(Operations, VfsAreRestoredToNone) {
  ASSERT_TRUE(vfs({kPf, 2, {{0, wish("52:54:00:00:00:01", "vfio-pci")}}}));
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
    ASSERT_TRUE(vfs({kPf, 2, {{1, wish("52:54:00:00:00:01")}}}));
    EXPECT_EQ(vf(1).mac, "52:54:00:00:00:01");
    ASSERT_TRUE(restore());
  }
  EXPECT_THAT(waits, ElementsAre("virtual function 1 of ens1, which is being reset"));  // once
}

TEST_F(Operations, VfThatIsBeingResetForEverTakesAllOfThemBack) {
  machine_.net.refuses_vf = EAGAIN;
  machine_.net.refusals_left = 1000;
  EXPECT_THAT(vfs({kPf, 2, {{1, wish("52:54:00:00:00:01")}}}).error().text, HasSubstr("nothing has changed"));
  EXPECT_EQ(machine_.slept.count(), 10'000);
  EXPECT_EQ(count(), "0");
}

TEST_F(Operations, VfThatTheKernelLeavesOutIsWaitedFor) {
  ASSERT_TRUE(vfs({.physical = kPf, .count = 2}));
  const VfSettings there = vf(1);
  machine_.net.all_vfs["ens1"][1] = {};
  machine_.on_sleep = [&] { machine_.net.all_vfs["ens1"][1] = there; };
  ASSERT_TRUE(vfs({kPf, std::nullopt, {{1, wish("52:54:00:00:00:01")}}}));
  EXPECT_EQ(vf(1).mac, "52:54:00:00:00:01");
}

TEST_F(Operations, VfThatTheKernelLeavesOutForEverIsNotSetBlindly) {
  ASSERT_TRUE(vfs({.physical = kPf, .count = 2}));
  machine_.net.all_vfs["ens1"][1] = {};
  EXPECT_THAT(vfs({kPf, std::nullopt, {{1, wish("52:54:00:00:00:01")}}}).error().text,
              HasSubstr("cannot read the settings of virtual function 1 of ens1: it is being reset"));
}

TEST_F(Operations, VfsOfOneAddressAreRefused) {
  EXPECT_THAT(vfs({kPf, 2, {{0, wish("52:54:00:00:00:01")}, {1, wish("52:54:00:00:00:01")}}}).error().text,
              HasSubstr("virtual functions 0 and 1 cannot both have the MAC 52:54:00:00:00:01"));
  ASSERT_TRUE(vfs({kPf, 2, {{0, wish("52:54:00:00:00:01")}}}));
  EXPECT_THAT(vfs({kPf, std::nullopt, {{1, wish("52:54:00:00:00:01")}}}).error().text,
              HasSubstr("virtual function 0 has the MAC 52:54:00:00:00:01 already"));
  EXPECT_TRUE(vfs({kPf, std::nullopt, {{0, wish("52:54:00:00:00:02")}, {1, wish("52:54:00:00:00:01")}}}));
}

TEST_F(Operations, VfsOfADriverThatThereIsNotAreNotMade) {
  EXPECT_THAT(vfs({kPf, 2, {{0, wish("52:54:00:00:00:01", "nosuch")}}}).error().text, HasSubstr("no driver nosuch"));
  EXPECT_THAT(machine_.written, IsEmpty());
}

TEST_F(Operations, VfsOfACardInSwitchdevModeAreSetThroughItsPort) {
  const std::string net = machine_.resolve(kPfPath) + "/net/";
  machine_.put(net + "ens1/phys_port_name", "p0\n");
  machine_.put(net + "aaa0/phys_port_name", "pf0vf0\n");
  machine_.put(net + "aaa0/flags", "0x1002\n");
  machine_.put_link("/sys/class/net/aaa0", net + "aaa0");
  ASSERT_TRUE(vfs({kPf, 1, {{0, wish("52:54:00:00:00:01")}}}));
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
  const auto report = vfs({kPf, 2, {{0, wish("52:54:00:00:00:01")}}});
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
  EXPECT_THROW(static_cast<void>(vfs({kPf, 2, {{0, wish("52:54:00:00:00:01", "vfio-pci")}}})), fake::Crash);
  ASSERT_TRUE(restore());
  EXPECT_EQ(count(), "0");
  EXPECT_EQ(machine_.text(std::string{kPfPath} + "sriov_drivers_autoprobe"), "1");
  EXPECT_THAT(journal(), IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(Writes, CrashWhileMakingVfs, testing::Range(0, 6));

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
  EXPECT_THAT(pages({.count = 10, .node = 0})->deeds, IsEmpty());
  ASSERT_TRUE(restore());
  EXPECT_EQ(hugepages(machine_)[0].total, 512u);
}

TEST_F(Operations, HugepagesThatTheKernelMadeOnDemandAreNotCounted) {
  const std::string pool = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/";
  machine_.put(pool + "nr_hugepages", "15\n");
  machine_.put(pool + "surplus_hugepages", "5\n");
  EXPECT_THAT(pages({.count = 10, .node = 0})->deeds, IsEmpty());
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
      report->deeds,
      testing::Contains("mkdir -p /dev/hugepages1G && mount -t hugetlbfs -o pagesize=1G hugetlbfs /dev/hugepages1G"));
  EXPECT_THAT(report->notes, ElementsAre(HasSubstr("libvirtd")));
  EXPECT_EQ(hugepage_mounts(machine_).at(1).path, "/dev/hugepages1G");
  EXPECT_THAT(pages({.count = 2, .size_kib = 1048576, .mounts = true})->deeds, IsEmpty());
  ASSERT_TRUE(restore());
  EXPECT_EQ(hugepage_mounts(machine_).size(), 1u);
  EXPECT_THAT(journal(), IsEmpty());
}

TEST_F(Mounts, OfOthersAreEnough) {
  EXPECT_THAT(run([](Session& session) { return mount_hugepages(session, std::nullopt); })->deeds, IsEmpty());
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

class Interrupts : public Operations {
 protected:
  Interrupts() {
    for (const char* irq : {"30", "31", "32"}) {
      machine_.put(std::string{kPfPath} + "msi_irqs/" + irq, "msix\n");
      machine_.put(file(irq), "0-7\n");
    }
    machine_.put("/proc/irq/30/ens1-rx-0/x", "");
    machine_.put(std::string{kPfPath} + "msi_irqs/33", "msix\n");  // nobody asked for it
  }
  static std::string file(const std::string& irq) { return "/proc/irq/" + irq + "/smp_affinity_list"; }
  Outcome<Report> place(const IrqRequest& request) {
    return run([&](Session& session) { return set_irqs(session, request); });
  }
};

TEST_F(Interrupts, TakeTheCpusInTurn) {
  ASSERT_TRUE(place({"ens1", {2, 5}}));
  EXPECT_EQ(machine_.text(file("30")), "2");
  EXPECT_EQ(machine_.text(file("31")), "5");
  EXPECT_EQ(machine_.text(file("32")), "2");
}

TEST_F(Interrupts, ShareTheCpusIfAsked) {
  ASSERT_TRUE(place({"ens1", {2, 5}, true}));
  EXPECT_EQ(machine_.text(file("31")), "2,5");
}

TEST_F(Interrupts, GoBack) {
  ASSERT_TRUE(place({"ens1", {2}}));
  ASSERT_TRUE(place({"ens1", {3}}));
  ASSERT_TRUE(run([](Session& session) { return put_irqs_back(session, "ens1"); }));
  EXPECT_EQ(machine_.text(file("30")), "0-7");
  EXPECT_THAT(journal(), IsEmpty());
}

class ManagedInterrupts : public Interrupts, public testing::WithParamInterface<int> {};
TEST_P(ManagedInterrupts, StayAreNamedAndTheOthersArePlaced) {
  machine_.refuses[file("30")] = GetParam();
  const auto report = place({"ens1", {2, 5}});
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_EQ(machine_.text(file("30")), "0-7");
  EXPECT_EQ(machine_.text(file("31")), "2");
  EXPECT_EQ(machine_.text(file("32")), "5");
  EXPECT_THAT(report->notes, ElementsAre(HasSubstr("30 (ens1-rx-0) of 0000:01:00.0 itself")));
  EXPECT_THAT(report->deeds, testing::SizeIs(2));
  EXPECT_THAT(journal(), testing::SizeIs(2));
  ASSERT_TRUE(restore());
  EXPECT_EQ(machine_.text(file("31")), "0-7");
}
TEST_P(ManagedInterrupts, AndNoOthersAreAFailureThatDoesNotAskForRoot) {
  for (const char* irq : {"30", "31", "32"})
    machine_.refuses[file(irq)] = GetParam();
  const auto report = place({"ens1", {2}});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("managed"));
  EXPECT_THAT(report.error().text, testing::Not(HasSubstr("root")));
  EXPECT_THAT(journal(), IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(OldAndNewKernels, ManagedInterrupts, testing::Values(EIO, EPERM));

TEST_F(Interrupts, OfWhichOneIsRefusedForAnotherReasonAreAllPutBack) {
  machine_.refuses[file("32")] = ENOSPC;
  const auto report = place({"ens1", {2}});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("no free interrupt vector"));
  EXPECT_EQ(machine_.text(file("30")), "0-7");
}

TEST_F(Interrupts, WhoseOldCpuIsOfflineStayAndThatIsSaid) {
  machine_.put(file("30"), "1\n");
  ASSERT_TRUE(place({"ens1", {2}}));
  machine_.put("/sys/devices/system/cpu/online", "0,2-7\n");
  machine_.refuses[file("30")] = EINVAL;
  const auto report = restore();
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("cannot place interrupt 30 on CPUs 1: CPU 1 is offline"));
  EXPECT_THAT(report.error().text, testing::Not(HasSubstr("managed")));
  EXPECT_EQ(machine_.text(file("31")), "0-7");
  EXPECT_THAT(journal(), testing::SizeIs(1));
  machine_.refuses.clear();
  ASSERT_TRUE(restore());
  EXPECT_EQ(machine_.text(file("30")), "1");
}

TEST_F(Interrupts, OfANumberThatIsSomeoneElsesNowAreLeftAlone) {
  ASSERT_TRUE(place({"ens1", {2}}));
  machine_.take(std::string{kPfPath} + "msi_irqs");
  ASSERT_TRUE(restore());
  EXPECT_EQ(machine_.text(file("30")), "2");
  EXPECT_THAT(journal(), IsEmpty());
}

TEST_F(Interrupts, ShowWhoAskedForThem) {
  const std::vector<IrqInfo> all = irqs(machine_, *find_function(machine_, "ens1"));
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].name, "ens1-rx-0");
  EXPECT_EQ(all[1].name, "");
}

TEST_F(Interrupts, TellOfIrqbalance) {
  machine_.put("/proc/99/comm", "irqbalance\n");
  EXPECT_THAT(place({"ens1", {2}})->notes, ElementsAre(HasSubstr("irqbalance")));
}

TEST_F(Interrupts, NeedOnesThatAreOnAndCpusThatAreOnline) {
  EXPECT_THAT(place({"ens2", {2}}).error().text, HasSubstr("no interrupt on"));
  EXPECT_THAT(place({"ens1", {9}}).error().text, HasSubstr("these are: 0-7"));
}

}  // namespace
}  // namespace vmux::host
