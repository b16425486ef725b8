// SPDX-License-Identifier: BSD-3-Clause
// Receive: frame views -> filter -> the guest's buffers -> write-back. Manual 3.2. Home thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "device/e1000/descriptors.hpp"
#include "device/e1000/interrupts.hpp"
#include "device/e1000/journals.hpp"
#include "device/e1000/rx/fifo.hpp"
#include "device/e1000/state.hpp"
#include "packet/frame.hpp"
#include "packet/transfer.hpp"
#include "vmux/base/log.hpp"
#include "vmux/memory/guest_memory.hpp"

namespace vmux::device::e1000 {

struct SavedState;

class Receiver {
 public:
  Receiver(State& state, RxJournal& journal, Registers& registers, NicCounters& counters, InterruptUnit& interrupts,
           const char* name)
      : state_(state),
        journal_(journal),
        registers_(registers),
        counters_(counters),
        interrupts_(interrupts),
        name_(name) {}

  /// Attach this to the function: the only reader and writer of guest memory on this side.
  [[nodiscard]] memory::GuestMemory& memory() noexcept { return memory_; }

  /// See port::Port. The caller has made sure that the receiver is enabled and the link is up.
  [[nodiscard]] std::size_t deliver(std::span<const packet::FrameView> frames) noexcept;
  /// Publishes RDH and tells the driver about what was stored since the last call.
  void flush() noexcept;
  /// Moves what waits in the FIFO into descriptors that have come free. Cheap when there is nothing to do.
  void drain() noexcept;

  [[nodiscard]] packet::Accepts accepts() const noexcept;
  [[nodiscard]] bool is_stopped() const noexcept { return state_.rx_fault != Fault::none; }

  /// RCTL.EN rose: the ring is what the registers say now.
  void enable() noexcept;
  /// RCTL.EN fell: what waits is lost, as in hardware.
  void disable() noexcept { fifo_.clear(); }
  void reset() noexcept;
  void save(SavedState& into) const;
  void load(const SavedState& from) noexcept;
  /// What lies in the arena is another's, which may have died while it wrote there: whether it can be, and then, its
  /// driver is told what that one may not have told.
  [[nodiscard]] bool can_take_over() const noexcept;
  void taken_over() noexcept;

 private:
  static constexpr std::size_t kPrefetch = 32;    // descriptors read at a time
  static constexpr std::size_t kMaxBuffers = 96;  // placed at a time: 16384 / 256, and some null ones
  static constexpr std::size_t kMaxSpans = 256;   // pieces of guest memory of one frame
  static_assert(kMaxBuffers <= RxJournal::kRoom);

  struct Ring {
    std::uint64_t base = 0;
    std::uint32_t count = 0, head = 0, tail = 0;
    std::uint32_t threshold = 0;  // RXDMT0
    /// A tail beyond the ring is never reached: there are always some, as in other models of this card.
    [[nodiscard]] std::uint32_t free() const noexcept { return tail >= head ? tail - head : tail + count - head; }
  };
  /// Buffers that were found for one frame, or for its first bytes; nothing is written or consumed until commit().
  struct Placement {
    std::size_t spans = 0, buffers = 0;
    std::uint32_t bytes = 0, next_head = 0;
  };
  enum class Outcome : std::uint8_t { placed, no_room, stopped };
  /// What decides about the frames of a burst, read from the registers once.
  struct Rules {
    packet::Accepts accepts;
    std::uint32_t max_length = 0;    // bytes without FCS
    std::uint32_t fcs = 0;           // bytes of a buffer that are accounted for it
    std::uint32_t small_packet = 0;  // RSRPD
    std::uint16_t ethertype = 0;     // VET
    bool strips_tag = false;         // VME
    bool checks_sums = false;
  };
  /// Statistics of a burst.
  struct Tally {
    std::uint32_t frames = 0;
    std::uint64_t octets = 0;  // with FCS
    std::array<std::uint32_t, 6> classes{};
  };

  void open_ring() noexcept;
  [[nodiscard]] const RxDescriptor* descriptor(std::uint32_t index) noexcept;
  [[nodiscard]] const RxDescriptor* fetch(std::uint32_t index) noexcept;
  [[nodiscard]] Outcome place(std::uint32_t length, Placement& placement) noexcept;
  [[nodiscard]] bool add_buffer(Iova at, std::uint32_t length, Placement& placement) noexcept;
  void commit(const Placement& placement, const RxMeta& meta, bool is_whole) noexcept;
  void write_back(std::uint32_t slot, std::uint16_t length, std::uint8_t status, const RxMeta& meta) noexcept;
  void tell() noexcept;
  /// visit(half of a descriptor, index) for `count` of them from `first` on; false: they are not all there.
  template <class F>
  [[nodiscard]] bool for_each_half(std::uint32_t first, std::size_t count, F&& visit) noexcept;
  void publish() noexcept;
  void drain_fifo() noexcept;
  void read_rules() noexcept;
  [[nodiscard]] bool receive_plain(const packet::FrameView& view) noexcept;
  [[nodiscard]] bool receive(const packet::FrameView& view) noexcept;
  [[nodiscard]] bool receive_piece(packet::Pieces& pieces, const packet::Piece& piece, bool is_verified) noexcept;
  [[nodiscard]] bool keep(packet::Pieces& pieces, const packet::Piece& piece, RxMeta& meta, bool has_tag,
                          bool is_verified) noexcept;
  void copy(packet::Pieces& pieces, const packet::Piece& piece, std::size_t spans, bool strip) noexcept;
  void store_fcs(std::span<const std::span<std::byte>> stored, std::uint32_t length, packet::Slice tag) const noexcept;
  void check_sums(const packet::Piece& piece, std::span<const std::span<std::byte>> stored, bool stripped,
                  bool is_verified, RxMeta& meta) const noexcept;
  [[nodiscard]] bool is_transport_sum_right(const packet::Headers& headers, packet::Slice header, std::uint32_t length,
                                            std::span<const std::span<std::byte>> stored,
                                            std::uint32_t removed) const noexcept;
  void count_received(std::uint32_t octets, packet::Slice destination) noexcept;
  void missed(std::uint32_t frames) noexcept;
  Outcome stop(Fault fault) noexcept;

  State& state_;
  RxJournal& journal_;
  Registers& registers_;
  NicCounters& counters_;
  InterruptUnit& interrupts_;
  const char* name_;
  memory::GuestMemory memory_;
  RateLimit log_limit_;
  RxFifo fifo_;

  Ring ring_;
  std::uint32_t rctl_ = 0, buffer_size_ = 2048;  // as of open_ring()
  std::uint32_t published_head_ = 0;             // what RDH holds unless the driver wrote it
  bool has_pending_ = false;                     // frames were stored since the last flush()
  std::uint32_t causes_ = 0;                     // to be raised by flush(), RXT0 apart

  std::array<RxDescriptor, kPrefetch> fetched_{};
  std::uint32_t fetched_first_ = 0, fetched_count_ = 0;
  std::array<std::span<std::byte>, kMaxSpans + 3> spans_{};  // + 3: room for a tag that is cut out
  struct Buffer {
    std::uint16_t slot = 0;
    std::uint16_t length = 0;
  };
  std::array<Buffer, kMaxBuffers> buffers_{};
  std::array<std::byte, 4> tag_{};  // where a stripped tag goes, or one that came beside the bytes

  Rules rules_;
  Tally tally_;
  std::uint32_t write_back_first_ = 0;  // descriptor; the journal has what is to be written
  std::size_t write_back_count_ = 0;
};

}  // namespace vmux::device::e1000
