// SPDX-License-Identifier: BSD-3-Clause
// The card moves while it is in use: saved, destroyed, made anew, loaded. Its guest is to notice nothing.
#include <gtest/gtest.h>

#include "device/iavf/registers.hpp"
#include "fake_guest/virtchnl_numbers.hpp"
#include "rigs/iavf_rig.hpp"
#include "rigs/saved_image.hpp"

namespace vmux::rigs {
namespace {

using namespace fake_guest::virtchnl;
using fake_guest::Bytes;
using fake_guest::IavfBody;
using Doorbell = IavfRig::Doorbell;

constexpr std::uint32_t kArmed = 1, kUnmoderated = 3u << 3, kSlow = kArmed | 0xfffu << 5;  // 8190 us
constexpr unsigned kPairsInUse = 2;

Bytes numbered(unsigned number) {
  Bytes frame = to_iavf(100);
  frame[14] = std::byte(number & 0xff);
  frame[15] = std::byte(number >> 8);
  return frame;
}

/// One address, in a list of one.
Bytes address(unsigned last, unsigned first = 2) {
  IavfBody body;
  body.u16(1).u16(1).u8(static_cast<std::uint8_t>(first)).zeros(4).u8(static_cast<std::uint8_t>(last));
  return body.zeros(2).bytes();
}

class IavfSave : public ::testing::TestWithParam<Doorbell> {
 protected:
  void bring_up(std::uint32_t more_capabilities = 0) {
    rig.guest->bring_up({.queues = kPairsInUse,
                         .capabilities = kL2 | kVlan | kRssPf | kReqQueues | more_capabilities,
                         .mapped_doorbells = GetParam() == Doorbell::poll});
    for (unsigned vector = 0; vector <= kPairsInUse; ++vector)
      static_cast<void>(rig.guest->interrupts(vector));
  }
  /// In the middle of everything that there is.
  void make_busy() {
    bring_up(kAdq);
    EXPECT_EQ(rig.guest->call(kAddMac, address(7)).status, kOk);
    EXPECT_EQ(rig.guest->call(kAddMac, address(9, 3)).status, kOk);
    EXPECT_EQ(rig.guest->call(kAddVlan, IavfBody{}.u16(1).u16(1).u16(42).zeros(2).bytes()).status, kOk);
    EXPECT_EQ(rig.guest->call(kLut, IavfBody{}.u16(1).u16(64).append(std::vector<std::uint8_t>(64, 1)).bytes()).status,
              kOk);
    rig.guest->arm(1, kSlow);
    EXPECT_EQ(rig.arrive(numbered(1)), 1u);
    rig.guest->arm(1, kSlow);
    EXPECT_EQ(rig.arrive(numbered(2)), 1u);
    rig.guest->send_frame(numbered(3), 1);
    EXPECT_EQ(rig.take().size(), 1u);
    rig.guest->queue(0, numbered(4), 0, 2);
  }
  [[nodiscard]] std::vector<std::uint32_t> all_registers() {
    std::vector<std::uint32_t> values;
    for (const auto& row : device::iavf::kRegisters) {
      for (std::uint32_t i = 0; i < row.count; ++i) {
        const std::uint32_t at = row.at + i * row.stride;
        if (at != device::iavf::reg::VFINT_ICR01) values.push_back(rig.guest->read(at));
      }
    }
    return values;
  }
  IavfRig rig{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(, IavfSave, ::testing::Values(Doorbell::trap, Doorbell::poll),
                         [](const auto& each) { return each.param == Doorbell::trap ? "Trap" : "Poll"; });

TEST_P(IavfSave, TrafficGoesOnBothWays) {
  bring_up();
  for (unsigned i = 0; i < 150; ++i) {
    if (i % 7 == 0) rig.migrate();
    rig.guest->send_frame(numbered(i), i % kPairsInUse);
    if (i % 5 == 0) rig.migrate();
    ASSERT_EQ(rig.take(), std::vector<Bytes>{numbered(i)}) << i;
    ASSERT_EQ(rig.arrive(numbered(i)), 1u);
    if (i % 3 == 0) rig.migrate();
    const auto received = rig.guest->receive();
    ASSERT_TRUE(received) << i;
    EXPECT_EQ(received->bytes, numbered(i));
    rig.guest->refill();
    EXPECT_EQ(rig.guest->reap(i % kPairsInUse), 1u);
  }
  EXPECT_TRUE(rig.take().empty());
  EXPECT_FALSE(rig.guest->receive());
}

TEST_P(IavfSave, RegistersReadTheSame) {
  make_busy();
  const auto before = all_registers();
  rig.nic->function().pause();
  EXPECT_EQ(all_registers(), before);
  const auto image = rig.nic->function().save();
  rig.revive(image);
  EXPECT_EQ(rig.guest->read(kArqlen), 0x8000'0020u);
}

TEST_P(IavfSave, IsTheSameBytesTwiceAndAfterALoad) {
  make_busy();
  rig.nic->function().pause();
  const auto before = all_registers();
  const auto image = rig.nic->function().save();
  EXPECT_EQ(rig.nic->function().save(), image);
  rig.nic.reset();
  rig.nic = rig.make_nic();
  rig.guest->move_to(rig.nic->function());
  const auto loaded = rig.nic->function().load(image);
  ASSERT_TRUE(loaded) << loaded.error();
  EXPECT_EQ(rig.nic->function().save(), image);
  EXPECT_EQ(all_registers(), before);
}

TEST_P(IavfSave, PausedTouchesNeitherMemoryNorInterrupts) {
  bring_up();
  rig.guest->arm(0, kArmed | kUnmoderated);  // tells of the answers so far
  static_cast<void>(rig.guest->interrupts(0));
  rig.guest->arm(0, kArmed | kUnmoderated);
  rig.nic->function().pause();
  rig.guest->send_frame(numbered(1));
  rig.guest->send(kStats, IavfBody{}.u16(1).zeros(10).bytes());
  EXPECT_TRUE(rig.take().empty());
  EXPECT_EQ(rig.arrive(numbered(2)), 0u);
  rig.nic->set_link(false);
  rig.nic->set_link(true);
  EXPECT_FALSE(rig.nic->port().is_ready());
  EXPECT_FALSE(rig.nic->port().needs_polling());
  static_cast<void>(rig.poller->run_once());
  EXPECT_EQ(rig.guest->reap(), 0u);
  EXPECT_EQ(rig.guest->interrupts(0), 0u);
  EXPECT_EQ(rig.guest->interrupts(1), 0u);
  rig.nic->function().resume();
  EXPECT_EQ(rig.take(), std::vector<Bytes>{numbered(1)});
  EXPECT_EQ(rig.guest->interrupts(0), 1u);
}

// The command lies in its ring; the answer is the new card's.
TEST_P(IavfSave, CommandThatWasNotTakenYetIsAnsweredOnce) {
  bring_up();
  while (rig.guest->receive_message()) {
  }
  rig.nic->function().pause();
  rig.guest->send(kAddMac, address(7));
  EXPECT_FALSE(rig.guest->receive_message());
  rig.migrate();
  const auto answer = rig.guest->receive_message();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->opcode, kAddMac);
  EXPECT_EQ(answer->status, kOk);
  EXPECT_FALSE(rig.guest->receive_message());
  EXPECT_EQ(rig.arrive(frame_to({2, 0, 0, 0, 0, 7}, 64)), 1u);
  EXPECT_TRUE(rig.guest->receive());
}

TEST_P(IavfSave, AddressesVlansAndTablesAreKept) {
  make_busy();
  rig.migrate();
  while (rig.guest->receive())
    rig.guest->refill();
  for (const unsigned first : {2u, 3u})
    static_cast<void>(rig.arrive(frame_to({first, 0, 0, 0, 0, first == 2 ? 7u : 9u}, 64)));
  EXPECT_TRUE(rig.guest->receive());
  EXPECT_TRUE(rig.guest->receive());
  EXPECT_EQ(rig.arrive(frame_to({2, 0, 0, 0, 0, 8}, 64)), 1u);
  EXPECT_FALSE(rig.guest->receive());
  Bytes tagged = frame_to({0x52, 0x54, 0, 0x12, 0x34, 0x56}, 14, 0x8100);
  for (const unsigned byte : {0u, 43u, 8u, 6u})
    tagged.push_back(std::byte(byte));
  tagged.resize(64);
  static_cast<void>(rig.arrive(tagged));
  EXPECT_FALSE(rig.guest->receive());
  tagged[15] = std::byte{42};
  static_cast<void>(rig.arrive(tagged));
  EXPECT_TRUE(rig.guest->receive());
}

TEST_P(IavfSave, InterruptHeldByModerationComes) {
  bring_up();
  rig.guest->arm(1, kSlow);
  ASSERT_EQ(rig.arrive(numbered(1)), 1u);
  static_cast<void>(rig.run_until([&] { return rig.guest->interrupts(1) != 0; }));
  rig.guest->arm(1, kArmed | kUnmoderated);
  ASSERT_EQ(rig.arrive(numbered(2)), 1u);
  EXPECT_EQ(rig.guest->interrupts(1), 0u);
  rig.migrate();
  EXPECT_EQ(rig.guest->interrupts(1), 0u);  // held still
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->interrupts(1) == 1; }));
}

TEST_P(IavfSave, VectorThatWasNotArmedIsToldWhenItIs) {
  bring_up();
  rig.guest->arm(1, 0);
  ASSERT_EQ(rig.arrive(numbered(1)), 1u);
  rig.migrate();
  EXPECT_EQ(rig.guest->interrupts(1), 0u);
  rig.guest->arm(1, kArmed | kUnmoderated);
  EXPECT_TRUE(rig.run_until([&] {
    static_cast<void>(rig.take());
    return rig.guest->interrupts(1) == 1;
  }));
}

TEST_P(IavfSave, FramesStoredButNotYetToldOfAreTold) {
  bring_up();
  const Bytes frame = numbered(1);
  packet::FrameView view;
  view.header = frame;
  view.length = static_cast<std::uint32_t>(frame.size());
  ASSERT_EQ(rig.nic->port().deliver(std::span{&view, 1}).taken, 1u);  // no end of a round
  EXPECT_EQ(rig.guest->interrupts(1), 0u);
  rig.migrate();
  EXPECT_EQ(rig.guest->interrupts(1), 1u);
  EXPECT_EQ(rig.guest->receive().value().bytes, frame);
}

TEST_P(IavfSave, HalfAFrameIsSentWholeWhenTheRestComes) {
  bring_up();
  const Bytes frame = numbered(7);
  rig.guest->queue(0, std::span{frame}.first(40), 0, 1);
  const std::uint64_t at = rig.guest->tx_ring(0) + 8;  // no EOP, no RS
  fake_guest::store(rig.guest->memory(), at, fake_guest::load<std::uint64_t>(rig.guest->memory(), at) & ~(3ull << 4));
  rig.guest->ring_tx(0);
  EXPECT_TRUE(rig.take().empty());
  rig.migrate();
  EXPECT_TRUE(rig.take().empty());
  rig.guest->send_frame(std::span{frame}.subspan(40));
  EXPECT_EQ(rig.take(), std::vector<Bytes>{frame});
}

TEST_P(IavfSave, ResetThatWasAnnouncedComes) {
  bring_up();
  rig.guest->send(kRequestQueues, IavfBody{}.u16(1).bytes());
  EXPECT_EQ(rig.guest->read(kRstat), 2u);
  rig.migrate();
  EXPECT_NE(rig.guest->read(kArqlen), 0u);  // not yet
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(kArqlen) == 0; }));
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(kRstat) == 2; }));
  bring_up();
  rig.guest->send_frame(numbered(1));
  EXPECT_EQ(rig.take(), std::vector<Bytes>{numbered(1)});
}

TEST_P(IavfSave, ResetThatHasBegunEnds) {
  bring_up();
  rig.guest->send(kReset);
  EXPECT_EQ(rig.guest->read(kRstat), 0u);
  rig.migrate();
  EXPECT_EQ(rig.guest->read(kRstat), 0u);
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(kRstat) == 2; }));
  bring_up();
  rig.guest->send_frame(numbered(1));
  EXPECT_EQ(rig.take(), std::vector<Bytes>{numbered(1)});
}

TEST_P(IavfSave, QueueThatStoppedIsStillToldOf) {
  bring_up();
  rig.guest->queue_raw(0, 0, 0x8);
  rig.guest->ring_tx(0);
  EXPECT_TRUE(rig.take().empty());
  rig.migrate();
  static_cast<void>(rig.take());
  EXPECT_TRUE(rig.run_until([&] { return rig.guest->read(kArqlen) == 0; }));
}

TEST_P(IavfSave, StatisticsGoOn) {
  make_busy();
  const auto before = rig.guest->call(kStats, IavfBody{}.u16(1).zeros(10).bytes()).body;
  ASSERT_FALSE(before.empty());
  rig.migrate();
  EXPECT_EQ(rig.guest->call(kStats, IavfBody{}.u16(1).zeros(10).bytes()).body, before);
}

TEST_P(IavfSave, LinkIsAsTheDaemonSays) {
  bring_up();
  while (rig.guest->receive_message()) {
  }
  const auto image = rig.suspend();
  rig.nic = rig.make_nic();
  rig.nic->set_link(false);
  rig.guest->move_to(rig.nic->function());
  ASSERT_TRUE(rig.nic->function().load(image));
  EXPECT_FALSE(rig.guest->receive_message());
  rig.nic->function().resume();
  const auto event = rig.guest->receive_message();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->opcode, kEvent);
  EXPECT_FALSE(rig.guest->receive_message());
}

TEST_P(IavfSave, NothingIsSaidWhenNothingChanged) {
  bring_up();
  while (rig.guest->receive_message()) {
  }
  rig.migrate();
  EXPECT_FALSE(rig.guest->receive_message());
}

TEST_P(IavfSave, OfAnotherCardIsRefused) {
  const auto load_into = [this](device::iavf::NicOptions options) {
    auto other = rig.nic->create(std::move(options), *rig.poller);
    EXPECT_TRUE(other.has_value());
    rig.nic->function().pause();
    return (*other)->function().load(rig.nic->function().save());
  };
  bring_up(kFlex);
  EXPECT_FALSE(load_into({.name = "other", .mac = {2, 0, 0, 0, 0, 1}}));
  EXPECT_FALSE(load_into({.name = "other", .mac = kIavfStation, .queue_pairs = 3}));
  EXPECT_FALSE(load_into({.name = "other", .mac = kIavfStation, .parent = device::iavf::Parent::xl710}));
  EXPECT_TRUE(load_into({.name = "other", .mac = kIavfStation}));
}

TEST_P(IavfSave, CutAnywhereIsRefused) {
  make_busy();
  rig.nic->function().pause();
  for_each_truncation(rig.nic->function().save(),
                      [&](const SavedImage& image) { ASSERT_FALSE(rig.nic->function().load(image)) << image.size(); });
}

TEST_P(IavfSave, WithAnyByteChangedIsRefusedOrWorks) {
  make_busy();
  rig.nic->function().pause();
  unsigned refused = 0, taken = 0;
  for_each_changed_byte(rig.nic->function().save(), [&](const SavedImage& image) {
    if (!rig.nic->function().load(image)) return void(++refused);
    ++taken;
    rig.nic->function().resume();
    for (const unsigned number : {1u, 2u})
      rig.arrive(numbered(number));
    static_cast<void>(rig.take());
    rig.poller->run_once();
    rig.nic->function().pause();
    ASSERT_FALSE(rig.nic->function().save().empty());
  });
  EXPECT_GT(refused, 100u);
  EXPECT_GT(taken, 100u);
}

}  // namespace
}  // namespace vmux::rigs
