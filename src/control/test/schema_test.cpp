// SPDX-License-Identifier: BSD-3-Clause
// What is told of each method is what it does: every method is there, and every parameter is asked for, by its name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "control/live/daemon.hpp"
#include "control/model/hardware.hpp"
#include "control/rpc/method_text.hpp"
#include "control/test/fake_catalogue.hpp"

namespace vmux::control {
namespace {

class Schema : public testing::TestWithParam<MethodText> {
 protected:
  void SetUp() override {
    Configuration configuration;
    configuration.daemon.rpc = "none";
    configuration.daemon.pollers.count = 1;
    daemon_ = std::move(*Daemon::create(fake::kCatalogue, hardware_, std::move(configuration)));
  }
  /// Something good for each parameter that must be there.
  static Json least_of(const MethodText& method) {
    Json params = Json::object();
    for (const OptionText& param : method.params) {
      if (param.fallback != nullptr) continue;
      params[param.name] = param.form == Form::calls    ? Json::array()
                           : param.form == Form::number ? Json(std::max<std::uint64_t>(param.min, 1))
                                                        : Json("default");
    }
    return params;
  }
  Outcome<Json> call(const Json& params) { return daemon_->methods().call(GetParam().name, params); }
  Json state() {
    return {daemon_->methods().call("port.list", {}).value(), daemon_->methods().call("switch.list", {}).value()};
  }

  Hardware hardware_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_P(Schema, HasTheMethod) { EXPECT_TRUE(daemon_->methods().has(GetParam().name)); }

TEST_P(Schema, NamesTheParameterThatIsOfAWrongType) {
  const Json before = state();
  for (const OptionText& param : GetParam().params) {
    for (const Json& odd : {Json::array({1.5}), Json{{"a", 1}}, Json(-1), Json(1e300)}) {
      if (param.form == Form::calls && odd.is_array()) continue;
      Json params = least_of(GetParam());
      params[param.name] = odd;
      const auto done = call(params);
      ASSERT_FALSE(done) << param.name << ' ' << odd;
      EXPECT_EQ(done.error().kind, ProblemKind::invalid) << param.name;
      EXPECT_EQ(done.error().field, param.name) << odd << done.error().text;
    }
  }
  EXPECT_EQ(state(), before);
}

TEST_P(Schema, NamesTheParameterThatIsMissing) {
  for (const OptionText& param : GetParam().params) {
    if (param.fallback != nullptr) continue;
    Json params = least_of(GetParam());
    params.erase(param.name);
    const auto done = call(params);
    ASSERT_FALSE(done) << param.name;
    EXPECT_EQ(done.error().field, param.name);
  }
}

TEST_P(Schema, HasAllParametersThatThereAre) {
  const Json before = state();
  Json params = least_of(GetParam());
  params["../\x1b[2J"] = "x";
  const auto done = call(params);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind, ProblemKind::invalid);
  EXPECT_EQ(done.error().field, "../\x1b[2J");
  for (const OptionText& param : GetParam().params)
    EXPECT_THAT(done.error().text, testing::HasSubstr(param.name));
  EXPECT_EQ(state(), before);
}
INSTANTIATE_TEST_SUITE_P(All, Schema, testing::ValuesIn(method_texts().begin(), method_texts().end()),
                         [](const auto& one) {
                           std::string name = one.param.name;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

class RpcSchema : public Schema {};
TEST_F(RpcSchema, IsOfEveryMethod) {
  const Json schema = daemon_->methods().call("rpc.schema", {}).value();
  std::vector<std::string> told;
  for (const Json& method : schema["methods"])
    told.push_back(method["name"]);
  EXPECT_EQ(told, daemon_->methods().names());
  const auto find = [&schema](const char* name) {
    return *std::find_if(schema["methods"].begin(), schema["methods"].end(),
                         [name](const Json& one) { return one["name"] == name; });
  };
  EXPECT_EQ(find("port.set")["role"], "operate");
  EXPECT_EQ(find("log.level")["role_with_params"], "admin");
  EXPECT_EQ(find("port.add")["params"]["properties"]["vlan"]["maximum"], 4094);
  EXPECT_EQ(find("port.add")["params"]["required"], (Json{"name", "model", "socket"}));
  EXPECT_EQ(schema["errors"].size(), 8u);
}

}  // namespace
}  // namespace vmux::control
