// SPDX-License-Identifier: BSD-3-Clause
// What the driver has set by the control queue: a plain value, which a reset clears and a migration saves.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/mac.hpp"
#include "device/virtio_net/rules.hpp"

namespace vmux::device::virtio_net {

struct Coalescing {
  std::uint32_t max_packets = 0, max_usecs = 0;
  static void describe(auto& fields, auto& self) {
    fields("max_packets", self.max_packets);
    fields("max_usecs", self.max_usecs);
  }
};

/// MQ_RSS_CONFIG and MQ_HASH_CONFIG.
struct Hashing {
  bool has_rss = false;
  std::uint32_t types = 0;
  std::array<std::uint8_t, kHashKey> key{};
  std::uint16_t unclassified = 0, table_mask = 0;
  std::array<std::uint16_t, kMaxTable> table{};
  static void describe(auto& fields, auto& self) {
    fields("has_rss", self.has_rss);
    fields("types", self.types);
    fields("key", self.key);
    fields("unclassified", self.unclassified);
    fields("table_mask", self.table_mask);
    fields("table", self.table);
  }
};

struct Settings {
  static constexpr std::size_t kMaxMacs = 256;  ///< of each kind; more, and all of the kind are received

  MacAddress station{};
  bool promisc = true;  ///< until a driver says what it wants; one that never does filters by itself
  bool allmulti = false;
  bool alluni = false, allgroups = false;  ///< the tables of the driver do not fit
  std::vector<MacAddress> unicast, multicast;
  std::array<std::uint64_t, 64> vlans{};  ///< bit per id
  std::uint16_t pairs = 1;                ///< VQ_PAIRS_SET
  Hashing hashing;
  std::uint64_t guest_offloads = 0;
  Coalescing rx_coalescing, tx_coalescing;
  bool announce_due = false;  ///< the driver is asked to tell the network where it is

  static void describe(auto& fields, auto& self) {
    fields("station", self.station);
    fields("promisc", self.promisc);
    fields("allmulti", self.allmulti);
    fields("alluni", self.alluni);
    fields("allgroups", self.allgroups);
    fields.list("unicast", self.unicast, kMaxMacs);
    fields.list("multicast", self.multicast, kMaxMacs);
    fields("vlans", self.vlans);
    fields("pairs", self.pairs);
    fields("hashing", self.hashing);
    fields("guest_offloads", self.guest_offloads);
    fields("rx_coalescing", self.rx_coalescing);
    fields("tx_coalescing", self.tx_coalescing);
    fields("announce_due", self.announce_due);
  }
};

}  // namespace vmux::device::virtio_net
