// SPDX-License-Identifier: BSD-3-Clause
// One BAR: which part of it is shared memory, which an MSI-X structure, which the model's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmux/base/mapping.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/pci/spec.hpp"

namespace vmux::pci {

enum class Owner : std::uint8_t { model, shared, msix_table, msix_pba };

/// A stretch of a BAR with one owner.
struct Segment {
  std::uint64_t begin = 0, end = 0;
  Owner owner = Owner::model;
};

class Bar {
 public:
  /// Checks the shared areas and I/O events of BAR `index` and the MSI-X structures in it, and makes its memory. A BAR
  /// that the description does not have is empty.
  [[nodiscard]] static Result<Bar> create(const FunctionSpec& spec, unsigned index);

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// The segment that holds `offset`, which is inside the BAR.
  [[nodiscard]] Segment segment(std::uint64_t offset) const noexcept;
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// Another's memory, as its fd() gave it, from here on in place of the own: at the same address, with what is in it.
  [[nodiscard]] Result<void> share_with(UniqueFd fd) noexcept;
  /// Memory as long as the BAR, or empty when it shares nothing.
  [[nodiscard]] std::span<std::byte> memory() const noexcept { return memory_.bytes(); }

 private:
  [[nodiscard]] Result<void> share(const BarSpec& described);
  [[nodiscard]] Result<void> check(const IoEvent& event) const;
  [[nodiscard]] Result<void> reserve(std::uint64_t offset, std::uint64_t size, Owner owner);

  std::uint64_t size_ = 0;
  std::vector<Segment> segments_;  // sorted, disjoint; the rest is the model's
  UniqueFd fd_;
  Mapping memory_;
};

/// The longest naturally aligned access (1, 2, 4 or 8 bytes) at `offset` that is no longer than `left`.
[[nodiscard]] std::size_t aligned_step(std::uint64_t offset, std::size_t left) noexcept;

/// Copies between a shared area and a message: each naturally aligned part in one piece, ordered with the accesses of
/// pollers that look at the same memory (memory/ordered.hpp).
void read_shared(std::span<const std::byte> memory, std::uint64_t offset, std::span<std::byte> into) noexcept;
void write_shared(std::span<std::byte> memory, std::uint64_t offset, std::span<const std::byte> from) noexcept;

}  // namespace vmux::pci
