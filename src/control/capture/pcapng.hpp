// SPDX-License-Identifier: BSD-3-Clause
// Blocks of a pcapng file (draft-ietf-opsawg-pcapng), little-endian, of Ethernet frames with times in nanoseconds.
// Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vmux::control::pcapng {

using Bytes = std::vector<std::byte>;

/// 4.2. An interface has the number of its block in the section, from 0.
struct Interface {
  std::string name, description;
  std::string filter;         ///< as libpcap takes it; empty: none
  std::uint32_t snaplen = 0;  ///< bytes; 0: whole frames
};

/// 4.3. Times are nanoseconds since 1970, UTC.
struct Packet {
  std::uint32_t interface = 0;
  std::uint64_t time_ns = 0;
  std::span<const std::byte> bytes;
  std::uint32_t length = 0;  ///< of the whole frame
  bool is_outbound = false;
  std::optional<std::uint32_t> queue;  ///< nullopt: not told
  std::uint64_t missed = 0;            ///< frames that are not there, since the one before; 0: not told
  std::string_view comment;            ///< empty: none
};

/// 4.6
struct Statistics {
  std::uint32_t interface = 0;
  std::uint64_t time_ns = 0, begin_ns = 0;
  std::optional<std::uint64_t> end_ns;
  std::uint64_t received = 0, dropped = 0, accepted = 0, delivered = 0;  ///< frames
  std::string_view comment;
};

/// 4.1: what a file begins with.
void append_section(Bytes& to, std::string_view application);
void append(Bytes& to, const Interface& interface);
void append(Bytes& to, const Packet& packet);
void append(Bytes& to, const Statistics& statistics);

}  // namespace vmux::control::pcapng
