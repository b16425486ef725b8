// SPDX-License-Identifier: BSD-3-Clause
// [PCI] PCI Local Bus 3.0, [PCIe] PCI Express Base 4.0. The kernel's own rules are in
// drivers/vfio/pci/vfio_pci_config.c: it virtualises BARs, MSI and power states, and lets writes through only where
// they are harmless to the host.
#include "passthrough/config_view.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "wire/pci.hpp"

namespace vmux::passthrough {
namespace {

namespace wp = wire::pci;

constexpr std::size_t kMostStandard = (wp::kConfigSize - wp::kFirstCapability) / 4;
constexpr std::size_t kMostExtended = (wp::kExtendedConfigSize - wp::kFirstExtendedCapability) / 8;

// Everything that is not here is shown.
constexpr auto kHidden = std::to_array<HiddenCapability>({
    {false, 0x14, "EA", "holds the addresses that the host gave to the BARs"},
    {true, 0x000d, "ACS", "isolation between functions is the host's to decide"},
    {true, 0x000e, "ARI", "names the next function of a card of which the guest has this one only"},
    {true, 0x000f, "ATS", "translations are between the device and the host's IOMMU"},
    {true, 0x0010, "SR-IOV", "a guest that makes VFs makes devices of the host"},
    {true, 0x0011, "MR-IOV", "as SR-IOV"},
    {true, 0x0013, "PRI", "page requests go to the host's IOMMU, which does not serve them"},
    {true, 0x0015, "resizable BAR", "the host cannot resize a BAR that is in use"},
    {true, 0x001b, "PASID", "address spaces are the host IOMMU's"},
    {true, 0x0024, "VF resizable BAR", "as resizable BAR"},
});

template <class T>
std::uint64_t get(std::span<const std::byte> bytes, std::size_t at) noexcept {
  Le<T> value{};
  if (at <= bytes.size() && bytes.size() - at >= sizeof value) std::memcpy(&value, bytes.data() + at, sizeof value);
  return T{value};
}

const HiddenCapability* find_hidden(bool is_extended, std::uint16_t id) noexcept {
  const auto row = std::find_if(kHidden.begin(), kHidden.end(), [&](const HiddenCapability& candidate) {
    return candidate.is_extended == is_extended && candidate.id == id;
  });
  return row == kHidden.end() ? nullptr : &*row;
}

MsixFacts read_msix(std::span<const std::byte> bytes, std::size_t at) noexcept {
  const auto control = static_cast<std::uint16_t>(get<std::uint16_t>(bytes, at + offsetof(wp::Msix, control)));
  const auto table = static_cast<std::uint32_t>(get<std::uint32_t>(bytes, at + offsetof(wp::Msix, table)));
  const auto pba = static_cast<std::uint32_t>(get<std::uint32_t>(bytes, at + offsetof(wp::Msix, pending)));
  MsixFacts facts;
  facts.control = at + offsetof(wp::Msix, control);
  facts.vectors = wp::msix_control::table_size::get(control) + 1u;
  facts.table_bar = static_cast<pci::Region>(table & 7);  // [PCI] 6.8.2.4: BIR
  facts.table_offset = table & ~7u;
  facts.pba_bar = static_cast<pci::Region>(pba & 7);
  facts.pba_offset = pba & ~7u;
  return facts;
}

}  // namespace

std::span<const HiddenCapability> hidden_capabilities() noexcept { return kHidden; }

ConfigView::ConfigView(std::span<const std::byte> bytes) {
  // Functions of one card are devices by themselves in a VM: whoever puts them together sets this bit ([PCI] 6.2.1).
  set(offsetof(wp::Type0Header, header_type), 0, 0x80);
  walk_standard(bytes);
  if (bytes.size() >= wp::kExtendedConfigSize) walk_extended(bytes);
}

void ConfigView::set(std::size_t at, std::uint8_t value, std::uint8_t mask) { patches_.push_back({at, value, mask}); }

void ConfigView::walk_standard(std::span<const std::byte> bytes) {
  const auto status = static_cast<std::uint16_t>(get<std::uint16_t>(bytes, offsetof(wp::Type0Header, status)));
  if (!wp::status::capabilities_list::is_set(status)) return;
  std::vector<Capability> chain;
  auto at = get<std::uint8_t>(bytes, offsetof(wp::Type0Header, capabilities)) & 0xfc;  // [PCI] 6.7
  while (at >= wp::kFirstCapability && chain.size() < kMostStandard) {
    const auto id = static_cast<std::uint16_t>(get<std::uint8_t>(bytes, at));
    const auto next = static_cast<std::uint16_t>(get<std::uint8_t>(bytes, at + 1) & 0xfc);
    chain.push_back({at, id, next, find_hidden(false, id)});
    if (id == static_cast<std::uint16_t>(wp::CapabilityId::msix)) msix_ = read_msix(bytes, at);
    if (id == static_cast<std::uint16_t>(wp::CapabilityId::express)) express_ = at;
    at = next;
  }
  std::size_t link = offsetof(wp::Type0Header, capabilities);
  bool is_stale = false;
  for (const Capability& one : chain) {
    if (one.hidden != nullptr) {
      hide(chain, one.at, wp::kConfigSize);
      hidden_.push_back(one.hidden);
      is_stale = true;
      continue;
    }
    if (is_stale) set(link, static_cast<std::uint8_t>(one.at));
    is_stale = false;
    link = one.at + 1;
  }
  if (is_stale) set(link, 0);
}

void ConfigView::walk_extended(std::span<const std::byte> bytes) {
  std::vector<Capability> chain;
  std::size_t at = wp::kFirstExtendedCapability;
  while (at >= wp::kFirstExtendedCapability && chain.size() < kMostExtended) {
    const auto header = static_cast<std::uint32_t>(get<std::uint32_t>(bytes, at));
    if (header == 0 || header == ~0u) break;  // [PCIe] 7.6.2: none
    const auto id = static_cast<std::uint16_t>(wp::extended::id::get(header));
    const auto next = static_cast<std::uint16_t>(wp::extended::next::get(header) & 0xffc);
    chain.push_back({at, id, next, find_hidden(true, id)});
    at = next;
  }
  // A header's upper 12 bits are the link to the next; its place in the bytes is fixed, so a changed link is two bytes.
  const auto relink = [this](std::size_t header, std::size_t to) {
    set(header + 2, static_cast<std::uint8_t>((to & 0xf) << 4), 0xf0);
    set(header + 3, static_cast<std::uint8_t>(to >> 4));
  };
  std::size_t link = 0;
  bool is_stale = false;
  for (const Capability& one : chain) {
    if (one.hidden == nullptr) {
      if (is_stale) relink(link, one.at);
      is_stale = false;
      link = one.at;
      continue;
    }
    hide(chain, one.at, wp::kExtendedConfigSize);
    hidden_.push_back(one.hidden);
    is_stale = true;
    // The first has no link before it: it stays as a capability of no kind that leads to the next ([PCIe] 7.6.1).
    if (one.at == wp::kFirstExtendedCapability) link = one.at;
  }
  if (is_stale) relink(link, 0);
}

/// The bytes of a capability: up to whichever begins next.
void ConfigView::hide(const std::vector<Capability>& chain, std::size_t at, std::size_t limit) {
  std::size_t end = limit;
  for (const Capability& one : chain) {
    if (one.at > at) end = std::min(end, one.at);
  }
  gaps_.push_back({at, end});
}

void ConfigView::filter(std::size_t at, std::span<std::byte> bytes) const noexcept {
  for (const Gap& gap : gaps_) {
    const std::size_t from = std::max(at, gap.begin), to = std::min(at + bytes.size(), gap.end);
    if (from < to) std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(from - at), to - from, std::byte{0});
  }
  for (const Patch& patch : patches_) {
    if (patch.at < at || patch.at - at >= bytes.size()) continue;
    std::byte& byte = bytes[patch.at - at];
    byte = (byte & ~std::byte{patch.mask}) | (std::byte{patch.value} & std::byte{patch.mask});
  }
}

void ConfigView::split(std::size_t at, std::span<const std::byte> bytes,
                       const std::function<void(std::size_t, std::span<const std::byte>)>& write) const {
  const auto is_hidden = [this](std::size_t byte) {
    return std::any_of(gaps_.begin(), gaps_.end(), [&](const Gap& gap) { return byte >= gap.begin && byte < gap.end; });
  };
  for (std::size_t i = 0; i < bytes.size();) {
    std::size_t end = i;
    while (end < bytes.size() && !is_hidden(at + end))
      ++end;
    if (end > i) write(at + i, bytes.subspan(i, end - i));
    i = end + 1;
  }
}

}  // namespace vmux::passthrough
