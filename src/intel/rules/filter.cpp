// SPDX-License-Identifier: BSD-3-Clause
#include "intel/rules/filter.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace vmux::intel {
namespace {

std::vector<MacAddress> macs_of(std::vector<std::uint64_t> keys) {
  std::sort(keys.begin(), keys.end());
  std::vector<MacAddress> macs(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (std::size_t byte = 0; byte < macs[i].size(); ++byte)
      macs[i][byte] = static_cast<std::uint8_t>(keys[i] >> (8 * byte));
  }
  return macs;
}

}  // namespace

bool Filters::add(const MacAddress& mac) {
  std::uint64_t key = key_of(mac);
  const auto is_beyond = [this](std::uint64_t group) {
    return std::binary_search(more_groups_.begin(), more_groups_.end(), group);
  };
  if (contains(key) || is_beyond(key)) return true;
  if (count_ == kMaxMacs) {
    const std::uint64_t group = is_group(key) ? key : any_group();
    if (group == kFree || more_groups_.size() == kMaxMoreGroups) return false;
    more_groups_.insert(std::lower_bound(more_groups_.begin(), more_groups_.end(), group), group);
    if (group == key) return true;
    erase(group);
  }
  insert(key);
  return true;
}

void Filters::remove(const MacAddress& mac) {
  const std::uint64_t key = key_of(mac);
  if (contains(key)) {
    erase(key);
    if (more_groups_.empty()) return;
    insert(more_groups_.back());
    more_groups_.pop_back();
    return;
  }
  const auto [first, last] = std::equal_range(more_groups_.begin(), more_groups_.end(), key);
  more_groups_.erase(first, last);
}

std::vector<MacAddress> Filters::macs() const {
  std::vector<std::uint64_t> keys;
  std::copy_if(slots_.begin(), slots_.end(), std::back_inserter(keys), [](std::uint64_t key) { return key != kFree; });
  return macs_of(std::move(keys));
}

std::vector<MacAddress> Filters::more_groups() const { return macs_of(more_groups_); }

std::uint64_t Filters::any_group() const noexcept {
  const auto found =
      std::find_if(slots_.begin(), slots_.end(), [](std::uint64_t key) { return key != kFree && is_group(key); });
  return found == slots_.end() ? kFree : *found;
}

void Filters::insert(std::uint64_t key) noexcept {
  std::size_t at = slot_of(key);
  while (slots_[at] != kFree)
    at = (at + 1) % kSlots;
  slots_[at] = key;
  ++count_;
}

void Filters::erase(std::uint64_t key) noexcept {
  std::size_t hole = slot_of(key);
  while (slots_[hole] != key)
    hole = (hole + 1) % kSlots;
  slots_[hole] = kFree;
  --count_;
  // Those behind the hole that could not lie at their own place move up.
  for (std::size_t at = (hole + 1) % kSlots; slots_[at] != kFree; at = (at + 1) % kSlots) {
    const std::size_t home = slot_of(slots_[at]);
    if ((at - home) % kSlots < (at - hole) % kSlots) continue;
    slots_[hole] = slots_[at];
    slots_[at] = kFree;
    hole = at;
  }
}

}  // namespace vmux::intel
