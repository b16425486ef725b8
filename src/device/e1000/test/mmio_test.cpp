// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include "rigs/e1000_rig.hpp"

namespace vmux::rigs {
namespace {

// The pattern test of the stock Linux driver's `ethtool -t`: what is written comes back through the writable bits.
struct Pattern {
  const char* name;
  std::uint32_t at, mask, write;
};
void PrintTo(const Pattern& pattern, std::ostream* out) { *out << pattern.name; }

class E1000Pattern : public testing::TestWithParam<Pattern> {};
TEST_P(E1000Pattern, KeepsItsWritableBits) {
  E1000Rig rig{Doorbell::poll};
  const Pattern p = GetParam();
  for (const std::uint32_t value : {0x5a5a5a5au, 0xa5a5a5a5u, 0x00000000u, 0xffffffffu}) {
    rig.guest->write(p.at, p.write & value);
    EXPECT_EQ(rig.guest->read(p.at), p.write & value & p.mask);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Registers, E1000Pattern,
    testing::Values(Pattern{"FCAL", 0x28, ~0u, ~0u}, Pattern{"FCAH", 0x2c, 0xffff, ~0u},
                    Pattern{"FCT", 0x30, 0xffff, ~0u}, Pattern{"VET", 0x38, 0xffff, ~0u},
                    Pattern{"RDTR", 0x2820, 0xffff, ~0u}, Pattern{"RDBAH", 0x2804, ~0u, ~0u},
                    Pattern{"RDLEN", 0x2808, 0xfff80, 0xfffff}, Pattern{"RDH", 0x2810, 0xffff, 0xffff},
                    Pattern{"RDT", 0x2818, 0xffff, 0xffff}, Pattern{"FCRTH", 0x2168, 0xfff8, 0xfff8},
                    Pattern{"FCTTV", 0x170, 0xffff, 0xffff}, Pattern{"TIPG", 0x410, 0x3fffffff, 0x3fffffff},
                    Pattern{"TDBAH", 0x3804, ~0u, ~0u}, Pattern{"TDLEN", 0x3808, 0xfff80, 0xfffff},
                    Pattern{"RDBAL", 0x2800, 0xfffffff0, ~0u}, Pattern{"TXCW", 0x178, 0xc000ffff, 0xffff},
                    Pattern{"TDBAL", 0x3800, 0xfffffff0, ~0u}, Pattern{"TIDV", 0x3820, 0xffff, 0xffff},
                    Pattern{"RAH0", 0x5404, 0x8003ffff, ~0u}, Pattern{"RAH15", 0x547c, 0x8003ffff, ~0u},
                    Pattern{"MTA0", 0x5200, ~0u, ~0u}, Pattern{"MTA127", 0x53fc, ~0u, ~0u},
                    Pattern{"VFTA127", 0x57fc, ~0u, ~0u}),
    [](const auto& row) { return row.param.name; });

TEST(E1000Registers, RctlAndTctlKeepWhatTheDiagnosticsWrite) {
  E1000Rig rig;
  rig.guest->write(0x100, 0x06dfb3fe & 0x003ffffb);
  EXPECT_EQ(rig.guest->read(0x100) & 0x06dfb3fe, 0x06dfb3feu & 0x003ffffb);
  rig.guest->write(0x100, 0x06dfb3fe);
  EXPECT_EQ(rig.guest->read(0x100) & 0x06dfb3fe, 0x06dfb3feu);
  rig.guest->write(0x100, 0);
  rig.guest->write(0x400, 0);
  EXPECT_EQ(rig.guest->read(0x100), 0u);
  EXPECT_EQ(rig.guest->read(0x400), 0u);
}

TEST(E1000Registers, StatusIsReadOnlyAndTellsALinkOf1000FullDuplex) {
  E1000Rig rig;
  const std::uint32_t before = rig.guest->read(0x8);
  rig.guest->write(0x8, 0xfffff833);
  EXPECT_EQ(rig.guest->read(0x8), before);
  EXPECT_EQ(before & 0xc3, 0x83u);  // FD, LU, SPEED 10
}

TEST(E1000Registers, UnknownOffsetsReadZeroAndTakeNothing) {
  E1000Rig rig;
  for (const std::uint32_t at : {0x4u, 0x1ffcu, 0x9c00u, 0x1fffcu}) {
    rig.guest->write(at, ~0u);
    EXPECT_EQ(rig.guest->read(at), 0u) << at;
  }
}

TEST(E1000Registers, PartialWritesAreIgnored) {
  E1000Rig rig;
  rig.guest->write(0x28, 0x11223344);
  const std::array<std::byte, 1> one{std::byte{0xff}};
  ASSERT_TRUE(rig.nic->function().write(pci::Region::bar0, RegionOffset{0x28}, one).has_value());
  EXPECT_EQ(rig.guest->read(0x28), 0x11223344u);
}

TEST(E1000Registers, EightByteAccessIsTwoRegisters) {
  E1000Rig rig;
  rig.guest->write(0x28, 0x11223344);
  rig.guest->write(0x2c, 0x5566);
  std::array<std::byte, 8> both{};
  ASSERT_TRUE(rig.nic->function().read(pci::Region::bar0, RegionOffset{0x28}, both).has_value());
  EXPECT_EQ(both[0], std::byte{0x44});
  EXPECT_EQ(both[4], std::byte{0x66});
}

TEST(E1000Registers, IoWindowReachesRegistersAndResets) {
  E1000Rig rig;
  rig.guest->write_io(0x28, 0xcafe);
  EXPECT_EQ(rig.guest->read(0x28), 0xcafeu);
  EXPECT_EQ(rig.guest->read_io(0x28), 0xcafeu);
  rig.guest->write_io(0x0, 0x0400'0000);  // CTRL.RST, as the Linux driver resets this part
  EXPECT_EQ(rig.guest->read(0x28), 0u);
  EXPECT_EQ(rig.guest->read(0x0) & 0x0400'0000, 0u);
}

TEST(E1000Registers, ResetReloadsTheStationAddress) {
  E1000Rig rig;
  rig.guest->write(0x5400, 0);
  rig.guest->write(0x5404, 0);
  rig.guest->reset_device();
  EXPECT_EQ(rig.guest->read(0x5400), 0x12005452u);
  EXPECT_EQ(rig.guest->read(0x5404), 0x80005634u);
}

TEST(E1000Registers, PacketBufferSplitAddsUpTo64KiB) {
  E1000Rig rig;
  EXPECT_EQ(rig.guest->read(0x1000), 0x00100030u);
  rig.guest->write(0x1000, 0x28);
  EXPECT_EQ(rig.guest->read(0x1000), 0x00180028u);
}

TEST(E1000Registers, MappedAndTrappedAccessMeetInTheSameMemory) {
  E1000Rig rig{Doorbell::poll};
  rig.guest->write_mapped(0x3800, 0x1234'5600);
  EXPECT_EQ(rig.guest->read(0x3800), 0x1234'5600u);
  rig.guest->write(0x2808, 0x400);
  EXPECT_EQ(rig.guest->read_mapped(0x2808), 0x400u);
}

TEST(E1000Registers, TrapModeOffersNothingToMap) {
  E1000Rig trap{Doorbell::trap}, poll{Doorbell::poll};
  EXPECT_TRUE(trap.nic->function().region(pci::Region::bar0).shared.empty());
  EXPECT_FALSE(poll.nic->function().region(pci::Region::bar0).shared.empty());
  trap.guest->bring_up();
  poll.guest->bring_up();
  EXPECT_FALSE(trap.nic->port().needs_polling());
  EXPECT_TRUE(poll.nic->port().needs_polling());
}

TEST(E1000Eeprom, HoldsTheMacAndTheFactoryChecksum) {
  E1000Rig rig;
  EXPECT_EQ(rig.guest->read_eeprom_eerd(0), 0x5452);
  EXPECT_EQ(rig.guest->read_eeprom_eerd(2), 0x5634);
  unsigned sum = 0;
  for (unsigned word = 0; word < 64; ++word)
    sum += rig.guest->read_eeprom_wires(word);
  EXPECT_EQ(sum & 0xffff, 0xbabau);
}

TEST(E1000Eeprom, WiresAndEerdReadTheSameWords) {
  E1000Rig rig;
  for (unsigned word = 0; word < 64; ++word) {
    EXPECT_EQ(rig.guest->read_eeprom_wires(word), rig.guest->read_eeprom_eerd(word)) << word;
  }
}

TEST(E1000Eeprom, TakesAWriteBetweenEnableAndDisable) {
  E1000Rig rig;
  rig.guest->write_eeprom_wires(0x20, 0x1357);
  EXPECT_EQ(rig.guest->read_eeprom_eerd(0x20), 0x1357);
}

TEST(E1000Phy, IsAnM88WithALinkAndDoneNegotiating) {
  E1000Rig rig;
  EXPECT_EQ(rig.guest->read_phy(2), 0x0141);
  EXPECT_EQ(rig.guest->read_phy(3) & 0xfff0, 0x0c20);
  EXPECT_EQ(rig.guest->read_phy(1) & 0x24, 0x24);
  EXPECT_EQ(rig.guest->read_phy(17) & 0xec00, 0xac00);
}

TEST(E1000Phy, OtherAddressesAnswerWithAnError) {
  E1000Rig rig;
  rig.guest->write(0x20, 0x0800'0000u | (2u << 21) | (2u << 16));
  EXPECT_EQ(rig.guest->read(0x20) & 0x5000'0000, 0x5000'0000u);
}

TEST(E1000Phy, PowerDownTakesTheLinkAwayAndPowerUpRaisesLsc) {
  E1000Rig rig;
  rig.guest->write_phy(0, 0x1940);
  EXPECT_EQ(rig.guest->read(0x8) & 0x2, 0u);
  static_cast<void>(rig.guest->read(0xc0));
  rig.guest->write_phy(0, 0x1140);
  EXPECT_EQ(rig.guest->read(0x8) & 0x2, 0x2u);
  EXPECT_EQ(rig.guest->read(0xc0) & 0x4, 0x4u);
}

TEST(E1000Phy, ForcedAndAdvertisedSpeedsShowInStatus) {
  E1000Rig rig;
  rig.guest->write_phy(0, 0x2100);  // 100 Mbit/s full duplex, not negotiated
  EXPECT_EQ(rig.guest->read(0x8) & 0xc1, 0x41u);
  rig.guest->write_phy(9, 0x0000);
  rig.guest->write_phy(4, 0x0081);  // offers 100 half
  rig.guest->write_phy(0, 0x1200);
  EXPECT_EQ(rig.guest->read(0x8) & 0xc1, 0x40u);
}

TEST(E1000Link, PulledCableShowsAndRaisesLscBothWays) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.nic->set_link(false);
  EXPECT_EQ(rig.guest->read(0x8) & 0x2, 0u);
  EXPECT_EQ(rig.guest->interrupts(), 1u);
  EXPECT_EQ(rig.guest->read(0xc0) & 0x4, 0x4u);
  EXPECT_FALSE(rig.nic->port().is_ready());
  rig.nic->set_link(true);
  EXPECT_TRUE(rig.nic->port().is_ready());
  EXPECT_EQ(rig.guest->read(0xc0) & 0x4, 0x4u);
}

TEST(E1000Link, GoesDownBeforeTheCardIsTakenAwayAndIsUpForTheNextGuest) {
  E1000Rig rig;
  rig.guest->bring_up();
  static_cast<void>(rig.guest->interrupts());
  EXPECT_TRUE(rig.nic->function().announce_departure(/*for_good=*/false));
  EXPECT_EQ(rig.guest->interrupts(), 1u);
  EXPECT_EQ(rig.guest->read(0xc0) & 0x4, 0x4u);
  EXPECT_EQ(rig.guest->read(0x8) & 0x2, 0u);
  EXPECT_FALSE(rig.nic->port().is_ready());
  EXPECT_FALSE(rig.nic->function().announce_departure(/*for_good=*/false));  // it is known
  rig.guest.reset();
  EXPECT_TRUE(rig.nic->is_link_up());
}

TEST(E1000Link, ThatIsDownAnywayStaysDownForTheNextGuest) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.nic->set_link(false);
  EXPECT_FALSE(rig.nic->function().announce_departure(/*for_good=*/false));
  rig.guest.reset();
  EXPECT_FALSE(rig.nic->is_link_up());
}

TEST(E1000Station, ThatIsGivenAtRunTimeIsInTheEepromAndADriversUntilItStartsAnew) {
  E1000Rig rig;
  EXPECT_EQ(rig.guest->read(0x5400), 0x1200'5452u);
  rig.nic->set_mac({0x02, 0, 0, 0, 0, 0x07});
  EXPECT_EQ(rig.guest->read(0x5400), 0x0000'0002u);  // nobody had read the other one
  EXPECT_EQ(rig.guest->read(0x5404), 0x8000'0700u);
  rig.guest->bring_up();
  rig.nic->set_mac({0x02, 0, 0, 0, 0, 0x08});
  EXPECT_EQ(rig.guest->read(0x5404), 0x8000'0700u);
  EXPECT_EQ(rig.guest->read_eeprom_eerd(2), 0x0800u);
  std::uint16_t sum = 0;
  for (unsigned word = 0; word < 64; ++word)
    sum = static_cast<std::uint16_t>(sum + rig.guest->read_eeprom_eerd(word));
  EXPECT_EQ(sum, 0xbaba);
  rig.guest->write(0x0, 1u << 26);  // CTRL.RST
  EXPECT_EQ(rig.guest->read(0x5404), 0x8000'0800u);
}

}  // namespace
}  // namespace vmux::rigs
