// SPDX-License-Identifier: BSD-3-Clause
// Virtio over PCI ([VIRTIO] 4.1), the modern interface only: a pci::Device in front of a virtio::Device.
//
// BAR 4 has a page for each structure and, from kNotifyAt on, one for the notifications of each queue: data queue i has
// page i, the control queue the last, whatever number it has. With `is_mapped` the data queues' pages are memory that
// the client maps: a notification costs the driver nothing and says nothing, the device looks at its rings. The control
// queue's page is never mapped: Linux spins until a command is answered.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "virtio/device.hpp"
#include "vmux/pci/device.hpp"
#include "vmux/pci/function.hpp"
#include "wire/virtio.hpp"

namespace vmux::virtio {

struct PciOptions {
  std::string name = "virtio";  ///< for logs
  std::uint32_t class_code = 0;
  bool is_mapped = true;
};

class PciTransport final : public pci::Device, public pci::Savable, private Signals {
 public:
  static constexpr pci::Region kBar = pci::Region::bar4, kMsixBar = pci::Region::bar1;
  static constexpr std::uint32_t kPage = 4096;
  static constexpr std::uint32_t kCommonAt = 0, kIsrAt = kPage, kDeviceAt = 2 * kPage, kNotifyAt = 4 * kPage;

  /// `device` must outlive this. It is connected from here on.
  [[nodiscard]] static Result<std::unique_ptr<PciTransport>> create(const PciOptions& options, virtio::Device& device);
  ~PciTransport() override;

  [[nodiscard]] pci::Function& function() noexcept { return *function_; }

  // pci::Device
  void read_bar(pci::Region bar, RegionOffset offset, std::span<std::byte> into) noexcept override;
  void write_bar(pci::Region bar, RegionOffset offset, std::span<const std::byte> from) noexcept override;
  void shared_written(pci::Region bar, RegionOffset offset, std::size_t size) noexcept override;
  void reset(pci::ResetKind kind) noexcept override;
  void bus_master_changed(bool enabled) noexcept override;
  void config_reading(RegionOffset offset, std::size_t size) noexcept override;
  void config_written(RegionOffset offset, std::span<const std::byte> bytes) noexcept override;
  bool leaving() noexcept override { return device_.leaving(); }
  /// What was loaded before its client came was the same client's: it has not moved.
  void attached(bool is_attached) noexcept override {
    if (is_attached) device_.has_stayed();
  }
  pci::Savable* savable() noexcept override { return this; }

  // pci::Savable
  void pause() noexcept override { device_.pause(); }
  void resume() noexcept override { device_.resume(); }
  void save(state::Writer& into) const override;
  void save_running(state::Writer& into) override { save(into); }
  state::Arena* arena() noexcept override { return device_.arena(); }
  [[nodiscard]] tl::expected<void, std::string> arena_taken_over() override { return device_.arena_taken_over(); }
  [[nodiscard]] tl::expected<void, std::string> load(state::Reader& from) override;

 private:
  static constexpr unsigned kMaxQueues = 64;

  /// Registers of a queue.
  struct QueueRegisters {
    std::uint16_t size = 0;
    bool is_enabled = false;
    Iova descriptors{}, driver{}, device{};
  };
  /// What the driver has said, but for the queues.
  struct Registers {
    std::uint32_t device_feature_select = 0, driver_feature_select = 0;
    std::uint64_t driver_features = 0;
    std::uint16_t queue_select = 0;
    std::uint8_t status = 0, generation = 0;
  };
  struct SavedState;

  PciTransport(const PciOptions& options, virtio::Device& device);
  void connect(std::unique_ptr<pci::Function> function);
  [[nodiscard]] pci::FunctionSpec spec() const;
  [[nodiscard]] unsigned data_pages() const noexcept { return count_ - 1; }
  [[nodiscard]] std::uint64_t offered() const noexcept;
  [[nodiscard]] bool has(std::uint64_t feature) const noexcept { return (registers_.driver_features & feature) != 0; }
  [[nodiscard]] bool is_running() const noexcept;

  // common configuration
  [[nodiscard]] std::array<std::byte, wire::virtio::pci::common::end> common_registers() const noexcept;
  void show_queue(std::span<std::byte> into) const noexcept;
  void write_common(std::uint32_t at, std::span<const std::byte> from) noexcept;
  void write_driver_features(std::uint32_t value) noexcept;
  void write_status(std::uint8_t value) noexcept;
  [[nodiscard]] bool are_features_fine() noexcept;
  void write_size(std::uint32_t value) noexcept;
  void write_address(Iova QueueRegisters::*address, bool is_high, std::uint32_t value) noexcept;
  void enable_queue() noexcept;
  void reset_queue() noexcept;
  void start(unsigned queue, const QueueState& state) noexcept;
  [[nodiscard]] QueueSetup setup_of(const QueueRegisters& registers) const noexcept;
  [[nodiscard]] bool is_selected() const noexcept { return registers_.queue_select < count_; }
  void offer_sizes() noexcept;
  [[nodiscard]] std::uint32_t valid_vector(std::uint32_t value) const noexcept;
  void notified(std::uint32_t page) noexcept;
  void forget_driver(bool client_gone) noexcept;
  [[nodiscard]] const char* problem_of(const SavedState& saved) const noexcept;
  void restore(const SavedState& saved) noexcept;

  // interrupts: any poller
  void queue_used(unsigned queue) noexcept override;
  void config_changed() noexcept override;
  void state_changed() noexcept override { function_->note_change(); }
  void signal(std::uint32_t vector, std::uint32_t isr_bit) noexcept;
  [[nodiscard]] std::uint32_t read_isr() noexcept;
  [[nodiscard]] std::uint32_t vector_of(unsigned slot) const noexcept;
  void set_vector(unsigned slot, std::uint32_t vector) noexcept;

  // the window in config space
  struct Window {
    std::uint8_t bar = 0;
    std::uint32_t offset = 0, length = 0;
  };
  [[nodiscard]] Window window() const noexcept;
  void set_window(const Window& window) noexcept;
  /// Whether `size` bytes of the window's data are the register that it is open to.
  [[nodiscard]] bool is_open(const Window& window, std::size_t size) const noexcept;

  const PciOptions options_;
  virtio::Device& device_;
  const unsigned count_;  // of queues
  std::unique_ptr<pci::Function> function_;
  std::size_t window_at_ = 0;  // the capability, in config space
  Registers registers_;
  std::array<QueueRegisters, kMaxQueues> queues_{};
  // By queue, and the configuration's at the end: read by whoever has used chains.
  std::array<std::uint32_t, kMaxQueues + 1> vectors_{};
  std::uint32_t isr_ = 0;  // the same
};

}  // namespace vmux::virtio
