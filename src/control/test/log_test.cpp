// SPDX-License-Identifier: BSD-3-Clause
// What a log line is beside its text, and how it is written for whom.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
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

struct AdviceRow {
  const char *line, *advice;
};
class LogAdviceOf : public testing::TestWithParam<AdviceRow> {};
TEST_P(LogAdviceOf, ALineThatIsWrittenSomewhereIsWhatFitsIt) {
  EXPECT_THAT(advice_for(GetParam().line, "vm0"), HasSubstr(GetParam().advice));
}
INSTANTIATE_TEST_SUITE_P(
    Rows, LogAdviceOf,
    testing::Values(
        AdviceRow{"vm0: client gone: it speaks vhost-user, and this socket is one of vfio-user", "vm-args vm0"},
        AdviceRow{"vm0: front end gone: it speaks vfio-user, and this socket is one of vhost-user", "vm-args vm0"},
        AdviceRow{"vm0: transmit stopped until a reset: its ring is outside guest memory", "set down and up"},
        AdviceRow{"vm0: receive queue 3 stopped: its ring is outside guest memory", "set down and up"},
        AdviceRow{"vm0: the admin queue cannot be read or written", "port dma vm0"},
        AdviceRow{"vm0: a control queue cannot be read or written", "port dma vm0"},
        AdviceRow{"vm0: memory at 0x1000 is reached by message only: it came without a descriptor", "share=on"},
        AdviceRow{"vm0: front end gone: its memory file was truncated", "start the VM anew"},
        AdviceRow{"vm0: client gone: the client truncated its memory file under the device", "start the VM anew"},
        AdviceRow{"vm0: 0000:01:00.0 reports a fatal error", "AER"},
        AdviceRow{"vm0: the host wants 0000:01:00.0 back (request 1)", "port remove vm0"},
        AdviceRow{"vm0: 0000:01:00.0 cannot be had: it is in use", "host check"},
        AdviceRow{"vm0: request 5 refused: its flags cannot be (0 more before)", "trace vm0"},
        // Others that have some of these words.
        AdviceRow{"vm0: a front end was sent away: it wants more than there is", "doctor vm0"},
        AdviceRow{"vm0: 0000:01:00.0 is not reset, only stopped: no function-level reset", "doctor vm0"},
        AdviceRow{"vm0: ring 1 stands still: the kernel refused it", "doctor vm0"}));

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

TEST_F(LogLevels, DoNotMatterToALineForWhichThereIsNoMemory) {
  set_log_record_sink([](const LogRecord&) { throw std::bad_alloc{}; }, LogLevel::warning);
  log_line(LogLevel::warning, "lost");
  logf(LogLevel::warning, "lost as well");
}

}  // namespace
}  // namespace vmux::control
