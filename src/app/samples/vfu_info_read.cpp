// SPDX-License-Identifier: BSD-3-Clause
#include <fmt/format.h>

#include <algorithm>

#include "app/samples/vfu_info.hpp"

namespace vmux::samples {
namespace {

constexpr std::size_t kConfigSize = 256;
constexpr std::size_t kExtendedConfigSize = 4096;

/// Config space as it was read; bytes beyond its end read as 0.
class Config {
 public:
  explicit Config(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) { bytes_.resize(kExtendedConfigSize); }
  [[nodiscard]] std::uint32_t read(std::size_t at, std::size_t size) const {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size && at + i < bytes_.size(); ++i) {
      value |= std::to_integer<std::uint32_t>(bytes_[at + i]) << (8 * i);
    }
    return value;
  }
  [[nodiscard]] std::uint8_t u8(std::size_t at) const { return static_cast<std::uint8_t>(read(at, 1)); }
  [[nodiscard]] std::uint16_t u16(std::size_t at) const { return static_cast<std::uint16_t>(read(at, 2)); }
  [[nodiscard]] std::uint32_t u32(std::size_t at) const { return read(at, 4); }

 private:
  std::vector<std::byte> bytes_;
};

struct Name {
  unsigned id;
  const char* text;
};
constexpr Name kCapabilities[] = {{0x01, "Power Management"}, {0x03, "Vital Product Data"}, {0x05, "MSI"},
                                  {0x09, "Vendor Specific"},  {0x10, "PCI Express"},        {0x11, "MSI-X"},
                                  {0x13, "Advanced Features"}};
constexpr Name kExtendedCapabilities[] = {{0x0001, "Advanced Error Reporting"},
                                          {0x0003, "Device Serial Number"},
                                          {0x000b, "Vendor Specific"},
                                          {0x000d, "Access Control Services"},
                                          {0x000e, "Alternative Routing-ID"},
                                          {0x000f, "Address Translation Services"},
                                          {0x0010, "SR-IOV"},
                                          {0x0017, "TPH Requester"},
                                          {0x0018, "Latency Tolerance Reporting"},
                                          {0x0019, "Secondary PCI Express"}};

template <std::size_t N>
std::string name_of(const Name (&names)[N], unsigned id) {
  const auto found = std::find_if(std::begin(names), std::end(names), [id](const Name& name) { return name.id == id; });
  return found == std::end(names) ? "unknown" : found->text;
}

std::string detail_of(const Config& config, unsigned id, unsigned at) {
  switch (id) {
    case 0x01:
      return fmt::format("version {}", config.u16(at + 2) & 7);
    case 0x05: {
      const unsigned control = config.u16(at + 2);
      return fmt::format("{} vectors, {}-bit, {}mask per vector, {}", 1u << (control >> 1 & 7),
                         (control & 0x80) != 0 ? 64 : 32, (control & 0x100) != 0 ? "" : "no ",
                         (control & 1) != 0 ? "enabled" : "disabled");
    }
    case 0x09:
      return fmt::format("{} bytes", config.u8(at + 2));
    case 0x10:
      return fmt::format("version {}, type {}, function level reset: {}", config.u16(at + 2) & 0xf,
                         config.u16(at + 2) >> 4 & 0xf, (config.u32(at + 4) & 1u << 28) != 0 ? "yes" : "no");
    case 0x11: {
      const unsigned control = config.u16(at + 2);
      const std::uint32_t table = config.u32(at + 4), pba = config.u32(at + 8);
      return fmt::format("{} vectors, table in BAR {} at {:#x}, PBA in BAR {} at {:#x}, {}", (control & 0x7ff) + 1,
                         table & 7, table & ~7u, pba & 7, pba & ~7u, (control & 0x8000) != 0 ? "enabled" : "disabled");
    }
    default:
      return {};
  }
}

void walk_capabilities(const Config& config, FoundDevice& into) {
  constexpr unsigned kStatus = 0x06, kPointer = 0x34;
  if ((config.u16(kStatus) & 0x10) != 0) {
    // A chain that loops ends by the number of hops that 192 bytes allow.
    unsigned at = config.u8(kPointer) & 0xfcu;
    for (unsigned hops = 0; at >= 0x40 && hops < 48; ++hops, at = config.u8(at + 1) & 0xfcu) {
      const unsigned id = config.u8(at);
      into.capabilities.push_back({at, id, false, name_of(kCapabilities, id), detail_of(config, id, at)});
    }
  }
  unsigned at = 0x100;
  for (unsigned hops = 0; at >= 0x100 && hops < 960; ++hops) {
    const std::uint32_t header = config.u32(at);
    if (header == 0 || header == ~0u) break;
    const unsigned id = header & 0xffff;
    std::string detail;
    if (id == 0x0003) detail = fmt::format("{:08x}{:08x}", config.u32(at + 8), config.u32(at + 4));
    into.capabilities.push_back({at, id, true, name_of(kExtendedCapabilities, id), detail});
    at = header >> 20;
  }
}

std::string kind_of(const Config& config, unsigned index, bool& prefetchable) {
  static const char* const kOthers[] = {"rom", "config", "vga"};
  if (index >= 6) return index < 9 ? kOthers[index - 6] : "device specific";
  const std::uint32_t bar = config.u32(0x10 + 4 * index);
  if ((bar & 1) != 0) return "io";
  prefetchable = (bar & 8) != 0;
  return (bar & 6) == 4 ? "memory64" : "memory32";
}

Result<Config> read_config(vfio_user::Client& client) {
  const auto region = client.region_info(static_cast<std::uint32_t>(pci::Region::config));
  if (!region) return tl::unexpected(region.error());
  if (region->size < kConfigSize) return fail(Errc::protocol, "the server has no config space");
  std::vector<std::byte> bytes(std::min<std::uint64_t>(region->size, kExtendedConfigSize));
  // By 256 bytes: some servers take no longer accesses to config space.
  for (std::size_t at = 0; at < bytes.size(); at += kConfigSize) {
    const auto part = std::span{bytes}.subspan(at, std::min(kConfigSize, bytes.size() - at));
    if (auto done = client.read(pci::Region::config, RegionOffset{at}, part); !done) {
      return tl::unexpected(done.error());
    }
  }
  return Config{std::move(bytes)};
}

}  // namespace

Result<FoundDevice> look_at(vfio_user::Client& client) {
  FoundDevice found;
  found.limits = client.limits();
  const auto summary = client.device_info();
  if (!summary) return tl::unexpected(summary.error());
  found.summary = *summary;
  if (!summary->is_pci) return fail(Errc::not_supported, "the device is not a PCI device");
  const auto config = read_config(client);
  if (!config) return tl::unexpected(config.error());
  found.vendor = config->u16(0x00);
  found.device = config->u16(0x02);
  found.revision = config->u8(0x08);
  found.class_code = config->u32(0x08) >> 8;
  found.subsystem_vendor = config->u16(0x2c);
  found.subsystem = config->u16(0x2e);
  found.has_intx_pin = config->u8(0x3d) != 0;
  for (unsigned index = 0; index < std::min(summary->regions, 100u); ++index) {
    auto region = client.region_info(index);
    if (!region) return tl::unexpected(region.error());
    if (region->size == 0) continue;
    FoundRegion entry;
    entry.index = index;
    entry.kind = kind_of(*config, index, entry.prefetchable);
    entry.description = std::move(*region);
    if (auto io = client.region_io_fds(index)) entry.io_fds = std::move(io->parts);  // not every server knows of them
    found.regions.push_back(std::move(entry));
  }
  for (unsigned index = 0; index < std::min(summary->irqs, 50u); ++index) {
    const auto irq = client.irq_info(index);
    if (!irq) return tl::unexpected(irq.error());
    if (irq->count != 0) found.irqs.push_back({index, *irq});
  }
  walk_capabilities(*config, found);
  return found;
}

}  // namespace vmux::samples
