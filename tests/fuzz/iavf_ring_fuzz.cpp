// SPDX-License-Identifier: BSD-3-Clause
// Descriptor rings of an iavf full of anything: whatever a driver writes, the queues take only what makes sense, touch
// nothing outside guest memory, and every view that comes out can be delivered.
//
// Input: 8 bytes of set-up; with bit 4 of the first, 8 words of 10 bytes that flip while the queues read them (a place
// and its other value); then guest memory from its first byte on (the transmit ring, then the receive ring).
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "fuzz/input.hpp"
#include "fuzz/nic_arena.hpp"
#include "fuzz/steps.hpp"
#include "intel/rx.hpp"
#include "intel/test/queues.hpp"
#include "intel/tx.hpp"

namespace {

using namespace vmux;
using namespace vmux::intel;

constexpr std::uint64_t kSize = 64 << 10;  // bytes of guest memory, in two ranges: buffers may lie across
constexpr std::uint64_t kTxRing = test::Memory::kBase, kRxRing = test::Memory::kBase + 0x800;
constexpr std::uint16_t kLength = 64;

struct Guest {
  test::Memory memory{kSize, kSize / 2};
  TxQueue tx{"fuzz", 0};
  RxQueue rx{"fuzz", 0};
  fuzz::Receiver receiver;
  fuzz::Scribbler scribbler;
  Guest() {
    memory.space().attach(tx.memory());
    memory.space().attach(rx.memory());
  }
};

template <class State>
bool is_same(const State& a, const State& b) {
  return a.head == b.head && a.fault == b.fault && a.enabled == b.enabled && a.config.ring == b.config.ring &&
         a.config.length == b.config.length;
}

/// After each round: others go on where these queues are.
void check_step(const Guest& guest) {
  if (!fuzz::checks_each_step) return;
  ++fuzz::steps_checked;
  TxQueue tx{"other", 0};
  RxQueue rx{"other", 0};
  tx.restore({guest.tx.state(), false, totals_of(guest.tx.counters())});
  rx.restore({guest.rx.state(), guest.rx.has_pending(), totals_of(guest.rx.counters())});
  VMUX_ASSERT(is_same(tx.state(), guest.tx.state()) && is_same(rx.state(), guest.rx.state()));
  VMUX_ASSERT(rx.has_pending() == guest.rx.has_pending());
  VMUX_ASSERT(rx.counters().frames.get() == guest.rx.counters().frames.get());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Guest guest;
  if (size < 8) return 0;
  const std::span<std::byte> memory{reinterpret_cast<std::byte*>(guest.memory.at(test::Memory::kBase)), kSize};
  fuzz::Input rest{data + 8, size - 8};
  const auto flips = rest.bytes((data[0] & 16) != 0 ? 80 : 0);
  const auto bytes = rest.bytes(kSize);
  std::fill(memory.begin(), memory.end(), std::byte{0});
  std::memcpy(memory.data(), bytes.data(), bytes.size());
  constexpr std::uint8_t kLayouts[] = {rxdid::legacy32, rxdid::comms_ovs, rxdid::flex_nic, rxdid::legacy16};
  const std::uint8_t layout = kLayouts[data[0] & 3];
  guest.tx.configure({.ring = Iova{kTxRing},
                      .length = kLength,
                      .head_writeback = (data[0] & 4) != 0,
                      .head_writeback_at = Iova{test::Memory::kBase + data[1] * 0x200u}});
  guest.rx.configure({.ring = Iova{kRxRing},
                      .length = kLength,
                      .buffer_size = static_cast<std::uint16_t>(128 + data[2] * 16),
                      .max_frame = 9728,
                      .rxdid = layout,
                      .wide = layout != rxdid::legacy16,
                      .keep_crc = (data[0] & 8) != 0});
  intel::VlanOffload vlan;
  vlan.outer = {(data[3] & 1) != 0, true, static_cast<std::uint16_t>((data[3] & 2) != 0 ? 0x88a8 : 0x8100),
                intel::TagPlace::l2tag1};
  vlan.inner = {(data[3] & 4) != 0, true, 0x8100, intel::TagPlace::l2tag2};
  guest.tx.enable();
  guest.rx.enable();
  static RxRules rules;
  rules.vlan = vlan;
  rules.filters.unicast_promisc = rules.filters.multicast_promisc = true;
  rules.rss.enabled = true;
  rules.rss.hena = kHashedPackets;
  const packet::Accepts takes = accepts(rules, 9728);
  for (fuzz::Input flip{flips.data(), flips.size()}; !flip.is_empty();) {
    const std::uint64_t at = flip.u16();
    guest.scribbler.add(memory, at, flip.u64());
  }
  guest.scribbler.begin();
  std::array<packet::FrameView, 32> views;
  std::array<RxInfo, 32> infos;
  for (unsigned round = 0; round < 4; ++round) {
    const std::size_t count = guest.tx.peek(views, data[4 + round] & 0x7f, vlan);
    for (std::size_t i = 0; i < count; ++i)
      guest.receiver.take(views[i]);
    const std::span frames{views.data(), count};
    steer(rules, frames, infos);
    static_cast<void>(guest.rx.deliver(frames, std::span{infos}.first(count), takes, (data[7 - round] >> 1) & 0x7f));
    check_step(guest);
    static_cast<void>(guest.rx.flush());
    static_cast<void>(guest.tx.complete(count));
  }
  guest.scribbler.end();
  return 0;
}
