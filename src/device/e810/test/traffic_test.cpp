// SPDX-License-Identifier: BSD-3-Clause
// Frames through the card's queues, and the interrupts and statistics that come of them. What the queues themselves do
// with descriptors is tested in intel/test.
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "device/e810/queues/queue_context.hpp"
#include "rigs/allocations.hpp"
#include "rigs/e810_rig.hpp"

namespace vmux::rigs {
namespace {

using fake_guest::Bytes;
using fake_guest::E810Setup;

constexpr std::uint32_t kDynCtl = 0x160000, kCauses = 0x16ca00, kCausesEnabled = 0x16c900;

TEST(E810Traffic, FrameLeavesAsItIsAndIsReported) {
  E810Rig rig;
  rig.start();
  const Bytes frame = frame_to_us(300);
  rig.guest->send_frame(frame);
  const auto sent = rig.take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes, frame);
  EXPECT_EQ(rig.guest->reap(), 1u);
  EXPECT_EQ(rig.guest->interrupts(1), 1u);
}

TEST(E810Traffic, FrameArrivesAsItIsWithLengthAndType) {
  E810Rig rig;
  rig.start();
  const Bytes frame = frame_to_us(3000);  // two buffers
  EXPECT_EQ(rig.arrive(frame), 1u);
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->bytes, frame);
  EXPECT_EQ(got->words[0] & 0x3f, 2u);
  EXPECT_EQ(rig.guest->interrupts(1), 1u);
}

TEST(E810Traffic, JumboFramesUpTo9728WithFcs) {
  E810Rig rig;
  rig.start();
  EXPECT_EQ(rig.card().port().accepts().max_frame, 9724u);
  EXPECT_EQ(rig.arrive(frame_to_us(9724)), 1u);
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->bytes.size(), 9724u);
}

TEST(E810Traffic, TagsAreStrippedAndPutIn) {
  E810Rig rig;
  rig.start({.strips_tags = true});
  static_cast<void>(rig.arrive(frame_to_us(64), {.has_vlan = true, .vlan_tci = 0x2005}));
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->bytes.size(), 64u);
  EXPECT_NE(got->words[1] & 1u << 13, 0u);
  EXPECT_EQ(got->words[1] >> 16 & 0xffff, 0x2005u);
  rig.guest->send_frame(frame_to_us(64), 0, 1u << 3, 0, 0x0007);
  const auto sent = rig.take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes.size(), 68u);
  EXPECT_EQ(sent[0].offload.vlan_tci, 7);
}

TEST(E810Traffic, StripChangesWithTheStationsContext) {
  E810Rig rig;
  rig.start();
  ASSERT_EQ(rig.guest->update_vsi({.strips_tags = true}).retval, 0);
  static_cast<void>(rig.arrive(frame_to_us(64), {.has_vlan = true, .vlan_tci = 5}));
  EXPECT_EQ(rig.guest->receive()->bytes.size(), 64u);
  ASSERT_EQ(rig.guest->update_vsi({.strips_tags = false}).retval, 0);
  static_cast<void>(rig.arrive(frame_to_us(64), {.has_vlan = true, .vlan_tci = 5}));
  EXPECT_EQ(rig.guest->receive()->bytes.size(), 68u);
}

/// UDP over IPv4 from a port.
Bytes flow(unsigned port) {
  Bytes frame = frame_to({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, 64, 0x0800);
  const std::array<std::uint8_t, 20> ip{0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0xac, 0x9c, 10, 0, 0, 1, 10, 0, 0, 2};
  std::memcpy(frame.data() + 14, ip.data(), ip.size());
  frame[34] = static_cast<std::byte>(port >> 8);
  frame[35] = static_cast<std::byte>(port);
  frame[40] = frame[41] = std::byte{0};  // no checksum
  return frame;
}

void set_table(E810Rig& rig, unsigned queues) {
  Bytes key(52), table(2048);
  for (std::size_t i = 0; i < key.size(); ++i)
    key[i] = static_cast<std::byte>(i * 37 + 11);
  for (std::size_t i = 0; i < table.size(); ++i)
    table[i] = static_cast<std::byte>(i % queues);
  const auto vsi = static_cast<std::uint8_t>(rig.guest->vsi());
  ASSERT_EQ(rig.guest->call(0x0b02, {vsi, 0x80}, key).retval, 0);
  ASSERT_EQ(rig.guest->call(0x0b03, {vsi, 0x80, 1 | 2 << 2}, table).retval, 0);
}

std::array<unsigned, 5> spread(E810Rig& rig) {
  for (unsigned port = 1000; port < 1040; ++port)
    static_cast<void>(rig.arrive(flow(port)));
  std::array<unsigned, 5> got{};
  for (unsigned queue = 0; queue < got.size(); ++queue) {
    while (rig.guest->receive(queue))
      ++got[queue];
    rig.guest->refill(queue);
  }
  return got;
}

TEST(E810Rss, SpreadsFlowsOverTheQueuesOfTheTable) {
  E810Rig rig;
  rig.start({.queues = 4});
  EXPECT_EQ(spread(rig), (std::array<unsigned, 5>{40, 0, 0, 0, 0}));  // without a table
  set_table(rig, 4);
  const auto all = spread(rig);
  for (unsigned queue = 0; queue < 4; ++queue)
    EXPECT_GT(all[queue], 2u) << queue;
  set_table(rig, 2);
  const auto two = spread(rig);
  EXPECT_EQ(two[0] + two[1], 40u);
  EXPECT_GT(two[1], 5u);
}

TEST(E810Rss, CountsQueuesFromTheStationsFirst) {  // DPDK's begin with 1
  E810Rig rig;
  rig.start({.queues = 3, .first_queue = 1});
  EXPECT_EQ(spread(rig), (std::array<unsigned, 5>{0, 40, 0, 0, 0}));
  set_table(rig, 3);
  const auto got = spread(rig);
  EXPECT_EQ(got[0] + got[4], 0u);
  EXPECT_EQ(got[1] + got[2] + got[3], 40u);
  EXPECT_GT(got[3], 2u);
}

TEST(E810Rss, TellsTheHashWhereTheLayoutHasIt) {
  E810Rig rig;
  rig.start({.rxdid = 22});
  set_table(rig, 1);
  static_cast<void>(rig.arrive(flow(1000)));
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_NE(got->words[1] & 1u << 12, 0u);
  EXPECT_EQ(got->words[1] >> 32, 0xffff'ffffu);  // no flow rule
  EXPECT_NE(got->words[3] & 0xffff'ffff, 0u);
}

/// A second station whose queue 4 programs Flow Director.
void add_control_queue(E810Rig& rig) {
  const auto vsi = rig.guest->call(0x0210, {0, 0x80, 0, 0, 0, 0, 2}, rig.guest->vsi_context({.first_queue = 4}));
  ASSERT_EQ(vsi.retval, 0);
  ASSERT_EQ(rig.guest->add_tx_queue(4, static_cast<std::uint16_t>(vsi.param(0, 2) & 0x3ff)).retval, 0);
}

/// What a driver says of frames to this port from anywhere: a reply to them, and zero for all else.
Bytes reply_of_flow_to(unsigned port) {
  Bytes frame = flow(port);
  for (const std::size_t at : {26u, 27u, 28u, 29u, 30u, 31u, 32u, 33u, 36u, 37u})
    frame[at] = std::byte{0};
  return frame;
}

Bytes flow_to(unsigned port) {
  Bytes frame = flow(1000);
  frame[36] = static_cast<std::byte>(port >> 8);
  frame[37] = static_cast<std::byte>(port);
  return frame;
}

TEST(E810FlowDirector, RuleLeadsFramesToItsQueueUntilItIsRemoved) {
  E810Rig rig;
  rig.start({.queues = 4});
  add_control_queue(rig);
  rig.guest->program_flow(4, 77, reply_of_flow_to(5201), std::uint16_t{2});
  EXPECT_TRUE(rig.take().empty());  // it is not for the wire
  EXPECT_EQ(rig.guest->read(0x464000 + rig.guest->vsi() * 4u), 1u);
  static_cast<void>(rig.arrive(flow_to(5201)));
  static_cast<void>(rig.arrive(flow_to(5202)));
  EXPECT_TRUE(rig.guest->receive(2).has_value());
  EXPECT_FALSE(rig.guest->receive(2).has_value());
  EXPECT_TRUE(rig.guest->receive(0).has_value());
  rig.guest->program_flow(4, 77, reply_of_flow_to(5201), std::nullopt);
  EXPECT_TRUE(rig.take().empty());
  static_cast<void>(rig.arrive(flow_to(5201)));
  EXPECT_FALSE(rig.guest->receive(2).has_value());
  EXPECT_TRUE(rig.guest->receive(0).has_value());
  EXPECT_EQ(rig.counters().flows_refused.get(), 0u);
}

TEST(E810FlowDirector, RuleOutlivesAMove) {
  E810Rig rig;
  rig.start({.queues = 4});
  add_control_queue(rig);
  rig.guest->program_flow(4, 77, reply_of_flow_to(5201), std::uint16_t{3});
  EXPECT_TRUE(rig.take().empty());
  rig.migrate();
  static_cast<void>(rig.arrive(flow_to(5201)));
  EXPECT_TRUE(rig.guest->receive(3).has_value());
  rig.guest->program_flow(4, 77, reply_of_flow_to(5201), std::nullopt);
  EXPECT_TRUE(rig.take().empty());
  static_cast<void>(rig.arrive(flow_to(5201)));
  EXPECT_FALSE(rig.guest->receive(3).has_value());
}

TEST(E810FlowDirector, WhatIsNoRuleIsCounted) {
  E810Rig rig;
  rig.start();
  add_control_queue(rig);
  rig.guest->program_flow(4, 1, frame_to_us(64), std::uint16_t{0});  // not IP
  EXPECT_TRUE(rig.take().empty());
  for (std::uint32_t id = 0; id < 129; ++id) {
    rig.guest->program_flow(4, id, reply_of_flow_to(1 + id), std::uint16_t{0});
    static_cast<void>(rig.take());
  }
  EXPECT_EQ(rig.counters().flows_refused.get(), 2u);  // and the one that found no room
}

TEST(E810FlowDirector, AStationsOwnQueueProgramsNothing) {
  E810Rig rig;
  rig.start();
  rig.guest->program_flow(0, 1, reply_of_flow_to(5201), std::uint16_t{0});
  EXPECT_TRUE(rig.take().empty());
  EXPECT_TRUE(rig.card().data_path().tx(0).is_stopped());
}

TEST(E810Queues, DoorbellFallsBackWhenAQueueIsMadeAnew) {
  E810Rig rig{E810Rig::Doorbell::poll};
  rig.start();
  rig.guest->send_frame(frame_to_us(64));
  EXPECT_EQ(rig.take().size(), 1u);
  ASSERT_EQ(rig.guest->remove_tx_queue(0).retval, 0);
  EXPECT_EQ(rig.guest->remove_tx_queue(0).retval, 2);  // it is not there
  ASSERT_EQ(rig.guest->add_tx_queue(0).retval, 0);
  EXPECT_EQ(rig.guest->read(0x2c0000), 0u);
  EXPECT_EQ(rig.take().size(), 0u);
}

TEST(E810Queues, TailBeforeTheQueueRunsStartsNothing) {
  E810Rig rig;
  ASSERT_STREQ(rig.guest->probe(), nullptr);
  rig.guest->write(0x290000, 63);
  EXPECT_EQ(rig.arrive(frame_to_us(64)), 0u);
  EXPECT_EQ(rig.guest->read(0x120000), 0u);
}

TEST(E810Queues, OneWithoutRoomForAFrameRunsAndTakesNone) {  // Linux 7's for Flow Director
  E810Rig rig;
  rig.start();
  rig.guest->write(0x120000, 0);
  for (unsigned word = 0; word < 8; ++word)
    rig.guest->write(0x280000 + word * 0x2000 + 4, rig.guest->read(0x280000 + word * 0x2000));
  rig.guest->write(0x280000 + 3 * 0x2000 + 4, 0);          // no buffer size
  rig.guest->write(0x280000 + 2 * 0x2000 + 4, 64u << 25);  // 64 descriptors
  rig.guest->write(0x280000 + 5 * 0x2000 + 4, 0);          // no longest frame
  rig.guest->write(0x280000 + 6 * 0x2000 + 4, 0);
  rig.guest->write(0x120004, 1);
  EXPECT_NE(rig.guest->read(0x120004) & 4, 0u);
  EXPECT_EQ(rig.arrive(frame_to_us(64)), 0u);
  rig.guest->write(0x120004, 0);
  EXPECT_EQ(rig.guest->read(0x120004) & 4, 0u);
}

TEST(E810Queues, ContextsThatNoQueueCanHaveAreRefused) {
  E810Rig rig;
  rig.start();
  for (unsigned word = 0; word < 8; ++word)
    rig.guest->write(0x280000 + word * 0x2000 + 4, 0);
  rig.guest->write(0x120004, 1);
  EXPECT_EQ(rig.guest->read(0x120004) & 4, 0u);
  EXPECT_EQ(rig.counters().queue_refused.get(), 1u);
  EXPECT_EQ(rig.guest->add_tx_queue(0).retval, 13);  // it runs
  EXPECT_EQ(rig.guest->add_tx_queue(9).retval, 14);  // beyond the last
}

TEST(E810Queues, BadDescriptorStopsAQueueAndIsReported) {
  E810Rig rig;
  rig.start();
  rig.guest->write(kCausesEnabled, 1u << 19);
  rig.guest->queue_raw(0, 0x40'0000, std::uint64_t{64} << 34 | 3u << 4 | 7);  // a type that does not exist
  rig.guest->ring_tx(0);
  EXPECT_EQ(rig.take().size(), 0u);
  EXPECT_EQ(rig.take().size(), 0u);
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(0xfc068) == 1u << 31; }));
  EXPECT_NE(rig.guest->read(kCauses) & 1u << 19, 0u);
  EXPECT_EQ(rig.guest->interrupts(0), 1u);
  rig.guest->write(0xfc068, 0xffff'ffff);
  EXPECT_EQ(rig.guest->read(0xfc068), 0u);
}

TEST(E810Interrupts, WhatComesWhileAVectorIsOffFiresWhenItIsOn) {
  E810Rig rig;
  rig.start();
  static_cast<void>(rig.arrive(frame_to_us(64)));
  EXPECT_EQ(rig.guest->interrupts(1), 1u);
  EXPECT_EQ(rig.guest->read(kDynCtl + 4) & 1, 0u);  // off by itself
  static_cast<void>(rig.arrive(frame_to_us(64)));
  EXPECT_EQ(rig.guest->interrupts(1), 0u);
  EXPECT_EQ(rig.counters().interrupts_suppressed.get(), 0u);
  static_cast<void>(rig.arrive(frame_to_us(64)));
  EXPECT_EQ(rig.counters().interrupts_suppressed.get(), 1u);  // it will be told with the one before
  rig.guest->arm(1);                                          // with CLEARPBA, as Linux does
  EXPECT_EQ(rig.guest->interrupts(1), 1u);
}

TEST(E810Interrupts, AreModeratedByTheItrOfTheirCause) {
  E810Rig rig;
  rig.start();
  rig.guest->write(0x154000 + 4, 0xfff);  // receive of vector 1: 8 ms
  static_cast<void>(rig.arrive(frame_to_us(64)));
  EXPECT_EQ(rig.guest->interrupts(1), 1u);
  rig.guest->arm(1);
  static_cast<void>(rig.arrive(frame_to_us(64)));
  EXPECT_EQ(rig.guest->interrupts(1), 0u);
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->interrupts(1) == 1; }));
}

TEST(E810Interrupts, SoftwareTriggersAVectorAndTellsOfItInTheOthersCause) {
  E810Rig rig;
  rig.start();
  rig.guest->write(kDynCtl + 4, 1u << 2 | 1u << 31);  // leaves INTENA, which is on
  EXPECT_EQ(rig.guest->interrupts(1), 1u);
  rig.guest->write(kDynCtl, 1u << 2 | 1u << 31);
  EXPECT_EQ(rig.guest->interrupts(0), 1u);
  EXPECT_EQ(rig.guest->read(kCauses), 1u << 31);
  EXPECT_EQ(rig.guest->read(kCauses), 0u);
}

TEST(E810Statistics, CountForTheStationAndThePort) {
  E810Rig rig;
  rig.start();
  rig.guest->send_frame(frame_to({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 60));
  static_cast<void>(rig.take());
  static_cast<void>(rig.arrive(frame_to_us(96)));
  const std::uint32_t vsi = rig.guest->vsi();
  EXPECT_EQ(rig.guest->read(0x30e000 + vsi * 8), 1u);
  EXPECT_EQ(rig.guest->read(0x381240), 1u);
  EXPECT_EQ(rig.guest->read(0x3b2000 + vsi * 8), 1u);
  EXPECT_EQ(rig.guest->read(0x380000), 100u);
  EXPECT_EQ(rig.guest->read(0x380004), 0u);
  EXPECT_EQ(rig.guest->read(0x3b2000 + vsi * 8 + 8), 0u);  // another station's
}

TEST(E810Poll, AllocatesNothing) {
  E810Rig rig;
  rig.start({.queues = 4});
  const Bytes frame = frame_to_us(200);
  rig.guest->send_frame(frame);
  static_cast<void>(rig.take());
  std::array<packet::FrameView, port::kMaxBurst> views;
  rig.guest->send_frame(frame);
  const CountAllocations allocations;
  port::Port& port = rig.nic->port();
  port.begin_round();
  const std::size_t count = port.take(views);
  static_cast<void>(port.deliver(std::span{views}.first(count)));  // to the card that sent it
  const std::array<port::FrameResult, port::kMaxBurst> results{};
  port.finish(std::span{results}.first(count));
  port.end_round();
  EXPECT_EQ(allocations.seen(), 0u);
  EXPECT_EQ(count, 1u);
  EXPECT_TRUE(rig.guest->receive().has_value());
}

}  // namespace
}  // namespace vmux::rigs
