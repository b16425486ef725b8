// SPDX-License-Identifier: BSD-3-Clause
// What is hashed, as drivers ask for it (ethtool -N rx-flow-hash, ethtool -X hfunc, rte_flow's RSS action), seen in the
// hashes of frames.
#include <gtest/gtest.h>

#include <numeric>

#include "fake_guest/virtchnl_numbers.hpp"
#include "packet/test/test_frames.hpp"
#include "rigs/iavf_rig.hpp"

namespace vmux::rigs {
namespace {

using namespace fake_guest::virtchnl;
using fake_guest::Bytes;
using fake_guest::IavfBody;

constexpr std::uint32_t kIpv4 = 4, kIpv6 = 5, kTcp = 6, kUdp = 7, kPfcp = 17;  // headers
constexpr std::uint32_t kSource = 1, kDestination = 2;                         // fields of any of them
constexpr std::uint32_t kToeplitz = 0, kXor = 1, kSymmetric = 2;

struct Header {
  std::uint32_t type, fields;
};
Bytes config(std::initializer_list<Header> headers, std::uint32_t algorithm = kToeplitz) {
  IavfBody body;
  body.u32(0).u32(static_cast<std::uint32_t>(headers.size()));  // tunnel level and padding, count
  for (const Header& header : headers)
    body.u32(header.type).u32(header.fields).zeros(64);
  body.zeros((32 - headers.size()) * 72);
  return body.u32(algorithm).zeros(128).bytes();
}
/// Who sends to whom.
struct Ends {
  std::uint32_t source = 0x0a00'0001, destination = 0x0a00'0002;
  unsigned source_port = 1000, destination_port = 2000;
};
Bytes tcp(const Ends& ends) {
  auto bytes = packet::test::whole_frame({}, packet::test::pattern(20));
  std::copy(kIavfStation.begin(), kIavfStation.end(), bytes.begin());
  for (unsigned i = 0; i < 4; ++i) {
    bytes[26 + i] = static_cast<std::uint8_t>(ends.source >> (24 - 8 * i));
    bytes[30 + i] = static_cast<std::uint8_t>(ends.destination >> (24 - 8 * i));
  }
  packet::test::set16(bytes, 34, ends.source_port);
  packet::test::set16(bytes, 36, ends.destination_port);
  const auto view = std::as_bytes(std::span{bytes});
  return {view.begin(), view.end()};
}

struct RssRig : IavfRig {
  RssRig() : IavfRig{Doorbell::trap, 4} {
    guest->bring_up({.queues = 4, .capabilities = kL2 | kRssPf | kAdvRss});
    std::vector<std::uint8_t> key(52), table(64, 0);
    std::iota(key.begin(), key.end(), std::uint8_t{17});
    EXPECT_EQ(ask(kKey, IavfBody{}.u16(1).u16(52).append(key).bytes()), kOk);
    EXPECT_EQ(ask(kLut, IavfBody{}.u16(1).u16(64).append(table).bytes()), kOk);
    EXPECT_EQ(ask(kSetHena, IavfBody{}.u64(~0ull).bytes()), kOk);
  }
  std::int32_t ask(std::uint32_t op, const Bytes& body) { return guest->call(op, body).status; }
  /// What the write-back of a frame says; nothing when it was not hashed.
  std::optional<std::uint64_t> hash(const Ends& ends) {
    EXPECT_EQ(arrive(tcp(ends)), 1u);
    const auto got = guest->receive().value();
    if ((got.qword1 >> 12 & 3) != 3) return std::nullopt;
    return got.qword0 >> 32;
  }
};

TEST(IavfRssConfig, AllEndsCountToBeginWith) {
  RssRig rig;
  const auto base = rig.hash({});
  ASSERT_TRUE(base);
  EXPECT_NE(rig.hash({.source = 1}), base);
  EXPECT_NE(rig.hash({.destination = 1}), base);
  EXPECT_NE(rig.hash({.source_port = 1}), base);
  EXPECT_NE(rig.hash({.destination_port = 1}), base);
}

TEST(IavfRssConfig, OnlyTheChosenFieldsCount) {
  RssRig rig;
  EXPECT_EQ(rig.ask(kAddConfig, config({{kIpv4, kSource}, {kTcp, kDestination}})), kOk);
  const auto base = rig.hash({});
  EXPECT_NE(rig.hash({.source = 1}), base);
  EXPECT_EQ(rig.hash({.destination = 1}), base);
  EXPECT_EQ(rig.hash({.source_port = 1}), base);
  EXPECT_NE(rig.hash({.destination_port = 1}), base);
}

TEST(IavfRssConfig, OtherTransportsAreLeftAlone) {
  RssRig rig;
  EXPECT_EQ(rig.ask(kAddConfig, config({{kIpv4, kSource}, {kUdp, 0}})), kOk);
  EXPECT_NE(rig.hash({.source_port = 1}), rig.hash({}));
}

TEST(IavfRssConfig, WhatIsDeletedIsNotHashed) {
  RssRig rig;
  const Bytes both = config({{kIpv4, kSource | kDestination}, {kTcp, kSource | kDestination}});
  EXPECT_EQ(rig.ask(kDelConfig, both), kOk);
  EXPECT_FALSE(rig.hash({}));
  EXPECT_EQ(rig.ask(kAddConfig, both), kOk);
  EXPECT_TRUE(rig.hash({}));
}

TEST(IavfRssConfig, SymmetricMeansBothDirectionsAlike) {
  RssRig rig;
  const Ends there{}, back{there.destination, there.source, there.destination_port, there.source_port};
  EXPECT_NE(rig.hash(there), rig.hash(back));
  EXPECT_EQ(rig.ask(kHashFunction, IavfBody{}.u16(1).u16(kSymmetric).u32(0).bytes()), kOk);
  EXPECT_EQ(rig.hash(there), rig.hash(back));
  EXPECT_NE(rig.hash(there), rig.hash({.source_port = 1}));
  EXPECT_EQ(rig.ask(kHashFunction, IavfBody{}.u16(1).u16(kToeplitz).u32(0).bytes()), kOk);
  EXPECT_NE(rig.hash(there), rig.hash(back));
}

TEST(IavfRssConfig, TellsHowManyQueuesTheTableCanLeadTo) {
  IavfRig rig{IavfRig::Doorbell::trap, 4};
  rig.guest->bring_up({.capabilities = kL2 | 1 << 9});  // LARGE_NUM_QPAIRS
  EXPECT_EQ(rig.guest->call(50).number(2, 2), 2u);      // log2
}

TEST(IavfRssConfig, WhatCannotBeHashedIsRefused) {
  RssRig rig;
  EXPECT_EQ(rig.ask(kAddConfig, config({})), kParam);
  EXPECT_EQ(rig.ask(kAddConfig, config({{kIpv4, 0}, {kTcp, 0}})), kParam);  // no field at all
  EXPECT_EQ(rig.ask(kAddConfig, config({{kTcp, kSource}})), kParam);        // over what?
  EXPECT_EQ(rig.ask(kAddConfig, config({{kIpv4, kSource}, {kPfcp, 1}})), kParam);
  EXPECT_EQ(rig.ask(kAddConfig, config({{kIpv6, kSource}, {kTcp, 0}}, kXor)), kNotSupported);
  EXPECT_EQ(rig.ask(kHashFunction, IavfBody{}.u16(1).u16(kXor).u32(0).bytes()), kNotSupported);
  EXPECT_EQ(rig.ask(kHashFunction, IavfBody{}.u16(2).u16(kToeplitz).u32(0).bytes()), kParam);
}

}  // namespace
}  // namespace vmux::rigs
