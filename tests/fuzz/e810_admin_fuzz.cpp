// SPDX-License-Identifier: BSD-3-Clause
// A driver of an E810 that says anything: commands of every opcode and of any length, between accesses to registers,
// resets, queues with any context, memory that changes and goes, and traffic.
//
// Input: the doorbell mode, then steps: a byte for its kind, then what that step reads.
#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "device/e810/nic.hpp"
#include "fuzz/input.hpp"
#include "fuzz/nic_arena.hpp"

namespace vmux::fuzz {
namespace {

using device::e810::Nic;
namespace reg = device::e810::reg;

constexpr std::uint32_t kSendRing = 0x1000, kReceiveRing = 0x2000, kBuffers = 0x1'0000, kTxRing = 0x6'0000,
                        kRxRing = 0x7'0000, kEntries = 32, kBuffer = 4096, kQueues = 4;

class E810Arena : public NicArena<Nic> {
 public:
  explicit E810Arena(device::e810::Doorbell doorbell)
      : NicArena([doorbell](runtime::Poller& home) {
          return Nic::create({.mac = {2, 0, 0, 0, 0, 1}, .doorbell = doorbell, .queue_pairs = kQueues}, home);
        }) {}

  void open_admin_queue() {
    next_ = 0;
    for (std::uint32_t i = 0; i < kEntries; ++i)
      put_descriptor(kReceiveRing + i * 32, 1 << 12 | 1 << 9, 0, kBuffer, {}, kBuffers + i * kBuffer);
    for (const std::uint32_t at :
         {reg::PF_FW_ATQH, reg::PF_FW_ATQT, reg::PF_FW_ARQH, reg::PF_FW_ARQT, reg::PF_FW_ATQBAH, reg::PF_FW_ARQBAH})
      write(at, 0);
    write(reg::PF_FW_ATQBAL, kSendRing);
    write(reg::PF_FW_ARQBAL, kReceiveRing);
    write(reg::PF_FW_ATQLEN, kEntries | 1u << 31);
    write(reg::PF_FW_ARQLEN, kEntries | 1u << 31);
    write(reg::PF_FW_ARQT, kEntries - 1);
  }
  /// `said`: bytes that the driver says the buffer has.
  void send(std::uint16_t opcode, std::span<const std::uint8_t> params, std::span<const std::uint8_t> body,
            std::uint16_t said, bool reads) {
    const std::uint32_t buffer = kBuffers + next_ * kBuffer;
    fill(buffer, body);
    const unsigned flags = 1u << 13 | (said > 0 ? 1u << 12 : 0) | (reads ? 1u << 10 : 0);
    put_descriptor(kSendRing + next_ * 32, static_cast<std::uint16_t>(flags), opcode, said, params, buffer);
    next_ = (next_ + 1) % kEntries;
    write(reg::PF_FW_ATQT, next_);
  }
  /// One queue of each direction, by a context that makes sense.
  void bring_up() {
    std::array<std::uint8_t, 56> queue{};
    queue[0] = 3;  // the default topology's last node
    queue[4] = 1;
    const std::uint64_t base = kTxRing / 128;
    std::memcpy(queue.data() + 16, &base, 7);
    queue[16 + 17] = 64 >> 1;  // its length begins at bit 135
    const std::array<std::uint8_t, 1> one{1};
    send(0x0c30, one, queue, sizeof queue, true);
    write(reg::QRX_CONTEXT + 1 * reg::QRX_CONTEXT_STRIDE, kRxRing / 128);
    write(reg::QRX_CONTEXT + 2 * reg::QRX_CONTEXT_STRIDE, 64u << 25);
    write(reg::QRX_CONTEXT + 3 * reg::QRX_CONTEXT_STRIDE, 16u << 6 | 1u << 20 | 1u << 21);
    write(reg::QRX_CONTEXT + 5 * reg::QRX_CONTEXT_STRIDE, (9728u & 0x3ffff) << 14);
    write(reg::QRX_CONTEXT + 6 * reg::QRX_CONTEXT_STRIDE, 0);
    write(reg::QRXFLXP_CNTXT, 2);
    write(reg::QRX_CTRL, 1);
    write(reg::QRX_TAIL, 63);
  }

 private:
  void put_descriptor(std::uint32_t at, std::uint16_t flags, std::uint16_t opcode, std::uint16_t length,
                      std::span<const std::uint8_t> params, std::uint32_t buffer) {
    std::array<std::uint8_t, 32> bytes{};
    std::memcpy(bytes.data(), &flags, 2);
    std::memcpy(bytes.data() + 2, &opcode, 2);
    std::memcpy(bytes.data() + 4, &length, 2);
    std::memcpy(bytes.data() + 28, &buffer, 4);
    if (!params.empty()) std::memcpy(bytes.data() + 16, params.data(), std::min<std::size_t>(params.size(), 8));
    fill(at, bytes);
  }
  std::uint32_t next_ = 0;
};

void step(E810Arena& arena, Input& input) {
  port::Port& port = arena.nic().port();
  switch (input.u8() % 12) {
    case 0:
    case 1:
    case 2: {  // a command of the table, by its place
      const auto rows = device::e810::Firmware::rows();
      const std::uint16_t opcode = rows[input.u8() % rows.size()].opcode;
      const auto params = input.bytes(8);
      const std::uint8_t lengths = input.u8();
      const auto body = input.bytes(lengths);
      const std::uint16_t said = input.u16() % (kBuffer + 8);
      return arena.send(opcode, params, body, said, (lengths & 1) == 0);
    }
    case 3:
      return arena.send(input.u16(), input.bytes(16), {}, 0, true);
    case 4: {  // a register that there is
      const auto& row = device::e810::kRegisters[input.u8() % device::e810::kRegisters.size()];
      const std::uint32_t at = row.at + input.u8() % row.count * row.stride;
      return (input.u8() & 1) != 0 ? arena.write(at, input.u32()) : arena.read(at, 8);
    }
    case 5:
      return arena.write(input.u32() % device::e810::kBarSize & ~3u, input.u32());
    case 6:
      return arena.read(input.u32() % (device::e810::kBarSize - 64), 1 + input.u8() % 64);
    case 7:
      return arena.fill(input.u32(), input.bytes(64));
    case 8:
      return arena.take_burst(port, port, std::nullopt, input.u8() % 33);
    case 9:
      return arena.arrive(port, {.bytes = input.bytes(128), .length = input.u16() % 9800u, .is_for_all = true});
    case 10:
      return arena.run_timers();
    default:
      switch (input.u8() % 5) {
        case 0:
          return arena.unmap_half((input.u8() & 1) != 0);
        case 1:
          return arena.map_all();
        case 2:
          return arena.nic().set_link((input.u8() & 1) != 0);
        case 3:
          return arena.bring_up();
        default:
          return arena.open_admin_queue();
      }
  }
}

}  // namespace
}  // namespace vmux::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vmux;
  static fuzz::E810Arena poll{device::e810::Doorbell::poll}, trap{device::e810::Doorbell::trap};
  fuzz::Input input{data, size};
  fuzz::E810Arena& arena = (input.u8() & 1) != 0 ? poll : trap;
  arena.restart();
  arena.open_admin_queue();
  arena.bring_up();
  for (unsigned steps = 0; steps < 200 && !input.is_empty(); ++steps) {
    fuzz::step(arena, input);
    arena.step_done();
  }
  return 0;
}
