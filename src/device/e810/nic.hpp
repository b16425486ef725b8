// SPDX-License-Identifier: BSD-3-Clause
// An Intel E810 physical function as a PCI function on one side and a network port on the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "base/mac.hpp"
#include "device/e810/control_queue.hpp"
#include "device/e810/firmware/firmware.hpp"
#include "device/e810/interrupts.hpp"
#include "device/e810/queues/data_path.hpp"
#include "device/e810/queues/wire_port.hpp"
#include "device/e810/state.hpp"
#include "nic/alarm.hpp"
#include "vmux/pci/device.hpp"
#include "vmux/pci/function.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/state/arena.hpp"

namespace vmux::device::e810 {

enum class Doorbell : std::uint8_t {
  poll,  ///< the tails of the queues are memory that the guest may map; the poller looks at it
  trap,  ///< nothing is mapped: every register access is a message, nothing has to be polled
};

struct NicOptions {
  std::string name = "e810";  ///< for logs
  MacAddress mac{};
  Doorbell doorbell = Doorbell::poll;
  unsigned queue_pairs = 4;  ///< 1 to kMaxQueuePairs
  bool link_up = true;
};

/// The mailbox leads to virtual functions and the sideband queue to a PHY of other parts: there is neither.
class NobodyThere final : public CommandHandler {
 public:
  [[nodiscard]] wire::ice::Status execute(Command& command) noexcept override;
};

/// Everything happens on the poller's thread. The nic must be destroyed there, or while the poller does not run.
class Nic final : public pci::Device, public pci::Savable {
 public:
  /// `poller` is the home thread and must outlive the nic.
  [[nodiscard]] static Result<std::unique_ptr<Nic>> create(NicOptions options, runtime::Poller& poller);
  ~Nic() override;

  [[nodiscard]] pci::Function& function() noexcept { return *function_; }
  [[nodiscard]] port::Port& port() noexcept { return port_; }
  [[nodiscard]] const MacAddress& mac() const noexcept { return firmware_.mac(); }
  [[nodiscard]] const NicCounters& nic_counters() const noexcept { return nic_counters_; }
  [[nodiscard]] const DataPath& data_path() const noexcept { return data_; }
  /// Pulls or plugs the cable: the guest is sent a link event.
  void set_link(bool up) noexcept;
  [[nodiscard]] bool is_link_up() const noexcept { return firmware_.is_link_up(); }
  /// What the firmware tells drivers that ask: one that is up has asked, and finds it when it starts anew.
  void set_mac(const MacAddress& mac) noexcept;

  // pci::Device
  void read_bar(pci::Region bar, RegionOffset offset, std::span<std::byte> into) noexcept override;
  void write_bar(pci::Region bar, RegionOffset offset, std::span<const std::byte> from) noexcept override;
  void reset(pci::ResetKind kind) noexcept override;
  bool leaving() noexcept override;
  void bus_master_changed(bool enabled) noexcept override { port_.set_dma(enabled); }
  pci::Savable* savable() noexcept override { return this; }

  // pci::Savable
  void pause() noexcept override;
  void resume() noexcept override;
  void save(state::Writer& into) const override;
  void save_running(state::Writer& into) override;
  state::Arena* arena() noexcept override { return &arena_; }
  state::UndoLog* undo_log() noexcept override { return &placed_.second; }
  [[nodiscard]] tl::expected<void, std::string> arena_taken_over() override;
  [[nodiscard]] tl::expected<void, std::string> load(state::Reader& from) override;

 private:
  Nic(NicOptions options, runtime::Poller& poller, state::Arena arena);
  void connect(std::unique_ptr<pci::Function> function) noexcept;

  [[nodiscard]] std::uint32_t read_register(std::uint32_t offset) noexcept;
  [[nodiscard]] std::uint32_t read_effect(const Register& row, std::uint32_t offset) noexcept;
  void write_register(std::uint32_t offset, std::uint32_t value) noexcept;
  void write_effect(const Register& row, std::uint32_t offset, std::uint32_t value) noexcept;
  void serve_all() noexcept;
  void serve_each() noexcept;
  void serve(ControlQueue& queue, CommandHandler& handler, std::uint32_t cause) noexcept;
  void link_may_have_changed() noexcept { port_.set_link(firmware_.is_link_up()); }

  void queue_stopped() noexcept;
  void forget(ClearedBy kind) noexcept;
  void begin_core_reset(std::uint32_t trigger) noexcept;
  void end_core_reset() noexcept;
  void set_reset_due(std::uint64_t when_ns) noexcept;
  [[nodiscard]] struct SavedState saved_state() const;

  NicOptions options_;
  Identity identity_;
  bool is_leaving_ = false;  // the cable is pulled until the client has gone
  state::Arena arena_;
  std::pair<RegisterFile&, state::UndoLog> placed_;
  Registers registers_;
  NicCounters nic_counters_;
  std::unique_ptr<pci::Function> function_;
  InterruptUnit interrupts_;
  ControlQueue admin_queue_, mailbox_, sideband_;
  nic::Alarm alarm_;
  DataPath data_;
  Firmware firmware_;
  NobodyThere nobody_;
  WirePort port_;
  runtime::Timer reset_timer_;
  runtime::Timer serve_timer_;      // commands that one turn had no time for
  std::uint64_t reset_due_ns_ = 0;  // when reset_timer_ fires, or would if it were not for the pause; 0: never
  bool is_paused_ = false;          // neither memory nor interrupts are touched
  std::uint64_t paused_ns_ = 0;     // since when
};

}  // namespace vmux::device::e810
