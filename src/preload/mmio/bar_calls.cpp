// SPDX-License-Identifier: BSD-3-Clause
#include "preload/mmio/bar_calls.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "preload/mmio/bar_maps.hpp"

namespace vmux::preload {
namespace {

// Newer than some copies of <sys/mman.h>.
constexpr int kMadvCollapse = 25;

std::uint64_t number(const void* address) { return reinterpret_cast<std::uint64_t>(address); }
void* pointer(std::uint64_t address) { return reinterpret_cast<void*>(address); }
long outcome(int result) { return result == 0 ? 0 : -errno; }
bool is_aligned(std::uint64_t address) { return address % kPage == 0; }

enum class Holes { end_it, are_told_at_the_end };  // what ENOMEM of memory that is not mapped does

/// One call about a range, stretch by stretch in the order of addresses: `bar(from, to)` inside one mapping,
/// `rest(from, to)` for what lies between. The first error ends it.
template <class Bar, class Rest>
long each_stretch(std::uint64_t start, std::uint64_t end, Holes holes, Bar bar, Rest rest) {
  BarMaps& maps = BarMaps::instance();
  long missing = 0;
  while (start < end) {
    const auto next = maps.next(start);
    const bool is_bar = next != maps.end() && next->first <= start;
    const std::uint64_t limit = next == maps.end() ? end : is_bar ? next->first + next->second.size : next->first;
    const std::uint64_t to = std::min(limit, end);
    const long result = is_bar ? bar(start, to) : rest(start, to);
    if (result == -ENOMEM && holes == Holes::are_told_at_the_end) {
      missing = result;
    } else if (result != 0) {
      return result;
    }
    start = to;
  }
  return missing;
}

/// `call(from, size)` for the stretches of memory below a mapping's part.
template <class Call>
long each_memory(std::uint64_t from, std::uint64_t to, Call call) {
  const auto entry = BarMaps::instance().find(from);
  const BarMapping& mapping = entry->second;
  const std::uint64_t offset = mapping.offset + (from - entry->first);
  for (const Device::Part& part : mapping.device->parts(mapping.region, offset, to - from)) {
    if (!part.is_memory) continue;
    if (const long error = call(from + (part.offset - offset), part.size); error != 0) return error;
  }
  return 0;
}

/// mprotect_fixup(): what stays as it is is not cut.
long protect_bar(std::uint64_t from, std::uint64_t to, int protection) {
  BarMaps& maps = BarMaps::instance();
  if (maps.find(from)->second.protection == protection) return 0;
  maps.cut(from);
  maps.cut(to);
  maps.find(from)->second.protection = protection;
  return each_memory(from, to, [&](std::uint64_t at, std::uint64_t size) {
    return outcome(::mprotect(pointer(at), size, protection));
  });
}

struct Advice {
  int advice, error;  ///< 0, or the errno
  unsigned set, clear;
};
constexpr std::array kAdvices = std::to_array<Advice>({
    {MADV_NORMAL, 0, 0, kRandom | kSequential},
    {MADV_RANDOM, 0, kRandom, kSequential},
    {MADV_SEQUENTIAL, 0, kSequential, kRandom},
    {MADV_WILLNEED, 0, 0, 0},
    {MADV_REMOVE, ENODEV, 0, 0},  // vfs_fallocate() of what is no regular file
    {MADV_DONTFORK, 0, kNotForked, 0},
    {MADV_DONTDUMP, 0, 0, 0},
    {MADV_KEEPONFORK, 0, 0, 0},
    {MADV_MERGEABLE, 0, 0, 0},
    {MADV_UNMERGEABLE, 0, 0, 0},
    {MADV_HUGEPAGE, 0, kHugePages, kNoHugePages},
    {MADV_NOHUGEPAGE, 0, kNoHugePages, kHugePages},
    {MADV_HWPOISON, EFAULT, 0, 0},
    {kMadvCollapse, EINVAL, 0, 0},
});

long advise_bar(std::uint64_t from, std::uint64_t to, int advice) {
  const auto row =
      std::find_if(kAdvices.begin(), kAdvices.end(), [&](const Advice& one) { return one.advice == advice; });
  // DONTNEED, FREE, COLD, PAGEOUT, POPULATE_*, DOFORK, DODUMP, WIPEONFORK: none of them for a VMA of this kind.
  if (row == kAdvices.end()) return -EINVAL;
  BarMaps& maps = BarMaps::instance();
  const BarMapping& mapping = maps.find(from)->second;
  if (advice == MADV_REMOVE && (mapping.protection & PROT_WRITE) == 0) return -EACCES;
  if (row->error != 0) return -row->error;
  const unsigned wanted = (mapping.advice & ~row->clear) | row->set;
  if (mapping.advice == wanted) return 0;
  maps.cut(from);
  maps.cut(to);
  maps.find(from)->second.advice = wanted;
  return (row->set & kNotForked) != 0 ? outcome(::madvise(pointer(from), to - from, MADV_DONTFORK)) : 0;
}

/// munmap() under the lock: nobody else gets the addresses before the records are gone.
long unmap(std::uint64_t start, std::uint64_t size, BarMaps::Released& released) {
  if (::munmap(pointer(start), size) != 0) return -errno;
  BarMaps::instance().erase(start, start + size, released);
  return 0;
}

struct Move {
  std::uint64_t from, old_size, new_size, to;
  int flags;
};

/// Where the flags say no before anything is looked at.
std::optional<long> check_move(const Move& move) {
  constexpr int known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
  const bool may_move = (move.flags & MREMAP_MAYMOVE) != 0;
  if ((move.flags & ~known) != 0 || !is_aligned(move.from) || move.new_size == 0) return -EINVAL;
  if ((move.flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0 && !may_move) return -EINVAL;
  if ((move.flags & MREMAP_DONTUNMAP) != 0) return -EINVAL;  // not for VM_DONTEXPAND
  if ((move.flags & MREMAP_FIXED) == 0) return std::nullopt;
  if (!is_aligned(move.to) || move.to + move.new_size < move.to) return -EINVAL;
  if (move.from + move.old_size > move.to && move.to + move.new_size > move.from) return -EINVAL;
  return std::nullopt;
}

/// The same BAR at another place; then the old one goes.
long move_bar(const Move& move, BarMaps::Released& released) {
  BarMaps& maps = BarMaps::instance();
  const auto entry = maps.find(move.from);
  BarMapping moved = entry->second;
  moved.offset += move.from - entry->first;
  moved.size = move.new_size;
  if (const int error = moved.device->lay_parts(move.to, moved.size, moved.protection, moved.region, moved.offset);
      error != 0) {
    return error;
  }
  if ((moved.advice & kNotForked) != 0) (void)::madvise(pointer(move.to), moved.size, MADV_DONTFORK);
  if (const long error = unmap(move.from, moved.size, released); error != 0) return error;
  maps.add(move.to, std::move(moved), released);
  return static_cast<long>(move.to);
}

long remap_bar(Move move, BarMaps::Released& released) {
  if (const auto refused = check_move(move)) return *refused;
  const bool is_fixed = (move.flags & MREMAP_FIXED) != 0;
  if (is_fixed) {
    if (const long error = unmap(move.to, move.new_size, released); error != 0) return error;
  }
  if (move.old_size > move.new_size || (!is_fixed && move.old_size == move.new_size)) {  // less, in its place
    const std::uint64_t rest = move.old_size - move.new_size;
    const long error = rest == 0 ? 0 : unmap(move.from + move.new_size, rest, released);
    if (error != 0 || !is_fixed) return error != 0 ? error : static_cast<long>(move.from);
    move.old_size = move.new_size;
  }
  BarMaps& maps = BarMaps::instance();
  const auto entry = maps.find(move.from);
  if (entry == maps.end() || move.old_size > entry->first + entry->second.size - move.from) return -EFAULT;
  return move.new_size > move.old_size ? -EFAULT : move_bar(move, released);
}

/// Memory of the program, with BARs behind its old end or at its new place.
long remap_memory(const Move& move, BarMaps::Released& released) {
  void* const moved = ::mremap(pointer(move.from), move.old_size, move.new_size, move.flags, pointer(move.to));
  if (moved == MAP_FAILED) return -errno;
  BarMaps& maps = BarMaps::instance();
  if (move.new_size < move.old_size) maps.erase(move.from + move.new_size, move.from + move.old_size, released);
  maps.erase(number(moved), number(moved) + move.new_size, released);
  return static_cast<long>(number(moved));
}

}  // namespace

bool may_hold_bar(const void* address, std::size_t length) noexcept {
  return BarMaps::instance().may_overlap(number(address), up_to_page(length));
}

long unmap_range(void* address, std::size_t length) {
  if (!is_aligned(number(address)) || length == 0) return -EINVAL;
  BarMaps::Released released;
  const std::lock_guard lock{BarMaps::instance().mutex()};
  return unmap(number(address), up_to_page(length), released);
}

long protect_range(void* address, std::size_t length, int protection) {
  // PROT_GROWSUP and PROT_GROWSDOWN are not for such a VMA either. Keys of memory protection do not reach the pages.
  constexpr int known = PROT_READ | PROT_WRITE | PROT_EXEC, kSemaphore = 8;
  if (!is_aligned(number(address)) || (protection & ~(known | kSemaphore)) != 0) return -EINVAL;
  const std::lock_guard lock{BarMaps::instance().mutex()};
  return each_stretch(
      number(address), number(address) + up_to_page(length), Holes::end_it,
      [&](std::uint64_t from, std::uint64_t to) { return protect_bar(from, to, protection & known); },
      [&](std::uint64_t from, std::uint64_t to) { return outcome(::mprotect(pointer(from), to - from, protection)); });
}

long remap_range(void* from, std::size_t old_size, std::size_t new_size, int flags, void* to) {
  BarMaps& maps = BarMaps::instance();
  BarMaps::Released released;
  const std::lock_guard lock{maps.mutex()};
  const Move move{number(from), up_to_page(old_size), up_to_page(new_size), number(to), flags};
  return maps.find(move.from) == maps.end() ? remap_memory(move, released) : remap_bar(move, released);
}

long advise_range(void* address, std::size_t length, int advice) {
  if (::madvise(address, 0, advice) != 0) return -errno;  // not aligned, or no advice
  const std::lock_guard lock{BarMaps::instance().mutex()};
  return each_stretch(
      number(address), number(address) + up_to_page(length), Holes::are_told_at_the_end,
      [&](std::uint64_t from, std::uint64_t to) { return advise_bar(from, to, advice); },
      [&](std::uint64_t from, std::uint64_t to) { return outcome(::madvise(pointer(from), to - from, advice)); });
}

long sync_range(void* address, std::size_t length, int flags) {
  if (::msync(address, 0, flags) != 0) return -errno;
  const std::lock_guard lock{BarMaps::instance().mutex()};
  return each_stretch(
      number(address), number(address) + up_to_page(length), Holes::are_told_at_the_end,
      [&](std::uint64_t, std::uint64_t) { return (flags & MS_SYNC) != 0 ? long{-EINVAL} : 0; },
      [&](std::uint64_t from, std::uint64_t to) { return outcome(::msync(pointer(from), to - from, flags)); });
}

/// Pages of a device are never locked, and nobody minds (mlock_fixup).
long lock_range(const void* address, std::size_t length, Locking how) {
  const auto memory = [&](std::uint64_t from, std::uint64_t to) {
    void* const at = pointer(from);
    if (how == Locking::unlock) return outcome(::munlock(at, to - from));
    return outcome(how == Locking::lock ? ::mlock(at, to - from) : ::mlock2(at, to - from, MLOCK_ONFAULT));
  };
  const std::uint64_t start = number(address) & ~(kPage - 1);
  const std::lock_guard lock{BarMaps::instance().mutex()};
  return each_stretch(
      start, start + up_to_page(length + (number(address) - start)), Holes::end_it,
      [](std::uint64_t, std::uint64_t) { return 0L; }, memory);
}

}  // namespace vmux::preload
