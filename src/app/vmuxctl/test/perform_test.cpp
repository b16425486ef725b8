// SPDX-License-Identifier: BSD-3-Clause
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/vmuxctl/cli.hpp"

namespace vmux::app {
namespace {

using control::Json;
using control::Outcome;
using testing::HasSubstr;

/// A daemon that has the ports a and b.
Outcome<Json> answer(const Json& params) {
  const Json ports = Json::parse(R"([{"name":"a","model":"iavf","connected":true,"counters":{"rx_frames":1}},
                                     {"name":"b","model":"e1000","connected":false,"counters":{}}])");
  const Json name = params.value("name", Json());
  if (name.is_null()) return ports;
  for (const Json& port : ports)
    if (port["name"] == name) return port;
  return control::refuse(control::ProblemKind::not_found, "name", "there is no port named " + name.get<std::string>());
}
Outcome<Json> answer_with_a_list(const Json& params) {
  const auto found = answer(params);
  return !found || found->is_array() ? found : Json::array({*found});
}
Outcome<Json> answer_removed(const Json& params) {
  const auto found = answer(params);
  return found ? Outcome<Json>{Json{{"removed", (*found)["name"]}}} : found;
}

Exit run(const std::vector<std::string>& arguments, const Ask& ask) {
  const auto call = parse_call(arguments);
  return call ? perform(*call, ask) : call.error();
}

TEST(Perform, DoesTheRestAndNamesWhatFailed) {
  const Exit exit = run({"port", "remove", "a", "c", "b"}, answer_removed);
  EXPECT_EQ(exit.status, 1);
  EXPECT_EQ(exit.out, "removed a\nremoved b\n");
  EXPECT_EQ(exit.err, "vmuxctl: c: there is no port named c\n");
}

TEST(Perform, AnswersSeveralNamesWithAList) {
  const Exit exit = run({"--json", "port", "remove", "a", "c"}, answer_removed);
  EXPECT_EQ(exit.status, 1);
  EXPECT_EQ(Json::parse(exit.out), Json::parse(R"([{"removed":"a"},
      {"name":"c","error":{"kind":"not_found","message":"there is no port named c"}}])"));
  EXPECT_EQ(run({"--json", "port", "remove", "a"}, answer_removed).out, "{\"removed\":\"a\"}\n") << "one is no list";
}

TEST(Perform, SetsLongTextsApart) {
  const std::string out = run({"port", "show", "a", "b"}, answer).out;
  EXPECT_THAT(out, HasSubstr("name       a\n"));
  EXPECT_THAT(out, HasSubstr("\n\nname       b\n"));
}

TEST(Perform, ShowsSeveralInOneTable) {
  EXPECT_EQ(run({"port", "stats", "b", "a", "--columns", "name,rx_frames"}, answer_with_a_list).out,
            "NAME  RX FRAMES\nb     -\na     1\n");
  EXPECT_THAT(run({"port", "stats", "b", "a"}, answer_with_a_list).out, HasSubstr("NAME  CONNECTED"));
}

TEST(Perform, ShowsNoTableWhereAllFailed) {
  const Exit exit = run({"port", "stats", "c", "d"}, answer_with_a_list);
  EXPECT_EQ(exit.status, 1);
  EXPECT_EQ(exit.out, "");
}

TEST(Perform, FiltersForPeopleAndPrograms) {
  EXPECT_EQ(run({"port", "list", "--filter", "model=iavf", "--columns=name"}, answer).out, "NAME\na\n");
  const Exit exit = run({"port", "list", "--filter", "model=iavf", "--columns", "name", "--json"}, answer);
  EXPECT_EQ(exit.out, "[{\"name\":\"a\"}]\n");
}

TEST(Perform, RefusesAColumnThatIsNone) {
  const Exit exit = run({"port", "list", "--columns", "naem", "--json"}, answer);
  EXPECT_EQ(exit.status, 2);
  EXPECT_THAT(exit.err, HasSubstr("did you mean 'name'?"));
  EXPECT_EQ(Json::parse(exit.out)["error"]["kind"], "invalid");
}

TEST(Perform, ShowsTheCountersOfOneAsLinesUnlessColumnsAreNamed) {
  EXPECT_THAT(run({"port", "stats", "a"}, answer_with_a_list).out, HasSubstr("counters\n  rx_frames  1\n"));
  EXPECT_EQ(run({"port", "stats", "a", "--columns", "name"}, answer_with_a_list).out, "NAME\na\n");
}

}  // namespace
}  // namespace vmux::app
