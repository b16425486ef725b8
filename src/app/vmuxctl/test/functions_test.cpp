// SPDX-License-Identifier: BSD-3-Clause
// vfe-vhostd's commands: the calls that they make, and its JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "app/vmuxctl/local/commands.hpp"

namespace vmux::app {
namespace {

using control::Json;
using control::Problem;
using control::ProblemKind;
using testing::HasSubstr;

/// A machine with a physical function, a virtual one of it that is a card, a disk, and a NIC of another make; and a
/// daemon that serves the first two.
class Functions : public testing::Test {
 protected:
  void SetUp() override {
    sys_ = std::filesystem::temp_directory_path() / ("vmuxctl-functions-" + std::to_string(::getpid()));
    device("0000:01:00.0", "0x1af4", "0x1041");
    device("0000:01:10.0", "0x1af4", "0x1041");
    std::filesystem::create_directory_symlink("../0000:01:00.0", sys_ / "bus/pci/devices/0000:01:10.0/physfn");
    device("0000:02:00.0", "0x1af4", "0x1001");
    std::ofstream{sys_ / "bus/pci/devices/0000:02:00.0/subsystem_device"} << "0x0002\n";
    device("0000:03:00.0", "0x8086", "0x1572");
    ports_ = Json::parse(R"([
      {"name":"vm0","model":"vdpa-net","device":"0000:01:10.0","socket":"/s","serving":"direct","function_queues":2,
       "function_ring_size":256,"function_vectors":5,"function_features":"0x100000000","mac":"02:00:00:00:00:01","mtu":null},
      {"name":"vm1","model":"passthrough","device":"0000:03:00.0","socket":"/t"}])");
  }
  void TearDown() override { std::filesystem::remove_all(sys_); }
  void device(const std::string& address, const char* vendor, const char* id) const {
    const auto at = sys_ / "bus/pci/devices" / address;
    std::filesystem::create_directories(at);
    std::ofstream{at / "vendor"} << vendor << '\n';
    std::ofstream{at / "device"} << id << '\n';
  }
  Json answer(const std::vector<std::string>& words) {
    const auto call = parse_call(words);
    EXPECT_TRUE(call) << call.error().err;
    const AskAny ask = [this](const std::string& method, const Json& params) -> control::Outcome<Json> {
      calls_.emplace_back(method, params);
      if (method == "port.list") return ports_;
      if (refusal_) return tl::unexpected<Problem>(*refusal_);
      return Json::object();
    };
    return call->command->name == "vf" ? vf_answer(*call, ask, sys_) : mgmtpf_answer(*call, ask, sys_);
  }
  std::filesystem::path sys_;
  Json ports_;
  std::optional<Problem> refusal_;
  std::vector<std::pair<std::string, Json>> calls_;
};

TEST_F(Functions, ThatAreAddedArePorts) {
  EXPECT_EQ(answer({"vf", "-a", "01:10.0", "-v", "/tmp/a", "-u", "1-2"})["errno"], 0);
  EXPECT_EQ(calls_.back().first, "port.add");
  EXPECT_EQ(
      calls_.back().second,
      (Json{{"name", "vf-0000-01-10.0"}, {"model", "vdpa-net"}, {"device", "0000:01:10.0"}, {"socket", "/tmp/a"}}));
}

TEST_F(Functions, OfTransitionalDisksAreDisksAtTheUsualSocket) {
  EXPECT_EQ(answer({"vf", "-a", "0000:02:00.0"})["errstr"], "Success");
  EXPECT_EQ(calls_.back().second["model"], "vdpa-blk");
  EXPECT_EQ(calls_.back().second["socket"], "/tmp/vf-0000:02:00.0");
}

TEST_F(Functions, ThatCannotBeHaveANumberAndASentence) {
  EXPECT_EQ(answer({"vf", "-a", "0000:09:00.0"})["errno"], -1003);
  EXPECT_EQ(answer({"vf", "-a", "nonsense"})["errno"], -1003);
  EXPECT_EQ(answer({"vf", "-a", "03:00.0"})["errno"], -1009);
  EXPECT_TRUE(calls_.empty());
  refusal_ = Problem{ProblemKind::already_exists, "device", "it is that of port vm0"};
  EXPECT_EQ(answer({"vf", "-a", "01:10.0"}), (Json{{"errno", -1014}, {"errstr", "it is that of port vm0"}}));
  refusal_->field = "socket";
  EXPECT_EQ(answer({"vf", "-a", "01:10.0"})["errno"], -1038);
  refusal_ = Problem{ProblemKind::host, "device", "it is bound to igb"};
  EXPECT_EQ(answer({"vf", "-a", "01:10.0"})["errno"], -1009);
}

TEST_F(Functions, AreRemovedByTheirAddress) {
  EXPECT_EQ(answer({"vf", "-r", "1:10.0"})["errno"], 0);
  EXPECT_EQ(calls_.back(), (std::pair<std::string, Json>{"port.remove", {{"name", "vm0"}}}));
  EXPECT_EQ(answer({"vf", "-r", "02:00.0"})["errno"], -1003);
  EXPECT_EQ(answer({"vf", "-r", "03:00.0"})["errno"], -1003);  // passed through, which is another matter
}

TEST_F(Functions, AreShownWithNumbersAsNumbers) {
  const Json shown = answer({"vf", "-i", "01:10.0"});
  EXPECT_EQ(shown["vf"], "0000:01:10.0");
  EXPECT_EQ(shown["queue_num"], 2);
  EXPECT_EQ(shown["queue_size"], 256);
  EXPECT_EQ(shown["msix_num"], 5);
  EXPECT_EQ(shown["configured"], true);
  EXPECT_EQ(shown["socket_file"], "/s");
  EXPECT_EQ(shown["device_feature"]["value"], "0x100000000");
}

TEST_F(Functions, AreListedByTheirOwner) {
  EXPECT_EQ(answer({"vf", "-l", "01:00.0"})["devices"].size(), 1u);
  EXPECT_EQ(answer({"vf", "-l", "02:00.0"})["errno"], -1003);
}

TEST_F(Functions, RunOrDoNot) {
  EXPECT_EQ(answer({"vf", "-d", "01:10.0", "-o", "6"})["lm_status"], "running");
  ports_[0]["serving"] = "stopped";
  EXPECT_EQ(answer({"vf", "-d", "01:10.0", "-o", "6"})["lm_status"], "quiesced");
  EXPECT_EQ(answer({"vf", "-d", "01:10.0", "-o", "2"})["errno"], -95);
}

TEST_F(Functions, HaveOwnersThatAreLookedAt) {
  EXPECT_EQ(answer({"mgmtpf", "-a", "01:00.0"})["errno"], 0);
  EXPECT_EQ(answer({"mgmtpf", "-a", "01:10.0"})["errno"], -1001);  // a virtual one
  EXPECT_EQ(answer({"mgmtpf", "-a", "09:00.0"})["errno"], -1001);
  EXPECT_EQ(answer({"mgmtpf", "-l"})["devices"], (Json::array({{{"pf", "0000:01:00.0"}}})));
  EXPECT_EQ(answer({"mgmtpf", "-r", "01:00.0"})["errno"], -1013);
  ports_ = Json::array();
  EXPECT_EQ(answer({"mgmtpf", "-r", "01:00.0"})["errno"], 0);
  EXPECT_EQ(answer({"mgmtpf", "-l"})["errno"], -1001);
}

TEST_F(Functions, OfWhichNothingIsAskedAreAUsageError) {
  const AskAny nobody = [](const std::string&, const Json&) -> control::Outcome<Json> { return Json::array(); };
  const Out drop = [](const std::string&) { return true; };
  for (const char* const word : {"vf", "mgmtpf"}) {
    const Call call = *parse_call({word});
    const Exit exit = call.command->run(call, nobody, drop);
    EXPECT_EQ(exit.status, kUsageError);
    EXPECT_THAT(exit.err, HasSubstr("-a"));
  }
}

TEST_F(Functions, EndWithAStatus) {
  const AskAny empty = [](const std::string&, const Json&) -> control::Outcome<Json> { return Json::array(); };
  std::string said;
  const Out keep = [&said](const std::string& text) {
    said += text;
    return true;
  };
  const Call call = *parse_call({"mgmtpf", "-l"});
  EXPECT_EQ(call.command->run(call, empty, keep).status, kFailure);
  EXPECT_EQ(Json::parse(said)["errno"], -1001);
}

}  // namespace
}  // namespace vmux::app
