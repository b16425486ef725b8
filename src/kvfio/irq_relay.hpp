// SPDX-License-Identifier: BSD-3-Clause
// A physical function's interrupts: the client's eventfd is handed to the kernel, which signals it from its interrupt
// handler. No thread of ours stands in between.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "kvfio/kernel.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/state/fd_bag.hpp"

namespace vmux::state {
class Reader;
class Writer;
}  // namespace vmux::state

namespace vmux::kvfio {

/// INTx, MSI and MSI-X of one device. Home thread. The kernel knows neither masks of message vectors nor their pending
/// bits: a masked vector signals an eventfd of ours (it is parked), and its unmasking passes on what came meanwhile.
class IrqRelay {
 public:
  /// `device` must outlive it, or drop() be called before.
  explicit IrqRelay(KernelDevice& device);

  [[nodiscard]] pci::IrqInfo info(pci::Irq irq) const noexcept;
  /// SET_IRQS for INTx, MSI or MSI-X, lenient as pci::Interrupts. The kernel serves one of the three at a time: the one
  /// that was asked for last.
  [[nodiscard]] Result<void> configure(pci::IrqRequest request) noexcept;
  /// Nobody listens any more.
  void drop() noexcept;

  /// The guest's own masks: in its MSI-X table and in the message control register.
  void set_table_mask(std::uint32_t vector, bool is_masked) noexcept;
  void set_function_mask(bool is_masked) noexcept;
  /// A reset lifts all masks of MSI-X, as the table has them.
  void clear_masks() noexcept;
  /// Pending bits of 64 MSI-X vectors from `first` on, of those that are parked.
  [[nodiscard]] std::uint64_t pending_word(std::uint32_t first) const noexcept;

  // --- from a process to the next: what the kernel was given goes on being signalled ---
  /// Who listens, as a section, and the clients' eventfds and ours as `irq/KIND/N` and `irq/KIND/N/parked`.
  [[nodiscard]] Result<void> save(state::Writer& into, state::FdBag& fds) const;
  /// What save() gave in another process. The kernel is not asked. The error is for people.
  [[nodiscard]] tl::expected<void, std::string> load(state::Reader& from, const state::FdBag& fds);
  /// That process may have died in the middle of a change: the kernel is given the eventfds of message vectors once
  /// more, and each is signalled, for one may have gone to an eventfd that nobody knows. Those that are masked are
  /// pending from here on.
  void go_on() noexcept;
  /// As AddressSpace's: eventfds that nobody wants any more stay open until the record is without them.
  void keep_departed() noexcept { keeps_departed_ = true; }
  void forget_departed() noexcept { departed_.clear(); }

 private:
  enum Mask : std::uint8_t { by_client = 1, by_table = 2, by_function = 4 };
  struct Vector {
    UniqueFd sink;
    UniqueFd parked;
    std::uint8_t masks = 0;
  };
  struct Group {
    pci::IrqInfo info;
    std::vector<Vector> vectors;
    std::uint32_t enabled = 0;  ///< vectors that the kernel has set up
  };

  [[nodiscard]] Group& group(pci::Irq irq) noexcept { return groups_[static_cast<std::size_t>(irq)]; }
  [[nodiscard]] const Group& group(pci::Irq irq) const noexcept { return groups_[static_cast<std::size_t>(irq)]; }
  [[nodiscard]] Result<void> configure_intx(const pci::IrqRequest& request) noexcept;
  [[nodiscard]] Result<void> configure_messages(const pci::IrqRequest& request) noexcept;
  [[nodiscard]] Result<void> validate(const pci::IrqRequest& request) const noexcept;
  [[nodiscard]] Result<void> apply(pci::Irq irq, std::uint32_t start, std::uint32_t count) noexcept;
  [[nodiscard]] Result<void> park(Vector& vector) noexcept;
  void set_mask(pci::Irq irq, std::uint32_t index, Mask mask, bool is_masked) noexcept;
  void disable(pci::Irq irq) noexcept;
  void turn_off(pci::Irq irq) noexcept;
  void disable_others(pci::Irq irq) noexcept;
  void let_go(UniqueFd& fd) noexcept;

  KernelDevice& device_;
  std::array<Group, 3> groups_;  // intx, msi, msix
  bool keeps_departed_ = false;
  std::vector<UniqueFd> departed_;
};

}  // namespace vmux::kvfio
