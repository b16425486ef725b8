// SPDX-License-Identifier: BSD-3-Clause
// What both kinds of ring have in common: the chains that wait.
#include "virtio/queue.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "state/commit.hpp"
#include "vmux/memory/ordered.hpp"
#include "wire/virtio.hpp"

namespace vmux::virtio {
namespace {

namespace wv = wire::virtio;

bool lies(Iova at, std::uint64_t alignment, std::uint64_t bytes) noexcept {
  return at.raw % alignment == 0 && end_of(at, ByteCount{bytes}).has_value();
}

}  // namespace

bool can_be(const QueueSetup& setup) noexcept {
  const std::uint64_t size = setup.size;
  if (size == 0) return false;
  if (setup.is_packed) {
    return size <= wv::kMaxPackedSize && lies(setup.descriptors, 16, size * 16) && lies(setup.driver, 4, 4) &&
           lies(setup.device, 4, 4);
  }
  return size <= wv::kMaxSplitSize && std::has_single_bit(size) && lies(setup.descriptors, 16, size * 16) &&
         lies(setup.driver, 2, wv::split::used_event(setup.size) + 2) &&
         lies(setup.device, 4, wv::split::avail_event(setup.size) + 2);
}

bool can_be(const QueueSetup& setup, const QueueState& state) noexcept {
  if (!setup.is_packed) return state.avail_wrap && state.used_wrap;
  return state.next_avail < setup.size && state.next_used < setup.size;
}

const char* text_of(Fault fault) noexcept {
  switch (fault) {
    case Fault::none:
      return "no fault";
    case Fault::ring_unmapped:
      return "its ring lies outside guest memory";
    case Fault::ring_index:
      return "an index beyond its ring";
    case Fault::bad_descriptor:
      return "descriptors that make no sense";
    case Fault::chain_too_long:
      return "a chain without an end";
    case Fault::buffer_unmapped:
      return "a buffer outside guest memory";
    case Fault::bad_header:
      return "a chain without room for its header";
  }
  return "?";
}

void Queue::start(const QueueSetup& setup, const QueueState& state) noexcept {
  setup_ = setup;
  state_ = state;
  is_started_ = true;
  read_ = state.next_avail;
  read_wrap_ = state.avail_wrap;
  unreported_ = 0;
  first_ = end_ = buffer_end_ = 0;
  commit(0);
}

QueueState Queue::stop() noexcept {
  is_started_ = false;
  first_ = end_ = buffer_end_ = 0;
  return state_;
}

// One store: whoever finds it finds all of it.
void Queue::commit(std::size_t untold) noexcept {
  const QueueCursor cursor{.next_avail = state_.next_avail,
                           .next_used = state_.next_used,
                           .wraps = static_cast<std::uint8_t>((state_.avail_wrap ? QueueCursor::kAvailWrap : 0) |
                                                              (state_.used_wrap ? QueueCursor::kUsedWrap : 0)),
                           .fault = state_.fault,
                           .untold = static_cast<std::uint16_t>(untold)};
  state::commit(journal_.cursor, std::bit_cast<std::uint64_t>(cursor));
}

bool Queue::take_over() noexcept {
  const auto cursor = std::bit_cast<QueueCursor>(journal_.cursor);
  const QueueState state{.next_avail = cursor.next_avail,
                         .next_used = cursor.next_used,
                         .avail_wrap = (cursor.wraps & QueueCursor::kAvailWrap) != 0,
                         .used_wrap = (cursor.wraps & QueueCursor::kUsedWrap) != 0,
                         .fault = cursor.fault};
  const bool is_one = cursor.wraps <= (QueueCursor::kAvailWrap | QueueCursor::kUsedWrap) &&
                      cursor.fault <= Fault::bad_header && cursor.untold <= kMaxReady && can_be(setup_, state);
  if (!is_one) return false;
  const auto entries = std::span{journal_.entries}.first(cursor.untold);
  const auto is_outside = [this](const QueueJournal::Entry& each) {
    return (each.place & ~QueueJournal::Entry::kWrap) >= setup_.size;
  };
  if (setup_.is_packed && std::any_of(entries.begin(), entries.end(), is_outside)) return false;
  state_ = state;
  if (cursor.untold != 0 && runs()) static_cast<void>(setup_.is_packed ? retell_packed(entries) : tell_split());
  start(setup_, state_);
  return true;
}

void Queue::fetch() noexcept {
  make_room();
  setup_.is_packed ? fetch_packed() : fetch_split();
}

// What waits moves to the front.
void Queue::make_room() noexcept {
  if (first_ == 0) return;
  if (first_ == end_) {
    first_ = end_ = buffer_end_ = 0;
    return;
  }
  const std::size_t from = chains_[first_].first;
  std::copy(buffers_.begin() + static_cast<std::ptrdiff_t>(from),
            buffers_.begin() + static_cast<std::ptrdiff_t>(buffer_end_), buffers_.begin());
  std::copy(chains_.begin() + static_cast<std::ptrdiff_t>(first_), chains_.begin() + static_cast<std::ptrdiff_t>(end_),
            chains_.begin());
  end_ -= std::exchange(first_, 0);
  buffer_end_ -= from;
  for (std::size_t i = 0; i < end_; ++i)
    chains_[i].first = static_cast<std::uint16_t>(chains_[i].first - from);
}

// The caller has seen has_room() when it began the chain.
bool Queue::add(Chain& chain, std::uint64_t address, std::uint32_t length, bool is_writable) noexcept {
  if (length == 0) return true;
  if (chain.readable + std::size_t{chain.writable} == kMaxChain) return fail(Fault::chain_too_long);
  if (is_writable) {
    ++chain.writable;
  } else if (chain.writable != 0) {
    return fail(Fault::bad_descriptor);  // [VIRTIO] 2.7.4.2: what is read comes first
  } else {
    ++chain.readable;
  }
  buffers_[buffer_end_++] = {Iova{address}, length};
  return true;
}

// An indirect table, as copied ([VIRTIO] 2.7.5.3, 2.8.7). `into` has room for kMaxChain descriptors.
bool Queue::read_table(std::uint64_t address, std::uint32_t bytes, std::span<std::byte> into) noexcept {
  if (!setup_.has_indirect || bytes == 0 || bytes % 16 != 0) return fail(Fault::bad_descriptor);
  if (bytes > into.size()) return fail(Fault::chain_too_long);
  return memory_.read(Iova{address}, into.first(bytes)) || fail(Fault::ring_unmapped);
}

bool Queue::use(std::span<const std::uint32_t> written) noexcept {
  written = written.first(std::min(written.size(), end_ - first_));
  if (written.empty() || !runs()) return runs();
  memory::publish_fence();  // what was written to the buffers is there, and what was read has been
  const bool is_done = setup_.is_packed ? use_packed(written) : use_split(written);
  first_ += written.size();
  return is_done;
}

bool Queue::take_interrupt() noexcept {
  if (unreported_ == 0 || !runs()) return false;
  memory::full_fence();  // the driver says first what it waits for, and looks then
  const bool is_wanted = setup_.is_packed ? is_wanted_packed() : is_wanted_split();
  unreported_ = 0;
  return is_wanted;
}

void Queue::set_kicks(bool wanted) noexcept {
  if (!runs()) return;
  setup_.is_packed ? set_kicks_packed(wanted) : set_kicks_split(wanted);
}

bool Queue::ask_for_kicks() noexcept {
  if (!runs()) return false;
  set_kicks(true);
  memory::full_fence();  // what was made available before the driver could see that is for us to find
  return setup_.is_packed ? has_more_packed() : has_more_split();
}

}  // namespace vmux::virtio
