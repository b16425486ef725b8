// SPDX-License-Identifier: BSD-3-Clause
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/fake_machine.hpp"
#include "host/operations.hpp"

namespace vmux::host {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kJournal = "/var/lib/vmux/host.journal";

class Binding : public testing::Test {
 protected:
  Binding() { fake::make_good_host(machine_); }

  Outcome<Report> run_bind(const BindRequest& request, const Options& options = {}) {
    auto session = Session::open(machine_, options);
    if (!session) return tl::unexpected<Failure>(session.error());
    return session->finish(bind(*session, request));
  }
  Outcome<Report> run_unbind(const std::string& name) {
    auto session = Session::open(machine_, {});
    return session->finish(unbind(*session, name));
  }
  Outcome<Report> run_restore(const Options& options = {}) { return Session::open(machine_, options)->restore({}); }
  std::string driver(const char* name) { return machine_.link(std::string{kPciDevices} + name + "/driver"); }
  std::string override(const char* name) { return machine_.text(std::string{kPciDevices} + name + "/driver_override"); }
  std::vector<Entry> journal() { return Journal::load(machine_, kJournal)->entries(); }

  fake::FakeMachine machine_;
};

TEST_F(Binding, TakesTheFunctionFromItsDriver) {
  ASSERT_TRUE(run_bind({"0000:02:00.0"}));
  EXPECT_EQ(driver("0000:02:00.0"), "vfio-pci");
  EXPECT_THAT(machine_.written, ElementsAre("vfio-pci > /sys/bus/pci/devices/0000:02:00.0/driver_override",
                                            "0000:02:00.0 > /sys/bus/pci/devices/0000:02:00.0/driver/unbind",
                                            "0000:02:00.0 > /sys/bus/pci/drivers_probe"));
}

TEST_F(Binding, TwiceDoesNothingTheSecondTime) {
  ASSERT_TRUE(run_bind({"0000:02:00.0"}));
  machine_.written.clear();
  EXPECT_THAT(run_bind({"0000:02:00.0"})->actions, IsEmpty());
  EXPECT_THAT(machine_.written, IsEmpty());
}

TEST_F(Binding, LoadsTheDriver) {
  machine_.take("/sys/bus/pci/drivers/vfio-pci");
  ASSERT_TRUE(run_bind({"02:00.0"}));
  EXPECT_THAT(machine_.written, testing::Contains("modprobe vfio-pci"));
  EXPECT_EQ(driver("0000:02:00.0"), "vfio-pci");
}

TEST_F(Binding, RefusesACardThatCarriesAnAddress) {
  machine_.net.all_addresses = {{"ens2", "10.0.0.1/24", false}};
  const auto report = run_bind({"ens2"});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::busy);
  EXPECT_THAT(report.error().text, HasSubstr("ens2 carries 10.0.0.1/24"));
  EXPECT_THAT(machine_.written, IsEmpty());
  EXPECT_THAT(journal(), IsEmpty());
}

TEST_F(Binding, ForceTakesABusyCard) {
  machine_.net.all_addresses = {{"ens2", "10.0.0.1/24", false}};
  EXPECT_TRUE(run_bind({"ens2"}, {.is_forced = true}));
  EXPECT_EQ(driver("0000:02:00.0"), "vfio-pci");
}

TEST_F(Binding, RefusesBridges) { EXPECT_THAT(run_bind({"00:02.0"}).error().text, HasSubstr("PCI bridge")); }

TEST_F(Binding, RefusesAFunctionWithoutAGroup) {
  machine_.add_function("0000:03:00.0", {.driver = "e1000"});
  const auto report = run_bind({"03:00.0"});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("no IOMMU group"));
}

TEST_F(Binding, ARehearsalChangesNothing) {
  const auto report = run_bind({"0000:02:00.0"}, {.is_rehearsal = true});
  ASSERT_TRUE(report);
  EXPECT_THAT(report->actions, ElementsAre("echo vfio-pci > /sys/bus/pci/devices/0000:02:00.0/driver_override",
                                           "echo 0000:02:00.0 > /sys/bus/pci/devices/0000:02:00.0/driver/unbind",
                                           "echo 0000:02:00.0 > /sys/bus/pci/drivers_probe"));
  EXPECT_THAT(machine_.written, IsEmpty());
  EXPECT_FALSE(machine_.exists("/var/lib/vmux"));
}

TEST_F(Binding, TellsWhatSpoilsTheGroup) {
  const auto report = run_bind({"00:1f.2"});
  ASSERT_TRUE(report);
  EXPECT_THAT(report->notes, ElementsAre(HasSubstr("0000:00:1f.3 in it belongs to i801_smbus")));
}

TEST_F(Binding, OfAGroupTakesAllOfIt) {
  const auto report = run_bind({.function = "00:1f.2", .with_group = true});
  ASSERT_TRUE(report);
  EXPECT_THAT(report->notes, IsEmpty());
  EXPECT_EQ(driver("0000:00:1f.3"), "vfio-pci");
}

TEST_F(Binding, FailingRollsBack) {
  machine_.refuses["/sys/bus/pci/drivers_probe"] = EIO;
  const auto report = run_bind({"0000:02:00.0"});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("nothing has changed"));
  EXPECT_EQ(driver("0000:02:00.0"), "e1000e");
  EXPECT_EQ(override("0000:02:00.0"), "(null)");
  EXPECT_THAT(journal(), IsEmpty());
}

TEST_F(Binding, FailingRollBackNamesWhatIsLeftAndRemembersIt) {
  machine_.refuses["/sys/bus/pci/drivers_probe"] = EIO;
  machine_.refuses["/sys/bus/pci/drivers/e1000e/bind"] = EIO;
  const auto report = run_bind({"0000:02:00.0"});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("except: driver 0000:02:00.0"));
  machine_.refuses.clear();
  ASSERT_TRUE(run_restore());
  EXPECT_EQ(driver("0000:02:00.0"), "e1000e");
  EXPECT_THAT(journal(), IsEmpty());
}

TEST_F(Binding, ADriverThatDoesNotTakeItIsTold) {
  machine_.add_driver("uio_pci_generic");
  machine_.picky.insert("uio_pci_generic");
  const auto report = run_bind({"02:00.0", "uio_pci_generic"});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("uio_pci_generic does not take 0000:02:00.0"));
  EXPECT_EQ(driver("0000:02:00.0"), "e1000e");
}

TEST_F(Binding, WithoutPermissionSaysWhoMay) {
  machine_.refuses[kJournal] = EACCES;
  const auto report = run_bind({"0000:02:00.0"});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("run it as root"));
  EXPECT_THAT(machine_.written, IsEmpty());
}

TEST_F(Binding, OneAtATimeAndTheOtherIsNamed) {
  const auto first = Session::open(machine_, {});
  machine_.put("/proc/" + machine_.text("/var/lib/vmux/host.lock") + "/cmdline",
               std::string{"vmuxctl\0host\0apply", 18});
  std::vector<std::string> waits;
  machine_.on_wait = [&](const std::string& what) { waits.push_back(what); };
  const auto second = Session::open(machine_, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::busy);
  EXPECT_THAT(second.error().text, HasSubstr("(vmuxctl host apply) changes this host and is not done after 10 s"));
  EXPECT_THAT(waits, ElementsAre(HasSubstr("(vmuxctl host apply)")));
}

TEST_F(Binding, WaitsForACommandThatIsSoonDone) {
  std::optional<Outcome<Session>> first{Session::open(machine_, {})};
  machine_.on_sleep = [&] {
    if (machine_.slept.count() >= 2000) first.reset();
  };
  EXPECT_TRUE(Session::open(machine_, {}));
  EXPECT_EQ(machine_.slept.count(), 2000);
}

TEST_F(Binding, OfADriverThatThereIsNotTouchesNothing) {
  const auto report = run_bind({"0000:02:00.0", "nosuch"});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("this kernel has no driver nosuch for PCI functions, and no module"));
  EXPECT_THAT(machine_.written, IsEmpty());
}

TEST_F(Binding, OfAModulesNameSaysTheDrivers) {
  machine_.put("/lib/modules/available/vfio_pci", "");
  EXPECT_THAT(run_bind({"0000:02:00.0", "vfio_pci"}).error().text, HasSubstr("did you mean 'vfio-pci'?"));
  EXPECT_THAT(run_bind({"0000:02:00.0", "vfio-pc"}).error().text, HasSubstr("did you mean 'vfio-pci'?"));
  EXPECT_THAT(machine_.written, IsEmpty());
}

TEST_F(Binding, OfAModuleThatBringsAnotherDriverDoesNotTouchTheFunction) {
  machine_.put("/lib/modules/available/vfio_pci", "vfio-pci");
  machine_.take("/sys/bus/pci/drivers/vfio-pci");
  const auto report = run_bind({"0000:02:00.0", "vfio_pci"});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("it brings no driver of that name for PCI functions; did you mean 'vfio"));
  EXPECT_THAT(machine_.written, ElementsAre("modprobe vfio_pci"));
}

TEST_F(Binding, RestoreLeavesAnOverrideAsSomebodyLeftIt) {
  machine_.put("/sys/bus/pci/devices/0000:02:00.0/driver_override", "vfio-pci\n");
  ASSERT_TRUE(run_bind({"0000:02:00.0"}));
  EXPECT_EQ(driver("0000:02:00.0"), "vfio-pci");
  ASSERT_TRUE(run_restore());
  EXPECT_EQ(driver("0000:02:00.0"), "e1000e");
  EXPECT_EQ(override("0000:02:00.0"), "vfio-pci");
  EXPECT_THAT(run_unbind("0000:02:00.0")->actions, IsEmpty());
}

TEST_F(Binding, RollsBackAnOverrideAsSomebodyLeftIt) {
  machine_.put("/sys/bus/pci/devices/0000:02:00.0/driver_override", "nobody\n");
  machine_.refuses["/sys/bus/pci/drivers_probe"] = EIO;
  ASSERT_FALSE(run_bind({"0000:02:00.0"}));
  EXPECT_EQ(driver("0000:02:00.0"), "e1000e");
  EXPECT_EQ(override("0000:02:00.0"), "nobody");
}

TEST_F(Binding, KnowsAnInterfaceThatWentWithItsDriver) {
  machine_.net.all_links = {{"ens2", {"enp2s0", "enx525400112233"}}};
  ASSERT_TRUE(run_bind({"enp2s0"}));
  for (const char* name : {"ens2", "enp2s0", "enx525400112233"})
    EXPECT_THAT(run_bind({name})->actions, IsEmpty()) << name;
  ASSERT_TRUE(run_unbind("enx525400112233"));
  EXPECT_EQ(driver("0000:02:00.0"), "e1000e");
}

TEST_F(Binding, KnowsAnInterfaceThatWentWhenNothingIsLeftToUndo) {
  ASSERT_TRUE(run_bind({"0000:02:00.0"}));
  machine_.take(kJournal);  // vfio-pci from boot, as far as anybody knows
  ASSERT_TRUE(run_bind({"0000:02:00.0", "e1000e"}));
  ASSERT_TRUE(run_bind({"ens2"}));
  EXPECT_THAT(journal(), IsEmpty());
  EXPECT_THAT(run_bind({"ens2"})->actions, IsEmpty());
}

TEST_F(Binding, AnInterfaceThatThereIsGoesBeforeOneThatWent) {
  ASSERT_TRUE(run_bind({"ens2"}));
  machine_.put_link("/sys/class/net/ens2", machine_.resolve("/sys/class/net/ens1"));
  EXPECT_EQ(Session::open(machine_, {.is_rehearsal = true})->find("ens2")->address.text(), "0000:01:00.0");
}

TEST_F(Binding, RestoreSetsAnInterfaceUpThatWasUp) {
  ASSERT_TRUE(run_bind({"0000:02:00.0"}));
  ASSERT_TRUE(run_restore());
  EXPECT_EQ(machine_.text("/sys/class/net/ens2/flags"), "0x1003");
}

TEST_F(Binding, UnbindGivesTheOriginalDriverBack) {
  ASSERT_TRUE(run_bind({"0000:02:00.0"}));
  ASSERT_TRUE(run_unbind("0000:02:00.0"));
  EXPECT_EQ(driver("0000:02:00.0"), "e1000e");
  EXPECT_EQ(override("0000:02:00.0"), "(null)");
  EXPECT_THAT(journal(), IsEmpty());
}

TEST_F(Binding, UnbindWithoutAMemoryAsksTheKernel) {
  ASSERT_TRUE(run_bind({"0000:02:00.0"}));
  machine_.take(kJournal);
  ASSERT_TRUE(run_unbind("0000:02:00.0"));
  EXPECT_EQ(driver("0000:02:00.0"), "e1000e");
}

TEST_F(Binding, ToNoneLeavesItAlone) {
  ASSERT_TRUE(run_bind({"0000:02:00.0", "none"}));
  EXPECT_EQ(driver("0000:02:00.0"), "");
  ASSERT_TRUE(run_restore());
  EXPECT_EQ(driver("0000:02:00.0"), "e1000e");
}

TEST_F(Binding, RestoreRemembersTheFirstDriverOnly) {
  machine_.add_driver("uio_pci_generic");
  ASSERT_TRUE(run_bind({"0000:02:00.0"}));
  ASSERT_TRUE(run_bind({"0000:02:00.0", "uio_pci_generic"}));
  ASSERT_TRUE(run_restore());
  EXPECT_EQ(driver("0000:02:00.0"), "e1000e");
}

TEST_F(Binding, RestoreLeavesWhatAProgramUses) {
  ASSERT_TRUE(run_bind({"0000:02:00.0"}));
  machine_.put("/proc/77/comm", "qemu\n");
  machine_.put_link("/proc/77/fd/9", "/dev/vfio/14");
  const auto report = run_restore();
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("process 77 (qemu)"));
  EXPECT_EQ(driver("0000:02:00.0"), "vfio-pci");
  EXPECT_EQ(journal().size(), 2u);  // and that its interface was up
}

class CrashAfter : public Binding, public testing::WithParamInterface<int> {};
TEST_P(CrashAfter, AnyWriteIsUndoneByRestore) {
  machine_.crashes_at = GetParam();
  EXPECT_THROW(static_cast<void>(run_bind({"0000:02:00.0"})), fake::Crash);
  ASSERT_TRUE(run_restore());
  EXPECT_EQ(driver("0000:02:00.0"), "e1000e");
  EXPECT_EQ(override("0000:02:00.0"), "(null)");
  EXPECT_THAT(journal(), IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(Writes, CrashAfter, testing::Values(0, 1, 2));

TEST_F(Binding, AJournalOfAnotherBootIsAboutNothing) {
  ASSERT_TRUE(run_bind({"0000:02:00.0"}));
  machine_.put("/proc/sys/kernel/random/boot_id", "boot-2\n");
  EXPECT_THAT(journal(), IsEmpty());
}

TEST_F(Binding, ATornLastLineOfTheJournalWasNeverActedUpon) {
  ASSERT_TRUE(run_bind({"0000:02:00.0"}));
  machine_.put(kJournal, *machine_.read(kJournal) + R"({"kind":"driver","na)");
  EXPECT_EQ(journal().size(), 2u);
  EXPECT_TRUE(run_restore());
  EXPECT_EQ(driver("0000:02:00.0"), "e1000e");
}

class BadJournal : public Binding, public testing::WithParamInterface<const char*> {};
TEST_P(BadJournal, IsRefusedByLineAndNothingIsDone) {
  machine_.put(kJournal, GetParam());
  const auto report = run_bind({"0000:02:00.0"});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text, HasSubstr("host.journal:"));
  EXPECT_THAT(machine_.written, IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(
    Contents, BadJournal,
    testing::Values("nonsense\n", "{\"journal\":2,\"boot\":\"boot-1\"}\n",
                    "{\"journal\":1,\"boot\":\"boot-1\"}\n{\"kind\":\"x\",\"name\":\"y\",\"was\":{}}\n",
                    "{\"journal\":1,\"boot\":\"boot-1\"}\n{\"kind\":\"driver\"}\n"));

}  // namespace
}  // namespace vmux::host
