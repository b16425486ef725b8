// SPDX-License-Identifier: BSD-3-Clause
#include "preload/dma/message_memory.hpp"

#include <iterator>

#include "preload/vfio/object.hpp"

namespace vmux::preload {

std::byte* MessageMemory::find(Iova at, std::size_t size, bool writable) const noexcept {
  const auto after = pieces_.upper_bound(at.raw);
  if (after == pieces_.begin()) return nullptr;
  const DmaPiece& piece = std::prev(after)->second;
  if (!fits(at.raw - piece.iova, size, piece.memory.size)) return nullptr;
  if (writable ? !piece.writable : !piece.readable) return nullptr;
  return reinterpret_cast<std::byte*>(piece.memory.vaddr + (at.raw - piece.iova));
}

bool MessageMemory::read(Iova from, std::span<std::byte> into) noexcept {
  const std::byte* memory = find(from, into.size(), false);
  return memory != nullptr && copy_in(into.data(), memory, into.size());
}

bool MessageMemory::write(Iova to, std::span<const std::byte> from) noexcept {
  std::byte* memory = find(to, from.size(), true);
  return memory != nullptr && copy_out(memory, from.data(), from.size());
}

}  // namespace vmux::preload
