// SPDX-License-Identifier: BSD-3-Clause
// The interrupts of one PCI function: who listens, what is masked, what is pending.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/pci/spec.hpp"

namespace vmux::state {
class FdBag;
class Reader;
class Writer;
}  // namespace vmux::state

namespace vmux::pci {

/// SET_IRQS as VFIO defines it: one action on vectors [start, start + count) with one kind of data.
enum class IrqAction : std::uint8_t { mask, unmask, trigger };
enum class IrqData : std::uint8_t { none, boolean, eventfd };
struct IrqRequest {
  Irq irq = Irq::intx;
  IrqAction action = IrqAction::trigger;
  IrqData data = IrqData::none;
  std::uint32_t start = 0;
  std::uint32_t count = 0;
  std::span<const std::uint8_t> booleans;  ///< `count` of them for IrqData::boolean
  std::span<UniqueFd>
      eventfds;  ///< 0 to `count` for IrqData::eventfd; those used are moved from. A missing or empty one detaches.
};

struct IrqInfo {
  std::uint32_t count = 0;
  bool eventfd = false, maskable = false, automasked = false, noresize = false;
};

/// Sinks, masks and pending bits of all interrupts of a function.
///
/// trigger(), set_level() and is_pending() are lock-free and may be called from any thread; everything else belongs to
/// the home thread. A vector keeps one kernel descriptor for its life and sinks are replaced by dup3() onto it, so
/// a trigger on another thread never meets a closed or reused descriptor.
class Interrupts {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Interrupts>> create(const FunctionSpec& spec);
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// Any thread: signals vector `vector` of MSI-X or MSI (whichever the guest enabled; MSI-X first). Masked: sets the
  /// pending bit, and the unmask delivers. Without bus mastering nothing is sent. False when neither is enabled: the
  /// model falls back to set_level().
  bool trigger(std::uint32_t vector) noexcept;
  /// Any thread: the level of INTx. Signals when it rises or is still high at an unmask; the status bit in config space
  /// and the interrupt-disable bit are honoured.
  void set_level(bool asserted) noexcept;
  /// Any thread: ERR (device error) and REQ (please give the device back) reach the VMM. The latter tells whether it
  /// listens.
  void signal_error() noexcept;
  bool request_release() noexcept;

  [[nodiscard]] bool is_message_signalled() const noexcept;  ///< any thread: MSI or MSI-X has sinks enabled
  [[nodiscard]] bool is_pending(std::uint32_t vector) const noexcept;

  [[nodiscard]] IrqInfo info(Irq irq) const noexcept;
  /// Lenient where clients are (see protocol notes): a detach of what was never attached succeeds, an MSI-X enable
  /// without descriptors makes vectors without sinks.
  [[nodiscard]] Result<void> configure(IrqRequest request) noexcept;
  /// The eventfd on which the client wants INTx unmasked (SET_IRQS unmask with an eventfd), or -1. The transport
  /// watches it and calls unmask_intx() when it fires; the number changes only within configure() and reset().
  [[nodiscard]] int intx_unmask_fd() const noexcept;
  void unmask_intx() noexcept;

  /// Config space tells: bus master, INTx disable, MSI enable and masks, MSI-X function mask, table writes.
  void set_bus_master(bool enabled) noexcept;
  void set_intx_disabled(bool disabled) noexcept;
  void set_msi_mask(std::uint32_t mask_bits) noexcept;
  void set_msix_function_mask(bool masked) noexcept;
  void set_msix_vector_mask(std::uint32_t vector, bool masked) noexcept;
  /// Any thread: the level of INTx as the model last set it (the interrupt status bit).
  [[nodiscard]] bool intx_level() const noexcept;
  /// Any thread: 64 pending bits of `irq` (msi or msix) from vector `first` on, as the pending bit array shows them.
  [[nodiscard]] std::uint64_t pending_word(Irq irq, std::uint32_t first) const noexcept;
  /// Home thread: vectors whose MSI-X table entry masks them, as pending_word(). An entry that no one has written does
  /// not, whatever its bit reads.
  [[nodiscard]] std::uint64_t table_mask_word(std::uint32_t first) const noexcept;
  /// Home thread: pending bits as they were when saved; what is not masked is signalled as soon as there is a sink.
  void set_pending(Irq irq, std::uint32_t vector) noexcept;
  /// The client's side, who listens where and what the client has masked: a section, and descriptors `irq/...`.
  [[nodiscard]] Result<void> save_routing(state::Writer& into, state::FdBag& fds) const;
  /// After reset(true), and before anything is pending. The error is for people.
  [[nodiscard]] tl::expected<void, std::string> load_routing(state::Reader& from, const state::FdBag& fds);
  /// Lowers INTx, clears masks and pending bits; with `drop_sinks` (disconnect) forgets all of the client's eventfds
  /// too.
  void reset(bool drop_sinks) noexcept;

 private:
  struct Impl;
  explicit Interrupts(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmux::pci
