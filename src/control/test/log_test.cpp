// SPDX-License-Identifier: BSD-3-Clause
// What a log line is beside its text, and how it is written for whom.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/logf.hpp"
#include "control/log/log_context.hpp"
#include "control/log/log_writer.hpp"

namespace vmux::control {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t kTime = 1'700'000'000'123'000'000;

LogRecord warning(std::string_view line) { return {LogLevel::warning, "device", line}; }

class Log : public testing::Test {
 protected:
  Log() { book_.set_client("vm0", 4711); }
  LogBook book_;
  const LogRecord fault_ = warning("vm0: receive queue 0 stopped: its ring is outside guest memory");
};

TEST_F(Log, KnowsThePortThatALineIsAboutAndItsClient) {
  const LogContext context = book_.context_of(fault_);
  EXPECT_EQ(context.port, "vm0");
  EXPECT_EQ(context.client, 4711);
  EXPECT_THAT(context.advice, AllOf(HasSubstr("trace vm0"), Not(HasSubstr("NAME"))));
  EXPECT_EQ(book_.context_of(warning("port vm0: restored")).port, "vm0");
}

TEST_F(Log, KnowsThatALineIsAboutNoPort) {
  for (const char* line : {"vm1: something", "vm0", "RPC: user 0: port.add vm0: done", ": vm0: x", ""}) {
    const LogContext context = book_.context_of(warning(line));
    EXPECT_EQ(context.port, std::string_view{line} == "vm0" ? "vm0" : "") << line;
  }
  book_.remove("vm0");
  EXPECT_EQ(book_.context_of(fault_).port, "");
}

TEST_F(Log, AdvisesOnlyWhereSomethingIsWrong) {
  EXPECT_EQ(book_.context_of({LogLevel::info, "vfio_user", "vm0: client attached (0.1)"}).advice, "");
  EXPECT_THAT(book_.context_of(warning("vm0: something odd")).advice, HasSubstr("vmuxctl doctor vm0"));
}

TEST_F(Log, IsTextForPeople) {
  const std::string line = text_of(fault_, book_.context_of(fault_), kTime);
  EXPECT_THAT(line, AllOf(HasSubstr(".123"), HasSubstr(" warning vm0: receive queue 0 stopped"),
                          HasSubstr("(client 4711; the guest's driver")));
  EXPECT_EQ(line.back(), '\n');
  EXPECT_THAT(text_of(warning("hello"), {}, kTime), HasSubstr(" warning hello\n"));
}

TEST_F(Log, IsJsonForPrograms) {
  const auto json = nlohmann::json::parse(json_of(fault_, book_.context_of(fault_), kTime));
  EXPECT_EQ(json["level"], "warning");
  EXPECT_EQ(json["component"], "device");
  EXPECT_EQ(json["port"], "vm0");
  EXPECT_EQ(json["client"], 4711);
  EXPECT_EQ(json["message"], fault_.line);
  EXPECT_FALSE(json["advice"].empty());
  EXPECT_FALSE(nlohmann::json::parse(json_of(warning("hello"), {}, kTime)).contains("port"));
}

TEST_F(Log, IsFieldsForTheJournal) {
  const std::string fields = fields_of(fault_, book_.context_of(fault_));
  EXPECT_THAT(fields, AllOf(HasSubstr("MESSAGE=vm0: receive"), HasSubstr("\nPRIORITY=4\n"),
                            HasSubstr("\nSYSLOG_IDENTIFIER=vmux\n"), HasSubstr("\nVMUX_COMPONENT=device\n"),
                            HasSubstr("\nVMUX_PORT=vm0\n"), HasSubstr("\nVMUX_CLIENT_PID=4711\n"),
                            HasSubstr("\nVMUX_ADVICE=")));
}

TEST_F(Log, KeepsItsLastLines) {
  for (std::size_t i = 0; i < LogBook::kLines + 2; ++i)
    book_.keep(std::to_string(i));
  EXPECT_EQ(book_.lines().size(), LogBook::kLines);
  EXPECT_EQ(book_.lines().front(), "2");
}

TEST(LogFormats, AreTheseFour) {
  EXPECT_EQ(parse_log_format("json"), LogFormat::json);
  EXPECT_EQ(parse_log_format("journal"), LogFormat::journal);
  EXPECT_EQ(parse_log_format("auto"), LogFormat::text);  // a test's standard error is no journal
  EXPECT_EQ(parse_log_format("xml"), std::nullopt);
}

// --- levels of components ---

std::vector<std::string> heard;

class LogLevels : public testing::Test {
 protected:
  void SetUp() override {
    heard.clear();
    set_log_record_sink(
        [](const LogRecord& record) {
          heard.push_back(std::string{record.component} + ": " + std::string{record.line});
        },
        LogLevel::warning);
  }
  void TearDown() override {
    set_log_level(*find_log_component("control"), std::nullopt);
    set_log_sink(nullptr, LogLevel::off);
  }
};

TEST_F(LogLevels, AreOfThePartThatALineComesFrom) {
  logf(LogLevel::info, "quiet");
  set_log_level(*find_log_component("control"), LogLevel::debug);
  logf(LogLevel::debug, "loud {}", 1);
  set_log_level(*find_log_component("control"), LogLevel::off);
  logf(LogLevel::error, "silenced");
  log_line(LogLevel::warning, "of none");
  set_log_level(*find_log_component("control"), std::nullopt);
  logf(LogLevel::warning, "as all");
  EXPECT_THAT(heard, testing::ElementsAre("control: loud 1", "other: of none", "control: as all"));
}

}  // namespace
}  // namespace vmux::control
