// SPDX-License-Identifier: BSD-3-Clause
// Whether a frame is too long for a link: of a super-frame that is cut, its pieces count.
#pragma once

#include <cstdint>

#include "packet/frame.hpp"

namespace vmux::switching {

inline constexpr std::uint32_t kTagBytes = 4;

/// Not a part of what is done for every frame.
[[nodiscard]] bool is_super_frame_too_long(const packet::FrameView& view, const packet::Accepts& accepts,
                                           std::uint32_t tag) noexcept;

/// For a receiver of Accepts::max_frame.
[[nodiscard]] inline bool is_too_long(const packet::FrameView& view, const packet::Accepts& accepts) noexcept {
  const std::uint32_t tag = view.offload.has_vlan ? kTagBytes : 0;
  if (view.offload.gso == packet::Gso::none) return view.length + tag > accepts.max_frame;
  return is_super_frame_too_long(view, accepts, tag);
}

}  // namespace vmux::switching
