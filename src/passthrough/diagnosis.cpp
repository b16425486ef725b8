// SPDX-License-Identifier: BSD-3-Clause
#include "passthrough/diagnosis.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>

#include "base/text/text.hpp"

namespace vmux::passthrough {
namespace {

namespace fs = std::filesystem;

// Drivers that do not keep a group from being viable: drivers/vfio/vfio_main.c, vfio_driver_allowed, pci-stub; bridges
// may have theirs. Any driver of VFIO's own (vfio-pci and its variants) is one too.
constexpr std::array<std::string_view, 2> kHarmless{"pci-stub", "pcieport"};

fs::path device_path(const Machine& machine, const std::string& address) {
  return fs::path{machine.sys} / "bus/pci/devices" / address;
}

std::string link_name(const fs::path& link) {
  std::error_code error;
  const auto target = fs::read_symlink(link, error);
  return error ? "" : target.filename().string();
}

bool is_vfio_driver(std::string_view driver) noexcept { return driver.find("vfio") != std::string_view::npos; }

std::vector<Spoiler> find_spoilers(const Machine& machine, unsigned group) {
  std::vector<Spoiler> spoilers;
  std::error_code error;
  const fs::path devices = fs::path{machine.sys} / "kernel/iommu_groups" / std::to_string(group) / "devices";
  for (const auto& entry : fs::directory_iterator(devices, error)) {
    const std::string address = entry.path().filename();
    const std::string driver = link_name(device_path(machine, address) / "driver");
    const bool is_harmless = driver.empty() || is_vfio_driver(driver) ||
                             std::find(kHarmless.begin(), kHarmless.end(), driver) != kHarmless.end();
    if (!is_harmless) spoilers.push_back({address, driver});
  }
  std::sort(spoilers.begin(), spoilers.end(), [](const Spoiler& a, const Spoiler& b) { return a.address < b.address; });
  return spoilers;
}

/// Processes with the group open, or with a device's descriptor (which does not tell whose it is).
std::vector<std::string> find_holders(const Machine& machine, unsigned group) {
  const std::string file = machine.dev + "/vfio/" + std::to_string(group);
  std::vector<std::string> holders;
  std::error_code error;
  for (const auto& process : fs::directory_iterator(machine.proc, error)) {
    std::string holder = process.path().filename();
    if (holder.find_first_not_of("0123456789") != std::string::npos || holder == std::to_string(::getpid())) continue;
    bool holds = false;
    std::error_code ignored;
    for (const auto& fd : fs::directory_iterator(process.path() / "fd", ignored)) {
      const std::string target = fs::read_symlink(fd.path(), ignored);
      holds = holds || target == file || target == "anon_inode:[vfio-device]";
    }
    if (!holds) continue;
    std::string name;
    std::getline(std::ifstream{process.path() / "comm"}, name);
    if (!name.empty()) holder.append(" ").append(name);
    holders.push_back(std::move(holder));
  }
  std::sort(holders.begin(), holders.end());
  return holders;
}

}  // namespace

Result<unsigned> group_of(const Machine& machine, const std::string& address) {
  std::error_code error;
  if (!fs::exists(device_path(machine, address), error)) return fail(Errc::not_found, "there is no such PCI device");
  const std::string name = link_name(device_path(machine, address) / "iommu_group");
  const auto number = parse_number(name, ~0u);
  // VFIO makes groups of its own for devices without an IOMMU, where it is told to (vfio_noiommu_group_alloc()).
  std::string kind;
  std::getline(std::ifstream{device_path(machine, address) / "iommu_group/name"}, kind);
  if (!number || kind == "vfio-noiommu")
    return fail(Errc::not_supported, "the device is not behind an IOMMU that the kernel uses");
  return static_cast<unsigned>(*number);
}

Diagnosis diagnose(const Machine& machine, const std::string& address, const Error& error) {
  Diagnosis found;
  const auto group = group_of(machine, address);
  if (!group) {
    found.obstacle = group.error().code == Errc::not_found ? Obstacle::no_such_device : Obstacle::no_iommu;
    return found;
  }
  found.group = *group;
  found.driver = link_name(device_path(machine, address) / "driver");
  found.file = machine.dev + "/vfio/" + std::to_string(*group);
  if (!is_vfio_driver(found.driver)) {
    found.obstacle = Obstacle::not_bound;
    return found;
  }
  found.spoilers = find_spoilers(machine, *group);
  if (!found.spoilers.empty()) {
    found.obstacle = Obstacle::group_not_viable;
    return found;
  }
  if (::access((machine.dev + "/vfio/vfio").c_str(), F_OK) != 0) {
    found.obstacle = Obstacle::no_vfio;
  } else if (error.code == Errc::permission) {
    found.obstacle = Obstacle::no_permission;
    if (::access((machine.dev + "/vfio/vfio").c_str(), R_OK | W_OK) != 0) found.file = machine.dev + "/vfio/vfio";
  } else if (error.code == Errc::busy) {
    found.obstacle = Obstacle::held;
    found.holders = find_holders(machine, *group);
  }
  return found;
}

}  // namespace vmux::passthrough
