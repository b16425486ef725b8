// SPDX-License-Identifier: BSD-3-Clause
#include "vdpa/shadow_queue.hpp"

#include <algorithm>
#include <limits>

namespace vmux::vdpa {

using virtio::Buffer;
using virtio::Chain;
using virtio::Fault;

void ShadowQueue::start(const virtio::QueueSetup& setup, const virtio::QueueState& state, bool is_logged) noexcept {
  guest_.start(setup, state);
  count_ = 0;
  first_ = 0;
  number_of_.assign(ring_.size(), 0);
  own_head_.reset();
  is_logged_ = is_logged;
}

// A buffer is the guest's memory or the function gets none of the chain: an address of ours, of which it shares the
// domain, is not the guest's to give.
bool ShadowQueue::has_buffers(std::span<const Buffer> buffers, memory::Access access) noexcept {
  return std::ranges::all_of(
      buffers, [&](const Buffer& buffer) { return buffers_.covers(buffer.at, ByteCount{buffer.length}, access); });
}

bool ShadowQueue::post(const Chain& chain) noexcept {
  const auto readable = guest_.readable(chain), writable = guest_.writable(chain);
  if (!has_buffers(readable, memory::Access::read) || !has_buffers(writable, memory::Access::write)) {
    return guest_.fail(Fault::buffer_unmapped);
  }
  const std::size_t count = readable.size() + writable.size();
  if (count > ring_.size()) return guest_.fail(Fault::chain_too_long);
  const auto head = ring_.post(readable, writable);
  if (!head) {
    if (count == 0) return guest_.fail(Fault::bad_descriptor);
    return false;  // later, when the function has given some back
  }
  number_of_[*head] = static_cast<std::uint32_t>(first_ + count_);
  posted_[count_++] = {};
  return true;
}

bool ShadowQueue::forward() noexcept {
  if (!guest_.runs() || ring_.is_broken()) return false;
  bool has_new = false;
  for (;;) {
    const auto chains = guest_.ready(virtio::kMaxReady);
    const std::size_t before = count_;
    while (count_ < chains.size() && post(chains[count_])) {
    }
    has_new |= count_ != before;
    const bool is_caught_up = count_ == chains.size() && chains.size() < virtio::kMaxReady;
    if (!guest_.runs()) break;
    if (!is_caught_up) {  // the function's next completion makes room
      guest_.refuse_kicks();
      break;
    }
    if (!guest_.ask_for_kicks()) break;
  }
  if (!has_new) return false;
  ring_.publish();
  return ring_.wants_kick();
}

bool ShadowQueue::post_own(const Buffer& buffer) noexcept {
  if (own_head_ || ring_.is_broken()) return false;
  own_head_ = ring_.post({&buffer, 1}, {});
  return own_head_.has_value();
}

void ShadowQueue::note(const DriverRing::Done& done) noexcept {
  if (own_head_ == done.head) return own_head_.reset();
  const std::uint32_t place = number_of_[done.head] - first_;
  if (place < count_) posted_[place] = {done.written, true};
}

std::uint32_t ShadowQueue::writable_bytes(const Chain& chain) const noexcept {
  std::uint64_t bytes = 0;
  for (const Buffer& buffer : guest_.writable(chain))
    bytes += buffer.length;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, std::numeric_limits<std::uint32_t>::max()));
}

// All that it could have written: not every device counts right, and a status byte may lie behind what was counted.
void ShadowQueue::mark(const Chain& chain) noexcept {
  for (const Buffer& buffer : guest_.writable(chain)) {
    for (std::uint64_t done = 0; done < buffer.length;) {
      const auto part = buffers_.borrow_for_write(Iova{buffer.at.raw + done}, ByteCount{buffer.length - done});
      if (part.empty()) break;  // it was there when the function was given it, and is the guest's to take away
      done += part.size();
    }
  }
}

bool ShadowQueue::collect() noexcept {
  while (const auto done = ring_.take())
    note(*done);
  std::size_t ready = 0;
  while (ready < count_ && posted_[ready].is_done)
    ++ready;
  if (ready == 0 || !guest_.runs()) return false;
  const auto chains = guest_.ready(ready);
  std::array<std::uint32_t, virtio::kMaxReady> written{};
  for (std::size_t i = 0; i < ready; ++i) {
    written[i] = std::min(posted_[i].written, writable_bytes(chains[i]));
    if (is_logged_) mark(chains[i]);
  }
  if (!guest_.use(std::span{written}.first(ready))) return false;
  chains_.add(ready);
  std::copy(posted_.begin() + static_cast<std::ptrdiff_t>(ready), posted_.begin() + static_cast<std::ptrdiff_t>(count_),
            posted_.begin());
  count_ -= ready;
  first_ += static_cast<std::uint32_t>(ready);
  return guest_.take_interrupt();
}

virtio::QueueState ShadowQueue::stop() noexcept {
  count_ = 0;
  return guest_.stop();
}

}  // namespace vmux::vdpa
