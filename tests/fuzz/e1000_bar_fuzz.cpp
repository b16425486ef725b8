// SPDX-License-Identifier: BSD-3-Clause
// Any sequence of register, configuration and memory accesses, mixed with traffic, on an e1000 in both doorbell modes.
// Nothing may crash, hang or read a header twice: the arena overwrites guest memory while frames are borrowed, and some
// inputs have bytes of it flip beside all that happens.
#include "fuzz/e1000_arena.hpp"

namespace vmux::fuzz {
namespace {

// Registers that do something, so that the fuzzer need not find them among 128 KiB.
constexpr std::uint32_t kPlaces[] = {
    0x0,    0x8,    0x10,   0x14,   0x18,   0x20,   0x38,   0xc0,   0xc4,   0xc8,   0xd0,
    0xd8,   0x100,  0x400,  0x1000, 0x2800, 0x2804, 0x2808, 0x2810, 0x2818, 0x2820, 0x282c,
    0x2c00, 0x3800, 0x3804, 0x3808, 0x3810, 0x3818, 0x3820, 0x3828, 0x382c, 0x4010, 0x4074,
    0x4088, 0x408c, 0x40cc, 0x5000, 0x5200, 0x5400, 0x5404, 0x5600, 0x5820, 0x9000, 0x9800,
};

constexpr std::size_t kSizes[] = {1, 2, 4, 8, 64};

std::uint32_t place(Provider& input) {
  if (input.is_likely(9)) return input.one_of<std::uint32_t>(kPlaces);
  return input.in_range<std::uint32_t>(0, 0x1ffff);
}

void step(E1000Arena& arena, Provider& input) {
  switch (input.in_range<unsigned>(0, 10)) {
    case 0:
    case 1:
      return arena.write(place(input) & ~3u, input.number<std::uint32_t>());
    case 2:
      return arena.read(place(input) & ~7u, input.one_of<std::size_t>(kSizes));
    case 3:
      return arena.write_mapped(input.in_range<std::uint32_t>(0x800, 0xfff) * 4,
                                input.in_range<std::uint32_t>(0, 0xfffff));
    case 4: {
      const std::uint64_t at = input.in_range<std::uint32_t>(0, E1000Arena::kMemory);
      return arena.fill(at, input.bytes(64));
    }
    case 5:
      return arena.take_burst(input.number<std::uint8_t>(), input.in_range<std::size_t>(0, 32));
    case 6:
      return arena.arrive(input);
    case 7:
      arena.write(input.in_range<std::uint32_t>(0, 15) * 4, input.number<std::uint32_t>(), pci::Region::bar1);
      return arena.read(4, 4, pci::Region::bar1);
    case 9: {
      for (unsigned count = input.in_range<unsigned>(0, 8); count > 0; --count)
        arena.flip(input.in_range<std::uint32_t>(0, E1000Arena::kMemory), input.number<std::uint64_t>());
      return arena.begin_flipping();
    }
    case 8:
      return arena.nic().set_link(input.boolean());
    default:
      return arena.run_timers();
  }
}

}  // namespace
}  // namespace vmux::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using vmux::fuzz::E1000Arena;
  static E1000Arena polled{vmux::device::e1000::Doorbell::poll};
  static E1000Arena trapped{vmux::device::e1000::Doorbell::trap};
  vmux::fuzz::Provider input{data, size};
  E1000Arena& arena = input.boolean() ? polled : trapped;
  arena.restart();
  for (unsigned i = 0; i < 200 && input.left() > 0; ++i) {
    vmux::fuzz::step(arena, input);
    arena.step_done();
  }
  arena.end_flipping();
  return 0;
}
