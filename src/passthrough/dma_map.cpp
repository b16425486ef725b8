// SPDX-License-Identifier: BSD-3-Clause
#include "passthrough/dma_map.hpp"

#include <algorithm>

#include "base/logf.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::passthrough {
namespace {

constexpr std::uint64_t kPage = 4096;

}  // namespace

Result<void> DmaMap::map(KernelDomain& domain, OwnerBit owner, const Request& request) noexcept {
  const std::uint64_t first = request.start.raw, last = first + (request.size.raw - 1);
  auto next = ranges_.upper_bound(last);
  if (next != ranges_.begin() && std::prev(next)->second.last >= first) {
    auto& [at, there] = *std::prev(next);
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
      give_back(domain, range, std::next(range));
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

void DmaMap::unmap(KernelDomain& domain, OwnerBit owner, Iova start, ByteCount size) noexcept {
  if (size.raw == 0) return;
  release(domain, owner, ranges_.lower_bound(start.raw), ranges_.upper_bound(start.raw + (size.raw - 1)));
}

void DmaMap::unmap_all(KernelDomain& domain, OwnerBit owner) noexcept {
  release(domain, owner, ranges_.begin(), ranges_.end());
}

void DmaMap::release(KernelDomain& domain, OwnerBit owner, Ranges::iterator from, Ranges::iterator to) noexcept {
  // Runs of ranges that nobody holds any more go in one call each: a whole VM is one, unless others share parts of it.
  auto run = to;
  for (auto at = from; at != to; ++at) {
    at->second.owners &= ~owner;
    if (at->second.owners == 0 && run == to) run = at;
    if (at->second.owners != 0 && run != to) {
      give_back(domain, run, at);
      run = to;
    }
  }
  if (run != to) give_back(domain, run, to);
}

void DmaMap::give_back(KernelDomain& domain, Ranges::iterator from, Ranges::iterator to) noexcept {
  const std::uint64_t first = from->first, last = std::prev(to)->second.last;
  std::uint64_t pinned = 0;
  for (auto at = from; at != to; ++at) {
    pinned += at->second.pinned / kPage;
    if (at->second.is_promised) counters_.waiting -= missing(*at) / kPage;
  }
  ranges_.erase(from, to);
  if (pinned == 0) return;
  const std::uint64_t started = monotonic_ns();
  const auto done = domain.unmap(Iova{first}, ByteCount{last - first + 1});
  counters_.unmap_ns += monotonic_ns() - started;
  ++counters_.unmaps;
  counters_.pinned -= pinned;
  if (!done) logf(LogLevel::error, "{:#x} to {:#x} stays in the IOMMU: {}", first, last, done.error().text());
}

void DmaMap::clear() noexcept {
  ranges_.clear();
  forget_backlog();
  counters_.pinned = 0;
}

}  // namespace vmux::passthrough
