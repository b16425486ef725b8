// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/state/undo_log.hpp"

#include <algorithm>

namespace vmux::state {
namespace {

constexpr std::size_t kWord = sizeof(std::uint32_t);

}  // namespace

// The entry is there before it counts, and it counts before the word changes.
void UndoLog::note_bytes(const std::byte* at, std::size_t size) noexcept {
  const auto offset = static_cast<std::size_t>(at - object_.data());
  for (std::size_t word = offset / kWord; word * kWord < offset + size; ++word) {
    if (words_.is_whole != 0) return;
    if (words_.count == UndoWords::kMost) return note_all();
    UndoWords::Entry& entry = words_.entries[words_.count];
    entry.offset = static_cast<std::uint32_t>(word * kWord);
    std::memcpy(&entry.before, object_.data() + word * kWord, std::min(kWord, object_.size() - word * kWord));
    keep_order();
    ++words_.count;
    keep_order();
  }
}

void UndoLog::note_all() noexcept {
  if (!is_active_ || words_.is_whole != 0) return;
  std::ranges::copy(object_, whole_.begin());
  keep_order();
  words_.is_whole = 1;
  keep_order();
}

// Newest first: of a word that was noted twice the older note counts. What was noted before all of it was kept is older
// than that.
bool UndoLog::undo(std::uint64_t round) noexcept {
  if (words_.round != round) return true;
  if (words_.count > UndoWords::kMost || words_.is_whole > 1) return false;
  if (words_.is_whole != 0) std::ranges::copy(whole_, object_.begin());
  for (std::uint32_t i = words_.count; i > 0; --i) {
    const UndoWords::Entry& entry = words_.entries[i - 1];
    if (entry.offset % kWord != 0 || entry.offset >= object_.size()) return false;
    std::memcpy(object_.data() + entry.offset, &entry.before, std::min(kWord, object_.size() - entry.offset));
  }
  return true;
}

}  // namespace vmux::state
