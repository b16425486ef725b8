// SPDX-License-Identifier: BSD-3-Clause
// An Intel 82540EM ("e1000") as a PCI function on one side and a network port on the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mac.hpp"
#include "device/e1000/interrupts.hpp"
#include "device/e1000/rings.hpp"
#include "device/e1000/state.hpp"
#include "nic/run_state.hpp"
#include "port/port.hpp"
#include "vmux/pci/device.hpp"
#include "vmux/pci/function.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/state/arena.hpp"

namespace vmux::device::e1000 {

enum class Doorbell : std::uint8_t {
  poll,  ///< the ring registers are memory that the guest may map; the poller looks at it
  trap,  ///< nothing is mapped: every register access is a message, nothing has to be polled
};

struct NicOptions {
  std::string name = "e1000";  ///< for logs
  MacAddress mac{};            ///< station address in the EEPROM
  Doorbell doorbell = Doorbell::poll;
  bool link_up = true;
};

/// Everything happens on the poller's thread. The nic must be destroyed there, or while the poller does not run.
class Nic final : public pci::Device, public pci::Savable {
 public:
  /// `poller` is the home thread and must outlive the nic.
  [[nodiscard]] static Result<std::unique_ptr<Nic>> create(NicOptions options, runtime::Poller& poller);
  ~Nic() override;

  [[nodiscard]] pci::Function& function() noexcept { return *function_; }
  [[nodiscard]] port::Port& port() noexcept { return lane_; }
  [[nodiscard]] const MacAddress& mac() const noexcept { return options_.mac; }
  [[nodiscard]] const NicCounters& nic_counters() const noexcept { return nic_counters_; }
  /// Pulls or plugs the cable: the guest sees its link change (LSC).
  void set_link(bool up) noexcept;
  [[nodiscard]] bool is_link_up() const noexcept;
  /// Another address in the EEPROM. A driver that is up keeps the one that it has read until it starts anew.
  void set_mac(const MacAddress& mac) noexcept;

  // pci::Device
  void read_bar(pci::Region bar, RegionOffset offset, std::span<std::byte> into) noexcept override;
  void write_bar(pci::Region bar, RegionOffset offset, std::span<const std::byte> from) noexcept override;
  void shared_written(pci::Region bar, RegionOffset offset, std::size_t size) noexcept override;
  void reset(pci::ResetKind kind) noexcept override;
  bool leaving() noexcept override;
  void bus_master_changed(bool enabled) noexcept override;
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
  [[nodiscard]] std::uint32_t read_effect(std::uint32_t offset) noexcept;
  void write_register(std::uint32_t offset, std::uint32_t value) noexcept;
  void write_effect(std::uint32_t offset, std::uint32_t value) noexcept;
  [[nodiscard]] std::uint32_t read_io(std::uint32_t offset) noexcept;
  void write_io(std::uint32_t offset, std::uint32_t value) noexcept;
  void ring_register_written(std::uint32_t offset, std::uint32_t value) noexcept;
  void note_trapped_doorbell() noexcept;
  /// A value of State is about to be changed by a request.
  template <class T>
  void about_to_change(const T& value) noexcept {
    placed_.second.note(value);
  }

  void write_ctrl(std::uint32_t value) noexcept;
  void write_rctl(std::uint32_t value) noexcept;
  void write_tctl(std::uint32_t value) noexcept;
  void write_mdic(std::uint32_t value) noexcept;
  void device_reset() noexcept;
  void load_station_address() noexcept;
  void link_changed(bool renegotiated) noexcept;
  [[nodiscard]] struct SavedState saved_state() const;

  NicOptions options_;
  runtime::Poller& poller_;
  state::Arena arena_;
  std::pair<State&, state::UndoLog> placed_;  // in the arena
  State& state_;                              // that one
  NicCounters nic_counters_;
  std::unique_ptr<pci::Function> function_;
  Registers registers_;
  InterruptUnit interrupts_;
  nic::RunState run_state_;
  Lane lane_;
  Transmitter& tx_;
  Receiver& rx_;
  bool is_leaving_ = false;  // the cable is pulled until the client has gone
};

}  // namespace vmux::device::e1000
