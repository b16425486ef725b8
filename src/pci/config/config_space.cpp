// SPDX-License-Identifier: BSD-3-Clause
#include "pci/config/config_space.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "pci/config/config_builder.hpp"
#include "wire/pci.hpp"

namespace vmux::pci {

using namespace wire::pci;  // NOLINT: the names of the specification, and nothing else of this file's

Result<ConfigSpace> ConfigSpace::build(const FunctionSpec& spec, std::uint32_t rom_size) {
  return ConfigBuilder{spec, rom_size}.build();
}

void ConfigSpace::write(std::size_t at, std::span<const std::byte> from) noexcept {
  for (const std::byte value : from) {
    const std::byte kept = bytes_[at] & ~writable_[at] & ~(value & clears_[at]);
    bytes_[at] = kept | (value & writable_[at]);
    ++at;
  }
}

void ConfigSpace::load(std::span<const std::byte> saved) noexcept {
  for (std::size_t at = 0; at < bytes_.size(); ++at) {
    const std::byte guests = writable_[at] | clears_[at];
    bytes_[at] = (bytes_[at] & ~guests) | (saved[at] & guests);
  }
}

void ConfigSpace::reset() noexcept { load(initial_); }

Result<ConfigSpace> ConfigBuilder::build() {
  const bool is_extended =
      std::any_of(spec_.capabilities.begin(), spec_.capabilities.end(), [](const Capability& each) {
        return std::holds_alternative<pci::Express>(each) || std::holds_alternative<pci::DeviceSerialNumber>(each);
      });
  const std::size_t size = is_extended ? kExtendedConfigSize : kConfigSize;
  space_.bytes_.resize(size);
  space_.writable_.resize(size);
  space_.clears_.resize(size);
  space_.is_claimed_.resize(size);

  claim(0, sizeof(Type0Header));
  identity();
  if (auto done = bars(); !done) return tl::unexpected(done.error());
  command_and_interrupt();
  for (const Capability& capability : spec_.capabilities) {
    auto added = std::visit([this](const auto& each) { return add(each); }, capability);
    if (!added) return tl::unexpected(added.error());
  }
  space_.initial_ = space_.bytes_;
  return std::move(space_);
}

void ConfigBuilder::claim(std::size_t at, std::size_t size) {
  std::fill_n(space_.is_claimed_.begin() + static_cast<std::ptrdiff_t>(at), size, true);
}

void ConfigBuilder::identity() {
  Type0Header header{};
  header.vendor_id = spec_.vendor_id;
  header.device_id = spec_.device_id;
  header.revision_id = spec_.revision_id;
  for (unsigned i = 0; i < 3; ++i)
    header.class_code[i] = static_cast<std::uint8_t>(spec_.class_code >> (8 * i));
  header.subsystem_vendor_id = spec_.subsystem_vendor_id;
  header.subsystem_id = spec_.subsystem_id;
  header.interrupt_pin = spec_.intx ? 1 : 0;  // INTA#
  put(0, header);
}

Result<void> ConfigBuilder::bars() {
  for (unsigned i = 0; i < 6; ++i) {
    if (!spec_.bars[i]) continue;
    if (auto done = bar(i, *spec_.bars[i]); !done) return done;
  }
  if (rom_size_ == 0) return {};
  writable(offsetof(Type0Header, rom_bar), ~(rom_size_ - 1) | 1u);  // address and enable, [PCI] 6.2.5.2
  return {};
}

Result<void> ConfigBuilder::bar(unsigned index, const BarSpec& bar) {
  const std::size_t at = offsetof(Type0Header, bar) + index * sizeof(std::uint32_t);
  if (!std::has_single_bit(bar.size)) return fail(Errc::invalid_argument, "the size of a BAR is not a power of two");
  const std::uint64_t address = ~(bar.size - 1);
  if (bar.kind == BarKind::io) {
    if (bar.size < bar::kMinIo || bar.size > bar::kMaxIo) return fail(Errc::out_of_range, "size of an I/O BAR");
    put(at, Le<std::uint32_t>{bar::kIo});
    writable(at, static_cast<std::uint32_t>(address));
    return {};
  }
  const bool is_wide = bar.kind == BarKind::memory64;
  const std::uint64_t limit = is_wide ? bar::kMaxMemory64 : bar::kMaxMemory32;
  if (bar.size < bar::kMinMemory || bar.size > limit) return fail(Errc::out_of_range, "size of a memory BAR");
  if (is_wide && (index == 5 || spec_.bars[index + 1])) {
    return fail(Errc::invalid_argument, "a 64-bit BAR needs the one after it");
  }
  put(at, Le<std::uint32_t>{(is_wide ? bar::kMemory64 : 0) | (bar.prefetchable ? bar::kPrefetchable : 0)});
  writable(at, static_cast<std::uint32_t>(address));
  if (is_wide) writable(at + sizeof(std::uint32_t), static_cast<std::uint32_t>(address >> 32));
  return {};
}

void ConfigBuilder::command_and_interrupt() {
  bool has_io = false, has_memory = rom_size_ != 0;
  for (const auto& bar : spec_.bars) {
    if (bar) (bar->kind == BarKind::io ? has_io : has_memory) = true;
  }
  // [PCI] 6.2.2: the enables of a space that the function does not decode are zero.
  std::uint16_t mask = command::bus_master::kMask | command::parity_error_response::kMask | command::serr_enable::kMask;
  if (has_io) mask |= command::io_space::kMask;
  if (has_memory) mask |= command::memory_space::kMask;
  if (spec_.intx) mask |= command::interrupt_disable::kMask;
  writable(offsetof(Type0Header, command), mask);
  clears(offsetof(Type0Header, status), status::kWriteOneToClear);
  writable(offsetof(Type0Header, cache_line_size), std::uint8_t{0xff});
  writable(offsetof(Type0Header, latency_timer), std::uint8_t{0xf8});
  writable(offsetof(Type0Header, interrupt_line), std::uint8_t{0xff});
}

}  // namespace vmux::pci
