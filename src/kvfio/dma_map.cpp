// SPDX-License-Identifier: BSD-3-Clause
#include "kvfio/dma_map.hpp"

#include <algorithm>
#include <utility>

#include "base/logf.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::kvfio {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kTop = ~(kPage - 1);  // the last page of all: no client maps it (AddressSpace)

}  // namespace

Result<void> DmaMap::map(KernelDomain& domain, OwnerBit owner, const Request& request) noexcept {
  const std::uint64_t first = request.start.raw, last = first + (request.size.raw - 1);
  auto next = ranges_.upper_bound(last);
  if (next != ranges_.begin() && std::prev(next)->second.last >= first) {
    auto& [at, there] = *std::prev(next);
    if (there.is_stuck) {
      ++counters_.refused;
      return fail(Errc::already_exists, "the kernel has not taken away what was mapped there");
    }
    const bool is_same = at == first && there.last == last && there.access == request.access &&
                         there.source == request.source && (there.owners & owner) == 0;
    if (!is_same) {
      ++counters_.refused;
      return fail(Errc::already_exists, "functions of one IOMMU group reach the same memory: they are for one VM");
    }
    if (missing(*std::prev(next)) != 0) {  // later it might be through a client's mapping that has gone
      if (auto done = finish(domain); !done) return done;
    }
    there.owners |= owner;
    ++counters_.shared;
    return {};
  }
  const std::uint64_t now = monotonic_ns();
  if (!has_backlog() && now - answering_ns_ > pace_.together_ns) answering_ns_ = now;
  const auto range = ranges_.insert(next, {first, Range{last, request.access, request.source, owner, request.host}});
  while (missing(*range) != 0) {
    if (request.may_follow && monotonic_ns() - answering_ns_ >= pace_.answer_within_ns) break;
    if (auto done = pin_piece(domain, *range); !done) {
      ++counters_.refused;
      static_cast<void>(give_back(domain, range, std::next(range)));  // has_stuck() tells
      return done;
    }
  }
  if (missing(*range) == 0) return {};
  range->second.is_promised = true;
  counters_.waiting += missing(*range) / kPage;
  backlog_.push_back(first);
  return {};
}

std::uint64_t DmaMap::missing(const Ranges::value_type& range) noexcept {
  return range.second.last - range.first + 1 - range.second.pinned;
}

Result<void> DmaMap::pin_piece(KernelDomain& domain, Ranges::value_type& range) noexcept {
  const std::uint64_t at = range.first + range.second.pinned;
  const std::uint64_t size = std::min(missing(range), piece_ - at % piece_);
  const std::uint64_t started = monotonic_ns();
  const auto done = domain.map(Iova{at}, ByteCount{size}, range.second.host + range.second.pinned, range.second.access);
  const std::uint64_t took = monotonic_ns() - started;
  counters_.map_ns += took;
  if (!done) return done;
  ++counters_.maps;
  range.second.pinned += size;
  counters_.pinned += size / kPage;
  counters_.pinned_ever += size / kPage;
  if (took > pace_.slow_ns) piece_ = std::max(piece_ / 2, pace_.smallest_piece);
  if (took < pace_.quick_ns && size == piece_) piece_ = std::min(piece_ * 2, pace_.largest_piece);
  return {};
}

Result<void> DmaMap::work(KernelDomain& domain) noexcept {
  while (!backlog_.empty()) {
    const auto range = ranges_.find(backlog_.front());
    if (range == ranges_.end() || missing(*range) == 0) {
      backlog_.pop_front();
      continue;
    }
    const std::uint64_t before = range->second.pinned;
    const auto done = pin_piece(domain, *range);
    if (!done) {
      forget_backlog();
      return done;
    }
    counters_.waiting -= (range->second.pinned - before) / kPage;
    return {};
  }
  return {};
}

Result<void> DmaMap::finish(KernelDomain& domain) noexcept {
  while (has_backlog()) {
    if (auto done = work(domain); !done) return done;
  }
  return {};
}

void DmaMap::forget_backlog() noexcept {
  backlog_.clear();
  counters_.waiting = 0;
  for (auto& [first, range] : ranges_)
    range.is_promised = false;
}

Result<void> DmaMap::unmap(KernelDomain& domain, OwnerBit owner, Iova start, ByteCount size) noexcept {
  if (size.raw == 0) return {};
  return release(domain, owner, ranges_.lower_bound(start.raw), ranges_.upper_bound(start.raw + (size.raw - 1)));
}

Result<void> DmaMap::unmap_all(KernelDomain& domain, OwnerBit owner) noexcept {
  return release(domain, owner, ranges_.begin(), ranges_.end());
}

Result<void> DmaMap::release(KernelDomain& domain, OwnerBit owner, Ranges::iterator from,
                             Ranges::iterator to) noexcept {
  // Runs of ranges that nobody holds any more go in one call each: a whole VM is one, unless others share parts of it.
  Result<void> all;
  const auto finish_run = [&](Ranges::iterator begin, Ranges::iterator end) {
    if (auto done = give_back(domain, begin, end); !done && all) all = done;
  };
  auto run = to;
  for (auto at = from; at != to; ++at) {
    at->second.owners &= ~owner;
    if (at->second.owners == 0 && run == to) run = at;
    if (at->second.owners != 0 && run != to) {
      finish_run(run, at);
      run = to;
    }
  }
  if (run != to) finish_run(run, to);
  return all;
}

Result<void> DmaMap::give_back(KernelDomain& domain, Ranges::iterator from, Ranges::iterator to) noexcept {
  const std::uint64_t first = from->first, last = std::prev(to)->second.last;
  std::uint64_t pinned = 0, stuck = 0;
  for (auto at = from; at != to; ++at) {
    pinned += at->second.pinned / kPage;
    if (at->second.is_stuck) stuck += at->second.pinned / kPage;
    if (std::exchange(at->second.is_promised, false)) counters_.waiting -= missing(*at) / kPage;
  }
  if (pinned != 0) {
    const std::uint64_t started = monotonic_ns();
    const auto done = domain.unmap(Iova{first}, ByteCount{last - first + 1});
    counters_.unmap_ns += monotonic_ns() - started;
    ++counters_.unmaps;
    if (!done) {
      logf(LogLevel::error, "{:#x} to {:#x} stays in the IOMMU: {}", first, last, done.error().text());
      keep_stuck(from, to);
      return done;
    }
  }
  counters_.pinned -= pinned;
  counters_.stuck -= stuck;
  ranges_.erase(from, to);
  return {};
}

/// What of the ranges the kernel has is remembered without the memory behind it, which the client may take away.
void DmaMap::keep_stuck(Ranges::iterator from, Ranges::iterator to) noexcept {
  while (from != to) {
    Range& range = from->second;
    if (range.pinned == 0) {
      from = ranges_.erase(from);
      continue;
    }
    range.last = from->first + (range.pinned - 1);
    range.owners = 0;
    range.host = nullptr;
    if (!std::exchange(range.is_stuck, true)) counters_.stuck += range.pinned / kPage;
    ++from;
  }
}

std::vector<DmaMap::Holding> DmaMap::holdings(OwnerBit owner) const {
  std::vector<Holding> all;
  for (const auto& [first, range] : ranges_) {
    if ((range.owners & owner) == 0) continue;
    all.push_back(
        {Iova{first}, ByteCount{range.last - first + 1}, range.access, range.source, ByteCount{range.pinned}});
  }
  return all;
}

Result<void> DmaMap::adopt(OwnerBit owner, const Holding& holding, const std::byte* host) noexcept {
  const std::uint64_t first = holding.start.raw, size = holding.size.raw, last = first + (size - 1);
  const bool is_range = size != 0 && last >= first && last < kTop && first % kPage == 0 && size % kPage == 0;
  if (!is_range || holding.pinned.raw > size || holding.pinned.raw % kPage != 0) {
    return fail(Errc::invalid_argument, "a range of the IOMMU that there cannot be");
  }
  const auto next = ranges_.upper_bound(last);
  if (next == ranges_.begin() || std::prev(next)->second.last < first) {
    ranges_.insert(next, {first, Range{last, holding.access, holding.source, owner, host, holding.pinned.raw}});
    counters_.pinned += holding.pinned.raw / kPage;
    return {};
  }
  auto& [at, there] = *std::prev(next);
  if (at != first || there.last != last || there.access != holding.access || !(there.source == holding.source) ||
      (there.owners & owner) != 0) {
    return fail(Errc::already_exists, "two devices of one IOMMU group had different memory at the same place");
  }
  there.owners |= owner;
  counters_.pinned += std::max(there.pinned, holding.pinned.raw) / kPage - there.pinned / kPage;
  there.pinned = std::max(there.pinned, holding.pinned.raw);
  return {};
}

void DmaMap::disown(OwnerBit owner) noexcept {
  for (auto at = ranges_.begin(); at != ranges_.end();) {
    at->second.owners &= ~owner;
    if (at->second.owners != 0) {
      ++at;
      continue;
    }
    counters_.pinned -= at->second.pinned / kPage;
    at = ranges_.erase(at);
  }
}

Result<void> DmaMap::settle(KernelDomain& domain, OwnerBit running) noexcept {
  Result<void> all;
  std::uint64_t free = 0;  // up to here it is known what the domain has
  const auto clear_until = [&](std::uint64_t end) {
    if (free >= end) return;
    if (auto done = domain.unmap(Iova{free}, ByteCount{end - free}); !done && all) all = done;
  };
  for (auto& range : ranges_) {
    auto& [first, facts] = range;
    clear_until(first);
    if ((facts.owners & running) != 0) {
      counters_.pinned += missing(range) / kPage;
      facts.pinned += missing(range);
    }
    free = first + facts.pinned;
    if (missing(range) == 0 || facts.is_promised) continue;
    facts.is_promised = true;
    counters_.waiting += missing(range) / kPage;
    backlog_.push_back(first);
  }
  clear_until(kTop);
  return all;
}

void DmaMap::clear() noexcept {
  ranges_.clear();
  forget_backlog();
  counters_.pinned = counters_.stuck = 0;
}

}  // namespace vmux::kvfio
