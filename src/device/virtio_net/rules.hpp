// SPDX-License-Identifier: BSD-3-Clause
// What becomes of a frame that arrives: is it for this station, which queue takes it, what was hashed. A value that
// control makes anew when something changes, immutable then. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "intel/rules/filter.hpp"
#include "intel/rules/rss.hpp"
#include "packet/frame.hpp"
#include "wire/virtio.hpp"

namespace vmux::device::virtio_net {

using intel::Toeplitz;

inline constexpr unsigned kMaxPairs = 16;
inline constexpr std::size_t kHashKey = 40, kMaxTable = 128;  ///< bytes, entries; Linux takes no other key
inline constexpr std::uint32_t kHashTypes = wire::virtio::net::hash::ipv4 | wire::virtio::net::hash::tcpv4 |
                                            wire::virtio::net::hash::udpv4 | wire::virtio::net::hash::ipv6 |
                                            wire::virtio::net::hash::tcpv6 | wire::virtio::net::hash::udpv6;

struct RxRules {
  bool takes_all = true;  ///< promiscuous: whatever address and tag
  intel::Filters filters;

  std::uint32_t hash_types = 0;              ///< of kHashTypes; 0: nothing is hashed
  std::shared_ptr<const Toeplitz> toeplitz;  ///< where there are any
  bool has_rss = false;
  std::uint16_t unclassified = 0, table_mask = 0;
  std::array<std::uint16_t, kMaxTable> table{};  ///< receive queues by hash

  std::uint16_t pairs = 1;  ///< in use, from 0 on
};

struct RxInfo {
  static constexpr std::uint16_t kNobody = 0xffff;  ///< filtered
  std::uint16_t queue = kNobody;
  std::uint16_t report = wire::virtio::net::hash::report_none;
  std::uint32_t hash = 0;
};

/// Fills one info per frame.
void steer(const RxRules& rules, std::span<const packet::FrameView> frames, std::span<RxInfo> into) noexcept;

/// The table that a hash goes by, for a key of the specification's length.
[[nodiscard]] std::shared_ptr<const Toeplitz> toeplitz_of(const std::array<std::uint8_t, kHashKey>& key);

}  // namespace vmux::device::virtio_net
