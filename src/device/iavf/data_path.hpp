// SPDX-License-Identifier: BSD-3-Clause
// The queues and what they share, between control (virtchnl) and the switch (port). Home thread.
#pragma once

#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "device/iavf/interrupts.hpp"
#include "device/iavf/state.hpp"
#include "packet/frame.hpp"
#include "vmux/base/strong.hpp"
#include "vmux/pci/function.hpp"
#include "wire/virtchnl.hpp"

namespace vmux::device::iavf {

inline constexpr std::uint8_t kRxdidLegacy16 = 0, kRxdidLegacy32 = 1;

struct TxQueueConfig {
  Iova ring{};
  std::uint16_t length = 0;  ///< descriptors
  bool head_writeback = false;
  Iova head_writeback_at{};
};

struct RxQueueConfig {
  Iova ring{};
  std::uint16_t length = 0;       ///< descriptors
  std::uint16_t buffer_size = 0;  ///< bytes
  std::uint32_t max_frame = 0;    ///< bytes
  std::uint8_t rxdid = 1;
  bool wide = true;  ///< 32-byte descriptors
  bool keep_crc = false;
  bool header_split = false;
};

/// The tag that is moved between a frame and its descriptor, if any.
struct VlanOffload {
  bool strip = false, insert = true;
  std::uint16_t tpid = 0x8100;
};

using Mac = std::array<std::uint8_t, 6>;

struct Filters {
  static constexpr std::size_t kMaxMacs = 64;
  std::array<Mac, kMaxMacs> macs{};
  std::size_t mac_count = 0;
  bool unicast_promisc = false, multicast_promisc = false;
  bool vlan_filtering = false;
  std::bitset<4096> vlans;
  std::size_t vlan_count = 0;

  [[nodiscard]] bool has(const Mac& mac) const noexcept {
    return std::find(macs.begin(), macs.begin() + mac_count, mac) != macs.begin() + mac_count;
  }
  bool add(const Mac& mac) noexcept {
    if (has(mac)) return true;
    if (mac_count == kMaxMacs) return false;
    macs[mac_count++] = mac;
    return true;
  }
  void remove(const Mac& mac) noexcept {
    const auto end = macs.begin() + mac_count;
    const auto at = std::find(macs.begin(), end, mac);
    if (at != end) *at = macs[--mac_count];
  }
};

struct Rss {
  std::array<std::uint8_t, kRssKeySize> key{};
  std::array<std::uint8_t, kRssLutSize> lut{};
  std::uint64_t hena = 0;
  bool enabled = false;
  bool symmetric = false;
};

struct VectorChoice {
  std::uint16_t vector = 0;
  std::uint16_t itr = kNoItr;
};

struct FrameStatistics {
  std::uint64_t rx_bytes = 0, rx_unicast = 0, rx_multicast = 0, rx_broadcast = 0, rx_discards = 0;
  std::uint64_t tx_bytes = 0, tx_unicast = 0, tx_multicast = 0, tx_broadcast = 0, tx_discards = 0, tx_errors = 0;
};

class DataPath {
 public:
  static constexpr std::uint32_t kOffloads = 0;
  static constexpr std::uint64_t kSupportedRxdids = 2;
  static constexpr std::uint64_t kHashedPackets = 0xff88'0000'0000'0000;

  DataPath(Registers& registers, InterruptUnit& interrupts, unsigned pairs)
      : registers_(registers), interrupts_(interrupts), pairs_(pairs) {}
  void connect(pci::Function&) noexcept {}
  void disconnect(pci::Function&) noexcept {}

  [[nodiscard]] unsigned queue_pairs() const noexcept { return pairs_; }
  [[nodiscard]] bool may_configure(unsigned queue) const noexcept { return queue < pairs_; }
  bool configure_tx(unsigned queue, const TxQueueConfig&) noexcept { return queue < pairs_; }
  bool configure_rx(unsigned queue, const RxQueueConfig&) noexcept { return queue < pairs_; }
  void map_rx(unsigned, VectorChoice) noexcept {}
  void map_tx(unsigned, VectorChoice) noexcept {}
  bool set_tx_enabled(unsigned, bool) noexcept { return true; }
  bool set_rx_enabled(unsigned, bool) noexcept { return true; }
  [[nodiscard]] FrameStatistics statistics() const noexcept { return {}; }
  Filters& filters() noexcept { return filters_; }
  Rss& rss() noexcept { return rss_; }
  VlanOffload& vlan() noexcept { return vlan_; }
  void publish() noexcept {}
  void reset() noexcept {}

  void set_station_address(const Mac& mac) noexcept { static_cast<void>(filters_.add(mac)); }
  [[nodiscard]] bool is_any_enabled() const noexcept { return false; }
  [[nodiscard]] bool can_receive() const noexcept { return false; }
  std::size_t peek(std::span<packet::FrameView>) noexcept { return 0; }
  void complete(std::size_t) noexcept {}
  std::size_t deliver(std::span<const packet::FrameView> frames) noexcept { return frames.size(); }
  void flush() noexcept {}
  packet::Accepts accepts() const noexcept { return {}; }

 private:
  Registers& registers_;
  InterruptUnit& interrupts_;
  unsigned pairs_;
  Filters filters_;
  Rss rss_;
  VlanOffload vlan_;
};

}  // namespace vmux::device::iavf
