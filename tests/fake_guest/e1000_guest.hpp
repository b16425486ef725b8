// SPDX-License-Identifier: BSD-3-Clause
// A driver for an 82540EM, in the test's own process: a second reading of the datasheet. It knows a card by its way to
// it, and nothing of the model, so a wrong constant on either side shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "fake_guest/guest.hpp"

namespace vmux::fake_guest {

/// What a driver chooses when it starts the card.
struct E1000Setup {
  unsigned tx_descriptors = 64;
  unsigned rx_descriptors = 64;
  std::uint32_t buffer_code = 0;   ///< RCTL.BSIZE: 0 2048 bytes, 1 1024, 2 512, 3 256
  bool large_buffers = false;      ///< RCTL.BSEX: times 16
  std::uint32_t receive_bits = 0;  ///< more of RCTL (promiscuous, long frames, ...)
  std::uint32_t control_bits = 0;  ///< more of CTRL (VLAN mode)
  std::uint32_t enabled_causes = 0x9d;
  bool strip_crc = true;
  bool mapped_doorbells = false;  ///< write the ring registers through the shared memory, as with a mapped BAR
};

struct E1000Frame {
  Bytes bytes;
  std::uint8_t status = 0, errors = 0;
  std::uint16_t special = 0;
  unsigned descriptors = 0;
};

/// What one frame asks of the transmit side.
struct E1000Send {
  bool report = true;    ///< RS
  bool delayed = false;  ///< IDE
  bool legacy = false;   ///< legacy descriptors
  std::optional<std::uint16_t> vlan;
  bool ip_checksum = false, transport_checksum = false;
  std::uint8_t ip_start = 14, ip_field = 24, transport_start = 34, transport_field = 50;
  std::uint16_t ip_end = 33, transport_end = 0;
  std::uint16_t segment = 0;  ///< MSS: segmentation offload
  std::uint8_t header_length = 54;
  bool ipv4 = true, tcp = true;
  unsigned first_part = 0;  ///< bytes in the first buffer, the rest in a second one; 0: one buffer
  unsigned parts = 0;       ///< bytes in each buffer, where it is not two of them
};

class E1000Guest : public Guest {
 public:
  static constexpr std::uint64_t kMemory = 4 << 20;

  explicit E1000Guest(Card card) : Guest(std::move(card), kMemory, pci::Irq::intx) {}

  // --- registers ---
  /// Through the memory that a client would have mapped, without a message.
  void write_mapped(std::uint32_t offset, std::uint32_t value);
  [[nodiscard]] std::uint32_t read_mapped(std::uint32_t offset);
  [[nodiscard]] std::uint32_t read_io(std::uint32_t offset);
  void write_io(std::uint32_t offset, std::uint32_t value);
  [[nodiscard]] std::uint16_t read_phy(unsigned index);
  void write_phy(unsigned index, std::uint16_t value);
  [[nodiscard]] std::uint16_t read_eeprom_eerd(unsigned word);
  /// Bit by bit over EECD, as drivers for this part do.
  [[nodiscard]] std::uint16_t read_eeprom_wires(unsigned word);
  void write_eeprom_wires(unsigned word, std::uint16_t value);

  // --- life ---
  void reset_device();
  void bring_up(const E1000Setup& setup = {});
  /// Gives the card back all receive buffers that are free.
  void refill();

  // --- traffic ---
  void send(std::span<const std::byte> frame, const E1000Send& how = {});
  /// Writes the frame's descriptors but not the tail.
  void queue(std::span<const std::byte> frame, const E1000Send& how = {});
  /// A raw descriptor at the next place.
  void queue_raw(std::uint64_t low, std::uint64_t high);
  /// Bytes into the guest's memory; where they are.
  [[nodiscard]] std::uint64_t stage(std::span<const std::byte> bytes);
  void ring_doorbell();
  /// Descriptors whose DD bit came back, counted from the oldest not yet counted.
  unsigned reap();
  [[nodiscard]] std::optional<E1000Frame> receive();

  // --- interrupts ---
  /// Rising edges of INTx since the last call.
  [[nodiscard]] std::uint64_t interrupts() { return Guest::interrupts(0); }
  [[nodiscard]] std::uint64_t rx_ring() const noexcept { return kRxRing; }
  [[nodiscard]] std::uint64_t tx_ring() const noexcept { return kTxRing; }

 private:
  static constexpr std::uint64_t kTxRing = 0x10000, kRxRing = 0x20000, kTxBuffers = 0x40000, kRxBuffers = 0x200000;
  static constexpr std::uint64_t kBufferStride = 0x4000;

  void write_ring(std::uint32_t offset, std::uint32_t value);
  void clock_eeprom(bool bit, bool* out);
  void eeprom_bits(std::uint32_t bits, unsigned count);

  E1000Setup setup_;
  unsigned tx_next_ = 0, tx_reaped_ = 0, rx_next_ = 0, rx_tail_ = 0;
  std::deque<unsigned> reported_;  // descriptors with RS, oldest first
  std::uint64_t buffer_ = kTxBuffers;
  std::uint32_t eecd_ = 0;
};

}  // namespace vmux::fake_guest
