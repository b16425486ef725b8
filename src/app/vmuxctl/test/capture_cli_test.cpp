// SPDX-License-Identifier: BSD-3-Clause
// vmuxctl capture and vmux-extcap, without a daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "app/vmuxctl/capture/compile.hpp"
#include "app/vmuxctl/capture/extcap.hpp"

namespace vmux::app {
namespace {

using control::Json;
using control::Outcome;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(CaptureFilter, IsCompiledAsADaemonTakesIt) {
  EXPECT_EQ(compile_filter("ip"), "4,40 0 0 12,21 0 1 2048,6 0 0 262144,6 0 0 0");
  EXPECT_THAT(compile_filter("tcp port 80").value(), StartsWith("20,40 0 0 12,"));
  EXPECT_EQ(compile_filter(""), "1,6 0 0 262144");
}

TEST(CaptureFilter, ThatIsNoneIsToldAsASentence) {
  EXPECT_THAT(compile_filter("tcp prot 80").error(), HasSubstr("'tcp prot 80' is no filter: "));
  std::string hosts = "host 10.0.0.1";
  for (int i = 2; i < 200; ++i)
    hosts += " or host 10.0.0." + std::to_string(i);
  EXPECT_THAT(compile_filter(hosts).error(), HasSubstr("steps for each frame"));
}

/// A daemon with one capture, which says `frames` and ends.
struct FakeDaemon {
  std::string frames = "frames", end = "count";
  bool answers_show = true;
  Json started;
  Outcome<Json> operator()(const std::string& method, const Json& params, int file) {
    if (method == kCapture) {
      started = params;
      if (params.value("name", "") == "nobody")
        return control::refuse(control::ProblemKind::not_found, "name", "there is none");
      EXPECT_EQ(::send(file, frames.data(), frames.size(), 0), static_cast<ssize_t>(frames.size()));
      return Json{{"capture", 7}};
    }
    if (method == "capture.show" && answers_show) {
      EXPECT_EQ(params, (Json{{"capture", 7}}));
      return Json{{"capture", 7}, {"name", "vm0"}, {"frames", 2}, {"missed", 1}, {"end", end}, {"why", "so it is"}};
    }
    return control::refuse(control::ProblemKind::host, "", "nobody answers");
  }
};

class CaptureCommand : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove(file_); }
  void TearDown() override { std::filesystem::remove(file_); }
  Exit run(std::vector<std::string> words) {
    words.insert(words.begin(), "capture");
    words.insert(words.end(), {"-w", file_});
    const auto call = parse_call(words);
    EXPECT_TRUE(call) << call.error().err;
    return capture(*call, std::ref(daemon_));
  }
  [[nodiscard]] std::string content() const {
    std::ifstream file{file_};
    return {std::istreambuf_iterator<char>{file}, {}};
  }
  FakeDaemon daemon_;
  std::string file_ =
      (std::filesystem::temp_directory_path() / ("vmux-capture-" + std::to_string(::getpid()))).string();
};

TEST_F(CaptureCommand, WritesWhatComesAndTellsHowItEnded) {
  const Exit done = run({"vm0", "--count", "2", "--snaplen", "64", "--dropped", "--direction", "in", "--filter", "ip"});
  EXPECT_EQ(done.status, 0);
  EXPECT_EQ(done.err, "vmuxctl: 2 frames of vm0, 1 missed: so it is\n");
  EXPECT_EQ(content(), "frames");
  EXPECT_EQ(daemon_.started, (Json{{"name", "vm0"},
                                   {"direction", "in"},
                                   {"snaplen", 64},
                                   {"count", 2},
                                   {"dropped", true},
                                   {"filter", "4,40 0 0 12,21 0 1 2048,6 0 0 262144,6 0 0 0"},
                                   {"filter_text", "ip"}}));
}

TEST_F(CaptureCommand, FailsWhenItEndedAsNobodyWanted) {
  daemon_.end = "removed";
  EXPECT_EQ(run({"vm0"}).status, kFailure);
  daemon_.answers_show = false;
  EXPECT_THAT(run({"vm0"}).err, HasSubstr("without this capture; what came until then is in " + file_));
}

TEST_F(CaptureCommand, LeavesNoFileWhenItCannotBegin) {
  EXPECT_EQ(run({"nobody"}).status, kFailure);
  EXPECT_FALSE(std::filesystem::exists(file_));
  std::ofstream{file_} << "an older one";
  EXPECT_EQ(run({"nobody"}).status, kFailure);
  EXPECT_EQ(content(), "an older one");
  EXPECT_EQ(run({"vm0"}).status, 0);
  EXPECT_EQ(content(), "frames");
}

TEST_F(CaptureCommand, TellsProgramsHowItEnded) {
  const Json told = Json::parse(run({"vm0", "--json"}).out);
  EXPECT_EQ(told["frames"], 2);
  EXPECT_EQ(told["bytes"], 6);
}

TEST_F(CaptureCommand, LeavesAHangupAloneThatNohupIgnores) {
  const auto before = std::signal(SIGHUP, SIG_IGN);
  EXPECT_EQ(run({"vm0"}).status, 0);
  EXPECT_EQ(std::signal(SIGHUP, before), SIG_IGN);
}

TEST_F(CaptureCommand, TakesNoFilterThatIsNone) {
  const Exit done = run({"vm0", "--filter", "tcp prot"});
  EXPECT_EQ(done.status, kUsageError);
  EXPECT_THAT(done.err, HasSubstr("--filter: 'tcp prot' is no filter"));
  EXPECT_TRUE(daemon_.started.is_null());
}

// --- vmux-extcap ---

Exit wireshark(const std::vector<std::string>& words) {
  return extcap(words, [](const std::string& rpc) -> AskWithFile {
    return [rpc](const std::string& method, const Json&, int) -> Outcome<Json> {
      if (rpc == "/none") return control::refuse(control::ProblemKind::host, "", "nobody answers");
      if (method == "port.list") {
        return Json::parse(R"([{"name": "vm0", "switch": "br0"}, {"name": "own"}, {"name": "br0", "switch": "br0"}])");
      }
      if (method == "uplink.list") return Json::parse(R"([{"name": "up", "switch": "br0"}])");
      return Json::parse(R"([{"name": "br0"}, {"name": "other"}])");
    };
  });
}

TEST(Extcap, ListsWhatHasFrames) {
  const Exit listed = wireshark({"--extcap-interfaces", "--extcap-version=4.0", "--rpc", "/some"});
  EXPECT_EQ(listed.status, 0);
  EXPECT_THAT(listed.out, StartsWith("extcap {version="));
  EXPECT_THAT(listed.out, HasSubstr("\ninterface {value=vmux-vm0}{display=vMux port vm0 on switch br0}\n"));
  EXPECT_THAT(listed.out, HasSubstr("\ninterface {value=vmux-up}{display=vMux uplink up on switch br0}\n"));
  EXPECT_THAT(listed.out, HasSubstr("\ninterface {value=vmux-other}{display=vMux switch other}\n"));
  EXPECT_THAT(listed.out, HasSubstr("vMux port br0"));
  EXPECT_THAT(listed.out, Not(HasSubstr("vMux switch br0")));  // a port has the name
  EXPECT_THAT(listed.out, Not(HasSubstr("own")));
}

TEST(Extcap, ListsNothingWhereNoDaemonIs) {
  const Exit listed = wireshark({"--extcap-interfaces", "--rpc", "/none"});
  EXPECT_EQ(listed.status, 0);
  EXPECT_THAT(listed.out, StartsWith("extcap {version="));
  EXPECT_THAT(listed.out, Not(HasSubstr("interface {")));
}

TEST(Extcap, TellsLinkTypeOptionsAndWhetherAFilterIsOne) {
  EXPECT_EQ(wireshark({"--extcap-interface=vmux-vm0", "--extcap-dlts"}).out,
            "dlt {number=1}{name=EN10MB}{display=Ethernet}\n");
  const Exit options = wireshark({"--extcap-interface", "vmux-vm0", "--extcap-config"});
  for (const char* each : {"{call=--snaplen}", "{call=--direction}", "{call=--dropped}", "{call=--rpc}"})
    EXPECT_THAT(options.out, HasSubstr(each));
  EXPECT_EQ(wireshark({"--extcap-interface=vmux-vm0", "--extcap-capture-filter=tcp port 80"}).out, "");
  EXPECT_THAT(wireshark({"--extcap-interface=vmux-vm0", "--extcap-capture-filter=tcp prot"}).out,
              HasSubstr("is no filter"));
}

TEST(Extcap, RefusesWhatIsNoneOfItsInterfaces) {
  EXPECT_EQ(wireshark({"--extcap-interface=eth0", "--extcap-dlts"}).status, kUsageError);
  EXPECT_EQ(wireshark({"--extcap-nonsense"}).status, kUsageError);
  EXPECT_EQ(wireshark({}).status, kUsageError);
  EXPECT_EQ(wireshark({"--help"}).status, 0);
}

}  // namespace
}  // namespace vmux::app
