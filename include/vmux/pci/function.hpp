// SPDX-License-Identifier: BSD-3-Clause
// One live PCI function: config space, BARs, interrupts, guest memory, and the device model behind them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/memory/address_space.hpp"
#include "vmux/pci/device.hpp"
#include "vmux/pci/interrupts.hpp"
#include "vmux/pci/spec.hpp"

namespace vmux::pci {

struct RegionInfo {
  std::uint64_t size = 0;  ///< 0: the region does not exist
  bool readable = false, writable = false;
  std::vector<SharedArea> shared;  ///< what may be mapped, as offsets into the region
  int fd = -1;  ///< memfd of the shared areas, borrowed; the area at region offset X lies at fd offset X
};

/// Reads and writes guest memory that has no descriptor, by messages to the client. Set by the transport while a client
/// is attached. `done` runs on the home thread, exactly once, never from inside the call.
class MessageDma {
 public:
  using Done = std::function<void(Result<void>)>;
  virtual ~MessageDma() = default;
  virtual void read(Iova from, std::span<std::byte> into, Done done) = 0;
  virtual void write(Iova to, std::span<const std::byte> from, Done done) = 0;
};

/// One PCI function. Everything is for the home thread, except interrupts().trigger() and its like.
/// Two faces: the transport's (a vfio-user session, the C ABI, a test that plays the guest) and the device model's.
class Function {
 public:
  /// Checks the description (sizes, overlaps, capability space) and builds config space and shared memory. `device`
  /// must outlive the function.
  [[nodiscard]] static Result<std::unique_ptr<Function>> create(FunctionSpec spec, Device& device);
  ~Function();
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;

  // --- the transport's face ---
  [[nodiscard]] RegionInfo region(Region region) const noexcept;
  /// A guest access. Errors: out_of_range beyond the region, not_supported for a region that does not exist.
  [[nodiscard]] Result<void> read(Region region, RegionOffset offset, std::span<std::byte> into) noexcept;
  [[nodiscard]] Result<void> write(Region region, RegionOffset offset, std::span<const std::byte> from) noexcept;
  void reset(ResetKind kind) noexcept;
  void client_attached(MessageDma* message_dma) noexcept;
  /// Drops memory, sinks and message DMA, resets the device, tells it. Calls `quiet` when no reader touches the old
  /// memory.
  void client_gone(std::function<void()> quiet) noexcept;

  // --- the device model's face ---
  [[nodiscard]] Interrupts& interrupts() noexcept;
  [[nodiscard]] memory::AddressSpace& memory() noexcept;
  /// A reader for a queue of the home thread: attached to memory(); fails all accesses while bus mastering is off.
  void attach(memory::GuestMemory& reader);
  void detach(memory::GuestMemory& reader) noexcept;
  /// The memory of a BAR's shared areas, as long as the BAR, or empty when it has none. Guests write it at any time:
  /// use the ordered accesses of memory/ordered.hpp.
  [[nodiscard]] std::span<std::byte> shared(Region bar) noexcept;
  /// Reads or writes guest memory that may have no descriptor: at once when it has, by message when not.
  void dma_read(Iova from, std::span<std::byte> into, MessageDma::Done done);
  void dma_write(Iova to, std::span<const std::byte> from, MessageDma::Done done);

  /// Raw config space, for models that add to it (a register of their own in a vendor capability).
  [[nodiscard]] std::span<std::byte> config() noexcept;
  [[nodiscard]] bool is_bus_master() const noexcept;
  [[nodiscard]] Device& device() noexcept;
  [[nodiscard]] const FunctionSpec& spec() const noexcept;

 private:
  struct Impl;
  explicit Function(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmux::pci
