// SPDX-License-Identifier: BSD-3-Clause
// Are the checksums of an arriving frame right? Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "device/iavf/steer.hpp"
#include "packet/frame.hpp"

namespace vmux::device::iavf {

/// What a write-back says about checksums.
struct Verdict {
  bool is_checked = false, is_ip_bad = false, is_l4_bad = false;
};

/// `header`: the frame's first bytes, ours. `stored`: the whole frame as it lies in the guest's buffers now (in the
/// guest's reach: what it changes there, it tells itself). `shift`: bytes that `header` has more in front of L3 than
/// when `info` was made; `removed`: bytes cut out of `stored`. `is_verified`: L4 is known to be right.
[[nodiscard]] Verdict verify(packet::Slice header, std::span<const std::span<std::byte>> stored, const RxInfo& info,
                             std::uint32_t length, std::uint32_t shift, std::uint32_t removed,
                             bool is_verified) noexcept;

}  // namespace vmux::device::iavf
