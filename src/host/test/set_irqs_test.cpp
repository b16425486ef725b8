// SPDX-License-Identifier: BSD-3-Clause
// Interrupts of a card: set, again, back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/test/operations_rig.hpp"

namespace vmux::host {
namespace {

using test::kPfPath;
using test::Operations;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

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
  EXPECT_THAT(report->actions, testing::SizeIs(2));
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
