// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux/flags.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>

#include "app/vmux/sets.hpp"
#include "control/test/fake_catalogue.hpp"

namespace vmux::app {
namespace {

using testing::HasSubstr;

std::vector<std::string> words(const std::string& line) {
  std::istringstream in{line};
  return {std::istream_iterator<std::string>{in}, {}};
}

tl::expected<Flags, Exit> parse(const std::string& line) { return parse_flags(words(line), control::fake::kCatalogue); }

/// "s=a m=x | s=b" for the sets of a command line of -s, -m, -d and -t, or the message.
std::string sets_of(const std::string& line) {
  std::vector<Occurrence> given;
  const auto all = words(line);
  for (std::size_t i = 0; i + 1 < all.size(); i += 2)
    given.push_back({all[i][1], all[i + 1]});
  const auto sets = match_sets(given);
  if (!sets) return sets.error();
  std::string text;
  for (const VmSet& set : *sets) {
    text += (text.empty() ? "s=" : " | s=") + set.socket;
    if (set.mode) text += " m=" + *set.mode;
    if (set.device) text += " d=" + *set.device;
    if (set.tap) text += " t=" + *set.tap;
  }
  return text;
}

struct SetCase {
  const char* line;
  const char* expected;
};
class Sets : public testing::TestWithParam<SetCase> {};
TEST_P(Sets, MatchAsDocumented) { EXPECT_THAT(sets_of(GetParam().line), HasSubstr(GetParam().expected)); }
INSTANTIATE_TEST_SUITE_P(Lines, Sets,
                         testing::Values(SetCase{"", ""}, SetCase{"-s a", "s=a"},
                                         SetCase{"-d 08:00.0 -s a -m passthrough", "s=a m=passthrough d=08:00.0"},
                                         SetCase{"-s a -m x -s b -m y", "s=a m=x | s=b m=y"},
                                         SetCase{"-s a -s b -m x -m y", "s=a m=x | s=b m=y"},
                                         SetCase{"-m x -s a -m y -s b", "s=a m=x | s=b m=y"},
                                         SetCase{"-s a -m x -t t0 -s b -m y", "s=a m=x t=t0 | s=b m=y"},
                                         SetCase{"-s a -m x -s b -m y -t t0", "s=a m=x | s=b m=y t=t0"},
                                         SetCase{"-s a -s b -t none -t t0", "s=a | s=b t=t0"},
                                         SetCase{"-d none -s a -d 1 -s b", "s=a | s=b d=1"},
                                         SetCase{"-m x", "-m: expected a -s PATH as well"},
                                         SetCase{"-s a -m x -m y", "-m: given 2 times for 1 VM(s)"},
                                         SetCase{"-s a -t x -t y -s b -s c", "-t: given twice for -s a"}));

TEST(Flags, MakePortsOnTheDefaultSwitch) {
  const auto flags = parse("-s /tmp/a.sock -m silent-emu -s /tmp/b -m silent-emu -s /other/a -m silent-emu");
  ASSERT_TRUE(flags);
  const auto& steps = flags->configuration.steps;
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_EQ(steps[0].method, "port.add");
  EXPECT_EQ(steps[0].params["name"], "a");
  EXPECT_EQ(steps[1].params["name"], "b");
  EXPECT_EQ(steps[2].params["name"], "vm0");
  EXPECT_FALSE(steps[0].params.contains("switch"));
}

TEST(Flags, GiveOneSwitchToPortsOfOneTap) {
  const auto flags = parse("-s /a -m silent-emu -t tap0 -s /b -m silent-emu -t tap0 -s /c -m silent-emu -t tap1");
  ASSERT_TRUE(flags);
  const auto& steps = flags->configuration.steps;
  ASSERT_EQ(steps.size(), 7u);
  EXPECT_EQ(steps[0].method, "switch.add");
  EXPECT_EQ(steps[1].params["device"], "tap0");
  EXPECT_EQ(steps[2].params["switch"], "tap0");
  EXPECT_EQ(steps[3].params["switch"], "tap0");
  EXPECT_EQ(steps[6].params["switch"], "tap1");
}

TEST(Flags, SetTheDaemonsValues) {
  const auto flags = parse(
      "--rpc none --base-mac 52:54:00:00:00:01 --doorbell trap --log-level debug --pollers 2 "
      "--socket-owner 107 --socket-group root --socket-mode 660 --rpc-mode 0660 "
      "--poller-spin-us 7 --poller-linger-us 8 --poller-keep-awake-us 9 --poller-busy --check");
  ASSERT_TRUE(flags);
  const control::DaemonSpec& daemon = flags->configuration.daemon;
  EXPECT_EQ(daemon.port_access.owner->id, 107u);
  EXPECT_EQ(daemon.port_access.group->name, "root");
  EXPECT_EQ(daemon.port_access.mode, 0660u);
  EXPECT_EQ(daemon.rpc_access.mode, 0660u);
  EXPECT_EQ(daemon.rpc, "none");
  EXPECT_EQ(control::to_text(*daemon.base_mac), "52:54:00:00:00:01");
  EXPECT_EQ(daemon.doorbell, control::Doorbell::trap);
  EXPECT_EQ(daemon.log_level, LogLevel::debug);
  EXPECT_EQ(daemon.pollers.count, 2u);
  EXPECT_EQ(daemon.pollers.spin_us, 7u);
  EXPECT_EQ(daemon.pollers.linger_us, 8u);
  EXPECT_EQ(daemon.pollers.keep_awake_us, 9u);
  EXPECT_TRUE(daemon.pollers.busy);
  EXPECT_TRUE(flags->only_check);
}

struct Case {
  const char* line;
  const char* expected;
};
class BadFlags : public testing::TestWithParam<Case> {};
TEST_P(BadFlags, AreNamedWithStatusTwo) {
  const auto flags = parse(GetParam().line);
  ASSERT_FALSE(flags) << GetParam().line;
  EXPECT_EQ(flags.error().status, 2);
  EXPECT_EQ(flags.error().out, "");
  EXPECT_THAT(flags.error().err, HasSubstr(GetParam().expected));
}
INSTANTIATE_TEST_SUITE_P(
    Lines, BadFlags,
    testing::Values(Case{"--nonsense", "--nonsense"}, Case{"word", "word"}, Case{"-s /a word", "word"},
                    Case{"-s", "--socket"}, Case{"-m silent-emu", "-m: expected a -s PATH as well"},
                    Case{"-s /a -m ne2000", "-m (for -s /a): 'ne2000' is not known; known are: silent-emu"},
                    Case{"-s /a -m future-emu",
                         "-m (for -s /a): future-emu (a NIC of tomorrow) is not built yet; built are: silent-emu"},
                    Case{"-s /a -m silent-emu -d 0000:08:00.0", "-d (for -s /a): silent-emu uses no physical device"},
                    Case{"-s /a -d 0000:08:00.0", "-d (for -s /a): expected a -m"},
                    Case{"-s /a -m real-emu", "-d (for -s /a): is missing"},
                    Case{"-s /a -m silent-emu -s /a -m silent-emu", "-s (for -s /a): /a is that of port a"},
                    Case{"-s /a -m silent-emu -t a/b", "-t (for -s /a): expected"},
                    Case{"-s /a -m silent-emu -t sixteen-letters-", "-t (for -s /a): expected an interface name"},
                    Case{"--rpc /a -s /a -m silent-emu", "-s (for -s /a): /a is the RPC socket"},
                    Case{"--rpc /x/../a -s /./a -m silent-emu", "-s (for -s /./a): /./a is the RPC socket"},
                    Case{"-s /a -m silent-emu -s //a -m silent-emu", "-s (for -s //a): //a is that of port a"},
                    Case{"--base-mac 01:00:00:00:00:00", "--base-mac: expected a unicast MAC"},
                    Case{"--doorbell ring", "--doorbell: expected poll or trap, got \"ring\""},
                    Case{"--log-level 3", "--log-level: expected one of trace"},
                    Case{"--socket-owner nobody-of-this-name", "--socket-owner: expected a user of this machine"},
                    Case{"--rpc-group nobody-of-this-name", "--rpc-group: expected a group of this machine"},
                    Case{"--socket-mode 0968", "--socket-mode: expected octal digits up to 0777"},
                    Case{"--pollers 0", "--pollers: expected a number from 1 to 64, got 0"},
                    Case{"--pollers 010", "--pollers: expected a number from 1 to 64, got \"010\""},
                    Case{"--poller-cpus 00", "--poller-cpus: expected a CPU list"},
                    Case{"--pollers many", "--pollers: expected a number from 1 to 64, got \"many\""},
                    Case{"--poller-cpus 0-", "--poller-cpus: expected a CPU list"},
                    Case{"--poller-cpus 0 --pollers 2",
                         "--poller-cpus: expected one CPU for each of 2 poller(s), got 1"},
                    Case{"--poller-cpus 1023", "--poller-cpus: expected CPUs that this process may use"},
                    Case{"--poller-min-sleep-us 9 --poller-max-sleep-us 8", "--poller-min-sleep-us: expected at most"},
                    Case{"--config /nonexistent.toml", "--config: cannot read /nonexistent.toml"},
                    Case{"--config=", "--config"}, Case{"--poller-busy=false", "poller-busy was given"},
                    Case{"--check=false", "check was given"},
                    Case{"--rpc /run/", "--rpc: expected the path of a file, got /run/"}));

TEST(Flags, RefuseAnEmptyFileName) {  // a variable of a script that was not set
  const auto flags = parse_flags({"--config", ""}, control::fake::kCatalogue);
  ASSERT_FALSE(flags);
  EXPECT_EQ(flags.error().status, 2);
  EXPECT_THAT(flags.error().err, HasSubstr("--config: expected the path of a file, got ''"));
}

TEST(Flags, RefuseAnRpcPathThatIsTooLong) {
  const auto flags = parse("--rpc /" + std::string(107, 'x'));
  ASSERT_FALSE(flags);
  EXPECT_EQ(flags.error().status, 2);
  EXPECT_THAT(flags.error().err, HasSubstr("--rpc: expected a path of at most 107 bytes, got 108"));
}

class FlagsWithFile : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/vmux-flags-XXXXXX";
    ::close(::mkstemp(name));
    path_ = name;
  }
  void TearDown() override { std::remove(path_.c_str()); }
  void write(const std::string& text) const { std::ofstream{path_} << text; }
  std::string path_;
};

TEST_F(FlagsWithFile, ComeOnTopOfIt) {
  write("[daemon]\nlog_level='error'\nrpc='/file'\n[[port]]\nname='vm0'\nmodel='silent'\nsocket='/a'\n");
  const auto flags = parse("--log-level debug -s /b -m silent-emu -c " + path_);
  ASSERT_TRUE(flags);
  EXPECT_EQ(flags->configuration.daemon.log_level, LogLevel::debug);
  EXPECT_EQ(flags->configuration.daemon.rpc, "/file");
  EXPECT_EQ(flags->configuration.steps[1].params["name"], "b");
}

TEST_F(FlagsWithFile, JoinTheSwitchOfATapOfTheFile) {
  write("[[switch]]\nname='br0'\n[[uplink]]\nname='up'\nswitch='br0'\nbackend='tap'\ndevice='tap0'\n");
  const auto flags = parse("-s /b -m silent-emu -t tap0 -c " + path_);
  ASSERT_TRUE(flags);
  EXPECT_EQ(flags->configuration.steps.back().params["switch"], "br0");
}

TEST_F(FlagsWithFile, NameItsLineInAProblem) {
  write("[[port]]\nname='vm0'\nmodel='silent'\nsocket='/a'\nswitch='nowhere'\n");
  const auto flags = parse("-c " + path_);
  ASSERT_FALSE(flags);
  EXPECT_EQ(flags.error().status, 2);
  EXPECT_THAT(flags.error().err, HasSubstr(path_ + ":5:1: [[port]]: switch: there is no switch named nowhere"));
}

TEST(Flags, StandInTheManualPage) {
  std::stringstream page;
  page << std::ifstream{VMUX_MAN_PAGE}.rdbuf();
  const std::string text = std::regex_replace(page.str(), std::regex{R"(\\-)"}, "-");
  const std::string help = parse("--help").error().out;
  const std::regex option{"--[a-z][a-z-]+"};
  for (std::sregex_iterator at{help.begin(), help.end(), option}; at != std::sregex_iterator{}; ++at)
    EXPECT_NE(text.find(at->str()), std::string::npos) << at->str();
}

TEST(Flags, PrintHelpAndVersion) {
  const auto help = parse("--help");
  ASSERT_FALSE(help);
  EXPECT_EQ(help.error().status, 0);
  EXPECT_THAT(help.error().out, HasSubstr("--poller-cpus"));
  EXPECT_THAT(help.error().out, HasSubstr("silent-emu"));
  const auto version = parse("--version");
  ASSERT_FALSE(version);
  EXPECT_EQ(version.error().status, 0);
  EXPECT_EQ(version.error().out.rfind("vmux ", 0), 0u);
}

TEST(Flags, SuggestTheOptionThatWasMeantAndTakeHelpForAWord) {
  const auto mistyped = parse("--poller-cpu 2");
  ASSERT_FALSE(mistyped);
  EXPECT_EQ(mistyped.error().status, 2);
  EXPECT_THAT(mistyped.error().err, HasSubstr("'--poller-cpu' is no option of vmux; did you mean '--poller-cpus'?"));
  EXPECT_THAT(parse("help").error().out, HasSubstr("--poller-cpus"));
  EXPECT_THAT(parse("start").error().err, HasSubstr("'start' is one word too many for vmux"));
}

}  // namespace
}  // namespace vmux::app
