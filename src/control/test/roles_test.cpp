// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/roles.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>

#include "control/live/controller.hpp"
#include "control/model/hardware.hpp"
#include "control/rpc/json_rpc.hpp"
#include "control/rpc/methods.hpp"
#include "control/test/fake_catalogue.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::control {
namespace {

Members members(const char* written) { return parse_members(written).value(); }

struct Place {
  const char* what;
  Caller caller;
  Role role;
};
class RoleOf : public testing::TestWithParam<Place> {};
TEST_P(RoleOf, UserAndGroups) {
  const RolesSpec roles{members("group:100"), members("user:7, group:200,group:201"), members("user:8")};
  EXPECT_EQ(role_of(roles, GetParam().caller), GetParam().role);
}
INSTANTIATE_TEST_SUITE_P(Callers, RoleOf,
                         testing::Values(Place{"Root", {0, 0, 1, {}}, Role::admin},
                                         Place{"Ourselves", {::geteuid(), 55, 1, {}}, Role::admin},
                                         Place{"User", {7, 55, 1, {}}, Role::operate},
                                         Place{"Admin", {8, 100, 1, {200}}, Role::admin},
                                         Place{"Group", {55, 100, 1, {}}, Role::read},
                                         Place{"GroupThatIsNoUser", {100, 55, 1, {}}, Role::none},
                                         Place{"OneOfItsGroups", {55, 55, 1, {3, 201}}, Role::operate},
                                         Place{"TheHighest", {55, 100, 1, {201}}, Role::operate},
                                         Place{"Nobody", {55, 55, 1, {3}}, Role::none}),
                         [](const auto& place) { return std::string{place.param.what}; });

TEST(Roles, AreThoseOfTheSocketWhereNoneAreGiven) { EXPECT_EQ(role_of({}, {55, 55, 1, {}}), Role::admin); }

TEST(Roles, OfAllWhoMayConnect) {
  const RolesSpec roles{members("all"), {}, {}};
  EXPECT_EQ(role_of(roles, {55, 55, 1, {}}), Role::read);
}

TEST(Members, AreWrittenAsTheyWereRead) {
  EXPECT_EQ(to_text(members("group:root,  user:root,user:7")), "user:root, user:7, group:root");
  EXPECT_EQ(to_text(members("all")), "all");
}

class NoMembers : public testing::TestWithParam<const char*> {};
TEST_P(NoMembers, IsRefused) { EXPECT_FALSE(parse_members(GetParam())); }
INSTANTIATE_TEST_SUITE_P(Texts, NoMembers,
                         testing::Values("", ",", "root", "user:", "user:nobody-of-this-name", "users:root",
                                         "group:root,", "all,user:root", "user:root group:root",
                                         "user:root;group:root"));

TEST(Caller, IsWhoMadeTheSocketPair) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd a{ends[0]}, b{ends[1]};
  const auto caller = caller_of(a.get());
  ASSERT_TRUE(caller);
  EXPECT_EQ(caller->uid, ::geteuid());
  EXPECT_EQ(caller->gid, ::getegid());
  EXPECT_EQ(caller->pid, ::getpid());
  EXPECT_EQ(caller->groups.size(), static_cast<std::size_t>(::getgroups(0, nullptr)));
  EXPECT_FALSE(caller_of(-1));
}

/// All methods of the daemon, and the least role for each: without parameters, and with.
const std::map<std::string, std::pair<Role, Role>> kWho{
    {"backend.list", {Role::read, Role::read}},
    {"capture.list", {Role::read, Role::read}},
    {"capture.show", {Role::read, Role::read}},
    {"capture.start", {Role::operate, Role::operate}},
    {"capture.stop", {Role::operate, Role::operate}},
    {"log.level", {Role::read, Role::admin}},
    {"model.list", {Role::read, Role::read}},
    {"poller.list", {Role::read, Role::read}},
    {"doctor", {Role::read, Role::read}},
    {"log.lines", {Role::operate, Role::operate}},
    {"trace.list", {Role::read, Role::read}},
    {"trace.read", {Role::read, Role::read}},
    {"trace.start", {Role::operate, Role::operate}},
    {"trace.stop", {Role::operate, Role::operate}},
    {"port.dma", {Role::read, Role::read}},
    {"port.add", {Role::operate, Role::operate}},
    {"port.list", {Role::read, Role::read}},
    {"port.remove", {Role::operate, Role::operate}},
    {"port.restore", {Role::operate, Role::operate}},
    {"port.save", {Role::operate, Role::operate}},
    {"port.show", {Role::read, Role::read}},
    {"port.stats", {Role::read, Role::read}},
    {"port.vm_args", {Role::read, Role::read}},
    {"rpc.methods", {Role::read, Role::read}},
    {"rule.add", {Role::operate, Role::operate}},
    {"rule.flush", {Role::operate, Role::operate}},
    {"rule.list", {Role::read, Role::read}},
    {"rule.remove", {Role::operate, Role::operate}},
    {"rule.set", {Role::operate, Role::operate}},
    {"switch.add", {Role::operate, Role::operate}},
    {"switch.list", {Role::read, Role::read}},
    {"switch.remove", {Role::operate, Role::operate}},
    {"switch.show", {Role::read, Role::read}},
    {"uplink.add", {Role::admin, Role::admin}},
    {"uplink.list", {Role::read, Role::read}},
    {"uplink.remove", {Role::admin, Role::admin}},
    {"version", {Role::read, Role::read}},
    {"batch", {Role::operate, Role::operate}},
    {"port.set", {Role::operate, Role::operate}},
    {"rpc.schema", {Role::read, Role::read}},
    {"switch.flush", {Role::operate, Role::operate}},
    {"switch.set", {Role::operate, Role::operate}},
    {"uplink.set", {Role::admin, Role::admin}},
    {"counter.list", {Role::read, Role::read}},
    {"events", {Role::read, Role::read}},
};

class RolesOfMethods : public testing::Test {
 protected:
  RolesOfMethods() { add_methods(methods_, *controller_); }
  Hardware hardware;
  EventRing events;
  std::unique_ptr<Controller> controller_ = std::move(*Controller::create(fake::kCatalogue, hardware, events, {}));
  Methods methods_;
};

TEST_F(RolesOfMethods, AreThoseOfTheTable) {
  ASSERT_EQ(methods_.names().size(), kWho.size());
  for (const std::string& name : methods_.names()) {
    const auto row = kWho.find(name);
    ASSERT_NE(row, kWho.end()) << name;
    EXPECT_EQ(methods_.role_for(name, Json::object()), row->second.first) << name;
    EXPECT_EQ(methods_.role_for(name, Json{{"a", 1}}), row->second.second) << name;
  }
}

TEST_F(RolesOfMethods, LetNobodyMakeACallBeyondHis) {
  for (const Role role : {Role::none, Role::read, Role::operate, Role::admin}) {
    for (const auto& [name, least] : kWho) {
      const Json params{{"nonsense", 1}};  // no call is made: its parameters would be refused
      Role told = Role::none;
      const Asker asker{role,
                        [&told](const std::string&, const Json&, Role needed, const Outcome<Json>&) { told = needed; }};
      const Json request{{"jsonrpc", "2.0"}, {"method", name}, {"params", params}, {"id", 1}};
      const Json error = Json::parse(answer(to_line(request), methods_, asker)).at("error");
      const bool is_allowed = role >= least.second;
      EXPECT_EQ(error.at("code"), is_allowed ? rpc_code::invalid_params : rpc_code::not_allowed) << name;
      EXPECT_EQ(told, least.second) << name;
      const std::string message = error.at("message");
      EXPECT_EQ(message.find(std::string{"takes the role "} + to_text(least.second)) != std::string::npos, !is_allowed)
          << name;
    }
  }
}

}  // namespace
}  // namespace vmux::control
