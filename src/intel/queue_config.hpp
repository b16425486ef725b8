// SPDX-License-Identifier: BSD-3-Clause
// How a driver has set up its queues and what is to be done to its frames: plain values, edited by control and read by
// the data path.
#pragma once

#include <cstdint>

#include "vmux/base/counter.hpp"
#include "vmux/base/strong.hpp"

namespace vmux::intel {

/// Layouts of a receive write-back (RXDID) that exist: virtchnl's numbers.
namespace rxdid {
inline constexpr std::uint8_t legacy16 = 0, legacy32 = 1, flex_nic = 2, comms_generic = 16, comms_ovs = 22;
}
/// Those that a driver may ask for, as VIRTCHNL_OP_GET_SUPPORTED_RXDIDS has them: bit n for layout n.
inline constexpr std::uint64_t kSupportedRxdids = 1u << rxdid::legacy16 | 1u << rxdid::legacy32 |
                                                  1u << rxdid::flex_nic | 1u << rxdid::comms_generic |
                                                  1u << rxdid::comms_ovs;

inline constexpr std::uint16_t kMaxRingLength = 8160;    ///< descriptors; the tail has 13 bits
inline constexpr std::uint32_t kMaxFrameWithFcs = 9728;  ///< bytes
inline constexpr std::uint32_t kMinRxFrame = 64;         ///< bytes of the longest frame that a queue takes

[[nodiscard]] constexpr bool is_ring(std::uint64_t address, std::uint32_t length) noexcept {
  constexpr std::uint64_t kAlignment = 128;  // bytes: the queue context holds the address in these units
  constexpr std::uint32_t kLeast = 8, kStep = 8;
  return address % kAlignment == 0 && length >= kLeast && length <= kMaxRingLength && length % kStep == 0;
}
[[nodiscard]] constexpr bool is_buffer_size(std::uint32_t bytes) noexcept {
  return bytes >= 128 && bytes <= 16 * 1024 - 128;
}
[[nodiscard]] constexpr bool is_layout(std::uint8_t rxdid) noexcept {
  return rxdid < 64 && (kSupportedRxdids >> rxdid & 1) != 0;
}

struct TxQueueConfig {
  Iova ring{};
  std::uint16_t length = 0;     ///< descriptors
  bool head_writeback = false;  ///< tell progress by an index instead of by descriptors
  Iova head_writeback_at{};
  bool programs_flows = false;  ///< takes descriptors of Flow Director, each with a frame that is not for the wire
};

struct RxQueueConfig {
  Iova ring{};
  std::uint16_t length = 0;       ///< descriptors
  std::uint16_t buffer_size = 0;  ///< bytes of each buffer
  std::uint32_t max_frame = 0;    ///< bytes with FCS; longer ones are dropped
  std::uint8_t rxdid = rxdid::legacy32;
  bool wide = true;           ///< 32-byte descriptors; the only ones for flexible layouts
  bool keep_crc = false;      ///< leave the FCS behind the frame
  bool header_split = false;  ///< refused by control: no driver asks for it
};

/// Whether a queue can be so: what control checks of a driver's message, and of a saved state.
[[nodiscard]] constexpr bool can_be(const TxQueueConfig& config) noexcept {
  return is_ring(config.ring.raw, config.length);
}
[[nodiscard]] constexpr bool can_be(const RxQueueConfig& config) noexcept {
  return is_ring(config.ring.raw, config.length) && is_buffer_size(config.buffer_size) &&
         config.max_frame >= kMinRxFrame && config.max_frame <= kMaxFrameWithFcs && is_layout(config.rxdid) &&
         config.wide == (config.rxdid != rxdid::legacy16);
}

enum class TagPlace : std::uint8_t { l2tag1, l2tag2 };  ///< fields of a descriptor

/// One kind of VLAN tag that moves between a frame and its descriptor.
struct VlanTag {
  bool strip = false, insert = false;
  std::uint16_t tpid = 0x8100;
  TagPlace place = TagPlace::l2tag1;
};

/// Receive: each tag that is to be stripped is taken when it is the first in the frame at that point, `outer` before
/// `inner`; so either of them alone means the first tag. Transmit: a descriptor's tag is the one with that `place`;
/// `outer` goes in front of `inner`, and either of them alone is the frame's only one.
struct VlanOffload {
  VlanTag outer{false, true, 0x8100, TagPlace::l2tag1};
  VlanTag inner{false, true, 0x8100, TagPlace::l2tag2};
};

/// Why a queue stopped. It runs again when it is enabled anew, which the driver does after the reset that follows.
enum class Fault : std::uint8_t {
  none,
  ring_unmapped,    ///< the descriptor ring lies outside guest memory
  ring_index,       ///< a tail beyond the ring
  buffer_unmapped,  ///< a buffer lies outside guest memory
  bad_descriptor,   ///< a type, length or offset that makes no sense
  frame_too_long,   ///< more bytes or descriptors than a frame can have
};

/// Of one queue; written by its poller, once per burst.
struct QueueCounters {
  Counter frames, bytes;  ///< as they would be on a wire, FCS not counted
  Counter multicast, broadcast;
  Counter dropped;      ///< receive: no descriptor, or too long
  Counter errors;       ///< transmit: frames that asked for what cannot be done; sent without or not at all
  Counter guest_fault;  ///< times that the queue stopped
};

/// Those of the counters that a driver is told, as plain numbers.
struct QueueTotals {
  std::uint64_t frames = 0, bytes = 0, multicast = 0, broadcast = 0, dropped = 0, errors = 0;
};
[[nodiscard]] inline QueueTotals totals_of(const QueueCounters& from) noexcept {
  return {from.frames.get(),    from.bytes.get(),   from.multicast.get(),
          from.broadcast.get(), from.dropped.get(), from.errors.get()};
}
inline void set_totals(QueueCounters& into, const QueueTotals& totals) noexcept {
  into.frames.set(totals.frames);
  into.bytes.set(totals.bytes);
  into.multicast.set(totals.multicast);
  into.broadcast.set(totals.broadcast);
  into.dropped.set(totals.dropped);
  into.errors.set(totals.errors);
}

/// What a queue goes by.
template <class Config>
struct QueueState {
  Config config;
  std::uint16_t head = 0;  ///< next descriptor
  Fault fault = Fault::none;
  bool enabled = false;
};

/// All that a migration saves of a queue.
template <class Config>
struct QueueSnapshot {
  QueueState<Config> state;
  bool has_pending = false;  ///< receive: frames were stored since the last flush()
  QueueTotals totals;
};

}  // namespace vmux::intel
