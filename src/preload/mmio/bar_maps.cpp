// SPDX-License-Identifier: BSD-3-Clause
#include "preload/mmio/bar_maps.hpp"

#include <iterator>
#include <utility>

namespace vmux::preload {

BarMaps& BarMaps::instance() noexcept {
  static BarMaps& maps = *new BarMaps;  // never destroyed: registers are reached until the very end
  return maps;
}

BarMaps::Mappings::iterator BarMaps::next(std::uint64_t address) {
  auto after = mappings_.upper_bound(address);
  if (after == mappings_.begin()) return after;
  const auto before = std::prev(after);
  return address - before->first < before->second.size ? before : after;
}

BarMaps::Mappings::iterator BarMaps::find(std::uint64_t address) {
  const auto found = next(address);
  return found != mappings_.end() && found->first <= address ? found : mappings_.end();
}

void BarMaps::cut(std::uint64_t at) {
  const auto whole = find(at);
  if (whole == mappings_.end() || whole->first == at) return;
  const std::uint64_t first = at - whole->first;
  BarMapping rest = whole->second;
  rest.offset += first;
  rest.size -= first;
  whole->second.size = first;
  mappings_.emplace(at, std::move(rest));
}

void BarMaps::add(std::uint64_t start, BarMapping mapping, Released& released) {
  erase(start, start + mapping.size, released);
  mappings_.emplace(start, std::move(mapping));
  measure();
}

void BarMaps::erase(std::uint64_t start, std::uint64_t end, Released& released) {
  cut(start);
  cut(end);
  for (auto entry = mappings_.lower_bound(start); entry != mappings_.end() && entry->first < end;) {
    released.push_back(std::move(entry->second.device));
    entry = mappings_.erase(entry);
  }
  measure();
}

void BarMaps::erase_not_forked(Released& released) {
  for (auto entry = mappings_.begin(); entry != mappings_.end();) {
    const bool goes = (entry->second.advice & kNotForked) != 0;
    if (goes) released.push_back(std::move(entry->second.device));
    entry = goes ? mappings_.erase(entry) : std::next(entry);
  }
  measure();
}

void BarMaps::forget(std::uint64_t start, std::uint64_t size) {
  if (!may_overlap(start, size)) return;
  Released released;
  const std::lock_guard lock{mutex_};
  erase(start, start + up_to_page(size), released);
}

void BarMaps::measure() noexcept {
  std::uint64_t lowest = UINT64_MAX, highest = 0;
  if (!mappings_.empty()) {
    const auto& [start, last] = *std::prev(mappings_.end());
    lowest = mappings_.begin()->first;
    highest = start + last.size;
  }
  lowest_.store(lowest, std::memory_order_release);
  highest_.store(highest, std::memory_order_release);
}

}  // namespace vmux::preload
