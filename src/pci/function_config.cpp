// SPDX-License-Identifier: BSD-3-Clause
// What a guest's accesses to configuration space mean beyond storing bits.
#include <cstring>

#include "pci/function_impl.hpp"
#include "wire/pci.hpp"

namespace vmux::pci {

namespace wp = wire::pci;

void Function::Impl::read_config(std::size_t at, std::span<std::byte> into) noexcept {
  // These two are alive; a guest cannot write them, so they may as well be stored now.
  constexpr std::size_t kStatus = offsetof(wp::Type0Header, status);
  const auto status = config.get<std::uint16_t>(kStatus);
  config.set(kStatus, wp::status::interrupt::set(status, interrupts->intx_level() ? 1 : 0));
  const std::size_t msi = config.offsets().msi;
  if (msi != 0 &&
      wp::msi_control::per_vector_mask::is_set(config.get<std::uint16_t>(msi + offsetof(wp::Msi, control)))) {
    const auto pending = static_cast<std::uint32_t>(interrupts->pending_word(Irq::msi, 0));
    config.set(msi + offsetof(wp::Msi, pending), pending);
  }
  ask_model(at, into.size());
  std::memcpy(into.data(), config.bytes().data() + at, into.size());
}

// The bytes that are the model's may be alive too.
void Function::Impl::ask_model(std::size_t at, std::size_t size) noexcept {
  for (std::size_t i = at; i < at + size; ++i) {
    if (config.is_model_owned(i)) return device.config_reading(RegionOffset{at}, size);
  }
}

std::uint16_t Function::Impl::power_state() const noexcept {
  const std::size_t at = config.offsets().power_management;
  if (at == 0) return wp::pmcsr::kD0;
  return wp::pmcsr::power_state::get(config.get<std::uint16_t>(at + offsetof(wp::PowerManagement, control)));
}

void Function::Impl::write_config(std::size_t at, std::span<const std::byte> from) noexcept {
  has_changed = true;
  const std::uint16_t old_power = power_state();
  config.write(at, from);
  const std::uint16_t power = power_state();
  if (power != wp::pmcsr::kD0 && power != wp::pmcsr::kD3hot) {  // [PM] 3.2.4: an unsupported state is not entered
    const std::size_t pmcsr = config.offsets().power_management + offsetof(wp::PowerManagement, control);
    config.set(pmcsr, wp::pmcsr::power_state::set(config.get<std::uint16_t>(pmcsr), old_power));
  }
  if (old_power == wp::pmcsr::kD3hot && power_state() == wp::pmcsr::kD0) reset(ResetKind::power_state);
  update_dma();
  apply_interrupt_control();
  if (starts_flr(at, from)) reset(ResetKind::function_level);
  tell_model(at, from);
}

void Function::Impl::update_dma() noexcept {
  const auto command = config.get<std::uint16_t>(offsetof(wp::Type0Header, command));
  const bool is_on = wp::command::bus_master::is_set(command) && power_state() == wp::pmcsr::kD0;
  if (is_on == is_dma_on) return;
  is_dma_on = is_on;
  interrupts->set_bus_master(is_on);
  for (memory::GuestMemory* reader : readers) {
    if (is_on) {
      space.attach(*reader);
    } else {
      space.detach(*reader);
    }
  }
  device.bus_master_changed(is_on);
}

void Function::Impl::apply_interrupt_control() noexcept {
  const auto command = config.get<std::uint16_t>(offsetof(wp::Type0Header, command));
  interrupts->set_intx_disabled(wp::command::interrupt_disable::is_set(command));
  if (const std::size_t msi = config.offsets().msi; msi != 0) {
    const auto control = config.get<std::uint16_t>(msi + offsetof(wp::Msi, control));
    if (wp::msi_control::per_vector_mask::is_set(control)) {
      interrupts->set_msi_mask(config.get<std::uint32_t>(msi + offsetof(wp::Msi, mask)));
    }
  }
  if (const std::size_t msix = config.offsets().msix; msix != 0) {
    const auto control = config.get<std::uint16_t>(msix + offsetof(wp::Msix, control));
    interrupts->set_msix_function_mask(wp::msix_control::function_mask::is_set(control));
  }
}

bool Function::Impl::starts_flr(std::size_t at, std::span<const std::byte> from) const noexcept {
  const std::size_t express = config.offsets().express;
  if (express == 0) return false;
  const auto capabilities = config.get<std::uint32_t>(express + offsetof(wp::Express, device_capabilities));
  if (!wp::express::function_level_reset::is_set(capabilities)) return false;
  const std::size_t high_byte = express + offsetof(wp::Express, device_control) + 1;
  if (high_byte < at || high_byte - at >= from.size()) return false;
  const auto control = static_cast<std::uint16_t>(std::to_integer<unsigned>(from[high_byte - at]) << 8);
  return wp::express::initiate_flr::is_set(control);
}

void Function::Impl::tell_model(std::size_t at, std::span<const std::byte> from) noexcept {
  // Each run of bytes that are the model's, by itself.
  for (std::size_t i = 0; i < from.size();) {
    std::size_t end = i;
    while (end < from.size() && config.is_model_owned(at + end))
      ++end;
    if (end > i) device.config_written(RegionOffset{at + i}, from.subspan(i, end - i));
    i = end + 1;
  }
}

}  // namespace vmux::pci
