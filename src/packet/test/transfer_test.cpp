// SPDX-License-Identifier: BSD-3-Clause
#include "packet/transfer.hpp"

#include <gtest/gtest.h>

#include "packet/test/test_frames.hpp"

namespace vmux::packet {
namespace {

using test::Bytes;
using test::FrameSpec;
using test::header_size;
using test::Ip;
using test::l4_offset;
using test::Proto;
using test::set16;
using test::View;
using test::whole_frame;

constexpr Accepts kNothing{.max_frame = 65536};
constexpr Accepts kChecksum{.checksum = true, .max_frame = 65536};

// What arrives at a receiver whose buffers have `buffer` bytes each.
std::vector<Bytes> receive(const FrameView& view, const Accepts& accepts, std::size_t buffer = 4096) {
  std::vector<Bytes> out;
  Pieces pieces{view, accepts};
  while (const Piece* piece = pieces.next()) {
    Bytes bytes(piece->length);
    std::vector<std::span<std::byte>> to;
    for (auto rest = std::as_writable_bytes(std::span{bytes}); !rest.empty();) {
      to.push_back(rest.first(std::min(buffer, rest.size())));
      rest = rest.subspan(to.back().size());
    }
    pieces.copy(to);
    out.push_back(bytes);
  }
  EXPECT_EQ(out.size(), pieces.count());
  return out;
}

// The same frames as a sender without segmentation offload would have made them, one by one.
std::vector<Bytes> cut_plainly(const FrameSpec& spec, const Bytes& payload, std::size_t size) {
  std::vector<Bytes> out;
  for (std::size_t at = 0; at < payload.size() || out.empty(); at += size) {
    const bool last = at + size >= payload.size();
    const auto begin = payload.begin() + static_cast<std::ptrdiff_t>(at);
    FrameSpec piece = spec;
    piece.id = static_cast<std::uint16_t>(spec.id + out.size());
    piece.sequence = spec.sequence + static_cast<std::uint32_t>(at);
    if (!last) piece.flags &= 0xf6;    // FIN and PSH on the last only
    if (at != 0) piece.flags &= 0x7f;  // CWR on the first only
    out.push_back(whole_frame(piece, Bytes(begin, last ? payload.end() : begin + static_cast<std::ptrdiff_t>(size))));
  }
  return out;
}

Offload super_frame(const FrameSpec& spec, std::uint16_t size) {
  const bool tcp = spec.proto == Proto::tcp;
  return {.needs_checksum = true,
          .gso = !tcp ? Gso::udp : (spec.ip == Ip::v4 ? Gso::tcp4 : Gso::tcp6),
          .csum_start = l4_offset(spec),
          .csum_offset = static_cast<std::uint16_t>(tcp ? 16 : 6),
          .header_length = header_size(spec),
          .gso_size = size};
}

struct CutRow {
  const char* description;
  FrameSpec spec;
  std::size_t payload;
  std::uint16_t size;
  int beside_tag;  // -1: none
};

const CutRow kCutRows[] = {
    {"TCP over IPv4, last piece short", {}, 4000, 1448, -1},
    {"TCP over IPv4, pieces fit exactly", {}, 2896, 1448, -1},
    {"TCP over IPv4 without options, IP id and sequence wrap",
     {.sequence = 0xffff'ff00, .id = 0xffff, .tcp_options = false},
     65000,
     1460,
     -1},
    {"TCP with FIN, PSH and CWR", {.flags = 0x99}, 5000, 1000, -1},
    {"one piece keeps all flags", {.flags = 0x99}, 500, 1000, -1},
    {"TCP over IPv6", {.ip = Ip::v6}, 9999, 1428, -1},
    {"odd piece size", {}, 3001, 999, -1},
    {"no payload at all", {}, 0, 1448, -1},
    {"UDP over IPv4", {.proto = Proto::udp}, 5000, 1472, -1},
    {"UDP over IPv6", {.ip = Ip::v6, .proto = Proto::udp}, 5001, 1452, -1},
    {"a tag in the bytes", {.tag = 0x2005}, 4000, 1448, -1},
    {"a tag beside the bytes", {}, 4000, 1448, 0x4123},
    {"a tag beside the bytes, IPv6", {.ip = Ip::v6}, 4000, 1448, 0x0fff},
};

class Cut : public testing::TestWithParam<CutRow> {
 protected:
  // The super-frame as a driver hands it over: lengths of the whole, garbage where the checksums go.
  Bytes super() const {
    Bytes frame = whole_frame(GetParam().spec, payload_);
    set16(frame, l4_offset(GetParam().spec) + (GetParam().spec.proto == Proto::tcp ? 16u : 6u), 0xdead);
    return frame;
  }
  std::vector<Bytes> expected() const {
    FrameSpec spec = GetParam().spec;
    if (GetParam().beside_tag >= 0) spec.tag = GetParam().beside_tag;
    return cut_plainly(spec, payload_, GetParam().size);
  }
  void describe(FrameView& view) const {
    view.offload = super_frame(GetParam().spec, GetParam().size);
    view.offload.has_vlan = GetParam().beside_tag >= 0;
    view.offload.vlan_tci = static_cast<std::uint16_t>(std::max(0, GetParam().beside_tag));
  }
  Bytes payload_ = test::pattern(GetParam().payload, 3);
};

TEST_P(Cut, GivesTheFramesOfASenderWithoutOffloads) {
  const Bytes frame = super();
  View v{frame, kHeaderRoom, {1000, 7, 3000}};
  describe(v.view);
  ASSERT_TRUE(is_consistent(v.view)) << GetParam().description;
  EXPECT_EQ(receive(v.view, kNothing), expected()) << GetParam().description;
}

TEST_P(Cut, DoesNotDependOnTheBuffersOnEitherSide) {
  const Bytes frame = super();
  View v{frame, header_size(GetParam().spec), {1, 2, 61, 500}};
  describe(v.view);
  EXPECT_EQ(receive(v.view, kNothing, 13), expected()) << GetParam().description;
  View whole{frame, frame.size(), {1}};
  describe(whole.view);
  EXPECT_EQ(receive(whole.view, kNothing, 256), expected()) << GetParam().description;
}

TEST_P(Cut, LeavesThePseudoHeaderSumToAReceiverThatTakesChecksums) {
  const Bytes frame = super();
  View v{frame, kHeaderRoom, {1000}};
  describe(v.view);
  const std::vector<Bytes> wanted = expected();
  Pieces pieces{v.view, kChecksum};
  std::size_t at = 0;
  while (const Piece* piece = pieces.next()) {
    ASSERT_LT(at, wanted.size());
    ASSERT_TRUE(piece->offload.needs_checksum);
    Bytes bytes(piece->length);
    const std::span<std::byte> to[] = {std::as_writable_bytes(std::span{bytes})};
    pieces.copy(to);
    const std::size_t start = piece->offload.csum_start;
    const Bytes covered(bytes.begin() + static_cast<std::ptrdiff_t>(start), bytes.end());
    unsigned sum = static_cast<std::uint16_t>(~test::plain_sum(covered));  // what its hardware would do
    if (sum == 0 && piece->offload.csum_offset == 6) sum = 0xffff;
    set16(bytes, start + piece->offload.csum_offset, sum);
    EXPECT_EQ(bytes, wanted[at++]) << GetParam().description;
  }
  EXPECT_EQ(at, wanted.size());
}

TEST_P(Cut, GathersTheSameBytesThatItCopies) {
  const Bytes frame = super();
  View v{frame, kHeaderRoom, {100, 900}};
  describe(v.view);
  Pieces pieces{v.view, kChecksum};
  while (const Piece* piece = pieces.next()) {
    Bytes bytes(piece->length);
    const std::span<std::byte> to[] = {std::as_writable_bytes(std::span{bytes})};
    pieces.copy(to);
    std::array<Slice, 128> slices;
    const std::size_t count = pieces.gather(slices);
    ASSERT_LE(count, slices.size());
    Bytes gathered;
    const auto join = [&gathered](Slice part) {
      for (const std::byte byte : part)
        gathered.push_back(static_cast<std::uint8_t>(byte));
    };
    join(piece->header);
    std::for_each(slices.begin(), slices.begin() + static_cast<std::ptrdiff_t>(count), join);
    EXPECT_EQ(gathered, bytes) << GetParam().description;
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, Cut, testing::ValuesIn(kCutRows));

class FarHeaders : public testing::TestWithParam<std::size_t> {};

TEST_P(FarHeaders, ChecksumIsFinishedBehindThem) {
  const test::FarFrame frame{GetParam(), test::pattern(900)};
  View v{frame.undone, frame.l4 + 18u, {300}};
  v.view.offload = frame.offload();
  EXPECT_TRUE(is_consistent(v.view));
  EXPECT_EQ(receive(v.view, kNothing), std::vector<Bytes>{frame.whole});
}

TEST_P(FarHeaders, SuperFrameIsCutBehindThem) {
  const Bytes payload = test::pattern(2000);
  const test::FarFrame frame{GetParam(), payload};
  View v{frame.undone, frame.l4 + 32u, {300}};
  v.view.offload = frame.super_offload(1000);
  EXPECT_TRUE(is_consistent(v.view));
  const auto middle = payload.begin() + 1000;
  const FrameSpec second{.ip = test::Ip::v6, .sequence = 0x12345678 + 1000};
  EXPECT_EQ(receive(v.view, kNothing),
            (std::vector<Bytes>{test::FarFrame{GetParam(), Bytes(payload.begin(), middle)}.whole,
                                test::FarFrame{GetParam(), Bytes(middle, payload.end()), second}.whole}));
}

TEST_P(FarHeaders, AViewThatEndsInFrontOfTheFieldIsNotConsistent) {
  const test::FarFrame frame{GetParam(), test::pattern(900)};
  View v{frame.undone, frame.l4 + 17u, {300}};
  v.view.offload = frame.offload();
  EXPECT_FALSE(is_consistent(v.view));
}

INSTANTIATE_TEST_SUITE_P(Options, FarHeaders, testing::Values(176, 184, 440, 1440));

// Linux counts a frame's bytes with 16 bits, too; other senders, and frames in tunnels, go beyond.
TEST(Pieces, CutsASuperFrameThatIsLongerThanItsHeaderCanSay) {
  const FrameSpec spec;
  const Bytes frame = whole_frame(spec, test::pattern(66'000));
  View v{frame, kHeaderRoom, {3000}};
  v.view.offload = super_frame(spec, 1000);
  Pieces pieces{v.view, {.checksum = true, .gso_tcp4 = true}};
  EXPECT_EQ(pieces.count(), 66u);
}

TEST(Pieces, PassesAPlainFrameUntouched) {
  const Bytes frame = whole_frame({}, test::pattern(1000));
  View v{frame, kHeaderRoom, {300}};
  EXPECT_EQ(receive(v.view, kNothing), std::vector<Bytes>{frame});
}

TEST(Pieces, KeepsASuperFrameWholeForAReceiverThatTakesIt) {
  const FrameSpec spec;
  const Bytes frame = whole_frame(spec, test::pattern(5000));
  View v{frame, kHeaderRoom, {300}};
  v.view.offload = super_frame(spec, 1000);
  Pieces pieces{v.view, {.checksum = true, .gso_tcp4 = true}};
  const Piece* piece = pieces.next();
  ASSERT_NE(piece, nullptr);
  EXPECT_EQ(piece->length, frame.size());
  EXPECT_EQ(piece->offload.gso, Gso::tcp4);
  EXPECT_EQ(piece->offload.gso_size, 1000);
  EXPECT_TRUE(piece->offload.needs_checksum);
  EXPECT_EQ(pieces.next(), nullptr);
}

TEST(Pieces, MovesTheOffsetsOfWhatIsStillUndoneBehindAnInsertedTag) {
  const FrameSpec spec;
  const Bytes frame = whole_frame(spec, test::pattern(5000));
  View v{frame, kHeaderRoom, {300}};
  v.view.offload = super_frame(spec, 1000);
  v.view.offload.has_vlan = true;
  v.view.offload.vlan_tci = 5;
  Pieces pieces{v.view, {.checksum = true, .gso_tcp4 = true}};
  const Piece* piece = pieces.next();
  ASSERT_NE(piece, nullptr);
  EXPECT_FALSE(piece->offload.has_vlan);
  EXPECT_EQ(piece->length, frame.size() + 4);
  EXPECT_EQ(piece->offload.csum_start, 38);
  EXPECT_EQ(piece->offload.header_length, 70);
}

TEST(Pieces, FinishesAChecksumDuringTheCopy) {
  const FrameSpec spec{.proto = Proto::udp};
  const Bytes wanted = whole_frame(spec, test::pattern(1001));
  Bytes frame = wanted;
  set16(frame, 40, test::plain_sum({10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 1009 >> 8, 1009 & 0xff}));
  View v{frame, 60, {301, 2}};
  v.view.offload = {.needs_checksum = true, .csum_start = 34, .csum_offset = 6};
  EXPECT_EQ(receive(v.view, kNothing, 77), std::vector<Bytes>{wanted});
  EXPECT_EQ(receive(v.view, kChecksum, 77), std::vector<Bytes>{frame});
}

TEST(Pieces, WritesAUdpChecksumOfZeroAsAllOnes) {
  Bytes frame = whole_frame({.proto = Proto::udp}, {0, 0});
  set16(frame, 40, 0);
  const Bytes udp(frame.begin() + 34, frame.end());
  set16(frame, 42, static_cast<std::uint16_t>(~test::plain_sum(udp)));  // the covered bytes now add up to zero
  View v{frame, kHeaderRoom, {1}};
  v.view.offload = {.needs_checksum = true, .csum_start = 34, .csum_offset = 6};
  Bytes wanted = frame;
  set16(wanted, 40, 0xffff);
  EXPECT_EQ(receive(v.view, kNothing), std::vector<Bytes>{wanted});
}

// A TCP super-frame over VXLAN, behind two tags that stand in the bytes.
Bytes tunnelled(const FrameSpec& spec, const Bytes& payload) {
  const Bytes inner = whole_frame(spec, payload);
  Bytes frame{0x52, 0x54, 0, 0, 0, 4, 0x52, 0x54, 0, 0, 0, 3};
  for (const unsigned word : {0x88a8u, 10u, 0x8100u, 20u, 0x0800u, 0x4500u})
    test::append16(frame, word);
  test::append16(frame, static_cast<unsigned>(20 + 8 + 8 + inner.size()));
  for (const unsigned word : {7u, 0x4000u, 0x4011u, 0u, 0x0a01u, 1u, 0x0a01u, 2u, 5000u, 4789u})
    test::append16(frame, word);
  test::append16(frame, static_cast<unsigned>(8 + 8 + inner.size()));
  for (const unsigned word : {0u, 0x0800u, 0u, 0u, 0x100u})
    test::append16(frame, word);
  test::append(frame, inner);
  return frame;
}

TEST(Pieces, CutATunnelBehindAThirdTagAsBehindTwo) {
  constexpr std::uint16_t kOuter = 22 + 20 + 8 + 8;
  const FrameSpec spec;
  const Bytes frame = tunnelled(spec, test::pattern(3000));
  View view{frame, 200, {4096}};
  view.view.offload = super_frame(spec, 1000);
  view.view.offload.tunnel = kOuter + 14;
  view.view.offload.csum_start = static_cast<std::uint16_t>(kOuter + l4_offset(spec));
  view.view.offload.header_length = static_cast<std::uint16_t>(kOuter + header_size(spec));
  const std::vector<Bytes> plain = receive(view.view, kNothing);
  view.view.offload.has_vlan = true;
  view.view.offload.vlan_tci = 30;
  std::vector<Bytes> tagged = receive(view.view, kNothing);
  ASSERT_EQ(plain.size(), 3u);
  for (Bytes& piece : tagged)
    piece.erase(piece.begin() + 12, piece.begin() + 16);
  EXPECT_EQ(tagged, plain);
}

TEST(Pieces, KeepsATagBesideForAReceiverThatTakesItSo) {
  const Bytes frame = whole_frame({}, test::pattern(100));
  View v{frame, 64, {300}};
  v.view.offload = {.has_vlan = true, .vlan_tci = 0x2001};
  EXPECT_EQ(receive(v.view, {.vlan = true}), std::vector<Bytes>{frame});
  EXPECT_EQ(receive(v.view, kNothing), std::vector<Bytes>{whole_frame({.tag = 0x2001}, test::pattern(100))});
}

TEST(Pieces, CanBeCopiedTwiceWithTheSameResult) {
  const FrameSpec spec;
  const Bytes frame = whole_frame(spec, test::pattern(2000));
  View v{frame, kHeaderRoom, {300}};
  v.view.offload = super_frame(spec, 1000);
  Pieces pieces{v.view, kNothing};
  const Piece* piece = pieces.next();
  Bytes first(piece->length), second(piece->length);
  const std::span<std::byte> to_first[] = {std::as_writable_bytes(std::span{first})};
  const std::span<std::byte> to_second[] = {std::as_writable_bytes(std::span{second})};
  pieces.copy(to_first);
  pieces.copy(to_second);
  EXPECT_EQ(first, second);
}

struct LieRow {
  const char* description;
  Offload offload;
  bool consistent;
};

const LieRow kLies[] = {
    {"nothing asked for", {}, true},
    {"checksum field ends with the header", {.needs_checksum = true, .csum_start = 34, .csum_offset = 220}, true},
    {"checksum field one byte behind the header",
     {.needs_checksum = true, .csum_start = 34, .csum_offset = 221},
     false},
    {"checksum offsets that wrap", {.needs_checksum = true, .csum_start = 65535, .csum_offset = 65535}, false},
    {"super-frame", {.gso = Gso::tcp4, .header_length = 66, .gso_size = 100}, true},
    {"super-frame of size 0", {.gso = Gso::tcp4, .header_length = 66, .gso_size = 0}, false},
    {"super-frame of too many pieces", {.gso = Gso::tcp4, .header_length = 66, .gso_size = 1}, false},
    {"super-frame of another IP version", {.gso = Gso::tcp6, .header_length = 66, .gso_size = 100}, false},
    {"super-frame of another protocol", {.gso = Gso::udp, .header_length = 66, .gso_size = 100}, false},
    {"headers shorter than TCP's", {.gso = Gso::tcp4, .header_length = 53, .gso_size = 100}, false},
    {"headers longer than the copied bytes", {.gso = Gso::tcp4, .header_length = 257, .gso_size = 100}, false},
};

class Lies : public testing::TestWithParam<LieRow> {};

TEST_P(Lies, AreSeenAndHaveNoPieces) {
  const Bytes frame = whole_frame({}, test::pattern(4000));
  View v{frame, kHeaderRoom, {300}};
  v.view.offload = GetParam().offload;
  EXPECT_EQ(is_consistent(v.view), GetParam().consistent) << GetParam().description;
  Pieces pieces{v.view, kNothing};
  EXPECT_EQ(pieces.count() > 0, GetParam().consistent) << GetParam().description;
}

INSTANTIATE_TEST_SUITE_P(Rows, Lies, testing::ValuesIn(kLies));

TEST(IsConsistent, RefusesALengthThatIsNotTheSumOfTheParts) {
  const Bytes frame = whole_frame({}, test::pattern(400));
  View v{frame, 64, {300}};
  v.view.length += 1;
  EXPECT_FALSE(is_consistent(v.view));
}

}  // namespace
}  // namespace vmux::packet
