// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/view.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmux::app {
namespace {

using control::Json;
using testing::HasSubstr;

Table ports() {
  return {Json::parse(R"([
            {"name":"vm0","model":"iavf","mac_age_s":7,"ready":true,"vlan":null,"pollers":[0,1],"rx_frames":5},
            {"":true,"name":"  poller 1","rx_frames":2},
            {"name":"vm1","model":"e1000","mac_age_s":300,"ready":false,"vlan":9,"pollers":[2],"rx_frames":0}])"),
          {"name", "model", "ready", "rx_frames"},
          "two\n"};
}

std::string shown(const View& view) {
  const auto table = seen(ports(), view);
  return table ? render(*table, {}, view.has_headings) : "refused: " + table.error();
}

TEST(View, ShowsAllUnlessToldOtherwise) {
  EXPECT_EQ(shown({}),
            "NAME        MODEL  READY  RX FRAMES\n"
            "vm0         iavf   yes            5\n"
            "  poller 1                        2\n"
            "vm1         e1000  no             0\ntwo\n");
}

TEST(View, ShowsTheColumnsThatAreNamedInTheirOrder) {
  EXPECT_EQ(shown({"mac-age-s,NAME,pollers", {}, true}),
            "MAC AGE S  NAME  POLLERS\n"
            "        7  vm0   0,1\n"
            "      300  vm1   2\n");
  EXPECT_EQ(shown({"name", {}, false}), "vm0\nvm1\n");
}

TEST(View, SuggestsTheColumnThatWasMeant) {
  EXPECT_EQ(shown({"modle", {}, true}), "refused: --columns: there is no column 'modle'; did you mean 'model'?");
  EXPECT_THAT(shown({"name,x", {}, true}), HasSubstr("there is no column 'x'; there are: name, model, ready, "));
  EXPECT_THAT(shown({",", {}, true}), HasSubstr("there is no column ''"));
  EXPECT_THAT(shown({"", {"modle=x"}, true}), HasSubstr("--filter: there is no column 'modle'; did you mean 'model'?"));
}

struct FilterRow {
  std::vector<std::string> filters;
  const char* names;
};
class Filters : public testing::TestWithParam<FilterRow> {};
TEST_P(Filters, LetPass) { EXPECT_EQ(shown({"name", GetParam().filters, false}), GetParam().names); }
INSTANTIATE_TEST_SUITE_P(Rows, Filters,
                         testing::Values(FilterRow{{"model=iavf"}, "vm0\n"}, FilterRow{{"model!=iavf"}, "vm1\n"},
                                         FilterRow{{"model=ia*"}, "vm0\n"}, FilterRow{{"name=vm?"}, "vm0\nvm1\n"},
                                         FilterRow{{"model=ia"}, ""}, FilterRow{{"ready=yes"}, "vm0\n"},
                                         FilterRow{{"ready=false"}, "vm1\n"}, FilterRow{{"vlan="}, "vm0\n"},
                                         FilterRow{{"vlan=-"}, "vm0\n"}, FilterRow{{"vlan!="}, "vm1\n"},
                                         FilterRow{{"rx frames>0"}, "vm0\n"}, FilterRow{{"rx_frames>=0"}, "vm0\nvm1\n"},
                                         FilterRow{{"rx_frames<5"}, "vm1\n"}, FilterRow{{"rx_frames<=5"}, "vm0\nvm1\n"},
                                         FilterRow{{"vlan<100"}, "vm1\n"}, FilterRow{{"pollers=1"}, "vm0\n"},
                                         FilterRow{{"pollers=0,1"}, "vm0\n"},
                                         FilterRow{{"model=*", "name=vm1"}, "vm1\n"}, FilterRow{{"model=a=b"}, ""}));

TEST(View, KeepsWhatBelongsToARowWithIt) {
  EXPECT_THAT(shown({"", {"name=vm0"}, true}), HasSubstr("  poller 1"));
  EXPECT_THAT(shown({"", {"name=vm1"}, true}), testing::Not(HasSubstr("  poller 1")));
}

TEST(View, NamesTheFormOfAFilter) {
  for (const char* filter : {"model", "", "=x", "name~x", "!name=x"})
    EXPECT_THAT(shown({"", {filter}, true}), HasSubstr("--filter: expected COLUMN=VALUE")) << filter;
  EXPECT_THAT(shown({"", {"rx_frames>many"}, true}), HasSubstr("expected a number to compare with, got 'many'"));
}

TEST(View, TakesAnyColumnOfATableWithoutRows) {
  const auto table = seen({Json::array(), {"name"}, ""}, {"mac", {"model=x"}, true});
  ASSERT_TRUE(table);
  EXPECT_EQ(render(*table), "MAC\n");
}

TEST(View, IsAListOfObjectsAsJson) {
  const View some{"name,ready", {"model=e1000"}, true}, all{"", {"model=iavf"}, true};
  EXPECT_EQ(json_of(*seen(ports(), some), some), Json::parse(R"([{"name":"vm1","ready":false}])"));
  const Json rows = json_of(*seen(ports(), all), all);
  ASSERT_EQ(rows.size(), 1u) << "a row that goes on is none";
  EXPECT_EQ(rows[0]["mac_age_s"], 7);
}

TEST(Render, WrapsTheLastColumnToTheScreen) {
  const Table table{Json::parse(R"([{"check":"kvm","found":"one two three four five six"}])"), {"check", "found"}, ""};
  EXPECT_EQ(render(table, {28, false}),
            "CHECK  FOUND\n"
            "kvm    one two three four\n"
            "       five six\n");
  EXPECT_THAT(render(table, {20, false}), HasSubstr("kvm    one two three four five six\n")) << "there is no room";
}

TEST(Render, ColoursVerdictsAndNothingElse) {
  const Table table{Json::parse(R"([{"verdict":"bad","found":"good"},{"verdict":"warn"}])"), {"verdict", "found"}, ""};
  EXPECT_EQ(render(table, {0, true}),
            "VERDICT  FOUND\n"
            "\x1b[31mbad\x1b[0m      good\n"
            "\x1b[33mwarn\x1b[0m     -\n");
  EXPECT_EQ(render(table).find('\x1b'), std::string::npos);
}

TEST(Render, KeepsACellOnItsLine) {
  const Table table{Json::parse(R"([{"socket":"/tmp/a\nb\u001b[2J"}])"), {"socket"}, ""};
  EXPECT_EQ(render(table), "SOCKET\n/tmp/a\\nb\\x1b[2J\n");
}

}  // namespace
}  // namespace vmux::app
