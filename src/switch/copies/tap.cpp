// SPDX-License-Identifier: BSD-3-Clause
#include "switch/copies/tap.hpp"

#include <algorithm>
#include <cstring>

#include "packet/bytes.hpp"

namespace vmux::switching {
namespace {

constexpr std::size_t kMacs = 12, kTag = 4;  // bytes
constexpr std::uint16_t kTypeVlan = 0x8100;

// Puts bytes side by side until there is no more room.
class Filling {
 public:
  explicit Filling(std::span<std::byte> room) noexcept : room_(room) {}
  void add(packet::Slice bytes) noexcept {
    const std::size_t size = std::min(bytes.size(), room_.size() - size_);
    if (size != 0) std::memcpy(room_.data() + size_, bytes.data(), size);
    size_ += size;
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool is_full() const noexcept { return size_ == room_.size(); }

 private:
  std::span<std::byte> room_;
  std::size_t size_ = 0;
};

// A tag beside the bytes goes to its place in them: how many there are then.
std::size_t copy(const packet::FrameView& view, bool has_tag, std::span<std::byte> into) noexcept {
  Filling filling{into};
  if (has_tag) {
    std::array<std::byte, kTag> tag{};
    packet::put16(tag, 0, kTypeVlan);
    packet::put16(tag, 2, view.offload.vlan_tci);
    filling.add(view.header.first(kMacs));
    filling.add(tag);
    filling.add(view.header.subspan(kMacs));
  } else {
    filling.add(view.header);
  }
  for (const packet::Slice slice : view.payload) {
    if (filling.is_full()) break;
    filling.add(slice);
  }
  return filling.size();
}

// Bytes of a frame that are copied.
std::size_t reach_of(const CaptureRules& rules) noexcept {
  return std::max<std::size_t>(rules.snaplen, rules.filter.program().empty() ? 0 : Tap::kFilterReach);
}

}  // namespace

Tap::Tap(const CaptureRules& rules, std::size_t ring_bytes)
    : rules_(rules), ring_(ring_bytes), beside_(rules.filter.program().empty() ? 0 : reach_of(rules)) {}

// The bytes are copied to where they would stay, and the filter looks at them there: what it does not let pass is
// overwritten by the next frame, and never leaves this CPU's cache.
void Tap::take(const Sighting& seen, const packet::FrameView& view) noexcept {
  if (!rules_.wants(seen.way, seen.why)) return;
  const std::uint32_t slot = slot_of(seen.port);
  counts_[slot].seen.add();
  const bool has_filter = !rules_.filter.program().empty();
  const bool has_tag = view.offload.has_vlan && view.header.size() >= kMacs;
  const std::size_t length = view.length + (has_tag ? kTag : 0);
  CapturedFrame head{seen, static_cast<std::uint32_t>(length), 0, 0};
  const std::span room = ring_.reserve(sizeof head + std::min(length, reach_of(rules_)));
  const std::span<std::byte> bytes = room.data() != nullptr ? room.subspan(sizeof head) : std::span{beside_};
  if (room.data() != nullptr || has_filter) {
    const std::size_t size = copy(view, has_tag, bytes);
    if (!rules_.filter.passes(bytes.first(size), head.length)) return;
    head.size = static_cast<std::uint32_t>(std::min<std::size_t>(size, rules_.snaplen));
  }
  counts_[slot].passed.add();
  if (room.data() == nullptr) {
    counts_[slot].missed.add();
    ++unreported_[slot];
    return;
  }
  head.missed = std::exchange(unreported_[slot], 0);
  std::memcpy(room.data(), &head, sizeof head);
  ring_.commit(sizeof head + head.size);
}

}  // namespace vmux::switching
