// SPDX-License-Identifier: BSD-3-Clause
// Captures of a switch's ports: which frames they see, with which fate, and what they leave alone.
#include <gtest/gtest.h>

#include <cstring>
#include <ostream>

#include "switch/copies/tap.hpp"
#include "switch/test/switch_bench.hpp"

namespace vmux::switching {
namespace {

using namespace test;
using port::DropReason;

/// A frame that a capture saw, without its bytes.
struct Seen {
  std::size_t port;
  Way way;
  DropReason why = DropReason::none;
  friend bool operator==(const Seen&, const Seen&) = default;
  friend void PrintTo(const Seen& seen, std::ostream* out) {
    *out << 'p' << seen.port << (seen.way == Way::in ? " in " : " out ") << static_cast<int>(seen.why);
  }
};

struct Watcher {
  Watcher(std::vector<PortId> all, const CaptureRules& rules = {}) : ids(std::move(all)), tap(rules) {}
  std::vector<Seen> seen() {
    std::vector<Seen> list;
    while (tap.ring().front().data() != nullptr) {
      CapturedFrame head;
      const auto record = tap.ring().front();
      std::memcpy(&head, record.data(), sizeof head);
      last.assign(reinterpret_cast<const std::uint8_t*>(record.data()) + sizeof head,
                  reinterpret_cast<const std::uint8_t*>(record.data()) + record.size());
      const auto at = std::find(ids.begin(), ids.end(), head.seen.port);
      list.push_back({static_cast<std::size_t>(at - ids.begin()), head.seen.way, head.seen.why});
      tap.ring().pop();
    }
    return list;
  }
  std::vector<PortId> ids;
  Tap tap;
  Bytes last;
};

/// Stations 1 behind port 0 and 2 behind port 1, and a capture of the ports that are named.
struct Captured : Bench {
  explicit Captured(const std::vector<std::size_t>& which, const CaptureRules& rules = {},
                    const std::vector<VlanConfig>& vlans = {kPlain, kPlain, kPlain})
      : Bench{vlans}, watcher{ids, rules} {
    introduce(1, frame(9, 2));
    introduce(0, frame(9, 1));
    watch(which);
  }
  void watch(const std::vector<std::size_t>& which) {
    std::vector<PortId> of;
    of.reserve(which.size());
    for (const std::size_t one : which)
      of.push_back(ids[one]);
    sw->set_capture(1, of, {{poller.get(), &watcher.tap}});
  }
  Watcher watcher;
};

using List = std::vector<Seen>;

TEST(SwitchCapture, SeesWhatAPortSendsAndGets) {
  Captured bench{{0}};
  bench[0].send(frame(2, 1));
  bench[1].send(frame(1, 2));
  bench.run();
  EXPECT_EQ(bench.watcher.seen(), (List{{0, Way::in}, {0, Way::out}}));
  EXPECT_EQ(bench.watcher.last, frame(1, 2));
  EXPECT_EQ(bench[1].inbox, std::vector<Bytes>{frame(2, 1)});
}

TEST(SwitchCapture, OfAllPortsSeesEachFrameAtBothEnds) {
  Captured bench{{0, 1, 2}};
  bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench.watcher.seen(), (List{{1, Way::out}, {0, Way::in}}));
}

TEST(SwitchCapture, EndsWithItsLastPortAndBeginsAgain) {
  Captured bench{{0}};
  bench.watch({});
  bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench.watcher.seen(), List{});
  bench.watch({1});
  bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench.watcher.seen(), (List{{1, Way::out}}));
}

TEST(SwitchCapture, GoesWithAPortThatIsDetached) {
  Captured bench{{0, 1}};
  ASSERT_TRUE(bench.sw->detach(bench.ids[1]));
  bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench.watcher.seen(), (List{{0, Way::in}}));
  bench.watch({});
}

TEST(SwitchCapture, NamesWhyTheSwitchDropsWhatAPortSends) {
  Captured bench{{0}, {.out = false, .only_dropped = true}, {access(7), access(7), kPlain}};
  bench[0].send(frame(2, 1));
  bench[0].send(frame(2, 1, 9));  // not from an access port
  bench[0].send(Bytes(13));
  bench.run();
  EXPECT_EQ(bench.watcher.seen(), (List{{0, Way::in, DropReason::filtered}, {0, Way::in, DropReason::malformed}}));
}

TEST(SwitchCapture, NamesWhyAPortDoesNotGetAFrame) {
  Captured bench{{1}};
  bench[1].room = 1;
  bench[1].loses = {DropReason::malformed};
  bench[0].send(frame(2, 1));
  bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench.watcher.seen(), (List{{1, Way::out, DropReason::malformed}, {1, Way::out, DropReason::no_room}}));
  bench[1].ready = false;
  bench[0].send(frame(9, 1));  // a flood
  bench.run();
  EXPECT_EQ(bench.watcher.seen(), (List{{1, Way::out, DropReason::not_ready}}));
  bench[1].ready = true;
  bench[1].room = 9;
  bench[0].send(frame(9, 1, {}, 3000));
  bench.run();
  EXPECT_EQ(bench.watcher.seen(), (List{{1, Way::out, DropReason::too_long}}));
}

TEST(SwitchCapture, ShowsTheTagsThatThePortSees) {
  Captured bench{{0, 1}, {}, {access(7), trunk(0, {7}), kPlain}};
  bench[0].send(frame(9, 1));
  bench.run();
  EXPECT_EQ(bench.watcher.seen(), (List{{1, Way::out}, {0, Way::in}}));
  EXPECT_EQ(bench.watcher.last, frame(9, 1));
  bench.watch({1});
  bench[0].send(frame(9, 1));
  bench.run();
  EXPECT_EQ(bench.watcher.seen(), (List{{1, Way::out}}));
  EXPECT_EQ(bench.watcher.last, frame(9, 1, 7));
}

TEST(SwitchCapture, SeesAtAListenerTheCopiesThatItGets) {
  Captured bench{{2}};
  ASSERT_TRUE(bench.sw->set_mirror(bench.ids[0], Mirror{bench.ids[2]}));
  bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench.watcher.seen(), (List{{2, Way::out}}));
  bench[2].send(frame(1, 3));
  bench.run();
  EXPECT_EQ(bench.watcher.seen(), (List{{2, Way::in, DropReason::mirror_ingress}}));
}

TEST(SwitchCapture, NamesTheQueuesOfAPortThatHasSeveral) {
  Captured bench{{0, 1}};
  bench[0].queue = 3;
  bench[1].queue = 5;
  bench[1].room = 2;
  for (int i = 0; i < 3; ++i)
    bench[0].send(frame(2, 1));
  bench.run();
  std::vector<std::uint16_t> queues;
  for (auto record = bench.watcher.tap.ring().front(); record.data() != nullptr;
       record = bench.watcher.tap.ring().front()) {
    CapturedFrame head;
    std::memcpy(&head, record.data(), sizeof head);
    queues.push_back(head.seen.queue);
    bench.watcher.tap.ring().pop();
  }
  EXPECT_EQ(queues, (std::vector<std::uint16_t>{5, 6, port::kNoQueue, 3, 3, 3}));
}

TEST(SwitchCapture, DoesNotKeepAFrameFromAnybodyWhenItsRingIsFull) {
  Captured bench{{0}};
  Tap small{{}, 256};
  bench.sw->set_capture(0, {bench.ids[0]}, {{bench.poller.get(), &small}});
  for (int i = 0; i < 50; ++i)
    bench[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(bench[1].inbox.size(), 50u);
  EXPECT_EQ(bench.watcher.seen().size(), 50u);  // another capture, of the same port
  EXPECT_GT(small.counts(bench.ids[0]).missed.get(), 40u);
}

TEST(SwitchCapture, SeesEachEndOnItsOwnPollerAndWhatTheWayBetweenThemLoses) {
  CrossBench bench;
  Watcher here{bench.ids}, there{bench.ids};
  bench.introduce(2, 2);
  bench.introduce(0, 1);
  bench.sw->set_capture(0, {bench.ids[0], bench.ids[2]},
                        {{bench.here.get(), &here.tap}, {bench.there.get(), &there.tap}});
  bench.ports[0].send(frame(2, 1));
  bench.run();
  EXPECT_EQ(here.seen(), (List{{0, Way::in}}));
  EXPECT_EQ(there.seen(), (List{{2, Way::out}}));
  for (int i = 0; i < 1100; ++i)
    bench.ports[0].send(frame(2, 1));
  while (bench.here->run_once(0)) {
  }
  const List sent = here.seen();
  const auto full =
      static_cast<std::uint64_t>(std::count(sent.begin(), sent.end(), Seen{0, Way::in, DropReason::ring_full}));
  EXPECT_GT(full, 0u);
  EXPECT_EQ(full, bench.ports[0].counters().drops(DropReason::ring_full).get());
  bench.sw->set_capture(0, {}, {});
}

}  // namespace
}  // namespace vmux::switching
