// SPDX-License-Identifier: BSD-3-Clause
#include "backend/traffic/traffic_port.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>

#include "packet/headers.hpp"
#include "packet/test/test_frames.hpp"
#include "port/test/rounds.hpp"

namespace vmux::backend {
namespace {

using packet::FrameView;
using packet::test::Bytes;

Bytes whole(const FrameView& view) {
  Bytes out;
  const auto append = [&](packet::Slice slice) {
    for (const std::byte byte : slice)
      out.push_back(static_cast<std::uint8_t>(byte));
  };
  append(view.header);
  for (const packet::Slice part : view.payload)
    append(part);
  return out;
}

std::unique_ptr<TrafficPort> make(const std::string& options) {
  static const auto poller = *runtime::Poller::create();
  return *TrafficPort::create(*parse_generator(options), *poller);
}

TEST(TrafficPort, GeneratorHasAFullBurstWithTheAddressesAndSizeAsked) {
  const auto port = make("size=64,to=02:00:00:00:00:01,from=02:00:00:00:00:02");
  std::array<FrameView, 32> views;
  ASSERT_EQ(port->take(views), views.size());
  const Bytes frame = whole(views[31]);
  EXPECT_EQ(frame.size(), 64u);
  EXPECT_EQ(Bytes(frame.begin(), frame.begin() + 12), (Bytes{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}));
  EXPECT_TRUE(port->needs_polling());
}

TEST(TrafficPort, GeneratedSumsAreRightByAPlainReading) {
  const auto port = make("size=1513");
  std::array<FrameView, 2> views;
  ASSERT_EQ(port->take(views), 2u);
  const Bytes frame = whole(views[1]);
  ASSERT_EQ(frame.size(), 1513u);
  EXPECT_EQ(packet::test::plain_sum({frame.begin() + 14, frame.begin() + 34}), 0xffff);
  const Bytes udp{frame.begin() + 34, frame.end()};
  Bytes pseudo{frame.begin() + 26, frame.begin() + 34};
  packet::test::append16(pseudo, 17);
  packet::test::append16(pseudo, static_cast<unsigned>(udp.size()));
  packet::test::append(pseudo, udp);
  EXPECT_EQ(packet::test::plain_sum(pseudo), 0xffff);
}

TEST(TrafficPort, PeekedFramesStayUntilTheyAreCompletedAndTheFlowsTakeTurns) {
  const auto port = make("size=64,flows=3");
  std::array<FrameView, 1> first, again, later;
  ASSERT_EQ(port->take(first) + port->take(again), 2u);
  EXPECT_EQ(first[0].header.data(), again[0].header.data());
  std::set<unsigned> ports;
  for (int i = 0; i < 6; ++i) {
    ASSERT_EQ(port->take(later), 1u);
    const Bytes frame = whole(later[0]);
    ports.insert(frame[34] * 256u + frame[35]);
    port::test::finish(*port, 1);
  }
  EXPECT_EQ(ports, (std::set<unsigned>{1024, 1025, 1026}));
}

TEST(TrafficPort, AsManyFramesTakeTurnsAsAskedOrAsThereAreFlows) {
  const auto different = [](const std::string& options) {
    const auto port = make(options);
    std::set<const std::byte*> places;
    for (int i = 0; i < 300; ++i) {
      std::array<FrameView, 32> views;
      EXPECT_EQ(port->take(views), views.size());
      for (const FrameView& view : views) {
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.header.data()) % 64, 0u);
        places.insert(view.header.data());
      }
      port::test::finish(*port, 7);
    }
    return places.size();
  };
  EXPECT_EQ(different("size=90"), 1024u);
  EXPECT_EQ(different("size=90,frames=5"), 5u);
  EXPECT_EQ(different("size=90,frames=5,flows=100"), 100u);
}

TEST(TrafficPort, SinkHasACopyOfWhatItWasGiven) {
  static const auto poller = *runtime::Poller::create();
  const auto sink = *TrafficPort::create({}, *poller);
  const auto source = make("size=1514");
  std::array<FrameView, 32> views;
  ASSERT_EQ(source->take(views), 32u);
  for (int i = 0; i < 20; ++i)  // more than the buffers hold
    ASSERT_EQ(sink->deliver(views).taken, 32u);
  EXPECT_NE(sink->last_sunk().data(), views[31].header.data());
  EXPECT_EQ(whole({.header = sink->last_sunk()}), whole(views[31]));
  EXPECT_FALSE(sink->needs_polling());
}

TEST(TrafficPort, SinkSaysOnceWhereItIs) {
  const auto poller = *runtime::Poller::create();
  const auto port = *TrafficPort::create(kSink, *poller);
  std::array<FrameView, 32> views;
  ASSERT_EQ(port->take(views), 1u);
  ASSERT_EQ(port->take(views), 1u);  // it stands until it is completed
  const Bytes frame = whole(views[0]);
  EXPECT_EQ(frame.size(), 64u);
  EXPECT_EQ(Bytes(frame.begin(), frame.begin() + 12),
            (Bytes{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x00, 0x73, 0x6e, 0x6b}));
  port::test::finish(*port, 1);
  EXPECT_EQ(port->take(views), 0u);
  EXPECT_FALSE(port->needs_polling());
}

TEST(TrafficPort, OptionsThatMakeNoSenseAreRefused) {
  for (const char* text : {"", "size=59", "size=9019", "size=64x", "size=64,flows=0", "size=64,flows=1025",
                           "size=64,frames=0", "size=64,frames=1025", "size=64,to=1", "size=64,to=2:0:0:0:0:1",
                           "size=064", "size=64,flows=1e1", "size=64,from=01:00:00:00:00:00", "size=64,speed=1", "64"})
    EXPECT_FALSE(parse_generator(text)) << text;
}

}  // namespace
}  // namespace vmux::backend
