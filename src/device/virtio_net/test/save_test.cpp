// SPDX-License-Identifier: BSD-3-Clause
// The card moves while it is in use: saved, destroyed, made anew, loaded. Its guest is to notice nothing but a request
// to announce itself.
#include <gtest/gtest.h>

#include "device/virtio_net/test/frames.hpp"
#include "rigs/saved_image.hpp"

namespace vmux::device::virtio_net {
namespace {

using rigs::frame_to_us;
using rigs::VirtioNetRig;
using test::Bytes;
namespace bit = test::bit;

class VirtioNetSave : public ::testing::TestWithParam<test::Rings> {
 protected:
  void bring_up() { rig.guest->bring_up({.features = ~GetParam().without, .pairs = 2}); }
  /// In the middle of everything that there is.
  void make_busy() {
    bring_up();
    auto& guest = *rig.guest;
    EXPECT_EQ(guest.command(0, 0, std::array<std::uint8_t, 1>{0}), 0);
    EXPECT_EQ(guest.command(1, 1, std::array<std::uint8_t, 6>{2, 0, 0, 0, 0, 5}), 0);
    EXPECT_EQ(guest.command(1, 0, std::array<std::uint8_t, 14>{0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 7}), 0);
    EXPECT_EQ(guest.command(2, 0, std::array<std::uint8_t, 2>{42, 0}), 0);
    EXPECT_EQ(guest.command(6, 0, std::array<std::uint8_t, 8>{8, 0, 0, 0, 50, 0, 0, 0}), 0);
    std::vector<std::uint8_t> rss{0x3f, 0, 0, 0, 0, 0, 1, 0, 1, 0, 2, 0, 40};
    rss.resize(rss.size() + 40, 7);
    EXPECT_EQ(guest.command(4, 1, rss), 0);
    rig.arrive(Bytes(frame_to_us(100)));
    guest.send(frame_to_us(101));
    guest.queue(frame_to_us(102), {.parts = 3}, 1);
    guest.ring(3).publish();
    rig.take_bytes(1);
  }
  std::vector<std::byte> saved() {
    rig.nic->function().pause();
    return rig.nic->function().save();
  }
  VirtioNetRig rig;
};
INSTANTIATE_TEST_SUITE_P(, VirtioNetSave, ::testing::ValuesIn(test::kRings),
                         [](const auto& each) { return test::name_of(each.param); });

TEST_P(VirtioNetSave, IsTheSameWhenItIsSavedAgain) {
  make_busy();
  const auto image = saved();
  const auto other = rig.make_nic();
  ASSERT_TRUE(other->function().load(image));
  EXPECT_EQ(other->function().save(), image);
}

TEST_P(VirtioNetSave, SaysNothingOfADriverThatThereIsNot) {
  const auto image = saved();
  const auto other = rig.make_nic();
  ASSERT_TRUE(other->function().load(image));
  EXPECT_EQ(other->function().save(), image);
}

TEST_P(VirtioNetSave, FramesGoOnWhereTheyWere) {
  bring_up();
  unsigned sent = 0, arrived = 0;
  for (unsigned move = 0; move < 20; ++move) {
    for (unsigned i = 0; i < 5; ++i)
      rig.guest->send(frame_to_us(100 + i), {.parts = 1 + i % 3});
    sent += static_cast<unsigned>(rig.take_bytes(2).size());
    rig.arrive(frame_to_us(200 + move));
    rig.migrate();
    sent += static_cast<unsigned>(rig.take_bytes().size());
    rig.arrive(frame_to_us(300 + move));
    ASSERT_EQ(rig.guest->reap(), 5u);
    for (const unsigned size : {200 + move, 300 + move}) {
      const auto frame = rig.guest->receive();
      ASSERT_TRUE(frame);
      ASSERT_EQ(frame->bytes, frame_to_us(size));
      ++arrived;
    }
    rig.guest->refill();
  }
  EXPECT_EQ(sent, 100u);
  EXPECT_EQ(arrived, 40u);
}

TEST_P(VirtioNetSave, SettingsAreKept) {
  make_busy();
  rig.migrate();
  EXPECT_EQ(rig.guest->config(5, 1), 5u);
  EXPECT_EQ(rig.guest->status(), 15u);
  EXPECT_EQ(rig.model().settings().hashing.unclassified, 1u);
  while (rig.guest->receive(0) || rig.guest->receive(1)) {
  }
  rig.arrive(rigs::frame_to({1, 0, 0x5e, 0, 0, 7}, 100));
  EXPECT_TRUE(rig.guest->receive(1));
  rig.arrive(rigs::frame_to({1, 0, 0x5e, 0, 0, 8}, 100));
  EXPECT_FALSE(rig.guest->receive(1));
  EXPECT_EQ(rig.guest->command(0, 0, std::array<std::uint8_t, 1>{1}), 0);
}

TEST_P(VirtioNetSave, InterruptsAreSentAfterwards) {
  bring_up();
  static_cast<void>(rig.guest->interrupts(1));
  rig.migrate();
  rig.guest->ring(0).want_interrupt(rig.guest->has(bit::event_idx));
  rig.arrive(frame_to_us(100));
  EXPECT_EQ(rig.guest->interrupts(1), 1u);
}

TEST_P(VirtioNetSave, ADriverThatHasMovedIsAskedToAnnounceItself) {
  bring_up();
  static_cast<void>(rig.guest->interrupts(0));
  rig.migrate();
  EXPECT_EQ(rig.guest->config(6, 2), 3u);
  EXPECT_EQ(rig.guest->interrupts(0), 1u);
  EXPECT_EQ(rig.guest->command(3, 0, {}), 0);
  EXPECT_EQ(rig.guest->config(6, 2), 1u);
}

TEST_P(VirtioNetSave, AQueueThatStoppedStaysStopped) {
  bring_up();
  rig.guest->ring(1).post({{0x7000'0000, 100, false}}, 0);
  rig.take_bytes();
  rig.migrate();
  rig.guest->send(frame_to_us(100));
  EXPECT_TRUE(rig.take_bytes().empty());
  rig.guest->send(frame_to_us(100), {}, 1);
  EXPECT_EQ(rig.take_bytes().size(), 1u);
}

TEST_P(VirtioNetSave, WhatTheDriverSaysMeanwhileIsHeard) {
  bring_up();
  rig.nic->function().pause();
  rig.guest->send(frame_to_us(100));
  EXPECT_FALSE(rig.guest->command(0, 0, std::array<std::uint8_t, 1>{0}));
  EXPECT_TRUE(rig.take_bytes().empty());
  EXPECT_EQ(rig.arrive(frame_to_us(100)), 0u);
  rig.nic->function().resume();
  EXPECT_EQ(rig.take_bytes().size(), 1u);
  EXPECT_TRUE(rig.guest->ring(8).take_used());
  EXPECT_FALSE(rig.model().settings().promisc);
}

TEST_P(VirtioNetSave, IsHandedOverToAnotherProcess) {
  bring_up();
  rig.guest->send(frame_to_us(100));
  rig.hand_over();
  EXPECT_EQ(rig.take_bytes().size(), 1u);
  EXPECT_EQ(rig.guest->reap(), 1u);
  rig.arrive(frame_to_us(100));
  EXPECT_TRUE(rig.guest->receive());
}

TEST_P(VirtioNetSave, AnImageThatEndsTooSoonIsRefused) {
  make_busy();
  const auto image = saved();
  unsigned taken = 0;
  rigs::for_each_truncation(
      image, [&](const rigs::SavedImage& cut) { taken += rig.make_nic()->function().load(cut) ? 1u : 0u; });
  EXPECT_EQ(taken, 0u);
}

TEST(VirtioNetSaveCheck, AnImageWithAnyByteChangedIsRefusedOrWorks) {
  VirtioNetRig rig{VirtioNetRig::Doorbell::trap, 1};
  rig.guest->bring_up();
  rig.nic->function().pause();
  const auto image = rig.nic->function().save();
  unsigned refused = 0;
  rigs::for_each_changed_byte(image, [&](const rigs::SavedImage& changed) {
    const auto other = rig.make_nic();
    if (!other->function().load(changed)) {
      ++refused;
      return;
    }
    other->function().resume();
    std::array<packet::FrameView, 4> views;
    const port::test::Round round{*other};
    port::test::finish(*other, other->take(views));
  });
  EXPECT_GT(refused, 0u);
}

TEST(VirtioNetSaveCheck, AnotherCardsImageIsRefused) {
  VirtioNetRig rig, fewer{VirtioNetRig::Doorbell::trap, 2}, without{VirtioNetRig::Doorbell::trap, 4, bit::packed};
  rig.guest->bring_up();
  rig.nic->function().pause();
  const auto image = rig.nic->function().save();
  EXPECT_FALSE(fewer.make_nic()->function().load(image));
  const auto loaded = without.make_nic()->function().load(image);
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().find("features that are not offered"), std::string::npos) << loaded.error();
}

}  // namespace
}  // namespace vmux::device::virtio_net
