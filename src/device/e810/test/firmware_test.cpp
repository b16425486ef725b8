// SPDX-License-Identifier: BSD-3-Clause
// What the firmware keeps for its driver: scheduler, numbers of resources, rules, RSS, link, package.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "device/e810/firmware/nvm.hpp"
#include "rigs/e810_rig.hpp"

namespace vmux::rigs {
namespace {

using fake_guest::Bytes;
using fake_guest::E810Answer;
using fake_guest::E810Setup;

constexpr std::uint32_t kForward = 1u << 17 | 1u << 3;  // of a rule: valid, to the LAN
constexpr std::array<std::uint8_t, 16> kAnyUnicast{0x02}, kAnyMulticast{0x03};

void put_number(Bytes& bytes, std::size_t at, std::uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; ++i)
    bytes.at(at + i) = static_cast<std::byte>(value >> (8 * i));
}
std::uint32_t to_station(const E810Rig& rig) { return kForward | std::uint32_t{rig.guest->vsi()} << 4; }
std::array<std::uint8_t, 16> mac_header(unsigned number) {
  return {0x52, 0x54, 0x00, 0x99, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
}

TEST(E810Nvm, HasAChecksumThatIsRight) { EXPECT_TRUE(device::e810::nvm::is_checksum_right()); }

TEST(E810Scheduler, GivesNoNumberTwice) {
  E810Rig rig;
  rig.start();
  const auto first = rig.guest->remove_tx_queue(0);
  ASSERT_EQ(first.retval, 0);
  const auto again = rig.guest->add_tx_queue(0),
             once_more = (static_cast<void>(rig.guest->remove_tx_queue(0)), rig.guest->add_tx_queue(0));
  EXPECT_NE(again.number(12, 4), once_more.number(12, 4));
}

TEST(E810Scheduler, KnowsTheLeavesThatQueuesAre) {
  E810Rig rig;
  rig.start();
  static_cast<void>(rig.guest->remove_tx_queue(0));
  const auto added = rig.guest->add_tx_queue(0);
  Bytes asked(24);
  put_number(asked, 4, added.number(12, 4), 4);
  const auto leaf = rig.guest->call(0x0404, {1}, asked);
  EXPECT_EQ(leaf.retval, 0);
  EXPECT_EQ(leaf.number(8, 1), 5u);
}

TEST(E810Scheduler, RefusesAnUnknownParentAndATreeThatGrowsWithoutEnd) {
  E810Rig rig;
  rig.start();
  Bytes group(8 + 24);
  put_number(group, 0, 0x1234'5678, 4);
  put_number(group, 4, 1, 2);
  EXPECT_EQ(rig.guest->call(0x0401, {1}, group).retval, 2);
  Bytes many(8 + 24 * 160);
  put_number(many, 0, 2, 4);
  put_number(many, 4, 160, 2);
  std::uint16_t last = 0;
  for (unsigned i = 0; i < 20 && last == 0; ++i)
    last = rig.guest->call(0x0401, {1}, many).retval;
  EXPECT_EQ(last, 16);
}

// Each step up is paid for by whoever looks at a node.
TEST(E810Scheduler, GrowsNoDeeperThanAQueueNeeds) {
  E810Rig rig;
  rig.start();
  Bytes group(8 + 24);
  put_number(group, 4, 1, 2);
  std::uint64_t parent = 2;  // the traffic class
  unsigned depth = 0;
  for (; depth < 100; ++depth) {
    put_number(group, 0, parent, 4);
    const auto added = rig.guest->call(0x0401, {1}, group);
    if (added.retval != 0) break;
    parent = added.number(12, 4);
  }
  EXPECT_LT(depth, 20u);
  EXPECT_GT(depth, 6u);
}

TEST(E810Scheduler, MovesANodeWithinItsLayerOnly) {
  E810Rig rig;
  rig.start();
  const auto add = [&](std::uint64_t parent) {
    Bytes group(8 + 24);
    put_number(group, 0, parent, 4);
    put_number(group, 4, 1, 2);
    return rig.guest->call(0x0401, {1}, group).number(12, 4);
  };
  const auto move = [&](std::uint64_t node, std::uint64_t from, std::uint64_t to) {
    Bytes group(12 + 4);
    put_number(group, 0, from, 4);
    put_number(group, 4, to, 4);
    put_number(group, 8, 1, 2);
    put_number(group, 12, node, 4);
    return rig.guest->call(0x0408, {1}, group).retval;
  };
  const auto a = add(2), b = add(2), below_a = add(a);
  EXPECT_EQ(move(below_a, a, b), 0);
  EXPECT_EQ(move(below_a, b, 2), 2);
}

TEST(E810Scheduler, ANodeWithChildrenStays) {
  E810Rig rig;
  rig.start();
  Bytes group(12);
  put_number(group, 4, 1, 2);
  put_number(group, 8, 2, 4);  // the traffic class
  EXPECT_EQ(rig.guest->call(0x040f, {1}, group).retval, 2);
}

TEST(E810Resources, AreUniqueWithinATypeUntilFreed) {
  E810Rig rig;
  rig.guest->open_admin_queue();
  Bytes two(8);
  put_number(two, 0, 0x60, 2);
  put_number(two, 2, 2, 2);
  const auto first = rig.guest->call(0x0208, {1}, two), second = rig.guest->call(0x0208, {1}, two);
  EXPECT_EQ(first.number(4, 2), 1u);
  EXPECT_EQ(first.number(6, 2), 2u);
  EXPECT_EQ(second.number(4, 2), 3u);
  EXPECT_EQ(rig.guest->call(0x0209, {1}, first.buffer).retval, 0);
  EXPECT_EQ(rig.guest->call(0x0209, {1}, first.buffer).retval, 14);
  EXPECT_EQ(rig.guest->call(0x0208, {1}, two).number(4, 2), 1u);
}

TEST(E810Rules, HaveIndicesAndAreThereOnce) {
  E810Rig rig;
  rig.start();
  const auto added = rig.guest->add_rule(1, mac_header(1), to_station(rig));
  ASSERT_EQ(added.retval, 0);
  const auto index = static_cast<std::uint16_t>(added.number(12, 2));
  EXPECT_NE(index, 0);
  EXPECT_EQ(rig.guest->add_rule(1, mac_header(1), to_station(rig)).retval, 13);
  EXPECT_EQ(rig.guest->remove_rule(index).retval, 0);
  EXPECT_EQ(rig.guest->remove_rule(index).retval, 2);
}

TEST(E810Rules, DecideWhoseFramesAreTaken) {
  E810Rig rig;
  rig.start();
  const auto other = frame_to({0x52, 0x54, 0x00, 0x99, 0, 1}, 64), group = frame_to({0x01, 0, 0x5e, 0, 0, 1}, 64);
  static_cast<void>(rig.arrive(other));
  static_cast<void>(rig.arrive(group));
  EXPECT_FALSE(rig.guest->receive().has_value());
  const auto promiscuous = rig.guest->add_rule(3, kAnyUnicast, to_station(rig));
  static_cast<void>(rig.arrive(other));
  static_cast<void>(rig.arrive(group));
  EXPECT_TRUE(rig.guest->receive().has_value());
  EXPECT_FALSE(rig.guest->receive().has_value());
  static_cast<void>(rig.guest->remove_rule(static_cast<std::uint16_t>(promiscuous.number(12, 2))));
  static_cast<void>(rig.guest->add_rule(3, kAnyMulticast, to_station(rig)));
  static_cast<void>(rig.arrive(other));
  static_cast<void>(rig.arrive(group));
  EXPECT_TRUE(rig.guest->receive().has_value());
  EXPECT_FALSE(rig.guest->receive().has_value());
}

TEST(E810Rules, ForAnotherStationChangeNothing) {
  E810Rig rig;
  rig.start();
  static_cast<void>(rig.guest->add_rule(3, kAnyUnicast, kForward | 9u << 4));
  static_cast<void>(rig.arrive(frame_to({0x52, 0x54, 0x00, 0x99, 0, 1}, 64)));
  EXPECT_FALSE(rig.guest->receive().has_value());
}

TEST(E810Rules, OfListsKnowListsAndStationsThatThereAre) {
  E810Rig rig;
  rig.start();
  const auto list = [&](unsigned index, unsigned vsi) {
    Bytes rule(10);
    put_number(rule, 0, 3, 2);
    put_number(rule, 4, index, 2);
    put_number(rule, 6, 1, 2);
    put_number(rule, 8, vsi, 2);
    return rig.guest->call(0x02a0, {1}, rule).retval;
  };
  EXPECT_EQ(list(511, rig.guest->vsi()), 0);
  EXPECT_EQ(list(512, rig.guest->vsi()), 16);
  EXPECT_EQ(list(1, 700), 2);
}

TEST(E810Rules, EndWhereTheTableOfStationsIsFull) {
  E810Rig rig;
  rig.start();
  std::uint16_t last = 0;
  unsigned added = 0;
  for (; added < 1000 && last == 0; ++added)
    last = rig.guest->add_rule(1, mac_header(added), to_station(rig)).retval;
  EXPECT_EQ(last, 16);  // the driver turns promiscuous
  EXPECT_EQ(added, 256u);
}

TEST(E810Rules, OfVlansPruneWhatHasAnother) {
  E810Rig rig;
  rig.start({.filters_vlans = true});
  std::array<std::uint8_t, 16> vlan{};
  vlan[12] = 0x81;
  vlan[15] = 5;
  ASSERT_EQ(rig.guest->add_rule(4, vlan, 2 | 1u << 17 | std::uint32_t{rig.guest->vsi()} << 4).retval, 0);
  static_cast<void>(rig.arrive(frame_to_us(64), {.has_vlan = true, .vlan_tci = 6}));
  EXPECT_FALSE(rig.guest->receive().has_value());
  static_cast<void>(rig.arrive(frame_to_us(64), {.has_vlan = true, .vlan_tci = 5}));
  EXPECT_TRUE(rig.guest->receive().has_value());
}

TEST(E810Rss, GivesBackKeyAndTable) {
  E810Rig rig;
  rig.start();
  Bytes key(52), table(2048);
  for (std::size_t i = 0; i < key.size(); ++i)
    key[i] = static_cast<std::byte>(i + 1);
  std::fill(table.begin(), table.end(), std::byte{3});
  const auto vsi = static_cast<std::uint8_t>(rig.guest->vsi());
  EXPECT_EQ(rig.guest->call(0x0b02, {vsi, 0x80}, key).retval, 0);
  EXPECT_EQ(rig.guest->call(0x0b03, {vsi, 0x80, 1 | 2 << 2}, table).retval, 0);
  EXPECT_EQ(rig.guest->call(0x0b04, {vsi, 0x80}, Bytes(52), false).buffer, key);
  EXPECT_EQ(rig.guest->call(0x0b05, {vsi, 0x80, 1 | 2 << 2}, Bytes(2048), false).buffer, table);
}

TEST(E810Link, IsToldByAnEventWhenTheDriverWantsIt) {
  E810Rig rig;
  rig.start();
  rig.card().set_link(false);
  EXPECT_FALSE(rig.guest->receive_event().has_value());
  static_cast<void>(rig.guest->call(0x0607, {0, 0, 3}, Bytes(32), false));
  static_cast<void>(rig.guest->interrupts(0));
  rig.guest->arm(0);
  rig.card().set_link(true);
  const auto event = rig.guest->receive_event();
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->opcode, 0x0607);
  EXPECT_EQ(event->datalen, 32);
  EXPECT_EQ(event->number(2, 1) & 1, 1u);
  EXPECT_EQ(rig.guest->interrupts(0), 1u);
}

TEST(E810Link, EventWaitsForRoom) {
  E810Rig rig;
  rig.start();
  static_cast<void>(rig.guest->call(0x0607, {0, 0, 3}, Bytes(32), false));
  rig.guest->write(0x80480, rig.guest->read(0x80380));  // no descriptor is free
  rig.card().set_link(false);
  rig.card().set_link(true);
  rig.card().set_link(false);
  EXPECT_FALSE(rig.guest->receive_event().has_value());
  rig.guest->write(0x80480, 31);
  const auto event = rig.guest->receive_event();
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->number(2, 1) & 1, 0u);  // the latest state, once
  EXPECT_FALSE(rig.guest->receive_event().has_value());
}

TEST(E810Link, GoesDownWhenTheDriverSwitchesThePhyOff) {
  E810Rig rig;
  rig.start();
  Bytes config(24);
  put_number(config, 0, 1ull << 51, 8);
  EXPECT_EQ(rig.guest->call(0x0601, {0}, config).retval, 0);
  EXPECT_EQ(rig.guest->call(0x0607, {0, 0, 2}, Bytes(32), false).number(2, 1) & 1, 0u);
  EXPECT_EQ(rig.arrive(frame_to_us(64)), 0u);
  put_number(config, 16, 1u << 3, 1);
  EXPECT_EQ(rig.guest->call(0x0601, {0}, config).retval, 0);
  EXPECT_EQ(rig.arrive(frame_to_us(64)), 1u);
}

Bytes package_buffer() {  // one section that names the package
  Bytes buffer(4096);
  put_number(buffer, 0, 1, 2);
  put_number(buffer, 4, 1, 4);
  put_number(buffer, 8, 16, 2);
  put_number(buffer, 10, 36, 2);
  put_number(buffer, 16, 1 | 3 << 8 | 7 << 16, 4);
  std::memcpy(buffer.data() + 20, "a package", 9);
  return buffer;
}

TEST(E810Package, IsDownloadedOnceAndNamed) {
  E810Rig rig;
  rig.guest->open_admin_queue();
  EXPECT_EQ(rig.guest->call(0x0c43, {}, Bytes(4096), false).number(0, 4), 0u);
  EXPECT_EQ(rig.guest->call(0x0008, {4, 0, 2}).param(12, 2), 0u);  // granted
  EXPECT_EQ(rig.guest->call(0x0c40, {0}, package_buffer()).retval, 0);
  EXPECT_EQ(rig.guest->call(0x0c43, {}, Bytes(4096), false).number(0, 4), 0u);  // it goes on
  EXPECT_EQ(rig.guest->call(0x0c40, {1}, Bytes(4096)).retval, 0);
  const auto info = rig.guest->call(0x0c43, {}, Bytes(4096), false);
  EXPECT_EQ(info.number(0, 4), 1u);
  EXPECT_EQ(info.number(4, 3), 1u | 3 << 8 | 7 << 16);
  EXPECT_EQ(info.number(4 + 37, 1), 1u);
  EXPECT_EQ(rig.guest->call(0x0008, {4, 0, 2}).param(12, 2), 2u);  // done
}

TEST(E810Package, OutlivesAResetOfTheFunctionAlone) {
  E810Rig rig;
  rig.guest->open_admin_queue();
  static_cast<void>(rig.guest->call(0x0c40, {1}, package_buffer()));
  rig.guest->write(0x91000, 1);
  rig.guest->open_admin_queue();
  EXPECT_EQ(rig.guest->call(0x0c43, {}, Bytes(4096), false).number(0, 4), 1u);
  rig.guest->write(0xb8190, 1);
  ASSERT_TRUE(rig.run_until([&] { return (rig.guest->read(0xb8188) & 3) == 0; }));
  rig.guest->open_admin_queue();
  EXPECT_EQ(rig.guest->call(0x0c43, {}, Bytes(4096), false).number(0, 4), 0u);
}

TEST(E810Station, ThatIsGivenAtRunTimeIsWhatDriversAreTold) {
  E810Rig rig;
  rig.start();
  rig.card().set_mac({0x02, 0, 0, 0, 0, 0x07});
  const auto answer = rig.guest->call(0x0107, {}, Bytes(64), false);
  EXPECT_EQ(answer.retval, 0);
  EXPECT_EQ(std::to_integer<unsigned>(answer.buffer.at(2)), 0x02u);
  EXPECT_EQ(std::to_integer<unsigned>(answer.buffer.at(7)), 0x07u);
}

}  // namespace
}  // namespace vmux::rigs
