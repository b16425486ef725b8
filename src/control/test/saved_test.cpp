// SPDX-License-Identifier: BSD-3-Clause
// The running set as a file, and the methods about files: a daemon with models and backends of no real kind.
#include "control/config/saved.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "control/live/daemon.hpp"
#include "control/model/hardware.hpp"
#include "control/test/fake_catalogue.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::control {
namespace {

using testing::HasSubstr;

Json everything(const Inventory& inventory) {
  Json all = Json::array();
  for_each_kind([&]<class Spec>() {
    for (const Spec& spec : inventory.all<Spec>())
      all.push_back(to_json(spec));
  });
  return all;
}

TEST(Saved, RunningSetIsTheSameWhenItIsReadAgain) {
  DaemonSpec daemon;
  daemon.pollers.count = 2;
  Inventory inventory{fake::kCatalogue, daemon};
  ASSERT_TRUE(inventory.add(SwitchSpec{.name = kDefaultSwitch, .mac_age_s = 7}));
  ASSERT_TRUE(inventory.add(SwitchSpec{.name = "br0", .forward_bpdu = false, .group_forward_mask = 0x4000}));
  ASSERT_TRUE(inventory.add(UplinkSpec{.name = "up",
                                       .switch_name = "br0",
                                       .backend = "tap",
                                       .device = "tap0",
                                       .queues = 2,
                                       .vlan = {{}, {{{3, 4}}}, 5}}));
  PortSpec port{.name = "vm0", .model = "silent", .socket = "/tmp/a \"quoted\"\t\x7f#.sock", .switch_name = "br0"};
  port.access = {Account{"root", 0}, {}, 0660};
  port.link = Link::down;
  port.mtu = 1400;
  port.static_macs = {{MacAddress{{2, 0, 0, 0, 0, 1}}, {}}, {MacAddress{{2, 0, 0, 0, 0, 2}}, 9}};
  ASSERT_TRUE(inventory.add(port));
  ASSERT_TRUE(inventory.add(PortSpec{.name = "vm1", .model = "silent", .socket = "/tmp/vm1", .vlan = {7, {}, {}}}));
  ASSERT_TRUE(inventory.add(PortSpec{.name = "hw", .model = "device", .socket = "/tmp/hw", .device = "0000:08:00.0"}));
  Configuration configuration;
  const auto read = parse_configuration(to_toml(daemon, inventory), "saved", configuration);
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(configuration.daemon.pollers.count, 2u);
  Inventory again{fake::kCatalogue, configuration.daemon};
  for (const Step& step : configuration.steps)
    ASSERT_TRUE(rehearse(step, again)) << step.where;
  EXPECT_EQ(everything(again), everything(inventory));
}

TEST(Saved, SettingsOfTheDaemonAreTheSameToo) {
  Configuration given;
  ASSERT_TRUE(
      parse_configuration("[daemon]\nrpc='none'\nrpc_read='all'\nrpc_admin='user:0'\nrpc_mode='0660'\n"
                          "socket_group=0\nbase_mac='02:00:00:00:00:01'\ndoorbell='trap'\nlog_level='debug'\n"
                          "[pollers]\ncount=1\ncpus='0'\nbusy=true\nspin_us=7\nmin_sleep_us=8\nmax_sleep_us=9\n",
                          "given", given));
  Configuration again;
  const Inventory none{fake::kCatalogue, {}};
  ASSERT_TRUE(parse_configuration(to_toml(given.daemon, none), "saved", again));
  EXPECT_TRUE(again.steps.empty());
  EXPECT_TRUE(changed_values(given.daemon, again.daemon).empty());
  EXPECT_EQ(to_toml(again.daemon, none), to_toml(given.daemon, none));
}

class ADaemon : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("vmux-saved-" + std::to_string(::getpid()));
    std::filesystem::create_directory(directory_);
    write("[daemon]\nrpc='none'\n" + port("vm0") + port("vm1"));
    Configuration configuration;
    ASSERT_TRUE(load_configuration(file_, configuration));
    ASSERT_TRUE(settle(configuration.daemon));
    daemon_ = std::move(*Daemon::create(fake::kCatalogue, hardware_, std::move(configuration)));
    daemon_->set_file(file_, [this]() -> Outcome<Configuration> {
      Configuration again;
      if (auto read = load_configuration(file_, again); !read) return tl::unexpected<Problem>(read.error());
      if (auto settled = settle(again.daemon); !settled) return tl::unexpected<Problem>(settled.error());
      return again;
    });
  }
  void TearDown() override {
    daemon_.reset();
    std::filesystem::remove_all(directory_);
  }
  [[nodiscard]] std::string port(const std::string& name, const std::string& more = "") const {
    return "[[port]]\nname='" + name + "'\nmodel='silent'\nsocket='" + (directory_ / name).string() + "'\n" + more;
  }
  void write(const std::string& text) {
    file_ = directory_ / "vmux.toml";
    std::ofstream{file_} << text;
  }
  Outcome<Json> call(const std::string& method, const Json& params = Json::object()) {
    return daemon_->methods().call(method, params);
  }

  std::filesystem::path directory_;
  std::string file_;
  Hardware hardware_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(ADaemon, HandsOutAFileOfWhatItHas) {
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"vlan", 7}}));
  ASSERT_TRUE(call("log.level", {{"level", "error"}}));
  const Json got = call("config.get").value();
  EXPECT_EQ(got["file"], file_);
  EXPECT_THAT(got["text"].get<std::string>(), HasSubstr("vlan = 7\n"));
  EXPECT_THAT(got["text"].get<std::string>(), HasSubstr("\nlog_level = \"error\"  # trace,"));
  const auto same = call("config.diff", {{"text", got["text"]}});
  ASSERT_TRUE(same) << same.error().text;
  EXPECT_TRUE((*same)["calls"].empty());
  EXPECT_EQ((*same)["unchanged"], 2);
}

TEST_F(ADaemon, TellsWhatAFileWouldChangeAndReadsItsOwnAgain) {
  const auto vmm = std::move(*vfio_user::Client::connect(directory_ / "vm0"));
  write("[daemon]\nrpc='none'\nsocket_mode='0660'\n" + port("vm0", "mtu=1400\n") + port("vm2"));
  const auto diff = call("config.diff");
  ASSERT_TRUE(diff) << diff.error().text;
  EXPECT_EQ((*diff)["calls"][0], (Json{{"method", "port.remove"}, {"params", {{"name", "vm1"}}}}));
  EXPECT_EQ((*diff)["calls"][1], (Json{{"method", "port.set"}, {"params", {{"name", "vm0"}, {"mtu", 1400}}}}));
  EXPECT_EQ((*diff)["takes_restart"], Json{"socket_mode"});
  EXPECT_EQ(call("port.list")->size(), 2u);
  const auto done = call("config.reload");
  ASSERT_TRUE(done);
  EXPECT_EQ((*done)["removed"], 1);
  EXPECT_EQ((*done)["added"], 1);
  EXPECT_EQ((*done)["changed"], 1);
  EXPECT_TRUE((*done)["failed"].empty());
  EXPECT_EQ(call("port.show", {{"name", "vm0"}}).value()["mtu"], 1400);
  EXPECT_EQ(call("port.show", {{"name", "vm0"}}).value()["connected"], true);
}

TEST_F(ADaemon, ReadsNoFileThatIsWrongAndChangesNothing) {
  const Json before = call("port.list").value();
  write("[daemon]\nrpc='none'\n[[port]]\nname='vm0'\nvlan=5000\n");
  for (const char* method : {"config.diff", "config.reload"}) {
    const auto done = call(method);
    ASSERT_FALSE(done);
    EXPECT_THAT(done.error().text, HasSubstr("vmux.toml:"));
  }
  const auto text = call("config.diff", {{"text", "[[port]]\nname='x'\n"}, {"name", "mine.toml"}});
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().field, "text");
  EXPECT_THAT(text.error().text, HasSubstr("mine.toml:1:1: [[port]]: "));
  EXPECT_EQ(call("port.list").value(), before);
}

TEST_F(ADaemon, WithoutAFileHasNoneToReadAgain) {
  daemon_->set_file("", nullptr);
  EXPECT_EQ(call("config.reload").error().kind, ProblemKind::not_found);
  EXPECT_TRUE(call("config.get").value()["file"].is_null());
  daemon_->set_file("/dev/null", [] { return Configuration{}; });
  EXPECT_EQ(call("config.reload").error().kind, ProblemKind::not_supported);
}

}  // namespace
}  // namespace vmux::control
