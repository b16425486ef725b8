// SPDX-License-Identifier: BSD-3-Clause
// [VIRTIO] 2.7: a table of descriptors, a ring of available heads, a ring of used ones.
#include <algorithm>
#include <array>
#include <cstring>

#include "virtio/queue.hpp"
#include "virtio/ring_memory.hpp"
#include "wire/virtio.hpp"

namespace vmux::virtio {
namespace {

namespace wv = wire::virtio;
namespace split = wv::split;

constexpr std::size_t kUsedSize = sizeof(wv::UsedElement);

}  // namespace

void Queue::fetch_split() noexcept {
  const auto index = load16(memory_, Iova{setup_.driver.raw + split::index});
  if (!index) return static_cast<void>(fail(Fault::ring_unmapped));
  std::uint16_t count = static_cast<std::uint16_t>(*index - read_);
  // The chains that wait are still in the ring.
  if (count + (end_ - first_) > setup_.size) return static_cast<void>(fail(Fault::ring_index));
  std::array<std::byte, kMaxReady * sizeof(std::uint16_t)> heads;
  while (count > 0 && has_room()) {
    const std::uint32_t at = read_ & (setup_.size - 1u);
    const std::size_t run = std::min({std::size_t{count}, kMaxReady - end_, std::size_t{setup_.size} - at});
    const Iova from{setup_.driver.raw + split::ring + 2ull * at};
    if (!memory_.read(from, std::span{heads}.first(run * 2))) return static_cast<void>(fail(Fault::ring_unmapped));
    for (std::size_t i = 0; i < run && has_room(); ++i) {
      Le<std::uint16_t> head;
      std::memcpy(&head, heads.data() + i * 2, sizeof head);
      if (!walk_split(head)) return;
      ++read_;
      --count;
    }
  }
}

bool Queue::walk_split(std::uint16_t head) noexcept {
  Chain chain{.id = head, .first = static_cast<std::uint16_t>(buffer_end_)};
  std::uint16_t index = head;
  for (std::uint32_t seen = 0;; ++seen) {
    if (index >= setup_.size) return fail(Fault::ring_index);
    // A loop, or descriptors without bytes in masses: each costs a look. One more than buffers, for an indirect table.
    if (seen == std::min<std::uint32_t>(setup_.size, kMaxChain + 1)) return fail(Fault::chain_too_long);
    const auto raw = memory_.fetch<wv::SplitDescriptor>(descriptor(index));
    if (!raw) return fail(Fault::ring_unmapped);
    const std::uint16_t flags = raw->flags;
    if ((flags & wv::descriptor::indirect) != 0) {
      // 2.7.5.3.1: it ends the chain, and is not one to write to.
      if ((flags & wv::descriptor::next) != 0) return fail(Fault::bad_descriptor);
      if (!walk_table(chain, raw->address, raw->length)) return false;
      break;
    }
    if (!add(chain, raw->address, raw->length, (flags & wv::descriptor::write) != 0)) return false;
    if ((flags & wv::descriptor::next) == 0) break;
    index = raw->next;
  }
  chains_[end_++] = chain;
  return true;
}

bool Queue::walk_table(Chain& chain, std::uint64_t address, std::uint32_t bytes) noexcept {
  std::array<std::byte, kMaxChain * sizeof(wv::SplitDescriptor)> table;
  if (!read_table(address, bytes, table)) return false;
  const std::uint32_t size = bytes / sizeof(wv::SplitDescriptor);
  std::uint32_t index = 0;
  for (std::uint32_t seen = 0; seen < size; ++seen) {
    wv::SplitDescriptor raw;
    std::memcpy(&raw, table.data() + index * sizeof raw, sizeof raw);
    const std::uint16_t flags = raw.flags;
    if ((flags & wv::descriptor::indirect) != 0) return fail(Fault::bad_descriptor);
    if (!add(chain, raw.address, raw.length, (flags & wv::descriptor::write) != 0)) return false;
    if ((flags & wv::descriptor::next) == 0) return true;
    index = raw.next;
    if (index >= size) return fail(Fault::ring_index);
  }
  return fail(Fault::chain_too_long);
}

// The elements are out of the driver's sight until the index is there.
bool Queue::use_split(std::span<const std::uint32_t> written) noexcept {
  std::size_t done = 0;
  std::uint16_t next = state_.next_used;
  while (done < written.size()) {
    const std::uint32_t at = next & (setup_.size - 1u);
    const std::size_t run = std::min<std::size_t>(written.size() - done, setup_.size - at);
    const Iova to{setup_.device.raw + split::ring + kUsedSize * at};
    const auto room = memory_.borrow_for_write(to, ByteCount{run * kUsedSize});
    const std::size_t fit = room.size() / kUsedSize;
    // Entries lie on four bytes and may be cut by the end of a range of memory.
    if (fit == 0) {
      const wv::UsedElement one{chains_[first_ + done].id, written[done]};
      if (!memory_.store(to, one)) return fail(Fault::ring_unmapped);
    }
    for (std::size_t i = 0; i < fit; ++i) {
      const wv::UsedElement one{chains_[first_ + done + i].id, written[done + i]};
      std::memcpy(room.data() + i * kUsedSize, &one, kUsedSize);
    }
    const std::size_t count = std::max<std::size_t>(fit, 1);
    done += count;
    next = static_cast<std::uint16_t>(next + count);
  }
  state_.next_used = next;
  state_.next_avail = static_cast<std::uint16_t>(state_.next_avail + written.size());
  unreported_ += static_cast<std::uint32_t>(written.size());
  commit(written.size());
  return tell_split();
}

bool Queue::tell_split() noexcept {
  if (!store16(memory_, Iova{setup_.device.raw + split::index}, state_.next_used)) return fail(Fault::ring_unmapped);
  commit(0);
  return true;
}

bool Queue::is_wanted_split() noexcept {
  if (setup_.has_event_idx) {
    const auto event = load16(memory_, Iova{setup_.driver.raw + split::used_event(setup_.size)});
    if (!event) return fail(Fault::ring_unmapped);
    if (unreported_ > 0xffff) return true;
    return passes(*event, state_.next_used, static_cast<std::uint16_t>(state_.next_used - unreported_));
  }
  const auto flags = load16(memory_, Iova{setup_.driver.raw + split::flags});
  if (!flags) return fail(Fault::ring_unmapped);
  return (*flags & split::no_interrupt) == 0;
}

// With EVENT_IDX the driver tells when it passes the index: one that it has just passed is as far away as can be.
void Queue::set_kicks_split(bool wanted) noexcept {
  const auto event = static_cast<std::uint16_t>(wanted ? read_ : read_ - 1);
  const bool is_stored = setup_.has_event_idx
                             ? store16(memory_, Iova{setup_.device.raw + split::avail_event(setup_.size)}, event)
                             : store16(memory_, Iova{setup_.device.raw + split::flags}, wanted ? 0 : split::no_notify);
  if (!is_stored) fail(Fault::ring_unmapped);
}

bool Queue::has_more_split() noexcept {
  const auto index = load16(memory_, Iova{setup_.driver.raw + split::index});
  if (!index) return fail(Fault::ring_unmapped);
  return *index != read_;
}

}  // namespace vmux::virtio
