// SPDX-License-Identifier: BSD-3-Clause
#include "vdpa/direct_queue.hpp"

#include <algorithm>
#include <vector>

#include "virtio/ring_memory.hpp"
#include "wire/virtio.hpp"

namespace vmux::vdpa {
namespace {

namespace wv = wire::virtio;
namespace split = wv::split;

}  // namespace

std::optional<DirectQueue::Indices> DirectQueue::indices() noexcept {
  const auto used = virtio::load16(memory_, Iova{setup_.device.raw + split::index});
  const auto available = virtio::load16(memory_, Iova{setup_.driver.raw + split::index});
  if (!used || !available) return std::nullopt;
  return Indices{*available, *used};
}

void DirectQueue::look() noexcept {
  const auto now = indices();
  if (now && now->used >= setup_.size) has_gone_round_ = true;
}

bool DirectQueue::is_drained() noexcept {
  const auto now = indices();
  if (!now) return true;
  const auto pending = static_cast<std::uint16_t>(now->available - now->used);
  return pending == 0 || pending > setup_.size;
}

std::optional<virtio::QueueState> DirectQueue::state() noexcept {
  look();
  const auto now = indices();
  if (!now) return std::nullopt;
  const auto pending = static_cast<std::uint16_t>(now->available - now->used);
  if (pending > setup_.size) return std::nullopt;
  if (pending != 0 && !is_in_order_ && !was_in_order(*now)) return std::nullopt;
  return virtio::QueueState{.next_avail = now->used, .next_used = now->used};
}

std::optional<virtio::QueueState> DirectQueue::end() noexcept {
  const auto now = indices();
  if (!now) return std::nullopt;
  return virtio::QueueState{.next_avail = now->available, .next_used = now->used};
}

// Both rings still have their newest entries: the used ring the last `size` that were used, the available ring the last
// `size` that were made available, of which `pending` are newer. Where both have an entry they name the same head, if
// nothing overtook anything: a chain that was overtaken and still waits has moved every entry behind it. And its head
// is in neither, so that among as many chains as the ring has heads, one would be named twice.
bool DirectQueue::was_in_order(Indices now) noexcept {
  const auto slot_of = [this](unsigned index) { return static_cast<std::uint16_t>(index) & (setup_.size - 1u); };
  const auto head_at = [this, &slot_of](unsigned index) {
    return memory_.fetch<Le<std::uint16_t>>(Iova{setup_.driver.raw + split::ring + 2ull * slot_of(index)});
  };
  const auto pending = static_cast<std::uint16_t>(now.available - now.used);
  std::vector<bool> waits(setup_.size, false);
  for (unsigned i = 0; i < pending; ++i) {
    const auto head = head_at(now.used + i);
    if (!head || std::uint16_t{*head} >= setup_.size || waits[*head]) return false;
    waits[*head] = true;
  }
  unsigned count = setup_.size - pending;
  if (!has_gone_round_) count = std::min<unsigned>(count, now.used);
  for (unsigned back = 1; back <= count; ++back) {
    const unsigned index = now.used - back;
    const auto element = memory_.fetch<wv::UsedElement>(
        Iova{setup_.device.raw + split::ring + sizeof(wv::UsedElement) * slot_of(index)});
    const auto head = head_at(index);
    if (!element || !head || std::uint32_t{element->id} != std::uint16_t{*head}) return false;
  }
  // What was used before these entries is not known. If some of that still waits, both rings agree all the same as long
  // as the guest repeats its heads with a period of that many.
  if (count == 0 || (!has_gone_round_ && count == now.used)) return true;
  for (unsigned period = 1; period <= pending; ++period) {
    bool repeats = true;
    for (unsigned back = 1; back <= count && repeats; ++back) {
      const auto one = head_at(now.used - back), later = head_at(now.used - back + period);
      repeats = one && later && std::uint16_t{*one} == std::uint16_t{*later};
    }
    if (repeats) return false;
  }
  return true;
}

}  // namespace vmux::vdpa
