// SPDX-License-Identifier: BSD-3-Clause
// vhost-user: rings, and the orders in which front ends say what there is to say of them.
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "protocol/vhost_rig.hpp"

namespace vmux::vhost_protocol_test {
namespace {

std::uint64_t signals_of(const UniqueFd& eventfd) {
  std::uint64_t count = 0;
  return ::read(eventfd.get(), &count, sizeof count) == sizeof count ? count : 0;
}
void signal(const UniqueFd& eventfd) {
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(eventfd.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
}

class VhostRing : public ::testing::Test {
 protected:
  explicit VhostRing(std::uint64_t features = kVersion1 | kEventIdx | kIndirect | kProtocolFeatures) {
    rig.greet(kMq | kAck | kReset | kSlots | kStatus, features);
    rig.give_memory();
  }
  [[nodiscard]] Reply get_base(unsigned index) { return rig.ask(ring_state(kGetBase, index, 0)); }
  [[nodiscard]] std::uint64_t base(unsigned index) { return get_base(index).payload.number_at(4, 4); }
  Rig rig;
};

TEST_F(VhostRing, IsStartedWithAllThatWasSaidOfIt) {
  rig.start_ring(2, 5);
  EXPECT_TRUE(rig.device.runs[2]);
  const auto& setup = rig.device.setups[2];
  EXPECT_EQ(setup.size, 16u);
  EXPECT_EQ(setup.descriptors.raw, 0x10000u + 2 * 0x2000);
  EXPECT_EQ(setup.driver.raw, 0x10000u + 2 * 0x2000 + 0x1000);
  EXPECT_EQ(setup.device.raw, 0x10000u + 2 * 0x2000 + 0x1800);
  EXPECT_FALSE(setup.is_packed);
  EXPECT_TRUE(setup.has_event_idx && setup.has_indirect);
  EXPECT_EQ(rig.device.states[2].next_avail, 5u);
}

TEST_F(VhostRing, IsLookedAtOnceWithoutAKick) {
  rig.start_ring(0);
  EXPECT_EQ(rig.device.take_heard(), (std::vector<std::string>{"start 0", "kick 0"}));
}

TEST_F(VhostRing, HasTheUsedIndexThatIsInMemory) {
  const std::uint16_t used = 0x1234;
  std::memcpy(rig.guest(0x10000 + 0x1800 + 2), &used, sizeof used);
  rig.start_ring(0, 0x1234);
  EXPECT_EQ(rig.device.states[0].next_used, 0x1234u);
}

TEST_F(VhostRing, StartsOnceEverythingIsSaidInWhateverOrder) {
  const auto kick = new_eventfd();
  struct Said {
    Bytes bytes;
    std::vector<int> fds;
  };
  std::vector<Said> said{{ring_state(kSetEnable, 0, 1), {}},
                         {ring_state(kSetNum, 0, 16), {}},
                         {ring_addresses(0), {}},
                         {number(kSetKick, 0), {kick.get()}}};
  std::vector<unsigned> order{0, 1, 2, 3};
  do {
    for (unsigned i = 0; i < order.size(); ++i) {
      EXPECT_FALSE(rig.device.runs[0]) << order[0] << order[1] << order[2] << order[3] << " before " << i;
      rig.send(said[order[i]].bytes, said[order[i]].fds);
      rig.settle();
    }
    EXPECT_TRUE(rig.device.runs[0]) << order[0] << order[1] << order[2] << order[3];
    rig.hang_up();
    rig.connect();
    rig.greet();
    rig.give_memory();
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(VhostRing, MayBeEnabledBeforeAnythingElse) {
  Rig early;
  early.send(number(kSetProtocol, kAck));
  EXPECT_TRUE(is_number(early.ask(ring_state(kSetEnable, 1, 1, kNeedReply)), kSetEnable, 0));
}

TEST_F(VhostRing, StandsStillWhileItIsNotEnabledAndKeepsItsPlace) {
  rig.start_ring(0);
  rig.device.states[0].next_avail = 9;
  rig.send(ring_state(kSetEnable, 0, 0));
  rig.settle();
  EXPECT_FALSE(rig.device.runs[0]);
  rig.send(ring_state(kSetEnable, 0, 1));
  rig.settle();
  EXPECT_TRUE(rig.device.runs[0]);
  EXPECT_EQ(rig.device.states[0].next_avail, 9u);
}

TEST(VhostRingOfOld, IsEnabledWithoutAWordWherePROTOCOL_FEATURESWasNotAccepted) {
  Rig rig;
  rig.greet(0, kVersion1);
  rig.give_memory();
  rig.kicks[0] = new_eventfd();
  rig.send(ring_state(kSetNum, 0, 16));
  rig.send(ring_addresses(0));
  rig.send(number(kSetKick, 0), {rig.kicks[0].get()});
  rig.settle();
  EXPECT_TRUE(rig.device.runs[0]);
}

TEST_F(VhostRing, StopsAtGetBaseAndSaysWhereItIs) {
  rig.start_ring(0);
  rig.device.states[0].next_avail = 0xfffe;
  const auto reply = get_base(0);
  EXPECT_EQ(reply.flags, kVersion | kReply);
  EXPECT_EQ(reply.size, 8u);
  EXPECT_EQ(reply.payload.number_at(0, 4), 0u);
  EXPECT_EQ(reply.payload.number_at(4, 4), 0xfffeu);
  EXPECT_FALSE(rig.device.runs[0]);
}

TEST_F(VhostRing, IsNotResetByGetBase) {
  rig.start_ring(0);
  rig.device.states[0].next_avail = 77;
  EXPECT_EQ(base(0), 77u);
  EXPECT_EQ(base(0), 77u);
  rig.send(ring_state(kSetEnable, 0, 1));  // QEMU does that
  rig.settle();
  EXPECT_FALSE(rig.device.runs[0]);  // it has had no kick since
  EXPECT_EQ(base(0), 77u);
  rig.send(number(kSetKick, 0), {rig.kicks[0].get()});
  rig.settle();
  EXPECT_TRUE(rig.device.runs[0]);
  EXPECT_EQ(rig.device.states[0].next_avail, 77u);
}

TEST_F(VhostRing, ThatNeverRanHasTheBaseThatWasSaid) {
  EXPECT_EQ(base(1), 0u);
  rig.send(ring_state(kSetBase, 1, 55));
  EXPECT_EQ(base(1), 55u);
}

TEST_F(VhostRing, DoesNotChangeWhileItRuns) {
  rig.start_ring(0);
  EXPECT_TRUE(is_number(rig.ask(ring_state(kSetNum, 0, 32, kNeedReply)), kSetNum, 1));
  EXPECT_TRUE(is_number(rig.ask(ring_state(kSetNum, 0, 16, kNeedReply)), kSetNum, 0));
  EXPECT_TRUE(is_number(rig.ask(ring_state(kSetBase, 0, 3, kNeedReply)), kSetBase, 1));
  EXPECT_TRUE(rig.device.runs[0]);
}

TEST_F(VhostRing, IsNotDisturbedByAddressesThatAreTheSame) {
  rig.start_ring(0);
  (void)rig.device.take_heard();
  EXPECT_TRUE(is_number(rig.ask(ring_addresses(0, 1, 0x10000, kNeedReply)), kSetAddr, 0));
  EXPECT_EQ(rig.device.take_heard(), std::vector<std::string>{});
}

TEST_F(VhostRing, MovesWithItsAddresses) {
  rig.start_ring(0);
  (void)rig.device.take_heard();
  rig.ask(ring_addresses(0, 0, 0, kNeedReply, kHighUser));
  EXPECT_EQ(rig.device.take_heard(), (std::vector<std::string>{"stop 0", "start 0", "kick 0"}));
  EXPECT_EQ(rig.device.setups[0].descriptors.raw, kHighGuest + 0x10000);
}

struct BadAddresses {
  const char* what;
  std::uint64_t descriptors, used, available;
};

TEST_F(VhostRing, IsRefusedWhereItCannotBe) {
  constexpr std::uint64_t kEnd = kHighUser + kRegionSize;
  constexpr BadAddresses kBad[] = {
      {"outside", kEnd, kLowUser, kLowUser},
      {"over the end", kLowUser, kEnd - 64, kLowUser},
      {"over the end of its region", kHighUser - 128, kLowUser, kLowUser},
      {"a guest's address", 0x10000, 0x11800, 0x11000},
      {"wraps", ~0ull - 15, kLowUser, kLowUser},
      {"descriptors not on 16 bytes", kLowUser + 8, kLowUser, kLowUser},
      {"used ring not on 4 bytes", kLowUser, kLowUser + 0x1002, kLowUser},
      {"available ring not on 2 bytes", kLowUser, kLowUser, kLowUser + 0x1001},
  };
  rig.start_ring(0);
  for (const BadAddresses& bad : kBad) {
    SCOPED_TRACE(bad.what);
    const auto addresses = message(
        kSetAddr, Bytes{}.u32(0).u32(0).u64(bad.descriptors).u64(bad.used).u64(bad.available).u64(0), kNeedReply);
    EXPECT_TRUE(is_number(rig.ask(addresses), kSetAddr, 1));
    EXPECT_FALSE(rig.device.runs[0]);
  }
  EXPECT_TRUE(is_number(rig.ask(ring_addresses(0, 0, 0, kNeedReply)), kSetAddr, 0));
  EXPECT_TRUE(rig.device.runs[0]);
}

TEST_F(VhostRing, OfASizeThatIsNoPowerOfTwoIsRefusedUnlessItIsPacked) {
  rig.send(ring_state(kSetEnable, 0, 1));
  rig.send(ring_state(kSetNum, 0, 15));
  rig.send(ring_addresses(0));
  const auto kick = new_eventfd();
  EXPECT_TRUE(is_number(rig.ask(number(kSetKick, 0, kNeedReply), {kick.get()}), kSetKick, 1));
}

TEST_F(VhostRing, IsKickedByItsEventfd) {
  rig.start_ring(0);
  rig.start_ring(3);
  (void)rig.device.take_heard();
  signal(rig.kicks[3]);
  rig.settle();
  EXPECT_EQ(rig.device.take_heard(), (std::vector<std::string>{"kick 3"}));
  EXPECT_EQ(signals_of(rig.kicks[3]), 0u);
  EXPECT_EQ(rig.server->stats().kicks, 1u);
}

TEST_F(VhostRing, ListensToTheLastKickOnly) {
  rig.start_ring(0);
  const auto newer = new_eventfd();
  rig.send(number(kSetKick, 0), {newer.get()});
  rig.settle();
  (void)rig.device.take_heard();
  signal(rig.kicks[0]);
  rig.settle();
  EXPECT_EQ(rig.device.take_heard(), std::vector<std::string>{});
  signal(newer);
  rig.settle();
  EXPECT_EQ(rig.device.take_heard(), (std::vector<std::string>{"kick 0"}));
}

TEST_F(VhostRing, ThatNobodyKicksIsLookedAtInEachRound) {
  rig.send(ring_state(kSetEnable, 0, 1));
  rig.send(ring_state(kSetNum, 0, 16));
  rig.send(ring_addresses(0));
  rig.send(number(kSetKick, 0x100));
  rig.settle();
  EXPECT_TRUE(rig.device.runs[0]);
  (void)rig.device.take_heard();
  rig.poller->run_once();
  EXPECT_EQ(rig.device.take_heard(), (std::vector<std::string>{"kick 0"}));
}

TEST_F(VhostRing, CallsThroughTheEventfdOfTheMoment) {
  rig.start_ring(0);
  (void)signals_of(rig.calls[0]);
  rig.device.signals->queue_used(0);
  EXPECT_EQ(signals_of(rig.calls[0]), 1u);
  const auto newer = new_eventfd();
  rig.send(number(kSetCall, 0), {newer.get()});
  rig.settle();
  EXPECT_EQ(signals_of(newer), 1u);  // the last one may have been lost with the old one
  rig.device.signals->queue_used(0);
  EXPECT_EQ(signals_of(newer), 1u);
  EXPECT_EQ(signals_of(rig.calls[0]), 0u);
  rig.send(number(kSetCall, 0x100));
  rig.settle();
  rig.device.signals->queue_used(0);
  EXPECT_EQ(signals_of(newer), 0u);
}

TEST_F(VhostRing, TellsTheFrontEndThatItHasFailed) {
  const auto error = new_eventfd();
  rig.send(number(kSetErr, 2), {error.get()});
  rig.settle();
  rig.device.signals->queue_failed(2);
  EXPECT_EQ(signals_of(error), 1u);
  rig.device.signals->queue_failed(3);
  EXPECT_EQ(signals_of(error), 0u);
  rig.hang_up();
  rig.device.signals->queue_failed(2);
  EXPECT_EQ(signals_of(error), 0u);
}

TEST_F(VhostRing, CallsNobodyOnceTheFrontEndIsGone) {
  rig.start_ring(0);
  (void)signals_of(rig.calls[0]);
  rig.hang_up();
  EXPECT_EQ(rig.device.heard.back(), "gone");
  EXPECT_FALSE(rig.device.runs[0]);
  EXPECT_FALSE(rig.device.dma);
  rig.device.signals->queue_used(0);
  EXPECT_EQ(signals_of(rig.calls[0]), 0u);
}

// A function that is opened anew may have more queues than it had.
TEST_F(VhostRing, OfAnotherSessionIsNoneThatTheDeviceHadNotAtFirst) {
  rig.hang_up();
  rig.device.queues = 13;
  rig.connect();
  rig.greet();
  const UniqueFd call = new_eventfd();
  rig.send(number(kSetCall, 8), {call.get()});
  EXPECT_TRUE(rig.is_closed());
}

TEST_F(VhostRing, TakesNoDescriptorsButEventfds) {
  const UniqueFd timer{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
  for (const unsigned request : {kSetKick, kSetCall, kSetErr}) {
    EXPECT_TRUE(is_number(rig.ask(number(request, 0, kNeedReply), {rig.memory.get()}), request, 1));
    EXPECT_TRUE(is_number(rig.ask(number(request, 0, kNeedReply), {timer.get()}), request, 1));
  }
}

TEST_F(VhostRing, LeavesNoDescriptorsBehind) {
  rig.hang_up();
  rig.connect();
  std::size_t kept = 0;
  for (int round = 0; round < 3; ++round) {
    rig.greet();
    rig.give_memory();
    for (unsigned i = 0; i < 8; ++i) {
      rig.start_ring(i);
      const auto error = new_eventfd();
      rig.send(number(kSetErr, i), {error.get()});
    }
    rig.hang_up();
    for (unsigned i = 0; i < 8; ++i) {
      rig.kicks[i].reset();
      rig.calls[i].reset();
    }
    rig.connect();
    if (round == 0) kept = open_fds();  // places for calls stay for the next front end
    EXPECT_EQ(open_fds(), kept);
  }
}

class VhostPackedRing : public VhostRing {
 protected:
  VhostPackedRing() : VhostRing(kVersion1 | kPacked | kProtocolFeatures) {}
};

TEST_F(VhostPackedRing, HasBothIndicesInItsBase) {
  rig.start_ring(0, 0x0003'8005);
  const auto& state = rig.device.states[0];
  EXPECT_TRUE(rig.device.setups[0].is_packed);
  EXPECT_EQ(state.next_avail, 5u);
  EXPECT_TRUE(state.avail_wrap);
  EXPECT_EQ(state.next_used, 3u);
  EXPECT_FALSE(state.used_wrap);
  EXPECT_EQ(base(0), 0x0003'8005u);
}

TEST_F(VhostPackedRing, BeginsInTheFirstLap) { EXPECT_EQ(base(0), 0x8000'8000u); }

TEST_F(VhostPackedRing, TakesAnAbsentUsedIndexForTheAvailableOne) {
  rig.start_ring(0, 0x0000'8007);
  EXPECT_EQ(rig.device.states[0].next_used, 7u);
  EXPECT_TRUE(rig.device.states[0].used_wrap);
}

TEST_F(VhostPackedRing, RefusesAnIndexBeyondTheRing) {
  rig.send(ring_state(kSetEnable, 0, 1));
  rig.send(ring_state(kSetNum, 0, 16));
  rig.send(ring_state(kSetBase, 0, 0x8010'8010));
  rig.send(ring_addresses(0));
  const auto kick = new_eventfd();
  EXPECT_TRUE(is_number(rig.ask(number(kSetKick, 0, kNeedReply), {kick.get()}), kSetKick, 1));
}

TEST_F(VhostPackedRing, MayHaveAnySize) {
  rig.send(ring_state(kSetEnable, 0, 1));
  rig.send(ring_state(kSetNum, 0, 15));
  rig.send(ring_addresses(0));
  const auto kick = new_eventfd();
  EXPECT_TRUE(is_number(rig.ask(number(kSetKick, 0, kNeedReply), {kick.get()}), kSetKick, 0));
  EXPECT_EQ(rig.device.setups[0].size, 15u);
}

}  // namespace
}  // namespace vmux::vhost_protocol_test
