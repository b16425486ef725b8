// SPDX-License-Identifier: BSD-3-Clause
#include "fake_guest/e1000_guest.hpp"

#include <array>
#include <atomic>
#include <cstring>

#include "vmux/base/assert.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::fake_guest {
namespace {

// Register offsets and bits as the 8254x manual has them, read anew for this file.
enum : std::uint32_t {
  kCtrl = 0x0,
  kStatus = 0x8,
  kEecd = 0x10,
  kEerd = 0x14,
  kMdic = 0x20,
  kIcr = 0xc0,
  kIms = 0xd0,
  kImc = 0xd8,
  kRctl = 0x100,
  kTctl = 0x400,
  kRdbal = 0x2800,
  kRdbah = 0x2804,
  kRdlen = 0x2808,
  kRdh = 0x2810,
  kRdt = 0x2818,
  kTdbal = 0x3800,
  kTdbah = 0x3804,
  kTdlen = 0x3808,
  kTdh = 0x3810,
  kTdt = 0x3818,
};
constexpr std::uint32_t kSk = 1, kCs = 2, kDi = 4, kDo = 8, kReq = 0x40, kGnt = 0x80;

}  // namespace

void E1000Guest::write_mapped(std::uint32_t offset, std::uint32_t value) {
  memory::store_release32(bar0(), offset, value);
}
std::uint32_t E1000Guest::read_mapped(std::uint32_t offset) { return memory::load_acquire32(bar0(), offset); }

std::uint32_t E1000Guest::read_io(std::uint32_t offset) {
  std::array<std::byte, 4> bytes{};
  store(std::span{bytes}, 0, offset);
  way_->write(pci::Region::bar1, 0, bytes);
  way_->read(pci::Region::bar1, 4, bytes);
  return load<std::uint32_t>(bytes, 0);
}

void E1000Guest::write_io(std::uint32_t offset, std::uint32_t value) {
  std::array<std::byte, 4> bytes{};
  store(std::span{bytes}, 0, offset);
  way_->write(pci::Region::bar1, 0, bytes);
  store(std::span{bytes}, 0, value);
  way_->write(pci::Region::bar1, 4, bytes);
}

std::uint16_t E1000Guest::read_phy(unsigned index) {
  write(kMdic, 0x0800'0000u | (1u << 21) | (index << 16));
  const std::uint32_t answer = read(kMdic);
  VMUX_ASSERT((answer & 0x1000'0000u) != 0);
  return static_cast<std::uint16_t>(answer);
}
void E1000Guest::write_phy(unsigned index, std::uint16_t value) {
  write(kMdic, 0x0400'0000u | (1u << 21) | (index << 16) | value);
}

std::uint16_t E1000Guest::read_eeprom_eerd(unsigned word) {
  write(kEerd, (word << 8) | 1);
  const std::uint32_t answer = read(kEerd);
  VMUX_ASSERT((answer & 0x10) != 0);
  return static_cast<std::uint16_t>(answer >> 16);
}

void E1000Guest::clock_eeprom(bool bit, bool* out) {
  eecd_ = bit ? eecd_ | kDi : eecd_ & ~kDi;
  write(kEecd, eecd_);
  write(kEecd, eecd_ | kSk);
  if (out != nullptr) *out = (read(kEecd) & kDo) != 0;
  write(kEecd, eecd_);
}
void E1000Guest::eeprom_bits(std::uint32_t bits, unsigned count) {
  while (count-- > 0)
    clock_eeprom(((bits >> count) & 1) != 0, nullptr);
}

std::uint16_t E1000Guest::read_eeprom_wires(unsigned word) {
  eecd_ = kReq;
  write(kEecd, eecd_);
  VMUX_ASSERT((read(kEecd) & kGnt) != 0);
  eecd_ |= kCs;
  write(kEecd, eecd_);
  eeprom_bits(0x6, 3);  // READ
  eeprom_bits(word, 6);
  std::uint16_t value = 0;
  for (unsigned i = 0; i < 16; ++i) {
    bool bit = false;
    clock_eeprom(false, &bit);
    value = static_cast<std::uint16_t>((value << 1) | (bit ? 1 : 0));
  }
  write(kEecd, 0);
  return value;
}

void E1000Guest::write_eeprom_wires(unsigned word, std::uint16_t value) {
  const auto command = [this](std::uint32_t opcode, unsigned bits, std::uint32_t rest, unsigned rest_bits) {
    write(kEecd, eecd_ = kReq);
    write(kEecd, eecd_ |= kCs);
    eeprom_bits(opcode, bits);
    eeprom_bits(rest, rest_bits);
    write(kEecd, eecd_ = kReq);
  };
  command(0x13, 5, 0, 4);                     // EWEN
  command(0x5, 3, (word << 16) | value, 22);  // WRITE
  command(0x10, 5, 0, 4);                     // EWDS
  write(kEecd, eecd_ = 0);
}

void E1000Guest::reset_device() {
  write(kImc, ~0u);
  write(kCtrl, read(kCtrl) | 0x0400'0000u);
  static_cast<void>(read(kIcr));
  tx_next_ = tx_reaped_ = rx_next_ = rx_tail_ = 0;
  reported_.clear();
  static_cast<void>(interrupts());
}

void E1000Guest::write_ring(std::uint32_t offset, std::uint32_t value) {
  setup_.mapped_doorbells ? write_mapped(offset, value) : write(offset, value);
}

void E1000Guest::bring_up(const E1000Setup& setup) {
  reset_device();
  setup_ = setup;
  std::memset(memory_.data() + kTxRing, 0, std::size_t{setup.tx_descriptors} * 16);
  std::memset(memory_.data() + kRxRing, 0, std::size_t{setup.rx_descriptors} * 16);
  write(kCtrl, read(kCtrl) | setup.control_bits);
  write_ring(kTdbal, kTxRing);
  write_ring(kTdbah, 0);
  write_ring(kTdlen, setup.tx_descriptors * 16);
  write_ring(kTdh, 0);
  write_ring(kTdt, 0);
  write_ring(kRdbal, kRxRing);
  write_ring(kRdbah, 0);
  write_ring(kRdlen, setup.rx_descriptors * 16);
  write_ring(kRdh, 0);
  write_ring(kRdt, 0);
  write(kTctl, 0x0a);  // EN, PSP
  const std::uint32_t rctl = 0x8002u | (setup.buffer_code << 16) | (setup.large_buffers ? 1u << 25 : 0) |
                             (setup.strip_crc ? 1u << 26 : 0) | setup.receive_bits;
  write(kRctl, rctl);
  refill();
  write(kIms, setup.enabled_causes);
}

void E1000Guest::refill() {
  const unsigned count = setup_.rx_descriptors;
  while ((rx_tail_ + 1) % count != rx_next_ % count) {
    const std::uint64_t at = kRxRing + rx_tail_ * 16ull;
    store<std::uint64_t>(memory(), at, kRxBuffers + rx_tail_ * kBufferStride);
    store<std::uint64_t>(memory(), at + 8, 0);
    rx_tail_ = (rx_tail_ + 1) % count;
  }
  write_ring(kRdt, rx_tail_);
}

std::uint64_t E1000Guest::stage(std::span<const std::byte> bytes) {
  if (buffer_ + bytes.size() > kRxBuffers) buffer_ = kTxBuffers;
  const std::uint64_t at = buffer_;
  std::memcpy(memory_.data() + at, bytes.data(), bytes.size());
  buffer_ += (bytes.size() + 63) & ~std::uint64_t{63};
  return at;
}

void E1000Guest::queue_raw(std::uint64_t low, std::uint64_t high) {
  const std::uint64_t at = kTxRing + tx_next_ * 16ull;
  store(memory(), at, low);
  store(memory(), at + 8, high);
  if (((high >> 24) & 0x08) != 0) reported_.push_back(tx_next_);
  tx_next_ = (tx_next_ + 1) % setup_.tx_descriptors;
}

void E1000Guest::queue(std::span<const std::byte> frame, const E1000Send& how) {
  const bool needs_context = how.ip_checksum || how.transport_checksum || how.segment != 0;
  std::uint64_t popts = 0, command = 0x02;  // IFCS
  if (needs_context && !how.legacy) {
    const std::uint64_t low = how.ip_start | (std::uint64_t{how.ip_field} << 8) | (std::uint64_t{how.ip_end} << 16) |
                              (std::uint64_t{how.transport_start} << 32) | (std::uint64_t{how.transport_field} << 40) |
                              (std::uint64_t{how.transport_end} << 48);
    std::uint64_t high = 0x20ull << 24 | (how.tcp ? 1ull << 24 : 0) | (how.ipv4 ? 2ull << 24 : 0);
    if (how.segment != 0) {
      high |= (4ull << 24) | (std::uint64_t{how.header_length} << 40) | (std::uint64_t{how.segment} << 48);
      high |= frame.size() - how.header_length;
      command |= 0x04;
    }
    popts = (how.ip_checksum ? 1u : 0u) | (how.transport_checksum ? 2u : 0u);
    queue_raw(low, high);
  }
  if (how.report) command |= 0x08;
  if (how.delayed) command |= 0x80;
  if (how.vlan) command |= 0x40;
  std::uint64_t high = std::uint64_t{how.vlan.value_or(0)} << 48;
  if (how.legacy) {
    if (how.transport_checksum) {
      command |= 0x04;
      high |= (std::uint64_t{how.transport_field} << 16) | (std::uint64_t{how.transport_start} << 40);
    }
  } else {
    command |= 0x20;
    high |= (1ull << 20) | (popts << 40);
  }
  for (std::size_t part = how.parts != 0 ? how.parts : how.first_part; part != 0 && part < frame.size();) {
    queue_raw(stage(frame.first(part)), high | ((command & ~0x08ull) << 24) | part);
    frame = frame.subspan(part);
    part = how.parts;
  }
  queue_raw(stage(frame), high | ((command | 0x01) << 24) | frame.size());
}

void E1000Guest::ring_doorbell() { write_ring(kTdt, tx_next_); }

void E1000Guest::send(std::span<const std::byte> frame, const E1000Send& how) {
  queue(frame, how);
  ring_doorbell();
}

unsigned E1000Guest::reap() {
  unsigned done = 0;
  while (!reported_.empty()) {
    const std::uint64_t at = kTxRing + reported_.front() * 16ull;
    if ((load<std::uint8_t>(memory(), at + 12) & 1) == 0) break;
    reported_.pop_front();
    ++done;
  }
  return done;
}

std::optional<E1000Frame> E1000Guest::receive() {
  E1000Frame frame;
  unsigned next = rx_next_;
  for (;;) {
    const std::uint64_t at = kRxRing + next * 16ull;
    const auto status = load<std::uint8_t>(memory(), at + 12);
    if (next == rx_tail_ || (status & 1) == 0) return std::nullopt;
    std::atomic_thread_fence(std::memory_order_acquire);
    const auto length = load<std::uint16_t>(memory(), at + 8);
    const auto buffer = load<std::uint64_t>(memory(), at);
    const auto data = memory().subspan(buffer, length);
    frame.bytes.insert(frame.bytes.end(), data.begin(), data.end());
    ++frame.descriptors;
    next = (next + 1) % setup_.rx_descriptors;
    if ((status & 2) == 0) continue;
    frame.status = status;
    frame.errors = load<std::uint8_t>(memory(), at + 13);
    frame.special = load<std::uint16_t>(memory(), at + 14);
    rx_next_ = next;
    return frame;
  }
}

}  // namespace vmux::fake_guest
