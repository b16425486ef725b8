// SPDX-License-Identifier: BSD-3-Clause
// Which packets are hashed and how, as a driver with ADV_RSS_PF says it: by headers and fields. Key, packet and hashes
// are those of Microsoft's RSS verification suite.
#include <gtest/gtest.h>

#include "fake_guest/virtchnl_numbers.hpp"
#include "rigs/iavf_rig.hpp"

namespace vmux::rigs {
namespace {

using namespace fake_guest::virtchnl;
using fake_guest::Bytes;
using fake_guest::IavfBody;

constexpr std::uint32_t kCapabilities = 1 | 1u << 19 | 1u << 27;  // L2, RSS_PF, ADV_RSS_PF
constexpr std::uint32_t kByAddresses = 0x323e8fc2, kByPortsToo = 0x51ccc178;

struct HashedHeader {
  std::uint32_t type, fields;
};
constexpr HashedHeader kEthernetHeader{1, 0}, kVlanHeader{3, 0}, kIpv4Addresses{4, 3}, kUdpPorts{7, 3};

Bytes choice(std::initializer_list<HashedHeader> headers) {
  IavfBody body;
  body.u8(0).zeros(3).u32(static_cast<std::uint32_t>(headers.size()));
  for (const HashedHeader& header : headers)
    body.u32(header.type).u32(header.fields).zeros(64);
  return body.zeros((32 - headers.size()) * 72).u32(0).zeros(128).bytes();
}

struct Card : IavfRig {
  Card() : IavfRig(Doorbell::trap, 4) {
    guest->bring_up({.queues = 4, .capabilities = kCapabilities});
    constexpr std::array<std::uint8_t, 40> kBytes{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                                  0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                                  0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                                  0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
    VMUX_ASSERT(guest->call(kKey, IavfBody{}.u16(1).u16(52).append(kBytes).zeros(13).bytes()).status == kOk);
    VMUX_ASSERT(guest->call(kLut, IavfBody{}.u16(1).u16(64).zeros(65).bytes()).status == kOk);
    VMUX_ASSERT(guest->call(kSetHena, IavfBody{}.u64(0).bytes()).status == kOk);
  }
  /// UDP from 66.9.149.187:2794 to 161.142.100.80:1766.
  std::optional<std::uint32_t> hash() {
    IavfBody frame;
    frame.append(kIavfStation).append(std::array<std::uint8_t, 8>{2, 0, 0, 0, 0, 9, 0x08, 0x00});
    frame.append(std::array<std::uint8_t, 12>{0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0});
    frame.append(std::array<std::uint8_t, 8>{66, 9, 149, 187, 161, 142, 100, 80});
    frame.append(std::array<std::uint8_t, 8>{0x0a, 0xea, 0x06, 0xe6, 0, 26, 0, 0}).zeros(18);
    EXPECT_EQ(arrive(frame.bytes()), 1u);
    const auto received = guest->receive();
    if (!received || (received->qword1 >> 12 & 3) != 3) return std::nullopt;
    return static_cast<std::uint32_t>(received->qword0 >> 32);
  }
};

TEST(IavfRssChoice, IpHeaderAloneMeansEveryPacketOfItsVersion) {
  Card card;
  EXPECT_EQ(card.hash(), std::nullopt);
  EXPECT_EQ(card.guest->call(kAddConfig, choice({kEthernetHeader, kVlanHeader, kIpv4Addresses})).status, kOk);
  EXPECT_EQ(card.hash(), kByAddresses);
}

TEST(IavfRssChoice, TransportHeaderGoesBeforeAndFallsBackWhenItIsDeleted) {
  Card card;
  EXPECT_EQ(card.guest->call(kAddConfig, choice({kIpv4Addresses, kUdpPorts})).status, kOk);
  EXPECT_EQ(card.guest->call(kAddConfig, choice({kIpv4Addresses})).status, kOk);
  EXPECT_EQ(card.hash(), kByPortsToo);
  EXPECT_EQ(card.guest->call(kDelConfig, choice({kIpv4Addresses, kUdpPorts})).status, kOk);
  EXPECT_EQ(card.hash(), kByAddresses);
  EXPECT_EQ(card.guest->call(kDelConfig, choice({kIpv4Addresses})).status, kOk);
  EXPECT_EQ(card.hash(), std::nullopt);
}

TEST(IavfRssChoice, DeletingTheIpHeaderLeavesWhatATransportHeaderChose) {
  Card card;
  EXPECT_EQ(card.guest->call(kAddConfig, choice({kIpv4Addresses})).status, kOk);
  EXPECT_EQ(card.guest->call(kAddConfig, choice({kIpv4Addresses, kUdpPorts})).status, kOk);
  EXPECT_EQ(card.guest->call(kDelConfig, choice({kIpv4Addresses})).status, kOk);
  EXPECT_EQ(card.hash(), kByPortsToo);
}

TEST(IavfRssChoice, ClearingHenaForgetsAllThatWasChosen) {
  Card card;
  EXPECT_EQ(card.guest->call(kAddConfig, choice({kIpv4Addresses})).status, kOk);
  EXPECT_EQ(card.guest->call(kSetHena, IavfBody{}.u64(0).bytes()).status, kOk);
  EXPECT_EQ(card.hash(), std::nullopt);
  EXPECT_EQ(card.guest->call(kSetHena, IavfBody{}.u64(1ull << 31).bytes()).status, kOk);
  EXPECT_EQ(card.hash(), kByPortsToo);
}

TEST(IavfRssChoice, FieldsThatCannotBeHashedAreRefused) {
  Card card;
  EXPECT_EQ(card.guest->call(kAddConfig, choice({{1, 3}, kIpv4Addresses})).status, kParam);        // Ethernet addresses
  EXPECT_EQ(card.guest->call(kAddConfig, choice({{4, 1u << 5}})).status, kParam);                  // the IPv4 checksum
  EXPECT_EQ(card.guest->call(kAddConfig, choice({kIpv4Addresses, {7, 1u << 2}})).status, kParam);  // the UDP checksum
  EXPECT_EQ(card.guest->call(kAddConfig, choice({{4, 3 | 1u << 4}, kUdpPorts})).status, kOk);  // the protocol is UDP
}

}  // namespace
}  // namespace vmux::rigs
