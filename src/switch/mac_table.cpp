// SPDX-License-Identifier: BSD-3-Clause
#include "switch/mac_table.hpp"

#include <algorithm>
#include <bit>

namespace vmux::switching {
namespace {

constexpr std::uint64_t kFree = ~0ull;               // no station: keys have 60 bits
constexpr std::uint64_t kHeardStep = 1'000'000'000;  // an entry is written at most once in so many ns
constexpr std::uint32_t kSweepWhenFull = 64;

}  // namespace

MacTable::MacTable(std::uint32_t capacity, std::uint64_t ageing_ns, std::uint64_t seed)
    : ageing_ns_(ageing_ns),
      seed_(seed),
      shift_(64u - static_cast<unsigned>(std::countr_zero(std::bit_ceil(2ull * std::max(capacity, 1u))))),
      heads_(std::bit_ceil(2ull * std::max(capacity, 1u)), kNone),
      entries_(std::max(capacity, 1u)),
      kin_(entries_.size()),
      firsts_(kMaxPorts, kNone),
      counts_(kMaxPorts, 0),
      limits_(kMaxPorts, 0) {
  for (std::uint32_t i = 0; i < entries_.size(); ++i) {
    entries_[i].key = kFree;
    entries_[i].next = i + 1 < entries_.size() ? i + 1 : kNone;
  }
}

const MacTable::Entry* MacTable::find(StationKey key, std::uint64_t now_ns) const noexcept {
  for (std::uint32_t i = heads_[bucket(key)]; i != kNone; i = entries_[i].next) {
    if (entries_[i].key == key) return has_aged(entries_[i], now_ns) ? nullptr : &entries_[i];
  }
  return nullptr;
}

Learnt MacTable::learn(StationKey key, PortId port, std::uint64_t heard_ns, Entry** entry) noexcept {
  if (entry != nullptr) *entry = nullptr;
  std::uint32_t index = head(key);
  while (index != kNone && entries_[index].key != key)
    index = entries_[index].next;
  Learnt result = Learnt::known;
  if (index != kNone && (entries_[index].port != port || has_aged(entries_[index], heard_ns))) {
    if (entries_[index].port != port && heard_ns < entries_[index].heard_ns) return Learnt::outdated;
    remove(index);  // the new port's limit decides, as for any other; one that is refused is unknown, not where it was
    index = kNone;
    result = Learnt::moved;
  }
  if (index == kNone) {
    if ((index = make_room(port, heard_ns)) == kNone) return Learnt::refused;
    add(index, key, port, heard_ns);
    if (result == Learnt::known) result = Learnt::added;
  }
  Entry& heard = entries_[index];
  if (heard_ns >= heard.heard_ns + kHeardStep) heard.heard_ns = heard_ns;
  if (entry != nullptr) *entry = &heard;
  return result;
}

void MacTable::add(std::uint32_t index, StationKey key, PortId port, std::uint64_t heard_ns) noexcept {
  const std::uint32_t slot = slot_of(port);
  Entry& fresh = entries_[index];
  free_ = fresh.next;
  fresh = {.key = key, .heard_ns = heard_ns, .told_ns = 0, .port = port, .next = head(key)};
  head(key) = index;
  kin_[index] = {.before = kNone, .after = firsts_[slot]};
  if (firsts_[slot] != kNone) kin_[firsts_[slot]].before = index;
  firsts_[slot] = index;
  ++counts_[slot];
  ++used_;
}

// A free entry that `port` may take, or kNone. At a limit only what has aged makes room: nobody can push others out.
std::uint32_t MacTable::make_room(PortId port, std::uint64_t now_ns) noexcept {
  const std::uint32_t slot = slot_of(port);
  if (counts_[slot] >= limits_[slot] || free_ == kNone) sweep(kSweepWhenFull, now_ns);
  return counts_[slot] >= limits_[slot] ? kNone : free_;
}

void MacTable::remove(std::uint32_t index) noexcept {
  Entry& entry = entries_[index];
  std::uint32_t* link = &head(entry.key);
  while (*link != index)
    link = &entries_[*link].next;
  *link = entry.next;
  const std::uint32_t slot = slot_of(entry.port);
  const Kin kin = kin_[index];
  (kin.before == kNone ? firsts_[slot] : kin_[kin.before].after) = kin.after;
  if (kin.after != kNone) kin_[kin.after].before = kin.before;
  --counts_[slot];
  --used_;
  entry.key = kFree;
  entry.next = free_;
  free_ = index;
}

void MacTable::forget(PortId port) noexcept {
  for (std::uint32_t i = firsts_[slot_of(port)]; i != kNone;) {
    const std::uint32_t after = kin_[i].after;
    // Not what a later port of the slot has.
    if (entries_[i].port == port && entries_[i].heard_ns != kAlways) remove(i);
    i = after;
  }
}

void MacTable::pin(PortId port, std::span<const StationKey> stations) noexcept {
  for (std::uint32_t i = firsts_[slot_of(port)]; i != kNone;) {
    const std::uint32_t after = kin_[i].after;
    if (entries_[i].port == port && entries_[i].heard_ns == kAlways) remove(i);
    i = after;
  }
  for (const StationKey key : stations) {
    std::uint32_t index = head(key);
    while (index != kNone && entries_[index].key != key)
      index = entries_[index].next;
    if (index != kNone) remove(index);
    if (free_ != kNone) add(free_, key, port, kAlways);
  }
}

void MacTable::sweep(std::uint32_t count, std::uint64_t now_ns) noexcept {
  for (count = std::min(count, static_cast<std::uint32_t>(entries_.size())); count > 0; --count) {
    if (entries_[swept_].key != kFree && has_aged(entries_[swept_], now_ns)) remove(swept_);
    swept_ = swept_ + 1 < entries_.size() ? swept_ + 1 : 0;
  }
}

std::size_t MacTable::copy(std::span<Entry> into, std::uint64_t now_ns) const noexcept {
  std::size_t count = 0;
  for (const Entry& entry : entries_) {
    if (entry.key == kFree || has_aged(entry, now_ns)) continue;
    if (count == into.size()) break;
    into[count++] = entry;
  }
  return count;
}

}  // namespace vmux::switching
