// SPDX-License-Identifier: BSD-3-Clause
#include "preload/process/settings.hpp"

#include <algorithm>
#include <cstdlib>

#include "base/text/format.hpp"
#include "preload/process/trace.hpp"

namespace vmux::preload {
namespace {

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

std::string bus_name(const PciAddress& address) { return fmt::format("pci{:04x}:{:02x}", address.domain, address.bus); }

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
    if (!address) return fail(Errc::invalid_argument, "not a PCI address (DDDD:BB:DD.F)");
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
