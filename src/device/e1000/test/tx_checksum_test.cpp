// SPDX-License-Identifier: BSD-3-Clause
// Checksums from anywhere in a frame to anywhere in it, as Linux asks for them behind long extension headers and nobody
// else does: 8254x manual tables 3-9, 3-10 and 3-14.
#include <gtest/gtest.h>

#include <random>

#include "rigs/e1000_rig.hpp"

namespace vmux::rigs {
namespace {

constexpr std::uint64_t kEop = 0x01ull << 24, kIc = 0x04ull << 24, kRs = 0x08ull << 24;
constexpr std::uint32_t kVme = 1u << 30;

/// What the part makes of a frame: table 3-9 (CSO, CSS, IC) and table 3-14.
Bytes summed(Bytes frame, unsigned start, unsigned at, unsigned end) {
  const auto size = static_cast<unsigned>(frame.size());
  if (start >= size || at + 2 > size) return frame;
  const unsigned stop = end == 0 || end + 1 > size ? size : end + 1;
  unsigned long sum = 0;
  for (unsigned i = start; i < stop; ++i)
    sum += std::to_integer<unsigned>(frame[i]) << ((i - start) % 2 == 0 ? 8 : 0);
  while (sum > 0xffff)
    sum = (sum & 0xffff) + (sum >> 16);
  const unsigned result = ~sum & 0xffff;
  put16(frame, at, result == 0 && at == start + 6 ? 0xffff : result);
  return frame;
}

struct Offsets {
  const char* name;
  unsigned size;
  std::uint8_t start, at;
  std::uint16_t end;
  bool legacy;
};
void PrintTo(const Offsets& row, std::ostream* out) { *out << row.name; }
class E1000TxChecksum : public testing::TestWithParam<Offsets> {};
TEST_P(E1000TxChecksum, IsThePartsAndTheQueueGoesOn) {
  E1000Rig rig;
  rig.guest->bring_up();
  const Offsets& row = GetParam();
  const Bytes frame = broadcast(row.size);
  rig.guest->send(frame, {.legacy = row.legacy,
                          .transport_checksum = true,
                          .transport_start = row.start,
                          .transport_field = row.at,
                          .transport_end = row.end});
  const auto sent = take_all(rig);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes, summed(frame, row.start, row.at, row.end));
  rig.guest->send(broadcast(60));
  EXPECT_EQ(take_all(rig).size(), 1u);
  EXPECT_EQ(rig.guest->reap(), 2u);
  EXPECT_EQ(rig.nic->nic_counters().tx_guest_fault.get(), 0u);
}
INSTANTIATE_TEST_SUITE_P(Offsets, E1000TxChecksum,
                         testing::Values(Offsets{"usual", 200, 34, 50, 0, false},
                                         Offsets{"usual_legacy", 200, 34, 50, 0, true},
                                         Offsets{"all_of_the_frame", 100, 0, 40, 0, false},
                                         Offsets{"all_of_the_frame_legacy", 100, 0, 40, 0, true},
                                         Offsets{"linux_behind_208_bytes_of_extension_headers", 400, 6, 22, 0, false},
                                         Offsets{"linux_behind_192_bytes_of_extension_headers", 400, 246, 6, 0, false},
                                         Offsets{"last_byte_of_the_ethernet_header", 100, 13, 60, 0, true},
                                         Offsets{"place_in_front_of_the_start", 700, 50, 34, 0, false},
                                         Offsets{"place_at_the_last_offset_but_one", 700, 34, 254, 0, false},
                                         Offsets{"start_at_the_last_offset", 700, 255, 100, 0, false},
                                         Offsets{"ends_within_the_headers", 100, 14, 20, 39, false},
                                         Offsets{"ends_within_the_payload", 900, 34, 50, 777, false},
                                         Offsets{"ends_at_the_last_byte", 900, 34, 50, 899, false},
                                         Offsets{"ends_beyond_the_frame", 900, 34, 50, 5000, false},
                                         Offsets{"ends_in_front_of_its_start", 100, 60, 70, 39, false},
                                         Offsets{"odd_start_and_length", 333, 35, 51, 0, false},
                                         Offsets{"starts_beyond_the_frame", 100, 100, 50, 0, true},
                                         Offsets{"place_beyond_the_frame", 100, 34, 100, 0, true},
                                         Offsets{"place_half_beyond_the_frame", 100, 34, 99, 0, false},
                                         Offsets{"jumbo", 9014, 34, 50, 9000, false}),
                         [](const auto& row) { return row.param.name; });

TEST(E1000TxChecksums, ChecksumsOutsideTheFrameAreCounted) {
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->send(broadcast(100), {.legacy = true, .transport_checksum = true, .transport_start = 100});
  static_cast<void>(take_all(rig));
  EXPECT_EQ(rig.nic->nic_counters().tx_unsupported.get(), 1u);
}

TEST(E1000TxChecksums, IpChecksumMayEndBehindTheHeadersOrWithTheFrame) {
  E1000Rig rig;
  rig.guest->bring_up();
  const Bytes frame = broadcast(800);
  rig.guest->queue(frame, {.ip_checksum = true, .ip_start = 14, .ip_field = 24, .ip_end = 600});
  rig.guest->queue(frame, {.ip_checksum = true, .ip_start = 14, .ip_field = 24, .ip_end = 0});
  rig.guest->ring_doorbell();
  const auto sent = take_all(rig);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].bytes, summed(frame, 14, 24, 600));
  EXPECT_EQ(sent[1].bytes, summed(frame, 14, 24, 0));
}

TEST(E1000TxChecksums, PaddingHasNoPlaceForAChecksum) {  // table 3-9: in the range of the unpadded data
  E1000Rig rig;
  rig.guest->bring_up();
  rig.guest->send(broadcast(40), {.legacy = true, .transport_checksum = true, .transport_field = 50});
  Bytes padded = broadcast(40);
  padded.resize(60);
  EXPECT_EQ(take_all(rig).at(0).bytes, padded);
}

TEST(E1000TxChecksums, LegacyChecksumIsAskedForByTheLastDescriptorAtThePlaceThatTheFirstSays) {
  E1000Rig rig;
  rig.guest->bring_up();
  const Bytes frame = broadcast(200);
  const std::uint64_t at = rig.guest->stage(frame);
  rig.guest->queue_raw(at, (34ull << 40) | (50ull << 16) | 100);        // CSS and CSO, no IC
  rig.guest->queue_raw(at + 100, kEop | kRs | kIc | 100);               // IC
  rig.guest->queue_raw(at, kIc | (34ull << 40) | (50ull << 16) | 100);  // IC without EOP does not count
  rig.guest->queue_raw(at + 100, kEop | kRs | 100);
  rig.guest->ring_doorbell();
  const auto sent = take_all(rig);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].bytes, summed(frame, 34, 50, 0));
  EXPECT_EQ(sent[1].bytes, frame);
}

/// One card lives through all of them: random offsets, sizes, fragments, tags and padding.
TEST(E1000TxChecksums, SeededFramesAllLeaveAsThePartSendsThem) {
  E1000Rig rig;
  rig.guest->bring_up({.tx_descriptors = 256, .control_bits = kVme});
  std::mt19937 random{8254};
  const auto up_to = [&random](unsigned most) { return random() % (most + 1); };
  for (unsigned row = 0; row < 3000; ++row) {
    SCOPED_TRACE(row);
    const Bytes frame = broadcast(1 + up_to(up_to(9) == 0 ? 9000 : 400));
    E1000Send how;
    how.legacy = up_to(2) == 0;
    how.transport_checksum = up_to(3) != 0;
    how.ip_checksum = !how.legacy && up_to(2) == 0;
    how.ip_start = static_cast<std::uint8_t>(up_to(255));
    how.ip_field = static_cast<std::uint8_t>(up_to(254));
    how.ip_end = static_cast<std::uint16_t>(up_to(2) == 0 ? 0 : up_to(600));
    how.transport_start = static_cast<std::uint8_t>(up_to(255));
    how.transport_field = static_cast<std::uint8_t>(up_to(254));
    how.transport_end = static_cast<std::uint16_t>(how.legacy || up_to(1) == 0 ? 0 : up_to(600));
    how.parts = up_to(2) == 0 ? 0 : static_cast<unsigned>(frame.size() / 200 + 1 + up_to(80));
    if (up_to(3) == 0) how.vlan = static_cast<std::uint16_t>(random());
    rig.guest->write(0x38, up_to(3) == 0 ? 0x88a8 : 0x8100);
    const unsigned vet = rig.guest->read(0x38);
    rig.guest->send(frame, how);

    Bytes expected = frame;
    if (how.ip_checksum) expected = summed(expected, how.ip_start, how.ip_field, how.ip_end);
    if (how.transport_checksum) {
      expected = summed(expected, how.transport_start, how.transport_field, how.transport_end);
    }
    if (expected.size() < 60) expected.resize(60);
    if (how.vlan) {
      const Bytes tag = bytes_of({vet >> 8, vet & 0xff, unsigned{*how.vlan} >> 8, unsigned{*how.vlan} & 0xff});
      expected.insert(expected.begin() + 12, tag.begin(), tag.end());
    }
    const auto sent = take_all(rig);
    ASSERT_EQ(sent.size(), 1u);
    ASSERT_EQ(sent[0].bytes, expected);
    ASSERT_EQ(rig.guest->reap(), 1u);
  }
  EXPECT_EQ(rig.nic->nic_counters().tx_guest_fault.get(), 0u);
}

}  // namespace
}  // namespace vmux::rigs
