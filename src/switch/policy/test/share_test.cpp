// SPDX-License-Identifier: BSD-3-Clause
// A limit that several share, by a clock of the test's own, and on a switch.
#include "switch/policy/share.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "switch/test/switch_bench.hpp"

namespace vmux::switching {
namespace {

using namespace test;

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kRate = 1'000'000'000;  // bit/s

packet::FrameView plain(std::uint32_t length) { return {.header = {}, .payload = {}, .length = length, .offload = {}}; }

/// Somebody who has `offered` bit/s to send (0: always more), in frames of some size.
struct Sender {
  std::uint32_t weight = 1, length = 1514;
  std::uint64_t offered = 0;
  std::uint64_t from_ns = 0, until_ns = ~0ull;
  double sent = 0;              // bits, behind the first tenth of a second
  std::uint64_t waited_ns = 0;  // the longest that a frame waited
  std::uint64_t held_until_ns = 0;
  double backlog = 0;  // bits
};

// All of them each microsecond, in an order that moves on.
void run_for(SharedLimit& limit, std::vector<Sender>& senders, std::uint64_t for_ns, std::uint64_t begin_ns = kSecond) {
  constexpr std::uint64_t kStep = 1000, kSettled = kSecond / 10;
  std::array<packet::FrameView, 32> burst;
  for (std::uint64_t now = begin_ns; now < begin_ns + for_ns; now += kStep) {
    for (std::size_t i = 0; i < senders.size(); ++i) {
      const std::size_t slot = (i + now / kStep) % senders.size();
      Sender& sender = senders[slot];
      const double bits = 8.0 * sender.length;
      if (now - begin_ns < sender.from_ns || now - begin_ns >= sender.until_ns) continue;
      sender.backlog += static_cast<double>(sender.offered) * kStep / kSecond;
      const bool has_more = sender.offered == 0 || sender.backlog >= bits;
      if (!has_more || now < sender.held_until_ns) continue;
      burst.fill(plain(sender.length));
      const std::size_t count =
          sender.offered == 0 ? burst.size()
                              : std::min<std::size_t>(burst.size(), static_cast<std::size_t>(sender.backlog / bits));
      const std::size_t passed =
          limit.pass(static_cast<std::uint32_t>(slot), sender.weight, std::span{burst}.first(count), now);
      sender.backlog -= bits * static_cast<double>(passed);
      if (passed < count) sender.held_until_ns = now + limit.wait_ns(static_cast<std::uint32_t>(slot), now);
      if (now - begin_ns >= kSettled) sender.sent += bits * static_cast<double>(passed);
      if (sender.offered != 0) {
        const auto waits = static_cast<std::uint64_t>(sender.backlog * kSecond / static_cast<double>(sender.offered));
        sender.waited_ns = std::max(sender.waited_ns, waits);
      }
    }
  }
}
double total(const std::vector<Sender>& senders) {
  double sum = 0;
  for (const Sender& sender : senders)
    sum += sender.sent;
  return sum;
}

TEST(SharedLimit, OfOneSenderAllOfItIsItsOwn) {
  SharedLimit limit{{.bits_per_s = kRate}};
  std::vector<Sender> senders(1);
  run_for(limit, senders, kSecond);
  EXPECT_NEAR(total(senders), 0.9 * kRate, 0.001 * kRate);
}

TEST(SharedLimit, WhoAlwaysHasMoreGetsByItsWeight) {
  SharedLimit limit{{.bits_per_s = kRate}};
  std::vector<Sender> senders{{.weight = 1}, {.weight = 2, .length = 64}, {.weight = 5, .length = 600}};
  run_for(limit, senders, kSecond);
  EXPECT_NEAR(total(senders), 0.9 * kRate, 0.002 * kRate);
  for (const Sender& sender : senders)
    EXPECT_NEAR(sender.sent, total(senders) * sender.weight / 8, total(senders) * 0.01) << sender.weight;
}

// The promise of it: one floods, and seven others want what is theirs.
TEST(SharedLimit, BesideOneThatFloodsSevenOthersGetTheirEighthsAndWaitForNothing) {
  SharedLimit limit{{.bits_per_s = kRate}};
  std::vector<Sender> senders(8, {.length = 300, .offered = kRate / 8 * 99 / 100});
  senders[3] = {.length = 60};
  run_for(limit, senders, kSecond);
  for (std::size_t i = 0; i < senders.size(); ++i) {
    EXPECT_GE(senders[i].sent, 0.95 * 0.9 * kRate / 8) << i;
    if (i == 3) continue;
    EXPECT_LE(senders[i].waited_ns, 100'000u) << i;
  }
  EXPECT_LE(total(senders), 0.9 * kRate * 1.01);
}

TEST(SharedLimit, WhatOthersDoNotWantIsLent) {
  SharedLimit limit{{.bits_per_s = kRate}};
  std::vector<Sender> senders(4, {.offered = kRate / 20});
  senders[0] = {};
  run_for(limit, senders, kSecond);
  EXPECT_NEAR(senders[0].sent, 0.9 * kRate * 0.85, 0.9 * kRate * 0.01);
  for (std::size_t i = 1; i < 4; ++i)
    EXPECT_NEAR(senders[i].sent, 0.9 * kRate / 20, 0.9 * kRate / 20 * 0.02);
}

TEST(SharedLimit, WhoFallsSilentHasNoPartAnyMore) {
  SharedLimit limit{{.bits_per_s = kRate}};
  std::vector<Sender> senders{{.weight = 1}, {.weight = 1}, {.weight = 98, .until_ns = kSecond / 20}};
  run_for(limit, senders, kSecond);
  EXPECT_EQ(limit.active_weight(), 2u);
  EXPECT_NEAR(senders[0].sent, senders[1].sent, 0.9 * kRate * 0.03);  // beside a debt of 40 ms at most
  EXPECT_NEAR(total(senders), 0.9 * kRate, 0.002 * kRate);
}

TEST(SharedLimit, WhoHasBorrowedForLongPaysLittleBackWhenOthersCome) {
  SharedLimit limit{{.bits_per_s = kRate}};
  std::vector<Sender> senders{{}, {.offered = kRate / 100}};
  run_for(limit, senders, kSecond / 2);
  EXPECT_GT(senders[0].sent, 0.38 * kRate);  // nearly all of it, of which half is its own
  senders[0].sent = senders[1].sent = 0;
  senders[1].offered = 0;
  run_for(limit, senders, 3 * kSecond / 10, kSecond + kSecond / 2);
  EXPECT_NEAR(senders[0].sent, 0.1 * kRate, 0.005 * kRate);
  EXPECT_NEAR(senders[1].sent, 0.1 * kRate, 0.005 * kRate);
}

TEST(SharedLimit, FramesCountToo) {
  SharedLimit limit{{.frames_per_s = 100'000}};
  std::vector<Sender> senders{{.length = 60}, {.length = 1514}};
  run_for(limit, senders, kSecond);
  EXPECT_NEAR(senders[0].sent / (8 * 60), 45'000, 500);
  EXPECT_NEAR(senders[1].sent / (8 * 1514), 45'000, 500);
}

TEST(SharedLimit, AWeightThatChangesCountsOnce) {
  SharedLimit limit{{.bits_per_s = kRate}};
  const auto one = plain(100);
  for (const std::uint32_t weight : {3u, 7u, 2u}) {
    static_cast<void>(limit.pass(5, weight, {&one, 1}, kSecond));
    EXPECT_EQ(limit.active_weight(), weight);
  }
}

// --- on a switch ---

constexpr Limit kOnlyABurst{.bits_per_s = 0, .frames_per_s = 1, .burst_bytes = 0};

struct Shared : Bench {
  Shared() : Bench{{kPlain, kPlain, kPlain, kPlain}} {
    for (std::uint8_t i = 0; i < 4; ++i)
      introduce(i, frame(9, static_cast<std::uint8_t>(i + 1)));
    EXPECT_TRUE(sw->set_limits(ids[3], {.out = kOnlyABurst, .shares_out = true}));
  }
  std::uint64_t lost() {
    std::uint64_t sum = 0;
    for (const auto& port : ports) {
      for (const port::DropReasonRow& row : port::kDropReasons)
        sum += port->counters().drops(row.reason).get();
    }
    return sum;
  }
};

TEST(SwitchShares, WhatIsBeyondWaitsInItsSenderAndNothingIsLost) {
  Shared bench;
  for (int i = 0; i < 500; ++i)
    bench[0].send(frame(4, 1));
  bench.run();
  const std::size_t passed = bench[3].inbox.size();
  EXPECT_GT(passed, 0u);
  EXPECT_LT(passed, 500u);
  EXPECT_EQ(bench[0].outgoing.size(), 500 - passed);
  EXPECT_EQ(bench[0].counters().rx_frames.get(), passed + 1);
  EXPECT_GT(bench[0].counters().held.get(), 0u);
  EXPECT_EQ(bench.lost(), 0u);
}

TEST(SwitchShares, OthersGoOnAndAreNotLimited) {
  Shared bench;
  for (int i = 0; i < 500; ++i)
    bench[0].send(frame(4, 1));
  bench.run();
  for (int i = 0; i < 500; ++i)
    bench[1].send(frame(3, 2));  // not to the uplink
  bench.run();
  EXPECT_EQ(bench[2].inbox.size(), 500u);
}

TEST(SwitchShares, WhatTheUplinkSendsIsNotOfIt) {
  Shared bench;
  for (int i = 0; i < 500; ++i)
    bench[3].send(frame(1, 4));
  bench.run();
  EXPECT_EQ(bench[0].inbox.size(), 500u);
}

TEST(SwitchShares, FramesInFrontOfTheFirstThatWaitsHaveGone) {
  Shared bench;
  for (int i = 0; i < 500; ++i)
    bench[0].send(frame(i % 2 == 0 ? 4 : 3, 1, {}, static_cast<std::size_t>(46 + i)));
  bench.run();
  const std::size_t passed = bench[3].inbox.size(), beside = bench[2].inbox.size();
  EXPECT_EQ(beside, passed);  // in order: the next one waits with those behind it
  EXPECT_EQ(bench[0].outgoing.size(), 500 - 2 * passed);
  for (std::size_t i = 0; i < passed; ++i)
    ASSERT_EQ(bench[3].inbox[i].size(), 60 + 2 * i);
}

TEST(SwitchShares, WithoutItTheRestIsDroppedAsBefore) {
  Shared bench;
  EXPECT_TRUE(bench.sw->set_limits(bench.ids[3], {.out = kOnlyABurst}));
  for (int i = 0; i < 500; ++i)
    bench[0].send(frame(4, 1));
  bench.run();
  EXPECT_TRUE(bench[0].outgoing.empty());
  EXPECT_EQ(bench[3].counters().drops(port::DropReason::limited).get(), 500 - bench[3].inbox.size());
}

TEST(SwitchShares, WhenTheUplinkGoesNobodyWaits) {
  Shared bench;
  for (int i = 0; i < 500; ++i)
    bench[0].send(frame(4, 1));
  bench.run();
  EXPECT_TRUE(bench.sw->detach(bench.ids[3]));
  bench.run();
  EXPECT_TRUE(bench[0].outgoing.empty());
}

TEST(SwitchShares, ItsOwnLimitIsNotChargedForWhatWaits) {
  Shared bench;
  EXPECT_TRUE(bench.sw->set_limits(bench.ids[0], {.in = {.bits_per_s = 0, .frames_per_s = 10'000, .burst_bytes = 0}}));
  for (int i = 0; i < 500; ++i)
    bench[0].send(frame(4, 1));
  bench.run();
  EXPECT_TRUE(bench.sw->detach(bench.ids[3]));
  const std::size_t left = bench[0].outgoing.size();
  bench.poller->run_once(0);
  bench.poller->run_once(0);
  EXPECT_LE(bench[0].outgoing.size(), left - 96);  // of a burst of 100 of which it had used one
}

// --- beside storm control, and VLANs ---

TEST(SwitchShares, WhatStormControlDropsIsNotChargedToTheShare) {
  Shared bench;
  EXPECT_TRUE(bench.sw->set_limits(bench.ids[3], {}));
  EXPECT_TRUE(bench.sw->set_limits(bench.ids[0], {.flood = kOnlyABurst}));
  for (int i = 0; i < 100; ++i)  // nothing more may be flooded
    bench[0].send(frame(0xff, 1));
  bench.run();
  EXPECT_TRUE(bench.sw->set_limits(bench.ids[3], {.out = kOnlyABurst, .shares_out = true}));
  for (int i = 0; i < 20; ++i)
    bench[0].send(frame(0xff, 1));
  bench[0].send(frame(4, 1));
  const std::size_t before = bench[3].inbox.size();
  bench.run();
  EXPECT_TRUE(bench[0].outgoing.empty());
  EXPECT_EQ(bench[3].inbox.size() - before, 1u);
  EXPECT_EQ(bench[0].counters().held.get(), 0u);
}

TEST(SwitchShares, StormControlIsNotChargedForWhatWaits) {
  Shared bench;
  EXPECT_TRUE(bench.sw->set_limits(bench.ids[0], {.flood = kOnlyABurst}));
  for (int i = 0; i < 100; ++i)
    bench[0].send(frame(0xff, 1));
  bench.run();
  EXPECT_FALSE(bench[0].outgoing.empty());
  EXPECT_TRUE(bench.sw->detach(bench.ids[3]));
  bench.run();
  EXPECT_TRUE(bench[0].outgoing.empty());
  EXPECT_GE(bench[1].inbox.size(), 64u);
  EXPECT_LE(bench[1].inbox.size(), 65u);
}

TEST(SwitchShares, AFloodThatTheUplinkDoesNotCarryIsNotOfIt) {
  Shared bench;
  EXPECT_TRUE(bench.sw->set_vlan(bench.ids[3], access(7)));
  for (int i = 0; i < 200; ++i)
    bench[0].send(frame(0xff, 1));
  bench.run();
  EXPECT_TRUE(bench[0].outgoing.empty());
  EXPECT_EQ(bench[1].inbox.size(), 200u);
  EXPECT_TRUE(bench.sw->set_vlan(bench.ids[3], kPlain));
  EXPECT_TRUE(bench.sw->set_mirror(bench.ids[2], Mirror{bench.ids[3]}));  // it is out of the network
  for (int i = 0; i < 200; ++i)
    bench[0].send(frame(0xff, 1));
  bench.run();
  EXPECT_TRUE(bench[0].outgoing.empty());
  EXPECT_TRUE(bench.sw->set_mirror(bench.ids[2], std::nullopt));
  for (int i = 0; i < 200; ++i)
    bench[0].send(frame(0xff, 1));
  bench.run();
  EXPECT_FALSE(bench[0].outgoing.empty());
}

}  // namespace
}  // namespace vmux::switching
