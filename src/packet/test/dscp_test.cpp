// SPDX-License-Identifier: BSD-3-Clause
#include "packet/dscp.hpp"

#include <gtest/gtest.h>

#include "packet/test/test_frames.hpp"

namespace vmux::packet {
namespace {

using test::Bytes;

Bytes with_dscp(Bytes frame, std::uint8_t dscp) {
  const auto headers = parse(test::slice(frame));
  set_dscp(std::as_writable_bytes(std::span{frame}), *headers, dscp);
  return frame;
}

// The sum of an IPv4 header with its checksum in it is all ones when that is right.
std::uint16_t header_sum(const Bytes& frame) { return test::plain_sum(Bytes(frame.begin() + 14, frame.begin() + 34)); }

TEST(PacketDscp, Ipv4GetsItAndItsChecksumIsRight) {
  for (unsigned dscp = 0; dscp < 64; ++dscp) {
    const Bytes frame = with_dscp(test::whole_frame({}, test::pattern(4)), static_cast<std::uint8_t>(dscp));
    EXPECT_EQ(frame[15], dscp << 2);
    EXPECT_EQ(header_sum(frame), 0xffff) << dscp;
  }
}

TEST(PacketDscp, EcnStays) {
  Bytes v4 = test::whole_frame({}, test::pattern(4)), v6 = test::whole_frame({.ip = test::Ip::v6}, test::pattern(4));
  v4[15] = 0x03;
  v6[15] = 0x30;
  EXPECT_EQ(with_dscp(v4, 46)[15], 46 << 2 | 3);
  EXPECT_EQ(with_dscp(v6, 46)[15] & 0x30, 0x30);
}

TEST(PacketDscp, Ipv6GetsItBetweenVersionAndFlowLabel) {
  Bytes frame = test::whole_frame({.ip = test::Ip::v6}, test::pattern(4));
  frame[15] = 0x0a;  // a flow label
  const Bytes changed = with_dscp(frame, 46);
  EXPECT_EQ(changed[14], 0x6b);
  EXPECT_EQ(changed[15], 0x8a);
}

TEST(PacketDscp, WrongChecksumStaysAsWrong) {
  Bytes frame = test::whole_frame({}, test::pattern(4));
  frame[24] ^= 0x55;
  EXPECT_EQ(header_sum(with_dscp(frame, 10)), header_sum(frame));
}

TEST(PacketDscp, WhatIsNotIpIsLeft) {
  Bytes frame = test::whole_frame({}, test::pattern(4));
  frame[12] = 0x88;
  EXPECT_EQ(with_dscp(frame, 46), frame);
}

}  // namespace
}  // namespace vmux::packet
