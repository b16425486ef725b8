// SPDX-License-Identifier: BSD-3-Clause
// A driver for an Intel adaptive virtual function, in the test's own process: a second reading of the published
// headers. It knows a card by its way to it, and nothing of the model or of its wire structs, so a wrong constant on
// either side shows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "fake_guest/guest.hpp"

namespace vmux::fake_guest {

/// A message body, field by field, little endian.
class IavfBody {
 public:
  IavfBody& u8(std::uint8_t value) { return put(value, 1); }
  IavfBody& u16(std::uint16_t value) { return put(value, 2); }
  IavfBody& u32(std::uint32_t value) { return put(value, 4); }
  IavfBody& u64(std::uint64_t value) { return put(value, 8); }
  IavfBody& zeros(std::size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  IavfBody& append(std::span<const std::uint8_t> bytes) {
    for (const std::uint8_t byte : bytes)
      bytes_.push_back(static_cast<std::byte>(byte));
    return *this;
  }
  [[nodiscard]] const Bytes& bytes() const noexcept { return bytes_; }

 private:
  IavfBody& put(std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
      bytes_.push_back(static_cast<std::byte>(value >> (8 * i)));
    return *this;
  }
  Bytes bytes_;
};

/// What lies in the driver's admin receive queue.
struct IavfMessage {
  std::uint32_t opcode = 0;
  std::int32_t status = 0;
  Bytes body;
  std::uint16_t flags = 0;
  [[nodiscard]] std::uint64_t number(std::size_t at, unsigned size) const;
};

struct IavfSetup {
  unsigned queues = 1;
  unsigned tx_descriptors = 64, rx_descriptors = 64;
  std::uint32_t capabilities = 0x0001'0001 | 0x0008'0000;  ///< L2, VLAN, RSS_PF
  std::uint32_t buffer_size = 2048, max_frame = 9728;
  std::uint8_t rxdid = 0;
  bool head_writeback = false;
  bool is_after_reset = false;  ///< the driver goes on: it does not introduce itself (VERSION) again, as Linux does not
  bool early_buffers = false;   ///< the receive tail is written before the driver has told of its rings, as Linux does
  unsigned early_frames = 0;  ///< sent by each queue before the driver has told of its rings, as Linux does under load
  bool mapped_doorbells = false;  ///< write tails and DYN_CTLN1 through the shared memory, as with a mapped BAR
};

struct IavfFrame {
  Bytes bytes;
  std::uint64_t qword0 = 0, qword1 = 0, qword2 = 0;  ///< of the last descriptor
};

class IavfGuest : public Guest {
 public:
  static constexpr std::uint64_t kMemory = 16 << 20;
  static constexpr unsigned kAdminEntries = 32;
  static constexpr std::uint16_t kVsi = 1;

  explicit IavfGuest(Card card) : Guest(std::move(card), kMemory, pci::Irq::msix) {}

  void write_data_page(std::uint32_t offset, std::uint32_t value);  ///< mapped or by message, as set up

  // --- admin queue ---
  void open_admin_queue();
  /// Puts a message into the queue without ringing; `opcode` in the descriptor is the admin queue's (0x0801).
  void queue_message(std::uint32_t op, const Bytes& body, std::uint16_t opcode = 0x0801);
  void ring_admin();
  void send(std::uint32_t op, const Bytes& body = {});
  [[nodiscard]] std::optional<IavfMessage> receive_message();
  /// Sends, and returns the answer to this opcode; events in between are kept in events().
  IavfMessage call(std::uint32_t op, const Bytes& body = {});
  [[nodiscard]] std::vector<IavfMessage>& events() noexcept { return events_; }
  [[nodiscard]] std::uint16_t sent_flags(unsigned index) const;
  [[nodiscard]] std::uint16_t sent_result(unsigned index) const;

  // --- life ---
  /// VERSION and GET_VF_RESOURCES: the answer of the latter.
  IavfMessage negotiate(std::uint32_t capabilities);
  /// Everything up to running queues and armed vectors (queue n on vector n + 1).
  void bring_up(const IavfSetup& setup = {});
  [[nodiscard]] Bytes queue_config(unsigned queues) const;
  void arm(unsigned vector, std::uint32_t control = 1 | 3u << 3);

  // --- traffic ---
  void queue(unsigned queue, std::span<const std::byte> frame, std::uint64_t command = 0, unsigned parts = 1);
  void queue_raw(unsigned queue, std::uint64_t low, std::uint64_t high);
  void ring_tx(unsigned queue);
  void send_frame(std::span<const std::byte> frame, unsigned queue = 0, std::uint64_t command = 0);
  [[nodiscard]] unsigned reap(unsigned queue = 0);  ///< descriptors reported done since the last call
  void refill(unsigned queue = 0);
  [[nodiscard]] std::optional<IavfFrame> receive(unsigned queue = 0);

  [[nodiscard]] static constexpr std::uint64_t tx_ring(unsigned queue) { return 0x10'0000 + queue * 0x1'0000u; }
  [[nodiscard]] static constexpr std::uint64_t rx_ring(unsigned queue) { return 0x20'0000 + queue * 0x1'0000u; }
  static constexpr std::uint64_t kSendRing = 0x1000, kReceiveRing = 0x2000, kSendBuffers = 0x1'0000,
                                 kReceiveBuffers = 0x4'0000;

 private:
  static constexpr std::uint64_t kTxBuffers = 0x40'0000, kRxBuffers = 0x80'0000, kBufferStride = 0x4000;
  struct Queue {
    unsigned tx_next = 0, tx_reaped = 0, rx_next = 0, rx_tail = 0;
  };

  IavfSetup setup_;
  std::array<Queue, 16> queues_{};
  unsigned send_next_ = 0, receive_next_ = 0;
  std::uint64_t tx_buffer_ = kTxBuffers;
  std::vector<IavfMessage> events_;
};

}  // namespace vmux::fake_guest
