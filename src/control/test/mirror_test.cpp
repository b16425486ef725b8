// SPDX-License-Identifier: BSD-3-Clause
// Mirrors as they are asked for: who may, what there cannot be, and that nothing leads nowhere.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "control/config/reload.hpp"
#include "control/config/saved.hpp"
#include "control/test/live_control.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// --- as it is written ---

TEST(MirrorText, IsReadAndWritten) {
  EXPECT_EQ(parse_mirror("a"), (MirrorTo{"a", true, true}));
  EXPECT_EQ(parse_mirror("a:both"), (MirrorTo{"a", true, true}));
  EXPECT_EQ(parse_mirror("a.b-c_1:in"), (MirrorTo{"a.b-c_1", true, false}));
  EXPECT_EQ(parse_mirror("a:out"), (MirrorTo{"a", false, true}));
  for (const char* written : {"a:both", "a:in", "a:out"})
    EXPECT_EQ(to_text(parse_mirror(written).value()), written);
}

class NoMirror : public testing::TestWithParam<std::string> {};
TEST_P(NoMirror, IsRefused) { EXPECT_FALSE(parse_mirror(GetParam())); }
INSTANTIATE_TEST_SUITE_P(Texts, NoMirror,
                         testing::Values("", ":", ":in", "a:", "a:IN", "a:in:out", "a:in,out", "a b", "-a", "../a",
                                         std::string("a\0:in", 5), std::string(33, 'a'), "a:in "));

// --- live ---

class Mirrors : public test::LiveControl {
 protected:
  Mirrors() : LiveControl(2) {}
  void SetUp() override {
    LiveControl::SetUp();
    for (const char* name : {"vm0", "vm1", "ear"})
      ASSERT_TRUE(call("port.add", port(name)));
    ASSERT_TRUE(call("switch.add", {{"name", "br0"}}));
    ASSERT_TRUE(call("port.add", port("far", {{"switch", "br0"}})));
    ASSERT_TRUE(call("port.add", port("own", {{"model", "device"}, {"device", "0000:01:00.0"}})));
    ASSERT_TRUE(call("uplink.add", {{"name", "up"}, {"backend", "tap"}, {"device", "tap0"}}));
    since_ = events_.read(0, 1000).next;
  }
  Outcome<Json> set(const std::string& name, Json to) {
    return call("port.set", {{"name", name}, {"mirror", std::move(to)}});
  }
  /// "mirror_begun vm0 ear:in", of those that have not been read.
  std::vector<std::string> told() {
    const auto slice = events_.read(since_, 1000);
    since_ = slice.next;
    std::vector<std::string> texts;
    for (const Event& event : slice.events) {
      if (event.type != EventType::mirror_begun && event.type != EventType::mirror_ended) continue;
      texts.push_back(std::string{text_of(event.type).name} + ' ' + event.name.data() + ' ' + event.detail.data());
      by_ = event.number;
    }
    return texts;
  }
};

TEST_F(Mirrors, BeginAndEndUnderAVm) {
  const auto vmm = std::move(*vfio_user::Client::connect(directory_ / "vm0"));
  const auto set = this->set("vm0", "ear:in");
  ASSERT_TRUE(set) << set.error().text;
  EXPECT_EQ((*set)["changed"], 1);
  EXPECT_EQ(show("vm0")["mirror"], "ear:in");
  EXPECT_EQ(show("vm0")["connected"], true);
  EXPECT_EQ(show("ear")["mirror_of"], Json::array({"vm0"}));
  EXPECT_THAT(told(), ElementsAre("mirror_begun vm0 ear:in"));
  EXPECT_EQ(by_, ::geteuid());
  ASSERT_TRUE(this->set("vm0", "ear"));
  EXPECT_THAT(told(), ElementsAre("mirror_ended vm0 ear:in", "mirror_begun vm0 ear:both"));
  EXPECT_EQ(this->set("vm0", "ear:both").value()["changed"], 0);
  ASSERT_TRUE(this->set("vm0", nullptr));
  EXPECT_THAT(told(), ElementsAre("mirror_ended vm0 ear:both"));
  EXPECT_FALSE(show("vm0").contains("mirror") || show("ear").contains("mirror_of"));
}

TEST_F(Mirrors, TellWhoseWishTheyWere) {
  const Json request{
      {"jsonrpc", "2.0"}, {"method", "port.set"}, {"id", 1}, {"params", {{"name", "vm0"}, {"mirror", "ear"}}}};
  EXPECT_THAT(answer(to_line(request), methods_, {Role::admin, {}, nullptr, {}, 4711}), HasSubstr("\"result\""));
  EXPECT_THAT(told(), ElementsAre("mirror_begun vm0 ear:both"));
  EXPECT_EQ(by_, 4711u);
  ASSERT_TRUE(this->set("vm0", nullptr));
  static_cast<void>(told());
  EXPECT_EQ(by_, ::geteuid());
}

TEST_F(Mirrors, OfUplinksAndToThem) {
  ASSERT_TRUE(call("uplink.set", {{"name", "up"}, {"mirror", "ear:out"}}));
  EXPECT_THAT(told(), ElementsAre("mirror_begun up ear:out"));
  EXPECT_EQ(call("uplink.list", {}).value()[0]["mirror"], "ear:out");
  ASSERT_TRUE(call("uplink.set", {{"name", "up"}, {"mirror", nullptr}}));
  ASSERT_TRUE(set("vm0", "up"));
  EXPECT_EQ(call("uplink.list", {}).value()[0]["mirror_of"], Json::array({"vm0"}));
}

TEST_F(Mirrors, AreThereFromTheFirstFrameOfANewPort) {
  ASSERT_TRUE(call("port.add", port("vm2", {{"mirror", "ear"}})));
  EXPECT_THAT(told(), ElementsAre("mirror_begun vm2 ear:both"));
  EXPECT_TRUE(call("port.add", port("vm2", {{"mirror", "ear:both"}, {"may_exist", true}})));
  EXPECT_FALSE(call("port.add", port("vm2", {{"mirror", "ear:in"}, {"may_exist", true}})));
  ASSERT_TRUE(call("port.remove", {{"name", "vm2"}}));
  EXPECT_THAT(told(), ElementsAre("mirror_ended vm2 ear:both"));
}

TEST_F(Mirrors, StayWithAPortThatIsMadeAnew) {
  ASSERT_TRUE(set("vm0", "ear"));
  ASSERT_TRUE(call("port.set", {{"name", "ear"}, {"poller", 1}}));
  EXPECT_EQ(show("vm0")["mirror"], "ear:both");
  EXPECT_THAT(told(),
              ElementsAre("mirror_begun vm0 ear:both", "mirror_ended vm0 ear:both", "mirror_begun vm0 ear:both"));
}

TEST_F(Mirrors, EndWithAnEndThatIsGoneForGood) {
  ASSERT_TRUE(set("vm0", "ear"));
  const auto kept = call("port.remove", {{"name", "ear"}});
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().kind, ProblemKind::busy);
  EXPECT_THAT(kept.error().text, HasSubstr("vm0 is mirrored to ear"));
  // Its socket cannot be made anew, neither where it is wanted nor where it was.
  std::filesystem::remove(directory_ / "ear");
  std::filesystem::create_directory(directory_ / "ear");
  EXPECT_FALSE(call("port.set", {{"name", "ear"}, {"socket", "/nonexistent/ear"}}));
  EXPECT_FALSE(call("port.show", {{"name", "ear"}}));
  EXPECT_FALSE(show("vm0").contains("mirror"));
  EXPECT_THAT(told(), ElementsAre("mirror_begun vm0 ear:both", "mirror_ended vm0 ear:both"));
}

TEST_F(Mirrors, OfABatchMayComeBeforeTheirEnds) {
  const auto batch = [this](Json calls) { return call("batch", {{"calls", std::move(calls)}}); };
  const auto one = [](const char* method, Json params) {
    return Json{{"method", method}, {"params", std::move(params)}};
  };
  ASSERT_TRUE(batch({one("port.add", port("vm2", {{"mirror", "new"}})), one("port.add", port("new"))}));
  EXPECT_THAT(told(), ElementsAre("mirror_begun vm2 new:both"));
  ASSERT_TRUE(batch({one("port.remove", {{"name", "new"}}), one("port.set", {{"name", "vm2"}, {"mirror", "ear"}})}));
  EXPECT_THAT(told(), ElementsAre("mirror_ended vm2 new:both", "mirror_begun vm2 ear:both"));
  const auto nowhere =
      batch({one("port.set", {{"name", "vm0"}, {"mirror", "new"}}), one("switch.add", {{"name", "br1"}})});
  ASSERT_FALSE(nowhere);
  EXPECT_THAT(nowhere.error().text, HasSubstr("vm0: mirror: there is no port or uplink named new"));
  // One that the machine refuses undoes the others.
  EXPECT_FALSE(batch({one("port.set", {{"name", "vm0"}, {"mirror", "ear"}}),
                      one("port.add", port("vm3", {{"socket", "/nonexistent/x"}}))}));
  EXPECT_FALSE(show("vm0").contains("mirror"));
}

struct BadMirror {
  const char* what;
  const char* name;
  Json to;
  ProblemKind kind;
};
class MirrorsThat : public Mirrors, public testing::WithParamInterface<BadMirror> {};
TEST_P(MirrorsThat, AreRefusedAndChangeNothing) {
  ASSERT_TRUE(set("vm1", "ear"));
  const Json before{call("port.list", {}).value(), call("uplink.list", {}).value()};
  static_cast<void>(told());
  const auto done = set(GetParam().name, GetParam().to);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind, GetParam().kind) << done.error().text;
  EXPECT_EQ(done.error().field, "mirror");
  EXPECT_EQ(before, Json({call("port.list", {}).value(), call("uplink.list", {}).value()}));
  EXPECT_THAT(told(), IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(All, MirrorsThat,
                         testing::Values(BadMirror{"Itself", "vm0", "vm0", ProblemKind::invalid},
                                         BadMirror{"Nobody", "vm0", "vm9", ProblemKind::not_found},
                                         BadMirror{"ASwitch", "vm0", "br0", ProblemKind::not_found},
                                         BadMirror{"AnotherSwitch", "vm0", "far", ProblemKind::invalid},
                                         BadMirror{"NoSideOnASwitch", "vm0", "own", ProblemKind::invalid},
                                         BadMirror{"FromNoSideOnASwitch", "own", "vm0", ProblemKind::invalid},
                                         BadMirror{"WhoIsMirrored", "vm0", "vm1", ProblemKind::invalid},
                                         BadMirror{"OfADestination", "ear", "vm0", ProblemKind::invalid},
                                         BadMirror{"BackAgain", "ear", "vm1", ProblemKind::invalid},
                                         BadMirror{"OddDirection", "vm0", "ear:sideways", ProblemKind::invalid},
                                         BadMirror{"NoText", "vm0", 7, ProblemKind::invalid},
                                         BadMirror{"AList", "vm0", Json::array({"ear"}), ProblemKind::invalid},
                                         BadMirror{"Control", "vm0", "ear\n:in", ProblemKind::invalid}),
                         [](const auto& bad) { return std::string{bad.param.what}; });

TEST_F(Mirrors, KeepBothEndsOnOneSwitch) {
  ASSERT_TRUE(set("vm0", "ear"));
  EXPECT_EQ(call("port.set", {{"name", "vm0"}, {"switch", "br0"}}).error().field, "mirror");
  EXPECT_EQ(call("port.set", {{"name", "ear"}, {"switch", "br0"}}).error().kind, ProblemKind::busy);
  ASSERT_TRUE(call("port.set", {{"name", "vm0"}, {"switch", "br0"}, {"mirror", "far"}}));
  EXPECT_THAT(told(),
              ElementsAre("mirror_begun vm0 ear:both", "mirror_ended vm0 ear:both", "mirror_begun vm0 far:both"));
}

TEST_F(Mirrors, AreForAdminsInEveryCallThatGivesOne) {
  const auto role = [this](const char* method, const Json& params) { return methods_.role_for(method, params); };
  const Json with{{"name", "vm0"}, {"mirror", nullptr}}, without{{"name", "vm0"}, {"vlan", 7}};
  const auto batch = [](const Json& params) { return Json{{"calls", {{{"method", "port.set"}, {"params", params}}}}}; };
  EXPECT_EQ(role("port.set", with), Role::admin);
  EXPECT_EQ(role("port.add", with), Role::admin);
  EXPECT_EQ(role("batch", batch(with)), Role::admin);
  EXPECT_EQ(role("port.set", without), Role::operate);
  EXPECT_EQ(role("port.add", without), Role::operate);
  EXPECT_EQ(role("batch", batch(without)), Role::operate);
  EXPECT_EQ(role("batch", {{"calls", {{{"method", "port.set"}, {"params", 7}}, {{"method", "port.set"}}, 5}}}),
            Role::operate);
  EXPECT_EQ(role("port.set", Json::array({"mirror"})), Role::operate);  // refused, whoever asks
}

// --- files ---

Configuration configured(const std::string& text) {
  Configuration configuration;
  EXPECT_TRUE(parse_configuration(text, "x.toml", configuration));
  return configuration;
}
std::string port_of_file(const std::string& name, const std::string& more = "") {
  return "[[port]]\nname='" + name + "'\nmodel='silent'\nsocket='/tmp/" + name + "'\n" + more;
}

TEST(MirrorFile, MayNameAPortThatComesLaterAndMustNameOne) {
  const std::string later = port_of_file("vm0", "mirror='ear:in'\n") + port_of_file("ear");
  EXPECT_TRUE(rehearse(configured(later), fake::kCatalogue));
  const auto wrong = configured(port_of_file("ear") + port_of_file("vm0", "mirror='eat:in'\n"));
  const auto refused = rehearse(wrong, fake::kCatalogue);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().problem.field, "mirror");
  EXPECT_THAT(place_of(*refused.error().step, refused.error().problem), HasSubstr("x.toml:9:"));
}

/// What a daemon that was started with `before` does when its file is `after`.
std::vector<std::string> calls_of(const std::string& before, const std::string& after, const std::string& in_use = "") {
  Inventory live{fake::kCatalogue, {}};
  const Configuration was = configured(before);
  live.defer_mirrors(true);
  for (const Step& step : was.steps)
    EXPECT_TRUE(rehearse(step, live));
  live.defer_mirrors(false);
  EXPECT_FALSE(live.mirror_problem());
  const auto plan =
      plan_reload(live, was, configured(after), [&in_use](const std::string& name) { return name == in_use; });
  std::vector<std::string> calls;
  if (!plan) return {plan.error().text};
  for (const Step& step : plan->steps)
    calls.push_back(step.method + ' ' + step.params["name"].get<std::string>());
  return calls;
}

TEST(MirrorFile, ReadAgainDoesWhatHasChangedInTheOrderInWhichItCan) {
  const std::string plain = port_of_file("vm0") + port_of_file("ear");
  const std::string mirrored = port_of_file("vm0", "mirror='ear'\n") + port_of_file("ear");
  EXPECT_THAT(calls_of(mirrored, mirrored), IsEmpty());
  EXPECT_THAT(calls_of(plain, mirrored, "vm0"), ElementsAre("port.set vm0"));
  EXPECT_THAT(calls_of(mirrored, plain, "vm0"), ElementsAre("port.set vm0"));
  EXPECT_THAT(calls_of(mirrored, port_of_file("vm0")), ElementsAre("port.remove ear", "port.set vm0"));
  EXPECT_THAT(calls_of(port_of_file("vm0"), mirrored), ElementsAre("port.set vm0", "port.add ear"));
  EXPECT_THAT(calls_of(mirrored, port_of_file("vm0", "mirror='ear'\n") + port_of_file("ear", "doorbell='poll'\n")),
              ElementsAre("port.remove ear", "port.add ear"));
  EXPECT_THAT(calls_of(plain, port_of_file("vm0", "mirror='ears'\n") + port_of_file("ear")),
              ElementsAre(HasSubstr("no port or uplink named ears")));
}

TEST(MirrorFile, IsSavedAsItIsRead) {
  Inventory inventory{fake::kCatalogue, {}};
  ASSERT_TRUE(inventory.add(PortSpec{.name = "ear", .model = "silent", .socket = "/tmp/ear"}));
  ASSERT_TRUE(inventory.add(PortSpec{
      .name = "vm0", .model = "silent", .socket = "/tmp/vm0", .mirror = MirrorTo{.name = "ear", .in = false}}));
  DaemonSpec daemon;
  daemon.pollers.count = 1;
  const std::string saved = to_toml(daemon, inventory);
  EXPECT_THAT(saved, HasSubstr("mirror = \"ear:out\"\n"));
  EXPECT_TRUE(rehearse(configured(saved), fake::kCatalogue));
}

}  // namespace
}  // namespace vmux::control
