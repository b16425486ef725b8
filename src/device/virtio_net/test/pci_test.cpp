// SPDX-License-Identifier: BSD-3-Clause
// The card as a PCI function: structures, status, notifications, interrupts, the window in config space.
#include <gtest/gtest.h>

#include "device/virtio_net/test/frames.hpp"

namespace vmux::device::virtio_net {
namespace {

using pci::Region;
using rigs::frame_to_us;
using rigs::VirtioNetRig;
namespace bit = test::bit;

TEST(VirtioNetPci, IsAModernNetworkCard) {
  VirtioNetRig rig;
  EXPECT_EQ(rig.guest->read_at(Region::config, 0, 4), 0x1041'1af4u);
  EXPECT_EQ(rig.guest->read_at(Region::config, 8, 4), 0x0200'0001u);
  EXPECT_EQ(rig.guest->read_at(Region::config, 0x2c, 4), 0x0041'1af4u);
}

TEST(VirtioNetPci, ItsBarHasARoomForEachQueue) {
  VirtioNetRig rig{VirtioNetRig::Doorbell::poll, 16};
  EXPECT_EQ(rig.nic->function().region(Region::bar4).size, 256u << 10);
  const auto shared = rig.nic->function().region(Region::bar4).shared;
  ASSERT_EQ(shared.size(), 1u);
  EXPECT_EQ(shared[0].offset, 0x4000u);
  EXPECT_EQ(shared[0].size, 32u * 4096);  // not that of the control queue
}

TEST(VirtioNetPci, MapsNothingWhenItTraps) {
  VirtioNetRig rig;
  EXPECT_TRUE(rig.nic->function().region(Region::bar4).shared.empty());
}

TEST(VirtioNetPci, TellsItsFeaturesInWords) {
  VirtioNetRig rig;
  rig.guest->set_common(0, 4, 1);
  EXPECT_NE(rig.guest->common(4, 4) & 1, 0u);  // VERSION_1
  rig.guest->set_common(0, 4, 2);
  EXPECT_EQ(rig.guest->common(4, 4), 0u);
}

TEST(VirtioNetPci, RefusesADriverOfBefore1_0) {
  VirtioNetRig rig;
  EXPECT_FALSE(rig.guest->negotiate(rig.guest->offered() & ~bit::version_1));
  EXPECT_EQ(rig.guest->status(), 3u);
}

TEST(VirtioNetPci, RefusesFeaturesThatAreNotOffered) {
  VirtioNetRig rig;
  EXPECT_FALSE(rig.guest->negotiate(rig.guest->offered() | std::uint64_t{1} << 36));
}

TEST(VirtioNetPci, DoesNotOfferWhatIsWithheld) {
  VirtioNetRig rig{VirtioNetRig::Doorbell::trap, 4, bit::packed};
  EXPECT_EQ(rig.guest->offered() & bit::packed, 0u);
}

TEST(VirtioNetPci, NumbersTheControlQueueByTheFeatures) {
  VirtioNetRig rig;
  ASSERT_TRUE(rig.guest->negotiate(bit::version_1 | bit::control));
  rig.guest->set_common(22, 2, 2);
  EXPECT_EQ(rig.guest->common(24, 2), 64u);
  EXPECT_EQ(rig.guest->common(30, 2), 8u);  // the last page, whatever its number
  rig.guest->set_common(22, 2, 3);
  EXPECT_EQ(rig.guest->common(24, 2), 0u);
  ASSERT_TRUE(rig.guest->negotiate(bit::version_1 | bit::control | bit::mq));
  rig.guest->set_common(22, 2, 2);
  EXPECT_EQ(rig.guest->common(24, 2), 1024u);
  EXPECT_EQ(rig.guest->common(30, 2), 2u);
  rig.guest->set_common(22, 2, 8);
  EXPECT_EQ(rig.guest->common(30, 2), 8u);
  rig.guest->set_common(22, 2, 9);
  EXPECT_EQ(rig.guest->common(24, 2), 0u);
}

TEST(VirtioNetPci, AResetForgetsTheDriver) {
  VirtioNetRig rig;
  rig.guest->bring_up();
  rig.guest->set_common(20, 1, 0);
  EXPECT_EQ(rig.guest->status(), 0u);
  rig.guest->set_common(22, 2, 0);
  EXPECT_EQ(rig.guest->common(28, 2), 0u);
  EXPECT_EQ(rig.guest->common(26, 2), 0xffffu);
  EXPECT_EQ(rig.arrive(frame_to_us(100)), 0u);
  EXPECT_FALSE(rig.nic->is_ready());
}

TEST(VirtioNetPci, UsesNothingBeforeTheDriverIsReady) {
  VirtioNetRig rig;
  ASSERT_TRUE(rig.guest->negotiate(rig.guest->offered()));
  rig.guest->set_up_queue(1, 64);
  rig.guest->queue(frame_to_us(100), {});
  rig.guest->ring(1).publish();
  EXPECT_TRUE(rig.take_bytes().empty());
  rig.guest->set_common(20, 1, 15);
  EXPECT_EQ(rig.take_bytes().size(), 1u);
}

TEST(VirtioNetPci, AQueueThatLiesBadlyIsNotEnabled) {
  VirtioNetRig rig;
  ASSERT_TRUE(rig.guest->negotiate(rig.guest->offered()));
  rig.guest->set_common(22, 2, 0);
  rig.guest->set_common(32, 4, 0x1001);
  rig.guest->set_common(28, 2, 1);
  EXPECT_EQ(rig.guest->common(28, 2), 0u);
}

TEST(VirtioNetPci, AQueueIsResetAndSetUpAnewAmongOthers) {
  VirtioNetRig rig;
  rig.guest->bring_up();
  rig.guest->send(frame_to_us(100));
  rig.guest->reset_queue(1);
  EXPECT_TRUE(rig.take_bytes().empty());
  rig.arrive(frame_to_us(99));
  EXPECT_TRUE(rig.guest->receive());
  rig.guest->set_up_queue(1, 32);
  rig.guest->send(frame_to_us(101));
  EXPECT_EQ(rig.take_bytes().size(), 1u);
}

TEST(VirtioNetPci, WithoutMsixTellsByTheIsrStatus) {
  VirtioNetRig rig;
  pci::IrqRequest off{.irq = pci::Irq::msix,
                      .action = pci::IrqAction::trigger,
                      .data = pci::IrqData::none,
                      .start = 0,
                      .count = 0,
                      .booleans = {},
                      .eventfds = {}};
  ASSERT_TRUE(rig.nic->function().interrupts().configure(off));
  rig.guest->bring_up({.has_vectors = false});
  rig.guest->ring(0).want_interrupt(true);
  rig.arrive(frame_to_us(100));
  EXPECT_TRUE(rig.nic->function().interrupts().intx_level());
  EXPECT_EQ(rig.guest->isr(), 1u);
  EXPECT_FALSE(rig.nic->function().interrupts().intx_level());
  EXPECT_EQ(rig.guest->isr(), 0u);
  rig.nic->set_link(false);
  EXPECT_EQ(rig.guest->isr(), 2u);
}

TEST(VirtioNetPci, AVectorThatThereIsNotReadsAsNone) {
  VirtioNetRig rig;
  rig.guest->set_common(16, 2, 9);
  EXPECT_EQ(rig.guest->common(16, 2), 9u);
  rig.guest->set_common(16, 2, 10);
  EXPECT_EQ(rig.guest->common(16, 2), 0xffffu);
}

TEST(VirtioNetPci, ALinkThatChangesIsToldByTheConfiguration) {
  VirtioNetRig rig;
  rig.guest->bring_up();
  static_cast<void>(rig.guest->interrupts(0));
  const auto generation = rig.guest->common(21, 1);
  EXPECT_EQ(rig.guest->config(6, 2), 1u);
  rig.nic->set_link(false);
  EXPECT_EQ(rig.guest->config(6, 2), 0u);
  EXPECT_NE(rig.guest->common(21, 1), generation);
  EXPECT_EQ(rig.guest->interrupts(0), 1u);
  EXPECT_FALSE(rig.nic->is_ready());
}

TEST(VirtioNetPci, ShowsItsConfiguration) {
  VirtioNetRig rig;
  EXPECT_EQ(rig.guest->config(0, 4), 0x1200'5452u);
  EXPECT_EQ(rig.guest->config(4, 2), 0x5634u);
  EXPECT_EQ(rig.guest->config(8, 2), 4u);
  EXPECT_EQ(rig.guest->config(12, 4), 100'000u);
  EXPECT_EQ(rig.guest->config(16, 1), 1u);
  EXPECT_EQ(rig.guest->config(17, 1), 40u);
  EXPECT_EQ(rig.guest->config(18, 2), 128u);
  EXPECT_EQ(rig.guest->config(20, 4), 0x3fu);
  EXPECT_EQ(rig.guest->config(24, 4), 0u);
}

// Where the window's capability is.
std::uint64_t window_of(VirtioNetRig& rig) {
  auto& guest = *rig.guest;
  std::uint64_t at = guest.read_at(Region::config, 0x34, 1);
  while (guest.read_at(Region::config, at, 1) != 9 || guest.read_at(Region::config, at + 3, 1) != 5)
    at = guest.read_at(Region::config, at + 1, 1);
  return at;
}

TEST(VirtioNetPci, TheWindowReadsAndWritesRegisters) {
  VirtioNetRig rig;
  auto& guest = *rig.guest;
  const std::uint64_t window = window_of(rig);
  guest.write_at(Region::config, window + 4, 1, 4);
  guest.write_at(Region::config, window + 8, 4, 20);  // device_status
  guest.write_at(Region::config, window + 12, 4, 1);
  guest.write_at(Region::config, window + 16, 1, 3);
  EXPECT_EQ(guest.status(), 3u);
  guest.set_common(20, 1, 0);
  EXPECT_EQ(guest.read_at(Region::config, window + 16, 1), 0u);
  guest.write_at(Region::config, window + 8, 4, 18);  // num_queues
  guest.write_at(Region::config, window + 12, 4, 2);
  EXPECT_EQ(guest.read_at(Region::config, window + 16, 4) & 0xffff, 9u);
}

TEST(VirtioNetPci, TheWindowLeadsNowhereElse) {
  VirtioNetRig rig;
  auto& guest = *rig.guest;
  const std::uint64_t window = window_of(rig);
  for (const std::uint64_t bar : {0u, 4u, 7u, 255u}) {
    for (const std::uint64_t offset : {0xffff'fffcu, 0x1'0000u, 3u}) {
      for (const std::uint64_t length : {0u, 3u, 4u, 8u, 0xffff'ffffu}) {
        guest.write_at(Region::config, window + 4, 1, bar);
        guest.write_at(Region::config, window + 8, 4, offset);
        guest.write_at(Region::config, window + 12, 4, length);
        guest.write_at(Region::config, window + 16, 4, 0xffff'ffff);
        static_cast<void>(guest.read_at(Region::config, window + 16, 4));
      }
    }
  }
  EXPECT_EQ(guest.status(), 0u);
  EXPECT_EQ(guest.read_at(Region::config, window, 1), 9u);  // the rest of the capability cannot be written
}

TEST(VirtioNetPci, WithoutBusMasteringNothingMoves) {
  VirtioNetRig rig;
  rig.guest->bring_up();
  rig.guest->set_bus_master(false);
  rig.guest->send(frame_to_us(100));
  EXPECT_TRUE(rig.take_bytes().empty());
  EXPECT_EQ(rig.arrive(frame_to_us(100)), 0u);
  EXPECT_FALSE(rig.guest->command(0, 0, std::array<std::uint8_t, 1>{0}));
  rig.guest->set_bus_master(true);
  EXPECT_EQ(rig.take_bytes().size(), 1u);
  EXPECT_EQ(rig.model().tx(0).guest_fault.get(), 0u);
  EXPECT_TRUE(rig.guest->ring(8).take_used());  // the command was waiting
}

TEST(VirtioNetPci, SaysThatItLeavesByItsLink) {
  VirtioNetRig rig;
  rig.guest->bring_up();
  EXPECT_TRUE(rig.nic->function().announce_departure(false));
  EXPECT_EQ(rig.guest->config(6, 2), 0u);
  rig.nic->function().client_gone([] {});
  EXPECT_TRUE(rig.model().is_link_up());
}

TEST(VirtioNetPci, AnAddressThatIsGivenAtRunTimeIsFoundByTheNextDriver) {
  VirtioNetRig rig;
  rig.nic->nic().set_mac({0x02, 0, 0, 0, 0, 0x07});
  EXPECT_EQ(rig.guest->config(4, 2), 0x0700u);
  rig.guest->bring_up();
  rig.nic->nic().set_mac({0x02, 0, 0, 0, 0, 0x08});
  EXPECT_EQ(rig.guest->config(4, 2), 0x0700u);
  rig.guest->set_common(20, 1, 0);  // a reset
  EXPECT_EQ(rig.guest->config(4, 2), 0x0800u);
}

TEST(VirtioNetPci, AnMtuThatIsGivenAtRunTimeIsShown) {
  VirtioNetRig rig;
  EXPECT_EQ(rig.guest->config(10, 2), 0u);
  rig.nic->nic().set_mtu(1400);
  EXPECT_EQ(rig.guest->config(10, 2), 1400u);
}

}  // namespace
}  // namespace vmux::device::virtio_net
