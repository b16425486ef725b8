// SPDX-License-Identifier: BSD-3-Clause
#include "packet/flow.hpp"

#include "packet/bytes.hpp"
#include "packet/headers.hpp"

namespace vmux::packet {

std::uint32_t flow_hash(Slice header) noexcept {
  const auto headers = parse(header);
  if (!headers || headers->l3 == L3::other) return 0;
  const bool v4 = headers->l3 == L3::ipv4;
  const Slice addresses = header.subspan(headers->l3_offset + (v4 ? 12u : 8u), v4 ? 8 : 32);
  std::uint64_t hash = 0;
  const auto mix = [&hash](std::uint32_t word) { hash = (hash ^ word) * 0x9e37'79b9'7f4a'7c15ull; };
  for (std::size_t at = 0; at < addresses.size(); at += 4)
    mix(get32(addresses, at));
  if (headers->l4_offset != 0 && !headers->is_fragment) mix(get32(header, headers->l4_offset));
  return static_cast<std::uint32_t>(hash >> 32);
}

}  // namespace vmux::packet
