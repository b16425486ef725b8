// SPDX-License-Identifier: BSD-3-Clause
// The live objects with models and backends of no real kind, on real pollers and sockets.
#include "control/live/controller.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <thread>

#include "control/model/hardware.hpp"
#include "control/rpc/methods.hpp"
#include "control/test/fake_catalogue.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::control {
namespace {

class AController : public testing::Test {
 protected:
  void SetUp() override {
    fake::SilentNic::alive = 0;
    directory_ = std::filesystem::temp_directory_path() / ("vmux-controller-" + std::to_string(::getpid()));
    std::filesystem::create_directory(directory_);
    DaemonSpec daemon;
    daemon.pollers.count = 2;
    controller_ = std::move(*Controller::create(fake::kCatalogue, hardware_, events_, daemon));
    add_methods(methods_, *controller_);
  }
  void TearDown() override {
    controller_.reset();
    EXPECT_EQ(fake::SilentNic::alive, 0);
    EXPECT_TRUE(std::filesystem::is_empty(directory_));
    std::filesystem::remove_all(directory_);
  }
  [[nodiscard]] std::string socket(const std::string& name) const { return directory_ / name; }
  [[nodiscard]] PortSpec port(const std::string& name) const {
    return {.name = name, .model = "silent", .socket = socket(name)};
  }

  std::filesystem::path directory_;
  Hardware hardware_;
  EventRing events_;
  std::unique_ptr<Controller> controller_;
  Methods methods_;
};

/// A VMM that listens for a request to give the device back.
struct Vmm {
  explicit Vmm(const std::string& path) : client(std::move(*vfio_user::Client::connect(path))) {
    EXPECT_TRUE(client->set_irqs(pci::Irq::req, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 1,
                                 std::array{request.get()}));
  }
  [[nodiscard]] bool was_asked() const { return drain_eventfd(request.get()) != 0; }
  std::unique_ptr<vfio_user::Client> client;
  UniqueFd request = std::move(*make_eventfd());
};

TEST_F(AController, ServesAPortUntilItIsRemoved) {
  ASSERT_TRUE(controller_->add(port("vm0")));
  EXPECT_TRUE(std::filesystem::is_socket(socket("vm0")));
  EXPECT_TRUE(controller_->port_state("vm0").is_ready);
  EXPECT_FALSE(controller_->port_state("vm0").is_connected);
  ASSERT_TRUE(controller_->remove<PortSpec>("vm0"));
  EXPECT_FALSE(std::filesystem::exists(socket("vm0")));
  EXPECT_EQ(fake::SilentNic::alive, 0);
  EXPECT_EQ(controller_->remove<PortSpec>("vm0").error().kind, ProblemKind::not_found);
}

TEST_F(AController, TellsHowMuchOfAVmAPortReaches) {
  ASSERT_TRUE(controller_->add(port("vm0")));
  const auto client_of = [this] { return methods_.call("port.stats", Json{{"name", "vm0"}}).value()[0]["client"]; };
  const Vmm vmm{socket("vm0")};
  ASSERT_TRUE(vmm.client->dma_map(Iova{0}, ByteCount{0x4000}, memory::Access::read_write, -1, 0));
  ASSERT_TRUE(vmm.client->dma_map(Iova{0x10000}, ByteCount{0x1000}, memory::Access::read_write, -1, 0));
  ASSERT_TRUE(vmm.client->dma_unmap(Iova{0}, ByteCount{0x4000}));
  EXPECT_EQ(client_of()["dma_maps"], 2);
  EXPECT_EQ(client_of()["dma_ranges"], 1);
  EXPECT_EQ(client_of()["dma_bytes"], 0x1000);
  EXPECT_EQ(client_of()["dma_bytes_peak"], 0x5000);
}

TEST_F(AController, LetsThoseIntoAPortWhoAreNamed) {
  PortSpec spec = port("vm0");
  spec.access = {{}, Account{"0", ::getegid()}, 0660};
  ASSERT_TRUE(controller_->add(spec));
  struct stat status {};
  ASSERT_EQ(::lstat(socket("vm0").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0660u);
  EXPECT_EQ(status.st_gid, ::getegid());
}

TEST_F(AController, TakesEverythingDownAtItsEnd) {
  ASSERT_TRUE(controller_->add(port("vm0")));
  ASSERT_TRUE(controller_->add(port("vm1")));
  ASSERT_TRUE(controller_->add(UplinkSpec{.name = "up", .backend = "null"}));
}

TEST_F(AController, WarnsTheGuestAndItsVmmOfAPortThatIsRemoved) {
  fake::SilentNic::warned = 0;
  ASSERT_TRUE(controller_->add(port("vm0")));
  ASSERT_TRUE(controller_->add(port("vm1")));
  const Vmm removed{socket("vm0")}, kept{socket("vm1")};
  ASSERT_TRUE(controller_->remove<PortSpec>("vm0"));
  EXPECT_EQ(fake::SilentNic::warned, 1);
  EXPECT_TRUE(removed.was_asked());
  EXPECT_FALSE(kept.was_asked());
}

TEST_F(AController, WarnsTheGuestsOfSeveralPortsOnceAndTogether) {
  fake::SilentNic::warned = 0;
  ASSERT_TRUE(controller_->add(port("vm0")));
  ASSERT_TRUE(controller_->add(port("vm1")));
  const Vmm one{socket("vm0")}, other{socket("vm1")};
  controller_->announce_removal({"vm0", "vm1", "vm2"});
  EXPECT_EQ(fake::SilentNic::warned, 2);
  EXPECT_TRUE(one.was_asked() && other.was_asked());
  ASSERT_TRUE(controller_->remove<PortSpec>("vm0") && controller_->remove<PortSpec>("vm1"));
  EXPECT_EQ(fake::SilentNic::warned, 2);
}

// A VM that gave its device back would not get it again after a restart.
TEST_F(AController, WarnsGuestsAtItsEndAndAsksNoVmm) {
  fake::SilentNic::warned = 0;
  ASSERT_TRUE(controller_->add(port("vm0")));
  ASSERT_TRUE(controller_->add(port("vm1")));
  ASSERT_TRUE(controller_->add(port("vm2")));  // without a client
  const Vmm one{socket("vm0")}, other{socket("vm1")};
  controller_.reset();
  EXPECT_EQ(fake::SilentNic::warned, 2);
  EXPECT_FALSE(one.was_asked() || other.was_asked());
}

TEST_F(AController, UndoesAPortWhoseModelCannotBeMade) {
  const auto added = controller_->add(port("broken"));
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().kind, ProblemKind::host);
  EXPECT_EQ(added.error().text, "cannot make port broken: no room for the device");
  EXPECT_TRUE(controller_->inventory().all<PortSpec>().empty());
  EXPECT_EQ(fake::SilentNic::alive, 0);
}

TEST_F(AController, UndoesAPortWhoseSocketCannotBe) {
  PortSpec spec = port("vm0");
  spec.socket = "/nonexistent/vm0.sock";
  const auto added = controller_->add(spec);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().field, "socket");
  EXPECT_EQ(fake::SilentNic::alive, 0);
  EXPECT_TRUE(controller_->add(port("vm0")));  // neither its name nor its place on the switch is taken
}

TEST_F(AController, UndoesAnUplinkWhoseDeviceIsNot) {
  const auto added = controller_->add(UplinkSpec{.name = "up", .backend = "tap", .device = "absent0"});
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().kind, ProblemKind::not_found);
  EXPECT_TRUE(controller_->add(UplinkSpec{.name = "up", .backend = "tap", .device = "tap0"}));
}

TEST_F(AController, ServesADeviceFromAThreadOfItsOwn) {
  PortSpec spec{.name = "vm0", .model = "device", .socket = socket("vm0"), .device = "0000:08:00.0"};
  ASSERT_TRUE(controller_->add(spec));
  const auto stats = methods_.call("port.stats", Json{{"name", "vm0"}}).value()[0];
  EXPECT_EQ(stats["model"]["on.own-0000"], 1);
  EXPECT_TRUE(stats["counters"].is_null());
  const auto shown = methods_.call("port.show", Json{{"name", "vm0"}}).value();
  EXPECT_FALSE(shown.contains("switch"));
  EXPECT_FALSE(shown.contains("poller"));
  EXPECT_TRUE(methods_.call("switch.show", Json{{"name", "default"}}).value()["ports"].empty());
  ASSERT_TRUE(controller_->remove<PortSpec>("vm0"));
}

TEST_F(AController, ExplainsWhyADeviceCannotBeHad) {
  PortSpec spec{.name = "broken", .model = "device", .socket = socket("vm0"), .device = "0000:08:00.0"};
  const auto added = controller_->add(spec);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().field, "device");
  EXPECT_EQ(added.error().text, "ask the vendor of 0000:08:00.0");
}

TEST_F(AController, SpreadsQueuesOverPollersFromTheHomeOn) {
  const auto params = Json{{"name", "up"}, {"backend", "tap"}, {"device", "tap0"}, {"queues", 4}, {"poller", 1}};
  const auto added = methods_.call("uplink.add", params);
  ASSERT_TRUE(added);
  EXPECT_EQ((*added)["pollers"], (Json{1, 0}));
  ASSERT_EQ((*added)["lanes"].size(), 2u);
  EXPECT_EQ((*added)["lanes"][1]["poller"], 0);
  EXPECT_EQ((*added)["lanes"][1]["counters"]["rx_frames"], 0);
  ASSERT_TRUE(controller_->add(port("vm0")));
  EXPECT_EQ(methods_.call("port.show", Json{{"name", "vm0"}}).value()["pollers"], Json{0});
  EXPECT_EQ(methods_.call("port.stats", Json{{"name", "vm0"}}).value()[0]["lanes"].size(), 1u);
  ASSERT_TRUE(controller_->remove<UplinkSpec>("up"));
}

// An uplink with these keys sends one untagged frame: how many are let in.
struct VlanKeys {
  Json keys;
  std::uint64_t filtered;
};
class AnUplinkThatSpeaksUntagged : public AController, public testing::WithParamInterface<VlanKeys> {};
TEST_P(AnUplinkThatSpeaksUntagged, IsHeardWhereItsKeysSaySo) {
  Json params{{"name", "up"}, {"backend", "tap"}, {"device", "speaking0"}};
  params.update(GetParam().keys);
  ASSERT_TRUE(methods_.call("uplink.add", params));
  const port::PortCounters& counters = *controller_->lanes("up")[0].counters;
  while (counters.rx_frames.get() == 0)
    std::this_thread::yield();
  EXPECT_TRUE(controller_->uplink_is_ready("up"));  // its poller has ended that round
  EXPECT_EQ(counters.drops(port::DropReason::filtered).get(), GetParam().filtered);
}
INSTANTIATE_TEST_SUITE_P(Keys, AnUplinkThatSpeaksUntagged,
                         testing::Values(VlanKeys{Json::object(), 0}, VlanKeys{Json{{"vlan", 5}}, 0},
                                         VlanKeys{Json{{"trunk", "5,6"}}, 1}, VlanKeys{Json{{"trunk", "all"}}, 1},
                                         VlanKeys{Json{{"trunk", "all"}, {"native", 5}}, 0}));

TEST_F(AController, HasWhatMayExistAlready) {
  Json params{{"name", "vm0"}, {"model", "silent-emu"}, {"socket", socket("vm0")}, {"may_exist", true}};
  const auto first = methods_.call("port.add", params);
  ASSERT_TRUE(first);
  EXPECT_EQ(methods_.call("port.add", params).value(), *first);
  params["vlan"] = 7;
  params["poller"] = 1;
  const auto other = methods_.call("port.add", params);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().kind, ProblemKind::already_exists);
  EXPECT_EQ(other.error().text, "vm0 is there with other settings: poller is 0, not 1; vlan is not set, not 7");
  params["may_exist"] = false;
  EXPECT_EQ(methods_.call("port.add", params).error().text, "there is a port named vm0 already");
  params["may_exist"] = 1;
  EXPECT_EQ(methods_.call("port.add", params).error().field, "may_exist");
  const Json uplink{{"name", "vm0"}, {"backend", "null"}, {"may_exist", true}};
  EXPECT_EQ(methods_.call("uplink.add", uplink).error().text, "there is a port named vm0 already");
}

TEST_F(AController, HasSwitchesAndUplinksThatMayExistAlready) {
  Json added{{"name", "br0"}, {"may_exist", true}};
  ASSERT_TRUE(methods_.call("switch.add", added) && methods_.call("switch.add", added));
  added["mac_age_s"] = 7;
  EXPECT_EQ(methods_.call("switch.add", added).error().text,
            "br0 is there with other settings: mac_age_s is 300, not 7");
  Json uplink{{"name", "up"}, {"backend", "tap"}, {"device", "tap0"}, {"may_exist", true}};
  ASSERT_TRUE(methods_.call("uplink.add", uplink) && methods_.call("uplink.add", uplink));
  uplink["device"] = "tap1";
  EXPECT_EQ(methods_.call("uplink.add", uplink).error().text,
            "up is there with other settings: device is tap0, not tap1");
}

TEST_F(AController, LacksWhatIsRemovedIfItExists) {
  const Json vm0{{"name", "vm0"}, {"if_exists", true}};
  EXPECT_TRUE(methods_.call("port.remove", vm0).value()["removed"].is_null());
  EXPECT_TRUE(methods_.call("uplink.remove", vm0).value()["removed"].is_null());
  EXPECT_TRUE(methods_.call("switch.remove", vm0).value()["removed"].is_null());
  ASSERT_TRUE(controller_->add(port("vm0")));
  EXPECT_EQ(methods_.call("port.remove", vm0).value()["removed"], "vm0");
  EXPECT_FALSE(methods_.call("port.remove", Json{{"name", "vm0"}}));
  EXPECT_FALSE(methods_.call("switch.remove", Json{{"name", "default"}, {"if_exists", true}}));
}

TEST_F(AController, RefusesToRemoveASwitchInUse) {
  ASSERT_TRUE(controller_->add(SwitchSpec{.name = "br0"}));
  ASSERT_TRUE(controller_->add(UplinkSpec{.name = "up", .switch_name = "br0", .backend = "null"}));
  EXPECT_EQ(controller_->remove<SwitchSpec>("br0").error().kind, ProblemKind::busy);
  ASSERT_TRUE(controller_->remove<UplinkSpec>("up"));
  EXPECT_TRUE(controller_->remove<SwitchSpec>("br0"));
}

TEST_F(AController, SetsUpTheDefaultSwitchBeforeItIsUsed) {
  const Json quiet{{"name", "default"}, {"mac_age_s", 10}, {"forward_bpdu", false}, {"group_forward_mask", 0x4000}};
  const auto added = methods_.call("switch.add", quiet);
  ASSERT_TRUE(added);
  EXPECT_EQ((*added)["forward_bpdu"], false);
  EXPECT_EQ((*added)["group_forward_mask"], 0x4000);
  ASSERT_TRUE(controller_->add(port("vm0")));
  EXPECT_EQ(methods_.call("switch.show", Json{{"name", "default"}}).value()["mac_age_s"], 10);
  EXPECT_EQ(methods_.call("switch.list", {}).value().size(), 1u);
  EXPECT_FALSE(methods_.call("switch.add", quiet));
}

TEST_F(AController, TellsWhatIsCounted) {
  const Json list = methods_.call("counter.list", {}).value();
  const auto has = [&list](const Json& row) { return std::find(list.begin(), list.end(), row) != list.end(); };
  EXPECT_TRUE(has(Json{{"of", "transport vfio-user"},
                       {"name", "dma_bytes"},
                       {"unit", "bytes"},
                       {"meaning", "of guest memory that the device reaches now"},
                       {"kind", "now"}}));
  EXPECT_TRUE(has(Json{{"of", "poller"},
                       {"name", "asleep_ns"},
                       {"unit", "nanoseconds"},
                       {"meaning", "of waiting in the kernel"},
                       {"kind", "total"}}));
  EXPECT_TRUE(std::any_of(list.begin(), list.end(), [](const Json& row) { return row["of"] == "port"; }));
}

TEST_F(AController, AnswersCalls) {
  const auto added =
      methods_.call("port.add", Json{{"name", "vm0"}, {"model", "silent-emu"}, {"socket", socket("vm0")}});
  ASSERT_TRUE(added);
  EXPECT_EQ((*added)["model"], "silent");
  EXPECT_EQ((*added)["doorbell"], "trap");
  EXPECT_EQ((*added)["transport"], "vfio-user");
  EXPECT_EQ(methods_.call("port.list", {}).value().size(), 1u);
  EXPECT_EQ(methods_.call("port.stats", Json{{"name", "vm0"}}).value()[0]["model"]["tx.guest_fault"], 0);
  EXPECT_EQ(methods_.call("switch.show", Json{{"name", "default"}}).value()["ports"][0]["name"], "vm0");
  EXPECT_EQ(methods_.call("switch.list", {}).value()[0]["ports"], 1);
  EXPECT_EQ(methods_.call("poller.list", {}).value().size(), 2u);
  EXPECT_EQ(methods_.call("port.vm_args", Json{{"name", "vm0"}, {"vmm", "xen"}}).error().field, "vmm");
  EXPECT_EQ(methods_.call("port.show", Json{{"name", "vm9"}}).error().kind, ProblemKind::not_found);
  EXPECT_EQ(methods_.call("port.list", Json{{"all", true}}).error().field, "all");
  EXPECT_EQ(methods_.call("port.remove", Json{{"name", "vm0"}}).value()["removed"], "vm0");
}

}  // namespace
}  // namespace vmux::control
