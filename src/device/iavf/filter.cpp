// SPDX-License-Identifier: BSD-3-Clause
#include "device/iavf/filter.hpp"

namespace vmux::device::iavf {

bool Filters::add(const Mac& mac) noexcept {
  const std::uint64_t key = key_of(mac);
  if (contains(key)) return true;
  if (count_ == kMaxMacs) return false;
  std::size_t at = slot_of(key);
  while (slots_[at] != kFree)
    at = (at + 1) % kSlots;
  slots_[at] = key;
  ++count_;
  return true;
}

void Filters::remove(const Mac& mac) noexcept {
  const std::uint64_t key = key_of(mac);
  if (!contains(key)) return;
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

void Filters::clear_macs() noexcept {
  slots_.fill(kFree);
  count_ = 0;
}

}  // namespace vmux::device::iavf
