// SPDX-License-Identifier: BSD-3-Clause
// The card moves while it is in use: saved, destroyed, made anew, loaded. Its guest is to notice nothing.
#include <gtest/gtest.h>

#include "device/e810/registers.hpp"
#include "rigs/e810_rig.hpp"
#include "rigs/saved_image.hpp"
#include "vmux/state/arena.hpp"

namespace vmux::rigs {
namespace {

using fake_guest::Bytes;
using fake_guest::E810Setup;

Bytes numbered(unsigned number) {
  Bytes frame = frame_to_us(100);
  frame[14] = std::byte(number & 0xff);
  frame[15] = std::byte(number >> 8);
  return frame;
}

class E810Save : public ::testing::TestWithParam<E810Rig::Doorbell> {
 protected:
  /// In the middle of everything that there is.
  void make_busy() {
    rig.start({.queues = 2, .strips_tags = true});
    Bytes table(2048, std::byte{1}), buffer(4096);
    const auto vsi = static_cast<std::uint8_t>(rig.guest->vsi());
    EXPECT_EQ(rig.guest->call(0x0b03, {vsi, 0x80, 1 | 2 << 2}, table).retval, 0);
    buffer[0] = buffer[4] = std::byte{1};
    buffer[8] = std::byte{16};
    buffer[20] = std::byte{'p'};
    EXPECT_EQ(rig.guest->call(0x0c40, {1}, buffer).retval, 0);
    static_cast<void>(rig.guest->call(0x0607, {0, 0, 3}, Bytes(32), false));
    rig.guest->write(0x154000 + 4, 0xfff);
    EXPECT_EQ(rig.arrive(numbered(1)), 1u);
    rig.guest->arm(1);
    EXPECT_EQ(rig.arrive(numbered(2)), 1u);  // its interrupt waits
    rig.guest->send_frame(numbered(3), 1);
    EXPECT_EQ(rig.take().size(), 1u);
    rig.guest->send_frame(numbered(4));  // published, not taken
  }
  [[nodiscard]] std::vector<std::uint32_t> all_registers() {
    std::vector<std::uint32_t> values;
    for (const auto& row : device::e810::kRegisters) {
      for (std::uint32_t i = 0; i < row.count; ++i) {
        const std::uint32_t at = row.at + i * row.stride;
        if (at != device::e810::reg::PFINT_OICR) values.push_back(rig.guest->read(at));
      }
    }
    return values;
  }
  E810Rig rig{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(, E810Save, ::testing::Values(E810Rig::Doorbell::trap, E810Rig::Doorbell::poll),
                         [](const auto& each) { return each.param == E810Rig::Doorbell::trap ? "Trap" : "Poll"; });

TEST_P(E810Save, TrafficGoesOnBothWays) {
  rig.start({.queues = 2});
  for (unsigned i = 0; i < 150; ++i) {
    if (i % 7 == 0) rig.migrate();
    rig.guest->send_frame(numbered(i), i % 2);
    if (i % 5 == 0) rig.migrate();
    const auto sent = rig.take();
    ASSERT_EQ(sent.size(), 1u) << i;
    EXPECT_EQ(sent[0].bytes, numbered(i));
    ASSERT_EQ(rig.arrive(numbered(i)), 1u);
    if (i % 3 == 0) rig.migrate();
    const auto received = rig.guest->receive();
    ASSERT_TRUE(received) << i;
    EXPECT_EQ(received->bytes, numbered(i));
    rig.guest->refill();
    EXPECT_EQ(rig.guest->reap(i % 2), 1u);
  }
}

TEST_P(E810Save, RegistersReadTheSame) {
  make_busy();
  rig.nic->function().pause();
  const auto before = all_registers();
  const auto image = rig.nic->function().save();
  rig.nic.reset();
  rig.nic = rig.make_nic();
  rig.guest->move_to(rig.nic->function());
  ASSERT_TRUE(rig.nic->function().load(image).has_value());
  EXPECT_EQ(all_registers(), before);
  EXPECT_EQ(rig.nic->function().save(), image);
}

TEST_P(E810Save, WhatWaitsComesAfterwards) {
  make_busy();
  static_cast<void>(rig.guest->interrupts(1));
  rig.migrate();
  EXPECT_EQ(rig.take().size(), 1u);
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->interrupts(1) == 1; }));
}

TEST_P(E810Save, FirmwareRemembers) {
  make_busy();
  rig.migrate();
  const auto vsi = static_cast<std::uint8_t>(rig.guest->vsi());
  EXPECT_EQ(rig.guest->call(0x0b05, {vsi, 0x80, 1 | 2 << 2}, Bytes(2048), false).buffer, Bytes(2048, std::byte{1}));
  EXPECT_EQ(rig.guest->call(0x0c43, {}, Bytes(4096), false).number(0, 4), 1u);
  EXPECT_EQ(rig.guest->add_rule(1, rig.guest->mac(), 1u << 17 | 1u << 3 | std::uint32_t{vsi} << 4).retval, 13);
  EXPECT_EQ(rig.guest->remove_tx_queue(0).retval, 0);
  EXPECT_EQ(rig.guest->add_tx_queue(0).retval, 0);
  rig.card().set_link(false);
  EXPECT_TRUE(rig.guest->receive_event().has_value());
}

TEST_P(E810Save, AResetOfTheDeviceEndsElsewhere) {
  rig.start();
  rig.guest->write(0xb8190, 1);
  rig.migrate();
  EXPECT_TRUE(rig.run_until([&] { return (rig.guest->read(0xb8188) & 3) == 0; }));
  EXPECT_EQ(rig.guest->read(0xb8188) >> 4 & 3, 1u);
}

TEST_P(E810Save, CommandsThatArriveMeanwhileAreExecutedAfterwards) {
  rig.start();
  rig.nic->function().pause();
  rig.guest->queue_command(0x0001, {}, {}, false);
  rig.guest->ring_admin();
  const std::uint32_t head = rig.guest->read(0x80300);
  rig.nic->function().resume();
  EXPECT_EQ(rig.guest->read(0x80300), head + 1);
}

/// Keeps what a transport would.
class E810Dying : public ::testing::Test, protected pci::Recorder {
 protected:
  static constexpr std::uint64_t kRound = 7;
  E810Dying() {
    rig.start();
    rig.nic->function().set_recorder(this);
    rig.start_record();
  }
  void run(const std::function<void()>& work) override {
    ++rounds;
    work();
  }
  /// The process dies with what has happened since begin_requests() not done; whoever sent it sends it again.
  void die() {
    auto died = rig.die();
    ASSERT_TRUE(state::Arena::undo(died.fds.get("cursors"), kRound));
    rig.take_over(died);
  }
  static Bytes two_numbers() {
    Bytes buffer(8);
    buffer[0] = std::byte{0x60};
    buffer[2] = std::byte{2};
    return buffer;
  }
  E810Rig rig;
  unsigned rounds = 0;
};

TEST_F(E810Dying, ACommandWhoseAnswerDoesNotCountIsExecutedAsItWasGiven) {
  rig.nic->function().begin_requests(kRound);
  const auto lost = rig.guest->call(0x0208, {1}, two_numbers());
  EXPECT_EQ(lost.number(4, 2), 1u);
  const std::uint32_t tail = rig.guest->read(0x80400), head = rig.guest->read(0x80300);
  EXPECT_EQ(head, tail);
  die();
  EXPECT_NE(rig.guest->read(0x80300), head);
  rig.guest->write(0x80400, tail);
  EXPECT_EQ(rig.guest->read(0x80300), head);
  const auto again = rig.guest->answer(head - 1);
  EXPECT_EQ(again.retval, 0);
  EXPECT_EQ(again.params, lost.params);
  EXPECT_EQ(rig.guest->call(0x0208, {1}, two_numbers()).number(4, 2), 3u);  // it has counted once
}

TEST_F(E810Dying, OneThatCountsIsNotTakenForTheNext) {
  rig.nic->function().begin_requests(kRound);
  EXPECT_EQ(rig.guest->call(0x0208, {1}, two_numbers()).number(4, 2), 1u);
  rig.nic->function().end_requests();
  rig.start_record();
  auto died = rig.die();
  ASSERT_TRUE(state::Arena::undo(died.fds.get("cursors"), kRound + 1));
  rig.take_over(died);
  EXPECT_EQ(rig.guest->call(0x0b05, {0, 0x80, 1 | 2 << 2}, Bytes(512), false).opcode, 0x0b05);
  EXPECT_EQ(rig.guest->call(0x0208, {1}, two_numbers()).number(4, 2), 3u);
}

TEST_F(E810Dying, CommandsAreExecutedOneInARound) {
  const unsigned before = rounds;
  for (int i = 0; i < 3; ++i)
    rig.guest->queue_command(0x0208, {1}, two_numbers(), true);
  rig.guest->ring_admin();
  const std::uint32_t head = rig.guest->read(0x80300);
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(0x80300) == head + 2; }));
  EXPECT_EQ(rounds, before + 3);
}

TEST_F(E810Dying, ACauseThatWasReadAndNotToldIsThereAgain) {
  constexpr std::uint32_t kCauses = 0x16ca00;
  rig.guest->write(0xb8190, 1);  // a reset of the device is a cause
  rig.start_record();
  rig.nic->function().begin_requests(kRound);
  const std::uint32_t causes = rig.guest->read(kCauses);
  EXPECT_NE(causes & 1u << 20, 0u);
  EXPECT_EQ(rig.guest->read(kCauses), 0u);
  die();
  EXPECT_EQ(rig.guest->read(kCauses), causes);
}

TEST_F(E810Dying, TheOperatorsAddressIsNoted) {
  static_cast<void>(rig.nic->function().take_change());
  rig.card().set_mac({0x52, 0x54, 0, 0, 0, 9});
  EXPECT_TRUE(rig.nic->function().take_change());
}

TEST(E810SavedImage, CutOffOrChangedIsRefusedOrCanBeUsed) {
  E810Rig rig;
  rig.start({.queues = 2});
  const SavedImage image = rig.suspend();
  rig.nic = rig.make_nic();
  rig.guest->move_to(rig.nic->function());
  unsigned taken = 0;
  const auto try_it = [&](const SavedImage& changed) {
    rig.nic->function().pause();
    if (!rig.nic->function().load(changed)) return;
    ++taken;
    rig.nic->function().resume();
    static_cast<void>(rig.take());
    static_cast<void>(rig.arrive(numbered(1)));
    static_cast<void>(rig.guest->call(0x0404, {1}, Bytes(24)));
  };
  for_each_changed_byte(image, try_it);
  EXPECT_GT(taken, 100u);
  taken = 0;
  for_each_truncation(image, try_it);
  EXPECT_EQ(taken, 0u);
}

TEST(E810SavedImage, OfAnotherCardIsRefused) {
  E810Rig two{E810Rig::Doorbell::trap, 2}, four{E810Rig::Doorbell::trap, 4};
  two.nic->function().pause();
  const SavedImage image = two.nic->function().save();
  four.nic->function().pause();
  const auto done = four.nic->function().load(image);
  ASSERT_FALSE(done.has_value());
  EXPECT_NE(done.error().find("another kind of device"), std::string::npos) << done.error();
}

}  // namespace
}  // namespace vmux::rigs
