// SPDX-License-Identifier: BSD-3-Clause
#include "control/look/facts.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/text/format.hpp"
#include "base/text/text.hpp"
#include "wire/pci.hpp"

namespace vmux::control {
namespace {

namespace fs = std::filesystem;
namespace wp = wire::pci;

template <class T>
T at(std::span<const std::byte> bytes, std::size_t offset) noexcept {
  T value{};
  if (offset + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

std::string line_of(const fs::path& file) {
  std::string line;
  std::getline(std::ifstream{file}, line);
  return line;
}

/// A function may write its list in any way, so it is followed for as many steps as there is room for capabilities.
unsigned power_state_of(std::span<const std::byte> config) noexcept {
  std::size_t place = at<wp::Type0Header>(config, 0).capabilities & ~std::size_t{3};
  for (unsigned steps = 0; steps < 48 && place >= wp::kFirstCapability; ++steps) {
    const auto header = at<wp::CapabilityHeader>(config, place);
    if (header.id == static_cast<std::uint8_t>(wp::CapabilityId::power_management)) {
      return wp::pmcsr::power_state::get(std::uint16_t{at<wp::PowerManagement>(config, place).control});
    }
    place = header.next & ~std::size_t{3};
  }
  return 0;
}

}  // namespace

std::uint64_t Counts::get(const std::string& name) const {
  const auto found = now.find(name);
  return found == now.end() ? 0 : found->second;
}

std::uint64_t Counts::rise(const std::string& name) const {
  const auto was = before.find(name);
  const std::uint64_t is = get(name);
  return was == before.end() || was->second > is ? 0 : is - was->second;
}

std::optional<ConfigFacts> config_facts(std::span<const std::byte> config) noexcept {
  if (config.size() < 256) return std::nullopt;
  const auto header = at<wp::Type0Header>(config, 0);
  ConfigFacts facts;
  facts.is_all_ones = header.vendor_id == 0xffff;
  if (facts.is_all_ones) return facts;
  facts.is_bus_master = wp::command::bus_master::is_set(std::uint16_t{header.command});
  facts.has_memory_space = wp::command::memory_space::is_set(std::uint16_t{header.command});
  facts.power_state = power_state_of(config);
  return facts;
}

std::optional<unsigned> node_of_cpu(unsigned cpu, const std::string& sys) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(fmt::format("{}/devices/system/cpu/cpu{}", sys, cpu), error)) {
    const std::string name = entry.path().filename();
    if (name.rfind("node", 0) != 0) continue;
    if (const auto node = parse_number(name.substr(4), ~0u)) return static_cast<unsigned>(*node);
  }
  return std::nullopt;
}

FunctionFacts function_facts(const std::string& address, const std::string& sys) {
  FunctionFacts facts;
  facts.address = address;
  const fs::path device = fs::path{sys} / "bus/pci/devices" / address;
  if (const auto node = parse_number(line_of(device / "numa_node"), ~0u)) facts.node = static_cast<unsigned>(*node);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(device / "iommu_group/devices", error)) {
    std::string other = entry.path().filename();
    const std::string kind = line_of(fs::path{sys} / "bus/pci/devices" / other / "class");
    const bool is_bridge = kind.rfind("0x06", 0) == 0;
    if (other != address && !is_bridge) facts.group_mates.push_back(std::move(other));
  }
  std::sort(facts.group_mates.begin(), facts.group_mates.end());
  return facts;
}

bool has_hugepages(const std::string& sys) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(sys + "/kernel/mm/hugepages", error)) {
    if (parse_number(line_of(entry.path() / "nr_hugepages")).value_or(0) > 0) return true;
  }
  return false;
}

}  // namespace vmux::control
