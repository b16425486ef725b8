// SPDX-License-Identifier: BSD-3-Clause
// Traffic classes: how they are asked for, what they last as long as, and which frames they get.
#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "fake_guest/virtchnl_numbers.hpp"
#include "packet/test/test_frames.hpp"
#include "rigs/iavf_rig.hpp"

namespace vmux::rigs {
namespace {

using namespace fake_guest::virtchnl;
using fake_guest::Bytes;
using fake_guest::IavfBody;
using fake_guest::IavfMessage;

constexpr unsigned kTcpV4 = 0, kTcpV6 = 1, kUdpV4 = 2;
constexpr unsigned kQueues = 4;

struct Channel {
  unsigned count, offset;
  std::uint64_t mbps = 0;
};
Bytes channels(std::initializer_list<Channel> list) {
  IavfBody body;
  body.u32(static_cast<std::uint32_t>(list.size())).u32(0);
  for (const Channel& one : list) {
    body.u16(static_cast<std::uint16_t>(one.count)).u16(static_cast<std::uint16_t>(one.offset)).u32(0).u64(one.mbps);
  }
  return body.bytes();
}
/// Leads frames of a flow type to this TCP or UDP port to a class; action 1 is TC_REDIRECT.
Bytes filter(unsigned traffic_class, unsigned port, unsigned type = kTcpV4, std::uint32_t action = 1) {
  IavfBody body;
  for (const std::uint16_t half : {static_cast<std::uint16_t>(port), std::uint16_t{0xffff}})
    body.zeros(50).u8(static_cast<std::uint8_t>(half >> 8)).u8(static_cast<std::uint8_t>(half)).zeros(76);
  return body.u32(type).u32(action).u32(traffic_class).u32(0).bytes();
}
/// A TCP frame for the station.
Bytes tcp(unsigned from_port, unsigned to_port) {
  auto bytes = packet::test::whole_frame({.tcp_options = false}, packet::test::pattern(20));
  std::copy(kIavfStation.begin(), kIavfStation.end(), bytes.begin());
  packet::test::set16(bytes, 34, from_port);
  packet::test::set16(bytes, 36, to_port);
  const auto view = std::as_bytes(std::span{bytes});
  return {view.begin(), view.end()};
}

struct ChannelRig : IavfRig {
  ChannelRig() : IavfRig{Doorbell::trap, kQueues} { bring_up(false); }
  void bring_up(bool is_after_reset) {
    guest->bring_up({.queues = kQueues, .capabilities = kL2 | kRssPf | kAdq, .is_after_reset = is_after_reset});
    std::vector<std::uint8_t> key(52), table(64);
    std::iota(key.begin(), key.end(), std::uint8_t{17});
    for (std::size_t i = 0; i < table.size(); ++i)
      table[i] = static_cast<std::uint8_t>(i % kQueues);
    EXPECT_EQ(ask(kKey, IavfBody{}.u16(1).u16(52).append(key).bytes()), kOk);
    EXPECT_EQ(ask(kLut, IavfBody{}.u16(1).u16(64).append(table).bytes()), kOk);
    EXPECT_EQ(ask(kSetHena, IavfBody{}.u64(~0ull).bytes()), kOk);
  }
  std::int32_t ask(std::uint32_t op, const Bytes& body = {}) { return guest->call(op, body).status; }
  /// Asks for what is granted by a reset, and goes on after it as Linux does.
  void ask_and_reset(std::uint32_t op, const Bytes& body = {}) {
    while (guest->receive_message()) {
    }
    guest->send(op, body);
    const IavfMessage event = guest->receive_message().value();
    EXPECT_EQ(event.opcode, kEvent);
    EXPECT_EQ(event.number(0, 4), 2u);  // RESET_IMPENDING
    reset();
  }
  void reset() {
    EXPECT_TRUE(run_until([&] { return guest->read(kArqlen) == 0; }));
    EXPECT_TRUE(run_until([&] { return guest->read(kRstat) == 2; }));
    bring_up(true);
  }
  /// The queues that frames to a port arrive at, of 64 flows.
  std::set<unsigned> queues_of(unsigned port) {
    std::set<unsigned> queues;
    for (unsigned flow = 0; flow < 64; ++flow) {
      EXPECT_EQ(arrive(tcp(1000 + flow, port)), 1u);
      for (unsigned queue = 0; queue < kQueues; ++queue) {
        if (guest->receive(queue)) queues.insert(queue);
      }
    }
    return queues;
  }
};
using Queues = std::set<unsigned>;

TEST(IavfChannels, SplitQueuesAmongClassesAndFiltersLeadToThem) {
  ChannelRig rig;
  EXPECT_EQ(rig.queues_of(80), (Queues{0, 1, 2, 3}));
  rig.ask_and_reset(kEnableChannels, channels({{1, 0}, {3, 1}}));
  EXPECT_EQ(rig.queues_of(80), (Queues{0}));
  EXPECT_EQ(rig.ask(kAddFilter, filter(1, 80)), kOk);
  EXPECT_EQ(rig.queues_of(80), (Queues{1, 2, 3}));
  EXPECT_EQ(rig.queues_of(81), (Queues{0}));
  EXPECT_EQ(rig.ask(kDelFilter, filter(1, 80)), kOk);
  EXPECT_EQ(rig.ask(kDelFilter, filter(1, 80)), kParam);
  EXPECT_EQ(rig.queues_of(80), (Queues{0}));
}

TEST(IavfChannels, FiltersNameTheTransportToo) {
  ChannelRig rig;
  rig.ask_and_reset(kEnableChannels, channels({{2, 0}, {2, 2}}));
  EXPECT_EQ(rig.ask(kAddFilter, filter(1, 80, kUdpV4)), kOk);
  EXPECT_EQ(rig.ask(kAddFilter, filter(1, 80, kTcpV6)), kOk);
  EXPECT_EQ(rig.queues_of(80), (Queues{0, 1}));
  EXPECT_EQ(rig.ask(kAddFilter, filter(1, 80)), kOk);
  EXPECT_EQ(rig.queues_of(80), (Queues{2, 3}));
}

TEST(IavfChannels, FiltersThatCannotBeAreRefused) {
  ChannelRig rig;
  EXPECT_EQ(rig.ask(kAddFilter, filter(0, 80)), kParam);  // no classes yet
  rig.ask_and_reset(kEnableChannels, channels({{2, 0}, {2, 2}}));
  EXPECT_EQ(rig.ask(kAddFilter, filter(2, 80)), kParam);             // no such class
  EXPECT_EQ(rig.ask(kAddFilter, filter(1, 80, kTcpV4, 0)), kParam);  // DROP
  EXPECT_EQ(rig.ask(kAddFilter, filter(1, 80, 4)), kParam);          // no such flow type
  EXPECT_EQ(rig.ask(kAddFilter, filter(1, 80)), kOk);
  EXPECT_EQ(rig.ask(kAddFilter, filter(1, 80)), kParam);  // there already
  EXPECT_EQ(rig.ask(kAddFilter, Bytes(271)), kParam);     // short
}

TEST(IavfChannels, ClassesThatCannotBeAreRefusedAndChangeNothing) {
  ChannelRig rig;
  EXPECT_EQ(rig.ask(kEnableChannels, channels({})), kParam);
  EXPECT_EQ(rig.ask(kEnableChannels, channels({{1, 0}, {1, 1}, {1, 2}, {1, 3}, {1, 4}})), kParam);
  EXPECT_EQ(rig.ask(kEnableChannels, channels({{0, 0}, {2, 0}})), kParam);
  EXPECT_EQ(rig.ask(kEnableChannels, channels({{2, 0}, {2, 1}})), kParam);  // overlap
  EXPECT_EQ(rig.ask(kEnableChannels, channels({{2, 0}, {3, 2}})), kParam);  // one queue too many
  EXPECT_EQ(rig.ask(kEnableChannels, channels({{2, 0}, {65535, 2}})), kParam);
  EXPECT_EQ(rig.ask(kEnableChannels, IavfBody{}.u32(2).u32(0).zeros(16).bytes()), kParam);  // says two, has one
  EXPECT_EQ(rig.ask(kEnableChannels, channels({{2, 0, 100'001}})), kParam);                 // faster than the link
  EXPECT_EQ(rig.ask(kEnableChannels, channels({{2, 0, 100}})), kNotSupported);
  EXPECT_EQ(rig.ask(kDisableChannels), kParam);
  EXPECT_EQ(rig.queues_of(80), (Queues{0, 1, 2, 3}));
}

TEST(IavfChannels, SurviveTheDriversResetsButNotTheDriver) {
  ChannelRig rig;
  rig.ask_and_reset(kEnableChannels, channels({{1, 0}, {3, 1}}));
  rig.guest->send(kReset);
  rig.reset();
  EXPECT_EQ(rig.queues_of(80), (Queues{0}));
  rig.guest->send(kReset);
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(kRstat) == 2; }));
  rig.bring_up(false);  // another one, that introduces itself
  EXPECT_EQ(rig.queues_of(80), (Queues{0, 1, 2, 3}));
}

TEST(IavfChannels, EndWhenTheDriverSaysSo) {
  ChannelRig rig;
  rig.ask_and_reset(kEnableChannels, channels({{1, 0}, {3, 1}}));
  EXPECT_EQ(rig.queues_of(80), (Queues{0}));
  rig.ask_and_reset(kDisableChannels);
  EXPECT_EQ(rig.queues_of(80), (Queues{0, 1, 2, 3}));
}

}  // namespace
}  // namespace vmux::rigs
