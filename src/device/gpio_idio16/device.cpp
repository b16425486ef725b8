// SPDX-License-Identifier: BSD-3-Clause
#include "device/gpio_idio16/device.hpp"

#include <algorithm>
#include <utility>

#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::device::gpio_idio16 {
namespace {

constexpr std::uint32_t kReadsPerLevel = 3;

pci::FunctionSpec describe(std::string name) {
  pci::FunctionSpec spec;
  spec.name = std::move(name);
  spec.vendor_id = kVendorId;
  spec.device_id = kDeviceId;
  spec.bars[2] = pci::BarSpec{.kind = pci::BarKind::io, .prefetchable = false, .size = kBarSize, .shared = {}};
  spec.intx = true;
  return spec;
}

}  // namespace

Result<std::unique_ptr<Device>> Device::create(std::string name, bool migrates) {
  std::unique_ptr<Device> device{new Device(migrates)};
  auto function = pci::Function::create(describe(std::move(name)), *device);
  if (!function) return tl::unexpected(function.error());
  device->function_ = std::move(*function);
  return device;
}

void Device::read_bar(pci::Region, RegionOffset offset, std::span<std::byte> into) noexcept {
  for (std::size_t i = 0; i < into.size(); ++i)
    into[i] = static_cast<std::byte>(read_register(offset.raw + i));
}

void Device::write_bar(pci::Region, RegionOffset offset, std::span<const std::byte> from) noexcept {
  for (std::size_t i = 0; i < from.size(); ++i)
    write_register(offset.raw + i, static_cast<std::uint8_t>(from[i]));
}

std::uint8_t Device::read_register(std::uint64_t offset) noexcept {
  std::uint8_t value = 0;
  switch (static_cast<Reg>(std::min<std::uint64_t>(offset, 0xff))) {
    case Reg::outputs_0_7:
      value = state_.is_driven[0] != 0 ? state_.outputs[0] : sense(2);
      break;
    case Reg::outputs_8_15:
      value = state_.is_driven[1] != 0 ? state_.outputs[1] : sense(3);
      break;
    case Reg::inputs_0_7:
      value = sense_input(0);
      break;
    case Reg::inputs_8_15:
      value = sense_input(1);
      break;
    case Reg::interrupt_ctl:
      state_.interrupts_enabled = 1;
      break;
    case Reg::filter_ctl:
      state_.filters_enabled = 1;
      break;
    case Reg::interrupt_status:
      value = state_.interrupt_status;
      break;
    default:
      break;
  }
  if (watcher_) watcher_(false, offset, value);
  return value;
}

void Device::write_register(std::uint64_t offset, std::uint8_t value) noexcept {
  switch (static_cast<Reg>(std::min<std::uint64_t>(offset, 0xff))) {
    case Reg::outputs_0_7:
      state_.outputs[0] = value;
      state_.is_driven[0] = 1;
      break;
    case Reg::outputs_8_15:
      state_.outputs[1] = value;
      state_.is_driven[1] = 1;
      break;
    case Reg::inputs_0_7:
      state_.interrupt_status = 0;
      update_interrupt();
      break;
    case Reg::interrupt_ctl:
      state_.interrupts_enabled = 0;
      break;
    case Reg::filter_ctl:
      state_.filters_enabled = 0;
      break;
    default:
      break;
  }
  if (watcher_) watcher_(true, offset, value);
}

// All eight lines of a port together, so that each of them shows the pattern. Outputs read like that too until they are
// driven: drivers before Linux 6.4 read an output back from the board, and the sample of libvfio-user shows the pattern
// there.
std::uint8_t Device::sense(std::size_t line) noexcept {
  return (state_.senses[line]++ / kReadsPerLevel) % 2 != 0 ? 0xff : 0x00;
}

// Change-of-state interrupts: a line that is sensed differently from before.
std::uint8_t Device::sense_input(std::size_t port) noexcept {
  const std::uint8_t value = sense(port);
  const bool has_changed = std::exchange(state_.inputs[port], value) != value;
  if (has_changed && state_.interrupts_enabled != 0) {
    namespace is = interrupt_status;
    auto status = is::pending::set(state_.interrupt_status, 1);
    state_.interrupt_status = port == 0 ? is::changed_0_7::set(status, 1) : is::changed_8_15::set(status, 1);
    update_interrupt();
  }
  return value;
}

void Device::update_interrupt() noexcept {
  if (function_) function_->interrupts().set_level(state_.interrupt_status != 0);
}

void Device::reset(pci::ResetKind) noexcept {
  state_ = {};
  update_interrupt();
}

void Device::save(state::Writer& into) const { into.add(state_); }

tl::expected<void, std::string> Device::load(state::Reader& from) {
  State loaded;
  if (auto done = from.load(loaded); !done) return done;
  state_ = loaded;
  update_interrupt();
  return {};
}

}  // namespace vmux::device::gpio_idio16
