// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/host_cli.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

#include "control/rpc/json_rpc.hpp"
#include "host/fake_machine.hpp"

namespace vmux::app {
namespace {

using control::Json;
using testing::HasSubstr;
using testing::IsEmpty;

class HostCli : public testing::Test {
 protected:
  HostCli() { host::fake::make_good_host(machine_); }
  Exit run(const std::vector<std::string>& arguments) { return run_host(arguments, machine_, "/var/lib/vmux"); }
  host::fake::FakeMachine machine_;
};

TEST(HostArguments, AreThoseAroundTheWord) {
  EXPECT_EQ(host_arguments({"--json", "host", "list"}), (std::vector<std::string>{"--json", "list"}));
  EXPECT_EQ(host_arguments({"--rpc", "host", "port", "list"}), std::nullopt);
  EXPECT_EQ(host_arguments({"port", "show", "host"}), std::nullopt);
  EXPECT_EQ(host_arguments({}), std::nullopt);
  EXPECT_EQ(host_arguments({"ho", "list"}), std::vector<std::string>{"list"});
  EXPECT_EQ(host_arguments({"help", "host", "bind"}), (std::vector<std::string>{"help", "bind"}));
  EXPECT_EQ(host_arguments({"--color", "host", "port", "list"}), std::nullopt);
  EXPECT_EQ(host_arguments({"h", "list"}), std::nullopt) << "host or help";
  EXPECT_EQ(host_arguments({"help"}), std::nullopt);
}

TEST_F(HostCli, ListsNetworkCards) {
  const Exit exit = run({"list"});
  EXPECT_EQ(exit.status, 0);
  EXPECT_THAT(exit.out, HasSubstr("0000:01:00.0  8086:10c9  igb        13     0  0/7"));
  EXPECT_THAT(exit.out, testing::Not(HasSubstr("0000:00:1f.2")));
  EXPECT_THAT(run({"list", "--all"}).out, HasSubstr("0000:00:1f.2"));
}

TEST_F(HostCli, ListsAsJson) {
  const Json list = Json::parse(run({"list", "ens1", "--json"}).out);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["address"], "0000:01:00.0");
  EXPECT_EQ(list[0]["interfaces"][0]["speed_mbit"], 1000);
  EXPECT_EQ(list[0]["physical_function"], nullptr);
}

TEST_F(HostCli, CheckEndsWithStatusOneIfAnythingIsBad) {
  EXPECT_EQ(run({"check"}).status, 0);
  machine_.take("/dev/kvm");
  const Exit exit = run({"check", "--json"});
  EXPECT_EQ(exit.status, 1);
  EXPECT_EQ(Json::parse(exit.out)["verdict"], "bad");
}

TEST_F(HostCli, DryRunPrintsWhatWouldBeDone) {
  const Exit exit = run({"bind", "02:00.0", "--dry-run"});
  EXPECT_EQ(exit.status, 0);
  EXPECT_THAT(exit.out, HasSubstr("# nothing was changed; this would be done:\necho vfio-pci > "
                                  "/sys/bus/pci/devices/0000:02:00.0/driver_override\n"));
  EXPECT_THAT(machine_.written, IsEmpty());
}

TEST_F(HostCli, FailureIsASentenceAndJson) {
  machine_.net.all_addresses = {{"ens2", "10.0.0.1/24", false}};
  const Exit exit = run({"--json", "bind", "ens2"});
  EXPECT_EQ(exit.status, 1);
  EXPECT_EQ(Json::parse(exit.out)["error"]["kind"], "busy");
  EXPECT_THAT(exit.err, HasSubstr("carries 10.0.0.1/24"));
}

struct NumberCase {
  std::vector<std::string> arguments;
  const char* expected;
};
class HostNumbers : public testing::TestWithParam<NumberCase> {};
TEST_P(HostNumbers, AreRefusedUnlessThereIsOneWayToReadThem) {
  host::fake::FakeMachine machine;
  host::fake::make_good_host(machine);
  const Exit exit = run_host(GetParam().arguments, machine, "/var/lib/vmux");
  EXPECT_EQ(exit.status, 2) << exit.out;
  EXPECT_THAT(exit.err, HasSubstr(GetParam().expected));
  EXPECT_THAT(machine.written, IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(
    Words, HostNumbers,
    testing::Values(NumberCase{{"vfs", "ens1", "02"}, "expected a number from 0 to 65535, got '02'"},
                    NumberCase{{"vfs", "ens1", "2", "--vlan", "0100"}, "expected a number from 0 to 4094, got '0100'"},
                    NumberCase{{"vfs", "ens1", "2", "--vlan", "1e2"}, "got '1e2'"},
                    NumberCase{{"vfs", "ens1", "2", "--vlan", "4095"}, "got '4095'"},
                    NumberCase{{"vfs", "ens1", "2", "--vlan", "0xfff"}, "got '0xfff'"},
                    NumberCase{{"vfs", "ens1", "2", "--vlan", "1", "--qos", "07"}, "got '07'"},
                    NumberCase{{"vfs", "ens1", "2", "--vf", "00"}, "got '00'"},
                    NumberCase{{"vfs", "ens1", "1", "--mac", "2:0:0:0:0:1"}, "--mac: expected a unicast MAC address"},
                    NumberCase{{"hugepages", "0100"}, "got '0100'"}, NumberCase{{"hugepages", "1_000"}, "got '1_000'"},
                    NumberCase{{"hugepages", "1", "--node", "01"}, "got '01'"},
                    NumberCase{{"hugepages", "1", "--size", "02M"}, "'02M' is no size"},
                    NumberCase{{"irq", "ens1", "--cpus", "010"},
                               "--cpus: expected a CPU list such as 2,4-6, got '010'"},
                    NumberCase{{"irq", "ens1", "--cpus", "1,1"}, "--cpus: expected each CPU once"},
                    NumberCase{{"check", "--cpus", "0-07"}, "--cpus: expected a CPU list"}));

TEST_F(HostCli, NumbersMayBeHexadecimal) {
  EXPECT_EQ(run({"vfs", "ens1", "0x2", "--vlan", "0x64"}).status, 0);
  EXPECT_EQ(machine_.net.all_vfs["ens1"][1].vlan, 100);
}

TEST_F(HostCli, BindsAndRestores) {
  const Json bound = Json::parse(run({"bind", "02:00.0", "--json"}).out);
  EXPECT_EQ(bound["changed"], true);
  EXPECT_EQ(run({"restore"}).status, 0);
  EXPECT_EQ(run({"restore"}).out, "nothing to do: everything is so already\n");
}

TEST_F(HostCli, SettingsForNoVfAtAllAreRefused) {
  for (const std::vector<std::string>& settings : std::vector<std::vector<std::string>>{
           {"--mac", "52:54:00:00:10:00"}, {"--vlan", "5", "--trust", "off"}, {"--driver", "vfio-pci"}}) {
    std::vector<std::string> words{"vfs", "ens1"};
    words.insert(words.end(), settings.begin(), settings.end());
    EXPECT_THAT(run(words).err, HasSubstr("0000:01:00.0 has no virtual functions now"));
    words.insert(words.begin() + 2, "0");
    const Exit exit = run(words);
    EXPECT_EQ(exit.status, 2);
    EXPECT_THAT(exit.err, HasSubstr("with 0 virtual functions there is none to set"));
  }
  EXPECT_THAT(machine_.written, IsEmpty());
}

TEST_F(HostCli, KnowsAnInterfaceThatWentWithItsDriver) {
  ASSERT_EQ(run({"bind", "ens2"}).status, 0);
  EXPECT_EQ(run({"bind", "ens2"}).out, "nothing to do: everything is so already\n");
  EXPECT_EQ(run({"restore", "ens2"}).status, 0);
  EXPECT_EQ(machine_.link("/sys/bus/pci/devices/0000:02:00.0/driver"), "e1000e");
}

TEST_F(HostCli, WhatFailsForOneFunctionIsToldAndTheRestIsDone) {
  const Exit exit = run({"bind", "ens9", "02:00.0"});
  EXPECT_EQ(exit.status, 1);
  EXPECT_THAT(exit.err, testing::StartsWith("vmuxctl host: ens9: "));
  EXPECT_THAT(exit.out, HasSubstr("0000:02:00.0"));
  EXPECT_EQ(machine_.link("/sys/bus/pci/devices/0000:02:00.0/driver"), "vfio-pci");
  EXPECT_EQ(run({"restore", "ens2", "ens9"}).status, 1);
  EXPECT_EQ(machine_.link("/sys/bus/pci/devices/0000:02:00.0/driver"), "e1000e");
}

TEST_F(HostCli, SeveralFunctionsAreOneReportAndOneTable) {
  const Json report = Json::parse(run({"bind", "ens2", "ens9", "ens1", "--dry-run", "--json"}).out);
  EXPECT_EQ(report["errors"][0]["name"], "ens9");
  EXPECT_EQ(report["errors"][0]["error"]["kind"], "not_found");
  EXPECT_THAT(report["done"].dump(), testing::AllOf(HasSubstr("0000:01:00.0"), HasSubstr("0000:02:00.0")));
  const Exit list = run({"list", "ens2", "ens9", "ens1", "--columns", "address", "--no-headings"});
  EXPECT_EQ(list.status, 1);
  EXPECT_EQ(list.out, "0000:02:00.0\n0000:01:00.0\n");
  EXPECT_EQ(Json::parse(run({"list", "ens8", "ens9", "--json"}).out).size(), 2u);
}

TEST_F(HostCli, VerdictsCanBeFilteredAndColoured) {
  machine_.take("/dev/kvm");
  EXPECT_EQ(run({"check", "--filter", "verdict=bad", "--columns", "check", "--no-headings"}).out, "kvm\n");
  EXPECT_THAT(run({"check", "--color", "always"}).out, HasSubstr("\x1b[31mbad\x1b[0m"));
  EXPECT_THAT(run({"check"}).out, testing::Not(HasSubstr("\x1b")));
  EXPECT_EQ(run_host({"check", "--filter", "verdict=bad"}, machine_, "/var/lib/vmux", {80, true}).status, 1);
}

TEST_F(HostCli, UsageErrorsAreJsonWhereJsonWasAsked) {
  const Exit exit = run({"--json", "bnid", "ens2"});
  EXPECT_EQ(exit.status, 2);
  EXPECT_EQ(Json::parse(exit.out)["error"]["message"], "'bnid' is no command of vmuxctl host; did you mean 'bind'?");
  EXPECT_EQ(Json::parse(run({"bind", "--json"}).out)["error"]["kind"], "invalid");
  EXPECT_EQ(Json::parse(run({"check", "--cpus", "x", "--json"}).out)["error"]["kind"], "invalid");
}

TEST_F(HostCli, TakesHelpAndBeginningsOfCommands) {
  EXPECT_THAT(run({"help", "bind"}).out, HasSubstr("vmuxctl host bind 0000:01:00.0"));
  EXPECT_EQ(run({"hu", "--json"}).out, run({"hugepages", "--json"}).out);
  EXPECT_THAT(run({"vfs", "ens1", "--link", "uato"}).err, HasSubstr("did you mean 'auto'?"));
}

TEST_F(HostCli, MacsOfVfsCountUp) {
  const Exit exit = run({"vfs", "ens1", "3", "--mac", "52:54:00:00:00:ff", "--no-up", "-n"});
  EXPECT_THAT(exit.out, HasSubstr("vf 0 mac 52:54:00:00:00:ff\n"));
  EXPECT_THAT(exit.out, HasSubstr("vf 2 mac 52:54:00:00:01:01\n"));
}

TEST_F(HostCli, MacsOfVfsMayBeGivenOneByOne) {
  const Exit exit = run({"vfs", "--mac", "52:54:00:00:00:07,52:54:00:00:00:05", "ens1", "2", "--trust", "on", "-n"});
  EXPECT_THAT(exit.out, HasSubstr("vf 0 mac 52:54:00:00:00:07 trust on\n"));
  EXPECT_THAT(exit.out, HasSubstr("vf 1 mac 52:54:00:00:00:05 trust on\n"));
}

TEST_F(HostCli, ShowsVfsHugepagesAndInterrupts) {
  ASSERT_EQ(run({"vfs", "ens1", "1", "--vlan", "9", "--qos", "3"}).status, 0);
  const Json vfs = Json::parse(run({"vfs", "ens1", "--json"}).out);
  EXPECT_EQ(vfs[0]["address"], "0000:01:10.0");
  EXPECT_EQ(vfs[0]["vlan"], 9);
  EXPECT_EQ(Json::parse(run({"hugepages", "--json"}).out)[0],
            Json::parse(R"({"node":0,"size":"2M","total":512,"free":512,"surplus":0,"mounted_at":null})"));
  EXPECT_EQ(run({"irq", "ens1", "--json"}).out, "[]\n");
}

TEST_F(HostCli, TellsAVmmHowToHaveAFunction) {
  const Exit exit = run({"vm-args", "ens2", "--vmm", "cloud-hypervisor", "--vcpus", "1", "--memory", "512"});
  EXPECT_EQ(exit.status, 0);
  EXPECT_THAT(exit.out, HasSubstr("--cpus boot=1,affinity=[0@[4]]\n--memory size=0 --memory-zone id=near,size=512M"));
  EXPECT_THAT(exit.out, HasSubstr("# 0000:02:00.0 has the driver e1000e now"));
  EXPECT_EQ(Json::parse(run({"vm-args", "ens2", "--json"}).out)["vmm"], "qemu");
}

TEST_F(HostCli, MountsPagesWithoutACount) {
  EXPECT_THAT(run({"hugepages", "--mount", "--dry-run"}).out, HasSubstr("mount -t hugetlbfs -o pagesize=2M"));
  EXPECT_THAT(machine_.written, IsEmpty());
}

TEST_F(HostCli, SavesWhatApplyTakes) {
  const Json saved = Json::parse(run({"save", "--json"}).out);
  EXPECT_EQ(saved["nic"][0]["device"], "0000:01:00.0");
  EXPECT_EQ(saved["cpus"]["isolated"], "2-7");
  EXPECT_EQ(run({"save"}).out, saved["toml"].get<std::string>());
  EXPECT_EQ(run({"save", "--format", "yaml"}).out, saved["yaml"].get<std::string>());
}

TEST_F(HostCli, AppliesYamlByItsNameAndByItsOption) {
  const std::string path = testing::TempDir() + "host_cli_test.";
  std::ofstream{path + "yaml"} << "hugepages:\n  - count: 7\n    size: 2M\n    node: 0\n";
  std::ofstream{path + "conf"} << "hugepages:\n  - count: 9\n    size: 2M\n    node: 0\n";
  EXPECT_EQ(run({"apply", path + "yaml"}).status, 0);
  EXPECT_EQ(machine_.text("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"), "7");
  EXPECT_EQ(run({"apply", path + "conf"}).status, 2) << "this is no TOML";
  EXPECT_EQ(run({"apply", path + "conf", "--format", "yaml"}).status, 0);
  EXPECT_EQ(machine_.text("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"), "9");
}

struct BadWords {
  std::vector<std::string> arguments;
  const char* expected;
};
class BadHostCall : public HostCli, public testing::WithParamInterface<BadWords> {};
TEST_P(BadHostCall, HasStatusTwoAndNamesTheWord) {
  const Exit exit = run(GetParam().arguments);
  EXPECT_EQ(exit.status, 2);
  EXPECT_THAT(exit.err, HasSubstr(GetParam().expected));
  EXPECT_THAT(machine_.written, IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(
    Words, BadHostCall,
    testing::Values(BadWords{{}, "expected a command: check, list"}, BadWords{{"fly"}, "'fly'"},
                    BadWords{{"bind"}, "FUNCTION"},
                    BadWords{{"check", "--cpus", "x"}, "expected a CPU list such as 2,4-6, got 'x'"},
                    BadWords{{"list", "--dry-run"}, "--dry-run"},
                    BadWords{{"vfs", "ens1", "2", "--mac", "x"},
                             "expected a unicast MAC address such as 02:00:00:00:00:01, got 'x'"},
                    BadWords{{"vfs", "ens1", "2", "--qos", "1"}, "needs a --vlan"},
                    BadWords{{"vfs", "ens1", "3", "--mac", "52:54:00:00:00:01,52:54:00:00:00:02"},
                             "2 addresses for 3 virtual functions"},
                    BadWords{{"vfs", "ens1", "2", "--vlan", "4095"}, "--vlan"},
                    BadWords{{"hugepages", "5", "--size", "2"}, "'2' is no size"},
                    BadWords{{"hugepages", "-1"}, "COUNT: expected a number from 0 to 1073741824, got '-1'"},
                    BadWords{{"save", "--format", "xml"}, "--format"},
                    BadWords{{"irq", "ens1", "--cpus", "2", "--back"}, "--back"},
                    BadWords{{"bind", "ens2", "--driver", "../x"}, "no name of a driver"},
                    BadWords{{"bind", "ens2", "--driver=-r"}, "no name of a driver"},
                    BadWords{{"bind", "ens2", "--driver=.."}, "no name of a driver"}));

TEST_F(HostCli, HelpHasExamples) {
  EXPECT_THAT(run({"bind", "--help"}).out, HasSubstr("vmuxctl host bind 0000:01:00.0"));
}

TEST(StateDirectory, IsTheServiceManagersFirstOrOurs) {
  ::unsetenv("STATE_DIRECTORY");
  EXPECT_EQ(default_state_directory(), "/var/lib/vmux");
  ::setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b", 1);
  EXPECT_EQ(default_state_directory(), "/var/lib/a");
  ::unsetenv("STATE_DIRECTORY");
}

}  // namespace
}  // namespace vmux::app
