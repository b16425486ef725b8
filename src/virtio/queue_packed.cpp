// SPDX-License-Identifier: BSD-3-Clause
// [VIRTIO] 2.8: one ring of descriptors that both sides write to; two flags and the lap say whose one is.
#include <algorithm>
#include <array>
#include <cstring>

#include "virtio/queue.hpp"
#include "virtio/ring_memory.hpp"
#include "vmux/memory/ordered.hpp"
#include "wire/virtio.hpp"

namespace vmux::virtio {
namespace {

namespace wv = wire::virtio;
namespace packed = wv::packed;

constexpr std::size_t kLengthAt = offsetof(wv::PackedDescriptor, length);  // and the id
constexpr std::size_t kFlagsAt = offsetof(wv::PackedDescriptor, flags);

constexpr bool is_available(std::uint16_t flags, bool wrap) noexcept {
  const bool available = (flags & wv::descriptor::available) != 0, used = (flags & wv::descriptor::used) != 0;
  return available == wrap && used != wrap;
}

}  // namespace

void Queue::fetch_packed() noexcept {
  while (has_room()) {
    if (!walk_packed()) return;
  }
}

// The first descriptor's flags say that all of the chain is there (2.8.6: they are written last).
bool Queue::walk_packed() noexcept {
  Chain chain{.slots = 0, .first = static_cast<std::uint16_t>(buffer_end_)};
  std::uint16_t place = read_;
  bool wrap = read_wrap_;
  for (;;) {
    const std::byte* const raw = borrow_descriptor(memory_, descriptor(place));
    if (raw == nullptr) return fail(Fault::ring_unmapped);
    const std::uint16_t flags = memory::load_acquire16({raw + kFlagsAt, 2}, 0);
    if (chain.slots == 0 && !is_available(flags, wrap)) return false;
    if (chain.slots == std::min<std::size_t>(setup_.size, kMaxChain)) return fail(Fault::chain_too_long);
    wv::PackedDescriptor rest;
    std::memcpy(reinterpret_cast<std::byte*>(&rest), raw, kFlagsAt);
    ++chain.slots;
    chain.id = rest.id;  // that of the last one counts
    if (++place == setup_.size) {
      place = 0;
      wrap = !wrap;
    }
    const bool is_last = (flags & wv::descriptor::next) == 0;
    if ((flags & wv::descriptor::indirect) != 0) {  // 2.8.19: it is the whole of its chain
      if (!is_last || chain.slots != 1) return fail(Fault::bad_descriptor);
      if (!add_table(chain, rest.address, rest.length)) return false;
    } else if (!add(chain, rest.address, rest.length, (flags & wv::descriptor::write) != 0)) {
      return false;
    }
    if (is_last) break;
  }
  chains_[end_++] = chain;
  read_ = place;
  read_wrap_ = wrap;
  return true;
}

// 2.8.7: the table's descriptors follow each other; of their flags only WRITE counts.
bool Queue::add_table(Chain& chain, std::uint64_t address, std::uint32_t bytes) noexcept {
  std::array<std::byte, kMaxChain * sizeof(wv::PackedDescriptor)> table;
  if (!read_table(address, bytes, table)) return false;
  for (std::uint32_t at = 0; at < bytes; at += sizeof(wv::PackedDescriptor)) {
    wv::PackedDescriptor raw;
    std::memcpy(&raw, table.data() + at, sizeof raw);
    if (!add(chain, raw.address, raw.length, (raw.flags & wv::descriptor::write) != 0)) return false;
  }
  return true;
}

bool Queue::use_packed(std::span<const std::uint32_t> written) noexcept {
  const auto move = [size = setup_.size](std::uint16_t& place, bool& wrap, std::uint16_t slots) {
    const std::uint32_t next = std::uint32_t{place} + slots;
    place = static_cast<std::uint16_t>(next >= size ? next - size : next);
    if (next >= size) wrap = !wrap;
  };
  for (std::size_t i = 0; i < written.size(); ++i) {
    const Chain& chain = chains_[first_ + i];
    const auto lap = state_.used_wrap ? QueueJournal::Entry::kWrap : std::uint16_t{0};
    journal_.entries[i] = {written[i], chain.id, static_cast<std::uint16_t>(state_.next_used | lap)};
    move(state_.next_used, state_.used_wrap, chain.slots);
    move(state_.next_avail, state_.avail_wrap, chain.slots);
    unreported_ += chain.slots;
  }
  commit(written.size());
  return tell_packed(std::span{journal_.entries}.first(written.size()));
}

// The driver looks at the first one's flags first: they are written last, so that it finds all of the burst.
bool Queue::tell_packed(std::span<const QueueJournal::Entry> entries) noexcept {
  std::byte* first = nullptr;
  std::uint16_t first_flags = 0;
  for (const QueueJournal::Entry& entry : entries) {
    const auto place = static_cast<std::uint16_t>(entry.place & ~QueueJournal::Entry::kWrap);
    const auto room = memory_.borrow_for_write(descriptor(place), ByteCount{sizeof(wv::PackedDescriptor)});
    if (room.size() != sizeof(wv::PackedDescriptor)) return fail(Fault::ring_unmapped);
    const wv::PackedDescriptor told{.length = entry.written, .id = entry.id};
    std::memcpy(room.data() + kLengthAt, reinterpret_cast<const std::byte*>(&told) + kLengthAt, kFlagsAt - kLengthAt);
    const bool wrap = (entry.place & QueueJournal::Entry::kWrap) != 0;
    const auto flags = static_cast<std::uint16_t>((wrap ? wv::descriptor::available | wv::descriptor::used : 0) |
                                                  (entry.written != 0 ? wv::descriptor::write : 0));
    if (first == nullptr) {
      first = room.data() + kFlagsAt;
      first_flags = flags;
    } else {
      memory::store_release16({room.data() + kFlagsAt, 2}, 0, flags);
    }
  }
  memory::store_release16({first, 2}, 0, first_flags);
  commit(0);
  return true;
}

// What has been told is the driver's to write over. It has not been while the first descriptor is what the driver made
// available: neither used, nor available anew in the next lap.
bool Queue::retell_packed(std::span<const QueueJournal::Entry> entries) noexcept {
  const std::uint16_t first = entries.front().place;
  const auto place = static_cast<std::uint16_t>(first & ~QueueJournal::Entry::kWrap);
  const auto flags = load16(memory_, Iova{descriptor(place).raw + kFlagsAt});
  if (!flags) return fail(Fault::ring_unmapped);
  return !is_available(*flags, (first & QueueJournal::Entry::kWrap) != 0) || tell_packed(entries);
}

bool Queue::is_wanted_packed() noexcept {
  const auto flags = load16(memory_, Iova{setup_.driver.raw + packed::flags});
  if (!flags) return fail(Fault::ring_unmapped);
  if (*flags == packed::disable) return false;
  if (*flags != packed::at_descriptor || !setup_.has_event_idx || unreported_ >= setup_.size) return true;
  const auto event = load16(memory_, Iova{setup_.driver.raw + packed::off_wrap});
  if (!event) return fail(Fault::ring_unmapped);
  auto at = static_cast<std::uint16_t>(*event & ~packed::wrap);
  if (((*event & packed::wrap) != 0) != state_.used_wrap) at = static_cast<std::uint16_t>(at - setup_.size);
  return passes(at, state_.next_used, static_cast<std::uint16_t>(state_.next_used - unreported_));
}

void Queue::set_kicks_packed(bool wanted) noexcept {
  if (!store16(memory_, Iova{setup_.device.raw + packed::flags}, wanted ? packed::enable : packed::disable)) {
    fail(Fault::ring_unmapped);
  }
}

bool Queue::has_more_packed() noexcept {
  const auto flags = load16(memory_, Iova{descriptor(read_).raw + kFlagsAt});
  if (!flags) return fail(Fault::ring_unmapped);
  return is_available(*flags, read_wrap_);
}

}  // namespace vmux::virtio
