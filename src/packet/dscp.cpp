// SPDX-License-Identifier: BSD-3-Clause
#include "packet/dscp.hpp"

#include "packet/bytes.hpp"

namespace vmux::packet {
namespace {

constexpr unsigned kEcn = 3;  // bits

// RFC 1624, equation 3: HC' = ~(~HC + ~m + m').
std::uint16_t corrected(std::uint16_t checksum, std::uint16_t before, std::uint16_t now) noexcept {
  std::uint32_t sum = static_cast<std::uint16_t>(~checksum);
  sum += static_cast<std::uint16_t>(~before);
  sum += now;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

}  // namespace

void set_dscp(std::span<std::byte> header, const Headers& headers, std::uint8_t dscp) noexcept {
  const std::size_t at = headers.l3_offset;
  const std::uint16_t before = headers.l3 == L3::other ? std::uint16_t{0} : get16(header, at);
  if (headers.l3 == L3::ipv4) {
    constexpr std::size_t kChecksum = 10;
    const auto now = static_cast<std::uint16_t>((before & (0xff00u | kEcn)) | static_cast<unsigned>(dscp) << 2);
    put16(header, at, now);
    put16(header, at + kChecksum, corrected(get16(header, at + kChecksum), before, now));
  } else if (headers.l3 == L3::ipv6) {  // behind four bits of version
    put16(header, at, static_cast<std::uint16_t>((before & (0xf00fu | kEcn << 4)) | static_cast<unsigned>(dscp) << 6));
  }
}

}  // namespace vmux::packet
