// SPDX-License-Identifier: BSD-3-Clause
#include "backend/tap/finish.hpp"

#include <gtest/gtest.h>

#include "backend/tap/long_frames.hpp"

namespace vmux::backend {
namespace {

using namespace test;
using packet::test::pattern;
using packet::test::Proto;

std::span<std::byte> bytes_of(Bytes& frame) { return std::as_writable_bytes(std::span{frame}); }

TEST(FinishChecksum, ComputesASumWhereverItBegins) {
  for (const std::size_t extension : {8u, 200u, 1000u, 2040u}) {
    for (const Proto proto : {Proto::tcp, Proto::udp}) {
      const LongSpec spec{.extensions = {extension}, .proto = proto};
      Bytes frame = undone_frame(spec, pattern(333));
      ASSERT_TRUE(finish_checksum(bytes_of(frame), l4_of(spec), field_of(spec) - l4_of(spec)));
      EXPECT_EQ(frame, finished_frame(spec, pattern(333))) << extension;
    }
  }
}

TEST(FinishChecksum, SaysOfAUdpSumOfZeroThatThereIsOne) {
  Bytes frame(64, 0);
  frame[20] = frame[21] = 0xff;  // the sum of what is covered
  ASSERT_TRUE(finish_checksum(bytes_of(frame), 14, 6));
  EXPECT_EQ(frame[20] << 8 | frame[21], 0xffff);
  ASSERT_TRUE(finish_checksum(bytes_of(frame), 14, 16));
  EXPECT_EQ(frame[30] << 8 | frame[31], 0);
}

TEST(FinishChecksum, LeavesAFrameAloneWhoseFieldIsOutside) {
  Bytes frame = pattern(64);
  EXPECT_FALSE(finish_checksum(bytes_of(frame), 57, 6));
  EXPECT_FALSE(finish_checksum(bytes_of(frame), 65535, 65535));
  EXPECT_EQ(frame, pattern(64));
  EXPECT_TRUE(finish_checksum(bytes_of(frame), 56, 6));
}

packet::Offload offload_of(const LongSpec& spec, std::uint16_t size) {
  return {.needs_checksum = true,
          .gso = spec.proto == Proto::tcp ? packet::Gso::tcp6 : packet::Gso::udp,
          .csum_start = static_cast<std::uint16_t>(l4_of(spec)),
          .csum_offset = static_cast<std::uint16_t>(field_of(spec) - l4_of(spec)),
          .gso_size = size};
}

std::vector<Bytes> cut(const Bytes& frame, const packet::Offload& offload) {
  LongCutter cutter;
  EXPECT_TRUE(cutter.begin(packet::test::slice(frame), offload));
  std::vector<Bytes> out;
  Bytes room(frame.size());
  while (!cutter.is_done()) {
    const std::size_t size = cutter.next(bytes_of(room));
    out.emplace_back(room.begin(), room.begin() + static_cast<std::ptrdiff_t>(size));
  }
  EXPECT_EQ(cutter.next(bytes_of(room)), 0u);
  return out;
}

TEST(LongCutter, MakesTheFramesThatAStackWithoutOffloadsSends) {
  const LongSpec specs[] = {
      {},
      {.extensions = {400}, .flags = 0x99},  // CWR, ACK, PSH, FIN
      {.tags = 1, .extensions = {2048, 1024}},
      {.tags = 2, .extensions = {16}, .proto = Proto::udp},
      {.extensions = {1000}, .via = 0x1234},
      {.tags = 3, .extensions = {512}, .proto = Proto::udp, .via = 0xfedc},
  };
  for (const LongSpec& spec : specs) {
    for (const std::uint16_t size : std::initializer_list<std::uint16_t>{1, 536, 1000, 2999, 3000, 9000}) {
      EXPECT_EQ(cut(undone_frame(spec, pattern(1999)), offload_of(spec, size)), on_the_wire(spec, pattern(1999), size))
          << headers_of(spec) << " bytes of headers, pieces of " << size;
    }
  }
}

TEST(LongCutter, RefusesWhatIsNoSuperFrameOverIpv6) {
  const LongSpec spec{.extensions = {400}};
  const Bytes frame = undone_frame(spec, pattern(3000));
  const auto refused = [](const Bytes& bytes, packet::Offload offload) {
    return !LongCutter{}.begin(packet::test::slice(bytes), offload);
  };
  packet::Offload offload = offload_of(spec, 1000);
  ASSERT_FALSE(refused(frame, offload));
  EXPECT_TRUE(refused(undone_frame(spec, {}), offload)) << "nothing to cut";
  for (std::size_t size = 0; size <= headers_of(spec); ++size)
    EXPECT_TRUE(refused({frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size)}, offload)) << size;
  Bytes v4 = frame;
  v4[12] = 0x08, v4[13] = 0x00;
  EXPECT_TRUE(refused(v4, offload));
  Bytes short_tcp = frame;
  short_tcp[l4_of(spec) + 12] = 0x40;
  EXPECT_TRUE(refused(short_tcp, offload));
  for (const auto& spoil : std::initializer_list<void (*)(packet::Offload&)>{
           [](packet::Offload& o) { o.gso = packet::Gso::none; }, [](packet::Offload& o) { o.gso = packet::Gso::tcp4; },
           [](packet::Offload& o) { o.gso = packet::Gso::udp; }, [](packet::Offload& o) { o.needs_checksum = false; },
           [](packet::Offload& o) { o.csum_offset = 6; }, [](packet::Offload& o) { o.csum_start = 53; },
           [](packet::Offload& o) { o.csum_start = 0xffff; }, [](packet::Offload& o) { o.gso_size = 0; },
           [](packet::Offload& o) { o.gso_size = 1; }}) {  // more pieces than anybody may ask for
    packet::Offload spoilt = offload;
    spoil(spoilt);
    EXPECT_TRUE(refused(frame, spoilt));
  }
}

}  // namespace
}  // namespace vmux::backend
