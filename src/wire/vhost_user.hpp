// SPDX-License-Identifier: BSD-3-Clause
// The vhost-user protocol as it lies on the socket: QEMU docs/interop/vhost-user.rst. Structs, numbers and pure checks;
// no I/O and no state. Its numbers are in the byte order of the machine, which both sides share; that of every machine
// that we run on is little-endian.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

#include "vmux/base/le.hpp"

namespace vmux::wire::vhost_user {

static_assert(std::endian::native == std::endian::little, "fields would have to be in the machine's byte order");

// "Front-end message types"
enum class Request : std::uint32_t {
  get_features = 1,
  set_features = 2,
  set_owner = 3,
  reset_owner = 4,
  set_mem_table = 5,
  set_log_base = 6,
  set_log_fd = 7,
  set_vring_num = 8,
  set_vring_addr = 9,
  set_vring_base = 10,
  get_vring_base = 11,
  set_vring_kick = 12,
  set_vring_call = 13,
  set_vring_err = 14,
  get_protocol_features = 15,
  set_protocol_features = 16,
  get_queue_num = 17,
  set_vring_enable = 18,
  send_rarp = 19,
  net_set_mtu = 20,
  set_backend_req_fd = 21,
  iotlb_msg = 22,
  set_vring_endian = 23,
  get_config = 24,
  set_config = 25,
  create_crypto_session = 26,
  close_crypto_session = 27,
  postcopy_advise = 28,
  postcopy_listen = 29,
  postcopy_end = 30,
  get_inflight_fd = 31,
  set_inflight_fd = 32,
  gpu_set_socket = 33,
  reset_device = 34,
  vring_kick = 35,
  get_max_mem_slots = 36,
  add_mem_reg = 37,
  rem_mem_reg = 38,
  set_status = 39,
  get_status = 40,
  get_shared_object = 41,
  set_device_state_fd = 42,
  check_device_state = 43,
};
inline constexpr std::uint32_t kRequestLimit = 44;

// "Header"
struct Header {
  Le<std::uint32_t> request;
  Le<std::uint32_t> flags;
  Le<std::uint32_t> size;  // of the payload
};
static_assert(sizeof(Header) == 12 && offsetof(Header, flags) == 4 && offsetof(Header, size) == 8);

namespace header_flags {
inline constexpr std::uint32_t kVersionMask = 0x3, kVersion = 0x1;
inline constexpr std::uint32_t kReply = 0x4;
inline constexpr std::uint32_t kNeedReply = 0x8;
}  // namespace header_flags

// "A single 64-bit integer": also of SET_VRING_KICK, CALL and ERR
using U64 = Le<std::uint64_t>;
inline constexpr std::uint64_t kRingIndexMask = 0xff, kRingWithoutFd = 0x100;

// "A vring state description"
struct RingState {
  Le<std::uint32_t> index;
  Le<std::uint32_t> num;
};
static_assert(sizeof(RingState) == 8 && offsetof(RingState, num) == 4);

// "A vring address description"
struct RingAddresses {
  Le<std::uint32_t> index;
  Le<std::uint32_t> flags;
  Le<std::uint64_t> descriptors, used, available, log;
};
static_assert(sizeof(RingAddresses) == 40 && offsetof(RingAddresses, descriptors) == 8 &&
              offsetof(RingAddresses, used) == 16 && offsetof(RingAddresses, available) == 24 &&
              offsetof(RingAddresses, log) == 32);
inline constexpr std::uint32_t kRingLogged = 0x1;

// "Memory region description"
struct Region {
  Le<std::uint64_t> guest_address, size, user_address, mmap_offset;
};
static_assert(sizeof(Region) == 32 && offsetof(Region, user_address) == 16 && offsetof(Region, mmap_offset) == 24);

// "Multiple memory regions description"; the regions follow.
struct MemoryTable {
  Le<std::uint32_t> count;
  Le<std::uint32_t> padding;
};
static_assert(sizeof(MemoryTable) == 8);
inline constexpr std::size_t kMaxTableRegions = 8;

// "Single memory region description"
struct SingleRegion {
  Le<std::uint64_t> padding;
  Region region;
};
static_assert(sizeof(SingleRegion) == 40 && offsetof(SingleRegion, region) == 8);

// "Virtio device config space"; as many bytes as `size` follow.
struct Config {
  Le<std::uint32_t> offset, size, flags;
};
static_assert(sizeof(Config) == 12);
inline constexpr std::uint32_t kMostConfig = 256;
inline constexpr std::uint32_t kConfigWritable = 0, kConfigMigration = 1;

// "Back-end message types", by the socket that SET_BACKEND_REQ_FD brings.
inline constexpr std::uint32_t kConfigChange = 2;

// "Log description"
struct Log {
  Le<std::uint64_t> size, offset;
};
static_assert(sizeof(Log) == 16 && offsetof(Log, offset) == 8);

// The log has a bit for each page of this size.
inline constexpr std::uint64_t kLogPage = 4096;

// "Protocol features"
namespace protocol_feature {
inline constexpr std::uint64_t mq = 1ull << 0, log_shmfd = 1ull << 1, rarp = 1ull << 2, reply_ack = 1ull << 3,
                               net_mtu = 1ull << 4, backend_req = 1ull << 5, cross_endian = 1ull << 6,
                               crypto_session = 1ull << 7, pagefault = 1ull << 8, config = 1ull << 9,
                               backend_send_fd = 1ull << 10, host_notifier = 1ull << 11, inflight_shmfd = 1ull << 12,
                               reset_device = 1ull << 13, inband_notifications = 1ull << 14,
                               configure_mem_slots = 1ull << 15, status = 1ull << 16;
}  // namespace protocol_feature

// Feature bits that are the transport's, not the device's.
namespace feature {
inline constexpr std::uint64_t log_all = 1ull << 26, protocol_features = 1ull << 30;
}  // namespace feature

// "SET_VRING_BASE" of a packed ring: each half is an index of 15 bits and a wrap counter.
inline constexpr std::uint32_t kPackedIndexMask = 0x7fff, kPackedWrap = 0x8000;
inline constexpr unsigned kPackedUsedShift = 16;

/// The T at the start of `bytes`, if there are enough of them.
template <class T>
[[nodiscard]] std::optional<T> peek(std::span<const std::byte> bytes) noexcept {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) == 1);
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

}  // namespace vmux::wire::vhost_user
