// SPDX-License-Identifier: BSD-3-Clause
// Addresses as drivers of several ages add and delete them, and which one becomes the function's.
#include <gtest/gtest.h>

#include "fake_guest/virtchnl_numbers.hpp"
#include "rigs/iavf_rig.hpp"

namespace vmux::rigs {
namespace {

using namespace fake_guest::virtchnl;
using fake_guest::Bytes;
using fake_guest::IavfBody;

IavfBody mac_list(std::uint16_t count, std::uint8_t last, std::uint8_t type = 2) {
  IavfBody body;
  body.u16(1).u16(count);
  for (std::uint16_t i = 0; i < count; ++i)
    body.append(std::array<std::uint8_t, 6>{2, 0, 0, 0, static_cast<std::uint8_t>(i), last}).u8(type).u8(0);
  return body;
}

TEST(IavfAddresses, TableIsBoundedAndTakesWhatFits) {
  IavfRig rig;
  rig.guest->bring_up();
  EXPECT_EQ(rig.guest->call(kAddMac, mac_list(250, 1).bytes()).status, kOk);
  EXPECT_EQ(rig.guest->call(kAddMac, mac_list(250, 2).bytes()).status, -18);
  EXPECT_EQ(rig.guest->call(kDelMac, mac_list(250, 1).bytes()).status, kOk);
  EXPECT_EQ(rig.guest->call(kAddMac, mac_list(250, 2).bytes()).status, kOk);
}

TEST(IavfAddresses, DriversPrimaryAddressSurvivesAResetOfTheFunctionsVirtualSideOnly) {
  IavfRig rig;
  rig.guest->bring_up();
  static_cast<void>(rig.guest->call(kAddMac, mac_list(1, 7, 1).bytes()));
  rig.guest->send(kReset);
  EXPECT_EQ(rig.nic->mac(), (MacAddress{2, 0, 0, 0, 0, 7}));
  rig.nic->function().reset(pci::ResetKind::function_level);
  EXPECT_EQ(rig.nic->mac(), kIavfStation);
}

// Drivers that know no primary address: Linux before 5.15 adds first, FreeBSD deletes first.
TEST(IavfAddresses, OlderDriversChangeTheirAddressInEitherOrder) {
  constexpr MacAddress kFirst{2, 0, 0, 0, 0, 7}, kSecond{2, 0, 0, 0, 0, 8};
  const Bytes station = IavfBody{}.u16(1).u16(1).append(kIavfStation).u16(0).bytes();
  IavfRig rig;
  rig.guest->bring_up();
  EXPECT_EQ(rig.guest->call(kAddMac, station).status, kOk);
  EXPECT_EQ(rig.guest->call(kAddMac, mac_list(1, 7, 0).bytes()).status, kOk);
  EXPECT_EQ(rig.nic->mac(), kIavfStation);
  EXPECT_EQ(rig.guest->call(kDelMac, station).status, kOk);
  EXPECT_EQ(rig.nic->mac(), kFirst);
  EXPECT_EQ(rig.guest->call(kDelMac, mac_list(1, 7, 0).bytes()).status, kOk);
  EXPECT_EQ(rig.nic->mac(), kFirst);
  EXPECT_EQ(rig.guest->call(kAddMac, mac_list(1, 8, 0).bytes()).status, kOk);
  EXPECT_EQ(rig.nic->mac(), kSecond);
  rig.guest->send(kReset);
  EXPECT_EQ(rig.nic->mac(), kSecond);
}

TEST(IavfAddresses, OlderDriversLinkDownAndUpKeepsTheAddress) {
  const Bytes both =
      IavfBody{}.u16(1).u16(2).append(kIavfStation).u16(0).append(std::array<std::uint8_t, 6>{2, 9}).u16(0).bytes();
  IavfRig rig;
  rig.guest->bring_up();
  for (unsigned round = 0; round < 2; ++round) {
    EXPECT_EQ(rig.guest->call(kAddMac, both).status, kOk);
    EXPECT_EQ(rig.nic->mac(), kIavfStation);
    EXPECT_EQ(rig.guest->call(kDelMac, both).status, kOk);
    EXPECT_EQ(rig.nic->mac(), kIavfStation);
  }
}

Bytes addresses(unsigned groups, unsigned stations) {
  IavfBody body;
  body.u16(1).u16(static_cast<std::uint16_t>(groups + stations));
  for (unsigned i = 0; i < groups + stations; ++i)
    body.u8(i < groups ? 0x01 : 0x02).u8(0).u16(0).u16(static_cast<std::uint16_t>(i)).u16(0);
  return body.bytes();
}

TEST(IavfAddressTable, AllOf320GroupsArrive) {
  IavfRig rig;
  rig.guest->bring_up();
  EXPECT_EQ(rig.guest->call(kAddMac, addresses(320, 0)).status, kOk);
  unsigned arrived = 0;
  for (unsigned i = 0; i < 320; ++i) {
    static_cast<void>(rig.arrive(frame_to({1, 0, 0, 0, i & 0xff, i >> 8}, 64)));
    arrived += rig.guest->receive() ? 1u : 0u;
  }
  EXPECT_EQ(arrived, 320u);
  EXPECT_EQ(rig.nic->nic_counters().all_groups.get(), 1u);
}

TEST(IavfAddressTable, StationsBeyondItAreRefusedAndTheOthersTaken) {
  IavfRig rig;
  rig.guest->bring_up();
  EXPECT_EQ(rig.guest->call(kAddMac, addresses(10, 300)).status, kNoMemory);
  EXPECT_EQ(rig.nic->nic_counters().addresses_refused.get(), 300u + 1 - 256);  // its own address is one of them
  EXPECT_EQ(rig.arrive(to_iavf(64)), 1u);
  EXPECT_TRUE(rig.guest->receive().has_value());
  static_cast<void>(rig.arrive(frame_to({1, 0, 0, 0, 9, 0}, 64)));
  EXPECT_TRUE(rig.guest->receive().has_value());
}

}  // namespace
}  // namespace vmux::rigs
