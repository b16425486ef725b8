// SPDX-License-Identifier: BSD-3-Clause
#include "control/config/reload.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/test/fake_catalogue.hpp"

namespace vmux::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Configuration read(const std::string& text) {
  Configuration configuration;
  EXPECT_TRUE(parse_configuration(text, "x.toml", configuration));
  return configuration;
}

std::string port(const std::string& name, const std::string& more = "") {
  return "[[port]]\nname='" + name + "'\nmodel='silent'\nsocket='/tmp/" + name + "'\n" + more;
}
const std::string kBridge = "[[switch]]\nname='br0'\n";
const std::string kUplink = "[[uplink]]\nname='up'\nbackend='tap'\ndevice='tap0'\n";

std::vector<std::string> calls(const std::vector<Step>& steps) {
  std::vector<std::string> out;
  for (const Step& step : steps)
    out.push_back(step.method + ' ' + step.params["name"].get<std::string>());
  return out;
}

/// A daemon that was started with one file, and is given another.
class Reload : public testing::Test {
 protected:
  void start(const std::string& text) {
    before_ = read(text);
    for (const Step& step : before_.steps)
      ASSERT_TRUE(rehearse(step, live_));
  }
  Outcome<ReloadPlan> plan(const std::string& text) {
    const Configuration wanted = read(text);
    EXPECT_TRUE(rehearse(wanted, fake::kCatalogue));
    return plan_reload(live_, before_, wanted, [this](const std::string& name) { return name == in_use_; });
  }

  Inventory live_{fake::kCatalogue, {}};
  Configuration before_;
  std::string in_use_;
};

TEST_F(Reload, OfTheSameFileDoesNothing) {
  const std::string file = kBridge + kUplink + port("vm0") + port("vm1", "switch='br0'\nvlan=7\n");
  start(file);
  const auto plan = this->plan(file);
  ASSERT_TRUE(plan);
  EXPECT_THAT(plan->steps, IsEmpty());
  EXPECT_THAT(plan->kept, IsEmpty());
  EXPECT_EQ(plan->unchanged, 4u);
}

TEST_F(Reload, AddsWhatIsNewAndRemovesWhatIsGone) {
  start(kBridge + port("vm0") + port("vm1", "switch='br0'\n"));
  const auto plan = this->plan(kUplink + port("vm0") + port("vm2"));
  ASSERT_TRUE(plan);
  EXPECT_THAT(calls(plan->steps), ElementsAre("port.remove vm1", "switch.remove br0", "uplink.add up", "port.add vm2"));
  EXPECT_EQ(plan->unchanged, 1u);
}

TEST_F(Reload, RemovesAPortOfAVmWhenTheFileNoLongerHasIt) {
  start(port("vm0"));
  in_use_ = "vm0";
  EXPECT_THAT(calls(this->plan("")->steps), ElementsAre("port.remove vm0"));
}

TEST_F(Reload, ReplacesWhatIsOtherAndNotInUse) {
  start(kUplink + port("vm0"));
  const auto plan =
      this->plan("[[uplink]]\nname='up'\nbackend='tap'\ndevice='tap1'\n" + kBridge + port("vm0", "doorbell='poll'\n"));
  ASSERT_TRUE(plan);
  EXPECT_THAT(calls(plan->steps),
              ElementsAre("switch.add br0", "uplink.remove up", "port.remove vm0", "uplink.add up", "port.add vm0"));
}

TEST_F(Reload, SetsWhatCanChangeUnderAVmAndTakesNoPortFromIt) {
  start(port("vm0") + port("vm1"));
  in_use_ = "vm0";
  const auto plan = this->plan(port("vm0", "vlan=7\nlink='down'\ndoorbell='poll'\n") + port("vm1"));
  ASSERT_TRUE(plan);
  ASSERT_EQ(plan->steps.size(), 1u);
  EXPECT_EQ(plan->steps[0].method, "port.set");
  EXPECT_EQ(plan->steps[0].params, (Json{{"name", "vm0"}, {"link", "down"}, {"vlan", 7}}));
  EXPECT_THAT(plan->kept, ElementsAre("x.toml:1:1: [[port]]: port vm0 is kept as it is, for a VM uses it: doorbell is "
                                      "trap, not poll"));
  EXPECT_EQ(plan->unchanged, 1u);
}

TEST_F(Reload, PutsBackWhatTheFileNoLongerSays) {
  start(port("vm0", "vlan=7\nmtu=1400\n"));
  in_use_ = "vm0";
  const auto plan = this->plan(port("vm0"));
  ASSERT_TRUE(plan);
  ASSERT_EQ(plan->steps.size(), 1u);
  EXPECT_EQ(plan->steps[0].params, (Json{{"name", "vm0"}, {"vlan", nullptr}, {"mtu", nullptr}}));
}

TEST_F(Reload, MovesPortsToANewSwitchBeforeTheOldOneGoes) {
  start(kBridge + port("vm0", "switch='br0'\n"));
  in_use_ = "vm0";
  const auto plan = this->plan("[[switch]]\nname='br1'\n" + port("vm0", "switch='br1'\n"));
  ASSERT_TRUE(plan);
  EXPECT_THAT(calls(plan->steps), ElementsAre("switch.add br1", "port.set vm0", "switch.remove br0"));
  EXPECT_THAT(plan->kept, IsEmpty());
}

TEST_F(Reload, RefusesAnAddressThatAPortOfAVmStillHas) {
  start(port("vm0", "mac='02:00:00:00:00:01'\n") + port("vm1", "mac='02:00:00:00:00:02'\n"));
  in_use_ = "vm0";
  const auto plan = this->plan(port("vm0", "mac='02:00:00:00:00:02'\n") + port("vm1", "mac='02:00:00:00:00:01'\n"));
  ASSERT_FALSE(plan);
  EXPECT_THAT(text_of(plan.error()), HasSubstr("02:00:00:00:00:01 is in use"));
}

TEST_F(Reload, LeavesAloneWhatWasAddedByACall) {
  start(port("vm0"));
  ASSERT_TRUE(live_.add(PortSpec{.name = "byhand", .model = "silent", .socket = "/tmp/byhand"}));
  const auto plan = this->plan(port("vm0"));
  ASSERT_TRUE(plan);
  EXPECT_THAT(plan->steps, IsEmpty());
}

TEST_F(Reload, MakesAgainWhatACallRemoved) {
  start(port("vm0"));
  live_.remove<PortSpec>("vm0");
  EXPECT_THAT(calls(this->plan(port("vm0"))->steps), ElementsAre("port.add vm0"));
  EXPECT_THAT(this->plan("")->steps, IsEmpty());
}

TEST_F(Reload, RefusesWhatCannotBeBesideWhatWasAddedByACall) {
  start(port("vm0"));
  ASSERT_TRUE(live_.add(PortSpec{.name = "byhand", .model = "silent", .socket = "/tmp/vm1"}));
  const auto plan = this->plan(port("vm1"));
  ASSERT_FALSE(plan);
  EXPECT_THAT(text_of(plan.error()), HasSubstr("x.toml:4:1: [[port]]: socket: /tmp/vm1 is that of port byhand"));
}

TEST_F(Reload, KeepsASwitchThatOthersUse) {
  start(kBridge);
  ASSERT_TRUE(live_.add(PortSpec{.name = "byhand", .model = "silent", .socket = "/tmp/x", .switch_name = "br0"}));
  EXPECT_THAT(this->plan("")->kept,
              ElementsAre("switch br0 is kept although the file no longer has it: switch br0 is used by byhand"));
}

TEST_F(Reload, SetsSwitchesThatOthersUse) {
  start(kBridge + port("vm0", "switch='br0'\n"));
  const auto plan = this->plan("[[switch]]\nname='br0'\nmac_age_s=7\n[[switch]]\nname='default'\nmac_age_s=8\n" +
                               port("vm0", "switch='br0'\n"));
  ASSERT_TRUE(plan);
  EXPECT_THAT(calls(plan->steps), ElementsAre("switch.set br0", "switch.set default"));
  EXPECT_EQ(plan->count("set"), 2u);
}

TEST_F(Reload, GivesANameToAThingOfAnotherKind) {
  start(kUplink);
  const auto plan = this->plan(port("up"));
  ASSERT_TRUE(plan);
  EXPECT_THAT(calls(plan->steps), ElementsAre("uplink.remove up", "port.add up"));
}

TEST(ChangedValues, AreNamedByTheirKeys) {
  const DaemonSpec before = read("[daemon]\nlog_level='info'\nsocket_mode='0600'\n[pollers]\ncount=1\n").daemon;
  const DaemonSpec wanted =
      read("[daemon]\nrpc='/x'\nlog_level='debug'\nsocket_mode='0660'\nrpc_group=7\n[pollers]\nspin_us=7\ncount=2\n")
          .daemon;
  EXPECT_THAT(changed_values(before, wanted), ElementsAre("rpc", "rpc_group", "socket_mode", "count", "spin_us"));
  EXPECT_THAT(changed_values(before, before), IsEmpty());
}

}  // namespace
}  // namespace vmux::control
