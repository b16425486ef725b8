// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include "base/logf.hpp"
#include "base/text/printable.hpp"
#include "base/text/words.hpp"

namespace vmux {
namespace {

struct Shown {
  std::string_view text;
  const char* expected;
};
class Printable : public testing::TestWithParam<Shown> {};
TEST_P(Printable, EscapesWhatWouldMoveOrHide) {
  EXPECT_EQ(printable(GetParam().text), GetParam().expected);
  EXPECT_EQ(is_printable(GetParam().text), GetParam().text == GetParam().expected);
}
INSTANTIATE_TEST_SUITE_P(
    Texts, Printable,
    testing::Values(Shown{"", ""}, Shown{"/run/vm0.sock", "/run/vm0.sock"}, Shown{"a\\nb", "a\\nb"},
                    Shown{"/tmp/\u00fc\u20ac\U0001f600", "/tmp/\u00fc\u20ac\U0001f600"},
                    Shown{"a\nb\r\t", "a\\nb\\r\\t"}, Shown{"\x1b[31mred", "\\x1b[31mred"}, Shown{"\x7f", "\\x7f"},
                    Shown{{"a\0b", 3}, "a\\x00b"}, Shown{"\u009b2J", "\\u009b2J"},
                    Shown{"\u202egnp.exe", "\\u202egnp.exe"}, Shown{"\u2028", "\\u2028"}, Shown{"\u2066", "\\u2066"},
                    Shown{"\xff", "\\xff"}, Shown{"\xc3", "\\xc3"}, Shown{"\xc0\xaf", "\\xc0\\xaf"},
                    Shown{"\xed\xa0\x80", "\\xed\\xa0\\x80"}, Shown{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
                    Shown{"\xe2\x82", "\\xe2\\x82"}, Shown{"\xe2\x82z", "\\xe2\\x82z"}));

TEST(PrintableLines, KeepNewlinesOnly) { EXPECT_EQ(printable_lines("a\n\x1b\r\n"), "a\n\\x1b\\r\n"); }

std::string g_line;

TEST(Log, EscapesALineBeforeItsSinkSeesIt) {
  set_log_sink([](LogLevel, std::string_view line) { g_line = line; }, LogLevel::info);
  logf(LogLevel::info, "port {}: served", "a\n2026-01-01 info forged\x1b[2J\xff");
  set_log_sink(nullptr, LogLevel::off);
  EXPECT_EQ(g_line, "port a\\n2026-01-01 info forged\\x1b[2J\\xff: served");
}

struct Mistyped {
  const char* word;
  const char* meant;  // or empty
};
class Closest : public testing::TestWithParam<Mistyped> {};
TEST_P(Closest, IsWhatWasMeant) {
  const std::vector<std::string> known{"port",          "switch",    "uplink", "--socket",
                                       "--socket-mode", "log_level", "mac",    "add"};
  EXPECT_EQ(closest(GetParam().word, known).value_or(""), GetParam().meant);
}
INSTANTIATE_TEST_SUITE_P(Words, Closest,
                         testing::Values(Mistyped{"prot", "port"}, Mistyped{"ports", "port"},
                                         Mistyped{"swich", "switch"}, Mistyped{"--sokcet", "--socket"},
                                         Mistyped{"--socket-mdoe", "--socket-mode"}, Mistyped{"log-level", "log_level"},
                                         Mistyped{"LOG_LEVEL", "log_level"}, Mistyped{"loglevel", "log_level"},
                                         Mistyped{"upl", "uplink"}, Mistyped{"x", ""}, Mistyped{"bridge", ""},
                                         Mistyped{"", ""}, Mistyped{"mca", "mac"}));

TEST(Closest, IsNothingWhenTwoAreAsClose) { EXPECT_FALSE(closest("cat", {"bat", "rat"})); }

TEST(DidYouMean, EndsASentenceOrSaysNothing) {
  EXPECT_EQ(did_you_mean("prot", {"port"}), "; did you mean 'port'?");
  EXPECT_EQ(did_you_mean("bridge", {"port"}), "");
}

TEST(BeginningWith, PrefersTheWholeWord) {
  EXPECT_EQ(beginning_with("s", {"show", "stats", "add"}), (std::vector<std::string>{"show", "stats"}));
  EXPECT_EQ(beginning_with("vm", {"vm", "vm-args"}), std::vector<std::string>{"vm"});
}

}  // namespace
}  // namespace vmux
