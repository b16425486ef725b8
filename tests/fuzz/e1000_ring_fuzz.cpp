// SPDX-License-Identifier: BSD-3-Clause
// Rings that are set up as a driver would, full of descriptors and frames as only an attacker would write them.
// Input: a byte of options, then 16 bytes for each transmit descriptor, then the memory that their buffers point into.
// With the right option some of those bytes flip while the device reads them.
#include "fuzz/e1000_arena.hpp"

namespace vmux::fuzz {
namespace {

constexpr std::uint32_t kTxRing = 0x1000, kRxRing = 0x2000, kBuffers = 0x7'f000, kDescriptors = 64;

void set_up(E1000Arena& arena, unsigned options) {
  for (std::uint32_t i = 0; i < kDescriptors; ++i) {
    const std::uint64_t buffer = 0x9'0000 + i * 0x1000;
    std::vector<std::uint8_t> descriptor(16);
    std::memcpy(descriptor.data(), &buffer, 8);
    arena.fill(kRxRing + i * 16, descriptor);
  }
  arena.write(0x0, (options & 1) != 0 ? 0x4000'0241 : 0x241);  // CTRL.VME
  arena.write(0x5000, (options & 2) != 0 ? 0x300 : 0);         // RXCSUM
  arena.write(0x2800, kRxRing);
  arena.write(0x2808, kDescriptors * 16);
  arena.write(0x2818, kDescriptors - 1);
  arena.write(0x3800, kTxRing);
  arena.write(0x3808, kDescriptors * 16);
  arena.write(0x100, 0x803a | ((options & 4) != 0 ? 0x3'0000 : 0));  // all frames, long ones, two buffer sizes
  arena.write(0x400, 0x0a);
}

// Most addresses near the buffers, some anywhere: else every first descriptor would stop the queue.
std::uint64_t buffer_address(std::uint64_t raw) {
  switch (raw >> 62) {
    case 0:
      return raw;
    case 1:
      return E1000Arena::kReadOnly + raw % E1000Arena::kReadOnlySize;
    default:
      return kBuffers + raw % 0x2000;
  }
}

void flip_some(E1000Arena& arena, Provider& input) {
  for (unsigned count = input.in_range<unsigned>(1, 8); count > 0; --count) {
    const std::uint32_t place = input.boolean() ? kTxRing : kBuffers;
    const std::uint64_t other = input.number<std::uint64_t>();
    const std::uint32_t word = input.in_range<std::uint32_t>(0, 2 * kDescriptors - 1);
    const bool is_address = place == kTxRing && word % 2 == 0;
    arena.flip(place + word * 8, is_address ? buffer_address(other) : other);
  }
  arena.begin_flipping();
}

}  // namespace
}  // namespace vmux::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmux::fuzz;
  static E1000Arena arena{vmux::device::e1000::Doorbell::poll};
  Provider input{data, size};
  arena.restart();
  const unsigned options = input.number<std::uint8_t>();
  set_up(arena, options);
  const std::uint32_t count = input.in_range<std::uint32_t>(1, kDescriptors - 1);
  for (std::uint32_t i = 0; i < count; ++i) {
    std::vector<std::uint8_t> descriptor = input.bytes(16);
    descriptor.resize(16);
    const bool is_context = (descriptor[11] & 0x20) != 0 && (descriptor[10] >> 4) == 0;
    if (!is_context) {
      std::uint64_t raw = 0;
      std::memcpy(&raw, descriptor.data(), 8);
      raw = buffer_address(raw);
      std::memcpy(descriptor.data(), &raw, 8);
      descriptor[10] &= 0x10;  // a length of 64 KiB at most: more is found at once
    }
    arena.fill(kTxRing + i * 16, descriptor);
  }
  arena.fill(kBuffers, input.bytes(512));
  if ((options & 8) != 0) flip_some(arena, input);
  arena.write(0x3818, count);
  arena.step_done();
  const std::uint8_t scribble = input.number<std::uint8_t>();
  if ((options & 8) != 0) arena.take_burst(std::nullopt, 16);
  arena.step_done();
  arena.take_burst(scribble, 32);
  arena.step_done();
  arena.arrive(input);
  arena.step_done();
  arena.take_burst(scribble, 32);
  arena.step_done();
  arena.end_flipping();
  arena.run_timers();
  return 0;
}
