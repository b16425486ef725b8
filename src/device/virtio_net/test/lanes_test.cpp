// SPDX-License-Identifier: BSD-3-Clause
// Queue pairs on two pollers: what the home thread changes while the other one works.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "device/virtio_net/test/frames.hpp"

namespace vmux::device::virtio_net {
namespace {

using rigs::frame_to_us;
using test::Bytes;
namespace bit = test::bit;

struct TwoPollers {
  explicit TwoPollers(Doorbell doorbell = Doorbell::poll) {
    card = *PciNic::create({.name = "test",
                            .mac = rigs::kVirtioStation,
                            .doorbell = doorbell,
                            .queue_pairs = 4,
                            .more_pollers = {other.get()}},
                           *home);
    guest = std::make_unique<fake_guest::VirtioNetGuest>(card->function());
    lanes = card->lanes();
  }
  void bring_up() { guest->bring_up({.features = ~bit::hash_report, .pairs = 4}); }
  /// All flows to one queue, by the table.
  void lead_all_to(std::uint8_t queue) {
    std::vector<std::uint8_t> rss{0x3f, 0, 0, 0, 0, 0, queue, 0, queue, 0, 4, 0, 40};
    rss.resize(rss.size() + 40, 7);
    EXPECT_EQ(guest->command(4, 1, rss), 0);
  }
  static packet::FrameView view_of(const Bytes& frame) {
    return {.header = std::span{frame}.first(frame.size()),
            .payload = {},
            .length = static_cast<std::uint32_t>(frame.size()),
            .offload = {}};
  }
  unsigned lane_for(const Bytes& frame) {
    const packet::FrameView view = view_of(frame);
    std::uint8_t lane = 99;
    lanes[0]->steering()->steer({&view, 1}, {&lane, 1});
    return lane;
  }
  std::size_t arrive(unsigned lane, const Bytes& frame) {
    const packet::FrameView view = view_of(frame);
    const port::test::Round round{*lanes[lane]};
    return lanes[lane]->deliver({&view, 1}).taken;
  }
  std::size_t take(unsigned lane) {
    std::array<packet::FrameView, port::kMaxBurst> views;
    const port::test::Round round{*lanes[lane]};
    const std::size_t count = lanes[lane]->take(views);
    port::test::finish(*lanes[lane], count);
    return count;
  }
  std::unique_ptr<runtime::Poller> home = *runtime::Poller::create(), other = *runtime::Poller::create();
  std::unique_ptr<PciNic> card;
  std::unique_ptr<fake_guest::VirtioNetGuest> guest;
  std::vector<port::Port*> lanes;
};

TEST(VirtioNetLanes, EveryOtherPairIsTheOtherPollers) {
  TwoPollers rig;
  rig.bring_up();
  ASSERT_EQ(rig.lanes.size(), 2u);
  for (unsigned pair = 0; pair < 4; ++pair) {
    rig.guest->send(frame_to_us(100), {}, pair);
    EXPECT_EQ(rig.take(1 - pair % 2), 0u);
    EXPECT_EQ(rig.take(pair % 2), 1u);
    EXPECT_EQ(rig.guest->reap(pair), 1u);
  }
}

TEST(VirtioNetLanes, FramesTakeTheLaneOfTheirQueue) {
  TwoPollers rig;
  rig.bring_up();
  const Bytes frame = test::to_bytes(packet::test::whole_frame({}, packet::test::pattern(50)));
  for (const std::uint8_t queue : {std::uint8_t{3}, std::uint8_t{2}, std::uint8_t{1}}) {
    rig.lead_all_to(queue);
    ASSERT_EQ(rig.lane_for(frame), queue % 2u);
    EXPECT_EQ(rig.arrive(queue % 2, frame), 1u);
    EXPECT_TRUE(rig.guest->receive(queue)) << int{queue};
  }
}

TEST(VirtioNetLanes, AQueueThatDoesNotRunHasItsFramesElsewhere) {
  TwoPollers rig;
  rig.bring_up();
  rig.lead_all_to(3);
  rig.guest->reset_queue(6);
  const Bytes frame = test::to_bytes(packet::test::whole_frame({}, packet::test::pattern(50)));
  EXPECT_EQ(rig.lane_for(frame), 0u);
  EXPECT_EQ(rig.arrive(0, frame), 1u);
  EXPECT_TRUE(rig.guest->receive(0));
}

TEST(VirtioNetLanes, AResetStopsAllOfThem) {
  TwoPollers rig;
  rig.bring_up();
  rig.guest->send(frame_to_us(100), {}, 1);
  rig.guest->set_common(20, 1, 0);
  EXPECT_EQ(rig.take(1), 0u);
  EXPECT_FALSE(rig.lanes[1]->is_ready());
}

// The other poller moves frames all the time; the home thread takes away what it works with, and gives it back.
TEST(VirtioNetLanes, ChangesUnderTraffic) {
  TwoPollers rig;
  rig.bring_up();
  std::atomic<bool> is_over{false};
  std::thread beside{[&] {
    const Bytes frame = frame_to_us(600);
    while (!is_over) {
      rig.take(1);
      rig.arrive(1, frame);
    }
  }};
  for (unsigned round = 0; round < 200; ++round) {
    rig.guest->send(frame_to_us(100), {}, 1);
    switch (round % 5) {
      case 0:
        rig.bring_up();
        break;
      case 1:
        rig.card->set_link(false);
        rig.card->set_link(true);
        break;
      case 2:
        rig.guest->set_bus_master(false);
        rig.guest->set_bus_master(true);
        break;
      case 3:
        rig.lead_all_to(static_cast<std::uint8_t>(round % 4));
        break;
      default:
        rig.card->function().pause();
        rig.card->function().resume();
    }
  }
  is_over = true;
  beside.join();
  for (unsigned pair = 0; pair < 4; ++pair) {
    EXPECT_EQ(rig.card->nic().tx(pair).guest_fault.get(), 0u) << pair;
    EXPECT_EQ(rig.card->nic().rx(pair).guest_fault.get(), 0u) << pair;
  }
}

}  // namespace
}  // namespace vmux::device::virtio_net
