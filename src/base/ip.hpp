// SPDX-License-Identifier: BSD-3-Clause
// An IPv4 or IPv6 address. Pure.
#pragma once

#include <array>
#include <compare>
#include <cstdint>

namespace vmux {

struct IpAddress {
  bool is_v6 = false;
  std::array<std::uint8_t, 16> bytes{};  ///< in the order of the wire; of IPv4 the first four
  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

}  // namespace vmux
