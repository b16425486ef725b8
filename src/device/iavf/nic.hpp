// SPDX-License-Identifier: BSD-3-Clause
// An Intel adaptive virtual function ("iavf") as a PCI function on one side and a network port on the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mac.hpp"
#include "device/iavf/admin_queue.hpp"
#include "device/iavf/interrupts.hpp"
#include "device/iavf/queues/data_path.hpp"
#include "device/iavf/state.hpp"
#include "device/iavf/virtchnl/virtchnl.hpp"
#include "nic/alarm.hpp"
#include "nic/run_state.hpp"
#include "port/port.hpp"
#include "vmux/pci/device.hpp"
#include "vmux/pci/function.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/state/arena.hpp"

namespace vmux::device::iavf {

enum class Doorbell : std::uint8_t {
  poll,  ///< tails and the queues' interrupt controls are memory that the guest may map; the poller looks at it
  trap,  ///< nothing is mapped: every register access is a message, nothing has to be polled
};

struct NicOptions {
  std::string name = "iavf";  ///< for logs
  MacAddress mac{};
  Doorbell doorbell = Doorbell::poll;
  unsigned queue_pairs = 4;           ///< 1 to kMaxQueuePairs
  std::uint32_t link_mbps = 100'000;  ///< what the guest is told
  bool link_up = true;
  Parent parent = Parent::e810;
  std::vector<runtime::Poller*> more_pollers;  ///< beside the home one: queue pairs are spread over all, home first
};

/// Everything happens on the poller's thread, but for the lanes beside the first (nic/lane.hpp). The nic must be
/// destroyed there, or while the poller does not run; and no other poller may use its lanes any more.
class Nic final : public pci::Device, public pci::Savable {
 public:
  /// `poller` is the home thread and must outlive the nic.
  [[nodiscard]] static Result<std::unique_ptr<Nic>> create(NicOptions options, runtime::Poller& poller);
  ~Nic() override;

  [[nodiscard]] pci::Function& function() noexcept { return *function_; }
  [[nodiscard]] port::Port& port() noexcept { return *data_.lanes().front(); }
  /// One for each poller that owns queues, port() first.
  [[nodiscard]] std::vector<port::Port*> lanes() noexcept;
  [[nodiscard]] const MacAddress& mac() const noexcept { return virtchnl_.mac(); }
  [[nodiscard]] const NicCounters& nic_counters() const noexcept { return nic_counters_; }
  [[nodiscard]] std::uint64_t interrupts(Counter InterruptCounters::*which) const noexcept;  ///< of all lanes
  [[nodiscard]] const DataPath& data_path() const noexcept { return data_; }
  /// Pulls or plugs the cable: the guest is sent a link event.
  void set_link(bool up) noexcept;
  [[nodiscard]] bool is_link_up() const noexcept { return run_state_.is_link_up(); }
  /// As a physical function's administrator does (ip-link(8): vf N mac): a driver that is up is told of a reset, and
  /// finds the address behind it.
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
  [[nodiscard]] tl::expected<void, std::string> arena_taken_over() override;
  [[nodiscard]] tl::expected<void, std::string> load(state::Reader& from) override;

 private:
  Nic(NicOptions options, runtime::Poller& poller, state::Arena arena);
  void connect(std::unique_ptr<pci::Function> function) noexcept;

  [[nodiscard]] std::uint32_t read_register(std::uint32_t offset) noexcept;
  void write_register(std::uint32_t offset, std::uint32_t value) noexcept;
  void write_effect(std::uint32_t offset, std::uint32_t value) noexcept;
  void pump() noexcept;
  void apply_request() noexcept;
  void queue_stopped() noexcept;
  void begin_reset() noexcept;
  void forget_everything(bool whole) noexcept;
  void reset_timer_expired() noexcept;
  void set_reset_due(std::uint64_t when_ns) noexcept;
  [[nodiscard]] struct SavedState saved_state() const;

  NicOptions options_;
  Identity identity_;
  nic::RunState run_state_;
  bool is_leaving_ = false;  // the cable is pulled until the client has gone
  Registers registers_;
  VectorStates vectors_;
  NicCounters nic_counters_;
  std::unique_ptr<pci::Function> function_;
  nic::Alarm alarm_;
  state::Arena arena_;
  DataPath data_;
  InterruptUnit& interrupts_;  // of the home lane, and the admin queue's
  AdminQueue admin_;
  Virtchnl virtchnl_;
  runtime::Timer reset_timer_, pump_timer_;
  std::uint64_t reset_due_ns_ = 0;  // when reset_timer_ fires, or would if it were not for the pause; 0: never
  std::uint64_t paused_ns_ = 0;     // since when
};

}  // namespace vmux::device::iavf
