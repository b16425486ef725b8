// SPDX-License-Identifier: BSD-3-Clause
#include "app/console/understand.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

#include "app/console/choice.hpp"
#include "app/console/exit.hpp"

namespace vmux::app {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string>;

/// A program "net" with two levels of commands.
class Understand : public testing::Test {
 protected:
  Understand() {
    app_.add_flag("--json");
    app_.add_option("--rpc", rpc_);
    CLI::App* const port = app_.add_subcommand("port");
    port->require_subcommand(1)->fallthrough();
    CLI::App* const add = port->add_subcommand("add");
    add->fallthrough();
    add->add_option("NAME", name_);
    add->add_option("-m,--model", model_);
    for (const char* name : {"list", "show", "stats"})
      port->add_subcommand(name)->fallthrough();
    app_.add_subcommand("pollers")->fallthrough();
    app_.add_subcommand("version")->fallthrough();
  }
  Words read(const Words& written) { return understand(app_, written).value_or(Words{"refused"}); }
  std::string problem(const Words& written) {
    const auto read = understand(app_, written);
    return read ? "" : read.error();
  }
  CLI::App app_{"", "net"};
  std::string rpc_, name_, model_;
};

TEST_F(Understand, LeavesWhatIsWrittenInFull) {
  const Words written{"--json", "--rpc", "port", "port", "add", "list", "-m", "sho", "--", "p"};
  EXPECT_EQ(read(written), written);
}

TEST_F(Understand, CompletesTheBeginningOfOneCommand) {
  EXPECT_EQ(read({"por", "a", "v"}), (Words{"port", "add", "v"}));
  EXPECT_EQ(read({"v"}), Words{"version"});
}

TEST_F(Understand, NamesWhatABeginningMayBe) {
  EXPECT_EQ(problem({"port", "s"}), "'s' may be show or stats here");
  EXPECT_EQ(problem({"po"}), "'po' may be port or pollers here");
}

TEST_F(Understand, TakesHelpForAWord) {
  EXPECT_EQ(read({"help"}), Words{"--help"});
  EXPECT_EQ(read({"help", "port", "a"}), (Words{"port", "add", "--help"}));
  EXPECT_EQ(read({"port", "help", "add"}), (Words{"port", "add", "--help"}));
  EXPECT_EQ(read({"port", "help"}), (Words{"port", "--help"}));
  EXPECT_EQ(read({"port", "list", "help"}), (Words{"port", "list", "--help"}));
}

TEST_F(Understand, TakesHelpForANameWhereANameBelongs) {
  EXPECT_EQ(read({"port", "add", "help"}), (Words{"port", "add", "help"}));
}

TEST_F(Understand, SuggestsTheCommandThatWasMeant) {
  EXPECT_EQ(problem({"prot"}), "'prot' is no command of net; did you mean 'port'?");
  EXPECT_EQ(problem({"help", "port", "shwo"}), "'shwo' is no command of net port; did you mean 'show'?");
}

TEST_F(Understand, ListsTheCommandsWhereNoneIsClose) {
  EXPECT_EQ(problem({"port", "fly"}), "'fly' is no command of net port; there are: add, list, show, stats, help");
  EXPECT_THAT(problem({""}), HasSubstr("'' is no command of net;"));
}

TEST_F(Understand, SuggestsTheOptionThatWasMeant) {
  EXPECT_EQ(problem({"port", "add", "a", "--modle=x"}),
            "'--modle' is no option of net port add; did you mean '--model'?");
  EXPECT_EQ(problem({"port", "add", "a", "--jsno"}), "'--jsno' is no option of net port add; did you mean '--json'?");
  EXPECT_EQ(problem({"port", "list", "-x"}), "'-x' is no option of net port list");
}

TEST_F(Understand, TakesTheWordBehindAnOptionForItsValue) {
  EXPECT_EQ(read({"--rpc", "po", "por", "add", "a", "-m", "--x"}),
            (Words{"--rpc", "po", "port", "add", "a", "-m", "--x"}));
  EXPECT_EQ(read({"--rpc=", "v"}), (Words{"--rpc", "", "version"}));
  EXPECT_EQ(read({"port", "add", "-mx", "a"}), (Words{"port", "add", "-mx", "a"}));
  EXPECT_EQ(read({"port", "add", "-1"}), (Words{"port", "add", "-1"}));
}

TEST_F(Understand, LeavesAnotherProgramsWords) {
  CLI::App run{"", "run"};
  run.add_option("PROGRAM", name_);
  run.add_flag("--trace");
  run.positionals_at_end();
  EXPECT_EQ(understand(run, {"--trace", "ls", "--nonsense"}).value_or(Words{}), (Words{"--trace", "ls", "--nonsense"}));
}

TEST(Choice, NamesTheWordsAndTheOneThatWasMeant) {
  std::string word = "atuo";
  EXPECT_EQ(one_of({"auto", "never"})(word), "expected one of auto, never, got 'atuo'; did you mean 'auto'?");
  word = "never";
  EXPECT_EQ(one_of({"auto", "never"})(word), "");
}

TEST(UsageError, IsJsonWhereJsonIsAskedFor) {
  const Exit told = usage_error("net", "no \"x\" \xff", true);
  EXPECT_EQ(told.status, 2);
  EXPECT_EQ(told.err, "net: no \"x\" \\xff\nTry 'net --help'.\n") << "printable";
  EXPECT_EQ(told.out, "{\"error\":{\"kind\":\"invalid\",\"message\":\"no \\\"x\\\" \\ufffd\"}}\n");
  EXPECT_EQ(usage_error("net", "no", false).out, "");
}

TEST(AsksForJson, UnlessAnotherProgramIsAsked) {
  EXPECT_TRUE(asks_for_json({"fly", "--json"}));
  EXPECT_FALSE(asks_for_json({"fly"}));
  EXPECT_FALSE(asks_for_json({"run", "--", "--json"}));
}

}  // namespace
}  // namespace vmux::app
