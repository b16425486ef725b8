// SPDX-License-Identifier: BSD-3-Clause
#include "fake_guest/iavf_guest.hpp"

#include <atomic>
#include <cstring>

#include "vmux/base/assert.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::fake_guest {
namespace {

// Registers and bits as iavf_register.h has them, read anew for this file.
enum : std::uint32_t {
  kQtxTail = 0x0,
  kQrxTail = 0x2000,
  kDynCtlN = 0x3800,
  kIcr0Ena = 0x5000,
  kDynCtl0 = 0x5c00,
  kArqbah = 0x6000,
  kAtqh = 0x6400,
  kAtqlen = 0x6800,
  kArqbal = 0x6c00,
  kArqt = 0x7000,
  kArqh = 0x7400,
  kAtqbah = 0x7800,
  kAtqbal = 0x7c00,
  kArqlen = 0x8000,
  kAtqt = 0x8400,
};
constexpr std::uint32_t kEnable = 0x8000'0000;
constexpr std::uint64_t kAdminBuffer = 4096;
constexpr std::uint64_t kAdminDescriptor = 32, kTxDescriptor = 16, kRxDescriptor = 32;  // bytes

}  // namespace

std::uint64_t IavfMessage::number(std::size_t at, unsigned size) const {
  VMUX_ASSERT(at + size <= body.size());
  std::uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i)
    value |= std::to_integer<std::uint64_t>(body[at + i]) << (8 * i);
  return value;
}

void IavfGuest::write_data_page(std::uint32_t offset, std::uint32_t value) {
  if (!setup_.mapped_doorbells) return write(offset, value);
  memory::store_release32(bar0(), offset, value);
}

// As the drivers do it: lengths with the enable bit before the addresses, and the receive tail last.
void IavfGuest::open_admin_queue() {
  std::memset(memory_.data() + kSendRing, 0, kAdminEntries * kAdminDescriptor);
  send_next_ = receive_next_ = 0;
  for (unsigned i = 0; i < kAdminEntries; ++i) {
    const std::uint64_t at = kReceiveRing + i * kAdminDescriptor, buffer = kReceiveBuffers + i * kAdminBuffer;
    std::memset(memory_.data() + at, 0, 32);
    store<std::uint16_t>(memory(), at, 1u << 12 | 1u << 9);
    store<std::uint16_t>(memory(), at + 4, kAdminBuffer);
    store<std::uint32_t>(memory(), at + 28, static_cast<std::uint32_t>(buffer));
  }
  for (const std::uint32_t at : {kAtqh, kAtqt, kArqh, kArqt})
    write(at, 0);
  write(kAtqlen, kAdminEntries | kEnable);
  write(kAtqbal, kSendRing);
  write(kAtqbah, 0);
  write(kArqlen, kAdminEntries | kEnable);
  write(kArqbal, kReceiveRing);
  write(kArqbah, 0);
  VMUX_ASSERT(read(kArqbal) == kReceiveRing && read(kAtqbal) == kSendRing);
  write(kArqt, kAdminEntries - 1);
  write(kIcr0Ena, 1u << 30);
  write(kDynCtl0, 1 | 3u << 3);
}

void IavfGuest::queue_message(std::uint32_t op, const Bytes& body, std::uint16_t opcode) {
  const std::uint64_t at = kSendRing + send_next_ * kAdminDescriptor, buffer = kSendBuffers + send_next_ * kAdminBuffer;
  unsigned flags = 1u << 13;
  if (!body.empty()) flags |= 1u << 12 | 1u << 10 | (body.size() > 512 ? 1u << 9 : 0u);
  VMUX_ASSERT(body.size() <= kAdminBuffer);
  if (!body.empty()) std::memcpy(memory_.data() + buffer, body.data(), body.size());
  std::memset(memory_.data() + at, 0, 32);
  store<std::uint16_t>(memory(), at, static_cast<std::uint16_t>(flags));
  store<std::uint16_t>(memory(), at + 2, opcode);
  store<std::uint16_t>(memory(), at + 4, static_cast<std::uint16_t>(body.size()));
  store<std::uint32_t>(memory(), at + 8, op);
  store<std::uint32_t>(memory(), at + 28, static_cast<std::uint32_t>(buffer));
  send_next_ = (send_next_ + 1) % kAdminEntries;
}

void IavfGuest::ring_admin() { write(kAtqt, send_next_); }

void IavfGuest::send(std::uint32_t op, const Bytes& body) {
  queue_message(op, body);
  ring_admin();
}

std::uint16_t IavfGuest::sent_flags(unsigned index) const {
  return load<std::uint16_t>(memory_.bytes(), kSendRing + index * kAdminDescriptor);
}
std::uint16_t IavfGuest::sent_result(unsigned index) const {
  return load<std::uint16_t>(memory_.bytes(), kSendRing + index * kAdminDescriptor + 6);
}

std::optional<IavfMessage> IavfGuest::receive_message() {
  if (read(kArqh) == receive_next_) return std::nullopt;
  const std::uint64_t at = kReceiveRing + receive_next_ * kAdminDescriptor,
                      buffer = kReceiveBuffers + receive_next_ * kAdminBuffer;
  IavfMessage message;
  message.flags = load<std::uint16_t>(memory(), at);
  message.opcode = load<std::uint32_t>(memory(), at + 8);
  message.status = load<std::int32_t>(memory(), at + 12);
  const auto size = load<std::uint16_t>(memory(), at + 4);
  message.body.assign(memory_.data() + buffer, memory_.data() + buffer + size);
  std::memset(memory_.data() + at, 0, 32);
  store<std::uint16_t>(memory(), at, 1u << 12 | 1u << 9);
  store<std::uint16_t>(memory(), at + 4, kAdminBuffer);
  store<std::uint32_t>(memory(), at + 28, static_cast<std::uint32_t>(buffer));
  write(kArqt, receive_next_);
  receive_next_ = (receive_next_ + 1) % kAdminEntries;
  return message;
}

IavfMessage IavfGuest::call(std::uint32_t op, const Bytes& body) {
  send(op, body);
  while (auto message = receive_message()) {
    if (message->opcode == op) return *message;
    events_.push_back(*message);
  }
  return {.opcode = 0, .status = 1, .body = {}};
}

IavfMessage IavfGuest::negotiate(std::uint32_t capabilities) {
  const IavfMessage version = call(1, IavfBody{}.u32(1).u32(1).bytes());
  VMUX_ASSERT(version.status == 0 && version.number(0, 4) == 1 && version.number(4, 4) == 1);
  return call(3, IavfBody{}.u32(capabilities).bytes());
}

// One array element more than there are, as drivers of the published struct count.
Bytes IavfGuest::queue_config(unsigned queues) const {
  IavfBody body;
  body.u16(kVsi).u16(static_cast<std::uint16_t>(queues)).u32(0);
  for (unsigned i = 0; i < queues; ++i) {
    const auto id = static_cast<std::uint16_t>(i);
    body.u16(kVsi).u16(id).u16(static_cast<std::uint16_t>(setup_.tx_descriptors)).u16(setup_.head_writeback ? 1 : 0);
    body.u64(tx_ring(i)).u64(setup_.head_writeback ? tx_ring(i) + 0x8000 : 0);
    body.u16(kVsi).u16(id).u32(setup_.rx_descriptors).u16(0).u16(0).u32(setup_.buffer_size).u32(setup_.max_frame);
    body.u8(0).u8(setup_.rxdid).u8(0).u8(0).u64(rx_ring(i)).u32(0).u32(0);
  }
  return body.zeros(64).bytes();
}

void IavfGuest::bring_up(const IavfSetup& setup) {
  setup_ = setup;
  queues_ = {};
  open_admin_queue();
  if (setup.is_after_reset) {
    VMUX_ASSERT(call(3, IavfBody{}.u32(setup.capabilities).bytes()).status == 0);
  } else {
    VMUX_ASSERT(negotiate(setup.capabilities).status == 0);
  }
  for (unsigned i = 0; i < setup.queues; ++i) {
    std::memset(memory_.data() + tx_ring(i), 0, 0x1'0000);
    std::memset(memory_.data() + rx_ring(i), 0, 0x1'0000);
    if (setup.early_buffers) refill(i);
    for (unsigned frame = 0; frame < setup.early_frames; ++frame)
      send_frame(Bytes(64 + frame), i);
  }
  VMUX_ASSERT(call(6, queue_config(setup.queues)).status == 0);
  IavfBody map;
  map.u16(static_cast<std::uint16_t>(setup.queues + 1));
  for (unsigned i = 0; i < setup.queues; ++i) {
    const auto bit = static_cast<std::uint16_t>(1u << i);
    map.u16(kVsi).u16(static_cast<std::uint16_t>(i + 1)).u16(bit).u16(bit).u16(0).u16(1);
  }
  map.u16(kVsi).zeros(10);
  VMUX_ASSERT(call(7, map.bytes()).status == 0);
  for (unsigned i = 0; i < setup.queues; ++i) {
    refill(i);
    arm(i + 1);
  }
  const std::uint32_t all = (1u << setup.queues) - 1;
  VMUX_ASSERT(call(8, IavfBody{}.u16(kVsi).u16(0).u32(all).u32(all).bytes()).status == 0);
}

void IavfGuest::arm(unsigned vector, std::uint32_t control) {
  vector == 0 ? write(kDynCtl0, control) : write_data_page(kDynCtlN + (vector - 1) * 4, control);
}

void IavfGuest::queue_raw(unsigned queue, std::uint64_t low, std::uint64_t high) {
  unsigned& next = queues_[queue].tx_next;
  store(memory(), tx_ring(queue) + next * kTxDescriptor, low);
  store(memory(), tx_ring(queue) + next * kTxDescriptor + 8, high);
  next = (next + 1) % setup_.tx_descriptors;
}

void IavfGuest::queue(unsigned queue, std::span<const std::byte> frame, std::uint64_t command, unsigned parts) {
  for (unsigned part = 0; part < parts; ++part) {
    const std::size_t begin = frame.size() * part / parts, end = frame.size() * (part + 1) / parts;
    if (tx_buffer_ + kBufferStride > kRxBuffers) tx_buffer_ = kTxBuffers;
    std::memcpy(memory_.data() + tx_buffer_, frame.data() + begin, end - begin);
    const std::uint64_t last = part + 1 == parts ? 3u << 4 : 0;  // EOP and RS
    queue_raw(queue, tx_buffer_, command | last | 1u << 6 | std::uint64_t{end - begin} << 34);
    tx_buffer_ += kBufferStride;
  }
}

void IavfGuest::ring_tx(unsigned queue) { write_data_page(kQtxTail + queue * 4, queues_[queue].tx_next); }

void IavfGuest::send_frame(std::span<const std::byte> frame, unsigned queue, std::uint64_t command) {
  this->queue(queue, frame, command);
  ring_tx(queue);
}

unsigned IavfGuest::reap(unsigned queue) {
  unsigned done = 0;
  Queue& state = queues_[queue];
  while (state.tx_reaped != state.tx_next) {
    const std::uint64_t at = tx_ring(queue) + state.tx_reaped * kTxDescriptor + 8;
    if ((load<std::uint64_t>(memory(), at) & 0xf) != 0xf) break;
    state.tx_reaped = (state.tx_reaped + 1) % setup_.tx_descriptors;
    ++done;
  }
  return done;
}

void IavfGuest::refill(unsigned queue) {
  Queue& state = queues_[queue];
  for (; (state.rx_tail + 1) % setup_.rx_descriptors != state.rx_next;
       state.rx_tail = (state.rx_tail + 1) % setup_.rx_descriptors) {
    const std::uint64_t at = rx_ring(queue) + state.rx_tail * kRxDescriptor;
    std::memset(memory_.data() + at, 0, 32);
    store(memory(), at, kRxBuffers + (queue * 64 + state.rx_tail) % 512 * kBufferStride);
  }
  write_data_page(kQrxTail + queue * 4, state.rx_tail);
}

std::optional<IavfFrame> IavfGuest::receive(unsigned queue) {
  Queue& state = queues_[queue];
  IavfFrame frame;
  for (;;) {
    if (state.rx_next == state.rx_tail) return std::nullopt;
    const std::uint64_t at = rx_ring(queue) + state.rx_next * kRxDescriptor;
    frame.qword1 = load<std::uint64_t>(memory(), at + 8);
    if ((frame.qword1 & 1) == 0) return std::nullopt;
    std::atomic_thread_fence(std::memory_order_acquire);
    frame.qword0 = load<std::uint64_t>(memory(), at);
    frame.qword2 = load<std::uint64_t>(memory(), at + 16);
    const std::uint64_t size = frame.qword1 >> 38 & 0x3fff;
    const std::uint64_t buffer = kRxBuffers + (queue * 64 + state.rx_next) % 512 * kBufferStride;
    frame.bytes.insert(frame.bytes.end(), memory_.data() + buffer, memory_.data() + buffer + size);
    state.rx_next = (state.rx_next + 1) % setup_.rx_descriptors;
    if ((frame.qword1 & 2) != 0) break;
  }
  refill(queue);
  return frame;
}

}  // namespace vmux::fake_guest
