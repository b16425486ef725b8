// SPDX-License-Identifier: BSD-3-Clause
// Is the transport checksum of an arriving frame right? Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "intel/rules/steer.hpp"
#include "packet/frame.hpp"
#include "packet/sum/checksum.hpp"

namespace vmux::intel {

/// Whether the checksum at info.l4 (which must not be 0) is right. `header`: the frame's first bytes, ours. `stored`:
/// the whole frame as it lies in the guest's buffers now (in the guest's reach: what it changes there, it tells
/// itself). `shift`: bytes that `header` has more in front of L3 than when `info` was made; `removed`: bytes cut out of
/// `stored`.
[[nodiscard]] bool is_transport_right(packet::Slice header, std::span<const std::span<std::byte>> stored,
                                      const RxInfo& info, std::uint32_t length, std::uint32_t shift,
                                      std::uint32_t removed) noexcept;

/// Copies `payload`, the frame's bytes behind `header`, to `to`, and tells whether the checksum (of TCP or UDP, at
/// info.l4) is right: one pass, and what was checked is what was copied. The two may overlap. `ahead`: the next
/// payload.
[[nodiscard]] bool copy_and_verify(std::byte* to, packet::Slice header, packet::Slice payload, const RxInfo& info,
                                   const packet::Ahead& ahead) noexcept;

inline constexpr std::uint8_t kSctpNumber = 132;

/// The same for TCP and UDP when the whole frame lies in the view's header.
[[nodiscard]] bool is_short_transport_right(packet::Slice frame, const RxInfo& info) noexcept;

}  // namespace vmux::intel
