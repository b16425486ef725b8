// SPDX-License-Identifier: BSD-3-Clause
// The capability chain: one function per kind, each with its bytes and what of them a guest may write.
#include <bit>

#include "pci/config/config_builder.hpp"

namespace vmux::pci {

namespace wp = wire::pci;

Result<std::size_t> ConfigBuilder::place(wp::CapabilityId id, std::size_t size, std::size_t* unique) {
  if (unique != nullptr && *unique != 0) return fail(Errc::already_exists, "a capability is listed twice");
  const std::size_t at = free_;
  if (!fits(at, size, wp::kConfigSize)) return fail(Errc::no_space, "the capabilities do not fit in config space");
  put(at, wp::CapabilityHeader{static_cast<std::uint8_t>(id), 0});
  put(link_, static_cast<std::uint8_t>(at));
  link_ = at + offsetof(wp::CapabilityHeader, next);
  free_ = (at + size + 3) & ~std::size_t{3};  // [PCI] 6.7: DWORD aligned
  put(offsetof(wp::Type0Header, status),
      Le<std::uint16_t>{static_cast<std::uint16_t>(wp::status::capabilities_list::kMask)});
  if (unique != nullptr) {
    claim(at, size);
    *unique = at;
  } else {
    claim(at, sizeof(wp::CapabilityHeader));
  }
  return at;
}

Result<void> ConfigBuilder::add(const PowerManagement&) {
  const auto at =
      place(wp::CapabilityId::power_management, sizeof(wp::PowerManagement), &space_.offsets_.power_management);
  if (!at) return tl::unexpected(at.error());
  put(*at + offsetof(wp::PowerManagement, capabilities), Le<std::uint16_t>{wp::pmc::kVersion12});
  // No_Soft_Reset stays 0: leaving D3hot resets the function.
  writable(*at + offsetof(wp::PowerManagement, control), static_cast<std::uint16_t>(wp::pmcsr::power_state::kMask));
  return {};
}

Result<void> ConfigBuilder::add(const Msi& msi) {
  if (!std::has_single_bit(msi.vectors) || msi.vectors > 32) {
    return fail(Errc::invalid_argument, "MSI has 1, 2, 4, 8, 16 or 32 vectors");
  }
  const auto at = place(wp::CapabilityId::msi, msi.per_vector_mask ? sizeof(wp::Msi) : wp::kMsiSizeWithoutMask,
                        &space_.offsets_.msi);
  if (!at) return tl::unexpected(at.error());
  namespace control = wp::msi_control;
  auto value =
      control::multiple_message_capable::set(std::uint16_t{0}, static_cast<unsigned>(std::countr_zero(msi.vectors)));
  value = control::address64::set(value, 1);
  value = control::per_vector_mask::set(value, msi.per_vector_mask ? 1 : 0);
  put(*at + offsetof(wp::Msi, control), Le<std::uint16_t>{value});
  writable(*at + offsetof(wp::Msi, control),
           static_cast<std::uint16_t>(control::enable::kMask | control::multiple_message_enable::kMask));
  writable(*at + offsetof(wp::Msi, address_low), ~std::uint32_t{3});
  writable(*at + offsetof(wp::Msi, address_high), ~std::uint32_t{0});
  writable(*at + offsetof(wp::Msi, data), static_cast<std::uint16_t>(0xffff));
  if (msi.per_vector_mask) {
    writable(*at + offsetof(wp::Msi, mask), static_cast<std::uint32_t>((1ull << msi.vectors) - 1));
  }
  return {};
}

Result<void> ConfigBuilder::add(const Msix& msix) {
  if (msix.vectors < 1 || msix.vectors > 2048) return fail(Errc::invalid_argument, "MSI-X has 1 to 2048 vectors");
  if (msix.table_offset % 8 != 0 || msix.pba_offset % 8 != 0) {
    return fail(Errc::invalid_argument, "an MSI-X structure is not aligned to 8 bytes");
  }
  const auto at = place(wp::CapabilityId::msix, sizeof(wp::Msix), &space_.offsets_.msix);
  if (!at) return tl::unexpected(at.error());
  namespace control = wp::msix_control;
  put(*at + offsetof(wp::Msix, control),
      Le<std::uint16_t>{control::table_size::set(std::uint16_t{0}, msix.vectors - 1)});
  put(*at + offsetof(wp::Msix, table),
      Le<std::uint32_t>{msix.table_offset | static_cast<std::uint32_t>(msix.table_bar)});
  put(*at + offsetof(wp::Msix, pending), Le<std::uint32_t>{msix.pba_offset | static_cast<std::uint32_t>(msix.pba_bar)});
  writable(*at + offsetof(wp::Msix, control),
           static_cast<std::uint16_t>(control::function_mask::kMask | control::enable::kMask));
  return {};
}

Result<void> ConfigBuilder::add(const Express& express) {
  const auto at = place(wp::CapabilityId::express, sizeof(wp::Express), &space_.offsets_.express);
  if (!at) return tl::unexpected(at.error());
  namespace bits = wp::express;
  wp::Express body{};
  body.header = {static_cast<std::uint8_t>(wp::CapabilityId::express), 0};
  body.capabilities = bits::port_type::set(bits::version::set(std::uint16_t{0}, 2), express.port_type);
  const auto errors = bits::role_based_errors::set(std::uint32_t{0}, 1);
  body.device_capabilities = bits::function_level_reset::set(errors, express.function_level_reset ? 1 : 0);
  body.device_control = bits::kDeviceControl;
  body.device_capabilities2 = bits::kTimeoutDisable;
  const bool has_link = express.port_type != bits::kRootComplexEndpoint;  // 7.8: an integrated endpoint has none
  if (has_link) {
    body.link_capabilities = bits::kLink;
    body.link_status = static_cast<std::uint16_t>(bits::kLink);
    body.link_capabilities2 = bits::kLinkSpeeds;
    body.link_control2 = bits::kTargetSpeed;
  }
  put(*at, body);
  writable(*at + offsetof(wp::Express, device_control), bits::kDeviceControlWritable);
  clears(*at + offsetof(wp::Express, device_status), bits::kDeviceStatusClear);
  writable(*at + offsetof(wp::Express, device_control2), static_cast<std::uint16_t>(bits::kTimeoutDisable));
  if (has_link) writable(*at + offsetof(wp::Express, link_control), bits::kLinkControlWritable);
  return {};
}

Result<void> ConfigBuilder::add(const VendorSpecific& vendor) {
  const std::size_t size = sizeof(wp::CapabilityHeader) + 1 + vendor.body.size();
  if (size > wp::kConfigSize) return fail(Errc::no_space, "the capabilities do not fit in config space");
  const auto at = place(wp::CapabilityId::vendor_specific, size, nullptr);
  if (!at) return tl::unexpected(at.error());
  put(*at + sizeof(wp::CapabilityHeader), static_cast<std::uint8_t>(size));
  if (!vendor.body.empty())
    std::memcpy(&space_.bytes_[*at + size - vendor.body.size()], vendor.body.data(), vendor.body.size());
  return {};
}

Result<void> ConfigBuilder::add(const DeviceSerialNumber& serial) {
  if (has_serial_) return fail(Errc::already_exists, "a capability is listed twice");
  has_serial_ = true;  // the only extended capability so far: it ends the list that it begins
  wp::DeviceSerialNumber body;
  const auto id = wp::extended::id::set(std::uint32_t{0}, wp::extended::kDeviceSerialNumber);
  body.header.raw = wp::extended::version::set(id, 1);
  body.low = static_cast<std::uint32_t>(serial.serial);
  body.high = static_cast<std::uint32_t>(serial.serial >> 32);
  put(wp::kFirstExtendedCapability, body);
  claim(wp::kFirstExtendedCapability, sizeof body);
  return {};
}

}  // namespace vmux::pci
