// SPDX-License-Identifier: BSD-3-Clause
// Big-endian fields of a header at a byte offset. The caller has checked that they lie inside.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "packet/frame.hpp"
#include "vmux/base/le.hpp"

namespace vmux::packet {

[[nodiscard]] inline std::uint8_t get8(Slice bytes, std::size_t at) noexcept {
  return static_cast<std::uint8_t>(bytes[at]);
}
[[nodiscard]] inline std::uint16_t get16(Slice bytes, std::size_t at) noexcept {
  Be<std::uint16_t> value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}
[[nodiscard]] inline std::uint32_t get32(Slice bytes, std::size_t at) noexcept {
  Be<std::uint32_t> value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}
inline void put8(std::span<std::byte> bytes, std::size_t at, std::uint8_t value) noexcept {
  bytes[at] = static_cast<std::byte>(value);
}
inline void put16(std::span<std::byte> bytes, std::size_t at, std::uint16_t value) noexcept {
  const Be<std::uint16_t> wire = value;
  std::memcpy(bytes.data() + at, &wire, sizeof wire);
}
inline void put32(std::span<std::byte> bytes, std::size_t at, std::uint32_t value) noexcept {
  const Be<std::uint32_t> wire = value;
  std::memcpy(bytes.data() + at, &wire, sizeof wire);
}

}  // namespace vmux::packet
