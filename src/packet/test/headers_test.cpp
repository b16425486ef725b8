// SPDX-License-Identifier: BSD-3-Clause
#include "packet/headers.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "packet/test/test_frames.hpp"

namespace vmux::packet {
namespace {

using test::Bytes;

struct Row {
  const char* description;
  Bytes frame;
  std::uint16_t ethertype;
  int vlan;  // -1: none
  L3 l3;
  L4 l4;
  std::uint16_t l3_offset, l4_offset, payload_offset;
  bool is_fragment;
};

Bytes with(Bytes frame, std::size_t at, std::uint8_t value) {
  frame[at] = value;
  return frame;
}
Bytes cut(Bytes frame, std::size_t size) {
  frame.resize(size);
  return frame;
}
// Puts 16-byte or shorter extension headers behind the IPv6 header of an untagged frame.
Bytes with_extensions(const Bytes& frame, std::uint8_t first, const Bytes& extensions) {
  Bytes out(frame.begin(), frame.begin() + 54);
  out[20] = first;
  test::append(out, extensions);
  out.insert(out.end(), frame.begin() + 54, frame.end());
  return out;
}

const Bytes kTcp4 = test::whole_frame({}, test::pattern(10));
const Bytes kUdp6 = test::whole_frame({.ip = test::Ip::v6, .proto = test::Proto::udp}, test::pattern(10));
const Bytes kTagged = test::whole_frame({.tag = 0x6064}, test::pattern(10));

Bytes double_tagged(unsigned outer) {
  Bytes frame = kTagged;
  const Bytes tag{static_cast<std::uint8_t>(outer >> 8), static_cast<std::uint8_t>(outer), 0x00, 0x07};
  frame.insert(frame.begin() + 12, tag.begin(), tag.end());
  return frame;
}

const Row kRows[] = {
    {"TCP over IPv4, with options", kTcp4, 0x0800, -1, L3::ipv4, L4::tcp, 14, 34, 66, false},
    {"UDP over IPv6", kUdp6, 0x86dd, -1, L3::ipv6, L4::udp, 14, 54, 62, false},
    {"a tag moves everything by four", kTagged, 0x0800, 0x6064, L3::ipv4, L4::tcp, 18, 38, 70, false},
    {"two 802.1Q tags: the outer counts", double_tagged(0x8100), 0x0800, 7, L3::ipv4, L4::tcp, 22, 42, 74, false},
    {"a service tag is not an 802.1Q tag", double_tagged(0x88a8), 0x0800, -1, L3::ipv4, L4::tcp, 22, 42, 74, false},
    {"Ethernet header alone", cut(kTcp4, 14), 0x0800, -1, L3::other, L4::other, 14, 0, 14, false},
    {"IPv4 header cut short", cut(kTcp4, 33), 0x0800, -1, L3::other, L4::other, 14, 0, 14, false},
    {"TCP header cut short", cut(kTcp4, 53), 0x0800, -1, L3::ipv4, L4::other, 14, 0, 34, false},
    {"TCP options cut short", cut(kTcp4, 60), 0x0800, -1, L3::ipv4, L4::other, 14, 0, 34, false},
    {"TCP data offset below 5", with(kTcp4, 46, 0x40), 0x0800, -1, L3::ipv4, L4::other, 14, 0, 34, false},
    {"IPv4 header length below 5", with(kTcp4, 14, 0x44), 0x0800, -1, L3::other, L4::other, 14, 0, 14, false},
    {"version 6 in an IPv4 frame", with(kTcp4, 14, 0x65), 0x0800, -1, L3::other, L4::other, 14, 0, 14, false},
    {"first IPv4 fragment", with(kTcp4, 20, 0x20), 0x0800, -1, L3::ipv4, L4::tcp, 14, 34, 66, true},
    {"later IPv4 fragment", with(kTcp4, 21, 0x01), 0x0800, -1, L3::ipv4, L4::other, 14, 0, 34, true},
    {"another protocol", with(kTcp4, 23, 47), 0x0800, -1, L3::ipv4, L4::other, 14, 0, 34, false},
    {"IPv6 hop-by-hop options", with_extensions(kUdp6, 0, {17, 0, 1, 4, 0, 0, 0, 0}), 0x86dd, -1, L3::ipv6, L4::udp, 14,
     62, 70, false},
    {"IPv6 first fragment", with_extensions(kUdp6, 44, {17, 0, 0, 1, 0, 0, 0, 9}), 0x86dd, -1, L3::ipv6, L4::udp, 14,
     62, 70, true},
    {"IPv6 later fragment", with_extensions(kUdp6, 44, {17, 0, 0, 9, 0, 0, 0, 9}), 0x86dd, -1, L3::ipv6, L4::other, 14,
     0, 62, true},
    {"IPv6 authentication header counts in words", with_extensions(kUdp6, 51, {17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}),
     0x86dd, -1, L3::ipv6, L4::udp, 14, 66, 74, false},
    {"IPv6 extension longer than the frame", with_extensions(kUdp6, 60, {17, 255, 0, 0, 0, 0, 0, 0}), 0x86dd, -1,
     L3::ipv6, L4::other, 14, 0, 54, false},
    {"tag cut short",
     {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x81, 0, 0, 1},
     0x8100,
     -1,
     L3::other,
     L4::other,
     14,
     0,
     14,
     false},
};

class Parse : public testing::TestWithParam<Row> {};

TEST_P(Parse, FindsTheHeaders) {
  const Row& row = GetParam();
  // An exact copy on the heap: a read behind the end is seen by AddressSanitizer.
  const auto bytes = std::make_unique<Bytes>(row.frame);
  bytes->shrink_to_fit();
  const auto headers = parse(test::slice(*bytes));
  ASSERT_TRUE(headers) << row.description;
  EXPECT_EQ(headers->ethertype, row.ethertype) << row.description;
  EXPECT_EQ(headers->vlan_tci ? int{*headers->vlan_tci} : -1, row.vlan) << row.description;
  EXPECT_EQ(headers->l3, row.l3) << row.description;
  EXPECT_EQ(headers->l4, row.l4) << row.description;
  EXPECT_EQ(headers->l3_offset, row.l3_offset) << row.description;
  EXPECT_EQ(headers->l4_offset, row.l4_offset) << row.description;
  EXPECT_EQ(headers->payload_offset, row.payload_offset) << row.description;
  EXPECT_EQ(headers->is_fragment, row.is_fragment) << row.description;
}

INSTANTIATE_TEST_SUITE_P(Rows, Parse, testing::ValuesIn(kRows));

TEST(ParseShort, RefusesWhatHasNoEthernetHeader) {
  EXPECT_FALSE(parse({}));
  EXPECT_FALSE(parse(test::slice(cut(kTcp4, 13))));
}

TEST(PseudoHeaderSum, EqualsThePlainSumOfAPseudoHeader) {
  const auto headers = parse(test::slice(kTcp4));
  ASSERT_TRUE(headers);
  const Bytes pseudo{10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0x12, 0x34};
  EXPECT_EQ(pseudo_header_sum(test::slice(kTcp4), *headers, 0x1234), test::plain_sum(pseudo));
}

}  // namespace
}  // namespace vmux::packet
