// SPDX-License-Identifier: BSD-3-Clause
// Steps of an input that are the same for every model that is driven by an Input (input.hpp). `Arena` is a NicArena of
// the model, with lane() and part_with_last_lane().
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>

#include "fuzz/input.hpp"
#include "fuzz/nic_arena.hpp"
#include "port/port.hpp"
#include "vmux/pci/function.hpp"

namespace vmux::fuzz {

template <class Arena>
void fill(Arena& arena, Input& input) {
  const std::uint32_t at = input.u32();
  arena.fill(at, input.bytes(input.u8()));
}

/// `how`: whether all of the guest's memory changes meanwhile, and how many frames are done.
template <class Arena>
void burst(Arena& arena, port::Port& from, port::Port& to, std::uint8_t how) {
  std::optional<std::uint8_t> fill_with;
  if ((how & 0x80) != 0) fill_with = how;
  arena.take_burst(from, to, fill_with, how & 0x3f);
}

/// A frame that comes in, with offloads of all kinds.
template <class Arena>
typename Arena::Arriving arriving(Input& input, std::uint8_t how) {
  typename Arena::Arriving what;
  what.length = input.u16() % 10'000;
  what.bytes = input.bytes(input.u8());
  what.is_for_all = (how & 1) != 0;
  what.offload.has_vlan = (how & 4) != 0;
  what.offload.vlan_tci = what.offload.has_vlan ? input.u16() : std::uint16_t{0};
  what.offload.needs_checksum = (how & 8) != 0;
  what.offload.csum_start = what.offload.needs_checksum ? input.u8() : std::uint8_t{0};
  what.offload.csum_offset = what.offload.needs_checksum ? input.u8() : std::uint8_t{0};
  return what;
}

template <class Arena>
void upheaval(Arena& arena, Input& input) {
  const std::uint8_t what = input.u8();
  switch (what % 8) {
    case 0:
      return arena.nic().function().reset(pci::ResetKind::client_request);
    case 1:
    case 2:
      return arena.set_command((what & 1) != 0 ? 0x7 : 0x3);  // bus master on and off
    case 3:
      return arena.nic().set_link((what & 8) != 0);
    case 4:
      return arena.unmap_all();
    case 5:
      return arena.unmap_half((what & 8) != 0);
    case 6:
      return arena.map_all();
    default:
      return arena.part_with_last_lane();
  }
}

template <class Arena>
void flip(Arena& arena, Input& input) {
  arena.end_flipping();
  for (unsigned count = input.u8() % 8 + 1; count > 0; --count) {
    const std::uint32_t at = input.u32();
    arena.flip(at, input.u64());
  }
  arena.begin_flipping();
}

/// An input: which of two arenas (of mapped and of trapped doorbells), then for each step a byte that says which.
template <class Arena, std::size_t Kinds>
void play(Arena& polled, Arena& trapped, void (*const (&steps)[Kinds])(Arena&, Input&), Input input) {
  Arena& arena = (input.u8() & 1) != 0 ? polled : trapped;
  arena.restart();
  for (unsigned i = 0; i < 100 && !input.is_empty(); ++i) {
    steps[input.u8() % Kinds](arena, input);
    arena.step_done();
  }
  arena.finish();
}

}  // namespace vmux::fuzz
