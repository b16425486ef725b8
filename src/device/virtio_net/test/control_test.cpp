// SPDX-License-Identifier: BSD-3-Clause
// The commands of the control queue: what they change, and what is refused.
#include <gtest/gtest.h>

#include "device/virtio_net/test/frames.hpp"

namespace vmux::device::virtio_net {
namespace {

using rigs::frame_to;
using rigs::frame_to_us;
using rigs::VirtioNetRig;
using Data = std::vector<std::uint8_t>;
namespace bit = test::bit;

constexpr std::uint8_t kOk = 0, kError = 1;

class VirtioNetControl : public ::testing::Test {
 protected:
  explicit VirtioNetControl(std::uint64_t without = 0) { rig.guest->bring_up({.features = ~without}); }
  std::uint8_t call(std::uint8_t group, std::uint8_t command, const Data& data) {
    return rig.guest->command(group, command, data).value_or(0xee);
  }
  /// Whether the driver gets such a frame.
  bool hears(std::initializer_list<unsigned> destination, packet::Offload offload = {}) {
    rig.arrive(frame_to(destination, 100), offload);
    return rig.guest->receive().has_value();
  }
  VirtioNetRig rig;
};

TEST_F(VirtioNetControl, HearsAllUntilToldOtherwise) {
  EXPECT_TRUE(hears({2, 0, 0, 0, 0, 9}));
  EXPECT_EQ(call(0, 0, {0}), kOk);
  EXPECT_FALSE(hears({2, 0, 0, 0, 0, 9}));
  EXPECT_TRUE(hears({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}));
  EXPECT_TRUE(hears({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
}

TEST_F(VirtioNetControl, HearsGroupsThatItAskedFor) {
  ASSERT_EQ(call(0, 0, {0}), kOk);
  EXPECT_FALSE(hears({1, 0, 0x5e, 0, 0, 1}));
  EXPECT_EQ(call(1, 0, {1, 0, 0, 0, 2, 0, 0, 0, 0, 7, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1}), kOk);
  EXPECT_TRUE(hears({1, 0, 0x5e, 0, 0, 1}));
  EXPECT_TRUE(hears({2, 0, 0, 0, 0, 7}));
  EXPECT_FALSE(hears({1, 0, 0x5e, 0, 0, 2}));
  EXPECT_EQ(call(0, 1, {1}), kOk);
  EXPECT_TRUE(hears({1, 0, 0x5e, 0, 0, 2}));
}

TEST_F(VirtioNetControl, ATableThatIsTooLongMeansAllOfTheKind) {
  ASSERT_EQ(call(0, 0, {0}), kOk);
  Data table{0, 0, 0, 0, 0x2c, 1, 0, 0};  // 300 groups
  table.resize(8 + 300 * 6, 1);
  EXPECT_EQ(call(1, 0, table), kOk);
  EXPECT_TRUE(hears({3, 0, 0x5e, 0, 0, 2}));
  EXPECT_FALSE(hears({2, 0, 0, 0, 0, 7}));
}

TEST_F(VirtioNetControl, ATableThatEndsTooSoonIsRefused) {
  EXPECT_EQ(call(1, 0, {2, 0, 0, 0, 2, 0, 0, 0, 0, 7}), kError);
  EXPECT_EQ(call(1, 0, {0xff, 0xff, 0xff, 0xff}), kError);
  EXPECT_EQ(call(1, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0}), kError);
  EXPECT_EQ(rig.model().nic_counters().refused.get(), 3u);
}

TEST_F(VirtioNetControl, TheStationsAddressChanges) {
  ASSERT_EQ(call(0, 0, {0}), kOk);
  EXPECT_EQ(call(1, 1, {2, 0, 0, 0, 0, 5}), kOk);
  EXPECT_TRUE(hears({2, 0, 0, 0, 0, 5}));
  EXPECT_FALSE(hears({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}));
  EXPECT_EQ(rig.guest->config(5, 1), 5u);
  EXPECT_EQ(call(1, 1, {3, 0, 0, 0, 0, 5}), kError);
  rig.guest->bring_up();
  EXPECT_EQ(rig.guest->config(5, 1), 0x56u);
}

TEST_F(VirtioNetControl, VlansAreFiltered) {
  const packet::Offload tag{.has_vlan = true, .vlan_tci = 5}, other{.has_vlan = true, .vlan_tci = 6};
  EXPECT_TRUE(hears({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, tag));
  ASSERT_EQ(call(0, 0, {0}), kOk);
  EXPECT_FALSE(hears({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, tag));
  EXPECT_EQ(call(2, 0, {5, 0}), kOk);
  EXPECT_TRUE(hears({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, tag));
  EXPECT_FALSE(hears({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, other));
  EXPECT_EQ(call(2, 1, {5, 0}), kOk);
  EXPECT_FALSE(hears({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, tag));
  EXPECT_EQ(call(2, 0, {0, 0x10}), kError);
  rig.arrive(frame_to({0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, 100, 0x8100));  // in the bytes: VLAN 0x0f10
  EXPECT_FALSE(rig.guest->receive());
}

TEST_F(VirtioNetControl, OffloadsOfTheGuestAreSwitched) {
  EXPECT_TRUE(rig.nic->accepts().gso_tcp4);
  EXPECT_EQ(call(5, 0, {2, 0, 0, 0, 0, 0, 0, 0}), kOk);
  EXPECT_TRUE(rig.nic->accepts().checksum);
  EXPECT_FALSE(rig.nic->accepts().gso_tcp4);
  EXPECT_EQ(call(5, 0, {0, 4, 0, 0, 0, 0, 0, 0}), kError);  // UFO was not offered
}

TEST_F(VirtioNetControl, PairsHaveALimit) {
  EXPECT_EQ(call(4, 0, {4, 0}), kOk);
  EXPECT_EQ(call(4, 0, {0, 0}), kError);
  EXPECT_EQ(call(4, 0, {5, 0}), kError);
  EXPECT_EQ(call(4, 0, {1}), kError);
}

TEST_F(VirtioNetControl, RssLeadsByItsTable) {
  rig.guest->bring_up({.pairs = 4});
  Data config{0x3f, 0, 0, 0, 1, 0, 3, 0, 1, 0, 2, 0, 4, 0, 40};  // two entries: queues 1 and 2; others to 3
  for (unsigned i = 0; i < 40; ++i)
    config.push_back(static_cast<std::uint8_t>(i * 7 + 1));
  ASSERT_EQ(call(4, 1, config), kOk);
  for (unsigned flow = 0; flow < 32; ++flow) {
    auto frame = packet::test::whole_frame({}, packet::test::pattern(50));
    frame[34] = static_cast<std::uint8_t>(flow);
    rig.arrive(test::to_bytes(frame), {}, 128);
  }
  rig.arrive(frame_to_us(100));
  unsigned counts[4] = {};
  for (unsigned pair = 0; pair < 4; ++pair) {
    while (rig.guest->receive(pair))
      ++counts[pair];
  }
  EXPECT_EQ(counts[0], 0u);
  EXPECT_GT(counts[1], 0u);
  EXPECT_GT(counts[2], 0u);
  EXPECT_EQ(counts[1] + counts[2], 32u);
  EXPECT_EQ(counts[3], 1u);
}

TEST_F(VirtioNetControl, RssThatMakesNoSenseIsRefused) {
  const auto config = [](std::uint8_t types, std::uint8_t mask, std::uint8_t queue, std::uint8_t pairs,
                         std::uint8_t key) {
    Data made{types, 0, 0, 0, mask, 0, 0, 0};
    for (unsigned i = 0; i <= mask; ++i) {
      made.push_back(queue);
      made.push_back(0);
    }
    made.insert(made.end(), {pairs, 0, key});
    made.resize(made.size() + key);
    return made;
  };
  EXPECT_EQ(call(4, 1, config(0x3f, 3, 3, 4, 40)), kOk);
  EXPECT_EQ(call(4, 1, config(0x40, 3, 3, 4, 40)), kError);  // extension headers are not hashed
  EXPECT_EQ(call(4, 1, config(0x3f, 2, 3, 4, 40)), kError);
  EXPECT_EQ(call(4, 1, config(0x3f, 3, 4, 4, 40)), kError);
  EXPECT_EQ(call(4, 1, config(0x3f, 3, 3, 5, 40)), kError);
  EXPECT_EQ(call(4, 1, config(0x3f, 3, 3, 4, 41)), kError);
  EXPECT_EQ(call(4, 1, config(0x3f, 255, 3, 4, 40)), kError);
  Data shorter = config(0x3f, 3, 3, 4, 40);
  shorter.pop_back();
  EXPECT_EQ(call(4, 1, shorter), kError);
}

TEST_F(VirtioNetControl, RssMayBePaddedAsLinuxDoes) {
  Data config{0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 40};
  config.resize(config.size() + 41);
  EXPECT_EQ(call(4, 1, config), kOk);
}

// The example of [VIRTIO] 5.1.6.4.3 is that of the RSS specification: 66.9.149.187:2794 to 161.142.100.80:1766.
TEST_F(VirtioNetControl, HashesAsTheRssSpecificationSays) {
  Data config{0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40};
  const Data key{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
                 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
                 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
  config.insert(config.end(), key.begin(), key.end());
  ASSERT_EQ(call(4, 2, config), kOk);
  auto frame = packet::test::whole_frame({}, packet::test::pattern(20));
  const Data addresses{66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6};
  std::copy(addresses.begin(), addresses.end(), frame.begin() + 26);
  rig.arrive(test::to_bytes(frame), {}, 128);
  const auto seen = rig.guest->receive();
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->field(12, 4), 0x51cc'c178u);
  EXPECT_EQ(seen->field(16, 2), 2u);
}

TEST_F(VirtioNetControl, CoalescingIsKept) {
  EXPECT_EQ(call(6, 0, {8, 0, 0, 0, 50, 0, 0, 0}), kOk);
  EXPECT_EQ(call(6, 1, {4, 0, 0, 0, 20, 0, 0, 0}), kOk);
  EXPECT_EQ(rig.model().settings().tx_coalescing.max_usecs, 50u);
  EXPECT_EQ(rig.model().settings().rx_coalescing.max_packets, 4u);
  EXPECT_EQ(call(6, 0, {8, 0, 0, 0}), kError);
}

TEST_F(VirtioNetControl, WhatDoesNotExistIsRefused) {
  EXPECT_EQ(call(99, 0, {}), kError);
  EXPECT_EQ(call(0, 99, {0}), kError);
  EXPECT_EQ(call(0, 0, {2}), kError);
  EXPECT_EQ(call(0, 0, {}), kError);
  EXPECT_EQ(call(0, 0, Data(10'000)), kError);
}

TEST_F(VirtioNetControl, WhatWasNotAgreedUponIsRefused) {
  rig.guest->bring_up({.features = ~(bit::vlan | bit::mac_addr)});
  EXPECT_EQ(call(2, 0, {5, 0}), kError);
  EXPECT_EQ(call(1, 1, {2, 0, 0, 0, 0, 5}), kError);
}

TEST_F(VirtioNetControl, IsTheThirdQueueOfADriverThatKnowsOfOnePair) {
  rig.guest->bring_up({.features = ~(bit::mq | bit::rss)});
  EXPECT_EQ(call(0, 0, {0}), kOk);
}

TEST_F(VirtioNetControl, StopsAtACommandWithoutRoomForAnAnswer) {
  rig.guest->ring(8).post({{0x1000, 2, false}}, 0);
  rig.guest->notify(8);
  EXPECT_FALSE(rig.guest->ring(8).take_used());
  EXPECT_EQ(rig.model().control().guest_fault.get(), 1u);
  rig.arrive(frame_to_us(100));
  EXPECT_TRUE(rig.guest->receive());
}

}  // namespace
}  // namespace vmux::device::virtio_net
