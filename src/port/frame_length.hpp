// SPDX-License-Identifier: BSD-3-Clause
// How long a frame may be on a link of a given MTU: one rule for every backend (README.md has the others).
#pragma once

#include <cstdint>

namespace vmux::port {

inline constexpr std::uint32_t kEthernetHeader = 14;  // bytes: two addresses and a type
inline constexpr std::uint32_t kVlanTag = 4;          // bytes
/// A customer's tag behind a provider's (IEEE 802.1Q 9.6, 802.1ad): an MTU counts neither.
inline constexpr std::uint32_t kTagsBesideMtu = 2;

/// Bytes of the longest frame, FCS not counted, that a link whose MTU counts what follows headers and tags carries.
[[nodiscard]] constexpr std::uint32_t max_frame_of(std::uint32_t mtu) noexcept {
  return mtu + kEthernetHeader + kTagsBesideMtu * kVlanTag;
}

}  // namespace vmux::port
