// SPDX-License-Identifier: BSD-3-Clause
// The class of service that an IP header asks for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "packet/headers.hpp"

namespace vmux::packet {

/// Gives the IP header of a frame this code point (RFC 2474 3; below 64), and leaves its ECN bits. The checksum of an
/// IPv4 header stays as right or as wrong as it was (RFC 1624). `headers` is parse(header); of what is not IP nothing
/// changes.
void set_dscp(std::span<std::byte> header, const Headers& headers, std::uint8_t dscp) noexcept;

}  // namespace vmux::packet
