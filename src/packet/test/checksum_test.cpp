// SPDX-License-Identifier: BSD-3-Clause
#include "packet/sum/checksum.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <random>

#include "packet/sum/short_sum.hpp"
#include "packet/sum/sum_kernels.hpp"
#include "packet/test/test_frames.hpp"
#include "vmux/base/le.hpp"

namespace vmux::packet {
namespace {

using test::Bytes;

std::uint16_t checksum_in_chunks(const Bytes& bytes, std::size_t chunk) {
  Checksum sum;
  for (std::size_t at = 0; at < bytes.size(); at += chunk) {
    sum.add(test::slice(bytes).subspan(at, std::min(chunk, bytes.size() - at)));
  }
  return sum.finish();
}

class ChecksumOfLength : public testing::TestWithParam<std::size_t> {};

TEST_P(ChecksumOfLength, EqualsThePlainSum) {
  const Bytes bytes = test::pattern(GetParam(), 7);
  Checksum sum;
  sum.add(test::slice(bytes));
  EXPECT_EQ(sum.finish(), static_cast<std::uint16_t>(~test::plain_sum(bytes)));
}

TEST_P(ChecksumOfLength, IsFoundRightInAFewStepsToo) {
  Bytes bytes = test::pattern(GetParam(), 7);
  const auto sum = static_cast<std::uint16_t>(~test::plain_sum(bytes));
  test::append16(bytes, GetParam() % 2 == 0 ? sum : byteswap(sum));  // behind an odd byte each stands in the other half
  const auto is_right = [&bytes] { return is_all_ones(short_sum(test::slice(bytes).data(), bytes.size())); };
  EXPECT_TRUE(is_right());
  bytes[bytes.size() / 2] ^= 0x10;
  EXPECT_FALSE(is_right());
  std::ranges::fill(bytes, std::uint8_t{0});
  EXPECT_FALSE(is_right());
}

TEST_P(ChecksumOfLength, IsTheSameWhileCopyingAndCopiesEveryByte) {
  const Bytes bytes = test::pattern(GetParam(), 9);
  Bytes copy(bytes.size());
  Checksum sum;
  sum.copy(std::as_writable_bytes(std::span{copy}), test::slice(bytes));
  EXPECT_EQ(copy, bytes);
  EXPECT_EQ(sum.finish(), static_cast<std::uint16_t>(~test::plain_sum(bytes)));
}

TEST_P(ChecksumOfLength, DoesNotDependOnHowTheBytesAreCut) {
  const Bytes bytes = test::pattern(GetParam(), 11);
  const auto expected = static_cast<std::uint16_t>(~test::plain_sum(bytes));
  EXPECT_EQ(checksum_in_chunks(bytes, 1), expected);
  EXPECT_EQ(checksum_in_chunks(bytes, 3), expected);
  EXPECT_EQ(checksum_in_chunks(bytes, 67), expected);
  EXPECT_EQ(checksum_in_chunks(bytes, 301), expected);
}

TEST_P(ChecksumOfLength, CarriesAllTheWayWhenEveryBitIsSet) {
  const Bytes bytes(GetParam(), 0xff);
  Checksum sum;
  sum.add(test::slice(bytes));
  EXPECT_EQ(sum.finish(), static_cast<std::uint16_t>(~test::plain_sum(bytes)));
}

TEST_P(ChecksumOfLength, CarriesAllTheWayWhileCopyingToo) {
  const Bytes bytes(GetParam(), 0xff);
  Bytes copy(bytes.size());
  Checksum sum;
  sum.copy(std::as_writable_bytes(std::span{copy}), test::slice(bytes));
  EXPECT_EQ(sum.finish(), static_cast<std::uint16_t>(~test::plain_sum(bytes)));
}

INSTANTIATE_TEST_SUITE_P(Lengths, ChecksumOfLength,
                         testing::Values(0, 1, 2, 3, 7, 8, 9, 20, 31, 32, 33, 63, 64, 65, 127, 128, 129, 191, 192, 255,
                                         1459, 1460, 1500, 9001, 65535));

TEST(Checksum, CopiesAnyNumberOfBytesFromAnywhereToAnywhereAndNoneBeside) {
  constexpr std::uint8_t kGuard = 0xa5;
  std::minstd_rand random{5};
  const Bytes source = test::pattern(4096, 13);
  for (unsigned round = 0; round < 3000; ++round) {
    const std::size_t from = random() % 64, to = random() % 64, size = random() % (round % 2 == 0 ? 300 : 3900);
    Bytes room(to + size + 64, kGuard);
    const Slice bytes = test::slice(source).subspan(from, size);
    const auto stored = std::as_writable_bytes(std::span{room}).subspan(to, size);
    Checksum sum;
    for (std::size_t at = 0; at < size;) {  // in pieces, as it goes into buffers
      const std::size_t part = std::min<std::size_t>(size - at, 1 + random() % 2000);
      sum.copy(stored.subspan(at), bytes.subspan(at, part));
      at += part;
    }
    ASSERT_TRUE(std::ranges::equal(stored, bytes)) << round;
    const auto sent = std::span{source}.subspan(from, size);
    ASSERT_EQ(sum.partial(), test::plain_sum(Bytes{sent.begin(), sent.end()})) << round;
    ASSERT_EQ(std::ranges::count(std::span{room}.first(to), kGuard), to);
    ASSERT_EQ(std::ranges::count(std::span{room}.subspan(to + size), kGuard), 64);
  }
}

class SumUnit : public testing::TestWithParam<sum::Unit> {
 protected:
  void SetUp() override {
    if (!sum::is_there(GetParam())) GTEST_SKIP() << "this machine has no such unit";
  }
};

// The reference is a loop over bytes; a byte's neighbours in the buffers must stay as they are.
TEST_P(SumUnit, AddsAndCopiesEveryLengthAtEveryPlaceInALine) {
  constexpr std::uint8_t kGuard = 0xa5;
  const Bytes source = test::pattern(2048, 19);
  Bytes next(2048, 0);
  for (std::size_t size = 0; size <= 700; ++size) {
    const std::size_t from = (size * 7) % 64, to = (size * 13 + size / 64) % 64;
    Bytes room(to + size + 130, kGuard);
    const Slice bytes = test::slice(source).subspan(from, size);
    const auto stored = std::as_writable_bytes(std::span{room}).subspan(to, size);
    const Ahead ahead{test::slice(next).data(), std::as_writable_bytes(std::span{next}).data(),
                      size % 3 == 0 ? 0 : size};
    const std::uint64_t whole = sum::run(GetParam(), nullptr, bytes.data(), size, {});
    ASSERT_EQ(sum::run(GetParam(), stored.data(), bytes.data(), size, ahead), whole) << size;
    std::uint64_t expected = 0;  // modulo 0xffff, as words of this machine
    for (std::size_t i = 0; i < size; ++i)
      expected += std::uint64_t{source[from + i]}
                  << ((i % 2 == 0) == (std::endian::native == std::endian::little) ? 0 : 8);
    ASSERT_EQ(whole % 0xffff, expected % 0xffff) << size;
    ASSERT_TRUE(std::ranges::equal(stored, bytes)) << size;
    ASSERT_EQ(std::ranges::count(std::span{room}.first(to), kGuard), to) << size;
    ASSERT_EQ(std::ranges::count(std::span{room}.subspan(to + size), kGuard), 130) << size;
  }
  EXPECT_EQ(std::ranges::count(next, 0), 2048);
}

TEST_P(SumUnit, LosesNoCarry) {
  for (const std::size_t size : {63u, 64u, 128u, 1500u, 65536u}) {
    const Bytes bytes(size, 0xff);
    const std::uint64_t whole = sum::run(GetParam(), nullptr, test::slice(bytes).data(), size, {});
    EXPECT_NE(whole, 0u);
    EXPECT_EQ(whole % 0xffff, size % 2 == 0 ? 0u : std::endian::native == std::endian::little ? 0xffu : 0xff00u);
  }
}

INSTANTIATE_TEST_SUITE_P(Units, SumUnit, testing::Values(sum::Unit::words, sum::Unit::avx2, sum::Unit::avx512));

TEST(Checksum, AddsWhatItStoresEvenWhereTheTwoOverlap) {
  for (const std::size_t size : {1u, 7u, 40u, 127u, 128u, 333u, 1460u}) {
    for (int distance = -140; distance <= 140; ++distance) {
      Bytes room = test::pattern(2048, 17);
      const Bytes before = room;
      const std::size_t from = 200, to = from + static_cast<std::size_t>(distance);
      Checksum sum;
      sum.copy(std::as_writable_bytes(std::span{room}).subspan(to, size), test::slice(room).subspan(from, size));
      const auto stored = std::span{room}.subspan(to, size);
      ASSERT_EQ(sum.partial(), test::plain_sum(Bytes{stored.begin(), stored.end()})) << size << ' ' << distance;
      ASSERT_TRUE(std::ranges::equal(std::span{room}.first(to), std::span{before}.first(to)));
      ASSERT_TRUE(std::ranges::equal(std::span{room}.subspan(to + size), std::span{before}.subspan(to + size)));
    }
  }
}

TEST(Checksum, MatchesTheExampleOfRfc1071) {  // section 3
  const Bytes bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  Checksum sum;
  sum.add(test::slice(bytes));
  EXPECT_EQ(sum.partial(), 0xddf2);
  EXPECT_EQ(sum.finish(), 0x220d);
}

TEST(Ipv4HeaderChecksum, LeavesTheFieldItselfOut) {
  Bytes header{0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7};
  EXPECT_EQ(ipv4_header_checksum(test::slice(header)), 0xb861);
  header[10] = header[11] = 0;
  EXPECT_EQ(ipv4_header_checksum(test::slice(header)), 0xb861);
}

}  // namespace
}  // namespace vmux::packet
