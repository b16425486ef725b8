// SPDX-License-Identifier: BSD-3-Clause
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/samples/vfu_info.hpp"

namespace vmux::samples {
namespace {

using nlohmann::json;

// PCI Code and ID Assignment Specification, base classes and the subclasses of network controllers.
const char* const kClasses[] = {"unclassified device",
                                "mass storage controller",
                                "network controller",
                                "display controller",
                                "multimedia controller",
                                "memory controller",
                                "bridge",
                                "communication controller",
                                "system peripheral",
                                "input device controller",
                                "docking station",
                                "processor",
                                "serial bus controller",
                                "wireless controller",
                                "intelligent controller",
                                "satellite controller",
                                "encryption controller",
                                "signal processing controller",
                                "processing accelerator",
                                "instrumentation"};

std::string hex(unsigned long long value, int digits) { return fmt::format("0x{:0{}x}", value, digits); }

std::string human_size(std::uint64_t size) {
  static const char* const kUnits[] = {"", " KiB", " MiB", " GiB"};
  unsigned unit = 0;
  while (unit < 3 && size >= 1024 && size % 1024 == 0) {
    size /= 1024;
    ++unit;
  }
  return fmt::format("{}{}", size, kUnits[unit]);
}

std::string traits(const FoundRegion& region) {
  const auto& is = region.description;
  return fmt::format("{}{}{}{}", is.readable ? "r" : "-", is.writable ? "w" : "-", is.mappable ? "m" : "-",
                     region.prefetchable ? " prefetchable" : "");
}

std::string traits(const pci::IrqInfo& irq) {
  std::string text;
  if (irq.eventfd) text += " eventfd";
  if (irq.maskable) text += " maskable";
  if (irq.automasked) text += " automasked";
  if (irq.noresize) text += " noresize";
  return text;
}

}  // namespace

const char* class_name(std::uint32_t class_code) noexcept {
  if (class_code >> 8 == 0x0200) return "Ethernet controller";
  const std::uint32_t base = class_code >> 16;
  return base < std::size(kClasses) ? kClasses[base] : "unassigned class";
}

const char* irq_name(unsigned index) noexcept {
  static const char* const kNames[] = {"INTx", "MSI", "MSI-X", "ERR", "REQ"};
  return index < std::size(kNames) ? kNames[index] : "device specific";
}

void print_text(const FoundDevice& device) {
  fmt::print("{} [{:06x}]: {:04x}:{:04x} (rev {:02x})\n", class_name(device.class_code), device.class_code,
             device.vendor, device.device, device.revision);
  if (device.subsystem_vendor != 0 || device.subsystem != 0) {
    fmt::print("  Subsystem: {:04x}:{:04x}\n", device.subsystem_vendor, device.subsystem);
  }
  fmt::print("  Server: version 0.{}, {} descriptors and {} bytes in a message, {} DMA maps, page sizes {:#x}{}{}\n",
             device.limits.minor, device.limits.max_fds, device.limits.max_transfer, device.limits.max_dma_maps,
             device.limits.page_sizes, device.limits.write_multiple ? ", combined writes" : "",
             device.limits.twin_socket ? ", twin sockets" : "");
  fmt::print("  Reset: {}\n", device.summary.is_resettable ? "yes" : "no");
  for (const auto& region : device.regions) {
    fmt::print("  Region {}: {} {} [{}]\n", region.index, region.kind, human_size(region.description.size),
               traits(region));
    for (const auto& area : region.description.areas) {
      fmt::print("    mappable: {:#x}, {}\n", area.offset, human_size(area.size));
    }
    for (const auto& io : region.io_fds) {
      fmt::print("    {}: {:#x}, {} bytes\n", io.is_ioregionfd ? "ioregionfd" : "ioeventfd", io.offset, io.size);
    }
  }
  for (const auto& irq : device.irqs) {
    fmt::print("  {}: {}{}\n", irq_name(irq.index), irq.info.count, traits(irq.info));
  }
  for (const auto& capability : device.capabilities) {
    fmt::print("  Capability [{:{}x}] {}{}{}\n", capability.offset, capability.is_extended ? 3 : 2, capability.name,
               capability.detail.empty() ? "" : ": ", capability.detail);
  }
}

void print_json(const FoundDevice& device) {
  json regions = json::array(), irqs = json::array(), capabilities = json::array();
  for (const auto& region : device.regions) {
    json areas = json::array();
    for (const auto& area : region.description.areas)
      areas.push_back({{"offset", area.offset}, {"size", area.size}});
    json io_fds = json::array();
    for (const auto& io : region.io_fds) {
      io_fds.push_back({{"type", io.is_ioregionfd ? "ioregionfd" : "ioeventfd"},
                        {"offset", io.offset},
                        {"size", io.size},
                        {"flags", io.flags},
                        {"value", io.value}});
    }
    regions.push_back({{"index", region.index},
                       {"kind", region.kind},
                       {"size", region.description.size},
                       {"readable", region.description.readable},
                       {"writable", region.description.writable},
                       {"mappable", region.description.mappable},
                       {"prefetchable", region.prefetchable},
                       {"areas", std::move(areas)},
                       {"io_fds", std::move(io_fds)}});
  }
  for (const auto& irq : device.irqs) {
    irqs.push_back({{"index", irq.index},
                    {"name", irq_name(irq.index)},
                    {"count", irq.info.count},
                    {"eventfd", irq.info.eventfd},
                    {"maskable", irq.info.maskable},
                    {"automasked", irq.info.automasked},
                    {"noresize", irq.info.noresize}});
  }
  for (const auto& capability : device.capabilities) {
    capabilities.push_back({{"offset", capability.offset},
                            {"id", capability.id},
                            {"extended", capability.is_extended},
                            {"name", capability.name},
                            {"detail", capability.detail}});
  }
  const json all{{"vendor", hex(device.vendor, 4)},
                 {"device", hex(device.device, 4)},
                 {"subsystem_vendor", hex(device.subsystem_vendor, 4)},
                 {"subsystem", hex(device.subsystem, 4)},
                 {"revision", hex(device.revision, 2)},
                 {"class", hex(device.class_code, 6)},
                 {"class_name", class_name(device.class_code)},
                 {"resettable", device.summary.is_resettable},
                 {"server",
                  {{"minor", device.limits.minor},
                   {"max_msg_fds", device.limits.max_fds},
                   {"max_data_xfer_size", device.limits.max_transfer},
                   {"max_dma_maps", device.limits.max_dma_maps},
                   {"pgsizes", device.limits.page_sizes},
                   {"write_multiple", device.limits.write_multiple},
                   {"twin_socket", device.limits.twin_socket}}},
                 {"regions", std::move(regions)},
                 {"irqs", std::move(irqs)},
                 {"capabilities", std::move(capabilities)}};
  std::puts(all.dump(2).c_str());
}

}  // namespace vmux::samples
