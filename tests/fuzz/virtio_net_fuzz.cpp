// SPDX-License-Identifier: BSD-3-Clause
// A driver of a virtio network card that says anything: registers, commands, chains and frames of every shape, between
// accesses to BARs, resets, memory that comes and goes, and traffic on the lanes of two pollers; the second has a
// thread of its own if the input wants it.
//
// Input: the doorbell mode, then steps: a byte for its kind (kSteps), then what that step reads.
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "fuzz/input.hpp"
#include "fuzz/nic_arena.hpp"
#include "fuzz/nic_steps.hpp"
#include "port/test/rounds.hpp"
#include "rigs/virtio_net_rig.hpp"

namespace vmux::fuzz {
namespace {

using rigs::VirtioCard;

constexpr std::uint32_t kPairs = 3, kQueues = 2 * kPairs + 1, kSize = 64;
constexpr std::uint32_t kRings = 0x1000, kRing = 0x1000, kDriver = 0x400, kDevice = 0x800, kTables = 0x1'0000,
                        kBuffers = 0x2'0000, kBuffer = 0x800;
constexpr std::uint16_t kNext = 1, kWrite = 2, kIndirect = 4;

struct OtherPoller {
  std::unique_ptr<runtime::Poller> other{*runtime::Poller::create()};
};

struct Part {
  std::uint64_t at = 0;
  std::uint32_t length = 0;
  bool is_for_device = false;
};

class VirtioArena : private OtherPoller, public NicArena<VirtioCard> {
 public:
  explicit VirtioArena(device::virtio_net::Doorbell doorbell)
      : NicArena([this, doorbell](runtime::Poller& home) {
          return VirtioCard::create(
              {.mac = {2, 0, 0, 0, 0, 1}, .doorbell = doorbell, .queue_pairs = kPairs, .more_pollers = {other.get()}},
              home);
        }),
        lanes_(nic().lanes()) {}

  void set(std::uint32_t at, std::uint64_t value, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{&value, 1}).first(size);
    static_cast<void>(nic().function().write(pci::Region::bar4, RegionOffset{at}, bytes));
  }
  /// Everything up to running queues, with some of the features that there are.
  void bring_up(std::uint64_t without) {
    is_packed_ = (without >> 34 & 1) == 0;
    const std::uint64_t features = (nic().nic().features() & ~without) | std::uint64_t{1} << 32;
    set(20, 0, 1);
    set(20, 3, 1);
    set(8, 0, 4);
    set(12, features & 0xffff'ffff, 4);
    set(8, 1, 4);
    set(12, features >> 32, 4);
    set(20, 11, 1);
    for (std::uint32_t queue = 0; queue < kQueues; ++queue) {
      const std::uint32_t ring = kRings + queue * kRing;
      fill(ring, std::vector<std::uint8_t>(kRing));
      places_[queue] = {};
      set(22, queue, 2);
      set(24, kSize, 2);
      set(26, queue + 1, 2);
      set(32, ring, 4);
      set(36, 0, 4);
      set(40, ring + kDriver, 4);
      set(44, 0, 4);
      set(48, ring + kDevice, 4);
      set(52, 0, 4);
      set(28, 1, 2);
    }
    set(20, 15, 1);
  }
  /// Makes a chain available as the specification has it.
  void post(std::uint32_t queue, std::span<const Part> parts, bool is_indirect) {
    Place& place = places_[queue];
    std::uint64_t at = kRings + queue * kRing;
    if (is_indirect) at = kTables + queue * 0x800u;
    std::uint16_t first = place.next;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const bool is_last = i + 1 == parts.size();
      auto flags = static_cast<std::uint16_t>((parts[i].is_for_device ? kWrite : 0) | (is_last ? 0 : kNext));
      const std::uint16_t slot = is_indirect ? static_cast<std::uint16_t>(i) : take(place, flags);
      const auto next = static_cast<std::uint16_t>(is_indirect ? i + 1 : place.next);
      put(at + slot * 16u, parts[i].at, parts[i].length, is_packed_ ? slot : flags, is_packed_ ? flags : next);
    }
    if (is_indirect) {
      std::uint16_t flags = kIndirect;
      first = take(place, flags);
      put(kRings + queue * kRing + first * 16u, at, static_cast<std::uint32_t>(parts.size() * 16),
          is_packed_ ? first : flags, is_packed_ ? flags : std::uint16_t{0});
    }
    if (is_packed_) return;
    const std::uint32_t driver = kRings + queue * kRing + kDriver;
    put16(driver + 4 + place.available++ % kSize * 2, first);
    put16(driver + 2, place.available);
  }
  void notify(std::uint32_t page) { set(0x4000 + page * 0x1000, page, 2); }

  /// From now on to finish() the last lane has a thread of its own.
  void part_with_last_lane() {
    is_last_away_ = true;
    beside_.begin([this] {
      port::Port& lane = *lanes_.back();
      const port::test::Round round{lane};
      std::array<packet::FrameView, port::kMaxBurst> views;
      const std::size_t count = lane.take(views);
      for (std::size_t i = 0; i < count; ++i)
        away_.take(views[i]);
      static_cast<void>(lane.deliver(std::span{views}.first(count)));
      port::test::finish(lane, count);
    });
  }
  void finish() {
    end_flipping();
    beside_.end();
    is_last_away_ = false;
  }
  [[nodiscard]] port::Port& lane(unsigned index) noexcept { return is_last_away_ ? *lanes_[0] : *lanes_[index & 1]; }

 private:
  struct Place {
    std::uint16_t next = 0, available = 0;
    bool wrap = true;
  };
  std::uint16_t take(Place& place, std::uint16_t& flags) const {
    if (is_packed_) flags = static_cast<std::uint16_t>(flags | (place.wrap ? 0x80 : 0x8000));
    const std::uint16_t slot = place.next;
    if (++place.next == kSize) {
      place.next = 0;
      place.wrap = !place.wrap;
    }
    return slot;
  }
  void put(std::uint64_t at, std::uint64_t address, std::uint32_t length, std::uint16_t third, std::uint16_t fourth) {
    std::array<std::uint8_t, 16> bytes;
    std::memcpy(bytes.data(), &address, 8);
    std::memcpy(bytes.data() + 8, &length, 4);
    std::memcpy(bytes.data() + 12, &third, 2);
    std::memcpy(bytes.data() + 14, &fourth, 2);
    fill(at, bytes);
  }
  void put16(std::uint64_t at, std::uint16_t value) {
    fill(at, std::array<std::uint8_t, 2>{static_cast<std::uint8_t>(value), static_cast<std::uint8_t>(value >> 8)});
  }

  std::vector<port::Port*> lanes_;
  std::array<Place, kQueues> places_{};
  bool is_packed_ = false, is_last_away_ = false;
  Receiver away_;
  Beside beside_;  // ends before what it uses
};

// --- steps ---

void write_common(VirtioArena& arena, Input& input) {
  const std::uint8_t at = input.u8(), size = input.u8();
  arena.set(at % 64, input.u64(), std::size_t{1} << size % 4);
}

// Any region, any offset, any size: configuration space and the MSI-X table too.
void access(VirtioArena& arena, Input& input) {
  const auto region = static_cast<pci::Region>(input.u8() % 10);
  const std::uint8_t shape = input.u8();
  const RegionOffset offset{input.u16()};
  std::array<std::byte, 8> bytes{};
  const std::uint64_t value = input.u64();
  std::memcpy(bytes.data(), &value, sizeof value);
  const auto part = std::span{bytes}.first(std::size_t{1} << shape % 4);
  auto& function = arena.nic().function();
  static_cast<void>((shape & 4) != 0 ? function.write(region, offset, part) : function.read(region, offset, part));
}

void command(VirtioArena& arena, Input& input) {
  const std::uint16_t size = input.u16() & 0x1ff;
  arena.fill(kBuffers, input.bytes(size));
  const Part parts[] = {
      {kBuffers, 2, false}, {kBuffers + 2, std::max<std::uint32_t>(size, 3) - 2, false}, {kBuffers + 0x700, 1, true}};
  arena.post(kQueues - 1, parts, (input.u8() & 1) != 0);
  arena.notify(kQueues - 1);
}

// A frame with its header.
void send(VirtioArena& arena, Input& input) {
  const std::uint8_t how = input.u8();
  const std::uint32_t pair = how % kPairs, buffer = kBuffers + (1 + how % 32u) * kBuffer;
  const auto bytes = input.bytes(input.u8());
  const std::uint32_t length = input.u16() & 0x3fff;
  arena.fill(buffer, bytes);
  const Part parts[] = {{buffer, 12, false}, {buffer + 12, 100, false}, {buffer + 112, length, false}};
  arena.post(2 * pair + 1, parts, (how & 0x80) != 0);
  arena.notify(2 * pair + 1);
}

void give_buffers(VirtioArena& arena, Input& input) {
  const std::uint8_t how = input.u8();
  const std::uint32_t length = std::uint32_t{input.u8()} * 16;
  for (std::uint32_t i = 0; i < 1 + how / 16u; ++i) {
    const Part parts[] = {{kBuffers + i * kBuffer, length, true},
                          {kBuffers + 0x2'0000 + i * kBuffer, length / 2, true}};
    arena.post(how % kPairs * 2, std::span{parts}.first(1 + (how >> 3 & 1)), (how & 4) != 0);
  }
}

// Chains of anything.
void chain(VirtioArena& arena, Input& input) {
  const std::uint8_t how = input.u8();
  std::vector<Part> parts;
  for (std::uint8_t count = input.u8() % 8; count > 0; --count) {
    const std::uint32_t at = input.u32(), length = input.u16();
    parts.push_back({at % 0x50'0000, length, (input.u8() & 1) != 0});
  }
  if (!parts.empty()) arena.post(how % kQueues, parts, (how & 0x80) != 0);
  if ((how & 0x40) != 0) arena.notify(how % kQueues);
}

void burst(VirtioArena& arena, Input& input) {
  const std::uint8_t lanes = input.u8();
  fuzz::burst(arena, arena.lane(lanes), arena.lane(lanes >> 1u), input.u8());
}

void arrive(VirtioArena& arena, Input& input) {
  const std::uint8_t how = input.u8();
  const auto what = arriving<VirtioArena>(input, how);
  arena.arrive(arena.lane(how >> 5u), what);
}

using Step = void (*)(VirtioArena&, Input&);
constexpr Step kSteps[] = {
    write_common,
    access,
    command,
    send,
    give_buffers,
    chain,
    fill<VirtioArena>,
    burst,
    arrive,
    upheaval<VirtioArena>,
    flip<VirtioArena>,
    [](VirtioArena& arena, Input&) { arena.run_timers(); },
    [](VirtioArena& arena, Input& input) { arena.bring_up(input.u64()); },
    [](VirtioArena& arena, Input& input) { arena.notify(input.u8() % kQueues); },
};

}  // namespace
}  // namespace vmux::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmux::fuzz;
  static VirtioArena polled{vmux::device::virtio_net::Doorbell::poll};
  static VirtioArena trapped{vmux::device::virtio_net::Doorbell::trap};
  play(polled, trapped, kSteps, Input{data, size});
  return 0;
}
