// SPDX-License-Identifier: BSD-3-Clause
#include "preload/settings.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "base/format.hpp"
#include "preload/trace.hpp"

namespace vmux::preload {
namespace {

std::optional<unsigned> hex(std::string_view text, std::size_t digits, unsigned limit) {
  unsigned value = 0;
  if (text.size() != digits) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc{} || end != text.data() + text.size() || value > limit) return std::nullopt;
  return value;
}

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' && std::string_view{value} != "0";
}

Settings read_settings() {
  Settings read;
  read.trace = is_set(kEnvTrace);
  read.share_anonymous = is_set(kEnvShareAnonymous);
  read.strict_mmap = is_set(kEnvStrict);
  read.whole_bars = is_set(kEnvWholeBars);
  const char* directory = std::getenv(kEnvDirectory);
  if (directory == nullptr) directory = std::getenv("TMPDIR");
  read.directory = directory == nullptr || *directory != '/' ? "/tmp" : directory;
  const char* devices = std::getenv(kEnvDevices);
  if (devices == nullptr || *devices == '\0') return read;
  if (auto parsed = parse_devices(devices)) {
    read.devices = std::move(*parsed);
  } else {
    say("{}={}: {}; no device is shown", kEnvDevices, devices, parsed.error().what);
  }
  return read;
}

}  // namespace

std::string PciAddress::text() const { return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", domain, bus, device, function); }
std::string PciAddress::bus_name() const { return fmt::format("pci{:04x}:{:02x}", domain, bus); }

Result<PciAddress> parse_pci_address(std::string_view text) {
  const auto refused = fail(Errc::invalid_argument, "not a PCI address (DDDD:BB:DD.F)");
  if (std::count(text.begin(), text.end(), ':') == 1) {
    return parse_pci_address(std::string{"0000:"}.append(text));
  }
  if (text.size() != 12 || text[4] != ':' || text[7] != ':' || text[10] != '.') return refused;
  const auto domain = hex(text.substr(0, 4), 4, 0xffff), bus = hex(text.substr(5, 2), 2, 0xff);
  const auto device = hex(text.substr(8, 2), 2, 0x1f), function = hex(text.substr(11, 1), 1, 7);
  if (!domain || !bus || !device || !function) return refused;
  return PciAddress{static_cast<std::uint16_t>(*domain), static_cast<std::uint8_t>(*bus),
                    static_cast<std::uint8_t>(*device), static_cast<std::uint8_t>(*function)};
}

Result<std::vector<DeviceSetting>> parse_devices(std::string_view text) {
  std::vector<DeviceSetting> devices;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    const std::size_t equals = one.find('=');
    if (equals == std::string_view::npos || equals + 1 == one.size()) {
      return fail(Errc::invalid_argument, "a device is written BDF=SOCKET");
    }
    const auto address = parse_pci_address(one.substr(0, equals));
    if (!address) return tl::unexpected(address.error());
    const auto same = [&](const DeviceSetting& other) { return other.address == *address; };
    if (std::any_of(devices.begin(), devices.end(), same)) {
      return fail(Errc::already_exists, "the same PCI address is given twice");
    }
    devices.push_back({*address, std::string{one.substr(equals + 1)}});
  }
  if (devices.empty()) return fail(Errc::invalid_argument, "no device is named");
  return devices;
}

const Settings& settings() noexcept {
  static const Settings instance = read_settings();
  return instance;
}

}  // namespace vmux::preload
