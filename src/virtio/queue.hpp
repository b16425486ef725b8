// SPDX-License-Identifier: BSD-3-Clause
// The device's side of a virtqueue, split ([VIRTIO] 2.7) or packed (2.8). One poller owns a queue; queues share
// nothing.
//
// Chains are read in bursts, each descriptor once, checked, and kept until they are used; they are used in the order in
// which the driver made them available, so that IN_ORDER costs nothing. A ring that makes no sense stops its queue.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "vmux/base/strong.hpp"
#include "vmux/memory/guest_memory.hpp"

namespace vmux::virtio {

/// Where a queue lies and how it works: what driver and transport have agreed upon.
struct QueueSetup {
  Iova descriptors{}, driver{}, device{};  ///< split: table, available ring, used ring; packed: ring, event areas
  std::uint16_t size = 0;                  ///< descriptors
  bool is_packed = false, has_event_idx = false, has_indirect = false;

  static void describe(auto& fields, auto& self) {
    fields("descriptors", self.descriptors);
    fields("driver", self.driver);
    fields("device", self.device);
    fields("size", self.size);
    fields("is_packed", self.is_packed);
    fields("has_event_idx", self.has_event_idx);
    fields("has_indirect", self.has_indirect);
  }
};
/// Size and alignment are as [VIRTIO] 2.7 and 2.8 want them, and nothing wraps. Whether the memory is there shows
/// later.
[[nodiscard]] bool can_be(const QueueSetup& setup) noexcept;

/// Why a queue stopped. It runs again when it is started anew.
enum class Fault : std::uint8_t {
  none,
  ring_unmapped,    ///< a part of the ring lies outside guest memory
  ring_index,       ///< more chains than the ring has room for, or a descriptor beyond it
  bad_descriptor,   ///< flags or an order of buffers that there cannot be
  chain_too_long,   ///< more buffers or bytes than anything has, or a loop
  buffer_unmapped,  ///< a buffer lies outside guest memory
  bad_header,       ///< a chain without room for what the device kind puts in front
};
[[nodiscard]] const char* text_of(Fault fault) noexcept;

/// Where a queue stands: all that another device needs to go on with it. Split: free-running indices. Packed: places in
/// the ring, and the lap's wrap counters.
struct QueueState {
  std::uint16_t next_avail = 0, next_used = 0;
  bool avail_wrap = true, used_wrap = true;
  Fault fault = Fault::none;  ///< it has stopped

  static void describe(auto& fields, auto& self) {
    fields("next_avail", self.next_avail);
    fields("next_used", self.next_used);
    fields("avail_wrap", self.avail_wrap);
    fields("used_wrap", self.used_wrap);
    fields.one_of("fault", self.fault, Fault::bad_header);
  }
  friend bool operator==(const QueueState&, const QueueState&) = default;
};
[[nodiscard]] bool can_be(const QueueSetup& setup, const QueueState& state) noexcept;

/// The same as one word: in memory that outlives its process, what has been used is counted, and noted as still to be
/// told, in one store.
struct QueueCursor {
  static constexpr std::uint8_t kAvailWrap = 1, kUsedWrap = 2;
  std::uint16_t next_avail = 0, next_used = 0;
  std::uint8_t wraps = 0;
  Fault fault = Fault::none;
  std::uint16_t untold = 0;  ///< chains of the last burst, while their driver may not have seen them
};
static_assert(sizeof(QueueCursor) == 8);

struct Buffer {
  Iova at{};
  std::uint32_t length = 0;  ///< bytes; not 0
};

/// A chain that waits: its buffers, those that the device reads first.
struct Chain {
  std::uint16_t id = 0;
  std::uint16_t slots = 1;  ///< descriptors of a packed ring that it takes up
  std::uint16_t first = 0;  ///< of the queue's buffers
  std::uint16_t readable = 0, writable = 0;
};

inline constexpr std::size_t kMaxReady = 64;  ///< chains that wait in a queue

/// What a successor of a queue's process goes by: state::Arena holds it. A process may die between any two stores:
///   - before the cursor moves, nothing has been used: the chains are read again, and used by whoever goes on;
///   - behind that, what the driver has to see is done again. In a split ring that is the used index, which nobody but
///     the device writes. In a packed ring it is descriptors, of which the first one's flags show whether the driver
///     can have seen them: it is available still, or it is not.
struct QueueJournal {
  /// Of a packed ring: a used descriptor that is to be written.
  struct Entry {
    static constexpr std::uint16_t kWrap = 0x8000;
    std::uint32_t written = 0;
    std::uint16_t id = 0, place = 0;  ///< place: with kWrap, the lap
  };
  std::uint64_t cursor = 0;  ///< a QueueCursor
  std::array<Entry, kMaxReady> entries;
};

class Queue {
 public:
  static constexpr std::size_t kMaxChain = 288;  ///< buffers: a super-frame of DPDK has 255 and a header
  static constexpr std::size_t kMaxReady = virtio::kMaxReady;

  /// `journal`, if any, is where the queue keeps what it goes by, in memory that outlives its process.
  explicit Queue(QueueJournal* journal = nullptr) noexcept : journal_(journal == nullptr ? own_journal_ : *journal) {}
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  /// The queue's only access to its ring; buffers are the business of whoever uses the chains.
  [[nodiscard]] memory::GuestMemory& memory() noexcept { return memory_; }

  /// `setup` and `state` can be. No memory is touched.
  void start(const QueueSetup& setup, const QueueState& state) noexcept;
  /// Chains that were read and not used will be read again by whoever goes on.
  QueueState stop() noexcept;
  /// Of a queue that is started: its journal is another's by now, which may have died while it wrote there. Goes on
  /// from there, and tells the driver what that one may not have told. False: it holds what cannot be; nothing has
  /// changed.
  [[nodiscard]] bool take_over() noexcept;
  [[nodiscard]] bool is_started() const noexcept { return is_started_; }
  [[nodiscard]] bool runs() const noexcept { return is_started_ && state_.fault == Fault::none; }
  [[nodiscard]] Fault fault() const noexcept { return state_.fault; }
  /// For whoever looks into the chains. Always false.
  bool fail(Fault fault) noexcept {
    state_.fault = fault;
    commit(0);
    return false;
  }
  [[nodiscard]] const QueueSetup& setup() const noexcept { return setup_; }
  [[nodiscard]] const QueueState& state() const noexcept { return state_; }

  /// The chains that wait, oldest first; more are read if they are fewer than `wanted` (at most kMaxReady). Ends what
  /// was returned before.
  [[nodiscard]] std::span<const Chain> ready(std::size_t wanted) noexcept {
    if (end_ - first_ < wanted && runs()) fetch();
    return std::span{chains_}.subspan(first_, runs() ? end_ - first_ : 0);
  }
  [[nodiscard]] std::span<const Buffer> readable(const Chain& chain) const noexcept {
    return std::span{buffers_}.subspan(chain.first, chain.readable);
  }
  [[nodiscard]] std::span<const Buffer> writable(const Chain& chain) const noexcept {
    return std::span{buffers_}.subspan(std::size_t{chain.first} + chain.readable, chain.writable);
  }
  /// The oldest chains are the driver's again, with so many bytes written to each. False: the queue has stopped.
  bool use(std::span<const std::uint32_t> written) noexcept;

  /// Whether the driver wants to hear of what was used since this was asked last.
  [[nodiscard]] bool take_interrupt() noexcept;
  /// True while take_interrupt() has something to decide: chains were used since.
  [[nodiscard]] bool has_unreported() const noexcept { return unreported_ != 0; }
  /// Until asked for, the driver need not tell of new chains.
  void refuse_kicks() noexcept { set_kicks(false); }
  /// Asks to be told of the next chain. True when there is one already.
  [[nodiscard]] bool ask_for_kicks() noexcept;

 private:
  static constexpr std::size_t kBuffers = 1024;

  [[nodiscard]] Iova descriptor(std::uint32_t index) const noexcept {
    return Iova{setup_.descriptors.raw + std::uint64_t{index} * 16};
  }
  void fetch() noexcept;
  void make_room() noexcept;
  [[nodiscard]] bool has_room() const noexcept { return end_ < kMaxReady && buffer_end_ + kMaxChain <= kBuffers; }
  [[nodiscard]] bool add(Chain& chain, std::uint64_t address, std::uint32_t length, bool is_writable) noexcept;
  void set_kicks(bool wanted) noexcept;
  void commit(std::size_t untold) noexcept;

  // queue_split.cpp
  void fetch_split() noexcept;
  [[nodiscard]] bool walk_split(std::uint16_t head) noexcept;
  [[nodiscard]] bool walk_table(Chain& chain, std::uint64_t address, std::uint32_t bytes) noexcept;
  [[nodiscard]] bool use_split(std::span<const std::uint32_t> written) noexcept;
  [[nodiscard]] bool tell_split() noexcept;
  [[nodiscard]] bool is_wanted_split() noexcept;
  void set_kicks_split(bool wanted) noexcept;
  [[nodiscard]] bool has_more_split() noexcept;

  // queue_packed.cpp
  void fetch_packed() noexcept;
  [[nodiscard]] bool walk_packed() noexcept;
  [[nodiscard]] bool add_table(Chain& chain, std::uint64_t address, std::uint32_t bytes) noexcept;
  [[nodiscard]] bool use_packed(std::span<const std::uint32_t> written) noexcept;
  [[nodiscard]] bool tell_packed(std::span<const QueueJournal::Entry> entries) noexcept;
  [[nodiscard]] bool retell_packed(std::span<const QueueJournal::Entry> entries) noexcept;
  [[nodiscard]] bool is_wanted_packed() noexcept;
  void set_kicks_packed(bool wanted) noexcept;
  [[nodiscard]] bool has_more_packed() noexcept;

  [[nodiscard]] bool read_table(std::uint64_t address, std::uint32_t bytes, std::span<std::byte> into) noexcept;

  QueueJournal own_journal_;  // of a queue that was given no other place
  QueueJournal& journal_;
  QueueSetup setup_;
  QueueState state_;
  bool is_started_ = false;
  bool read_wrap_ = true;         // the lap of...
  std::uint16_t read_ = 0;        // ...the next chain to be read: state_.next_avail and those that wait
  std::uint32_t unreported_ = 0;  // split: chains, packed: descriptors, used since take_interrupt()
  std::size_t first_ = 0, end_ = 0, buffer_end_ = 0;
  memory::GuestMemory memory_;
  std::array<Chain, kMaxReady> chains_{};
  std::array<Buffer, kBuffers> buffers_{};
};

/// Whether the index that the other side waits for is among those that have just been passed ([VIRTIO] 2.7.10).
[[nodiscard]] constexpr bool passes(std::uint16_t event, std::uint16_t now, std::uint16_t before) noexcept {
  return static_cast<std::uint16_t>(now - event - 1) < static_cast<std::uint16_t>(now - before);
}

}  // namespace vmux::virtio
