// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/memory/guest_memory.hpp"

#include <algorithm>
#include <utility>

#include "memory/table.hpp"

namespace vmux::memory {
namespace {

/// The part of [at, at + left) that lies in one window which allows `want` directly; empty when there is none.
struct Piece {
  const Window* window = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

Piece piece_at(const Table* table, std::uint64_t at, std::uint64_t left, Access want) noexcept {
  const Window* window = table != nullptr ? table->find(at) : nullptr;
  if (window == nullptr || window->host == nullptr || !allows(window->access, want)) return {};
  const std::uint64_t offset = at - window->start;
  return {window, offset, std::min(left, window->size - offset)};
}

bool covered(const Table* table, std::uint64_t at, std::uint64_t length, Access want) noexcept {
  if (length != 0 && at + (length - 1) < at) return false;
  while (length != 0) {
    const Piece piece = piece_at(table, at, length, want);
    if (piece.window == nullptr) return false;
    at += piece.size;
    length -= piece.size;
  }
  return true;
}

}  // namespace

void GuestMemory::adopt(std::shared_ptr<const Table> table) noexcept {
  last_ = {};
  table_ = std::move(table);
}

bool GuestMemory::read_slow(Iova at, std::span<std::byte> into) noexcept {
  if (!into.empty() && at.raw + (into.size() - 1) < at.raw) return false;
  while (!into.empty()) {
    const Piece piece = piece_at(table_.get(), at.raw, into.size(), Access::read);
    if (piece.window == nullptr) return false;
    last_ = *piece.window;
    std::memcpy(into.data(), piece.window->host + piece.offset, piece.size);
    at.raw += piece.size;
    into = into.subspan(piece.size);
  }
  return true;
}

bool GuestMemory::write_slow(Iova at, std::span<const std::byte> from) noexcept {
  if (!covered(table_.get(), at.raw, from.size(), Access::write)) return false;
  while (!from.empty()) {
    const Piece piece = piece_at(table_.get(), at.raw, from.size(), Access::write);
    if (piece.window == nullptr) return false;  // cannot be: all of it is covered
    last_ = *piece.window;
    std::memcpy(piece.window->host + piece.offset, from.data(), piece.size);
    // After the bytes: were it before, a client could take the bit, copy the old page, and miss the write.
    if (piece.window->dirty != nullptr) mark_dirty(*piece.window, piece.offset, piece.size);
    at.raw += piece.size;
    from = from.subspan(piece.size);
  }
  return true;
}

std::span<std::byte> GuestMemory::borrow_slow(Iova at, ByteCount length, Access want) noexcept {
  const Piece piece = piece_at(table_.get(), at.raw, length.raw, want);
  if (piece.window == nullptr) return {};
  last_ = *piece.window;
  if (want == Access::write && piece.window->dirty != nullptr) mark_dirty(*piece.window, piece.offset, piece.size);
  return {piece.window->host + piece.offset, piece.size};
}

bool GuestMemory::covers(Iova at, ByteCount length, Access access) noexcept {
  return hit(at, length.raw, access) != nullptr || covered(table_.get(), at.raw, length.raw, access);
}

}  // namespace vmux::memory
