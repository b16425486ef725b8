// SPDX-License-Identifier: BSD-3-Clause
// Programs from outside: which are refused, and that those that run mean what libpcap's machine says.
#include "packet/filter.hpp"

#include <gtest/gtest.h>
#include <pcap/pcap.h>

#include <cstring>
#include <string>
#include <vector>

#include "packet/test/test_frames.hpp"

namespace vmux::packet {
namespace {

using Program = std::vector<FilterInstruction>;
constexpr FilterInstruction kAll{0x06, 0, 0, 1};

bool is_refused(const Program& program) { return !Filter::create(program).has_value(); }

TEST(PacketFilter, LetsAllPassWithoutAProgram) { EXPECT_TRUE(Filter{}.passes({}, 0)); }

TEST(PacketFilter, IsRefusedWhenItIsEmptyOrOverBudget) {
  EXPECT_TRUE(is_refused({}));
  EXPECT_FALSE(is_refused(Program(Filter::kMostInstructions, kAll)));
  EXPECT_TRUE(is_refused(Program(Filter::kMostInstructions + 1, kAll)));
}

TEST(PacketFilter, IsRefusedWhenItJumpsBackOrOut) {
  EXPECT_TRUE(is_refused({{0x05, 0, 0, 0xffff'ffff}, kAll}));  // to itself, for ever
  EXPECT_TRUE(is_refused({kAll, {0x05, 0, 0, 0xffff'fffe}, kAll}));
  EXPECT_TRUE(is_refused({{0x05, 0, 0, 1}, kAll}));
  EXPECT_TRUE(is_refused({{0x15, 1, 0, 0}, kAll}));
  EXPECT_TRUE(is_refused({{0x15, 0, 1, 0}, kAll}));
  EXPECT_FALSE(is_refused({{0x15, 0, 1, 0}, kAll, kAll}));
}

TEST(PacketFilter, IsRefusedWhenItRunsOffItsEnd) {
  EXPECT_TRUE(is_refused({{0x00, 0, 0, 1}}));
  EXPECT_TRUE(is_refused({{0x05, 0, 0, 0}}));
  EXPECT_TRUE(is_refused({kAll, {0x15, 0, 0, 0}}));
}

TEST(PacketFilter, IsRefusedForWhatThereIsNot) {
  EXPECT_TRUE(is_refused({{0xff, 0, 0, 0}, kAll}));
  EXPECT_TRUE(is_refused({{0x0806, 0, 0, 1}}));
  EXPECT_TRUE(is_refused({{0x60, 0, 0, 16}, kAll}));
  EXPECT_TRUE(is_refused({{0x02, 0, 0, 16}, kAll}));
  EXPECT_TRUE(is_refused({{0x34, 0, 0, 0}, kAll}));
  EXPECT_TRUE(is_refused({{0x94, 0, 0, 0}, kAll}));
  EXPECT_TRUE(is_refused({{0x64, 0, 0, 32}, kAll}));
}

TEST(PacketFilter, ThatReadsBehindTheBytesLetsNothingPass) {
  const auto bytes = test::Bytes(20, 1);
  for (const std::uint32_t at : {17u, 20u, 0xffff'fffcu, 0xffff'ffffu}) {
    EXPECT_FALSE(Filter::create(Program{{0x20, 0, 0, at}, kAll})->passes(test::slice(bytes), 2000)) << at;
    EXPECT_FALSE(Filter::create(Program{{0x01, 0, 0, 3}, {0x40, 0, 0, at}, kAll})->passes(test::slice(bytes), 2000));
  }
  EXPECT_TRUE(Filter::create(Program{{0x20, 0, 0, 16}, kAll})->passes(test::slice(bytes), 2000));
}

TEST(PacketFilter, ThatDividesByAVariableOfZeroLetsNothingPass) {
  EXPECT_FALSE(Filter::create(Program{{0x00, 0, 0, 8}, {0x3c, 0, 0, 0}, kAll})->passes({}, 0));
  EXPECT_FALSE(Filter::create(Program{{0x00, 0, 0, 8}, {0x9c, 0, 0, 0}, kAll})->passes({}, 0));
}

TEST(PacketFilter, KnowsTheLengthOfTheWholeFrame) {
  const auto filter = Filter::create(Program{{0x80, 0, 0, 0}, {0x25, 0, 1, 1000}, kAll, {0x06, 0, 0, 0}});
  EXPECT_TRUE(filter->passes({}, 1001));
  EXPECT_FALSE(filter->passes({}, 1000));
}

// --- beside libpcap: its compiler makes the programs, its machine is the second reading of them ---

struct Compiled {
  explicit Compiled(const char* expression) {
    pcap_t* const pcap = pcap_open_dead(DLT_EN10MB, 262'144);
    EXPECT_EQ(pcap_compile(pcap, &theirs, expression, 1, PCAP_NETMASK_UNKNOWN), 0) << expression;
    pcap_close(pcap);
    for (const bpf_insn& one : std::span{theirs.bf_insns, theirs.bf_len})
      ours.push_back({one.code, one.jt, one.jf, one.k});
  }
  ~Compiled() { pcap_freecode(&theirs); }
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
  bpf_program theirs{};
  Program ours;
};

constexpr const char* kExpressions[] = {
    "tcp port 80",
    "udp and src port 53",
    "icmp or icmp6 or arp",
    "ip host 10.0.0.1 and not tcp",
    "vlan 10 and tcp",
    "ether host 02:00:00:00:00:01",
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
    "ip6 and udp portrange 1000-2000",
    "greater 500",
    "ip[2:2] - ((ip[0] & 0xf) << 2) > 40 and ip[6:2] & 0x1fff = 0",
    "ether broadcast or ether multicast",
    "ip proto 17 or len % 3 == 1 or len / 7 > 100",
};

std::vector<test::Bytes> frames() {
  std::vector<test::Bytes> all;
  for (const test::Ip ip : {test::Ip::v4, test::Ip::v6}) {
    for (const test::Proto proto : {test::Proto::tcp, test::Proto::udp}) {
      const test::FrameSpec spec{.ip = ip, .proto = proto, .flags = 0x02};
      test::Bytes frame = test::whole_frame(spec, test::pattern(100));
      for (const unsigned port : {80u, 53u, 1500u}) {
        const std::size_t l4 = test::l4_offset(spec);
        test::set16(frame, l4, port);
        test::set16(frame, l4 + 2, 80u + port);
        all.push_back(frame);
      }
    }
  }
  for (std::size_t i = 0, count = all.size(); i < count; ++i) {
    test::Bytes tagged = all[i];
    const std::uint8_t tag[] = {0x81, 0, 0, 10};
    tagged.insert(tagged.begin() + 12, std::begin(tag), std::end(tag));
    all.push_back(tagged);
    for (const std::size_t size : {0u, 13u, 14u, 30u, 37u, 60u})
      all.emplace_back(all[i].begin(), all[i].begin() + static_cast<std::ptrdiff_t>(size));
  }
  return all;
}

TEST(PacketFilter, MeansWhatItMeansToLibpcap) {
  std::size_t passed = 0, stopped = 0;
  for (const char* const expression : kExpressions) {
    const Compiled compiled{expression};
    const auto filter = Filter::create(compiled.ours);
    ASSERT_TRUE(filter) << expression << ": " << filter.error().text();
    for (const test::Bytes& frame : frames()) {
      const auto length = static_cast<unsigned>(frame.size());
      const bool expected = bpf_filter(compiled.theirs.bf_insns, frame.data(), length + 9, length) != 0;
      EXPECT_EQ(filter->passes(test::slice(frame), length + 9), expected) << expression << ", " << length << " bytes";
      ++(expected ? passed : stopped);
    }
  }
  EXPECT_GT(passed, 50u);
  EXPECT_GT(stopped, 50u);
}

}  // namespace
}  // namespace vmux::packet
