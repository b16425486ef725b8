// SPDX-License-Identifier: BSD-3-Clause
// The card moves while it is in use: saved, destroyed, made anew, loaded. Its guest is to notice nothing.
#include <gtest/gtest.h>

#include "device/e1000/registers.hpp"
#include "rigs/e1000_rig.hpp"
#include "rigs/saved_image.hpp"

namespace vmux::rigs {
namespace {

constexpr std::uint32_t kTxReported = 0x1, kLinkChanged = 0x4, kReceived = 0x80;  // of ICR

FrameBytes numbered(unsigned number) {
  FrameBytes frame = frame_to_us(100);
  frame[14] = std::byte(number & 0xff);
  frame[15] = std::byte(number >> 8);
  return frame;
}

std::vector<std::uint32_t> all_registers(E1000Rig& rig) {
  using device::e1000::Access;
  std::vector<std::uint32_t> values;
  for (const auto& row : device::e1000::kRegisters) {
    for (std::uint32_t i = 0; i < row.count && row.access != Access::read_clears; ++i) {
      const std::uint32_t at = row.at + i * row.stride;
      const bool clears = at == 0xc0 || (at >= 0x4088 && at < 0x40d0);
      if (!clears) values.push_back(rig.guest->read(at));
    }
  }
  return values;
}

/// A card in the middle of everything: frames in the FIFO, half a frame to be sent, delayed interrupts, a line that
/// rests.
void make_busy(E1000Rig& rig) {
  rig.guest->bring_up({.rx_descriptors = 8});
  rig.guest->write(0xc4, 0xffff);  // ITR: 16.8 ms
  rig.guest->write(0x3820, 0xffff);
  rig.guest->write(0x2820, 0xffff);
  rig.guest->send(broadcast(100), {.delayed = true});
  static_cast<void>(rig.take());
  rig.guest->queue_raw(rig.guest->stage(broadcast(80)), (0x20ull << 24) | (1ull << 20) | 80);
  rig.guest->ring_doorbell();
  static_cast<void>(rig.take());
  for (unsigned i = 0; i < 12; ++i)
    rig.arrive(numbered(i));
  rig.guest->write_eeprom_wires(0x10, 0x1234);
}

class E1000Save : public ::testing::TestWithParam<Doorbell> {
 protected:
  E1000Rig rig{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(, E1000Save, ::testing::Values(Doorbell::trap, Doorbell::poll),
                         [](const auto& each) { return each.param == Doorbell::trap ? "Trap" : "Poll"; });

TEST_P(E1000Save, TrafficGoesOnBothWays) {
  rig.guest->bring_up();
  for (unsigned i = 0; i < 150; ++i) {
    if (i % 7 == 0) rig.migrate();
    rig.guest->send(numbered(i));
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
    EXPECT_EQ(rig.guest->reap(), 1u);
  }
  EXPECT_EQ(rig.take().size(), 0u);
  EXPECT_FALSE(rig.guest->receive());
}

TEST_P(E1000Save, RegistersReadTheSame) {
  make_busy(rig);
  const auto before = all_registers(rig);
  const std::uint32_t received = 12;
  rig.migrate();
  EXPECT_EQ(all_registers(rig), before);
  EXPECT_EQ(rig.guest->read(0x4074), received);  // GPRC
  EXPECT_EQ(rig.guest->read_eeprom_eerd(0x10), 0x1234);
}

TEST_P(E1000Save, IsTheSameBytesTwiceAndAfterALoad) {
  make_busy(rig);
  rig.nic->function().pause();
  const auto image = rig.nic->function().save();
  EXPECT_EQ(rig.nic->function().save(), image);
  rig.nic.reset();
  rig.nic = rig.make_nic();
  rig.guest->move_to(rig.nic->function());
  ASSERT_TRUE(rig.nic->function().load(image));
  EXPECT_EQ(rig.nic->function().save(), image);
}

TEST_P(E1000Save, PausedTouchesNeitherMemoryNorInterrupts) {
  rig.guest->bring_up();
  rig.nic->function().unmask_intx();  // after the pulse of a reset
  static_cast<void>(rig.guest->interrupts());
  rig.nic->function().pause();
  rig.guest->send(numbered(1));
  EXPECT_EQ(rig.take().size(), 0u);
  EXPECT_EQ(rig.arrive(numbered(2)), 0u);
  rig.nic->set_link(false);
  rig.nic->set_link(true);
  rig.guest->write(0xc8, kLinkChanged);
  EXPECT_FALSE(rig.nic->port().is_ready());
  EXPECT_FALSE(rig.guest->receive());
  EXPECT_EQ(rig.guest->reap(), 0u);
  EXPECT_EQ(rig.guest->interrupts(), 0u);
  rig.nic->function().resume();
  EXPECT_EQ(rig.guest->interrupts(), 1u);
  EXPECT_EQ(rig.take().at(0).bytes, numbered(1));
}

TEST_P(E1000Save, LineThatIsHighIsHighAgain) {
  rig.guest->bring_up();
  rig.nic->function().unmask_intx();  // after the pulse of a reset
  rig.arrive(numbered(1));
  ASSERT_EQ(rig.guest->interrupts(), 1u);
  rig.migrate();
  EXPECT_EQ(rig.guest->interrupts(), 1u);
  EXPECT_TRUE(rig.nic->function().interrupts().intx_level());
  EXPECT_EQ(rig.guest->read(0xc0) & kReceived, kReceived);
  EXPECT_FALSE(rig.nic->function().interrupts().intx_level());
}

TEST_P(E1000Save, InterruptHeldByModerationComes) {
  rig.guest->bring_up();
  rig.guest->write(0xc4, 0xffff);  // ITR: 16.8 ms
  rig.arrive(numbered(1));
  static_cast<void>(rig.guest->read(0xc0));
  static_cast<void>(rig.guest->interrupts());
  rig.arrive(numbered(2));
  rig.migrate();
  EXPECT_EQ(rig.guest->interrupts(), 0u);  // held still
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->interrupts() != 0; }));
  EXPECT_EQ(rig.guest->read(0xc0) & kReceived, kReceived);
}

TEST_P(E1000Save, DelayedReportComes) {
  rig.guest->bring_up();
  rig.guest->write(0x3820, 20'000);  // TIDV: 20 ms
  rig.guest->send(numbered(1), {.delayed = true});
  EXPECT_EQ(rig.take().size(), 1u);
  rig.migrate();
  EXPECT_EQ(rig.guest->interrupts(), 0u);
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->interrupts() != 0; }));
  EXPECT_EQ(rig.guest->read(0xc0) & kTxReported, kTxReported);
}

TEST_P(E1000Save, FramesStoredButNotYetToldOfAreTold) {
  rig.guest->bring_up();
  const FrameBytes frame = numbered(1);
  packet::FrameView view;
  view.header = frame;
  view.length = static_cast<std::uint32_t>(frame.size());
  ASSERT_EQ(rig.nic->port().deliver(std::span{&view, 1}).taken, 1u);  // no end of a round
  rig.migrate();
  EXPECT_EQ(rig.guest->interrupts(), 1u);
  EXPECT_EQ(rig.guest->read(0xc0) & kReceived, kReceived);
  EXPECT_EQ(rig.guest->receive().value().bytes, frame);
  EXPECT_FALSE(rig.guest->receive());
}

TEST_P(E1000Save, HalfAFrameIsSentWholeWhenTheRestComes) {
  rig.guest->bring_up();
  const FrameBytes frame = numbered(7);
  const auto first = std::span{frame}.first(40), second = std::span{frame}.subspan(40);
  const std::uint64_t data = 1ull << 20 | 0x22ull << 24;  // extended, data, IFCS
  rig.guest->queue_raw(rig.guest->stage(first), data | first.size());
  rig.guest->ring_doorbell();
  EXPECT_EQ(rig.take().size(), 0u);
  rig.migrate();
  EXPECT_EQ(rig.take().size(), 0u);
  rig.guest->queue_raw(rig.guest->stage(second), data | 1ull << 24 | second.size());
  rig.guest->ring_doorbell();
  const auto sent = rig.take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes, frame);
}

TEST_P(E1000Save, FramesInTheFifoArriveOnceAndInOrder) {
  rig.guest->bring_up({.rx_descriptors = 8});
  for (unsigned i = 0; i < 40; ++i)
    ASSERT_EQ(rig.arrive(numbered(i)), 1u);
  rig.migrate();
  for (unsigned i = 0; i < 40; ++i) {
    auto received = rig.guest->receive();
    if (!received) {
      rig.guest->refill();
      static_cast<void>(rig.take());
      received = rig.guest->receive();
    }
    ASSERT_TRUE(received) << i;
    EXPECT_EQ(received->bytes, numbered(i));
    if (i % 10 == 0) rig.migrate();
  }
  EXPECT_FALSE(rig.guest->receive());
}

TEST_P(E1000Save, ChecksumContextIsRemembered) {
  rig.guest->bring_up();
  const FrameBytes frame = tcp_frame(100);
  rig.guest->send(frame, {.ip_checksum = true});
  const auto before = rig.take();
  rig.migrate();
  rig.guest->queue_raw(rig.guest->stage(frame), 1ull << 40 | 1ull << 20 | 0x23ull << 24 | frame.size());  // IXSM
  rig.guest->ring_doorbell();
  EXPECT_EQ(rig.take().at(0).bytes, before.at(0).bytes);
}

TEST_P(E1000Save, TailBeyondTheRingIsOnceAroundStill) {
  rig.guest->bring_up({.tx_descriptors = 8});
  for (unsigned i = 0; i < 8; ++i)
    rig.guest->queue(numbered(i));
  rig.guest->write(0x3818, 100);
  ASSERT_EQ(rig.take(3).size(), 3u);
  rig.migrate();
  EXPECT_EQ(rig.take().size(), 5u);
  EXPECT_EQ(rig.take().size(), 0u);
}

TEST_P(E1000Save, CommandOfTheEepromIsFinished) {
  const auto clock = [this](bool bit) {
    const std::uint32_t lines = 0x42u | (bit ? 4u : 0u);  // REQ, CS, DI
    rig.guest->write(0x10, lines);
    rig.guest->write(0x10, lines | 1u);
    rig.migrate();
    return (rig.guest->read(0x10) & 8u) != 0;
  };
  rig.guest->write(0x10, 0x40);
  for (const bool bit : {true, true, false, false, false, false, false, false, true})  // READ word 1
    static_cast<void>(clock(bit));
  unsigned word = 0;
  for (unsigned i = 0; i < 16; ++i)
    word = word << 1 | (clock(false) ? 1u : 0u);
  EXPECT_EQ(word, 0x1200u);
}

TEST_P(E1000Save, LinkIsAsTheDaemonSays) {
  rig.guest->bring_up();
  const auto image = rig.suspend();
  rig.nic = rig.make_nic();
  rig.nic->set_link(false);
  rig.guest->move_to(rig.nic->function());
  ASSERT_TRUE(rig.nic->function().load(image));
  EXPECT_EQ(rig.guest->interrupts(), 0u);
  rig.nic->function().resume();
  EXPECT_EQ(rig.guest->interrupts(), 1u);
  EXPECT_EQ(rig.guest->read(0xc0) & kLinkChanged, kLinkChanged);
  EXPECT_EQ(rig.guest->read(8) & 2, 0u);
}

TEST_P(E1000Save, OfACardWithAnotherAddressIsRefused) {
  rig.nic->function().pause();
  const auto image = rig.nic->function().save();
  auto other = Nic::create({.name = "other", .mac = {2, 0, 0, 0, 0, 1}, .doorbell = GetParam()}, *rig.poller);
  ASSERT_TRUE(other.has_value());
  const auto loaded = (*other)->function().load(image);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error(), "the saved state is of a card with another MAC address than other");
}

TEST_P(E1000Save, CutAnywhereIsRefused) {
  make_busy(rig);
  rig.nic->function().pause();
  for_each_truncation(rig.nic->function().save(),
                      [&](const SavedImage& image) { ASSERT_FALSE(rig.nic->function().load(image)) << image.size(); });
}

TEST_P(E1000Save, WithAnyByteChangedIsRefusedOrWorks) {
  make_busy(rig);
  rig.nic->function().pause();
  unsigned refused = 0, taken = 0;
  for_each_changed_byte(rig.nic->function().save(), [&](const SavedImage& image) {
    if (!rig.nic->function().load(image)) return void(++refused);
    ++taken;
    rig.nic->function().resume();
    for (const unsigned number : {1u, 2u})
      rig.arrive(numbered(number));
    static_cast<void>(take_all(rig));
    rig.poller->run_once();
    rig.nic->function().pause();
    ASSERT_FALSE(rig.nic->function().save().empty());
  });
  EXPECT_GT(refused, 100u);
  EXPECT_GT(taken, 100u);
}

}  // namespace
}  // namespace vmux::rigs
