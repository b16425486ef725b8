// SPDX-License-Identifier: BSD-3-Clause
#include "control/config/configuration.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/test/fake_catalogue.hpp"

namespace vmux::control {
namespace {

using testing::HasSubstr;

constexpr const char* kGood = R"(
[daemon]
rpc = "/run/x.sock"
log_level = "debug"
base_mac = "02:00:00:00:00:01"
doorbell = "trap"
rpc_group = "root"
rpc_mode = "660"
socket_owner = 107
socket_mode = 0o620

[pollers]
count = 2
spin_us = 0
min_sleep_us = 10
max_sleep_us = 500

[[switch]]
name = "br0"

[[uplink]]
name = "up0"
switch = "br0"
backend = "tap"
device = "tap0"

[[port]]
name = "vm0"
model = "silent"
socket = "/tmp/vm0.sock"
switch = "br0"
vlan = 10
)";

TEST(ConfigurationFile, BecomesValuesAndCalls) {
  Configuration configuration;
  ASSERT_TRUE(parse_configuration(kGood, "x.toml", configuration));
  EXPECT_EQ(configuration.daemon.rpc, "/run/x.sock");
  EXPECT_EQ(configuration.daemon.log_level, LogLevel::debug);
  EXPECT_EQ(configuration.daemon.doorbell, Doorbell::trap);
  EXPECT_EQ(configuration.daemon.rpc_access.group->id, 0u);
  EXPECT_EQ(configuration.daemon.rpc_access.mode, 0660u);
  EXPECT_EQ(configuration.daemon.port_access.owner->id, 107u);
  EXPECT_EQ(configuration.daemon.port_access.mode, 0620u);
  EXPECT_EQ(configuration.daemon.pollers.count, 2u);
  EXPECT_EQ(configuration.daemon.pollers.spin_us, 0u);
  ASSERT_EQ(configuration.steps.size(), 3u);
  EXPECT_EQ(configuration.steps[0].method, "switch.add");
  EXPECT_EQ(configuration.steps[2].method, "port.add");
  EXPECT_EQ(configuration.steps[2].params["vlan"], 10);
  EXPECT_EQ(configuration.steps[2].where, "x.toml:27:1: [[port]]");
  EXPECT_TRUE(rehearse(configuration, fake::kCatalogue));
}

TEST(ConfigurationFile, MayBeEmpty) {
  Configuration configuration;
  EXPECT_TRUE(parse_configuration("", "x.toml", configuration));
  EXPECT_TRUE(configuration.steps.empty());
}

struct Case {
  const char* text;
  const char* expected;
};
class BadFile : public testing::TestWithParam<Case> {};
TEST_P(BadFile, IsRefusedWithItsLine) {
  Configuration configuration;
  const auto parsed = parse_configuration(GetParam().text, "x.toml", configuration);
  ASSERT_FALSE(parsed);
  EXPECT_THAT(text_of(parsed.error()), HasSubstr(GetParam().expected));
}
INSTANTIATE_TEST_SUITE_P(
    Texts, BadFile,
    testing::Values(Case{"[daemon", "x.toml:1:8: "}, Case{"\n[\x03]", "x.toml:2:2: "},
                    Case{"a = {\x03 = 1}", "x.toml:1:6: "},
                    Case{"# \u00fc\n\u030f", "x.toml:2: a character that is not ASCII"},
                    Case{"daemon = \"\u00fc\"\n\u00fc = 1", "x.toml:2: a character that is not ASCII"},
                    Case{"x = '''\u00fc\n\u00fc'''\n", "x.toml:1:1: 'x' is not known"},
                    Case{"\nx = 1", "x.toml:2:1: 'x' is not known here; known are: daemon, pollers"},
                    Case{"port = 1", "expected [[port]]"}, Case{"[port]\nname = \"a\"", "expected [[port]]"},
                    Case{"daemon = 3", "x.toml:1:10: [daemon]: expected an object"},
                    Case{"[daemon]\nrpcs = \"x\"", "x.toml:2:1: [daemon]: rpcs: is not a parameter here"},
                    Case{"[daemon]\nlog-level = \"x\"", "did you mean 'log_level'?"},
                    Case{"[daemon]\nlog_level = \"loud\"", "log_level: expected one of trace, debug"},
                    Case{"[daemon]\nbase_mac = \"x\"", "base_mac: expected a unicast MAC"},
                    Case{"[daemon]\nsocket_owner = \"nobody-of-this-name\"",
                         "x.toml:2:1: [daemon]: socket_owner: expected a user of this machine"},
                    Case{"[daemon]\nsocket_mode = 660", "(a mode is the one number that is octal), got 660"},
                    Case{"[daemon]\nrpc_mode = 0o1660", "got \"0o1660\""},
                    Case{"[pollers]\ncount = 0", "[pollers]: count: expected a number from 1 to 64, got 0"},
                    Case{"[pollers]\ncount = 2\ncpus = [0]", "cpus: expected one CPU for each of 2 poller(s)"},
                    Case{"[pollers]\ncpus = \"1023\"", "cpus: expected CPUs that this process may use"},
                    Case{"[pollers]\nmin_sleep_us = 9\nmax_sleep_us = 8",
                         "min_sleep_us: expected at most max_sleep_us (8)"},
                    Case{"[pollers]\nbusy = 1", "busy: expected true or false"}));

TEST(ConfigurationFile, TellsWhyItCannotBeRead) {
  Configuration configuration;
  const auto loaded = load_configuration("/nonexistent/vmux.toml", configuration);
  ASSERT_FALSE(loaded);
  EXPECT_THAT(text_of(loaded.error()), HasSubstr("/nonexistent/vmux.toml"));
}

TEST(ConfigurationFile, IsNoDirectory) {
  Configuration configuration;
  EXPECT_FALSE(load_configuration("/tmp", configuration));
}

TEST(Rehearsal, FindsTheFirstStepThatCannotBe) {
  Configuration configuration;
  ASSERT_TRUE(
      parse_configuration("[[port]]\nname='a'\nmodel='silent'\nsocket='/a'\n"
                          "[[port]]\nname='b'\nmodel='silent'\nsocket='/a'\n",
                          "x.toml", configuration));
  const auto rehearsed = rehearse(configuration, fake::kCatalogue);
  ASSERT_FALSE(rehearsed);
  EXPECT_EQ(rehearsed.error().step->where, "x.toml:5:1: [[port]]");
  EXPECT_EQ(place_of(*rehearsed.error().step, rehearsed.error().problem), "x.toml:8:1: [[port]]");
  EXPECT_EQ(place_of(*rehearsed.error().step, {}), "x.toml:5:1: [[port]]");
  EXPECT_EQ(rehearsed.error().problem.field, "socket");
}

TEST(Rehearsal, FindsAUserThatIsNot) {
  Configuration configuration;
  ASSERT_TRUE(
      parse_configuration("[[port]]\nname='a'\nmodel='silent'\nsocket='/a'\nsocket_owner='nobody-of-this-name'\n",
                          "x.toml", configuration));
  const auto rehearsed = rehearse(configuration, fake::kCatalogue);
  ASSERT_FALSE(rehearsed);
  EXPECT_EQ(place_of(*rehearsed.error().step, rehearsed.error().problem), "x.toml:5:1: [[port]]");
  EXPECT_EQ(rehearsed.error().problem.field, "socket_owner");
}

TEST(Rehearsal, TakesAModeThatTomlSaysIsOctal) {
  Configuration configuration;
  ASSERT_TRUE(parse_configuration("[[port]]\nname='a'\nmodel='silent'\nsocket='/a'\nsocket_mode=0o660\n", "x.toml",
                                  configuration));
  EXPECT_TRUE(rehearse(configuration, fake::kCatalogue));
  EXPECT_EQ(configuration.steps[0].params["socket_mode"], "0o660");
}

TEST(Settle, StartsWithNoLongerSleepThanTheLongest) {
  DaemonSpec daemon;
  daemon.pollers.max_sleep_us = 10;
  ASSERT_TRUE(settle(daemon));
  EXPECT_EQ(daemon.pollers.min_sleep_us, 10u);
}

TEST(Settle, GivesOnePollerToEachCpu) {
  DaemonSpec daemon;
  daemon.pollers.cpus = {};
  ASSERT_TRUE(settle(daemon));
  EXPECT_EQ(daemon.pollers.count, 1u);
}

}  // namespace
}  // namespace vmux::control
