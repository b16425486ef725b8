// SPDX-License-Identifier: BSD-3-Clause
// Receive rings and buffers as small and teaching systems have them, and the bytes behind a frame. What each row does
// is what the 8254x manual says of it and, where that is silent, what QEMU's model of this card does: the table in
// docs/notes/e1000-edges.md.
#include <gtest/gtest.h>

#include "rigs/e1000_rig.hpp"

namespace vmux::rigs {
namespace {

constexpr std::uint32_t kLpe = 0x20, kVfe = 1u << 18, kVme = 1u << 30, kSecrc = 1u << 26;
constexpr std::uint32_t kRctl = 0x100, kRdbal = 0x2800, kRdlen = 0x2808, kRdh = 0x2810, kRdt = 0x2818;
constexpr std::uint8_t kDd = 0x01, kEop = 0x02, kVp = 0x08;
constexpr std::uint64_t kBuffers = 0x200000;

// --- rings that a driver lays out itself ---

struct OwnRing : E1000Rig {
  /// All descriptors have a buffer of 2048 bytes.
  explicit OwnRing(unsigned descriptors, Doorbell doorbell = Doorbell::trap) : E1000Rig(doorbell) {
    for (unsigned i = 0; i < descriptors; ++i)
      give(i, kBuffers + i * 0x800);
  }
  void give(unsigned index, std::uint64_t buffer) {
    const std::array<std::uint64_t, 2> descriptor{buffer, 0};
    std::memcpy(guest->memory().data() + ring() + index * 16, descriptor.data(), 16);
  }
  [[nodiscard]] std::uint64_t ring() const { return guest->rx_ring(); }
  [[nodiscard]] std::uint8_t status(unsigned index) {
    return std::to_integer<std::uint8_t>(guest->memory()[ring() + index * 16 + 12]);
  }
  /// The bytes of a descriptor that is done; it is free again.
  Bytes take_from(unsigned index) {
    const auto at = guest->memory().subspan(ring() + index * 16, 16);
    const std::size_t size = std::to_integer<std::size_t>(at[8]) | (std::to_integer<std::size_t>(at[9]) << 8);
    std::uint64_t buffer = 0;
    std::memcpy(&buffer, at.data(), 8);
    const auto data = guest->memory().subspan(buffer, size);
    Bytes bytes{data.begin(), data.end()};
    at[12] = std::byte{0};
    return bytes;
  }
  void tell(std::uint32_t offset) {
    const std::uint32_t value = offset == kRdbal   ? static_cast<std::uint32_t>(ring())
                                : offset == kRdlen ? 128
                                : offset == kRdt   ? 7
                                                   : 0x8002 | kSecrc;
    guest->write(offset, value);
  }
};

TEST(E1000RxRing, OneDescriptorReceivesFrameAfterFrame) {
  OwnRing rig{1};
  rig.guest->write(kRdbal, static_cast<std::uint32_t>(rig.ring()));
  rig.guest->write(kRdlen, 16);
  rig.guest->write(kRdt, 1);
  rig.guest->write(kRctl, 0x8002 | kSecrc);
  for (unsigned i = 0; i < 5; ++i) {
    ASSERT_EQ(rig.arrive(frame_to_us(100 + i)), 1u);
    ASSERT_EQ(rig.status(0) & (kDd | kEop), kDd | kEop);
    ASSERT_EQ(rig.take_from(0), frame_to_us(100 + i));
  }
  EXPECT_EQ(rig.guest->read(kRdlen), 0u);  // 13.4.27: its low bits read back as 0
  EXPECT_EQ(rig.guest->read(0xc0) & 0x80, 0x80u);
}

struct Small {
  const char* name;
  std::uint32_t length, head, tail;
  unsigned descriptors;  // that frames go to, round and round
};
void PrintTo(const Small& row, std::ostream* out) { *out << row.name; }
class E1000RxTail : public testing::TestWithParam<std::tuple<Small, Doorbell>> {};
TEST_P(E1000RxTail, BeyondTheRingMeansThatAllIsTheCards) {
  const Small& row = std::get<0>(GetParam());
  const Doorbell doorbell = std::get<1>(GetParam());
  OwnRing rig{8, doorbell};
  const auto write = [&](std::uint32_t offset, std::uint32_t value) {
    doorbell == Doorbell::poll ? rig.guest->write_mapped(offset, value) : rig.guest->write(offset, value);
  };
  write(kRdbal, static_cast<std::uint32_t>(rig.ring()));
  write(kRdlen, row.length);
  write(kRdh, row.head);
  write(kRdt, row.tail);
  rig.guest->write(kRctl, 0x8002 | kSecrc);
  const unsigned first = row.head < row.descriptors ? row.head : 0;
  for (unsigned i = 0; i < 20; ++i) {
    ASSERT_EQ(rig.arrive(frame_to_us(100 + i)), 1u);
    ASSERT_EQ(rig.take_from((first + i) % row.descriptors), frame_to_us(100 + i)) << i;
  }
  EXPECT_EQ(rig.nic->nic_counters().rx_guest_fault.get(), 0u);
}
INSTANTIATE_TEST_SUITE_P(
    Rings, E1000RxTail,
    testing::Combine(testing::Values(Small{"one", 16, 0, 1, 1}, Small{"four", 64, 0, 4, 4},
                                     Small{"count", 128, 0, 8, 8}, Small{"count_from_within", 128, 3, 8, 8},
                                     Small{"far_beyond", 128, 0, 0xffff, 8}, Small{"head_beyond_too", 128, 8, 8, 8}),
                     testing::Values(Doorbell::trap, Doorbell::poll)),
    [](const auto& row) {
      return std::string{std::get<0>(row.param).name} +
             (std::get<1>(row.param) == Doorbell::trap ? "_trapped" : "_mapped");
    });

TEST(E1000RxRing, HeadBeyondTheRingIsItsBegin) {
  OwnRing rig{8};
  rig.guest->write(kRdbal, static_cast<std::uint32_t>(rig.ring()));
  rig.guest->write(kRdlen, 128);
  rig.guest->write(kRdh, 0xfff0);
  rig.guest->write(kRdt, 7);
  rig.guest->write(kRctl, 0x8002 | kSecrc);
  ASSERT_EQ(rig.arrive(frame_to_us(100)), 1u);
  EXPECT_EQ(rig.take_from(0), frame_to_us(100));
}

TEST(E1000RxRing, TailOfTheHeadHasNothingForTheCard) {
  OwnRing rig{8};
  rig.tell(kRdbal);
  rig.tell(kRdlen);
  rig.guest->write(kRctl, 0x8002 | kSecrc);
  ASSERT_EQ(rig.arrive(frame_to_us(100)), 1u);  // waits in the FIFO
  EXPECT_EQ(rig.status(0), 0);
  rig.tell(kRdt);
  EXPECT_EQ(rig.take_from(0), frame_to_us(100));
}

/// Teaching systems enable the receiver before, while, or after they tell of the ring; frames come at any moment.
class E1000RxOrder : public testing::TestWithParam<std::array<std::uint32_t, 4>> {};
TEST_P(E1000RxOrder, OfWhatADriverTellsDoesNotMatter) {
  OwnRing rig{8};
  unsigned taken = 0;
  for (const std::uint32_t offset : GetParam()) {
    rig.tell(offset);
    taken += static_cast<unsigned>(rig.arrive(frame_to_us(100 + taken)));  // 0 until the receiver is enabled
  }
  ASSERT_GE(taken, 1u);
  for (unsigned i = 0; i < taken; ++i) {
    ASSERT_EQ(rig.status(i) & (kDd | kEop), kDd | kEop) << i;
    ASSERT_EQ(rig.take_from(i), frame_to_us(100 + i));
  }
  EXPECT_EQ(rig.nic->nic_counters().rx_guest_fault.get(), 0u);
}
std::vector<std::array<std::uint32_t, 4>> orders() {
  std::array<std::uint32_t, 4> order{kRctl, kRdbal, kRdlen, kRdt};
  std::vector<std::array<std::uint32_t, 4>> all;
  do {
    all.push_back(order);
  } while (std::next_permutation(order.begin(), order.end()));
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, E1000RxOrder, testing::ValuesIn(orders()));

TEST(E1000RxRing, NullBuffersAreGivenBackWithoutAFrame) {  // 3.2.3; a driver may wait for them
  OwnRing rig{8};
  for (unsigned i = 0; i < 7; ++i)
    rig.give(i, 0);
  for (const std::uint32_t offset : {kRdbal, kRdlen, kRdt, kRctl})
    rig.tell(offset);
  ASSERT_EQ(rig.arrive(frame_to_us(100)), 1u);
  EXPECT_EQ(rig.status(6), kDd);
  EXPECT_EQ(rig.guest->read(kRdh), 7u);
  rig.guest->write(kRdt, 0);
  EXPECT_EQ(rig.take_from(7), frame_to_us(100));
}

TEST(E1000RxRing, NullBuffersWithoutEndCostOneRoundEach) {
  OwnRing rig{8};
  for (unsigned i = 0; i < 8; ++i)
    rig.give(i, 0);
  rig.tell(kRdbal);
  rig.tell(kRdlen);
  rig.guest->write(kRdt, 8);
  rig.tell(kRctl);
  ASSERT_EQ(rig.arrive(frame_to_us(100)), 1u);
  rig.give(3, kBuffers);
  static_cast<void>(rig.take());  // the round in which the poller looks
  EXPECT_EQ(rig.take_from(3), frame_to_us(100));
}

TEST(E1000RxRing, ManyNullBuffersAmongThoseOfAFrameArePassedOver) {
  E1000Rig rig;
  rig.guest->bring_up({.rx_descriptors = 512, .receive_bits = kLpe});
  for (unsigned i = 1; i < 400; ++i)
    std::memset(rig.guest->memory().data() + rig.guest->rx_ring() + i * 16, 0, 8);
  std::uint64_t buffer = kBuffers;  // the rest in one place: the guest's memory is small
  for (unsigned i = 400; i < 512; ++i, buffer += 0x800)
    std::memcpy(rig.guest->memory().data() + rig.guest->rx_ring() + i * 16, &buffer, sizeof buffer);
  ASSERT_EQ(rig.arrive(frame_to_us(5000)), 1u);
  EXPECT_EQ(rig.guest->read(kRdh), 402u);
  EXPECT_EQ(rig.nic->nic_counters().rx_guest_fault.get(), 0u);
}

TEST(E1000RxRing, NullBuffersAmongThoseOfAFrameArePassedOver) {
  OwnRing rig{8};
  rig.give(1, 0);
  rig.give(3, 0);
  for (const std::uint32_t offset : {kRdbal, kRdlen, kRdt})
    rig.tell(offset);
  rig.guest->write(kRctl, 0x8002 | kSecrc | kLpe);
  ASSERT_EQ(rig.arrive(frame_to_us(5000)), 1u);
  EXPECT_EQ(rig.status(3), kDd);
  EXPECT_EQ(rig.status(4) & (kDd | kEop), kDd | kEop);
  Bytes got = rig.take_from(0);
  for (const unsigned index : {2u, 4u}) {
    const Bytes more = rig.take_from(index);
    got.insert(got.end(), more.begin(), more.end());
  }
  EXPECT_EQ(got, frame_to_us(5000));
}

TEST(E1000RxRing, FrameOfMoreBuffersThanTheRingComesInParts) {
  E1000Rig rig;
  rig.guest->bring_up({.rx_descriptors = 8, .buffer_code = 3, .receive_bits = kLpe});  // 256 bytes each
  const std::uint64_t last = kBuffers + 7 * 0x4000;  // the one that is not given at first
  std::memcpy(rig.guest->memory().data() + rig.guest->rx_ring() + 7 * 16, &last, sizeof last);
  ASSERT_EQ(rig.arrive(frame_to_us(9000)), 1u);
  ASSERT_EQ(rig.arrive(frame_to_us(100)), 1u);
  Bytes got;
  std::uint8_t status = 0;
  for (unsigned index = 0; (status & kEop) == 0 && index < 100; ++index) {
    const std::uint64_t at = rig.guest->rx_ring() + index % 8 * 16;
    status = std::to_integer<std::uint8_t>(rig.guest->memory()[at + 12]);
    ASSERT_EQ(status & kDd, kDd) << index;
    const std::size_t size = std::min<std::size_t>(256, 9000 - got.size());
    const auto data = rig.guest->memory().subspan(kBuffers + index % 8 * 0x4000, size);
    got.insert(got.end(), data.begin(), data.end());
    rig.guest->memory()[at + 12] = std::byte{0};
    rig.guest->write(kRdt, index % 8);  // given back at once
  }
  EXPECT_EQ(got, frame_to_us(9000));
  EXPECT_EQ(rig.guest->read(0x4010), 0u);  // MPC
}

// --- the FCS: 13.4.22 SECRC ---

std::uint32_t fcs_of(const Bytes& frame) {
  std::uint32_t rest = ~0u;
  for (const std::byte byte : frame) {
    rest ^= std::to_integer<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit)
      rest = (rest >> 1) ^ ((rest & 1) != 0 ? 0xedb8'8320 : 0);
  }
  return ~rest;
}
/// `stored` and behind it the FCS of `on_wire`.
Bytes with_fcs(Bytes stored, const Bytes& on_wire) {
  const std::uint32_t fcs = fcs_of(on_wire);
  for (unsigned i = 0; i < 4; ++i)
    stored.push_back(std::byte((fcs >> (8 * i)) & 0xff));
  return stored;
}

class E1000RxFcs : public testing::TestWithParam<unsigned> {};
TEST_P(E1000RxFcs, FollowsTheFrameUnlessItIsStripped) {
  E1000Rig rig;
  rig.guest->bring_up({.buffer_code = 3, .receive_bits = kLpe, .strip_crc = false});
  static_cast<void>(rig.arrive(frame_to_us(GetParam())));
  Bytes on_wire = frame_to_us(GetParam());
  if (on_wire.size() < 60) on_wire.resize(60);
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->bytes, with_fcs(on_wire, on_wire));
  EXPECT_EQ(got->descriptors, (on_wire.size() + 4 + 255) / 256);
}
// 252: fits one buffer; 253 to 255: the FCS lies in two; 256: alone in the second.
INSTANTIATE_TEST_SUITE_P(Sizes, E1000RxFcs, testing::Values(20, 60, 100, 252, 253, 255, 256, 257, 1514, 9014));

TEST(E1000Rx, FcsIsOfTheTagToo) {
  E1000Rig rig;
  rig.guest->bring_up({.control_bits = kVme, .strip_crc = false});
  Bytes tagged = frame_to_us(100);
  const Bytes tag = bytes_of({0x81, 0x00, 0x20, 0x05});
  tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
  static_cast<void>(rig.arrive(tagged));
  EXPECT_EQ(rig.guest->receive().value().bytes, with_fcs(frame_to_us(100), tagged));
  packet::Offload offload;
  offload.has_vlan = true;
  offload.vlan_tci = 0x2005;
  static_cast<void>(rig.arrive(frame_to_us(100), offload));
  EXPECT_EQ(rig.guest->receive().value().bytes, with_fcs(frame_to_us(100), tagged));
}

TEST(E1000Rx, FcsWaitsInTheFifoWithItsFrame) {
  E1000Rig rig;
  rig.guest->bring_up({.rx_descriptors = 8, .strip_crc = false});
  for (unsigned i = 0; i < 9; ++i)
    ASSERT_EQ(rig.arrive(frame_to_us(100 + i)), 1u);
  for (unsigned i = 0; i < 7; ++i)
    static_cast<void>(rig.guest->receive());
  rig.guest->refill();
  EXPECT_EQ(rig.guest->receive().value().bytes, with_fcs(frame_to_us(107), frame_to_us(107)));
}

// --- tags: 13.4.12 VET ---

struct Vet {
  const char* name;
  std::uint32_t vet;
  unsigned type;  // of the tag that comes
  bool is_beside, strips;
};
void PrintTo(const Vet& row, std::ostream* out) { *out << row.name; }
class E1000RxVet : public testing::TestWithParam<Vet> {};
TEST_P(E1000RxVet, SaysWhatATagIs) {
  E1000Rig rig;
  rig.guest->bring_up({.control_bits = kVme});
  rig.guest->write(0x38, GetParam().vet);
  Bytes tagged = frame_to_us(100);
  const Bytes tag = bytes_of({GetParam().type >> 8, GetParam().type & 0xff, 0x20, 0x05});
  tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
  packet::Offload offload;
  offload.has_vlan = GetParam().is_beside;
  offload.vlan_tci = GetParam().is_beside ? 0x2005 : 0;
  static_cast<void>(rig.arrive(GetParam().is_beside ? frame_to_us(100) : tagged, offload));
  const auto got = rig.guest->receive();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->bytes, GetParam().strips ? frame_to_us(100) : tagged);
  EXPECT_EQ((got->status & kVp) != 0, GetParam().strips);
}
INSTANTIATE_TEST_SUITE_P(Types, E1000RxVet,
                         testing::Values(Vet{"usual", 0x8100, 0x8100, false, true},
                                         Vet{"usual_beside", 0x8100, 0x8100, true, true},
                                         Vet{"service", 0x88a8, 0x88a8, false, true},
                                         Vet{"usual_where_service_is_meant", 0x88a8, 0x8100, false, false},
                                         Vet{"usual_beside_where_service_is_meant", 0x88a8, 0x8100, true, false},
                                         Vet{"service_where_usual_is_meant", 0x8100, 0x88a8, false, false}),
                         [](const auto& row) { return row.param.name; });

TEST(E1000Rx, FilterLooksAtTagsOfVetsTypeOnly) {
  E1000Rig rig;
  rig.guest->bring_up({.receive_bits = kVfe, .control_bits = kVme});
  rig.guest->write(0x38, 0x88a8);
  packet::Offload offload;
  offload.has_vlan = true;
  offload.vlan_tci = 5;
  static_cast<void>(rig.arrive(frame_to_us(100), offload));
  EXPECT_TRUE(rig.guest->receive().has_value());
}

}  // namespace
}  // namespace vmux::rigs
