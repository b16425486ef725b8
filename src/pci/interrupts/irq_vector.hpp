// SPDX-License-Identifier: BSD-3-Clause
// One interrupt vector: its sink, and what stands between a trigger and the sink. Lock-free for whoever triggers.
#pragma once

#include <atomic>
#include <cstdint>

#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/pci/spec.hpp"

namespace vmux::pci {

/// A kind of which a function has many, each masked by itself.
[[nodiscard]] constexpr bool is_message(Irq irq) noexcept { return irq == Irq::msi || irq == Irq::msix; }

/// The kernel descriptor of a vector. It is made when the first sink comes and keeps its number for life: new sinks are
/// dup3()ed onto it, so that a trigger on another thread never writes to a closed or reused descriptor.
class IrqSink {
 public:
  ~IrqSink();
  IrqSink() noexcept = default;
  IrqSink(const IrqSink&) = delete;
  IrqSink& operator=(const IrqSink&) = delete;

  /// Home thread: makes the descriptor, so that replace() cannot fail. no_space or system when there is none to have.
  [[nodiscard]] Result<void> prepare() noexcept;
  /// Home thread, after prepare(): `sink` listens from now on; the one before is let go.
  void replace(const UniqueFd& sink) noexcept;
  /// Home thread: nobody listens.
  void drop() noexcept;
  /// Any thread. Nothing happens without a sink.
  void signal() const noexcept;
  /// Home thread: the descriptor of who listens, if somebody does.
  [[nodiscard]] int fd() const noexcept { return fd_.load(std::memory_order_relaxed); }
  /// Any thread: whether signal() reaches somebody.
  [[nodiscard]] bool has_listener() const noexcept { return has_listener_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int> fd_{-1};
  std::atomic<bool> has_listener_{false};
};

/// What a client may hand us as a sink: an eventfd that can be written. Sets O_NONBLOCK, which the client can undo: see
/// signal_peer_eventfd().
[[nodiscard]] Result<void> check_sink(const UniqueFd& sink) noexcept;

/// A vector of MSI or MSI-X. All state is in one word, so that mask, unmask and trigger cannot miss each other.
class MessageVector {
 public:
  enum Mask : std::uint32_t { by_client = 4, by_table = 8, by_function = 16 };

  /// Any thread.
  void trigger() noexcept;
  [[nodiscard]] bool is_pending() const noexcept { return (state_.load(std::memory_order_acquire) & kPending) != 0; }

  // The home thread's.
  [[nodiscard]] bool is_masked(Mask mask) const noexcept {
    return (state_.load(std::memory_order_acquire) & mask) != 0;
  }
  [[nodiscard]] const IrqSink& sink() const noexcept { return sink_; }
  [[nodiscard]] Result<void> prepare() noexcept { return sink_.prepare(); }
  void attach(const UniqueFd& sink) noexcept;
  void detach() noexcept;
  void set_mask(Mask mask, bool is_masked) noexcept;
  /// The sink hears one signal regardless of masks (a client tests its wiring).
  void loop_back() const noexcept { sink_.signal(); }
  void clear_masks_and_pending() noexcept;
  void clear_pending() noexcept { state_.fetch_and(~kPending, std::memory_order_acq_rel); }

 private:
  static constexpr std::uint32_t kSink = 1, kPending = 2, kMasks = by_client | by_table | by_function;
  void deliver_if_open() noexcept;

  std::atomic<std::uint32_t> state_{0};
  IrqSink sink_;
};

/// INTx as VFIO presents a level-triggered interrupt: a signal masks it, the client unmasks when the guest is done, and
/// a level that is still high then is signalled again.
class LevelVector {
 public:
  /// Any thread.
  void set_level(bool asserted) noexcept { update(asserted ? kAsserted : 0, asserted ? 0 : kAsserted); }
  [[nodiscard]] bool level() const noexcept { return (state_.load(std::memory_order_acquire) & kAsserted) != 0; }

  // The home thread's.
  [[nodiscard]] const IrqSink& sink() const noexcept { return sink_; }
  [[nodiscard]] bool is_masked() const noexcept { return (state_.load(std::memory_order_acquire) & kMasked) != 0; }
  [[nodiscard]] Result<void> prepare() noexcept { return sink_.prepare(); }
  void attach(const UniqueFd& sink) noexcept;
  void detach() noexcept;
  void mask() noexcept { update(kMasked, 0); }
  void unmask() noexcept { update(0, kMasked); }
  void set_disabled(bool disabled) noexcept { update(disabled ? kDisabled : 0, disabled ? 0 : kDisabled); }
  void loop_back() const noexcept { sink_.signal(); }
  void reset() noexcept { update(0, kAsserted | kMasked | kDisabled); }

 private:
  static constexpr std::uint32_t kSink = 1, kAsserted = 2, kMasked = 4, kDisabled = 8;
  void update(std::uint32_t set, std::uint32_t clear) noexcept;

  std::atomic<std::uint32_t> state_{0};
  IrqSink sink_;
};

}  // namespace vmux::pci
