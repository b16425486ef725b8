// SPDX-License-Identifier: BSD-3-Clause
#include "base/crc.hpp"

#include <gtest/gtest.h>

#include <random>
#include <span>
#include <vector>

namespace vmux {
namespace {

using Bytes = std::vector<std::byte>;
using Slice = std::span<const std::byte>;

/// Bit by bit, as the polynomial division is written down.
std::uint32_t slow(Slice bytes, std::uint32_t polynomial) {
  std::uint32_t rest = ~0u;
  for (const std::byte byte : bytes) {
    rest ^= std::to_integer<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit)
      rest = (rest >> 1) ^ ((rest & 1) != 0 ? polynomial : 0);
  }
  return ~rest;
}

Bytes random_bytes(std::size_t size, std::uint32_t seed) {
  std::mt19937 random{seed};
  Bytes bytes(size);
  for (std::byte& byte : bytes)
    byte = static_cast<std::byte>(random() & 0xff);
  return bytes;
}

template <class Crc>
std::uint32_t of(Slice bytes) {
  Crc crc;
  crc.add(bytes);
  return crc.finish();
}

Bytes check_string() {
  Bytes bytes;
  for (const char digit : {'1', '2', '3', '4', '5', '6', '7', '8', '9'})
    bytes.push_back(static_cast<std::byte>(digit));
  return bytes;
}

TEST(Crc, CheckStringHasThePublishedValues) {
  EXPECT_EQ(of<EthernetCrc>(check_string()), 0xcbf4'3926u);
  EXPECT_EQ(of<Crc32c>(check_string()), 0xe306'9283u);
}

TEST(Crc, EveryLengthAndPlaceAgreesWithTheSlowWay) {
  const Bytes bytes = random_bytes(700, 1);
  for (std::size_t size = 0; size < 600; ++size) {
    const Slice part = Slice{bytes}.subspan(size % 17, size);
    ASSERT_EQ(of<EthernetCrc>(part), slow(part, 0xedb8'8320)) << size;
    ASSERT_EQ(of<Crc32c>(part), slow(part, 0x82f6'3b78)) << size;
  }
}

TEST(Crc, PartsAddUpToTheWhole) {
  const Bytes bytes = random_bytes(2000, 2);
  const std::uint32_t whole = of<EthernetCrc>(bytes);
  for (std::size_t split = 0; split <= bytes.size(); split += 13) {
    EthernetCrc crc;
    crc.add(Slice{bytes}.first(split));
    crc.add(Slice{bytes}.subspan(split));
    ASSERT_EQ(crc.finish(), whole) << split;
  }
}

}  // namespace
}  // namespace vmux
