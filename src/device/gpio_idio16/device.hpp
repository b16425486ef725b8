// SPDX-License-Identifier: BSD-3-Clause
// The PCI-IDIO-16 as a device: the smallest useful model, and the sample of the SDK.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "device/gpio_idio16/registers.hpp"
#include "vmux/base/result.hpp"
#include "vmux/pci/function.hpp"

namespace vmux::device::gpio_idio16 {

/// What a reset clears and a migration saves.
struct State {
  static constexpr std::string_view kSection = "gpio_idio16";
  static constexpr std::uint16_t kVersion = 1;
  std::array<std::uint8_t, 2> outputs{};    // ports 0-7 and 8-15
  std::array<std::uint8_t, 2> is_driven{};  // an output that was never written floats, see Device::sense()
  std::array<std::uint32_t, 4> senses{};    // reads so far of inputs 0-7, 8-15 and floating outputs 0-7, 8-15
  std::array<std::uint8_t, 2> inputs{};     // as last sensed
  std::uint8_t interrupts_enabled = 0;
  std::uint8_t interrupt_status = 0;
  std::uint8_t filters_enabled = 0;

  static void describe(auto& fields, auto& self) {
    fields("outputs", self.outputs);
    fields("is_driven", self.is_driven);
    fields("senses", self.senses);
    fields("inputs", self.inputs);
    fields("interrupts_enabled", self.interrupts_enabled);
    fields("interrupt_status", self.interrupt_status);
    fields("filters_enabled", self.filters_enabled);
  }
};

/// Nothing is wired to the inputs, so that there is something to see they toggle after every third read:
/// 0 0 0 1 1 1 0 0 0 1 1 1 ...
class Device final : public pci::Device, public pci::Savable {
 public:
  /// Told of each access, on the home thread.
  using Watcher = std::function<void(bool is_write, std::uint64_t offset, std::uint8_t value)>;

  [[nodiscard]] static Result<std::unique_ptr<Device>> create(std::string name = "gpio-pci-idio-16",
                                                              bool migrates = true);
  [[nodiscard]] pci::Function& function() noexcept { return *function_; }
  void set_watcher(Watcher watcher) { watcher_ = std::move(watcher); }

  void read_bar(pci::Region bar, RegionOffset offset, std::span<std::byte> into) noexcept override;
  void write_bar(pci::Region bar, RegionOffset offset, std::span<const std::byte> from) noexcept override;
  void reset(pci::ResetKind kind) noexcept override;
  pci::Savable* savable() noexcept override { return migrates_ ? this : nullptr; }

  void save(state::Writer& into) const override;
  tl::expected<void, std::string> load(state::Reader& from) override;

 private:
  explicit Device(bool migrates) noexcept : migrates_(migrates) {}
  [[nodiscard]] std::uint8_t read_register(std::uint64_t offset) noexcept;
  void write_register(std::uint64_t offset, std::uint8_t value) noexcept;
  [[nodiscard]] std::uint8_t sense(std::size_t line) noexcept;
  [[nodiscard]] std::uint8_t sense_input(std::size_t port) noexcept;
  void update_interrupt() noexcept;

  State state_;
  bool migrates_;
  Watcher watcher_;
  std::unique_ptr<pci::Function> function_;  // last: it goes first, and it calls this
};

}  // namespace vmux::device::gpio_idio16
