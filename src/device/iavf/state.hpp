// SPDX-License-Identifier: BSD-3-Clause
// Register storage and the model's own statistics.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "device/iavf/registers.hpp"
#include "vmux/base/counter.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::device::iavf {

/// Register storage. The pages of the data path lie in memory that the guest may have mapped (poll mode) or in the
/// model's own (trap mode). All are read and written with ordered accesses only: pollers beside the home one that own
/// queues look at the controls of their vectors.
class Registers {
 public:
  /// Where the pages 0 to kDataPagesEnd lie. Before any other call.
  void place_data_pages(std::span<std::byte> pages) noexcept { pages_ = pages; }

  /// `offset` is that of a register in the table.
  [[nodiscard]] std::uint32_t get(std::uint32_t offset) const noexcept {
    if (is_data_page(offset)) return memory::load_acquire32(pages_, offset);
    return memory::load_acquire32(std::as_bytes(std::span{values_}), slot_of(offset) * sizeof(std::uint32_t));
  }
  void set(std::uint32_t offset, std::uint32_t value) noexcept {
    if (is_data_page(offset)) return memory::store_release32(pages_, offset, value);
    memory::store_release32(std::as_writable_bytes(std::span{values_}), slot_of(offset) * sizeof value, value);
  }
  /// Replaces a value that the guest may be writing at this moment; false when it no longer is `expected`.
  [[nodiscard]] bool replace(std::uint32_t offset, std::uint32_t expected, std::uint32_t value) noexcept;
  /// All registers below `end` as a reset of the function leaves them.
  void reset(std::uint32_t end = kRegisterEnd) noexcept;

  [[nodiscard]] static constexpr bool is_data_page(std::uint32_t offset) noexcept { return offset < kDataPagesEnd; }

 private:
  std::array<std::uint32_t, kRegisterSlots> values_{};
  std::span<std::byte> pages_;  // belongs to the function or to the Nic
};

/// What the interrupt units of all lanes know of each vector together: a vector may serve queues of several.
class VectorStates {
 public:
  /// When it last fired.
  [[nodiscard]] std::uint64_t fired_ns(unsigned vector) const noexcept {
    return memory::load_acquire64(fired_[vector]);
  }
  void set_fired_ns(unsigned vector, std::uint64_t now) noexcept { memory::store_release64(fired_[vector], now); }
  /// Time that has passed while nothing could fire.
  void delay(std::uint64_t passed_ns) noexcept;
  /// DYN_CTL as it was last looked at.
  [[nodiscard]] std::uint32_t seen(unsigned vector) const noexcept {
    return memory::load_acquire32(std::as_bytes(std::span{seen_}), vector * sizeof(std::uint32_t));
  }
  void set_seen(unsigned vector, std::uint32_t control) noexcept {
    memory::store_release32(std::as_writable_bytes(std::span{seen_}), vector * sizeof control, control);
  }
  /// False when somebody else has looked meanwhile.
  [[nodiscard]] bool replace_seen(unsigned vector, std::uint32_t expected, std::uint32_t control) noexcept {
    return memory::compare_exchange32(std::as_writable_bytes(std::span{seen_}), vector * sizeof control, expected,
                                      control);
  }

 private:
  std::array<std::uint64_t, kVectors> fired_{};
  std::array<std::uint32_t, kVectors> seen_{};
};

/// The model's own statistics, beside those of the queues.
struct NicCounters {
  Counter resets;             ///< of the virtual function, whoever asked
  Counter messages;           ///< virtchnl messages taken
  Counter refused;            ///< those answered with an error
  Counter admin_faults;       ///< an admin queue outside guest memory or with an index beyond its end
  Counter lost_replies;       ///< no receive queue to put them into
  Counter addresses_refused;  ///< of stations: the table is full
  Counter all_groups;         ///< times that a group found no room in it, so that all are received
};

}  // namespace vmux::device::iavf
