// SPDX-License-Identifier: BSD-3-Clause
// Several changes, all or none.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "control/live/controller.hpp"
#include "control/model/hardware.hpp"
#include "control/rpc/methods.hpp"
#include "control/test/fake_catalogue.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::control {
namespace {

class ABatch : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("vmux-batch-" + std::to_string(::getpid()));
    std::filesystem::create_directory(directory_);
    controller_ = std::move(*Controller::create(fake::kCatalogue, hardware_, events_, {}));
    add_methods(methods_, *controller_);
    ASSERT_TRUE(methods_.call("port.add", port("vm0")["params"]));
  }
  void TearDown() override {
    controller_.reset();
    std::filesystem::remove_all(directory_);
  }
  [[nodiscard]] Json port(const std::string& name) const {
    return {{"method", "port.add"},
            {"params", {{"name", name}, {"model", "silent"}, {"socket", (directory_ / name).string()}}}};
  }
  static Json set(const std::string& name, const char* key, Json value) {
    return {{"method", "port.set"}, {"params", {{"name", name}, {key, std::move(value)}}}};
  }
  static Json remove(const std::string& name) { return {{"method", "port.remove"}, {"params", {{"name", name}}}}; }
  Outcome<Json> batch(Json calls) { return methods_.call("batch", {{"calls", std::move(calls)}}); }
  /// What there is, but for the generations.
  Json everything() {
    Json all{methods_.call("port.list", {}).value(), methods_.call("switch.list", {}).value()};
    for (Json& list : all) {
      for (Json& one : list)
        one.erase("generation");
    }
    return all;
  }

  std::filesystem::path directory_;
  Hardware hardware_;
  EventRing events_;
  std::unique_ptr<Controller> controller_;
  Methods methods_;
};

TEST_F(ABatch, IsMadeInItsOrder) {
  const auto done = batch({Json{{"method", "switch.add"}, {"params", {{"name", "br0"}}}}, port("vm1"),
                           set("vm1", "switch", "br0"), set("vm0", "vlan", 7), remove("vm0"), port("vm0")});
  ASSERT_TRUE(done) << done.error().text;
  EXPECT_EQ((*done)["results"].size(), 6u);
  EXPECT_EQ((*done)["results"][2]["switch"], "br0");
  EXPECT_EQ((*done)["generation"], controller_->generation());
  EXPECT_FALSE(methods_.call("port.show", {{"name", "vm0"}}).value().contains("vlan"));
}

TEST_F(ABatch, ThatTheRulesForbidMakesNothing) {
  const Json before = everything();
  const auto generation = controller_->generation();
  const auto done = batch({port("vm1"), set("vm1", "vlan", 7), remove("vm9")});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind, ProblemKind::not_found);
  EXPECT_EQ(done.error().text, "[2], port.remove vm9: name: there is no port named vm9");
  EXPECT_EQ(everything(), before);
  EXPECT_EQ(controller_->generation(), generation);
}

TEST_F(ABatch, ThatTheMachineRefusesIsUndone) {
  ASSERT_TRUE(methods_.call("port.set", {{"name", "vm0"}, {"vlan", 3}}));
  const Json before = everything();
  Json bad = port("vm2");
  bad["params"]["socket"] = "/nonexistent/vm2";
  const auto done = batch({port("vm1"), set("vm0", "vlan", nullptr), set("vm0", "mtu", 1400), remove("vm0"), bad});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().field, "calls");
  EXPECT_EQ(everything(), before);
  EXPECT_TRUE(std::filesystem::is_socket(directory_ / "vm0"));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "vm1"));
}

TEST_F(ABatch, TakesNicsFromVmsAtItsEndOnly) {
  const auto vmm = std::move(*vfio_user::Client::connect(directory_ / "vm0"));
  const auto refused = batch({remove("vm0"), port("vm1")});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ProblemKind::busy);
  EXPECT_TRUE(batch({port("vm1"), remove("vm0")}));
}

TEST_F(ABatch, ThatIsOnlyTriedChangesNothing) {
  const Json before = everything();
  EXPECT_TRUE(methods_.call("batch", {{"calls", Json::array({port("vm1")})}, {"dry_run", true}}));
  EXPECT_FALSE(methods_.call("batch", {{"calls", Json::array({port("vm0")})}, {"dry_run", true}}));
  EXPECT_EQ(everything(), before);
}

TEST_F(ABatch, WithAnOldGenerationIsRefused) {
  const Json calls = Json::array({set("vm0", "vlan", 7)});
  const auto now = controller_->generation();
  EXPECT_TRUE(methods_.call("batch", {{"calls", calls}, {"if_generation", now}}));
  EXPECT_EQ(methods_.call("batch", {{"calls", calls}, {"if_generation", now}}).error().kind, ProblemKind::conflict);
}

class BadBatch : public ABatch, public testing::WithParamInterface<const char*> {};
TEST_P(BadBatch, IsRefused) {
  const Json before = everything();
  const auto done = methods_.call("batch", Json::parse(GetParam()));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind, ProblemKind::invalid);
  EXPECT_EQ(everything(), before);
}
INSTANTIATE_TEST_SUITE_P(
    Calls, BadBatch,
    testing::Values(R"({})", R"({"calls": 7})", R"({"calls": [7]})", R"({"calls": [{}]})", R"({"calls": [], "x": 1})",
                    R"({"calls": [{"method": "batch", "params": {"calls": []}}]})",
                    R"({"calls": [{"method": "log.level", "params": {"level": "off"}}]})",
                    R"({"calls": [{"method": "port"}]})", R"({"calls": [{"method": "port.list"}]})",
                    R"({"calls": [{"method": "port.remove", "params": ["vm0"]}]})",
                    R"({"calls": [{"method": "port.remove", "params": {}}]})",
                    R"({"calls": [{"method": "port.set", "params": {"name": "vm0", "vlan": 5000}}]})",
                    R"({"calls": [{"method": "port.set", "params": {"name": 7}}]})",
                    R"({"calls": [{"method": "port.remove", "params": {"name": "vm0"}, "id": 1}]})"));

TEST_F(ABatch, TakesTheRoleOfItsCalls) {
  const Json uplink{{"method", "uplink.remove"}, {"params", {{"name", "up"}}}};
  EXPECT_EQ(methods_.role_for("batch", {{"calls", Json::array({remove("vm0")})}}), Role::operate);
  EXPECT_EQ(methods_.role_for("batch", {{"calls", {remove("vm0"), uplink}}}), Role::admin);
  EXPECT_EQ(methods_.role_for("batch", {{"calls", "x"}}), Role::operate);
}

}  // namespace
}  // namespace vmux::control
