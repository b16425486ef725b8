// SPDX-License-Identifier: BSD-3-Clause
// Virtio functions as devices of the catalogue, and as ports of a daemon.
#include "control/builtin/builtin_vdpa.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "control/live/controller.hpp"
#include "control/live/event_ring.hpp"
#include "control/model/hardware.hpp"
#include "vdpa/test/fake_function.hpp"

namespace vmux::control {
namespace {

using testing::HasSubstr;

/// With a card that has two pairs of queues in IOMMU group 5, and a disk in group 6.
class AMachineWithFunctions : public testing::Test {
 protected:
  static constexpr const char *kCard = "0000:01:10.0", *kDisk = "0000:02:00.0";

  AMachineWithFunctions()
      : root_(std::filesystem::temp_directory_path() / ("vmux-functions-" + std::to_string(::getpid()))) {
    put(kCard, "5");
    put(kDisk, "6");
    auto machine = std::make_unique<vdpa::fake::Machine>();
    vdpa::fake::Card& card = machine->cards.try_emplace(kCard, 1u, 5u).first->second;
    card.offered |= 1ull << 17 | 1ull << 22;
    card.device_config[8] = std::byte{2};
    card.is_net = true;
    machine->cards.try_emplace(kDisk, 2u, 1u);
    hardware_ =
        std::make_unique<Hardware>(std::move(machine), passthrough::Machine{root_ / "sys", root_ / "dev", root_});
  }
  ~AMachineWithFunctions() override { std::filesystem::remove_all(root_); }
  void put(const std::string& address, const std::string& group) const {
    const auto device = root_ / "sys/bus/pci/devices" / address, at = root_ / "sys/kernel/iommu_groups" / group;
    std::filesystem::create_directories(device);
    std::filesystem::create_directories(at);
    std::filesystem::create_directory_symlink(at, device / "iommu_group");
  }
  DeviceRequest request(const char* address, unsigned queues = 1) {
    return {"vm0", {}, {}, queues, address, {}, {poller_.get()}, *hardware_, "vhost-user"};
  }

  std::filesystem::path root_;
  std::unique_ptr<Hardware> hardware_;
  std::unique_ptr<runtime::Poller> poller_ = std::move(*runtime::Poller::create());
};

TEST_F(AMachineWithFunctions, HasACardWithASideOnASwitch) {
  const auto device = make_vdpa_net(request(kCard, 2), *poller_);
  ASSERT_TRUE(device) << device.error().text();
  EXPECT_EQ((*device)->lanes().size(), 1u);
  EXPECT_NE((*device)->virtio_device(), nullptr);
  EXPECT_STREQ((*device)->serving_mode(), "stopped");
  const Serving serving = (*device)->serving().value();
  EXPECT_EQ(serving.queues, 2u);
  EXPECT_EQ(serving.ring_size, 8);
  EXPECT_EQ(serving.vectors, 16u);
  // Without these in the guest its rings could be the function's.
  EXPECT_EQ(serving.vm_options, (std::vector<std::string>{"event_idx=off", "indirect_desc=off"}));
}

TEST_F(AMachineWithFunctions, HasADiskWithoutOne) {
  const auto device = make_vdpa_blk(request(kDisk), *poller_);
  ASSERT_TRUE(device) << device.error().text();
  EXPECT_TRUE((*device)->lanes().empty());
  EXPECT_EQ((*device)->virtio_device()->kind(), 2);
}

TEST_F(AMachineWithFunctions, MakesNothingElseOfThem) {
  EXPECT_STREQ(make_vdpa_net(request(kDisk), *poller_).error().what, "a function that is no network card");
  EXPECT_STREQ(make_vdpa_blk(request(kCard), *poller_).error().what, "a function that is no disk");
  EXPECT_EQ(make_vdpa_net(request(kCard, 3), *poller_).error().code, Errc::out_of_range);
}

TEST_F(AMachineWithFunctions, HasTheSameThreadForAGroup) {
  EXPECT_EQ(thread_of_vdpa(request(kCard)), "vdpa-5");
  EXPECT_EQ(thread_of_vdpa(request(kDisk)), "vdpa-6");
}

// A switch keeps a shard on each thread that a port of it ever had: that outlives the port.
TEST_F(AMachineWithFunctions, MayLoseAPortAndHaveItAgain) {
  EventRing events;
  const auto controller = std::move(*Controller::create(builtin_catalogue(), *hardware_, events, {}));
  const PortSpec spec{.name = "vm0", .model = "vdpa-net", .socket = root_ / "vm0", .device = kCard};
  for (int round = 0; round < 3; ++round) {
    const auto added = controller->add(spec);
    ASSERT_TRUE(added) << added.error().text;
    EXPECT_STREQ(controller->port_state("vm0").serving_mode, "stopped");
    ASSERT_TRUE(controller->remove<PortSpec>("vm0"));
    PortSpec other{.name = "vm1", .model = "virtio-net", .socket = root_ / "vm1"};
    ASSERT_TRUE(controller->add(other));  // the switch tells all of its shards
    ASSERT_TRUE(controller->remove<PortSpec>("vm1"));
  }
}

}  // namespace
}  // namespace vmux::control
