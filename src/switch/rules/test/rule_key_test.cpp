// SPDX-License-Identifier: BSD-3-Clause
// What rules see of a frame, and which frames hide it.
#include "switch/rules/rule_key.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "packet/test/test_frames.hpp"

namespace vmux::switching {
namespace {

using packet::test::Bytes;
using packet::test::Ip;
using packet::test::Proto;
using packet::test::whole_frame;

struct Seen {
  bool is_readable = false;
  packet::FlowFields fields;
};
Seen seen(const Bytes& bytes, RuleContext context = {}, std::size_t header = packet::kHeaderRoom) {
  const packet::test::View view{bytes, header, {64}};
  RuleWords key, all;
  key.fill(~0ull);
  all.fill(~0ull);
  const bool is_readable = rule_key(view.view, context, all, key);
  return {is_readable, std::bit_cast<packet::FlowFields>(key)};
}
unsigned number(const std::array<std::uint8_t, 2>& field) { return field[0] * 256u + field[1]; }

const Bytes kTcp4 = whole_frame({.tcp_options = false}, packet::test::pattern(10));
const Bytes kUdp4 = whole_frame({.proto = Proto::udp}, packet::test::pattern(10));
const Bytes kTcp6 = whole_frame({.ip = Ip::v6}, packet::test::pattern(10));

TEST(RuleKey, HasTheFieldsOfPlainFrames) {
  for (const Bytes& frame : {kTcp4, kUdp4, whole_frame({}, packet::test::pattern(10))}) {
    const Seen all = seen(frame, {.vlan = 0x0abc, .port = 5, .mark = 9});
    EXPECT_TRUE(all.is_readable);
    EXPECT_EQ(all.fields.destination, (MacAddress{0x52, 0x54, 0, 0, 0, 2}));
    EXPECT_EQ(all.fields.source, (MacAddress{0x52, 0x54, 0, 0, 0, 1}));
    EXPECT_EQ(number(all.fields.ethertype), 0x0800u);
    EXPECT_EQ(number(all.fields.vlan), 0x0abcu);
    EXPECT_EQ(all.fields.source_ip, (std::array<std::uint8_t, 16>{10, 0, 0, 1}));
    EXPECT_EQ(all.fields.destination_ip, (std::array<std::uint8_t, 16>{10, 0, 0, 2}));
    EXPECT_EQ(all.fields.ip_version, 4);
    EXPECT_EQ(all.fields.protocol, frame[23]);
    EXPECT_EQ(number(all.fields.source_port), 1000u);
    EXPECT_EQ(number(all.fields.destination_port), 2000u);
    EXPECT_EQ(all.fields.ttl, 64);
    EXPECT_EQ(all.fields.spare, spare_of(5, 9));
  }
}

// The quick way and the other see the same: a tag, which takes the other, changes nothing but itself.
TEST(RuleKey, IsTheSameWithAndWithoutATag) {
  for (const Proto proto : {Proto::tcp, Proto::udp}) {
    for (const std::uint8_t tos : {std::uint8_t{0}, std::uint8_t{0xb8}}) {
      Bytes plain = whole_frame({.proto = proto}, packet::test::pattern(10));
      Bytes tagged = whole_frame({.proto = proto, .tag = 0x2007}, packet::test::pattern(10));
      plain[15] = tagged[19] = tos;
      const RuleContext context{.vlan = 7, .port = 1};
      EXPECT_EQ(words_of(seen(plain, context).fields), words_of(seen(tagged, context).fields));
      EXPECT_EQ(seen(plain, context).fields.tos, tos);
    }
  }
}

TEST(RuleKey, OfIpv6HasAllOfBothAddresses) {
  const Seen all = seen(kTcp6);
  EXPECT_TRUE(all.is_readable);
  EXPECT_EQ(all.fields.ip_version, 6);
  EXPECT_TRUE(std::equal(all.fields.source_ip.begin(), all.fields.source_ip.end(), kTcp6.begin() + 22));
  EXPECT_TRUE(std::equal(all.fields.destination_ip.begin(), all.fields.destination_ip.end(), kTcp6.begin() + 38));
  EXPECT_EQ(number(all.fields.destination_port), 2000u);
}

TEST(RuleKey, OfWhatIsNotIpHasEthernetAlone) {
  Bytes arp = kTcp4;
  arp[13] = 0x06;
  const Seen all = seen(arp);
  EXPECT_TRUE(all.is_readable);
  EXPECT_EQ(number(all.fields.ethertype), 0x0806u);
  EXPECT_EQ(all.fields.ip_version, 0);
  EXPECT_EQ(number(all.fields.source_port), 0u);
}

TEST(RuleKey, ALaterFragmentHasItsProtocolAndNoPorts) {
  Bytes later = kTcp4;
  later[20] = 0x00;
  later[21] = 0x08;  // 64 bytes behind
  const Seen all = seen(later);
  EXPECT_TRUE(all.is_readable);
  EXPECT_EQ(all.fields.protocol, 6);
  EXPECT_EQ(number(all.fields.source_port), 0u);
}

Bytes with(Bytes frame, std::size_t at, std::uint8_t value) {
  frame[at] = value;
  return frame;
}
Bytes cut(Bytes frame, std::size_t size) {
  frame.resize(size);
  return frame;
}
// A fragment header, and behind it what was there.
Bytes fragment6(std::uint16_t offset_and_more, const Bytes& behind = {}) {
  Bytes frame(kTcp6.begin(), kTcp6.begin() + 54);
  const std::uint8_t next = behind.empty() ? 6 : 60;
  frame[20] = 44;
  packet::test::append(frame, {next, 0});
  packet::test::append16(frame, offset_and_more);
  packet::test::append32(frame, 7);
  packet::test::append(frame, behind);
  frame.insert(frame.end(), kTcp6.begin() + 54, kTcp6.end());
  return frame;
}

struct Hidden {
  const char* description;
  Bytes frame;
  bool is_readable;
};
const Hidden kHidden[] = {
    {"a first fragment that is shorter than its TCP header", cut(with(kTcp4, 20, 0x20), 42), false},
    {"a first fragment with all of it", with(kTcp4, 20, 0x20), true},
    {"the fragment that lies over TCP's flags", with(with(kTcp4, 20, 0x20), 21, 1), false},
    {"the same of UDP, which has none", with(with(kUdp4, 20, 0x20), 21, 1), true},
    {"an IPv4 header that says it is longer than the frame", with(cut(kTcp4, 50), 14, 0x4f), false},
    {"an IPv4 header that says it is shorter than it may be", with(kTcp4, 14, 0x44), false},
    {"a TCP header that says it is shorter than it may be", with(kTcp4, 46, 0x40), false},
    {"a UDP header that is cut", cut(kUdp4, 40), false},
    {"an IPv6 frame that is cut in its header", cut(kTcp6, 40), false},
    {"an IPv6 extension that is cut", cut(fragment6(0), 58), false},
    {"a first fragment of IPv6", fragment6(1), true},
    {"one of which options hide that TCP is cut", cut(fragment6(1, {6, 0, 1, 4, 0, 0, 0, 0}), 80), false},
    {"a later fragment of IPv6", fragment6(64 << 3), true},
    {"the one that lies over TCP's flags", fragment6(1 << 3), false},
    {"a protocol without ports", with(kTcp4, 23, 47), true},
};

TEST(RuleKey, TellsWhatNobodyCanRead) {
  for (const Hidden& row : kHidden)
    EXPECT_EQ(seen(row.frame).is_readable, row.is_readable) << row.description;
}

TEST(RuleKey, TellsWhatLiesBehindTheBytesThatAreCopied) {
  const packet::test::FarFrame far{256, packet::test::pattern(10)};
  EXPECT_FALSE(seen(far.whole).is_readable);
  EXPECT_TRUE(seen(far.whole, {}, packet::kLongestHeader).is_readable);
}

TEST(RuleKey, HasNothingButWhatIsOfInterest) {
  packet::FlowFields of;
  of.source_port = {0xff, 0xff};
  of.vlan = {0, 0xff};
  for (const Bytes& frame : {kTcp4, kTcp6}) {
    const packet::test::View view{frame, packet::kHeaderRoom, {64}};
    RuleWords key;
    ASSERT_TRUE(rule_key(view.view, {.vlan = 0x707, .port = 3}, words_of(of), key));
    packet::FlowFields expected;
    expected.source_port = {1000 >> 8, 1000 & 0xff};
    expected.vlan = {0, 7};
    EXPECT_EQ(key, words_of(expected));
  }
}

// Byte by byte: alike are those of one key, and of one kind.
TEST(PlainFields, AreAlikeWhereTheirKeysAre) {
  packet::FlowFields some;
  some.source_ip = {0xff, 0xff, 0xf0};
  some.destination_port = {0xff, 0xff};
  some.tos = 0xfc;
  some.source[5] = 0xff;
  RuleWords all;
  all.fill(~0ull);
  for (const RuleWords& fields : {words_of(some), all, RuleWords{}}) {
    const PlainFields plain{fields};
    for (const Bytes& frame : {kTcp4, kUdp4}) {
      ASSERT_TRUE(PlainFields::is_plain(packet::test::slice(frame)));
      for (std::size_t at = 0; at < frame.size(); ++at) {
        Bytes other = frame;
        other[at] = static_cast<std::uint8_t>(other[at] ^ 0x10);
        const packet::test::View a{frame, packet::kHeaderRoom, {64}}, b{other, packet::kHeaderRoom, {64}};
        RuleWords key, other_key;
        static_cast<void>(rule_key(a.view, {}, fields, key));
        const bool is_readable = rule_key(b.view, {}, fields, other_key);
        const bool are_alike = plain.are_alike(a.view.header, b.view.header);
        if (are_alike) {
          EXPECT_TRUE(is_readable) << at;
          EXPECT_EQ(key, other_key) << at;
        }
        const bool is_kind = at == 12 || at == 13 || at == 14 || at == 20 || at == 21 || at == 23 || at == 46;
        if (are_alike || is_kind) continue;
        EXPECT_NE(key, other_key) << at;
      }
    }
  }
}

TEST(PlainFields, OfAnotherLengthAreNot) {
  const Bytes longer = whole_frame({.proto = Proto::udp}, packet::test::pattern(11));
  EXPECT_FALSE(PlainFields{RuleWords{}}.are_alike(packet::test::slice(kUdp4), packet::test::slice(longer)));
}

TEST(RuleHash, DependsOnEachWordAndOnTheSeed) {
  const RuleHash hash{1}, other{2};
  RuleWords words;
  words.fill(7);
  const std::uint64_t all = hash(words);
  EXPECT_NE(all, other(words));
  for (std::uint64_t& word : words) {
    word = 7 | std::uint64_t{1} << 63;  // its last bit reaches the first of the hash
    EXPECT_NE(hash(words) & 0xffff, all & 0xffff);
    word = 7;
  }
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < words.size(); ++i)
    sum += hash.part(i, words[i]);
  EXPECT_EQ(hash.mixed(sum), all);
}

}  // namespace
}  // namespace vmux::switching
