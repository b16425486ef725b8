// SPDX-License-Identifier: BSD-3-Clause
#include "packet/pool.hpp"

#include <algorithm>
#include <cstring>

#include "vmux/base/mapping.hpp"

namespace vmux::packet {

Pool::Pool(std::size_t packets, std::size_t segments)
    : bytes_(std::make_unique_for_overwrite<std::byte[]>(segments * kSegmentSize)), slots_(packets) {
  keep_out_of_dumps({bytes_.get(), segments * kSegmentSize});
  free_slots_.reserve(packets);
  free_segments_.reserve(segments);
  for (std::size_t i = packets; i-- > 0;) {
    slots_[i].index = static_cast<std::uint32_t>(i);
    free_slots_.push_back(slots_[i].index);
  }
  for (std::size_t i = segments; i-- > 0;)
    free_segments_.push_back(static_cast<std::uint32_t>(i));
}

std::span<std::byte> Pool::segment(std::uint32_t index) noexcept {
  return {bytes_.get() + std::size_t{index} * kSegmentSize, kSegmentSize};
}

Pool::Packet Pool::store(const FrameView& frame) noexcept {
  const std::size_t segments = (frame.length + kSegmentSize - 1) / kSegmentSize;
  if (free_slots_.empty() || segments > free_segments_.size() || segments > kMaxSegments) return {};
  Slot& slot = slots_[free_slots_.back()];
  free_slots_.pop_back();
  slot.segment_count = static_cast<std::uint32_t>(segments);
  for (std::size_t i = 0; i < segments; ++i) {
    slot.segments[i] = free_segments_.back();
    free_segments_.pop_back();
  }
  fill(slot, frame);
  return Packet{*this, slot};
}

void Pool::fill(Slot& slot, const FrameView& frame) noexcept {
  std::size_t index = 0, used = 0, left = frame.length;
  const auto write = [&](Slice from) {
    from = from.first(std::min(from.size(), left));
    left -= from.size();
    while (!from.empty()) {
      if (used == kSegmentSize) {
        ++index;
        used = 0;
      }
      const auto room = segment(slot.segments[index]).subspan(used);
      const std::size_t size = std::min(room.size(), from.size());
      std::memcpy(room.data(), from.data(), size);
      used += size;
      from = from.subspan(size);
    }
  };
  write(frame.header);
  for (const Slice& slice : frame.payload)
    write(slice);

  // The header room first (more where the sender found that more is needed), then what is left of its segment, then the
  // others.
  static_assert(kLongestHeader <= kSegmentSize);
  std::size_t length = frame.length - left;
  slot.view.offload = frame.offload;
  slot.view.length = static_cast<std::uint32_t>(length);
  std::size_t parts = 0, header = std::min({length, std::max(kHeaderRoom, frame.header.size()), kSegmentSize});
  slot.view.header = length == 0 ? Slice{} : Slice{segment(slot.segments[0])}.first(header);
  length -= header;
  for (std::size_t i = 0; length > 0; ++i) {
    const Slice whole = segment(slot.segments[i]);
    const Slice rest = i == 0 ? whole.subspan(header) : whole;
    slot.payload[parts] = rest.first(std::min(rest.size(), length));
    length -= slot.payload[parts++].size();
  }
  slot.view.payload = std::span{slot.payload}.first(parts);
}

void Pool::give_back(Slot& slot) noexcept {
  for (std::uint32_t i = slot.segment_count; i-- > 0;)
    free_segments_.push_back(slot.segments[i]);
  free_slots_.push_back(slot.index);
}

}  // namespace vmux::packet
