// SPDX-License-Identifier: BSD-3-Clause
// The whole card: identity, reset, loopback, two cards on one cable, and what traffic costs.
#include <gtest/gtest.h>

#include "rigs/allocations.hpp"
#include "rigs/e1000_rig.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::rigs {
namespace {

std::uint32_t config32(E1000Rig& rig, std::uint64_t at) {
  std::array<std::byte, 4> bytes{};
  EXPECT_TRUE(rig.nic->function().read(pci::Region::config, RegionOffset{at}, bytes).has_value());
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

TEST(E1000Device, HasTheIdentityOfAnEthernetCard) {
  E1000Rig rig;
  EXPECT_EQ(config32(rig, 0), 0x100e8086u);
  EXPECT_EQ(config32(rig, 8) >> 8, 0x020000u);
  EXPECT_EQ(rig.nic->function().region(pci::Region::bar0).size, 0x20000u);
  EXPECT_EQ(rig.nic->function().region(pci::Region::bar1).size, 64u);
  EXPECT_EQ((config32(rig, 0x3c) >> 8) & 0xff, 1u);  // INTA
}

TEST(E1000Device, RefusesAMulticastStationAddress) {
  auto poller = runtime::Poller::create();
  ASSERT_TRUE(poller.has_value());
  EXPECT_FALSE(Nic::create({.mac = {0x01, 0, 0, 0, 0, 0}}, **poller).has_value());
}

TEST(E1000Device, ResetForgetsRingsMasksAndCausesButNotThePhy) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write_phy(4, 0x0101);
  rig.guest->send(broadcast(60));
  rig.guest->reset_device();
  EXPECT_EQ(rig.take().size(), 0u);
  EXPECT_EQ(rig.guest->read(0x3800), 0u);
  EXPECT_EQ(rig.guest->read(0xd0), 0u);
  EXPECT_EQ(rig.guest->read(0xc0), 0u);
  EXPECT_EQ(rig.guest->read_phy(4), 0x0101);
  rig.nic->function().reset(pci::ResetKind::client_request);
  EXPECT_NE(rig.guest->read_phy(4), 0x0101);
}

TEST(E1000Device, NextClientFindsACardAsNew) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->send(broadcast(60));
  rig.guest.reset();
  EXPECT_FALSE(rig.nic->port().is_ready());
  EXPECT_EQ(rig.take().size(), 0u);
  rig.guest = std::make_unique<E1000Guest>(rig.nic->function());
  rig.guest->bring_up();
  rig.guest->send(broadcast(61));
  EXPECT_EQ(rig.take().at(0).bytes.size(), 61u);
}

TEST(E1000Device, NextClientFindsTheEepromAsTheDaemonMadeIt) {
  E1000Rig rig;
  rig.guest->write_eeprom_wires(0, 0x1234);
  rig.nic->function().reset(pci::ResetKind::client_request);
  EXPECT_EQ(rig.guest->read_eeprom_eerd(0), 0x1234);
  rig.guest.reset();
  rig.guest = std::make_unique<E1000Guest>(rig.nic->function());
  EXPECT_EQ(rig.guest->read_eeprom_eerd(0), 0x5452);
  EXPECT_EQ(rig.guest->read(0x5400), 0x12005452u);  // RAL
}

TEST(E1000Device, PhyLoopbackReturnsWhatIsSentAndSilencesTheCable) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->write_phy(0, 0x4140);
  rig.guest->send(broadcast(1024));
  EXPECT_FALSE(rig.nic->port().is_ready());
  EXPECT_EQ(rig.take().size(), 0u);
  EXPECT_EQ(rig.guest->receive().value().bytes, broadcast(1024));
  EXPECT_EQ(rig.guest->reap(), 1u);
  rig.guest->write_phy(0, 0x1140);
  EXPECT_TRUE(rig.nic->port().is_ready());
}

TEST(E1000Device, MacLoopbackWorksWithoutACable) {
  E1000Rig rig;
  rig.guest->bring_up({.receive_bits = 0x40});
  rig.guest->send(broadcast(200));
  static_cast<void>(rig.take());
  EXPECT_TRUE(rig.guest->receive().has_value());
}

TEST(E1000Device, LoopbackOfManyFramesNeedsOneTrappedDoorbell) {
  E1000Rig rig;
  rig.guest->bring_up({.tx_descriptors = 128, .rx_descriptors = 128, .receive_bits = 0x40});
  for (int i = 0; i < 100; ++i)
    rig.guest->queue(broadcast(60));
  rig.guest->ring_doorbell();
  do {
    EXPECT_EQ(rig.take().size(), 0u);
  } while (rig.nic->port().needs_polling());
  EXPECT_EQ(rig.guest->reap(), 100u);
}

TEST(E1000Device, StopsLookingWhileTheClientTrapsItsDoorbells) {
  E1000Rig rig{Doorbell::poll};
  rig.guest->bring_up();
  rig.guest->write(0xc8, 0x80);  // an interrupt, after which QEMU unmaps
  const std::uint64_t give_up = monotonic_ns() + 900'000'000;
  while (rig.nic->port().needs_polling() && monotonic_ns() < give_up) {
    rig.guest->write(0x3818, 0);
    rig.poller->run_once(1'000'000);
  }
  EXPECT_FALSE(rig.nic->port().needs_polling());
  const std::uint64_t end = monotonic_ns() + 3'000'000'000;
  while (!rig.nic->port().needs_polling() && monotonic_ns() < end)
    rig.poller->run_once(50'000'000);
  EXPECT_TRUE(rig.nic->port().needs_polling());
}

/// Two cards on one cable, as the switch would join them.
struct Cable {
  E1000Rig a, b;
  explicit Cable(Doorbell doorbell) : a(doorbell), b(doorbell) {}
  std::size_t carry(E1000Rig& from, E1000Rig& to) {
    const port::test::Round sending{from.nic->port()}, receiving{to.nic->port()};
    std::array<packet::FrameView, port::kMaxBurst> views;
    const std::size_t count = from.nic->port().take(views);
    const std::size_t taken = to.nic->port().deliver(std::span{views}.first(count)).taken;
    port::test::finish(from.nic->port(), count);
    return taken;
  }
};

TEST(E1000Device, SuperFrameGoesFromMemoryToMemoryWithRightChecksums) {
  Cable cable{Doorbell::poll};
  cable.a.guest->bring_up({.mapped_doorbells = true});
  cable.b.guest->bring_up({.mapped_doorbells = true});
  cable.b.guest->write(0x5000, 0x300);
  Bytes frame = tcp_frame(40'000);
  put16(frame, 16, 0);
  put16(frame, 24, 0);
  put16(frame, 50, tcp_pseudo_sum(frame, false));
  cable.a.guest->send(frame, {.ip_checksum = true, .transport_checksum = true, .segment = 1460, .first_part = 2000});
  EXPECT_EQ(cable.carry(cable.a, cable.b), 1u);
  std::size_t payload = 0, frames = 0;
  while (const auto got = cable.b.guest->receive()) {
    ++frames;
    EXPECT_EQ(tcp_sum_of(got->bytes), 0xffffu);
    EXPECT_EQ(got->status & 0x60, 0x60);
    EXPECT_EQ(got->errors, 0);
    EXPECT_TRUE(std::equal(got->bytes.begin() + 54, got->bytes.end(), frame.begin() + 54 + std::ptrdiff_t(payload)));
    payload += got->bytes.size() - 54;
  }
  EXPECT_EQ(payload, 40'000u);
  EXPECT_EQ(frames, 28u);
}

TEST(E1000Device, TrafficAllocatesNothing) {
  Cable cable{Doorbell::poll};
  cable.a.guest->bring_up({.mapped_doorbells = true});
  cable.b.guest->bring_up({.mapped_doorbells = true});
  const Bytes small = broadcast(60), large = broadcast(1514);
  std::size_t carried = 0, allocations = 0;
  for (unsigned round = 0; round < 64; ++round) {
    cable.a.guest->queue(small, {.delayed = true});
    cable.a.guest->queue(large);
    cable.a.guest->ring_doorbell();
    {
      const CountAllocations counting;
      carried += cable.carry(cable.a, cable.b);
      allocations += counting.seen();
    }
    static_cast<void>(cable.a.guest->reap());
    while (cable.b.guest->receive()) {
    }
    if (round % 8 == 7) cable.b.guest->refill();  // sometimes the FIFO has to hold frames
  }
  EXPECT_EQ(carried, 128u);
  EXPECT_EQ(allocations, 0u);
}

}  // namespace
}  // namespace vmux::rigs
