// SPDX-License-Identifier: BSD-3-Clause
// Virtio as it lies in memory: rings, PCI structures, network headers and commands. [VIRTIO] is version 1.3.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "vmux/base/le.hpp"

namespace vmux::wire::virtio {

/// Feature bits that every kind of device has ([VIRTIO] 6), as words of 64.
namespace feature {
[[nodiscard]] constexpr std::uint64_t bit(unsigned number) noexcept { return std::uint64_t{1} << number; }
inline constexpr std::uint64_t indirect_desc = bit(28), event_idx = bit(29), version_1 = bit(32),
                               access_platform = bit(33), ring_packed = bit(34), in_order = bit(35),
                               order_platform = bit(36), notification_data = bit(38), ring_reset = bit(40);
}  // namespace feature

/// The device status field ([VIRTIO] 2.1).
namespace status {
inline constexpr std::uint8_t acknowledge = 1, driver = 2, driver_ok = 4, features_ok = 8, needs_reset = 64,
                              failed = 128;
}

/// Flags of a descriptor ([VIRTIO] 2.7.5, 2.8.1).
namespace descriptor {
inline constexpr std::uint16_t next = 1, write = 2, indirect = 4, available = 1 << 7, used = 1 << 15;
}

struct SplitDescriptor {  // [VIRTIO] 2.7.5
  Le<std::uint64_t> address;
  Le<std::uint32_t> length;
  Le<std::uint16_t> flags, next;
};
static_assert(sizeof(SplitDescriptor) == 16);

struct UsedElement {  // [VIRTIO] 2.7.8
  Le<std::uint32_t> id, length;
};
static_assert(sizeof(UsedElement) == 8);

/// Offsets into the available and the used ring ([VIRTIO] 2.7.6, 2.7.8); behind the entries of each comes the other
/// side's event index.
namespace split {
inline constexpr std::uint64_t flags = 0, index = 2, ring = 4;
inline constexpr std::uint16_t no_interrupt = 1, no_notify = 1;
[[nodiscard]] constexpr std::uint64_t used_event(std::uint32_t size) noexcept { return ring + 2ull * size; }
[[nodiscard]] constexpr std::uint64_t avail_event(std::uint32_t size) noexcept { return ring + 8ull * size; }
}  // namespace split

struct PackedDescriptor {  // [VIRTIO] 2.8.13
  Le<std::uint64_t> address;
  Le<std::uint32_t> length;
  Le<std::uint16_t> id, flags;
};
static_assert(sizeof(PackedDescriptor) == 16 && offsetof(PackedDescriptor, flags) == 14);

/// Event suppression of a packed ring ([VIRTIO] 2.8.10, 2.8.14): where (15 bits) and in which lap (1), and how.
namespace packed {
inline constexpr std::uint64_t off_wrap = 0, flags = 2;
inline constexpr std::uint16_t enable = 0, disable = 1, at_descriptor = 2;
inline constexpr std::uint16_t wrap = 1 << 15;
}  // namespace packed

inline constexpr std::uint32_t kMaxSplitSize = 32768, kMaxPackedSize = 32768;  // [VIRTIO] 2.7, 2.8

// --- over PCI ([VIRTIO] 4.1) ---

namespace pci {

inline constexpr std::uint16_t kVendor = 0x1af4,
                               kFirstDevice = 0x1040;  // a modern device's id is the kind's number more
inline constexpr std::uint16_t kFirstSubsystem = 0x40;
inline constexpr std::uint16_t kNoVector = 0xffff;

enum class Structure : std::uint8_t { common = 1, notify = 2, isr = 3, device = 4, pci_config = 5 };

struct Capability {  // 4.1.4, behind id, next and length
  std::uint8_t type = 0, bar = 0, id = 0;
  std::array<std::uint8_t, 2> padding{};
  Le<std::uint32_t> offset, length;
};
static_assert(sizeof(Capability) == 13);

/// The same from the start of the capability.
namespace capability {
inline constexpr std::size_t bar = 4, offset = 8, length = 12, data = 16, end = 20;
}

/// Offsets into the common configuration structure (4.1.4.3).
namespace common {
inline constexpr std::uint32_t device_feature_select = 0, device_feature = 4, driver_feature_select = 8,
                               driver_feature = 12, config_msix_vector = 16, num_queues = 18, device_status = 20,
                               config_generation = 21, queue_select = 22, queue_size = 24, queue_msix_vector = 26,
                               queue_enable = 28, queue_notify_off = 30, queue_desc = 32, queue_driver = 40,
                               queue_device = 48, queue_notif_config_data = 56, queue_reset = 58,
                               admin_queue_index = 60, admin_queue_num = 62, end = 64;
}

/// Bits of the ISR status (4.1.4.5).
inline constexpr std::uint32_t kIsrQueue = 1, kIsrConfig = 2;

}  // namespace pci

// --- network device ([VIRTIO] 5.1) ---

namespace net {

inline constexpr std::uint16_t kDevice = 1;

namespace feature {
using virtio::feature::bit;
inline constexpr std::uint64_t csum = bit(0), guest_csum = bit(1), ctrl_guest_offloads = bit(2), mtu = bit(3),
                               mac = bit(5), guest_tso4 = bit(7), guest_tso6 = bit(8), guest_ecn = bit(9),
                               guest_ufo = bit(10), host_tso4 = bit(11), host_tso6 = bit(12), host_ecn = bit(13),
                               host_ufo = bit(14), mrg_rxbuf = bit(15), status = bit(16), ctrl_vq = bit(17),
                               ctrl_rx = bit(18), ctrl_vlan = bit(19), guest_announce = bit(21), mq = bit(22),
                               ctrl_mac_addr = bit(23), vq_notf_coal = bit(52), notf_coal = bit(53),
                               guest_uso4 = bit(54), guest_uso6 = bit(55), host_uso = bit(56), hash_report = bit(57),
                               rss = bit(60), standby = bit(62), speed_duplex = bit(63);
}  // namespace feature

inline constexpr std::uint16_t kLinkUp = 1, kAnnounce = 2;  // 5.1.4, status
inline constexpr std::uint8_t kFullDuplex = 1;

struct Config {  // 5.1.4
  std::array<std::uint8_t, 6> mac{};
  Le<std::uint16_t> status, max_virtqueue_pairs, mtu;
  Le<std::uint32_t> speed;
  std::uint8_t duplex = 0, rss_max_key_size = 0;
  Le<std::uint16_t> rss_max_indirection_table_length;
  Le<std::uint32_t> supported_hash_types;
};
static_assert(sizeof(Config) == 24);

struct Header {  // 5.1.6
  std::uint8_t flags = 0, gso_type = 0;
  Le<std::uint16_t> header_length, gso_size, csum_start, csum_offset, num_buffers;
};
static_assert(sizeof(Header) == 12);
struct HashHeader {  // 5.1.6, with HASH_REPORT
  Header header;
  Le<std::uint32_t> hash;
  Le<std::uint16_t> report, padding;
};
static_assert(sizeof(HashHeader) == 20);

namespace flag {
inline constexpr std::uint8_t needs_csum = 1, data_valid = 2;
}
namespace gso {
inline constexpr std::uint8_t none = 0, tcpv4 = 1, udp = 3, tcpv6 = 4, udp_l4 = 5, ecn = 0x80;
}

/// What can be hashed (5.1.6.4.3.1), and what the header says was (5.1.6.4.3.4).
namespace hash {
inline constexpr std::uint32_t ipv4 = 1, tcpv4 = 2, udpv4 = 4, ipv6 = 8, tcpv6 = 16, udpv6 = 32;
inline constexpr std::uint16_t report_none = 0, report_ipv4 = 1, report_tcpv4 = 2, report_udpv4 = 3, report_ipv6 = 4,
                               report_tcpv6 = 5, report_udpv6 = 6;
}  // namespace hash

/// The control queue (5.1.6.5): class and command, data, and the answer.
struct ControlHeader {
  std::uint8_t group = 0, command = 0;
};
namespace control {
inline constexpr std::uint8_t ok = 0, error = 1;
inline constexpr std::uint8_t rx = 0, rx_promisc = 0, rx_allmulti = 1;
inline constexpr std::uint8_t mac = 1, mac_table_set = 0, mac_addr_set = 1;
inline constexpr std::uint8_t vlan = 2, vlan_add = 0, vlan_del = 1;
inline constexpr std::uint8_t announce = 3, announce_ack = 0;
inline constexpr std::uint8_t mq = 4, mq_pairs_set = 0, mq_rss_config = 1, mq_hash_config = 2;
inline constexpr std::uint8_t guest_offloads = 5, guest_offloads_set = 0;
inline constexpr std::uint8_t notf_coal = 6, notf_coal_tx_set = 0, notf_coal_rx_set = 1, notf_coal_vq_set = 2,
                              notf_coal_vq_get = 3;
}  // namespace control

struct Coalescing {  // 5.1.6.5.9
  Le<std::uint32_t> max_packets, max_usecs;
};
struct QueueCoalescing {
  Le<std::uint16_t> queue, reserved;
  Coalescing values;
};
static_assert(sizeof(QueueCoalescing) == 12);

}  // namespace net

// --- block device ([VIRTIO] 5.2) ---

namespace blk {

inline constexpr std::uint16_t kDevice = 2;

namespace feature {
using virtio::feature::bit;
inline constexpr std::uint64_t size_max = bit(1), seg_max = bit(2), geometry = bit(4), ro = bit(5), blk_size = bit(6),
                               flush = bit(9), topology = bit(10), config_wce = bit(11), mq = bit(12),
                               discard = bit(13), write_zeroes = bit(14);
}  // namespace feature

struct Config {                // 5.2.4
  Le<std::uint64_t> capacity;  // in sectors of 512 bytes
  Le<std::uint32_t> size_max, seg_max;
  Le<std::uint16_t> cylinders;
  std::uint8_t heads = 0, sectors = 0;
  Le<std::uint32_t> blk_size;
  std::uint8_t physical_block_exp = 0, alignment_offset = 0;
  Le<std::uint16_t> min_io_size;
  Le<std::uint32_t> opt_io_size;
  std::uint8_t writeback = 0, unused0 = 0;
  Le<std::uint16_t> num_queues;
  Le<std::uint32_t> max_discard_sectors, max_discard_seg, discard_sector_alignment, max_write_zeroes_sectors,
      max_write_zeroes_seg;
  std::uint8_t write_zeroes_may_unmap = 0;
  std::array<std::uint8_t, 3> unused1{};
};
static_assert(sizeof(Config) == 60 && offsetof(Config, writeback) == 32 && offsetof(Config, num_queues) == 34);

struct Header {  // 5.2.6, of each request
  Le<std::uint32_t> type, reserved;
  Le<std::uint64_t> sector;
};
static_assert(sizeof(Header) == 16);

}  // namespace blk
}  // namespace vmux::wire::virtio
