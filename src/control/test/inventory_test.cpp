// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/inventory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/test/fake_catalogue.hpp"

namespace vmux::control {
namespace {

using testing::HasSubstr;

PortSpec port(const std::string& name) { return {.name = name, .model = "silent", .socket = "/tmp/" + name}; }

DaemonSpec two_pollers() {
  DaemonSpec daemon;
  daemon.rpc = "/run/rpc.sock";
  daemon.base_mac = parse_mac("02:00:00:00:00:10").value();
  daemon.pollers.count = 2;
  return daemon;
}

class AnInventory : public testing::Test {
 protected:
  Inventory inventory_{fake::kCatalogue, two_pollers()};
};

TEST(Inventory, GivesPortsTheDaemonsAccessWhereTheyDoNotSay) {
  DaemonSpec daemon = two_pollers();
  daemon.port_access = {Account{"12", 12}, Account{"13", 13}, 0660};
  Inventory inventory{fake::kCatalogue, daemon};
  PortSpec said = port("vm1");
  said.access.group = Account{"14", 14};
  EXPECT_EQ(inventory.add(port("vm0"))->access.group->id, 13u);
  const SocketAccess access = inventory.add(said)->access;
  EXPECT_EQ(access.owner->id, 12u);
  EXPECT_EQ(access.group->id, 14u);
  EXPECT_EQ(access.mode, 0660u);
  EXPECT_EQ((Inventory{fake::kCatalogue, two_pollers()}.add(port("vm0"))->access.mode), 0600u);
}

struct DifferenceCase {
  void (*change)(PortSpec&);
  std::vector<std::string> expected;
};
class PortDifferences : public testing::TestWithParam<DifferenceCase> {};
TEST_P(PortDifferences, NameTheSettings) {
  Inventory inventory{fake::kCatalogue, two_pollers()};
  PortSpec spec = port("vm0");
  spec.access.owner = Account{"root", 0};
  ASSERT_TRUE(inventory.add(spec));
  ASSERT_TRUE(inventory.add(SwitchSpec{.name = "br0"}));
  GetParam().change(spec);
  std::vector<std::string> texts;
  const Inventory::Differences differences = inventory.differences(spec).value();
  for (const Inventory::Difference& one : differences)
    texts.push_back(one.text());
  EXPECT_EQ(texts, GetParam().expected);
}
INSTANTIATE_TEST_SUITE_P(
    Changes, PortDifferences,
    testing::Values(DifferenceCase{[](PortSpec&) {}, {}},
                    DifferenceCase{[](PortSpec& p) { p.model = "silent-emu"; }, {}},
                    DifferenceCase{[](PortSpec& p) { p.socket = "/tmp/./x/../vm0"; }, {}},
                    DifferenceCase{[](PortSpec& p) { p.queues = 1; }, {}},
                    DifferenceCase{[](PortSpec& p) { p.doorbell = Doorbell::trap; }, {}},
                    DifferenceCase{[](PortSpec& p) { p.access.mode = 0600; }, {}},
                    DifferenceCase{[](PortSpec& p) {
                                     p.access.owner = Account{"0", 0};
                                   },
                                   {}},
                    DifferenceCase{[](PortSpec& p) {
                                     p.access.owner = Account{"1", 1};
                                   },
                                   {"socket_owner is root, not 1"}},
                    DifferenceCase{[](PortSpec& p) { p.access.mode = 0660; }, {"socket_mode is 0600, not 0660"}},
                    DifferenceCase{[](PortSpec& p) { p.switch_name = "br0"; }, {"switch is default, not br0"}},
                    DifferenceCase{[](PortSpec& p) { p.doorbell = Doorbell::poll; }, {"doorbell is trap, not poll"}},
                    DifferenceCase{[](PortSpec& p) {
                                     p.vlan.access = 20;
                                     p.poller = 1;
                                   },
                                   {"poller is 0, not 1", "vlan is not set, not 20"}}));

TEST_F(AnInventory, HasNoDifferencesOfWhatCannotBe) {
  ASSERT_TRUE(inventory_.add(port("vm0")));
  EXPECT_EQ(inventory_.differences(port("vm9")).error().kind, ProblemKind::not_found);
  PortSpec odd = port("vm0");
  odd.switch_name = "br9";
  EXPECT_EQ(inventory_.differences(odd).error().field, "switch");
}

struct PortCase {
  const char* what;
  void (*change)(PortSpec&);
  ProblemKind kind;
  const char* field;
  const char* text;
};
class PortRules : public testing::TestWithParam<PortCase> {};
TEST_P(PortRules, RefuseAndChangeNothing) {
  Inventory inventory{fake::kCatalogue, two_pollers()};
  ASSERT_TRUE(inventory.add(port("vm0")));
  ASSERT_TRUE(inventory.add(UplinkSpec{.name = "up0", .backend = "null"}));
  PortSpec spec = port("vm1");
  GetParam().change(spec);
  const auto added = inventory.add(spec);
  ASSERT_FALSE(added) << GetParam().what;
  EXPECT_EQ(added.error().kind, GetParam().kind);
  EXPECT_EQ(added.error().field, GetParam().field);
  EXPECT_THAT(added.error().text, HasSubstr(GetParam().text));
  EXPECT_EQ(inventory.all<PortSpec>().size(), 1u);
}
INSTANTIATE_TEST_SUITE_P(
    Bad, PortRules,
    testing::Values(PortCase{"name of a port", [](PortSpec& p) { p.name = "vm0"; }, ProblemKind::already_exists, "name",
                             "port named vm0"},
                    PortCase{"name of an uplink", [](PortSpec& p) { p.name = "up0"; }, ProblemKind::already_exists,
                             "name", "uplink named up0"},
                    PortCase{"no such switch", [](PortSpec& p) { p.switch_name = "br9"; }, ProblemKind::not_found,
                             "switch", "there are: default"},
                    PortCase{"unknown model", [](PortSpec& p) { p.model = "ne2000"; }, ProblemKind::invalid, "model",
                             "known are: silent-emu, real-emu, device, future-emu"},
                    PortCase{"model not built", [](PortSpec& p) { p.model = "future"; }, ProblemKind::not_supported,
                             "model", "not built yet; built are: silent-emu, real-emu, device"},
                    PortCase{"device with a model that takes none", [](PortSpec& p) { p.device = "0000:08:00.0"; },
                             ProblemKind::invalid, "device", "uses no physical device"},
                    PortCase{"model without its device", [](PortSpec& p) { p.model = "real"; }, ProblemKind::invalid,
                             "device", "needs a PCI address"},
                    PortCase{"too many queues", [](PortSpec& p) { p.queues = 2; }, ProblemKind::invalid, "queues",
                             "at most 1 queue"},
                    PortCase{"variant of a model without", [](PortSpec& p) { p.variant = "old"; }, ProblemKind::invalid,
                             "variant", "silent has no variants"},
                    PortCase{"unknown variant",
                             [](PortSpec& p) { p.model = "real", p.device = "0000:08:00.0", p.variant = "green"; },
                             ProblemKind::invalid, "variant", "expected one of blue, red, got 'green'"},
                    PortCase{"unknown transport", [](PortSpec& p) { p.transport = "carrier-pigeon"; },
                             ProblemKind::invalid, "transport",
                             "silent is served over vfio-user, got 'carrier-pigeon'"},
                    PortCase{"connection where the VMM connects", [](PortSpec& p) { p.connect = true; },
                             ProblemKind::invalid, "connect", "over vfio-user it is always the VMM that connects"},
                    PortCase{"transport that does not serve the model", [](PortSpec& p) { p.transport = "wire"; },
                             ProblemKind::not_supported, "transport", "silent is served over vfio-user, not over wire"},
                    PortCase{"socket of another", [](PortSpec& p) { p.socket = "/tmp/vm0"; },
                             ProblemKind::already_exists, "socket", "that of port vm0"},
                    PortCase{"the RPC socket", [](PortSpec& p) { p.socket = "/run/rpc.sock"; },
                             ProblemKind::already_exists, "socket", "the RPC socket"},
                    PortCase{"socket path too long", [](PortSpec& p) { p.socket = std::string(108, 'a'); },
                             ProblemKind::invalid, "socket", "at most 107 bytes, got 108"},
                    PortCase{"socket is a directory", [](PortSpec& p) { p.socket = "/tmp/"; }, ProblemKind::invalid,
                             "socket", "path of a file"},
                    PortCase{"MAC of another", [](PortSpec& p) { p.mac = parse_mac("02:00:00:00:00:10").value(); },
                             ProblemKind::already_exists, "mac", "in use on switch default"},
                    PortCase{"no such poller", [](PortSpec& p) { p.poller = 2; }, ProblemKind::invalid, "poller",
                             "from 0 to 1, got 2"}));

struct DeviceCase {
  const char* what;
  void (*change)(PortSpec&);
  ProblemKind kind;
  const char* field;
  const char* text;
};
class DeviceRules : public testing::TestWithParam<DeviceCase> {};
TEST_P(DeviceRules, Refuse) {
  Inventory inventory{fake::kCatalogue, two_pollers()};
  PortSpec first{.name = "vm0", .model = "device", .socket = "/tmp/vm0", .device = "08:00.0"};
  ASSERT_TRUE(inventory.add(first));
  PortSpec spec{.name = "vm1", .model = "device", .socket = "/tmp/vm1", .device = "08:00.1"};
  GetParam().change(spec);
  const auto added = inventory.add(spec);
  ASSERT_FALSE(added) << GetParam().what;
  EXPECT_EQ(added.error().kind, GetParam().kind);
  EXPECT_EQ(added.error().field, GetParam().field);
  EXPECT_THAT(added.error().text, HasSubstr(GetParam().text));
}
INSTANTIATE_TEST_SUITE_P(
    Bad, DeviceRules,
    testing::Values(DeviceCase{"no address", [](PortSpec& p) { p.device = "eth0"; }, ProblemKind::invalid, "device",
                               "expected a PCI address such as 0000:08:00.0, got 'eth0'"},
                    DeviceCase{"of another port", [](PortSpec& p) { p.device = "0000:08:00.0"; },
                               ProblemKind::already_exists, "device", "that of port vm0"},
                    DeviceCase{"with a MAC", [](PortSpec& p) { p.mac = parse_mac("02:00:00:00:00:01").value(); },
                               ProblemKind::invalid, "mac", "no side on a switch"},
                    DeviceCase{"on a poller", [](PortSpec& p) { p.poller = 0; }, ProblemKind::invalid, "poller",
                               "a thread of its own"}));

TEST_F(AnInventory, KeepsADeviceOffTheSwitch) {
  const auto added = inventory_.add(PortSpec{.name = "a", .model = "device", .socket = "/tmp/a", .device = "08:00.0"});
  ASSERT_TRUE(added);
  EXPECT_EQ(added->device, "0000:08:00.0");
  EXPECT_EQ(added->switch_name, "");
  EXPECT_FALSE(added->mac);
  EXPECT_FALSE(added->poller);
}

TEST_F(AnInventory, CountsEveryPollerThatHasSomeOfTheQueues) {
  ASSERT_TRUE(inventory_.add(UplinkSpec{.name = "up", .backend = "tap", .device = "tap0", .queues = 2, .poller = 1}));
  ASSERT_TRUE(inventory_.add(UplinkSpec{.name = "up2", .backend = "tap", .device = "tap2", .queues = 1, .poller = 0}));
  EXPECT_EQ(inventory_.add(port("a"))->poller, 1u);  // poller 0 has a queue of each
}

TEST_F(AnInventory, CountsMacsUpFromTheBase) {
  EXPECT_EQ(to_text(*inventory_.add(port("a"))->mac), "02:00:00:00:00:10");
  EXPECT_EQ(to_text(*inventory_.add(port("b"))->mac), "02:00:00:00:00:11");
  inventory_.remove<PortSpec>("a");
  EXPECT_EQ(to_text(*inventory_.add(port("c"))->mac), "02:00:00:00:00:10");
}

TEST_F(AnInventory, StepsOverAMacThatWasAskedFor) {
  PortSpec asked = port("a");
  asked.mac = parse_mac("02:00:00:00:00:10").value();
  ASSERT_TRUE(inventory_.add(asked));
  EXPECT_EQ(to_text(*inventory_.add(port("b"))->mac), "02:00:00:00:00:11");
}

TEST_F(AnInventory, SpreadsPortsOverPollersUnlessAsked) {
  PortSpec asked = port("a");
  asked.poller = 1;
  EXPECT_EQ(inventory_.add(asked)->poller, 1u);
  EXPECT_EQ(inventory_.add(port("b"))->poller, 0u);
  EXPECT_EQ(inventory_.add(UplinkSpec{.name = "up", .backend = "null"})->poller, 0u);
  EXPECT_EQ(inventory_.add(port("c"))->poller, 1u);
}

TEST_F(AnInventory, TakesAModeForAModel) {
  PortSpec spec = port("a");
  spec.model = "silent-emu";
  EXPECT_EQ(inventory_.add(spec)->model, "silent");
}

TEST_F(AnInventory, ServesAPortOverItsModelsFirstTransport) {
  EXPECT_EQ(inventory_.add(port("a"))->transport, "vfio-user");
  PortSpec asked = port("b");
  asked.transport = "vfio-user";
  EXPECT_EQ(inventory_.add(asked)->transport, "vfio-user");
  EXPECT_TRUE(inventory_.differences(port("b"))->empty());
}

TEST_F(AnInventory, SetsUpTheDefaultSwitchUntilSomethingBelongsToIt) {
  ASSERT_TRUE(inventory_.add(SwitchSpec{.name = "default", .forward_bpdu = false}));
  EXPECT_FALSE(inventory_.find<SwitchSpec>("default")->forward_bpdu);
  EXPECT_EQ(inventory_.all<SwitchSpec>().size(), 1u);
  ASSERT_TRUE(inventory_.add(UplinkSpec{.name = "up", .backend = "null"}));
  EXPECT_EQ(inventory_.add(SwitchSpec{.name = "default"}).error().kind, ProblemKind::already_exists);
  EXPECT_FALSE(inventory_.find<SwitchSpec>("default")->forward_bpdu);
}

TEST_F(AnInventory, KeepsASwitchThatIsUsed) {
  ASSERT_TRUE(inventory_.add(SwitchSpec{.name = "br0"}));
  PortSpec spec = port("a");
  spec.switch_name = "br0";
  ASSERT_TRUE(inventory_.add(spec));
  EXPECT_EQ(inventory_.may_remove<SwitchSpec>("br0").error().kind, ProblemKind::busy);
  inventory_.remove<PortSpec>("a");
  EXPECT_TRUE(inventory_.may_remove<SwitchSpec>("br0"));
  EXPECT_EQ(inventory_.may_remove<SwitchSpec>("default").error().kind, ProblemKind::invalid);
  EXPECT_EQ(inventory_.may_remove<SwitchSpec>("none").error().kind, ProblemKind::not_found);
}

struct UplinkCase {
  UplinkSpec spec;
  ProblemKind kind;
  const char* field;
  const char* text;
};
class UplinkRules : public testing::TestWithParam<UplinkCase> {};
TEST_P(UplinkRules, Refuse) {
  Inventory inventory{fake::kCatalogue, two_pollers()};
  ASSERT_TRUE(inventory.add(UplinkSpec{.name = "up0", .backend = "tap", .device = "tap0"}));
  const auto added = inventory.add(GetParam().spec);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().kind, GetParam().kind);
  EXPECT_EQ(added.error().field, GetParam().field);
  EXPECT_THAT(added.error().text, HasSubstr(GetParam().text));
}
INSTANTIATE_TEST_SUITE_P(
    Bad, UplinkRules,
    testing::Values(
        UplinkCase{{.name = "up0", .backend = "null"}, ProblemKind::already_exists, "name", "uplink named up0"},
        UplinkCase{
            {.name = "x", .backend = "wire"}, ProblemKind::invalid, "backend", "not known; there are: tap, null"},
        UplinkCase{{.name = "x", .backend = "future"}, ProblemKind::not_supported, "backend", "not built in"},
        UplinkCase{{.name = "x", .backend = "tap"}, ProblemKind::invalid, "device", "needs an interface name"},
        UplinkCase{{.name = "x", .backend = "tap", .device = "a name"}, ProblemKind::invalid, "device", "got 'a name'"},
        UplinkCase{
            {.name = "x", .backend = "tap", .device = "sixteen-letters-"}, ProblemKind::invalid, "device", "expected"},
        UplinkCase{{.name = "x", .backend = "tap", .device = "tap0"},
                   ProblemKind::already_exists,
                   "device",
                   "that of uplink up0"},
        UplinkCase{
            {.name = "x", .backend = "null", .device = "tap1"}, ProblemKind::invalid, "device", "uses no device"},
        UplinkCase{{.name = "x", .backend = "tap", .device = "tap1", .queues = 5},
                   ProblemKind::invalid,
                   "queues",
                   "at most 4"}));

struct DeviceText {
  const char* backend;
  const char* device;
  bool is_good;
};
class UplinkDevice : public testing::TestWithParam<DeviceText> {};
TEST_P(UplinkDevice, IsJudgedBeforeAnythingIsMade) {
  Inventory inventory{builtin_catalogue(), two_pollers()};
  const auto added =
      inventory.add(UplinkSpec{.name = "up", .backend = GetParam().backend, .device = std::string{GetParam().device}});
  EXPECT_EQ(added.has_value(), GetParam().is_good);
  EXPECT_EQ(added ? "" : added.error().field, GetParam().is_good ? "" : "device");
}
INSTANTIATE_TEST_SUITE_P(Texts, UplinkDevice,
                         testing::Values(DeviceText{"tap", "tap0", true}, DeviceText{"tap", "tap%d", false},
                                         DeviceText{"tap", "tap\x01", false}, DeviceText{"generator", "size=64", true},
                                         DeviceText{"generator", "size=1", false},
                                         DeviceText{"generator", "size=64,colour=red", false}));

struct DoorbellCase {
  const char* model;
  std::optional<std::string> device;
  std::optional<Doorbell> daemon;
  std::optional<Doorbell> port;
  Doorbell expected;
};
class DoorbellDefault : public testing::TestWithParam<DoorbellCase> {};
TEST_P(DoorbellDefault, IsThePortsThenTheDaemonsThenTheModels) {
  DaemonSpec daemon = two_pollers();
  daemon.doorbell = GetParam().daemon;
  Inventory inventory{fake::kCatalogue, daemon};
  PortSpec spec = port("vm0");
  spec.model = GetParam().model;
  spec.device = GetParam().device;
  spec.doorbell = GetParam().port;
  const auto added = inventory.add(spec);
  ASSERT_TRUE(added);
  EXPECT_EQ(added->doorbell, GetParam().expected);
}
constexpr auto kPoll = Doorbell::poll;
constexpr auto kTrap = Doorbell::trap;
INSTANTIATE_TEST_SUITE_P(All, DoorbellDefault,
                         testing::Values(DoorbellCase{"silent", std::nullopt, std::nullopt, std::nullopt, kTrap},
                                         DoorbellCase{"real", "0000:08:00.0", std::nullopt, std::nullopt, kPoll},
                                         DoorbellCase{"silent", std::nullopt, kPoll, std::nullopt, kPoll},
                                         DoorbellCase{"real", "0000:08:00.0", kTrap, std::nullopt, kTrap},
                                         DoorbellCase{"real", "0000:08:00.0", kTrap, kPoll, kPoll},
                                         DoorbellCase{"silent", std::nullopt, std::nullopt, kPoll, kPoll}));

TEST(MachineBaseMac, IsLocalUnicastAndStable) {
  const MacAddress mac = machine_base_mac("0123456789abcdef");
  EXPECT_EQ(mac[0], 0x02);
  EXPECT_EQ(mac, machine_base_mac("0123456789abcdef"));
  EXPECT_NE(mac, machine_base_mac("0123456789abcdee"));
}

// As many pollers are counted as are used: the next port goes to those that are idle.
TEST(Placement, PortsWithSeveralQueuesUseAllPollers) {
  DaemonSpec daemon;
  daemon.pollers.count = 8;
  Inventory inventory{builtin_catalogue(), daemon};
  const auto add = [&](const char* name) {
    PortSpec spec{.name = name, .model = "iavf", .socket = std::string{"/tmp/"} + name};
    return inventory.add(spec)->poller;
  };
  EXPECT_EQ(add("a"), 0u);
  EXPECT_EQ(add("b"), 4u);
}

// --- a card whose frames pass the switch by ---

PortSpec vdpa_port() { return {.name = "vm0", .model = "vdpa-net", .socket = "/tmp/vm0", .device = "0000:01:10.0"}; }

TEST(InventoryOfFunctions, GivesThemWhatTheyNeed) {
  Inventory inventory{builtin_catalogue(), two_pollers()};
  const auto added = inventory.add(vdpa_port());
  ASSERT_TRUE(added) << added.error().text;
  EXPECT_EQ(added->transport, "vhost-user");
  EXPECT_EQ(added->switch_name, kDefaultSwitch);
  EXPECT_FALSE(added->poller);  // a thread of their own
  EXPECT_EQ(builtin_catalogue().model("vdpa-net")->queues(std::nullopt), 1u);
}

TEST(InventoryOfFunctions, RefusesWhatASwitchWouldDoToTheirFrames) {
  const std::pair<const char*, void (*)(PortSpec&)> wishes[] = {
      {"vlan", [](PortSpec& spec) { spec.vlan.access = 5; }},
      {"static_macs",
       [](PortSpec& spec) {
         spec.static_macs = {{*parse_mac("02:00:00:00:00:77"), std::nullopt}};
       }},
      {"mirror", [](PortSpec& spec) { spec.mirror = MirrorTo{"up0"}; }},
      {"anti_spoof", [](PortSpec& spec) { spec.anti_spoof = true; }},
      {"limit_in", [](PortSpec& spec) { spec.limit_in = *parse_limit("1M"); }},
      {"limit_out", [](PortSpec& spec) { spec.limit_out = *parse_limit("1M"); }},
      {"limit_flood", [](PortSpec& spec) { spec.limit_flood = *parse_limit("1M"); }},
      {"isolation", [](PortSpec& spec) { spec.isolation = "a"; }},
  };
  for (const auto& [field, wish] : wishes) {
    Inventory inventory{builtin_catalogue(), two_pollers()};
    PortSpec spec = vdpa_port();
    wish(spec);
    const auto added = inventory.add(spec);
    ASSERT_FALSE(added) << field;
    EXPECT_EQ(added.error().field, field);
    EXPECT_THAT(added.error().text, HasSubstr("past every switch"));
  }
}

}  // namespace
}  // namespace vmux::control
