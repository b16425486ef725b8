// SPDX-License-Identifier: BSD-3-Clause
#include "switch/policy/meter.hpp"

#include <algorithm>
#include <limits>

#include "switch/stages/length.hpp"

namespace vmux::switching {
namespace {

constexpr double kUsualBurst_s = 10e-3, kLeastBytes = 64.0 * 1024, kLeastFrames = 64;

double bits_at_once(const Limit& limit) noexcept {
  const auto rate = static_cast<double>(limit.bits_per_s);
  if (limit.burst_bytes == 0) return std::max(rate * kUsualBurst_s, 8 * kLeastBytes);
  return std::max(rate * Meter::kShortestBurst_s, 8 * static_cast<double>(limit.burst_bytes));
}

}  // namespace

OnWire on_wire(const packet::FrameView& view) noexcept {
  const packet::Offload& offload = view.offload;
  const std::uint32_t tag = offload.has_vlan ? kTagBytes : 0;
  OnWire all{view.length, 1};
  if (offload.gso != packet::Gso::none && offload.gso_size != 0 && view.length > offload.header_length) {
    const std::uint32_t payload = view.length - offload.header_length;
    all.frames = (payload - 1) / offload.gso_size + 1;
    all.bytes += std::uint64_t{all.frames - 1} * offload.header_length;
  }
  all.bytes += std::uint64_t{all.frames} * tag;
  return all;
}

Bucket::Bucket(std::uint64_t rate, double depth) noexcept
    : ticks_per_unit_(rate == 0 ? 0 : Lead::kTicksPerSecond / static_cast<double>(rate)),
      depth_(rate == 0 ? std::numeric_limits<double>::infinity() : depth * ticks_per_unit_) {}

std::uint64_t Bucket::wait_ns(std::uint64_t now_ns) const noexcept {
  if (ticks_per_unit_ == 0) return 0;
  const double excess = ahead(now_ns) - depth_ + std::min(depth_ / 4, kLongestWait);
  return excess <= 0 ? 0 : static_cast<std::uint64_t>(excess / Lead::kTicks) + 1;
}

Meter::Meter(const Limit& limit) noexcept
    : bits_(limit.bits_per_s, bits_at_once(limit)),
      frames_(limit.frames_per_s, std::max(static_cast<double>(limit.frames_per_s) * kUsualBurst_s, kLeastFrames)) {}

std::size_t Meter::pass(std::span<const packet::FrameView> frames, std::uint64_t now_ns) noexcept {
  const double bits_before = bits_.ahead(now_ns), frames_before = frames_.ahead(now_ns);
  double bits = 0, count = 0;
  std::size_t passed = 0;
  while (passed < frames.size() && bits_.has_room(bits_before + bits) && frames_.has_room(frames_before + count)) {
    const OnWire wire = on_wire(frames[passed++]);
    bits += bits_.ticks(8 * static_cast<double>(wire.bytes));
    count += frames_.ticks(wire.frames);
  }
  if (passed == 0) return 0;
  bits_.charge(now_ns, bits);
  frames_.charge(now_ns, count);
  return passed;
}

void Meter::give_back(std::span<const packet::FrameView> frames) noexcept {
  double bits = 0, count = 0;
  for (const packet::FrameView& view : frames) {
    const OnWire wire = on_wire(view);
    bits += bits_.ticks(8 * static_cast<double>(wire.bytes));
    count += frames_.ticks(wire.frames);
  }
  bits_.give_back(bits);
  frames_.give_back(count);
}

std::uint64_t Meter::wait_ns(std::uint64_t now_ns) const noexcept {
  return std::max(bits_.wait_ns(now_ns), frames_.wait_ns(now_ns));
}

}  // namespace vmux::switching
