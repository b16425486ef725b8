// SPDX-License-Identifier: BSD-3-Clause
// Register storage and the model's own statistics.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "device/e810/registers.hpp"
#include "vmux/base/counter.hpp"
#include "vmux/memory/ordered.hpp"
#include "vmux/state/undo_log.hpp"

namespace vmux::device::e810 {

/// In the card's arena, with a log: what a request has changed and its driver has not heard of is undone there when the
/// process dies.
struct RegisterFile {
  std::array<std::uint32_t, kRegisterSlots> values;
  std::uint64_t commands;  ///< that control queues have executed
};

/// The two pages of doorbells lie in memory that the guest may have mapped (poll mode) or in the card's arena (trap
/// mode), and are read and written with ordered accesses only.
class Registers {
 public:
  /// Both outlive this object, and so may another process's values that lie there from some time on.
  Registers(RegisterFile& file, state::UndoLog& undo) noexcept : file_(file), undo_(undo) {}

  /// Of kPage bytes each. Before any other call.
  void place_doorbells(std::span<std::byte> receive_tails, std::span<std::byte> transmit) noexcept {
    receive_tails_ = receive_tails;
    transmit_ = transmit;
  }

  /// `offset` is that of a register in the table, and of no statistic.
  [[nodiscard]] std::uint32_t get(std::uint32_t offset) const noexcept {
    if (offset - reg::QRX_TAIL < kPage) return memory::load_acquire32(receive_tails_, offset - reg::QRX_TAIL);
    if (offset - reg::QTX_COMM_DBELL < kPage) return memory::load_acquire32(transmit_, offset - reg::QTX_COMM_DBELL);
    return file_.values[slot_of(offset)];
  }
  void set(std::uint32_t offset, std::uint32_t value) noexcept {
    if (offset - reg::QRX_TAIL < kPage) {
      return memory::store_release32(receive_tails_, offset - reg::QRX_TAIL, value);
    }
    if (offset - reg::QTX_COMM_DBELL < kPage) {
      return memory::store_release32(transmit_, offset - reg::QTX_COMM_DBELL, value);
    }
    std::uint32_t& word = file_.values[slot_of(offset)];
    undo_.note(word);
    word = value;
  }
  /// See RegisterFile.
  [[nodiscard]] std::uint64_t commands() const noexcept { return file_.commands; }
  void count_command() noexcept {
    undo_.note(file_.commands);
    ++file_.commands;
  }
  /// What the data path reads once per look at a queue: no search in the table.
  [[nodiscard]] std::uint32_t transmit_tail(unsigned queue) const noexcept {
    return memory::load_acquire32(transmit_, std::size_t{queue} * 4) & 0x1fff;
  }
  [[nodiscard]] std::uint32_t receive_tail(unsigned queue) const noexcept {
    return memory::load_acquire32(receive_tails_, std::size_t{queue} * 4) & 0x1fff;
  }
  /// As a reset of this kind leaves them; a reset of the device clears all.
  void reset(ClearedBy kind) noexcept;

 private:
  RegisterFile& file_;
  state::UndoLog& undo_;
  std::span<std::byte> receive_tails_, transmit_;  // belong to the function or to the Nic
};

/// What a driver asked for and is not there, by number: the first few, and how many of all others.
struct Unknown {
  static constexpr std::size_t kNumbers = 16;
  struct Entry {
    Counter number, times;
  };
  std::array<Entry, kNumbers> entries;
  Counter used, others;

  void note(std::uint32_t number) noexcept {
    for (std::size_t i = 0; i < used.get(); ++i) {
      if (entries[i].number.get() == number) return entries[i].times.add();
    }
    if (used.get() == kNumbers) return others.add();
    entries[used.get()].number.set(number);
    entries[used.get()].times.add();
    used.add();
  }
  [[nodiscard]] std::uint64_t total() const noexcept {
    std::uint64_t sum = others.get();
    for (std::size_t i = 0; i < used.get(); ++i)
      sum += entries[i].times.get();
    return sum;
  }
};

/// The model's own statistics, beside those of the queues.
struct NicCounters {
  Counter interrupts;                           ///< messages sent, all vectors
  Counter interrupts_suppressed;                ///< causes that made none of their own
  Counter resets;                               ///< of the function and of the device, whoever asked
  Counter commands;                             ///< of all control queues
  Counter refused;                              ///< those answered with an error, unknown ones among them
  Unknown unknown_commands, unknown_registers;  ///< opcodes; offsets into the BAR
  Counter admin_faults;   ///< a control queue outside guest memory or with an index beyond its end
  Counter lost_events;    ///< no receive descriptor to put them into
  Counter flows_refused;  ///< rules of Flow Director that cannot be understood or find no room
  Counter queue_refused;  ///< contexts that no queue can have
};

}  // namespace vmux::device::e810
