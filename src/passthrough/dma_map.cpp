// SPDX-License-Identifier: BSD-3-Clause
#include "passthrough/dma_map.hpp"

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
    there.owners |= owner;
    ++counters_.shared;
    return {};
  }
  const std::uint64_t started = monotonic_ns();
  auto mapped = domain.map(request.start, request.size, request.host, request.access);
  counters_.map_ns += monotonic_ns() - started;
  if (!mapped) {
    ++counters_.refused;
    return mapped;
  }
  ++counters_.maps;
  counters_.pinned += request.size.raw / kPage;
  counters_.pinned_ever += request.size.raw / kPage;
  ranges_.insert(next, {first, Range{last, request.access, request.source, owner}});
  return {};
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
  const std::uint64_t started = monotonic_ns();
  const auto done = domain.unmap(Iova{first}, ByteCount{last - first + 1});
  counters_.unmap_ns += monotonic_ns() - started;
  ++counters_.unmaps;
  if (!done) logf(LogLevel::error, "{:#x} to {:#x} stays in the IOMMU: {}", first, last, done.error().text());
  for (auto at = from; at != to; ++at)
    counters_.pinned -= (at->second.last - at->first + 1) / kPage;
  ranges_.erase(from, to);
}

void DmaMap::clear() noexcept {
  ranges_.clear();
  counters_.pinned = 0;
}

}  // namespace vmux::passthrough
