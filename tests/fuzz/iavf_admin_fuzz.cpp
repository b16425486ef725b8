// SPDX-License-Identifier: BSD-3-Clause
// A driver of an iavf that says anything: virtchnl messages of every opcode and of any length, between accesses to
// registers and BARs, resets, memory that comes and goes, and traffic on the lanes of two pollers; a third has a thread
// of its own if the input wants it.
//
// Input: the doorbell mode, then steps: a byte for its kind (kSteps), then what that step reads.
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "device/iavf/nic.hpp"
#include "fake_guest/iavf_guest.hpp"
#include "fuzz/input.hpp"
#include "fuzz/nic_arena.hpp"
#include "fuzz/nic_steps.hpp"
#include "port/test/rounds.hpp"

namespace vmux::fuzz {
namespace {

using device::iavf::Nic;
using fake_guest::IavfBody;
namespace reg = device::iavf::reg;

constexpr std::uint32_t kSendRing = 0x1000, kReceiveRing = 0x2000, kSendBuffers = 0x1'0000, kReceiveBuffers = 0x3'0000,
                        kTxRings = 0x6'0000, kRxRings = 0x7'0000, kEntries = 32, kBuffer = 4096, kQueues = 6,
                        kRing = 0x800;

struct OtherPollers {
  std::array<std::unique_ptr<runtime::Poller>, 2> others{*runtime::Poller::create(), *runtime::Poller::create()};
};

class IavfArena : private OtherPollers, public NicArena<Nic> {
 public:
  explicit IavfArena(device::iavf::Doorbell doorbell)
      : NicArena([this, doorbell](runtime::Poller& home) {
          return Nic::create({.mac = {2, 0, 0, 0, 0, 1},
                              .doorbell = doorbell,
                              .queue_pairs = kQueues,
                              .more_pollers = {others[0].get(), others[1].get()}},
                             home);
        }),
        lanes_(nic().lanes()) {
    IavfBody admin;
    for (std::uint32_t i = 0; i < kEntries; ++i)
      admin.u16(1 << 12 | 1 << 9).u16(0).u16(kBuffer).zeros(22).u32(kReceiveBuffers + i * kBuffer);
    admin_buffers_ = admin.bytes();
    IavfBody frames;
    for (std::uint32_t i = 0; i < kQueues * kRing / 32; ++i)
      frames.u64(0x8'0000 + i % 100 * 0x1000).zeros(24);
    frame_buffers_ = frames.bytes();
  }

  // As drivers do it: a send and a receive queue, buffers for all answers.
  void open_admin_queue() {
    next_ = 0;
    put(kReceiveRing, admin_buffers_);
    for (const std::uint32_t at : {reg::ATQH1, reg::ATQT1, reg::ARQH1, reg::ARQT1, reg::ATQBAH1, reg::ARQBAH1})
      write(at, 0);
    write(reg::ATQBAL1, kSendRing);
    write(reg::ARQBAL1, kReceiveRing);
    write(reg::ATQLEN1, kEntries | 1u << 31);
    write(reg::ARQLEN1, kEntries | 1u << 31);
    write(reg::ARQT1, kEntries - 1);
  }
  void send(std::uint32_t op, std::span<const std::byte> body, std::size_t said) {
    const std::uint32_t at = kSendRing + next_ * 32, buffer = kSendBuffers + next_ * kBuffer;
    put(buffer, body);
    const auto size = static_cast<std::uint16_t>(said);
    put(at, IavfBody{}.u16(1 << 12 | 1 << 10).u16(0x0801).u16(size).u16(0).u32(op).zeros(16).u32(buffer).bytes());
    next_ = (next_ + 1) % kEntries;
    write(reg::ATQT1, next_);
    // What was answered is read at once: room for the next answer.
    put(kReceiveRing, admin_buffers_);
    write(reg::ARQT1, (next_ + kEntries - 1) % kEntries);
  }
  void say(std::uint32_t op, const IavfBody& body) { send(op, body.bytes(), body.bytes().size()); }

  // Everything up to running queues, each with descriptors to be filled in.
  void bring_up(std::uint8_t layout) {
    open_admin_queue();
    say(1, IavfBody{}.u32(1).u32(1));
    say(3, IavfBody{}.u32(0xffff'ffff));
    IavfBody queues, vectors;
    queues.u16(1).u16(kQueues).u32(0);
    vectors.u16(kQueues);
    for (std::uint32_t i = 0; i < kQueues; ++i) {
      const auto id = static_cast<std::uint16_t>(i), bit = static_cast<std::uint16_t>(1 << i);
      queues.u16(1).u16(id).u16(64).u16(layout >> 7).u64(kTxRings + i * kRing).u64(kTxRings + i * kRing + 0x400);
      queues.u16(1).u16(id).u32(64).u16(0).u16(0).u32(2048).u32(9728);
      queues.u8(0).u8(layout & 0x3f).u8(0).u8(0).u64(kRxRings + i * kRing).u32(0).u32(0);
      vectors.u16(1).u16(static_cast<std::uint16_t>(i + 1)).u16(bit).u16(bit).u16(0).u16(1);
    }
    put(kRxRings, frame_buffers_);
    say(6, queues.zeros(64));
    say(7, vectors.zeros(12));
    say(8, IavfBody{}.u16(1).u16(0).u32((1 << kQueues) - 1).u32((1 << kQueues) - 1));
    for (std::uint32_t i = 0; i < kQueues; ++i)
      write(reg::QRX_TAIL1 + i * 4, 63);
  }

  /// From now on to finish() the last lane has a thread of its own.
  void part_with_last_lane() {
    is_last_away_ = true;
    beside_.begin([this] {
      send_back(*lanes_.back());
      others.back()->run_once(0);
    });
  }
  /// A round of a lane whose frames return to it.
  void send_back(port::Port& lane) {
    const port::test::Round round{lane};
    std::array<packet::FrameView, port::kMaxBurst> views;
    const std::size_t count = lane.take(views);
    for (std::size_t i = 0; i < count; ++i)
      away_.take(views[i]);
    static_cast<void>(lane.deliver(std::span{views}.first(count)));
    port::test::finish(lane, count);
  }
  void finish() {
    end_flipping();
    beside_.end();
    is_last_away_ = false;
  }
  void run_pollers() {
    run_timers();
    others.front()->run_once(0);
    if (!is_last_away_) others.back()->run_once(0);
  }
  [[nodiscard]] port::Port& lane(unsigned index) noexcept {
    return *lanes_[index % (lanes_.size() - (is_last_away_ ? 1 : 0))];
  }
  /// Where the port wants the frame to go, as far as that lane is at home.
  [[nodiscard]] port::Port& lane_for(const packet::FrameView& view) noexcept {
    std::uint8_t index = 0;
    if (const auto& steering = lanes_.front()->steering()) steering->steer({&view, 1}, {&index, 1});
    return lane(index);
  }

 private:
  void put(std::uint64_t at, std::span<const std::byte> bytes) {
    fill(at, {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  }

  std::vector<port::Port*> lanes_;
  fake_guest::Bytes admin_buffers_, frame_buffers_;  // rings full of empty buffers
  std::uint32_t next_ = 0;
  bool is_last_away_ = false;
  Receiver away_;
  Beside beside_;  // ends before what it uses
};

// --- steps ---

void message(IavfArena& arena, Input& input) {
  const std::uint32_t op = input.u8();
  const std::uint16_t size = input.u16();
  const auto bytes = input.bytes(size & 0xfff);
  std::vector<std::byte> body(size & 0xfff);
  if (!bytes.empty()) std::memcpy(body.data(), bytes.data(), bytes.size());
  arena.send(op, body, (size & 0x8000) != 0 ? input.u16() : body.size());
}

// Registers that are there, or anything.
std::uint32_t place(Input& input) {
  const std::uint32_t raw = input.u16();
  if ((raw & 0x8000) == 0) return (raw << 1) & ~3u;
  const auto& row = device::iavf::kRegisters[(raw & 0xff) % device::iavf::kRegisters.size()];
  return row.at + (raw >> 8 & 0x7f) % row.count * row.stride;
}

void write_register(IavfArena& arena, Input& input) {
  const std::uint32_t at = place(input);
  arena.write(at, input.u32());
}
void read_register(IavfArena& arena, Input& input) { arena.read(place(input), std::size_t{1} << input.u8() % 4); }
void write_mapped(IavfArena& arena, Input& input) {
  const std::uint32_t at = place(input);
  const std::uint32_t value = input.u32();
  if (at < device::iavf::kDataPagesEnd) arena.write_mapped(at, value);
}

// Any region, any offset, any size: configuration space and the MSI-X table too.
void access(IavfArena& arena, Input& input) {
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

void burst(IavfArena& arena, Input& input) {
  const std::uint8_t lanes = input.u8();
  fuzz::burst(arena, arena.lane(lanes & 7), arena.lane(lanes >> 3), input.u8());
}

void arrive(IavfArena& arena, Input& input) {
  const std::uint8_t how = input.u8();
  const auto what = arriving<IavfArena>(input, how);
  const packet::FrameView view{.header = std::as_bytes(what.bytes.first(std::min<std::size_t>(64, what.bytes.size()))),
                               .payload = {},
                               .length = static_cast<std::uint32_t>(std::min<std::size_t>(64, what.bytes.size())),
                               .offload = {}};
  arena.arrive((how & 16) != 0 ? arena.lane_for(view) : arena.lane(how >> 5), what);
}

using Step = void (*)(IavfArena&, Input&);
constexpr Step kSteps[] = {
    message,
    write_register,
    read_register,
    write_mapped,
    access,
    fill<IavfArena>,
    burst,
    arrive,
    upheaval<IavfArena>,
    flip<IavfArena>,
    [](IavfArena& arena, Input&) { arena.run_pollers(); },
    [](IavfArena& arena, Input&) { arena.open_admin_queue(); },
    [](IavfArena& arena, Input& input) { arena.bring_up(input.u8()); },
};

}  // namespace
}  // namespace vmux::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmux::fuzz;
  static IavfArena polled{vmux::device::iavf::Doorbell::poll};
  static IavfArena trapped{vmux::device::iavf::Doorbell::trap};
  play(polled, trapped, kSteps, Input{data, size});
  return 0;
}
