// SPDX-License-Identifier: BSD-3-Clause
// Two virtio-net cards on a switch, each reached over vhost-user by a front end that speaks the protocol byte by byte
// and has a driver of its own: split and packed rings.
#include <gtest/gtest.h>

#include <set>

#include "switch/switch.hpp"
#include "whole/vhost_front_end.hpp"

namespace vmux {
namespace {

using namespace vhost_front_end;  // NOLINT: the words of the protocol, too

class VhostUserCard : public testing::TestWithParam<bool> {
 protected:
  VhostUserCard() : a(*poller_, 0, GetParam()), b(*poller_, 1, GetParam()) {
    for (FrontEnd* const end : {&a, &b})
      attach(*end);
  }
  ~VhostUserCard() override {
    for (FrontEnd* const end : {&a, &b}) {
      end->server.reset();
      static_cast<void>(switch_->detach(ids_[end]));
    }
  }
  void attach(FrontEnd& end) { ids_[&end] = *switch_->attach(end.nic->port(), *poller_, {.name = end.mac_text()}); }
  void hand_over(FrontEnd& end) {
    auto suspended = end.server->suspend();
    ASSERT_TRUE(suspended) << suspended.error().text();
    static_cast<void>(switch_->detach(ids_[&end]));
    end.take_over(*suspended);
    attach(end);
  }
  /// Numbered frames from one to the other, each of another length; expects each once and whole.
  void expect_arrivals(FrontEnd& from, FrontEnd& to, unsigned first, unsigned count) {
    for (unsigned number = first; number < first + count; ++number) {
      const Bytes frame = from.frame_to(to, number, 60 + number * 13 % 1400);
      ASSERT_TRUE(from.send(frame)) << number;
      from.settle();
      EXPECT_EQ(to.receive(), frame) << number;
    }
    EXPECT_FALSE(to.receive());
  }

  std::unique_ptr<runtime::Poller> poller_ = runtime::Poller::create().value();
  std::unique_ptr<switching::Switch> switch_ = switching::Switch::create("test").value();
  FrontEnd a, b;

 private:
  std::map<FrontEnd*, switching::PortId> ids_;
};

TEST_P(VhostUserCard, CarriesFramesBothWaysThroughManyLapsOfItsRings) {
  a.bring_up();
  b.bring_up();
  expect_arrivals(a, b, 0, 200);
  expect_arrivals(b, a, 1000, 200);
}

TEST_P(VhostUserCard, CallsTheDriverAndIsKickedOnlyWhereThatIsWanted) {
  a.bring_up();
  b.bring_up();
  static_cast<void>(FrontEnd::signals_of(b.calls[0]));
  expect_arrivals(a, b, 0, 1);
  EXPECT_EQ(FrontEnd::signals_of(b.calls[0]), 1u);
  // A burst: the first kick finds the device asleep, and it asks for no other before it has looked.
  const unsigned before = a.kicks_sent;
  b.rings[0]->want_interrupt(/*has_event_idx=*/true);
  for (unsigned number = 0; number < 16; ++number)
    ASSERT_TRUE(a.send(a.frame_to(b, number, 64)));
  a.settle();
  EXPECT_EQ(a.kicks_sent - before, GetParam() ? 16u : 1u);  // a packed ring's kicks are wanted or are not
  EXPECT_EQ(FrontEnd::signals_of(b.calls[0]), 1u);
  for (unsigned number = 0; number < 16; ++number)
    EXPECT_EQ(b.receive(), a.frame_to(b, number, 64));
  b.rings[0]->refuse_interrupts(/*has_event_idx=*/true);
  expect_arrivals(a, b, 100, 5);
  EXPECT_EQ(FrontEnd::signals_of(b.calls[0]), 0u);
}

TEST_P(VhostUserCard, GoesOnWhereItStopped) {
  a.bring_up();
  b.bring_up();
  for (unsigned round = 0; round < 5; ++round) {
    expect_arrivals(a, b, round * 100, 21);
    const std::uint32_t tx = a.stop(1), rx = b.stop(0);
    ASSERT_TRUE(a.send(a.frame_to(b, round * 100 + 50, 99)));  // while nothing runs: it waits
    a.settle();
    EXPECT_FALSE(b.receive());
    b.start(0, rx);
    a.start(1, tx);
    EXPECT_EQ(b.receive(), a.frame_to(b, round * 100 + 50, 99));
  }
}

TEST_P(VhostUserCard, StandsStillWhileItsRingIsNotEnabled) {
  a.bring_up();
  b.bring_up();
  a.tell(ring_state(kSetEnable, 1, 0));
  ASSERT_TRUE(a.send(a.frame_to(b, 1, 64)));
  a.settle();
  EXPECT_FALSE(b.receive());
  a.tell(ring_state(kSetEnable, 1, 1));
  EXPECT_EQ(b.receive(), a.frame_to(b, 1, 64));
}

// As QEMU does when a back end has gone without a word: the rings go on from the used index.
TEST_P(VhostUserCard, GoesOnForAFrontEndThatConnectsAgain) {
  a.bring_up();
  b.bring_up();
  for (unsigned round = 0; round < 3; ++round) {
    expect_arrivals(a, b, round * 100, 37);
    const std::uint32_t tx = a.stop(1), rx = a.stop(0);
    a.hang_up();
    a.connect();
    a.start(0, rx);
    a.start(1, tx);
    expect_arrivals(b, a, round * 100, 37);
  }
}

// What a migration rests on: each page that differs in the end has its bit, whoever wrote it and why.
TEST_P(VhostUserCard, LogsEachPageThatItWritesTo) {
  a.bring_up();
  b.bring_up();
  const std::vector<std::byte> before{b.at(0), b.at(0) + 2 * kRegionSize};
  constexpr std::uint64_t kLog = (kHighGuest + kRegionSize) / 4096 / 8;
  const UniqueFd log_fd = new_memfd(kLog);
  const Mapping log = Mapping::create(log_fd.get(), 0, kLog, true).value();
  b.tell(message(kSetLogBase, Bytes{}.u64(kLog).u64(0)), {log_fd.get()});
  b.tell(number(kSetFeatures, b.features() | kLogAll));
  for (unsigned number = 0; number < 5; ++number)
    ASSERT_TRUE(a.send(a.frame_to(b, number, 3000)));
  ASSERT_TRUE(b.send(b.frame_to(a, 7, 64)));
  a.settle();
  // The driver writes as well, to its own rings: that is not the device's to log. Let it stop first.
  for (const unsigned ring : {0u, 1u})
    static_cast<void>(b.stop(ring));
  std::set<std::uint64_t> changed, logged;
  for (std::uint64_t page = 0; page < 2 * kRegionSize / 4096; ++page) {
    const std::uint64_t guest = page * 4096 < kRegionSize ? page : (kHighGuest - kRegionSize) / 4096 + page;
    if (std::memcmp(b.at(0) + page * 4096, before.data() + page * 4096, 4096) != 0) changed.insert(guest);
    if ((std::to_integer<unsigned>(log.data()[guest / 8]) >> guest % 8 & 1) != 0) logged.insert(guest);
  }
  // Of the send ring what the driver wrote: its descriptors, its available index and the frame.
  changed.erase(ring_at(1) / 4096);
  changed.erase(ring_at(1) / 4096 + 1);
  changed.erase(buffer_at(1, 0) / 4096);
  for (const std::uint64_t page : changed)
    EXPECT_TRUE(logged.contains(page)) << std::hex << page;
  EXPECT_TRUE(logged.contains(buffer_at(0, 0) / 4096));
  EXPECT_GE(changed.size(), 6u);                 // five buffers, and a ring
  EXPECT_LE(logged.size(), changed.size() + 4);  // and not just everything
}

// After a migration, for a guest that does not do so itself: RARP, from its address to everybody.
TEST_P(VhostUserCard, AnnouncesAGuestThatHasMoved) {
  a.bring_up();
  b.bring_up();
  a.tell(number(kSendRarp, 0x0000'7700'0000'0002));  // 02:00:00:00:77:00, the first byte lowest
  a.settle();
  const auto frame = b.receive();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->number_at(0, 6), 0xffff'ffff'ffffu);
  EXPECT_EQ(frame->number_at(6, 6), 0x0000'7700'0000'0002u);
  EXPECT_EQ(frame->number_at(12, 2), 0x3580u);  // 0x8035 in network order
}

TEST_P(VhostUserCard, TellsOfARingThatMakesNoSenseAndGoesOnWhenItIsStartedAnew) {
  a.bring_up();
  b.bring_up();
  a.rings[1]->post({{0x7000'0000, 100, false}}, 0);  // no memory there
  a.kick(1);
  a.settle();
  EXPECT_EQ(FrontEnd::signals_of(a.errors[1]), 1u);
  EXPECT_EQ(FrontEnd::signals_of(a.errors[0]), 0u);
  expect_arrivals(b, a, 0, 5);  // the other way goes on
  static_cast<void>(a.stop(1));
  a.lay_out(1);
  a.start(1, a.fresh_base());
  expect_arrivals(a, b, 0, 50);
}

TEST_P(VhostUserCard, LosesMemoryUnderTrafficAndNothingElse) {
  a.bring_up();
  b.bring_up();
  b.tell(message(kSetMemTable, Bytes{}.u32(1).u32(0).append(region(kLowGuest, kRegionSize, kLowUser, 0))),
         {b.memory.get()});  // the buffers are gone
  for (unsigned number = 0; number < 5; ++number)
    ASSERT_TRUE(a.send(a.frame_to(b, number, 64)));
  a.settle();
  EXPECT_FALSE(b.receive());
  b.tell(both_regions(), {b.memory.get(), b.memory.get()});
  static_cast<void>(b.stop(0));
  b.lay_out(0);
  b.start(0, b.fresh_base());
  b.refill(0);
  expect_arrivals(a, b, 100, 10);
}

TEST_P(VhostUserCard, SpreadsWhatItReceivesOverTheRingsThatRun) {
  a.bring_up();
  b.bring_up(2);
  EXPECT_EQ(b.server->agreement().running_rings, 4u);
  std::array<unsigned, 2> got{};
  for (unsigned number = 0; number < 64; ++number) {
    // UDP of another source port each.
    Bytes frame = a.frame_to(b, number, 64);
    const Bytes ip = Bytes{}
                         .u8(8)
                         .u8(0)
                         .u8(0x45)
                         .u8(0)
                         .u8(0)
                         .u8(46)
                         .u32(0)
                         .u8(64)
                         .u8(17)
                         .u16(0)
                         .u32(0x0101'000a)
                         .u32(0x0201'000a)
                         .u16(number)
                         .u16(53)
                         .u8(0)
                         .u8(26)
                         .u16(0);
    std::copy(ip.begin(), ip.end(), frame.begin() + 12);
    ASSERT_TRUE(a.send(frame));
    a.settle();
    for (const unsigned pair : {0u, 1u})
      got[pair] += b.receive(2 * pair) == frame ? 1u : 0u;
  }
  EXPECT_EQ(got[0] + got[1], 64u);
  EXPECT_GT(std::min(got[0], got[1]), 8u);
  // And over those alone.
  static_cast<void>(b.stop(2));
  expect_arrivals(a, b, 0, 20);
}

// Neither front end nor driver has a part in it.
TEST_P(VhostUserCard, GoesOnInAnotherObject) {
  a.bring_up();
  b.bring_up();
  for (unsigned round = 0; round < 20; ++round) {
    expect_arrivals(a, b, round * 100, 11);
    hand_over(round % 2 == 0 ? a : b);
    expect_arrivals(b, a, round * 100, 7);
  }
  EXPECT_EQ(a.server->stats().connections, 1u);
}

INSTANTIATE_TEST_SUITE_P(Rings, VhostUserCard, testing::Bool(),
                         [](const auto& how) { return how.param ? "packed" : "split"; });

}  // namespace
}  // namespace vmux
