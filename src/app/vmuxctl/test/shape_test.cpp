// SPDX-License-Identifier: BSD-3-Clause
// Every command's way of printing against results of every shape: what comes through as good is printed, and no more
// is asked of it than that it is.
#include "app/vmuxctl/shape.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <string>
#include <vector>

#include "app/vmuxctl/cli.hpp"
#include "app/vmuxctl/commands.hpp"

namespace vmux::app {
namespace {

using control::Json;

/// A result with all members that any command prints.
Json good_result(const std::string& method) {
  const Json counters = Json::parse(R"({"rx_frames":1,"tx_frames":2,"drop_no_room":3})");
  const Json lane{{"poller", 0}, {"counters", counters}};
  Json thing = Json::parse(R"({"name":"vm0","model":"e1000","mode":"e1000-emu","backend":"tap","switch":"default",
    "mac":"02:00:00:00:00:01","vlan":7,"trunk":"1-3","native":2,"device":"tap0","queues":1,"poller":0,"pollers":[0,1],
    "doorbell":"trap","variants":["a","b"],"connected":true,"ready":false,"socket":"/s","built":true,"kind":"port",
    "description":"x","removed":"vm0","level":"info","version":"1","pid":2,"mac_age_s":3,"uplinks":1,"cpu":null,
    "methods":[{"name":"m","role":"read","summary":"s","params":{"properties":{"a":{"description":"d"}}}}],
    "calls":[{"method":"port.set","params":{"name":"vm0","vlan":7,"mtu":null}}],"kept":["k"],"failed":["f"],
    "takes_restart":["rpc"],"client":{"requests":1},"notes":["n"],"lines":["l"],"mac_table":[{"mac":"m","vlan":0,"port":"p","age_s":1}]})");
  thing["counters"] = counters;
  thing["lanes"] = Json::array({lane, lane});
  thing["events"] = method == "events" ? Json::parse(R"([{"sequence":1,"time":"t","event":"added","kind":"port",
    "name":"vm0","number":3}])")
                                       : Json(7);
  thing["ports"] = method == "switch.show" ? Json::array({Json{{"name", "p"}, {"counters", counters}}}) : Json(2);
  const bool is_list = !fault_of(method, Json::array());
  return is_list ? Json::array({thing, Json{{"name", "vm1"}}}) : thing;
}

const Json& odd_values() {
  static const Json kOdd =
      Json::parse(R"([null,true,0,-1,18446744073709551615,1.5,"","x"," ","\u001b[2J\n",[],{},[[]],[{}],
    [null,1,"x",[],{}],{"":null},{"a":[1]},{"name":[]},{"counters":5},{"lanes":"x"},{"counters":{"drop_x":"y"}},
    {"lanes":[1,2]},[{"lanes":[{},{}],"counters":{}}],{"lanes":[{},{}]},[{"lanes":[{},{"counters":[]}]},{"name":7}]])");
  return kOdd;
}

/// `result` with each of its values (itself included) replaced by each odd one in turn, and left out.
std::vector<Json> mutations(const Json& result) {
  std::vector<Json> out(odd_values().begin(), odd_values().end());
  const Json values = result.flatten();
  std::set<std::string> seen;
  for (const auto& item : values.items()) {
    for (Json::json_pointer at{item.key()}; !at.empty() && seen.insert(at.to_string()).second;
         at = at.parent_pointer()) {
      for (const Json& odd : odd_values()) {
        out.push_back(result);
        out.back()[at] = odd;
      }
      Json without = result;
      if (without.at(at.parent_pointer()).is_object()) {
        without.at(at.parent_pointer()).erase(at.back());
        out.push_back(std::move(without));
      }
    }
  }
  return out;
}

bool is_clean(const std::string& text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return c != '\n' && std::iscntrl(static_cast<unsigned char>(c)); });
}

/// As somebody at a terminal sees it, or a file.
std::string shown(const Command& command, const Json& result) {
  Call call;
  call.command = &command;
  return perform(call, [&](const Json&) { return control::Outcome<Json>{result}; }).out;
}

class EveryCommand : public testing::TestWithParam<const Command*> {};
TEST_P(EveryCommand, PrintsWhateverHasItsShape) {
  const Command& command = *GetParam();
  const Json good = good_result(command.method);
  ASSERT_FALSE(fault_of(command.method, good));
  EXPECT_NE(shown(command, good), "");
  for (const Json& odd : mutations(good)) {
    if (fault_of(command.method, odd)) continue;
    EXPECT_NO_THROW(EXPECT_TRUE(is_clean(shown(command, odd)))) << odd.dump();
  }
}
std::vector<const Command*> all_commands() {
  std::vector<const Command*> all;
  for (const Command& command : commands())
    all.push_back(&command);
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, EveryCommand, testing::ValuesIn(all_commands()));

struct Odd {
  const char* method;
  const char* result;
};
class OddResult : public testing::TestWithParam<Odd> {};
TEST_P(OddResult, IsAFault) { EXPECT_TRUE(fault_of(GetParam().method, Json::parse(GetParam().result))); }
INSTANTIATE_TEST_SUITE_P(Shapes, OddResult,
                         testing::Values(Odd{"port.list", "5"}, Odd{"port.list", "null"},
                                         Odd{"port.list", R"({"a":[1]})"}, Odd{"port.list", R"([null,1,"x",[],{}])"},
                                         Odd{"port.show", "[]"}, Odd{"version", "[]"}, Odd{"version", "null"},
                                         Odd{"port.stats", R"([{"counters":7}])"},
                                         Odd{"port.stats", R"([{"lanes":{}}])"},
                                         Odd{"port.stats", R"([{"lanes":[7]}])"}, Odd{"switch.show", R"({"ports":7})"},
                                         Odd{"switch.show", R"({"mac_table":[[]]})"},
                                         Odd{"port.vm_args", R"({"lines":"x"})"}, Odd{"events", R"({"events":7})"},
                                         Odd{"port.list", R"([{"pollers":7}])"}));

TEST(Shape, OfANewerDaemonMayHaveMore) {
  EXPECT_FALSE(fault_of("port.list", Json::parse(R"([{"name":"vm0","new":{"deep":[1]}}])")));
  EXPECT_FALSE(fault_of("port.list", Json::parse(R"([{}])")));
}

}  // namespace
}  // namespace vmux::app
