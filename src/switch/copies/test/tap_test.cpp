// SPDX-License-Identifier: BSD-3-Clause
// What a capture keeps of a frame, and what it counts of those that it cannot keep.
#include "switch/copies/tap.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "packet/test/test_frames.hpp"

namespace vmux::switching {
namespace {

using packet::test::Bytes;
using packet::test::View;
using port::DropReason;

constexpr PortId kPort{7};

struct Kept {
  CapturedFrame head;
  Bytes bytes;
};
std::optional<Kept> next(Tap& tap) {
  const auto record = tap.ring().front();
  if (record.data() == nullptr) return std::nullopt;
  Kept kept;
  std::memcpy(&kept.head, record.data(), sizeof kept.head);
  kept.bytes.resize(record.size() - sizeof kept.head);
  if (!kept.bytes.empty()) std::memcpy(kept.bytes.data(), record.data() + sizeof kept.head, kept.bytes.size());
  tap.ring().pop();
  return kept;
}

void take(Tap& tap, const packet::FrameView& view, Way way = Way::in, DropReason why = DropReason::none) {
  tap.take({.time_ns = 5, .port = kPort, .queue = 2, .way = way, .why = why}, view);
  tap.publish();
}

TEST(SwitchTap, KeepsTheFirstBytesOfAFrameAndWhatBecameOfIt) {
  const Bytes frame = packet::test::pattern(1000);
  const View view{frame, 64, {50, 100}};
  Tap tap{{.snaplen = 128}};
  take(tap, view.view, Way::out, DropReason::no_room);
  const auto kept = next(tap);
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->bytes, Bytes(frame.begin(), frame.begin() + 128));
  EXPECT_EQ(kept->head.length, 1000u);
  EXPECT_EQ(kept->head.size, 128u);
  EXPECT_EQ(kept->head.seen.time_ns, 5u);
  EXPECT_EQ(kept->head.seen.port, kPort);
  EXPECT_EQ(kept->head.seen.queue, 2u);
  EXPECT_EQ(kept->head.seen.way, Way::out);
  EXPECT_EQ(kept->head.seen.why, DropReason::no_room);
}

TEST(SwitchTap, KeepsShortFramesWholeAndFragmentsAsTheyAre) {
  Tap tap{{.snaplen = 262'144}};
  for (const std::size_t size : {0u, 5u, 13u, 200u, 70'000u}) {
    const Bytes frame = packet::test::pattern(size);
    const View view{frame, 64, {9000}};
    take(tap, view.view);
    const auto kept = next(tap);
    ASSERT_TRUE(kept) << size;
    EXPECT_EQ(kept->bytes, frame);
  }
}

TEST(SwitchTap, PutsATagThatIsBesideTheBytesInItsPlace) {
  const Bytes frame = packet::test::whole_frame({}, packet::test::pattern(100));
  View view{frame, 64, {1000}};
  view.view.offload = {.has_vlan = true, .vlan_tci = 0x600a};
  Tap tap{{.snaplen = 1000}};
  take(tap, view.view);
  Bytes tagged = frame;
  const Bytes tag{0x81, 0, 0x60, 0x0a};
  tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
  const auto kept = next(tap);
  EXPECT_EQ(kept->bytes, tagged);
  EXPECT_EQ(kept->head.length, frame.size() + 4);
}

TEST(SwitchTap, TakesOnlyTheWaysAndFatesThatAreWanted) {
  const Bytes frame = packet::test::pattern(60);
  const View view{frame, 60, {60}};
  Tap tap{{.in = false, .out = true, .only_dropped = true}};
  take(tap, view.view, Way::in, DropReason::filtered);
  take(tap, view.view, Way::out);
  EXPECT_FALSE(next(tap));
  take(tap, view.view, Way::out, DropReason::too_long);
  EXPECT_TRUE(next(tap));
  EXPECT_EQ(tap.counts(kPort).seen.get(), 1u);
}

// Looks at a byte behind the snaplen, and at the length of the whole.
packet::Filter filter_of(std::uint32_t at, std::uint8_t byte) {
  return *packet::Filter::create(
      std::vector<packet::FilterInstruction>{{0x30, 0, 0, at}, {0x15, 0, 1, byte}, {0x06, 0, 0, 1}, {0x06, 0, 0, 0}});
}

TEST(SwitchTap, FiltersByBytesThatItDoesNotKeep) {
  Tap tap{{.snaplen = 64, .filter = filter_of(127, 0xab)}};
  Bytes frame(300, 1);
  take(tap, View{frame, 64, {70}}.view);
  frame[127] = 0xab;
  take(tap, View{frame, 64, {70}}.view);
  const auto kept = next(tap);
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->bytes.size(), 64u);
  EXPECT_FALSE(next(tap));
  EXPECT_EQ(tap.counts(kPort).seen.get(), 2u);
  EXPECT_EQ(tap.counts(kPort).passed.get(), 1u);
}

// Else who may see headers alone would ask for what is behind them, a bit of a frame at a time.
TEST(SwitchTap, FiltersByNothingBehindTheHeadersUnlessThatIsKept) {
  Bytes frame(300, 0xab);
  Tap headers{{.snaplen = 128, .filter = filter_of(128, 0xab)}}, more{{.snaplen = 129, .filter = filter_of(128, 0xab)}};
  take(headers, View{frame, 64, {70}}.view);
  take(more, View{frame, 64, {70}}.view);
  EXPECT_FALSE(next(headers));
  EXPECT_TRUE(next(more));
}

TEST(SwitchTap, CountsWhatFindsNoRoomAndTellsSoOnceThereIsSome) {
  const Bytes frame = packet::test::pattern(60);
  const View view{frame, 60, {60}};
  Tap tap{{}, 256};
  for (int i = 0; i < 10; ++i)
    take(tap, view.view);
  EXPECT_EQ(next(tap)->head.missed, 0u);
  EXPECT_EQ(tap.counts(kPort).missed.get(), 8u);
  static_cast<void>(next(tap));
  take(tap, view.view);
  EXPECT_EQ(next(tap)->head.missed, 8u);
  EXPECT_EQ(tap.counts(kPort).passed.get(), 11u);
}

TEST(SwitchTap, MissesOfAFullRingOnlyWhatTheFilterLetsPass) {
  Tap tap{{.filter = filter_of(20, 0xab)}, 64};
  Bytes frame(60, 1);
  take(tap, View{frame, 60, {60}}.view);
  EXPECT_EQ(tap.counts(kPort).missed.get(), 0u);
  frame[20] = 0xab;
  take(tap, View{frame, 60, {60}}.view);
  EXPECT_EQ(tap.counts(kPort).missed.get(), 1u);
}

TEST(SwitchTap, MissesOfAFullRingWhatTheFilterLetsPassByItsLastByte) {
  Tap tap{{.snaplen = 1000, .filter = filter_of(999, 0xab)}, 64};
  take(tap, View{Bytes(1000, 0xab), 60, {60}}.view);
  EXPECT_EQ(tap.counts(kPort).missed.get(), 1u);
}

}  // namespace
}  // namespace vmux::switching
