// SPDX-License-Identifier: BSD-3-Clause
// Ordered accesses to the 16-bit words of a ring, by the guest's addresses. Such a word lies on two bytes, so in one
// range of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "vmux/memory/guest_memory.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::virtio {

[[nodiscard]] inline std::optional<std::uint16_t> load16(memory::GuestMemory& memory, Iova at) noexcept {
  const auto bytes = memory.borrow(at, ByteCount{2});
  if (bytes.size() != 2) return std::nullopt;
  return memory::load_acquire16(bytes, 0);
}
[[nodiscard]] inline bool store16(memory::GuestMemory& memory, Iova at, std::uint16_t value) noexcept {
  const auto bytes = memory.borrow_for_write(at, ByteCount{2});
  if (bytes.size() != 2) return false;
  memory::store_release16(bytes, 0, value);
  return true;
}
/// The 16 bytes of a descriptor, which lies on 16; nullptr: not there.
[[nodiscard]] inline const std::byte* borrow_descriptor(memory::GuestMemory& memory, Iova at) noexcept {
  const auto bytes = memory.borrow(at, ByteCount{16});
  return bytes.size() == 16 ? bytes.data() : nullptr;
}

}  // namespace vmux::virtio
