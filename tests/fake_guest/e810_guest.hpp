// SPDX-License-Identifier: BSD-3-Clause
// A driver for an Intel E810 physical function, in the test's own process: a second reading of the published headers,
// in the order in which stock drivers go. It knows a card by its way to it, and nothing of the model or of its wire
// structs, so a wrong constant on either side shows.
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

/// A descriptor that came back, and what lies in its buffer.
struct E810Answer {
  std::uint16_t flags = 0, opcode = 0, datalen = 0, retval = 0;
  std::array<std::uint8_t, 16> params{};
  Bytes buffer;

  [[nodiscard]] std::uint64_t param(std::size_t at, unsigned size) const;
  [[nodiscard]] std::uint64_t number(std::size_t at, unsigned size) const;  ///< of the buffer
};

struct E810Setup {
  unsigned queues = 1, first_queue = 0;
  unsigned descriptors = 64;
  std::uint32_t buffer_size = 2048, max_frame = 9728;
  std::uint8_t rxdid = 2;
  bool strips_tags = false, filters_vlans = false;
};

struct E810Frame {
  Bytes bytes;
  std::array<std::uint64_t, 4> words{};  ///< of the last descriptor
};

class E810Guest : public Guest {
 public:
  static constexpr std::uint64_t kMemory = 16 << 20;
  static constexpr unsigned kEntries = 32;  // of the admin queue
  static constexpr std::uint64_t kSendRing = 0x1000, kReceiveRing = 0x2000, kSendBuffers = 0x1'0000,
                                 kReceiveBuffers = 0x4'0000;

  explicit E810Guest(Card card) : Guest(std::move(card), kMemory, pci::Irq::msix) {}

  // --- admin queue ---
  void open_admin_queue();
  /// One command, to its end. `buffer` empty: none; `reads`: the device reads it (otherwise it only writes).
  E810Answer call(std::uint16_t opcode, std::initializer_list<std::uint8_t> params = {}, const Bytes& buffer = {},
                  bool reads = true);
  /// Puts a command into the queue without ringing.
  void queue_command(std::uint16_t opcode, std::initializer_list<std::uint8_t> params, const Bytes& buffer, bool reads);
  void ring_admin();
  [[nodiscard]] E810Answer answer(unsigned index) const;
  [[nodiscard]] std::optional<E810Answer> receive_event();

  // --- life ---
  /// As far as the driver's own data structures: reset, version, flash, capabilities, topology, PHY, address. The first
  /// thing that is not as the driver needs it, or nullptr.
  [[nodiscard]] const char* probe();
  /// Station, scheduler nodes, address rules, queues on vectors from 1 on. After probe().
  void bring_up(const E810Setup& setup = {});
  [[nodiscard]] std::uint16_t vsi() const noexcept { return vsi_; }
  [[nodiscard]] std::array<std::uint8_t, 6> mac() const noexcept { return mac_; }
  E810Answer add_rule(std::uint16_t recipe, std::span<const std::uint8_t> header, std::uint32_t action);
  E810Answer remove_rule(std::uint16_t index);
  /// The context for "add VSI" and "update VSI".
  [[nodiscard]] Bytes vsi_context(const E810Setup& setup) const;
  E810Answer update_vsi(const E810Setup& setup);
  /// `vsi` 0: the station's own.
  [[nodiscard]] E810Answer add_tx_queue(unsigned queue, std::uint16_t vsi = 0);
  E810Answer remove_tx_queue(unsigned queue);
  [[nodiscard]] bool start_rx_queue(unsigned queue);
  void arm(unsigned vector) { write(0x160000 + vector * 4, 1 | 1u << 1 | 3u << 3); }

  // --- traffic ---
  void send_frame(std::span<const std::byte> frame, unsigned queue = 0, std::uint64_t command = 0,
                  std::uint64_t offsets = 0, std::uint16_t tag = 0);
  /// A rule of Flow Director: the frame says to which frames, as a reply to them. To a queue; or none any more.
  void program_flow(unsigned control_queue, std::uint32_t id, std::span<const std::byte> frame,
                    std::optional<std::uint16_t> to);
  void queue_raw(unsigned queue, std::uint64_t low, std::uint64_t high);
  void ring_tx(unsigned queue);
  [[nodiscard]] unsigned reap(unsigned queue = 0);  ///< descriptors reported done since the last call
  void refill(unsigned queue = 0);
  [[nodiscard]] std::optional<E810Frame> receive(unsigned queue = 0);

  [[nodiscard]] static constexpr std::uint64_t tx_ring(unsigned queue) { return 0x10'0000 + queue * 0x1'0000u; }
  [[nodiscard]] static constexpr std::uint64_t rx_ring(unsigned queue) { return 0x20'0000 + queue * 0x1'0000u; }
  static constexpr std::uint64_t kTxBuffers = 0x40'0000, kRxBuffers = 0x80'0000, kBufferStride = 0x4000;

 private:
  [[nodiscard]] const char* probe_flash();
  [[nodiscard]] const char* probe_capabilities();
  [[nodiscard]] const char* probe_scheduler();
  [[nodiscard]] const char* probe_link();
  [[nodiscard]] std::optional<std::uint16_t> flash_word(std::uint32_t byte, bool flash_only);

  void write_tail(std::uint32_t offset, std::uint32_t value);

  struct Queue {
    unsigned tx_next = 0, tx_reaped = 0, rx_next = 0, rx_tail = 0;
  };
  E810Setup setup_;
  std::array<Queue, 16> queues_{};
  unsigned send_next_ = 0, receive_next_ = 0;
  std::uint16_t vsi_ = 0;
  std::uint32_t traffic_class_ = 0, parent_ = 0;
  std::array<std::uint8_t, 6> mac_{};
};

}  // namespace vmux::fake_guest
