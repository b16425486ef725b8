// SPDX-License-Identifier: BSD-3-Clause
// One live PCI function: config space, BARs, interrupts, guest memory, and the device model behind them.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/memory/address_space.hpp"
#include "vmux/pci/device.hpp"
#include "vmux/pci/endpoint.hpp"
#include "vmux/pci/interrupts.hpp"
#include "vmux/pci/spec.hpp"

namespace vmux::pci {

/// One PCI function. Everything is for the home thread, except interrupts().trigger() and its like.
/// Two faces: the transport's (a vfio-user session, the C ABI, a test that plays the guest) and the device model's.
class Function final : public Endpoint {
 public:
  /// Checks the description (sizes, overlaps, capability space) and builds config space and shared memory. `device`
  /// must outlive the function.
  [[nodiscard]] static Result<std::unique_ptr<Function>> create(FunctionSpec spec, Device& device);
  ~Function() override;
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;

  // --- the transport's face ---
  [[nodiscard]] const std::string& name() const noexcept override;
  [[nodiscard]] const char* failure() const noexcept override;
  [[nodiscard]] RegionInfo region(Region region) const noexcept override;
  [[nodiscard]] Result<void> read(Region region, RegionOffset offset, std::span<std::byte> into) noexcept override;
  [[nodiscard]] Result<void> write(Region region, RegionOffset offset,
                                   std::span<const std::byte> from) noexcept override;
  void reset(ResetKind kind) noexcept override;
  void client_attached(MessageDma* message_dma) noexcept override;
  void client_gone(std::function<void()> quiet) noexcept override;
  bool announce_departure(bool for_good) noexcept override;
  [[nodiscard]] IrqInfo irq_info(Irq irq) const noexcept override;
  [[nodiscard]] Result<void> configure_irq(IrqRequest request) noexcept override;
  [[nodiscard]] int intx_unmask_fd() const noexcept override;
  void unmask_intx() noexcept override;
  [[nodiscard]] Result<void> map(memory::MapRequest request) noexcept override;
  [[nodiscard]] Result<ByteCount> unmap(Iova start, ByteCount size, std::function<void()> quiet) noexcept override;
  [[nodiscard]] Result<ByteCount> unmap_all(std::function<void()> quiet) noexcept override;
  [[nodiscard]] bool has_software_dma() const noexcept override { return true; }
  [[nodiscard]] Migratable* migration() noexcept override;
  /// Of a model that is savable. A descriptor that a client can map stays the same memory: registers in it are not
  /// loaded but found as guest and device have left them.
  [[nodiscard]] Result<void> suspend(state::Writer& into, state::FdBag& fds) override;
  [[nodiscard]] tl::expected<void, std::string> adopt(state::Reader& from, const state::FdBag& fds,
                                                      MessageDma* message_dma) override;
  [[nodiscard]] DmaClaim claim_dma(bool is_write, Iova at, std::size_t size) override;
  /// Unless a migration holds the device.
  void go_on() noexcept override;
  [[nodiscard]] tl::expected<std::vector<std::byte>, std::string> save_state() override;
  /// The function is paused from here on, until its client has led it through STOP to RUNNING, or a reset.
  [[nodiscard]] tl::expected<void, RestoreProblem> restore_state(std::span<const std::byte> image) override;
  /// Of a model whose cursors outlive it.
  [[nodiscard]] bool can_record() const noexcept override;
  [[nodiscard]] Result<void> record(state::Writer& into, state::FdBag& fds) override;
  [[nodiscard]] bool take_change() noexcept override;
  void record_kept() noexcept override;
  void begin_requests(std::uint64_t round) noexcept override;
  void end_requests() noexcept override;
  void set_recorder(Recorder* recorder) noexcept override;

  // --- whoever moves it ---
  /// The model's state can be moved. The calls below are for such a model.
  [[nodiscard]] bool is_savable() const noexcept;
  /// Stops DMA and interrupts without a trace for the guest, until resume(). Registers are still served.
  void pause() noexcept;
  void resume() noexcept;
  /// Config space, interrupts and the model as an image of state/format.hpp. While paused. Not in it: what the client
  /// has given (memory, eventfds), which the next one gives anew.
  [[nodiscard]] std::vector<std::byte> save() const;
  /// Takes an image: the function is then as it was when saved, and paused. On an error, which is a sentence for
  /// people, it is as after a reset.
  [[nodiscard]] tl::expected<void, std::string> load(std::span<const std::byte> image);
  /// What an image of a function that runs on is for: to be kept, or to be tried where another will follow.
  enum class Purpose : std::uint8_t { keeping, preview };
  /// The same as save() of a function that runs, and goes on. load() refuses a preview.
  [[nodiscard]] std::vector<std::byte> save_running(Purpose purpose);
  [[nodiscard]] static bool is_preview(std::span<const std::byte> image) noexcept;
  /// Whether load() will take images like this preview; the function is as after a reset, and paused.
  [[nodiscard]] tl::expected<void, std::string> try_load(std::span<const std::byte> preview);

  // --- the device model's face ---
  /// Something has changed that a saved state has and the arena has not: a reset, what a driver has agreed upon.
  void note_change() noexcept;
  /// Somebody else is to go on with the device when this process dies.
  [[nodiscard]] bool is_recorded() const noexcept;
  /// Calls `work`, which changes the model outside of a guest's access (a timer, the operator): all of it counts for
  /// whoever goes on when this process dies, or nothing. What `work` tells the guest may be told again.
  void in_round(const std::function<void()>& work);
  [[nodiscard]] Interrupts& interrupts() noexcept;
  [[nodiscard]] memory::AddressSpace& memory() noexcept override;
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
