// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/local/commands.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace vmux::app {
namespace {

using control::Json;
using testing::HasSubstr;

TEST(Settings, AreKeysWithValuesOfTheirForm) {
  const auto call = parse_call({"port", "set", "vm0", "vlan=10", "link=down", "mtu=", "if-generation=x", "socket=./a"});
  ASSERT_TRUE(call) << call.error().err;
  EXPECT_EQ(call->command->method, "port.set");
  EXPECT_EQ(call->params["name"], "vm0");
  EXPECT_EQ(call->params["vlan"], 10);
  EXPECT_EQ(call->params["link"], "down");
  EXPECT_TRUE(call->params["mtu"].is_null());
  EXPECT_EQ(call->params["if_generation"], "x");  // told by the daemon
  EXPECT_EQ(call->params["socket"].get<std::string>().front(), '/');
}

TEST(Settings, ThatAreNoneAreRefused) {
  for (const char* odd : {"vlan", "=7", "name=vm1"}) {
    const auto call = parse_call({"port", "set", "vm0", odd});
    ASSERT_FALSE(call) << odd;
    EXPECT_EQ(call.error().status, 2);
  }
  EXPECT_FALSE(parse_call({"port", "set", "vm0", "vlan=7", "vlan=8"}));
  EXPECT_FALSE(parse_call({"port", "set", "vm0"}));
}

TEST(Settings, AreInTheHelp) {
  const auto call = parse_call({"port", "set", "--help"});
  ASSERT_FALSE(call);
  EXPECT_THAT(call.error().out, HasSubstr("* vlan"));
  EXPECT_THAT(call.error().out, HasSubstr("  queues"));
}

/// A daemon that has one answer, and remembers what it was asked.
struct OneAnswer {
  Json answer;
  std::vector<std::pair<std::string, Json>> calls = {};
  AskAny ask = [this](const std::string& method, const Json& params) -> control::Outcome<Json> {
    calls.emplace_back(method, params);
    return answer;
  };
};
const Out kNobody = [](const std::string&) { return false; };

Call parsed(const std::vector<std::string>& words) {
  auto call = parse_call(words);
  EXPECT_TRUE(call) << call.error().err;
  EXPECT_TRUE(call->runs);
  return *call;
}

class Files : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("vmuxctl-local-" + std::to_string(::getpid()));
    std::filesystem::create_directory(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::string path(const std::string& name) const { return directory_ / name; }
  void write(const std::string& name, const std::string& text) const { std::ofstream{path(name)} << text; }
  [[nodiscard]] std::string content(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream{path(name)}.rdbuf();
    return text.str();
  }
  std::filesystem::path directory_;
};

TEST_F(Files, SavedConfigurationTakesThePlaceOfTheFileOrOfWhatALinkLeadsTo) {
  OneAnswer daemon{{{"text", "[daemon]\n"}, {"file", path("own.toml")}}};
  const Exit saved = save_configuration(parsed({"config", "save"}), daemon.ask, kNobody);
  EXPECT_EQ(saved.status, 0) << saved.err;
  EXPECT_EQ(content("own.toml"), "[daemon]\n");
  std::filesystem::create_symlink("own.toml", path("link.toml"));
  daemon.answer["text"] = "[pollers]\n";
  EXPECT_EQ(save_configuration(parsed({"config", "save", path("link.toml")}), daemon.ask, kNobody).status, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(path("link.toml")));
  EXPECT_EQ(content("own.toml"), "[pollers]\n");
  EXPECT_EQ(save_configuration(parsed({"config", "save", "-"}), daemon.ask, kNobody).out, "[pollers]\n");
  EXPECT_EQ(save_configuration(parsed({"config", "save", "/proc/x/y"}), daemon.ask, kNobody).status, kFailure);
  daemon.answer["file"] = nullptr;
  EXPECT_EQ(save_configuration(parsed({"config", "save"}), daemon.ask, kNobody).status, kUsageError);
}

TEST_F(Files, ComparedAreReadHere) {
  OneAnswer daemon{Json::parse(R"({"removed":0,"added":0,"changed":1,"unchanged":2,"kept":[],"failed":[],
      "takes_restart":["rpc"],"calls":[{"method":"port.set","params":{"name":"vm0","vlan":7,"mtu":null}}]})")};
  write("mine.toml", "[daemon]\n");
  const Exit exit = compare_configuration(parsed({"config", "diff", path("mine.toml")}), daemon.ask, kNobody);
  EXPECT_EQ(exit.out, "port.set vm0 vlan=7 mtu=\ntakes a restart: rpc\n0 removed, 0 added, 1 changed, 2 unchanged\n");
  EXPECT_EQ(daemon.calls.back().second, (Json{{"text", "[daemon]\n"}, {"name", path("mine.toml")}}));
  EXPECT_EQ(compare_configuration(parsed({"config", "diff", path("none")}), daemon.ask, kNobody).status, kFailure);
  EXPECT_EQ(compare_configuration(parsed({"config", "diff", directory_}), daemon.ask, kNobody).status, kFailure);
  EXPECT_EQ(compare_configuration(parsed({"config", "diff"}), daemon.ask, kNobody).status, 0);
  EXPECT_EQ(daemon.calls.back().second, Json::object());
}

TEST_F(Files, OfCallsAreMadeAsOneBatch) {
  OneAnswer daemon{{{"results", {1, 2}}}};
  write("calls.json", R"([{"method":"port.remove","params":{"name":"vm0"}}])");
  const Exit exit = make_batch(parsed({"batch", path("calls.json"), "--dry-run"}), daemon.ask, kNobody);
  EXPECT_EQ(exit.out, "2 calls made\n");
  EXPECT_EQ(daemon.calls.back().first, "batch");
  EXPECT_EQ(daemon.calls.back().second["calls"][0]["method"], "port.remove");
  EXPECT_EQ(daemon.calls.back().second["dry_run"], true);
  for (const char* odd : {"{", "{}", "7"}) {
    write("odd.json", odd);
    EXPECT_EQ(make_batch(parsed({"batch", path("odd.json")}), daemon.ask, kNobody).status, kUsageError) << odd;
  }
  write("deep.json", std::string(10'000, '['));
  EXPECT_EQ(make_batch(parsed({"batch", path("deep.json")}), daemon.ask, kNobody).status, kUsageError);
  EXPECT_EQ(daemon.calls.size(), 1u);
}

TEST(ShortNumber, HasFourCharactersAtMost) {
  for (const auto& [number, text] : {std::pair{0.0, "0"},
                                     {999.4, "999"},
                                     {999.5, "1.0k"},
                                     {9949, "9.9k"},
                                     {9950, "10k"},
                                     {123'456, "123k"},
                                     {999'499, "999k"},
                                     {1e6, "1.0M"},
                                     {25e9, "25G"},
                                     {1.5e12, "1.5T"}})
    EXPECT_EQ(short_number(number), text);
}

Json stats(const char* name, std::uint64_t frames, std::uint64_t bytes, std::uint64_t room, std::uint64_t filtered) {
  return {{"name", name},
          {"connected", true},
          {"counters",
           {{"rx_frames", frames},
            {"rx_bytes", bytes},
            {"tx_frames", 0},
            {"tx_bytes", 0},
            {"drop_no_room", room},
            {"drop_filtered", filtered}}}};
}

TEST(Rates, AreWhatHappenedEachSecond) {
  const Json before{stats("vm0", 100, 1000, 0, 1), stats("gone", 1, 1, 1, 1)};
  const Json now{stats("vm0", 300, 5000, 10, 5), stats("new", 1, 1, 1, 1)};
  const Json rates = rates_of(before, now, 2);
  ASSERT_EQ(rates.size(), 1u);
  EXPECT_EQ(rates[0]["rx_fps"], 100);
  EXPECT_EQ(rates[0]["rx_bps"], 16'000);
  EXPECT_EQ(rates[0]["drops"], 7);
  EXPECT_EQ(rates[0]["why"], "no_room");
  EXPECT_EQ(rates_of(now, before, 2)[0]["rx_fps"], 0);  // it was removed and added: it counts anew
}

TEST(Rates, FitEightyColumns) {
  Json before = Json::array(), now = Json::array();
  for (const char* name : {"sixteen_letters1", "b"}) {
    before.push_back(stats(name, 0, 0, 0, 0));
    now.push_back(stats(name, 123'456'789'012, 123'456'789'012, 987'654, 3));
  }
  std::istringstream lines{render(table_of_rates(rates_of(before, now, 1)))};
  for (std::string line; std::getline(lines, line);)
    EXPECT_LE(line.size(), 80u) << line;
}

TEST(Rates, AreSortedByAnyColumn) {
  const Json rates{{{"name", "b"}, {"rx_bps", 1}, {"tx_bps", 5}, {"drops", 0}},
                   {{"name", "a"}, {"rx_bps", 3}, {"tx_bps", 0}, {"drops", 9}}};
  const auto first = [&rates](const char* column) { return (*sorted_rates(rates, column))[0]["name"]; };
  EXPECT_EQ(first("name"), "a");
  EXPECT_EQ(first("rx_bps"), "a");
  EXPECT_EQ(first("bps"), "b");
  EXPECT_EQ(first("drops"), "a");
  EXPECT_FALSE(sorted_rates(rates, "colour"));
}

TEST(Top, ShowsTheBusiestOnTopUntilNobodyReads) {
  OneAnswer daemon{Json::array({stats("vm0", 1, 1, 0, 0)})};
  std::string shown;
  Call call = parsed({"top", "--sort", "drops", "--times", "1"});
  const Exit exit = show_top(call, daemon.ask, [&shown](const std::string& text) {
    shown += text;
    return true;
  });
  EXPECT_EQ(exit.status, 0);
  EXPECT_THAT(shown, testing::StartsWith("vmux: 1 ports, 0 frames/s, 0bit/s, by drops\n"));
  EXPECT_THAT(shown, HasSubstr("vm0"));
  EXPECT_EQ(show_top(parsed({"top", "--sort", "colour"}), daemon.ask, kNobody).status, kUsageError);
  EXPECT_EQ(show_top(parsed({"top", "--interval", "0"}), daemon.ask, kNobody).status, kUsageError);
  EXPECT_EQ(watch_ports(parsed({"port", "stats", "--watch"}), daemon.ask, kNobody).status, 0);
  EXPECT_FALSE(parse_call({"port", "stats"})->runs);
}

TEST(Completion, HasEveryCommandAndOption) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = completion_for(shell);
    const bool is_fish = shell == std::string_view{"fish"};
    for (const Command& command : commands()) {
      EXPECT_THAT(script, HasSubstr(command.name)) << shell;
      for (const Argument& argument : command.arguments) {
        if (argument.option.rfind("--", 0) != 0) continue;
        EXPECT_THAT(script, HasSubstr(is_fish ? "-l " + argument.option.substr(2) : argument.option)) << shell;
      }
    }
    EXPECT_THAT(script, HasSubstr("vlan=")) << shell;
  }
  EXPECT_EQ(completion_for("csh"), "");
}

/// What bash offers for the last of `words`.
std::string offered(const std::string& words) {
  const std::string script = completion_for("bash") + "\nvmuxctl() { echo vm0 vm1; }\nCOMP_WORDS=(" + words +
                             ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_vmuxctl\necho ${COMPREPLY[@]}\n";
  const std::string path = std::filesystem::temp_directory_path() / ("vmuxctl-bash-" + std::to_string(::getpid()));
  std::ofstream{path} << script;
  std::FILE* const out = ::popen(("bash " + path).c_str(), "r");
  std::string text(4096, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), out));
  ::pclose(out);
  std::filesystem::remove(path);
  return text;
}

TEST(Completion, OffersWhatCanFollow) {
  EXPECT_EQ(offered("vmuxctl upl"), "uplink\n");
  EXPECT_EQ(offered("vmuxctl port se"), "set\n");
  EXPECT_EQ(offered("vmuxctl --rpc /x port add --soc"), "--socket --socket-owner --socket-group --socket-mode\n");
  EXPECT_EQ(offered("vmuxctl port set vm"), "vm0 vm1\n");
  EXPECT_EQ(offered("vmuxctl port set vm0 vl"), "vlan= vlan_map=\n");
  EXPECT_EQ(offered("vmuxctl rule add r --src"), "--src-mac --src-ip --src-port\n");
  EXPECT_EQ(offered("vmuxctl vm-args v"), "vm0 vm1\n");
}

}  // namespace
}  // namespace vmux::app
