// SPDX-License-Identifier: BSD-3-Clause
// The function comes and goes: what it offers, who stands in, what it reaches, and what is left between two VMs.
#include "vdpa/accelerated_device.hpp"

#include <gmock/gmock.h>

#include "vdpa/test/accelerated_rig.hpp"

namespace vmux::vdpa {
namespace {

using testing::Contains;
using testing::ElementsAre;
using namespace test;

class AnAcceleratedCard : public testing::Test {
 protected:
  explicit AnAcceleratedCard(RigOptions options = {}) : rig_(options) {}
  void start(std::uint64_t features = kVersion1) {
    rig_.accept(features);
    rig_.new_ring(0);
    rig_.start(0);
    rig_.settle();
  }
  AcceleratedRig rig_;
};

TEST_F(AnAcceleratedCard, OffersWhatBothCan) {
  EXPECT_EQ(rig_.device->features() & kMrgRxbuf, kMrgRxbuf);
  AcceleratedRig without({.function = kVersion1 | kPlatform});
  EXPECT_EQ(without.device->features() & kMrgRxbuf, 0u);
  // Rings are ours, whatever the function has.
  EXPECT_EQ(without.device->features() & (kPacked | kEventIdx), kPacked | kEventIdx);
}

TEST_F(AnAcceleratedCard, TakesFramesForThePortsAddress) {
  start();
  EXPECT_THAT(rig_.card().commands, ElementsAre(ElementsAre(1, 1, 0x52, 0x54, 0, 1, 2, 3)));
}

TEST(AnAcceleratedCardWithoutAnAddressToSet, TakesAllFrames) {
  AcceleratedRig rig({.function = kVersion1 | kPlatform | kCtrlVq | kCtrlRx});
  rig.accept(kVersion1);
  rig.new_ring(0);
  rig.start(0);
  rig.settle();
  EXPECT_THAT(rig.card().commands, ElementsAre(ElementsAre(0, 0, 1)));
}

TEST(AnAcceleratedCardWithPairs, UsesThoseThatRun) {
  AcceleratedRig rig({.function = kVersion1 | kPlatform | kCtrlVq | kMq, .pairs = 2});
  rig.accept(kVersion1);
  EXPECT_EQ(rig.device->pairs(), 2u);
  for (unsigned queue = 0; queue < 4; ++queue) {
    rig.new_ring(queue);
    rig.start(queue);
  }
  rig.settle();
  EXPECT_EQ(rig.device->mode(), Mode::direct);
  EXPECT_THAT(rig.card().commands, ElementsAre(ElementsAre(4, 0, 2, 0)));
  EXPECT_EQ(rig.card().queues[4].enabled, 1);
}

TEST_F(AnAcceleratedCard, RunsThoughACommandIsNotAnswered) {
  rig_.card().answers_commands = false;
  start();
  EXPECT_EQ(rig_.device->mode(), Mode::direct);
}

TEST_F(AnAcceleratedCard, StandsInForAFunctionThatAsksForAReset) {
  start();
  rig_.post(0, 1);
  rig_.card().status |= 64;
  rig_.card().config_interrupt();
  rig_.pump([this] { return rig_.device->mode() == Mode::software; });
  EXPECT_FALSE(rig_.card().masters_bus());
  EXPECT_THAT(rig_.stand_in->running, ElementsAre(0u));
  EXPECT_THAT(rig_.taken(0), ElementsAre(1));
  rig_.pump([this] { return rig_.device->mode() == Mode::shadow; });  // a second later it is well again
  EXPECT_TRUE(rig_.stand_in->running.empty());
  rig_.post(0, 2);
  rig_.card().serve(0);
  rig_.pump();
  EXPECT_THAT(rig_.taken(0), ElementsAre(2));
}

TEST_F(AnAcceleratedCard, StandsInForAFunctionThatFailsAsItStarts) {
  rig_.card().fails_at_once = true;
  rig_.accept(kVersion1);
  rig_.new_ring(0);
  rig_.rings[0]->post({{AcceleratedRig::buffer(1), 100, true}}, 1);
  rig_.start(0);
  rig_.settle();
  EXPECT_EQ(rig_.device->mode(), Mode::software);
  EXPECT_EQ(rig_.device->counters().starts.get(), 0u);
  EXPECT_THAT(rig_.taken(0), ElementsAre(1));
}

TEST_F(AnAcceleratedCard, NoticesAFunctionThatHasStoppedByItself) {
  start();
  rig_.card().status = 0;
  rig_.pump([this] { return rig_.device->mode() == Mode::software; });
}

TEST_F(AnAcceleratedCard, GivesTheFunctionBackWhenTheHostWantsIt) {
  start();
  rig_.post(0, 1);
  signal_eventfd(rig_.card().req);
  rig_.pump([this] { return rig_.device->mode() == Mode::software; });
  EXPECT_EQ(rig_.card().closed, rig_.card().opened);
  EXPECT_EQ(rig_.machine.domains, 0);
  EXPECT_THAT(rig_.taken(0), ElementsAre(1));
  rig_.pump([this] { return rig_.device->mode() == Mode::shadow; });  // it is there again
  EXPECT_EQ(rig_.machine.iommu.faults, 0);
}

TEST_F(AnAcceleratedCard, GivesAFunctionBackThatDoesNotLeaveTheBus) {
  start();
  rig_.card().keeps_bus_master = true;
  static_cast<void>(rig_.device->stop_queue(0));
  EXPECT_EQ(rig_.card().closed, rig_.card().opened);
  EXPECT_FALSE(rig_.card().masters_bus());
}

TEST_F(AnAcceleratedCard, GoesOnWithoutAFunctionThatIsGone) {
  start();
  rig_.card().is_present = false;
  signal_eventfd(rig_.card().req);
  rig_.pump([this] { return rig_.device->mode() == Mode::software; });
  // The guest's driver begins anew: it is tried again, and is not there.
  static_cast<void>(rig_.device->stop_queue(0));
  rig_.new_ring(0);
  rig_.start(0);
  rig_.pump([this] { return rig_.device->mode() == Mode::software; });
  rig_.post(0, 3);
  EXPECT_THAT(rig_.taken(0), ElementsAre(3));
}

TEST_F(AnAcceleratedCard, ThatReportsAnErrorIsNotUsed) {
  start();
  signal_eventfd(rig_.card().err);
  rig_.pump([this] { return rig_.device->mode() == Mode::software; });
  EXPECT_FALSE(rig_.card().masters_bus());
}

TEST_F(AnAcceleratedCard, WhoseMemoryCannotBePinnedIsServedBySoftware) {
  AcceleratedRig rig({.has_vm = false});
  rig.machine.iommu.can_pin = false;
  rig.boot();
  rig.accept(kVersion1);
  rig.new_ring(0);
  rig.start(0);
  rig.pump([&rig] { return rig.device->mode() == Mode::software; });
  EXPECT_NE(rig.device->reason(), "");
}

TEST_F(AnAcceleratedCard, ReachesTheGuestsMemoryAloneOnceItServesTheGuestsRings) {
  start();
  ASSERT_EQ(rig_.device->mode(), Mode::direct);
  EXPECT_EQ(rig_.card().commands.size(), 1u);
  ASSERT_EQ(rig_.machine.iommu.ranges.size(), 1u);
  EXPECT_EQ(rig_.machine.iommu.ranges.begin()->first, AcceleratedRig::kBase);
  EXPECT_EQ(rig_.machine.iommu.ranges.begin()->second.size, AcceleratedRig::kSize);
}

// Two other functions of its group have their rings in the places that come first.
TEST(AnAcceleratedCardOfALargeGroup, FindsAPlaceForItsRings) {
  struct Other final : kvfio::Group::Member {
    Result<void> open(kvfio::KernelDomain&) override { return {}; }
    void close() noexcept override {}
    void memory_failed(const char*) noexcept override {}
  } other;
  AcceleratedRig rig({.only_shadow = true});
  const auto group = *rig.groups.get(7, *rig.poller);
  ASSERT_TRUE(group->join(other));
  std::array<std::byte, 4096> page{};
  for (const std::uint64_t at : {9ull << 30, 1ull << 24}) {
    ASSERT_TRUE(group->map(other, {Iova{at}, ByteCount{4096}, memory::Access::read_write, {1, 2, at}, page.data()}));
  }
  rig.accept(kVersion1);
  rig.new_ring(0);
  rig.start(0);
  rig.settle();
  EXPECT_EQ(rig.device->mode(), Mode::shadow);
  rig.post(0, 1);
  rig.card().serve(0);
  rig.pump();
  EXPECT_THAT(rig.taken(0), ElementsAre(1));
  group->leave(other);
}

TEST_F(AnAcceleratedCard, IsOfAGroupThatOneThreadHas) {
  const auto other = std::move(*runtime::Poller::create());
  const auto group = rig_.groups.get(7, *other);
  ASSERT_FALSE(group);
  EXPECT_EQ(group.error().code, Errc::not_supported);  // busy: another process has it
  EXPECT_TRUE(rig_.groups.get(7, *rig_.poller));
}

TEST_F(AnAcceleratedCard, IsServedBySoftwareThoughItsFunctionIsTakenMeanwhile) {
  start();
  signal_eventfd(rig_.card().err);
  rig_.pump([this] { return rig_.device->mode() == Mode::software; });
  rig_.card().is_present = false;
  signal_eventfd(rig_.card().req);
  rig_.pump([this] { return !rig_.device->has_function(); });
  EXPECT_EQ(rig_.device->mode(), Mode::software);
  EXPECT_THAT(rig_.stand_in->running, ElementsAre(0u));
  rig_.post(0, 1);
  EXPECT_THAT(rig_.taken(0), ElementsAre(1));
  rig_.card().is_present = true;
  rig_.pump([this] { return rig_.device->mode() == Mode::shadow; });
}

TEST_F(AnAcceleratedCard, IsServedBySoftwareThoughItsFunctionIsTakenBeforeItServes) {
  rig_.accept(kVersion1);
  rig_.new_ring(0);
  rig_.start(0);
  rig_.card().is_present = false;
  signal_eventfd(rig_.card().req);
  rig_.pump([this] { return !rig_.device->has_function(); });
  rig_.pump([this] { return rig_.device->mode() == Mode::software; });
  rig_.card().is_present = true;
  rig_.pump([this] { return rig_.device->has_function() && rig_.device->mode() != Mode::software; });
}

TEST_F(AnAcceleratedCard, IsServedBySoftwareWhenPinningFailsInTheBackground) {
  AcceleratedRig rig({.has_vm = false});
  rig.pin_slowly();
  rig.boot();
  rig.machine.iommu.can_pin = false;
  rig.accept(kVersion1);
  rig.new_ring(0);
  rig.start(0);
  rig.pump([&rig] { return rig.device->mode() == Mode::software; });
  const std::uint64_t later = monotonic_ns() + 30'000'000;
  rig.pump([later] { return monotonic_ns() >= later; });
  EXPECT_EQ(rig.device->mode(), Mode::software);
  EXPECT_EQ(rig.device->counters().stand_ins.get(), 1u);
  EXPECT_NE(rig.device->reason(), "");
}

TEST_F(AnAcceleratedCard, StandsStillUntilMemoryThatHasComeIsPinned) {
  start();
  rig_.pin_slowly();
  auto more = std::move(*make_memfd("more", 0x10000));
  ASSERT_TRUE(rig_.space->map({Iova{0x10000}, ByteCount{0x10000}, memory::Access::read_write, std::move(more), 0}));
  ASSERT_EQ(rig_.machine.iommu.ranges.count(0x10000), 0u);
  EXPECT_FALSE(rig_.card().is_live());
  rig_.pump([this] { return rig_.card().is_live(); });
  EXPECT_EQ(rig_.machine.iommu.ranges.count(0x10000), 1u);
}

TEST_F(AnAcceleratedCard, IsServedBySoftwareWhileItsFunctionsMemoryIsPinnedAgain) {
  start();
  signal_eventfd(rig_.card().req);
  rig_.pump([this] { return rig_.device->mode() == Mode::software; });
  rig_.pin_slowly();
  bool has_waited = false;
  rig_.pump([&] {
    has_waited = has_waited || rig_.device->mode() == Mode::waiting;
    return rig_.device->mode() == Mode::shadow || rig_.device->mode() == Mode::direct;
  });
  EXPECT_FALSE(has_waited);
}

// [VIRTIO] 5.1.6.1: its header has ten bytes, and each modern function uses twelve.
TEST_F(AnAcceleratedCard, IsServedBySoftwareForAGuestWithAShorterHeader) {
  start(kEventIdx);
  EXPECT_EQ(rig_.device->mode(), Mode::software);
  EXPECT_EQ(rig_.device->counters().starts.get(), 0u);
  static_cast<void>(rig_.device->stop_queue(0));
  start(kMrgRxbuf);
  EXPECT_EQ(rig_.device->mode(), Mode::direct);
}

TEST(AnAcceleratedCardWithMorePairsThanWeReach, IsToldOfItsAddressByItsSecondQueue) {
  AcceleratedRig rig({.function = kVersion1 | kPlatform | kCtrlVq | kCtrlMac | kMq, .pairs = 40});
  EXPECT_EQ(rig.device->pairs(), 1u);
  rig.accept(kVersion1);
  rig.new_ring(0);
  rig.start(0);
  rig.settle();
  EXPECT_EQ(rig.card().accepted & kMq, 0u);
  EXPECT_EQ(rig.card().queues[2].enabled, 1);
}

TEST(AnAcceleratedCardThatOwesAnAnswer, IsToldNothingMore) {
  AcceleratedRig rig({.function = kVersion1 | kPlatform | kCtrlVq | kCtrlRx | kCtrlMac | kMq, .pairs = 2});
  rig.card().answers_commands = false;
  rig.accept(kVersion1);
  rig.new_ring(0);
  rig.start(0);
  rig.settle();
  EXPECT_EQ(rig.card().fetch(4), 1u);
  rig.card().complete(4, 0, 0);  // late, and where it is expected
  EXPECT_EQ(rig.machine.iommu.faults, 0);
}

TEST_F(AnAcceleratedCard, AnnouncesItsGuestOnceItServes) {
  AcceleratedRig rig({.only_shadow = true});
  rig.accept(kVersion1);
  rig.new_ring(1);
  rig.start(1);
  const MacAddress station{2, 0, 0, 0, 0, 9};
  rig.device->announce(station);
  rig.settle();
  ASSERT_EQ(rig.device->mode(), Mode::shadow);
  EXPECT_EQ(rig.card().fetch(1), 1u);
}

TEST_F(AnAcceleratedCard, DoesNotReachMemoryThatWasTakenBack) {
  start();
  auto more = std::move(*make_memfd("more", 0x10000));
  ASSERT_TRUE(rig_.space->map({Iova{0x10000}, ByteCount{0x10000}, memory::Access::read_write, std::move(more), 0}));
  EXPECT_EQ(rig_.machine.iommu.ranges.count(0x10000), 1u);
  bool is_quiet = false;
  ASSERT_TRUE(rig_.space->unmap(Iova{0x10000}, ByteCount{0x10000}, [&] {
    is_quiet = true;
    EXPECT_EQ(rig_.machine.iommu.ranges.count(0x10000), 0u);
  }));
  EXPECT_TRUE(is_quiet);
  EXPECT_EQ(rig_.device->mode(), Mode::direct);
}

TEST_F(AnAcceleratedCard, MovesItsRingsOutOfTheWayOfMemory) {
  AcceleratedRig rig({.only_shadow = true});
  rig.accept(kVersion1);
  rig.new_ring(0);
  rig.start(0);
  rig.settle();
  const std::uint64_t ours = std::prev(rig.machine.iommu.ranges.end())->first;
  auto more = std::move(*make_memfd("more", 0x100000));
  ASSERT_TRUE(rig.space->map({Iova{ours}, ByteCount{0x100000}, memory::Access::read_write, std::move(more), 0}));
  rig.settle();
  ASSERT_EQ(rig.device->mode(), Mode::shadow);
  EXPECT_EQ(rig.machine.iommu.ranges.at(ours).size, 0x100000u);
  rig.post(0, 1);
  rig.card().serve(0);
  rig.pump();
  EXPECT_THAT(rig.taken(0), ElementsAre(1));
  EXPECT_EQ(rig.machine.iommu.faults, 0);
}

TEST_F(AnAcceleratedCard, LeavesNothingOfOneVmToTheNext) {
  start();
  rig_.post(0, 1);
  const int opened = rig_.card().opened;
  rig_.leave();
  EXPECT_TRUE(rig_.machine.iommu.ranges.empty());
  EXPECT_EQ(rig_.card().opened, opened + 1);  // by the kernel, which has reset it
  EXPECT_FALSE(rig_.card().masters_bus());
  rig_.boot();
  start();
  EXPECT_EQ(rig_.device->mode(), Mode::direct);
  rig_.post(0, 2);
  rig_.card().serve(0);
  EXPECT_THAT(rig_.taken(0), ElementsAre(2));
}

TEST_F(AnAcceleratedCard, StandsStillWhilePaused) {
  start();
  rig_.post(0, 1);
  rig_.card().fetch(0);
  rig_.device->pause();
  EXPECT_FALSE(rig_.card().masters_bus());
  EXPECT_EQ(rig_.device->queue_state(0).next_avail, 0);
  rig_.device->resume();
  rig_.settle();
  rig_.card().serve(0);
  rig_.pump();
  EXPECT_THAT(rig_.taken(0), ElementsAre(1));
}

TEST_F(AnAcceleratedCard, FollowsTheFunctionsLink) {
  AcceleratedRig rig({.function = kVersion1 | kPlatform | kStatus});
  rig.accept(kVersion1);
  rig.new_ring(0);
  rig.start(0);
  rig.settle();
  EXPECT_TRUE(rig.device->is_link_up());
  rig.card().device_config[6] = std::byte{0};
  rig.card().config_interrupt();
  rig.pump();
  EXPECT_FALSE(rig.device->is_link_up());
}

TEST_F(AnAcceleratedCard, IsNoDeviceOfAnotherKind) {
  fake::Machine machine;
  machine.cards.try_emplace("a", 4u, 2u);
  kvfio::Groups groups{machine};
  EXPECT_EQ(AcceleratedDevice::create({"vm0", "a"}, *groups.get(7, *rig_.poller), *rig_.poller).error().code,
            Errc::not_supported);
}

}  // namespace
}  // namespace vmux::vdpa
