// SPDX-License-Identifier: BSD-3-Clause
// A driver for a virtio network card on PCI, in the test's own process: a second reading of the specification's
// chapters 3.1, 4.1 and 5.1. It knows a card by its way to it, and nothing of src/virtio, so a wrong constant on either
// side shows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "fake_guest/guest.hpp"
#include "fake_guest/virtio_ring.hpp"

namespace vmux::fake_guest {

namespace virtio_bit {
constexpr std::uint64_t bit(unsigned number) { return std::uint64_t{1} << number; }
inline constexpr std::uint64_t csum = bit(0), guest_csum = bit(1), guest_offloads = bit(2), mac = bit(5),
                               guest_tso4 = bit(7), guest_tso6 = bit(8), host_tso4 = bit(11), host_tso6 = bit(12),
                               mergeable = bit(15), status = bit(16), control = bit(17), rx_modes = bit(18),
                               vlan = bit(19), announce = bit(21), mq = bit(22), mac_addr = bit(23), indirect = bit(28),
                               event_idx = bit(29), version_1 = bit(32), packed = bit(34), ring_reset = bit(40),
                               coalescing = bit(53), guest_uso4 = bit(54), guest_uso6 = bit(55), host_uso = bit(56),
                               hash_report = bit(57), rss = bit(60);
}  // namespace virtio_bit

struct VirtioNetSetup {
  /// Of those offered, the driver takes these.
  std::uint64_t features = ~std::uint64_t{0};
  unsigned pairs = 1;
  std::uint16_t size = 64;      ///< descriptors of each data queue
  std::uint32_t buffer = 2048;  ///< bytes of each receive buffer, header included
  bool has_vectors = true;      ///< vector n + 1 for queue n, 0 for the configuration
  bool fill = true;             ///< receive buffers are posted
};

struct VirtioNetFrame {
  Bytes bytes;
  std::array<std::byte, 20> header{};
  unsigned chains = 0;
  [[nodiscard]] std::uint64_t field(std::size_t at, unsigned size) const;
};

class VirtioNetGuest : public Guest {
 public:
  static constexpr std::uint64_t kMemory = 16 << 20;

  explicit VirtioNetGuest(Card card);

  // --- structures, found by their capabilities ---
  [[nodiscard]] std::uint64_t common(std::uint32_t at, unsigned size) { return read_at(kBar, common_ + at, size); }
  void set_common(std::uint32_t at, unsigned size, std::uint64_t value) { write_at(kBar, common_ + at, size, value); }
  [[nodiscard]] std::uint64_t config(std::uint32_t at, unsigned size) { return read_at(kBar, device_ + at, size); }
  [[nodiscard]] std::uint8_t isr() { return static_cast<std::uint8_t>(read_at(kBar, isr_, 1)); }
  [[nodiscard]] std::uint8_t status() { return static_cast<std::uint8_t>(common(20, 1)); }
  [[nodiscard]] std::uint64_t offered();
  [[nodiscard]] std::uint64_t accepted() const { return accepted_; }
  [[nodiscard]] bool has(std::uint64_t feature) const { return (accepted_ & feature) != 0; }
  [[nodiscard]] std::uint64_t read_at(pci::Region bar, std::uint64_t at, unsigned size);
  void write_at(pci::Region bar, std::uint64_t at, unsigned size, std::uint64_t value);

  // --- life ---
  /// Up to FEATURES_OK; false when the device would not have it.
  bool negotiate(std::uint64_t wanted);
  void set_up_queue(unsigned queue, std::uint16_t size, bool has_vector = true);
  void bring_up(const VirtioNetSetup& setup = {});
  void reset_queue(unsigned queue);
  [[nodiscard]] unsigned control_queue() const;
  [[nodiscard]] VirtioRing& ring(unsigned queue) { return *rings_.at(queue); }

  // --- traffic ---
  struct Send {
    std::array<std::uint8_t, 12> header{};
    unsigned parts = 1;       ///< buffers of the frame
    bool own_header = false;  ///< the header has a buffer of its own
    bool is_indirect = false;
  };
  void queue(std::span<const std::byte> frame, const Send& how, unsigned pair = 0);
  void send(std::span<const std::byte> frame, const Send& how, unsigned pair = 0);
  void send(std::span<const std::byte> frame) { send(frame, Send{}); }
  [[nodiscard]] unsigned reap(unsigned pair = 0);  ///< chains that came back since the last call
  void refill(unsigned pair = 0);
  [[nodiscard]] std::optional<VirtioNetFrame> receive(unsigned pair = 0);
  void notify(unsigned queue);

  /// A command by the control queue: the answer, or none.
  std::optional<std::uint8_t> command(std::uint8_t group, std::uint8_t command, std::span<const std::uint8_t> data);

  static constexpr pci::Region kBar = pci::Region::bar4;
  [[nodiscard]] static constexpr std::uint64_t ring_at(unsigned queue) { return 0x10'0000 + queue * 0x1'0000u; }

 private:
  static constexpr std::uint64_t kTxBuffers = 0x60'0000, kTables = 0x50'0000, kRxBuffers = 0xa0'0000,
                                 kCommands = 0x8'0000, kStride = 0x4000;
  [[nodiscard]] std::uint32_t header_size() const;
  void find_structures();

  VirtioNetSetup setup_;
  std::uint64_t accepted_ = 0;
  std::uint64_t common_ = 0, notify_ = 0, isr_ = 0, device_ = 0;
  std::uint32_t notify_multiplier_ = 0;
  std::map<unsigned, std::unique_ptr<VirtioRing>> rings_;
  std::map<unsigned, std::vector<std::uint32_t>> rx_free_;  // buffers of each pair that are not in its ring
  std::uint64_t tx_buffer_ = kTxBuffers, table_ = kTables;
};

}  // namespace vmux::fake_guest
