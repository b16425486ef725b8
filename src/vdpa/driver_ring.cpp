// SPDX-License-Identifier: BSD-3-Clause
#include "vdpa/driver_ring.hpp"

#include <cstring>
#include <utility>

#include "vmux/memory/ordered.hpp"
#include "wire/virtio.hpp"

namespace vmux::vdpa {
namespace {

namespace wv = wire::virtio;
namespace split = wv::split;

// Behind the descriptors comes the available ring, and on the next multiple of 4 ([VIRTIO] 2.7) the used one.
std::uint64_t avail_at(std::uint16_t size) noexcept { return std::uint64_t{size} * sizeof(wv::SplitDescriptor); }
std::uint64_t used_at(std::uint16_t size) noexcept {
  return (avail_at(size) + split::used_event(size) + 2 + 3) & ~std::uint64_t{3};
}

}  // namespace

std::uint64_t DriverRing::bytes_of(std::uint16_t size) noexcept { return used_at(size) + split::avail_event(size) + 2; }

void DriverRing::start(RingMemory::Part memory, std::uint16_t size) {
  memory_ = memory;
  size_ = size;
  avail_ = used_ = 0;
  in_flight_ = 0;
  is_broken_ = false;
  next_.assign(size, 0);
  lengths_.assign(size, 0);
  free_.clear();
  free_.reserve(size);
  for (std::uint16_t i = size; i > 0; --i)
    free_.push_back(static_cast<std::uint16_t>(i - 1));
}

RingPlace DriverRing::place() const noexcept {
  const std::uint64_t at = memory_.at.raw;
  return {Iova{at}, Iova{at + avail_at(size_)}, Iova{at + used_at(size_)}, size_};
}

std::optional<std::uint16_t> DriverRing::post(std::span<const virtio::Buffer> readable,
                                              std::span<const virtio::Buffer> writable) noexcept {
  const std::size_t count = readable.size() + writable.size();
  if (count == 0 || count > free_.size()) return std::nullopt;
  const std::uint16_t head = free_.back();
  for (std::size_t i = 0; i < count; ++i) {
    const bool is_last = i + 1 == count, is_writable = i >= readable.size();
    const virtio::Buffer& buffer = is_writable ? writable[i - readable.size()] : readable[i];
    const std::uint16_t at = free_.back();
    free_.pop_back();
    next_[at] = is_last ? at : free_.back();
    const wv::SplitDescriptor raw{
        buffer.at.raw, buffer.length,
        static_cast<std::uint16_t>((is_last ? 0 : wv::descriptor::next) | (is_writable ? wv::descriptor::write : 0)),
        next_[at]};
    std::memcpy(memory_.bytes.data() + at * sizeof raw, &raw, sizeof raw);
  }
  lengths_[head] = static_cast<std::uint16_t>(count);
  ++in_flight_;
  const Le<std::uint16_t> entry = head;
  const std::uint64_t slot = avail_at(size_) + split::ring + 2ull * (avail_ & (size_ - 1u));
  std::memcpy(memory_.bytes.data() + slot, &entry, sizeof entry);
  ++avail_;
  return head;
}

void DriverRing::publish() noexcept { memory::store_release16(memory_.bytes, avail_at(size_) + split::index, avail_); }

bool DriverRing::wants_kick() const noexcept {
  memory::full_fence();  // the function asks for kicks first, and looks for chains then
  return (memory::load_acquire16(memory_.bytes, used_at(size_) + split::flags) & split::no_notify) == 0;
}

std::optional<DriverRing::Done> DriverRing::take() noexcept {
  if (is_broken_) return std::nullopt;
  const std::uint16_t now = memory::load_acquire16(memory_.bytes, used_at(size_) + split::index);
  const auto ready = static_cast<std::uint16_t>(now - used_);
  if (ready == 0) return std::nullopt;
  wv::UsedElement raw;
  const std::uint64_t at = used_at(size_) + split::ring + sizeof raw * (used_ & (size_ - 1u));
  std::memcpy(&raw, memory_.bytes.data() + at, sizeof raw);
  const std::uint32_t head = raw.id;
  if (ready > in_flight_ || head >= size_ || lengths_[head] == 0) {
    is_broken_ = true;
    return std::nullopt;
  }
  ++used_;
  --in_flight_;
  auto place = static_cast<std::uint16_t>(head);
  for (std::uint16_t left = std::exchange(lengths_[head], std::uint16_t{0}); left > 0; --left) {
    free_.push_back(place);
    place = next_[place];
  }
  return Done{static_cast<std::uint16_t>(head), raw.length};
}

}  // namespace vmux::vdpa
