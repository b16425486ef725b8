// SPDX-License-Identifier: BSD-3-Clause
// What a device model is to the rest of the world: callbacks that pci::Function calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "vmux/base/result.hpp"
#include "vmux/pci/spec.hpp"

namespace vmux::state {
class Arena;
class UndoLog;
class Reader;
class Writer;
}  // namespace vmux::state

namespace vmux::pci {

enum class ResetKind : std::uint8_t {
  client_request,  ///< VFIO_USER_DEVICE_RESET, as at a machine reset
  function_level,  ///< the guest asked through the PCI Express or AF capability
  power_state,     ///< D3hot to D0
  client_gone,     ///< the client disconnected: its memory and interrupts are gone when this is called
};

/// Migration states, numbered as the kernel's VFIO_DEVICE_STATE_*.
enum class MigrationState : std::uint32_t {
  error,
  stop,
  running,
  stop_copy,
  resuming,
  running_p2p,
  pre_copy,
  pre_copy_p2p
};

/// Where the bytes of a read by message go, as many as it asked for, and who hears when it, or a write, is done.
struct DmaClaim {
  std::span<std::byte> into;
  std::function<void(Result<void>)> done;
};

/// What a model adds to the saved state of its function, which has config space and interrupts already: see
/// Function::save(). Home thread, like all of Device.
class Savable {
 public:
  virtual ~Savable() = default;
  /// From here to resume() the model touches neither guest memory nor interrupts, on no thread. What the guest asks for
  /// meanwhile is remembered.
  virtual void pause() noexcept {}
  virtual void resume() noexcept {}
  /// All that a guest could tell the difference by. Only while paused.
  virtual void save(state::Writer& into) const = 0;
  /// The same of a device that runs, on its home thread between two rounds.
  virtual void save_running(state::Writer& into) {
    pause();
    save(into);
    resume();
  }
  /// Where the model keeps what changes with every burst, so that it outlives the process; nullptr: save() has all.
  [[nodiscard]] virtual state::Arena* arena() noexcept { return nullptr; }
  /// For values there that requests change, and not twice; nullptr: all that requests change may be done again.
  [[nodiscard]] virtual state::UndoLog* undo_log() noexcept { return nullptr; }
  /// Another device's values lie there now, which may have died while it wrote them. After load(); the error is for
  /// people, and the device is to be destroyed then.
  [[nodiscard]] virtual tl::expected<void, std::string> arena_taken_over() { return {}; }
  /// Takes what save() gave to a device of the same description that has just been reset. What an operator grants (MAC
  /// address, VLANs, queues) is not taken from the image; a conflict with it is refused. The error is for people.
  [[nodiscard]] virtual tl::expected<void, std::string> load(state::Reader& from) = 0;
  /// After load(), and only when the client stays the same: a dma_read() or dma_write() of the saved device that had
  /// not been done. They come in the order in which they were begun. One that nobody claims goes on, and nobody hears.
  [[nodiscard]] virtual DmaClaim claim_dma(bool /*is_write*/, Iova /*at*/, std::size_t /*size*/) { return {}; }
};

/// A saved state as a stream, which is how VFIO's migration moves it. Models are Savable; the stream is the function's.
class Migratable {
 public:
  virtual ~Migratable() = default;
  /// True when the state can be read out while the device runs (MigrationState::pre_copy); else it is never entered.
  [[nodiscard]] virtual bool supports_pre_copy() const noexcept { return false; }
  /// True when the device can run without beginning a transfer of its own (MigrationState::running_p2p), which a VM
  /// with several devices needs: each may still be written to while the others stop. Else it is never entered.
  [[nodiscard]] virtual bool supports_p2p() const noexcept { return false; }
  /// Enters a state; the transitions that the specification allows are checked before.
  virtual Result<void> enter(MigrationState to) = 0;
  /// Fills `into` with the next bytes of the state; returns how many, 0 at the end. Only in stop_copy and pre_copy.
  virtual Result<std::size_t> save(std::span<std::byte> into) = 0;
  /// Takes the next bytes of a saved state. Only in resuming.
  virtual Result<void> load(std::span<const std::byte> from) = 0;
};

/// A device model.
///
/// Thread contract: every callback runs on the home thread of the function (its poller, or the thread that drives its
/// server), one at a time. A callback may trigger interrupts, access guest memory, arm timers and call the function;
/// it must not block: a VM waits for the answer with its big lock held. Interrupts may be triggered from any thread.
class Device {
 public:
  virtual ~Device() = default;

  /// A guest read of BAR `bar`. The range is inside the BAR, outside its shared areas and MSI-X structures; `into` is
  /// 1 to 8 bytes naturally aligned for an ordinary access, or longer for a bulk access. Fill all of it.
  virtual void read_bar(Region bar, RegionOffset offset, std::span<std::byte> into) noexcept = 0;
  /// A guest write, under the same rules.
  virtual void write_bar(Region bar, RegionOffset offset, std::span<const std::byte> from) noexcept = 0;
  /// A write by message to a shared area has been applied. For models that react to doorbells at once; pollers that
  /// look at the memory need not care.
  virtual void shared_written(Region /*bar*/, RegionOffset /*offset*/, std::size_t /*size*/) noexcept {}

  /// Back to the state after power-on. Config space and interrupts have been reset by the function already.
  virtual void reset(ResetKind kind) noexcept = 0;

  /// The command register's bus master enable changed. While off, memory and MSI of the function do not answer.
  virtual void bus_master_changed(bool /*enabled*/) noexcept {}
  /// The guest is about to read config space of that kind: time to store there what the bytes are now.
  virtual void config_reading(RegionOffset /*offset*/, std::size_t /*size*/) noexcept {}
  /// The guest wrote config space beyond what the function handles itself (a vendor capability, say).
  virtual void config_written(RegionOffset /*offset*/, std::span<const std::byte> /*bytes*/) noexcept {}
  /// The guest is about to lose the device while it runs. A model that can, tells its guest (a network card: the link
  /// goes down, so that bonds fail over and routes go) until reset(client_gone), and returns true.
  virtual bool leaving() noexcept { return false; }
  /// A client connected, or left (after reset(client_gone)).
  virtual void attached(bool /*is_attached*/) noexcept {}

  /// nullptr: the device does not migrate, and says so to clients.
  [[nodiscard]] virtual Savable* savable() noexcept { return nullptr; }
  /// For a device with a stream of its own; most are savable() instead.
  virtual Migratable* migration() noexcept { return nullptr; }
};

}  // namespace vmux::pci
