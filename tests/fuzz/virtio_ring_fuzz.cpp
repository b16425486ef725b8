// SPDX-License-Identifier: BSD-3-Clause
// Split and packed rings full of anything: whatever a driver writes, the queue gives out chains of a bounded number of
// buffers, takes them back, and touches nothing outside guest memory.
//
// Input: 8 bytes of set-up; with bit 3 of the first, 8 words of 10 bytes that flip while the queue reads them (a place
// and its other value); then guest memory from its first byte on (descriptors, then the driver's area, the device's).
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "fuzz/beside.hpp"
#include "fuzz/input.hpp"
#include "intel/test/queues.hpp"
#include "virtio/queue.hpp"

namespace {

using namespace vmux;
using intel::test::Memory;

constexpr std::uint64_t kSize = 64 << 10;  // bytes of guest memory, in two ranges
constexpr std::uint64_t kDriver = Memory::kBase + 0x400, kDevice = Memory::kBase + 0x600;

struct Guest {
  Memory memory{kSize, kSize / 2};
  virtio::Queue queue;
  fuzz::Scribbler scribbler;
  Guest() { memory.space().attach(queue.memory()); }
};

void take_some(virtio::Queue& queue, std::uint8_t how) {
  const auto chains = queue.ready(1u + (how & 63));
  VMUX_ASSERT(chains.size() <= virtio::Queue::kMaxReady);
  for (const virtio::Chain& chain : chains) {
    VMUX_ASSERT(chain.readable + chain.writable <= virtio::Queue::kMaxChain);
    for (const virtio::Buffer& buffer : queue.readable(chain))
      VMUX_ASSERT(buffer.length != 0);
    for (const virtio::Buffer& buffer : queue.writable(chain))
      VMUX_ASSERT(buffer.length != 0);
  }
  std::array<std::uint32_t, virtio::Queue::kMaxReady> written{};
  written.fill(how);
  static_cast<void>(queue.use(std::span{written}.first(std::min<std::size_t>(chains.size(), how >> 2))));
  static_cast<void>(queue.take_interrupt());
  if ((how & 1) != 0) static_cast<void>(queue.ask_for_kicks());
  if ((how & 2) != 0) queue.refuse_kicks();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Guest guest;
  if (size < 8) return 0;
  const std::span<std::byte> memory{reinterpret_cast<std::byte*>(guest.memory.at(Memory::kBase)), kSize};
  fuzz::Input rest{data + 8, size - 8};
  const auto flips = rest.bytes((data[0] & 8) != 0 ? 80 : 0);
  const auto bytes = rest.bytes(kSize);
  std::fill(memory.begin(), memory.end(), std::byte{0});
  std::memcpy(memory.data(), bytes.data(), bytes.size());
  const bool is_packed = (data[0] & 1) != 0;
  virtio::QueueSetup setup{.descriptors = Iova{Memory::kBase + (data[1] & 1) * (kSize / 2 - 0x200)},
                           .driver = Iova{kDriver},
                           .device = Iova{kDevice},
                           .size = static_cast<std::uint16_t>(is_packed ? 1 + data[2] : 1u << (data[2] & 7)),
                           .is_packed = is_packed,
                           .has_event_idx = (data[0] & 2) != 0,
                           .has_indirect = (data[0] & 4) == 0};
  if (!virtio::can_be(setup)) return 0;
  for (fuzz::Input flip{flips.data(), flips.size()}; !flip.is_empty();) {
    const std::uint64_t at = flip.u16();
    guest.scribbler.add(memory, at, flip.u64());
  }
  guest.queue.start(setup, {});
  guest.scribbler.begin();
  for (unsigned round = 3; round < 8; ++round)
    take_some(guest.queue, data[round]);
  const virtio::QueueState state = guest.queue.stop();
  guest.queue.start(setup, state);
  take_some(guest.queue, data[7]);
  guest.scribbler.end();
  return 0;
}
