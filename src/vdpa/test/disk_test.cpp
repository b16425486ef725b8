// SPDX-License-Identifier: BSD-3-Clause
// A disk that a function serves: its configuration, and that it has no other store.
#include <gmock/gmock.h>

#include "vdpa/test/accelerated_rig.hpp"

namespace vmux::vdpa {
namespace {

using testing::ElementsAre;
using namespace test;

constexpr std::uint64_t kWce = 1ull << 11, kFlush = 1ull << 9;

class AnAcceleratedDisk : public testing::Test {
 protected:
  AnAcceleratedDisk() : rig_({.function = kVersion1 | kPlatform | kWce | kFlush, .is_disk = true}) {}
  void start() {
    rig_.accept(kVersion1 | kWce | kFlush);
    rig_.new_ring(0);
    rig_.start(0);
    rig_.settle();
  }
  AcceleratedRig rig_;
};

TEST_F(AnAcceleratedDisk, IsTheFunctionsOwn) {
  EXPECT_EQ(rig_.device->kind(), 2);
  EXPECT_EQ(rig_.device->features() & (kWce | kFlush), kWce | kFlush);
  std::array<std::byte, 8> capacity{};
  rig_.device->read_config(0, capacity);
  EXPECT_EQ(std::to_integer<int>(capacity[0]), 100);
}

// Requests may overtake each other in a disk: a ring of ours is the only place where their order is known.
TEST_F(AnAcceleratedDisk, IsShadowedWhereRequestsMayOvertakeEachOther) {
  start();
  EXPECT_EQ(rig_.device->mode(), Mode::shadow);
}

TEST_F(AnAcceleratedDisk, NeverHasAnotherStore) {
  start();
  rig_.post(0, 1);
  rig_.card().is_present = false;
  signal_eventfd(rig_.card().req);
  rig_.pump([this] { return rig_.device->mode() == Mode::waiting; });
  rig_.post(0, 2);
  rig_.pump();
  EXPECT_TRUE(rig_.taken(0).empty());
  rig_.card().is_present = true;
  rig_.pump([this] { return rig_.device->mode() == Mode::shadow; });
  EXPECT_EQ(rig_.card().serve(0), 2u);
  rig_.pump();
  EXPECT_THAT(rig_.taken(0), ElementsAre(1, 2));
}

TEST_F(AnAcceleratedDisk, TellsOfAnotherSize) {
  start();
  const int told = rig_.signals.config;
  rig_.card().device_config[0] = std::byte{200};
  rig_.card().config_interrupt();
  rig_.pump();
  EXPECT_EQ(rig_.signals.config, told + 1);
  std::array<std::byte, 8> capacity{};
  rig_.device->read_config(0, capacity);
  EXPECT_EQ(std::to_integer<int>(capacity[0]), 200);
}

TEST_F(AnAcceleratedDisk, KeepsTheGuestsCacheModeOverResets) {
  start();
  const std::byte on{1};
  rig_.device->write_config(32, {&on, 1});
  EXPECT_EQ(rig_.card().device_config[32], on);
  rig_.card().device_config[32] = std::byte{0};  // as a reset leaves it
  const virtio::QueueState state = rig_.device->stop_queue(0);
  rig_.start(0, state);
  rig_.settle();
  EXPECT_EQ(rig_.card().device_config[32], on);
}

TEST_F(AnAcceleratedDisk, KeepsTheGuestsCacheModeWhenItsFunctionWasAway) {
  start();
  const std::byte on{1};
  rig_.device->write_config(32, {&on, 1});
  rig_.card().device_config[32] = std::byte{0};
  rig_.card().device_config[0] = std::byte{200};
  const int told = rig_.signals.config;
  signal_eventfd(rig_.card().req);
  rig_.pump([this] { return rig_.device->mode() == Mode::waiting; });
  rig_.pump([this] { return rig_.device->mode() == Mode::shadow; });
  EXPECT_EQ(rig_.card().device_config[32], on);
  std::array<std::byte, 33> config{};
  rig_.device->read_config(0, config);
  EXPECT_EQ(config[32], on);
  EXPECT_EQ(config[0], std::byte{200});
  EXPECT_EQ(rig_.signals.config, told + 1);
}

TEST_F(AnAcceleratedDisk, LeavesNoCacheModeToTheNextDriver) {
  start();
  const std::byte on{1};
  rig_.device->write_config(32, {&on, 1});
  rig_.device->reset(/*client_gone=*/false);
  std::array<std::byte, 1> mode{};
  rig_.device->read_config(32, mode);
  EXPECT_EQ(mode[0], std::byte{0});
}

// A front end has been told of the queues that there were, and a guest of rings as long as they were.
TEST_F(AnAcceleratedDisk, HasNoMoreQueuesThanAtFirst) {
  constexpr std::uint64_t kDiskMq = 1ull << 12;
  AcceleratedRig rig({.function = kVersion1 | kPlatform | kDiskMq, .pairs = 2, .is_disk = true});
  ASSERT_EQ(rig.device->queue_count(), 2u);
  rig.card().queues.resize(4, rig.card().queues[0]);
  for (auto& queue : rig.card().queues)
    queue.most = queue.size = 16;
  rig.card().device_config[34] = std::byte{4};
  rig.leave();
  rig.boot();
  ASSERT_TRUE(rig.device->has_function());
  EXPECT_EQ(rig.device->queue_count(), 2u);
  EXPECT_EQ(rig.device->max_size(0), 8u);
  std::array<std::byte, 2> queues{};
  rig.device->read_config(34, queues);
  EXPECT_EQ(queues[0], std::byte{2});
  for (auto& queue : rig.card().queues)
    queue.most = queue.size = 4;
  rig.leave();
  rig.boot();
  EXPECT_FALSE(rig.device->has_function());
}

TEST_F(AnAcceleratedDisk, OffersNoMoreSegmentsThanARingOfOursHolds) {
  constexpr std::uint64_t kSegMax = 1ull << 2;
  AcceleratedRig rig({.function = kVersion1 | kPlatform | kSegMax, .is_disk = true});
  rig.card().device_config[12] = std::byte{126};
  rig.accept(kVersion1 | kSegMax);
  rig.new_ring(0);
  rig.start(0);
  rig.settle();
  rig.card().config_interrupt();
  rig.pump();
  std::array<std::byte, 1> segments{};
  rig.device->read_config(12, segments);
  EXPECT_EQ(segments[0], std::byte{6});  // it has changed: when it was opened it had said 0
  rig.leave();
  rig.boot();
  rig.device->read_config(12, segments);
  EXPECT_EQ(segments[0], std::byte{6});
}

TEST_F(AnAcceleratedDisk, DoesNotWaitForARingThatMakesNoSense) {
  AcceleratedRig rig({.function = kVersion1 | kPlatform | kInOrder, .is_disk = true});
  rig.accept(kVersion1 | kInOrder);
  rig.new_ring(0);
  rig.start(0);
  rig.settle();
  ASSERT_EQ(rig.device->mode(), Mode::direct);
  rig.memory.data()[0x400 + 2] = std::byte{200};  // available, of 8
  const std::uint64_t before = monotonic_ns();
  static_cast<void>(rig.device->stop_queue(0));
  EXPECT_LT(monotonic_ns() - before, 500'000'000u);
}

// Without CONFIG_WCE what the field says is the function's own affair, and changes with each start.
TEST_F(AnAcceleratedDisk, TellsOfNothingWhenTheCacheModeIsAnother) {
  start();
  const int told = rig_.signals.config;
  rig_.card().device_config[32] = std::byte{1};
  rig_.card().config_interrupt();
  rig_.pump();
  EXPECT_EQ(rig_.signals.config, told);
}

TEST_F(AnAcceleratedDisk, LetsNothingElseOfItsConfigurationBeWritten) {
  start();
  const std::array<std::byte, 8> capacity{std::byte{1}};
  rig_.device->write_config(0, capacity);
  EXPECT_EQ(rig_.card().device_config[0], std::byte{100});
}

}  // namespace
}  // namespace vmux::vdpa
