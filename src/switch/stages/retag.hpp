// SPDX-License-Identifier: BSD-3-Clause
// Tags of ports that do not have those of the switch: service tags (IEEE 802.1ad), customers' tags that are kept behind
// one (QinQ), and VLANs that have other numbers there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "packet/frame.hpp"

namespace vmux::switching {

inline constexpr std::uint16_t kTypeVlan = 0x8100, kTypeServiceVlan = 0x88a8;  // IEEE 802.1Q table 9-1
inline constexpr std::uint32_t kMacBytes = 12, kVlanTagBytes = 4;

/// Puts a tag in front of what is behind the addresses. `room` is for the new header, as long as the view is used.
/// False, and nothing has changed: it is too short a header, or too long for the room.
bool push_tag(packet::FrameView& view, std::uint16_t type, std::uint16_t tci, std::span<std::byte> room) noexcept;

/// Takes the four bytes behind the addresses away. False, and nothing has changed: there are none.
bool pop_tag(packet::FrameView& view, std::span<std::byte> room) noexcept;

/// A tag that is beside the bytes goes into them, and a service tag in front of the bytes goes beside them, if
/// `has_service_tags`: then what is beside is the tag of the switch, and what is inside belongs to others. False: it
/// cannot be done.
bool retag_on_entry(packet::FrameView& view, bool has_service_tags, std::span<std::byte> room) noexcept;

}  // namespace vmux::switching
