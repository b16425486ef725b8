// SPDX-License-Identifier: BSD-3-Clause
// Which of the two protocols the first bytes of a connection belong to: both begin with a header and are spoken over
// sockets that look alike, and a VMM's line for the one is easily given the socket of the other. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

#include "wire/vfio_user.hpp"
#include "wire/vhost_user.hpp"

namespace vmux::wire {

/// A request of vhost-user, which no client of vfio-user begins with: as a header of that one it would have command 0.
[[nodiscard]] inline bool begins_vhost_user(std::span<const std::byte> bytes) noexcept {
  vhost_user::Header header;
  if (bytes.size() < sizeof header) return false;
  std::memcpy(&header, bytes.data(), sizeof header);
  return header.request != 0u && header.request < vhost_user::kRequestLimit &&
         (header.flags & vhost_user::header_flags::kVersionMask) == vhost_user::header_flags::kVersion &&
         header.size <= 4096u;
}

/// VERSION of vfio-user, which no front end of vhost-user begins with: as a header of that one it would have a request
/// far beyond those that there are.
[[nodiscard]] inline bool begins_vfio_user(std::span<const std::byte> bytes) noexcept {
  vfio_user::Header header;
  constexpr std::size_t kFirst = 12;  // of its bytes are enough: a header of vhost-user has no more
  if (bytes.size() < kFirst) return false;
  std::array<std::byte, sizeof header> first{};
  std::memcpy(first.data(), bytes.data(), kFirst);
  std::memcpy(&header, first.data(), sizeof header);
  return header.command == static_cast<std::uint16_t>(vfio_user::Command::version) && header.size >= sizeof header &&
         header.size <= 65536u && (header.flags & vfio_user::header_flags::kTypeMask) == 0;
}

}  // namespace vmux::wire
