// SPDX-License-Identifier: BSD-3-Clause
#include "app/console/understand.hpp"
#include "app/console/wrap.hpp"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

namespace vmux::app {
namespace {

TEST(Screen, IsAsWideAsTheTerminalOrAsIsWanted) {
  EXPECT_EQ(screen_of({132, {}, {}, "xterm"}).width, 132u);
  EXPECT_EQ(screen_of({132, "100", {}, "xterm"}).width, 100u);
  EXPECT_EQ(screen_of({132, "x", {}, "xterm"}).width, 132u);
  EXPECT_EQ(screen_of({0, "0", {}, "xterm"}).width, 80u);
}

TEST(Screen, HasColoursUnlessTheTerminalOrItsUserHasNone) {
  EXPECT_TRUE(screen_of({80, {}, {}, "xterm"}).has_colour);
  EXPECT_TRUE(screen_of({80, {}, "", "xterm"}).has_colour) << "no-color.org: when not empty";
  EXPECT_FALSE(screen_of({80, {}, "1", "xterm"}).has_colour);
  EXPECT_FALSE(screen_of({80, {}, {}, "dumb"}).has_colour);
  EXPECT_FALSE(screen_of({80, {}, {}, {}}).has_colour);
}

TEST(Screen, TakesTheOptionsWordForIt) {
  EXPECT_TRUE(with(Screen{}, Colour::always).has_colour);
  EXPECT_FALSE(with({80, true}, Colour::never).has_colour);
  EXPECT_TRUE(with({80, true}, Colour::automatic).has_colour);
  EXPECT_FALSE(with(Screen{}, Colour::automatic).has_colour) << "no terminal";
}

TEST(ColourOption, TakesThreeWords) {
  Colour colour = Colour::automatic;
  CLI::App app;
  add_colour_option(app, colour);
  app.parse("--color always");
  EXPECT_EQ(colour, Colour::always);
  app.parse("--color never");
  EXPECT_EQ(colour, Colour::never);
  EXPECT_THROW(app.parse("--color sometimes"), CLI::ValidationError);
}

TEST(Wrapped, LeavesLinesThatFitAndTextForNoTerminal) {
  EXPECT_EQ(wrapped("a b\n\n  c  d\n", 20), "a b\n\n  c  d\n");
  EXPECT_EQ(wrapped("one two three four five six", 0), "one two three four five six");
}

TEST(Wrapped, GoesOnBelowTheLastColumn) {
  EXPECT_EQ(wrapped("  --mac MAC   address of the interface that it has\nend", 40),
            "  --mac MAC   address of the interface\n"
            "              that it has\nend");
}

TEST(Wrapped, GoesOnAtTheMarginOfAParagraph) {
  EXPECT_EQ(wrapped(" one two three four five six", 24), " one two three four five\n six");
}

TEST(Wrapped, LeavesCommandsToCopyAndWordsThatAreTooLong) {
  EXPECT_EQ(wrapped("  vmuxctl port add vm0 --model e1000", 24), "  vmuxctl port add vm0 --model e1000");
  EXPECT_EQ(wrapped("x  /a/very/long/path/to/a/socket here", 24), "x  /a/very/long/path/to/a/socket\n   here");
}

TEST(Wrapped, LeavesALineWhoseLastColumnHasNoRoom) {
  EXPECT_EQ(wrapped("name            place   a b c d e f", 30), "name            place   a b c d e f");
}

TEST(Broken, KeepsEveryWord) {
  EXPECT_EQ(broken("aa bb cc", 5), (std::vector<std::string>{"aa bb", "cc"}));
  EXPECT_EQ(broken("aaaaaaa b", 3), (std::vector<std::string>{"aaaaaaa", "b"}));
  EXPECT_EQ(broken("run `a b c` or", 8), (std::vector<std::string>{"run", "`a b c`", "or"})) << "to be copied";
  EXPECT_EQ(broken("it's ` a b", 6), (std::vector<std::string>{"it's `", "a b"}));
  EXPECT_EQ(broken("", 3), std::vector<std::string>{""});
}

}  // namespace
}  // namespace vmux::app
