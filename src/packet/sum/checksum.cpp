// SPDX-License-Identifier: BSD-3-Clause
#include "packet/sum/checksum.hpp"

#include <bit>

#include "packet/sum/sum_kernels.hpp"
#include "vmux/base/le.hpp"

namespace vmux::packet {
namespace {

constexpr std::uint16_t fold(std::uint64_t sum) noexcept {
  sum = (sum & 0xffff'ffff) + (sum >> 32);
  sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>((sum & 0xffff) + (sum >> 16));
}

constexpr std::uint16_t to_host(std::uint16_t word) noexcept {
  return std::endian::native == std::endian::little ? byteswap(word) : word;
}

}  // namespace

void Checksum::join(std::uint64_t chunk, std::size_t size) noexcept {
  sum_ = sum::plus(sum_, odd_ ? byteswap(fold(chunk)) : chunk);
  odd_ ^= (size & 1) != 0;
}

void Checksum::add(Slice bytes) noexcept { join(sum::run(nullptr, bytes.data(), bytes.size(), {}), bytes.size()); }

void Checksum::copy(std::span<std::byte> to, Slice from, const Ahead& ahead) noexcept {
  join(sum::run(to.data(), from.data(), from.size(), ahead), from.size());
}

std::uint16_t Checksum::partial() const noexcept { return to_host(fold(sum_)); }

std::uint16_t Checksum::finish() const noexcept { return static_cast<std::uint16_t>(~partial()); }

std::uint16_t ipv4_header_checksum(Slice header) noexcept {
  constexpr std::size_t kField = 10;  // RFC 791 3.1
  Checksum sum;
  sum.add(header.first(kField));
  sum.add(header.subspan(kField + 2));
  return sum.finish();
}

}  // namespace vmux::packet
