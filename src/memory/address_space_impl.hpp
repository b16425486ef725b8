// SPDX-License-Identifier: BSD-3-Clause
// What AddressSpace is made of: address_space.cpp is its life, address_space_state.cpp how it is saved and loaded.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "memory/backing.hpp"
#include "memory/table.hpp"
#include "vmux/memory/address_space.hpp"

namespace vmux::memory {

struct AddressSpace::Impl {
  struct Watcher {
    Observer* observer;
    std::uint64_t adopted;
  };
  struct Waiting {
    std::uint64_t generation;
    std::function<void()> quiet;
  };

  std::shared_ptr<const Table> table = std::make_shared<Table>();
  std::uint64_t generation = 0;
  BackingFiles files;
  std::vector<GuestMemory*> readers;
  std::vector<Watcher> watchers;
  std::deque<Waiting> waiting;  // in order of generation
  bool is_logging = false;
  std::uint64_t logged_pages = 0;
  std::uint64_t repeat_until = 0;  // from this generation on nobody writes any more what was reported; 0: nobody did
  std::uint64_t bytes = 0, bytes_peak = 0;  // of all ranges

  void count_added(std::uint64_t size) noexcept {
    bytes += size;
    bytes_peak = std::max(bytes_peak, bytes);
  }
  void publish(std::shared_ptr<const Table> next);
  ByteCount remove(std::uint64_t first, std::uint64_t last, std::function<void()> quiet);
  void settle();
  [[nodiscard]] std::uint64_t slowest() const noexcept;
  /// Whether a range may be added to `table`.
  [[nodiscard]] static Result<void> check(const Table& table, Iova start, ByteCount size,
                                          std::uint64_t offset) noexcept;
  [[nodiscard]] Result<Table::Entry> make_entry(MapRequest request);
  /// Of a range whose file is `backing`'s.
  [[nodiscard]] Result<Table::Entry> entry_in(std::shared_ptr<Backing> backing, const Window& window,
                                              std::uint64_t offset);
  [[nodiscard]] bool add_log(RangeOwner& owner, Window& window);
  void take_window(const Table::Entry& entry, std::uint64_t start, std::uint64_t last, unsigned shift,
                   std::span<std::uint64_t> bitmap) noexcept;
};

}  // namespace vmux::memory
