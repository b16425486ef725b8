// SPDX-License-Identifier: BSD-3-Clause
// Transmit: descriptors -> frame views -> write-back. Manual 3.3 and 3.4. Home thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "device/e1000/descriptors.hpp"
#include "device/e1000/interrupts.hpp"
#include "device/e1000/journals.hpp"
#include "device/e1000/state.hpp"
#include "packet/frame.hpp"
#include "port/port.hpp"
#include "vmux/base/log.hpp"
#include "vmux/memory/guest_memory.hpp"

namespace vmux::device::e1000 {

struct SavedState;

class Transmitter {
 public:
  Transmitter(State& state, TxJournal& journal, Registers& registers, NicCounters& counters, InterruptUnit& interrupts,
              const char* name)
      : state_(state),
        journal_(journal),
        registers_(registers),
        counters_(counters),
        interrupts_(interrupts),
        name_(name),
        held_bytes_(std::make_unique_for_overwrite<std::byte[]>(kMaxSuperFrame)) {}

  /// Attach this to the function: the only reader of guest memory on this side.
  [[nodiscard]] memory::GuestMemory& memory() noexcept { return memory_; }

  /// Parses the next frames; they stay on the ring until complete().
  [[nodiscard]] std::size_t peek(std::span<packet::FrameView> into) noexcept;
  void complete(std::size_t count) noexcept;
  /// The last peek() has left something that no doorbell will tell of again: ask once more.
  [[nodiscard]] bool is_unfinished() const noexcept { return is_unfinished_; }
  /// TDT was written by message, be it with the value that it had.
  void rang() noexcept { lap_tail_ = kNoTail; }

  /// TCTL.EN rose: the ring is what the registers say now.
  void enable() noexcept;
  void reset() noexcept;
  void save(SavedState& into) const;
  void load(const SavedState& from) noexcept;
  /// As those of the receiver.
  [[nodiscard]] bool can_take_over() const noexcept;
  void taken_over() noexcept;

 private:
  static constexpr std::uint32_t kUsualHeader = 128;  // bytes: Ethernet, VLAN, IPv6 and TCP with options fit
  static constexpr std::size_t kSliceRoom = 1024;     // pieces of guest memory in one burst
  static constexpr std::size_t kWriteBackRoom = TxJournal::kRoom;  // descriptors with RS in one burst
  static constexpr std::size_t kPrefetch = 32;                     // descriptors read at a time: those of a plain burst
  static constexpr std::uint32_t kMaxDescriptors = 512;            // looked at for one frame before peek() returns
  static constexpr std::size_t kBufferSlices = 32;                 // pieces of one buffer: windows are whole pages
  static constexpr std::uint32_t kNoTail = ~0u;
  static constexpr std::size_t kFarRoom = 320;  // bytes of a frame that may be looked at: offsets have eight bits

  struct Ring {
    std::uint64_t base = 0;
    std::uint32_t count = 0, head = 0;
    std::uint32_t left = 0;  // descriptors from head on that are the device's
  };
  /// One frame of the current burst.
  struct Pending {
    std::uint32_t next_head = 0;       // ring position behind its descriptors
    std::uint32_t write_back_end = 0;  // into the journal's
    std::uint32_t segments = 1;        // frames on the wire
    std::uint64_t octets = 0;          // on the wire, without FCS
    std::uint32_t first_size = 0, last_size = 0;
    bool immediate = false, delayed = false;  // interrupts that its RS bits ask for
    bool is_multicast = false, is_broadcast = false;
    std::uint8_t contexts = 0;                   // into contexts_: as they stand behind this frame
    std::uint32_t lost = 0, lost_segmented = 0;  // frames in front of it that are done with it, and were not sent
  };
  struct Contexts {
    TxContext checksum, segment;
  };
  /// A frame while its descriptors are being collected.
  struct Draft {
    std::size_t slice_begin = 0, slice_end = 0;
    bool is_plain = false;  // one descriptor, nothing to do to its bytes
    std::uint32_t length = 0, descriptors = 0;
    std::uint32_t held = 0;    // bytes of it that lie in held_bytes_, as its first slice
    std::uint8_t options = 0;  // POPTS, or a legacy checksum
    bool is_segmented = false, is_legacy = false, has_vlan = false, is_done = false;
    bool is_too_long = false;  // of no use any more, its end still to be found
    bool immediate = false, delayed = false;
    std::uint32_t lost = 0, lost_segmented = 0;  // frames that ended in front of it and could not be sent
    std::uint8_t css = 0, cso = 0;               // legacy
    std::uint16_t vlan_tci = 0;
  };

  /// Where a checksum comes from and goes to, as descriptors say it: the last byte is `end`, 0 for that of the frame.
  struct SumRange {
    std::uint32_t start = 0, at = 0, end = 0;
  };
  /// A frame that is being built: its header (padding and an inserted tag not counted), and what follows it.
  struct Bytes {
    std::span<std::byte> header;
    std::span<const packet::Slice> payload;
    std::uint32_t length = 0;
  };

  // tx_collect.cpp
  [[nodiscard]] const TxDescriptor* descriptor(const Ring& ring) noexcept;
  [[nodiscard]] const TxDescriptor* fetch(const Ring& ring) noexcept;
  void report_if_asked(const Ring& ring, std::uint8_t cmd, Draft& draft) noexcept;
  [[nodiscard]] bool collect_plain(Ring& ring, Draft& draft) noexcept;
  [[nodiscard]] bool collect(Ring& ring, Draft& draft) noexcept;
  [[nodiscard]] bool collect_other(Ring& ring, Draft& draft) noexcept;
  [[nodiscard]] std::size_t collect_burst(Ring& ring, std::size_t limit) noexcept;
  [[nodiscard]] bool take(const TxDescriptor& raw, std::uint8_t cmd, Draft& draft) noexcept;
  [[nodiscard]] bool has_room() const noexcept;
  void take_context(const TxDescriptor& raw, std::uint8_t cmd) noexcept;
  [[nodiscard]] bool add_buffer(Iova at, std::uint32_t length, Draft& draft) noexcept;
  void pass_over(Draft& draft) noexcept;
  [[nodiscard]] Draft begun() noexcept;
  void hold(const Ring& ring, const Draft& draft) noexcept;
  // tx_offload.cpp
  [[nodiscard]] bool build(const Draft& draft, std::size_t slot, packet::FrameView& view) noexcept;
  [[nodiscard]] bool segment(std::span<std::byte> header, std::uint32_t length, packet::Offload& offload) noexcept;
  void insert_checksums(const Draft& draft, const Bytes& frame, packet::Offload& offload) noexcept;
  [[nodiscard]] bool insert_sum(const SumRange& range, const Bytes& frame, bool is_udp) noexcept;
  void insert_tag(std::uint16_t tci, std::span<std::byte> room, packet::FrameView& view) noexcept;
  [[nodiscard]] std::uint32_t header_length(const Draft& draft) const noexcept;
  // tx.cpp
  [[nodiscard]] bool open_ring(Ring& ring) noexcept;
  [[nodiscard]] std::uint32_t distance(std::uint32_t head, std::uint32_t tail) const noexcept;
  [[nodiscard]] std::size_t build_burst(std::span<packet::FrameView> into, std::size_t count) noexcept;
  [[nodiscard]] bool lose(std::size_t index, std::size_t& count) noexcept;
  void build_plain(const Draft& draft, std::size_t slot, packet::FrameView& view) noexcept;
  void account(const packet::FrameView& view, Pending& pending) const noexcept;
  void count_sent(std::span<const Pending> frames) noexcept;
  void count_lost(std::uint32_t frames, std::uint32_t segmented) noexcept;
  void note_lost(std::size_t index, std::uint32_t frames, std::uint32_t segmented) noexcept;
  void forget_lost() noexcept;
  void report() noexcept;
  void retire(const Pending& last, bool immediate, bool delayed) noexcept;
  void raise_causes(std::uint32_t before, bool immediate, bool delayed) noexcept;
  bool stop(Fault fault) noexcept;

  State& state_;
  TxJournal& journal_;
  Registers& registers_;
  NicCounters& counters_;
  InterruptUnit& interrupts_;
  const char* name_;
  memory::GuestMemory memory_;
  RateLimit log_limit_;

  std::array<TxDescriptor, kPrefetch> fetched_{};
  std::uint32_t fetched_first_ = 0, fetched_count_ = 0;  // ring index of fetched_[0]

  std::array<packet::Slice, kSliceRoom> slices_{};
  std::size_t slice_count_ = 0;
  std::size_t write_back_count_ = 0;
  std::array<Pending, port::kMaxBurst> pending_{};
  std::size_t pending_count_ = 0;
  bool has_lost_ = false;  // one of these has lost frames
  std::array<Draft, port::kMaxBurst> drafts_{};
  std::array<Contexts, port::kMaxBurst + 1> contexts_{};
  std::size_t context_count_ = 0;
  bool context_changed_ = false;
  TxContext checksum_, segment_;  // as the current burst has left them so far
  std::uint64_t ring_base_ = 0;   // of the current burst
  std::uint32_t ring_count_ = 0;
  bool is_unfinished_ = false;

  // The transmit FIFO (3.4): what came of a frame before its last descriptor did. Those descriptors are done.
  bool is_holding_ = false;
  Draft held_;
  std::unique_ptr<std::byte[]> held_bytes_;

  // A tail that lies beyond the ring is never reached: once around for each doorbell.
  std::uint32_t lap_tail_ = kNoTail;  // the tail that lap_left_ is for
  std::uint32_t lap_left_ = 0;        // descriptors
  std::uint32_t unreported_ = 0;      // descriptors written back since the driver last had word of any
  alignas(64) std::array<std::array<std::byte, packet::kHeaderRoom>, port::kMaxBurst> headers_{};
  std::array<std::array<std::byte, kFarRoom>, port::kMaxBurst> far_headers_{};  // those that are longer
};

}  // namespace vmux::device::e1000
