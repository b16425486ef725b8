// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/cli.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/vmuxctl/print.hpp"

namespace vmux::app {
namespace {

using control::Json;
using testing::HasSubstr;

TEST(Cli, MakesOneCallOfACommand) {
  const auto call = parse_call(
      {"port", "add", "vm0", "--model", "e1000", "--socket", "/a", "--vlan", "7", "--json", "--rpc", "/rpc"});
  ASSERT_TRUE(call);
  EXPECT_EQ(call->command->method, "port.add");
  EXPECT_EQ(call->params, Json::parse(R"({"name":"vm0","model":"e1000","socket":"/a","vlan":7})"));
  EXPECT_EQ(call->rpc, "/rpc");
  EXPECT_TRUE(call->as_json);
}

TEST(Cli, HasSwitchesWithoutAValue) {
  const auto added = parse_call({"uplink", "add", "u", "--may-exist", "--backend", "null"});
  ASSERT_TRUE(added);
  EXPECT_EQ(added->params, Json::parse(R"({"name":"u","backend":"null","may_exist":true})"));
  const auto removed = parse_call({"port", "remove", "--if-exists", "vm0"});
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->params, Json::parse(R"({"if_exists":true})"));
  EXPECT_THAT(removed->names, testing::ElementsAre("vm0"));
  EXPECT_FALSE(parse_call({"port", "remove", "--if-exists=false", "vm0"}));
}

TEST(Cli, LeavesAModeToTheDaemonAsItIsWritten) {
  const auto call = parse_call({"port", "add", "vm0", "--model", "x", "--socket", "/a", "--socket-mode", "0660",
                                "--socket-owner", "107", "--socket-group", "kvm"});
  ASSERT_TRUE(call);
  EXPECT_EQ(call->params["socket_mode"], "0660");
  EXPECT_EQ(call->params["socket_owner"], "107");
  EXPECT_EQ(call->params["socket_group"], "kvm");
}

TEST(Cli, MakesASocketPathAbsolute) {
  const auto call = parse_call({"port", "add", "vm0", "--model", "e1000", "--socket", "./x.sock"});
  ASSERT_TRUE(call);
  EXPECT_EQ(call->params["socket"].get<std::string>().front(), '/');
}

TEST(Cli, LeavesANumberBehindAZeroToTheDaemon) {  // which refuses it, as it refuses any text
  const auto call = parse_call({"port", "add", "vm0", "--model", "x", "--socket", "/a", "--vlan", "0100"});
  ASSERT_TRUE(call);
  EXPECT_EQ(call->params["vlan"], "0100");
}

TEST(Cli, LeavesWhatIsNoNumberToTheDaemon) {
  const auto call = parse_call({"uplink", "add", "u", "--backend", "null", "--queues", "many"});
  ASSERT_TRUE(call);
  EXPECT_EQ(call->params["queues"], "many");
}

TEST(Cli, TakesMasksInHexadecimalAndFlagsAsWords) {
  const auto call = parse_call({"switch", "add", "br0", "--group-forward-mask", "0x400c", "--forward-bpdu", "false"});
  ASSERT_TRUE(call);
  EXPECT_EQ(call->params, Json::parse(R"({"name":"br0","forward_bpdu":false,"group_forward_mask":16396})"));
  const auto odd = parse_call({"switch", "add", "br0", "--group-forward-mask", "0x", "--forward-bpdu", "perhaps"});
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->params, Json::parse(R"({"name":"br0","forward_bpdu":"perhaps","group_forward_mask":"0x"})"));
}

struct Case {
  std::vector<std::string> arguments;
  const char* expected;
};
class BadCall : public testing::TestWithParam<Case> {};
TEST_P(BadCall, HasStatusTwoAndNamesTheWord) {
  const auto call = parse_call(GetParam().arguments);
  ASSERT_FALSE(call);
  EXPECT_EQ(call.error().status, 2);
  EXPECT_EQ(call.error().out, "");
  EXPECT_THAT(call.error().err, HasSubstr(GetParam().expected));
}
INSTANTIATE_TEST_SUITE_P(Words, BadCall,
                         testing::Values(Case{{}, "expected a command: port, switch"}, Case{{"nonsense"}, "'nonsense'"},
                                         Case{{"port"}, "vmuxctl port: expected a command: add,"},
                                         Case{{"port", "fly"}, "'fly'"}, Case{{"port", "list", "--fast"}, "--fast"},
                                         Case{{"prot", "add"}, "did you mean 'port'?"},
                                         Case{{"po"}, "'po' may be port or pollers here"},
                                         Case{{"port", "add", "a", "--modle", "x"}, "did you mean '--model'?"},
                                         Case{{"port", "list", "a"}, "'a' is one word too many for vmuxctl port list"},
                                         Case{{"port", "list", "--color", "on"}, "expected one of auto, always, never"},
                                         Case{{"port", "add", "vm0", "--socket", "/a"}, "--model"},
                                         Case{{"port", "remove"}, "NAME"},
                                         Case{{"--rpc", "", "version"}, "--rpc: expected the path of a socket"},
                                         Case{{"--timeout", "0", "version"}, "--timeout"},
                                         Case{{"--timeout", "010", "version"}, "got '010'"}));

TEST(Cli, HelpOfACommandIsThatCommands) {
  const auto call = parse_call({"uplink", "add", "--help"});
  ASSERT_FALSE(call);
  EXPECT_EQ(call.error().status, 0);
  EXPECT_THAT(call.error().out, HasSubstr("--backend"));
}

TEST(Cli, TakesHelpForAWordAndWrapsItToTheScreen) {
  const auto whole = parse_call({"help", "upl", "add"});
  ASSERT_FALSE(whole);
  EXPECT_THAT(whole.error().out, HasSubstr("Usage: vmuxctl uplink add"));
  const auto narrow = parse_call({"uplink", "add", "--help"}, {60, false});
  ASSERT_FALSE(narrow);
  EXPECT_THAT(narrow.error().out,
              HasSubstr("tap: interface; dpdk: EAL\n                              device argument"));
}

TEST(Cli, TakesSeveralNamesAndTheBeginningOfACommand) {
  const auto call = parse_call({"port", "rem", "a", "b", "--wait", "3"});
  ASSERT_TRUE(call);
  EXPECT_EQ(call->command->method, "port.remove");
  EXPECT_EQ(call->names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(call->wait_s, 3u);
}

TEST(Cli, AnswersAUsageErrorWithJsonWhereJsonWasAsked) {
  const auto call = parse_call({"prot", "--json"});
  ASSERT_FALSE(call);
  EXPECT_EQ(call.error().status, 2);
  const Json error = Json::parse(call.error().out)["error"];
  EXPECT_EQ(error["kind"], "invalid");
  EXPECT_EQ(error["message"], "'prot' is no command of vmuxctl; did you mean 'port'?");
}

TEST(Explain, NamesTheOptionOfAParameter) {
  const auto call = parse_call({"port", "add", "vm0", "--model", "x", "--socket", "/a"});
  ASSERT_TRUE(call);
  const Exit exit = explain(*call, {control::ProblemKind::invalid, "model", "'x' is not known"});
  EXPECT_EQ(exit.status, 2);
  EXPECT_EQ(exit.err, "vmuxctl: --model: 'x' is not known\n");
  EXPECT_EQ(exit.out, "");
}

TEST(Explain, SaysNothingThatATerminalObeys) {
  const auto call = parse_call({"--json", "port", "remove", "x"});
  ASSERT_TRUE(call);
  const Exit exit = explain(*call, {control::ProblemKind::host, "", "a\nvmuxctl: b\x1b[2J"});
  EXPECT_EQ(exit.err, "vmuxctl: a\\nvmuxctl: b\\x1b[2J\n");
  EXPECT_EQ(Json::parse(exit.out)["error"]["message"], "a\nvmuxctl: b\x1b[2J");
  EXPECT_EQ(parse_call({"a\nb"}).error().err.find("a\nb"), std::string::npos);
}

TEST(Explain, AnswersWithJsonWhereJsonWasAsked) {
  const auto call = parse_call({"--json", "port", "remove", "x"});
  ASSERT_TRUE(call);
  const Exit exit = explain(*call, {control::ProblemKind::not_found, "name", "there is no port named x"});
  EXPECT_EQ(exit.status, 1);
  EXPECT_EQ(Json::parse(exit.out)["error"]["kind"], "not_found");
}

TEST(Print, AlignsColumns) {
  const Json switches = Json::parse(R"([{"name":"default","ports":2,"uplinks":0,"rules":3,"mac_age_s":300},
                                       {"name":"b","ports":12,"uplinks":1,"rules":0,"mac_age_s":60}])");
  EXPECT_EQ(render(table_of_switches(switches)),
            "NAME     PORTS  UPLINKS  RULES  MAC AGE S\n"
            "default      2        0      3        300\n"
            "b           12        1      0         60\n");
}

TEST(Print, ShowsAMissingMemberAsADash) {
  EXPECT_THAT(render(table_of_uplinks(Json::parse(R"([{"name":"up","backend":"null"}])"))), HasSubstr("up    -"));
}

TEST(Print, AddsDropsUp) {
  const Json stats =
      Json::parse(R"([{"name":"a","connected":true,"counters":{"rx_frames":1,"drop_no_room":2,"drop_filtered":3}},
                                    {"name":"b","connected":false,"counters":{}}])");
  EXPECT_THAT(print_stats(stats), HasSubstr("a     yes        1          -         -          -             5\n"));
}

TEST(Print, SaysWhereThereWasNothingToRemove) {
  EXPECT_EQ(print_removed(Json::parse(R"({"removed":"vm0"})")), "removed vm0\n");
  EXPECT_EQ(print_removed(Json::parse(R"({"removed":null})")), "nothing to remove\n");
}

TEST(Print, MarksNotesOfVmArgs) {
  EXPECT_EQ(print_vm_args(Json::parse(R"({"notes":["needs x"],"lines":["-m 1"]})")), "# needs x\n-m 1\n");
}

}  // namespace
}  // namespace vmux::app
