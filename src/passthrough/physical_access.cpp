// SPDX-License-Identifier: BSD-3-Clause
// A guest's accesses to a physical function that come as messages. The kernel filters them once more.
#include <algorithm>
#include <cstring>

#include "base/logf.hpp"
#include "passthrough/physical_function.hpp"
#include "wire/pci.hpp"

namespace vmux::passthrough {
namespace {

namespace wp = wire::pci;
using pci::Region;

constexpr std::uint64_t kPage = 4096;

bool is_bar(Region region) noexcept { return region <= Region::bar5; }

struct Span {
  std::uint64_t begin = 0, end = 0;
};
Span table_of(const MsixFacts& msix) noexcept {
  return {msix.table_offset, msix.table_offset + msix.vectors * sizeof(wp::MsixEntry)};
}
Span pba_of(const MsixFacts& msix) noexcept {
  return {msix.pba_offset, msix.pba_offset + (msix.vectors + 63) / 64 * std::uint64_t{8}};
}

/// How far an access from `at` goes before it enters or leaves `part`.
std::uint64_t step_at(const Span& part, std::uint64_t at, std::uint64_t size) noexcept {
  if (at < part.begin) return std::min(size, part.begin - at);
  if (at < part.end) return std::min(size, part.end - at);
  return size;
}
std::vector<std::byte> without_bus_master(std::span<const std::byte> bytes, std::size_t command) {
  std::vector<std::byte> tamed(bytes.begin(), bytes.end());
  const auto low = std::to_integer<std::uint16_t>(tamed[command]);
  tamed[command] = static_cast<std::byte>(wp::command::bus_master::set(low, 0));
  return tamed;
}
bool is_in(const Span& part, std::uint64_t at) noexcept { return at >= part.begin && at < part.end; }

}  // namespace

std::vector<pci::SharedArea> shareable(const kvfio::RegionFacts& facts, Region region,
                                       const std::optional<MsixFacts>& msix) {
  std::vector<pci::SharedArea> areas;
  const auto add = [&areas](std::uint64_t begin, std::uint64_t end) {
    begin = (begin + kPage - 1) / kPage * kPage;
    end = end / kPage * kPage;
    if (begin < end) areas.push_back({begin, end - begin});
  };
  const bool has_table = msix && msix->table_bar == region;
  const Span table = has_table ? table_of(*msix) : Span{};
  const Span pages{table.begin / kPage * kPage, (table.end + kPage - 1) / kPage * kPage};
  for (const pci::SharedArea& area : facts.mappable) {
    const std::uint64_t begin = area.offset, end = area.offset + area.size;
    if (!has_table || pages.end <= begin || pages.begin >= end) {
      add(begin, end);
      continue;
    }
    if (begin < pages.begin) add(begin, pages.begin);
    if (pages.end < end) add(pages.end, end);
  }
  return areas;
}

const kvfio::RegionFacts* PhysicalFunction::facts(Region region) const noexcept {
  const auto index = static_cast<std::size_t>(region);
  return open_ && index < open_->regions.size() ? &open_->regions[index] : nullptr;
}

pci::RegionInfo PhysicalFunction::region(Region region) const noexcept {
  pci::RegionInfo info;
  const kvfio::RegionFacts* const known = facts(region);
  if (known == nullptr || known->size == 0) return info;
  info.size = known->size;
  info.readable = known->readable;
  info.writable = known->writable;
  if (!is_bar(region)) return info;
  info.shared = shareable(*known, region, open_->config.msix());
  info.fd = open_->device->fd();
  info.fd_offset = known->offset;
  return info;
}

Result<void> PhysicalFunction::read(Region region, RegionOffset offset, std::span<std::byte> into) noexcept {
  const kvfio::RegionFacts* const known = facts(region);
  if (known == nullptr || known->size == 0) return fail(Errc::not_supported, "the region does not exist");
  if (!fits(offset.raw, into.size(), known->size)) return fail(Errc::out_of_range, "beyond the end of a region");
  if (region == Region::config) {
    read_config(offset.raw, into);
  } else if (is_bar(region)) {
    read_bar(region, offset.raw, into);
  } else {
    read_raw(region, offset.raw, into);
  }
  return {};
}

Result<void> PhysicalFunction::write(Region region, RegionOffset offset, std::span<const std::byte> from) noexcept {
  const kvfio::RegionFacts* const known = facts(region);
  if (known == nullptr || known->size == 0) return fail(Errc::not_supported, "the region does not exist");
  if (!fits(offset.raw, from.size(), known->size)) return fail(Errc::out_of_range, "beyond the end of a region");
  if (!known->writable) return fail(Errc::permission, "the region is read-only");
  if (region == Region::config) {
    write_config(offset.raw, from);
  } else if (is_bar(region)) {
    write_bar(region, offset.raw, from);
  } else {
    write_raw(region, offset.raw, from);
  }
  return {};
}

/// As a bus does it: what nobody answers reads as ones, and a write to nobody is lost.
void PhysicalFunction::read_raw(Region region, std::uint64_t offset, std::span<std::byte> into) noexcept {
  if (open_->device->read(facts(region)->offset + offset, into)) return;
  ++counters_.unanswered;
  std::fill(into.begin(), into.end(), std::byte{0xff});
}

void PhysicalFunction::write_raw(Region region, std::uint64_t offset, std::span<const std::byte> from) noexcept {
  if (!open_->device->write(facts(region)->offset + offset, from)) ++counters_.unanswered;
}

// --- configuration space ---

void PhysicalFunction::read_config(std::size_t at, std::span<std::byte> into) noexcept {
  ++counters_.config_reads;
  read_raw(Region::config, at, into);
  open_->config.filter(at, into);
  if (!open_->config.msix()) return;
  const std::size_t high = open_->config.msix()->control + 1;  // bit 14 is the guest's, see follow_config_write()
  if (high < at || high - at >= into.size()) return;
  constexpr std::byte kFunctionMask{0x40};
  into[high - at] = (into[high - at] & ~kFunctionMask) | (open_->is_function_masked ? kFunctionMask : std::byte{0});
}

void PhysicalFunction::write_config(std::size_t at, std::span<const std::byte> from) noexcept {
  ++counters_.config_writes;
  open_->config.split(at, from, [this](std::size_t begin, std::span<const std::byte> bytes) {
    constexpr std::size_t kCommand = offsetof(wp::Type0Header, command);
    const bool has_command = begin <= kCommand && kCommand - begin < bytes.size();
    std::vector<std::byte> tamed;
    if (has_command && wp::command::bus_master::is_set(std::to_integer<std::uint16_t>(bytes[kCommand - begin]))) {
      before_bus_mastering();
      if (failure_ != nullptr) bytes = tamed = without_bus_master(bytes, kCommand - begin);
    }
    write_raw(Region::config, begin, bytes);
    follow_config_write(begin, bytes);
  });
}

void PhysicalFunction::follow_config_write(std::size_t at, std::span<const std::byte> from) noexcept {
  const auto byte_at = [&](std::size_t where) -> std::optional<std::uint16_t> {
    if (where < at || where - at >= from.size()) return std::nullopt;
    return static_cast<std::uint16_t>(std::to_integer<unsigned>(from[where - at]) << 8);
  };
  if (const std::size_t express = open_->config.express(); express != 0) {
    // The kernel has done it by now, if the device can; its MSI-X table is as after a reset.
    const auto high = byte_at(express + offsetof(wp::Express, device_control) + 1);
    if (high && wp::express::initiate_flr::is_set(*high)) {
      ++counters_.function_level_resets;
      has_changed_ = true;
      open_->is_function_masked = false;
      open_->irqs->clear_masks();
      if (open_->msix_table) open_->msix_table->reset();
    }
  }
  if (!open_->config.msix()) return;
  if (const auto high = byte_at(open_->config.msix()->control + 1)) {
    // The kernel keeps the register to itself.
    has_changed_ = true;
    open_->is_function_masked = wp::msix_control::function_mask::is_set(*high);
    open_->irqs->set_function_mask(open_->is_function_masked);
  }
}

/// From here on the device reaches for memory: what has been promised must be there.
void PhysicalFunction::before_bus_mastering() noexcept {
  const kvfio::DmaMap& dma = group_->dma();
  if (!dma.has_backlog()) return;
  logf(LogLevel::warning, "{}: the VM switches {} on while {} MiB of its memory wait to be pinned, and waits for that",
       name_, address_, dma.counters().waiting * kPage >> 20);
  static_cast<void>(group_->pin_now());
  has_changed_ = true;
}

bool PhysicalFunction::masters_bus() const noexcept {
  Le<std::uint16_t> command{};
  const std::uint64_t at = facts(Region::config)->offset + offsetof(wp::Type0Header, command);
  const bool is_answered = open_->device->read(at, std::as_writable_bytes(std::span{&command, 1})).has_value();
  return is_answered && wp::command::bus_master::is_set(std::uint16_t{command});
}

void PhysicalFunction::stop_bus_mastering() noexcept {
  const std::uint64_t at = facts(Region::config)->offset + offsetof(wp::Type0Header, command);
  Le<std::uint16_t> command{};
  const auto bytes = std::as_writable_bytes(std::span{&command, 1});
  if (!open_->device->read(at, bytes)) return;
  command = static_cast<std::uint16_t>(wp::command::bus_master::set(std::uint16_t{command}, 0));
  static_cast<void>(open_->device->write(at, bytes));
}

// --- BARs ---

void PhysicalFunction::read_bar(Region region, std::uint64_t offset, std::span<std::byte> into) noexcept {
  ++counters_.bar_reads;
  const auto& msix = open_->config.msix();
  const Span table = msix && msix->table_bar == region ? table_of(*msix) : Span{};
  const Span pba = msix && msix->pba_bar == region ? pba_of(*msix) : Span{};
  while (!into.empty()) {
    const std::uint64_t step = step_at(pba, offset, step_at(table, offset, into.size()));
    const auto part = into.first(step);
    if (is_in(table, offset)) {
      open_->msix_table->read(offset - table.begin, part);
    } else {
      read_raw(region, offset, part);
    }
    if (is_in(pba, offset)) {
      // What a masked vector has missed is known here only: the device's own entry is not masked.
      for (std::size_t i = 0; i < part.size(); ++i) {
        const std::uint64_t byte = offset + i - pba.begin;
        const std::uint64_t word = open_->irqs->pending_word(static_cast<std::uint32_t>(byte / 8 * 64));
        part[i] |= static_cast<std::byte>(word >> (byte % 8 * 8) & 0xff);
      }
    }
    into = into.subspan(step);
    offset += step;
  }
}

void PhysicalFunction::write_bar(Region region, std::uint64_t offset, std::span<const std::byte> from) noexcept {
  ++counters_.bar_writes;
  const auto& msix = open_->config.msix();
  const Span table = msix && msix->table_bar == region ? table_of(*msix) : Span{};
  while (!from.empty()) {
    const std::uint64_t step = step_at(table, offset, from.size());
    const auto part = from.first(step);
    if (is_in(table, offset)) {
      has_changed_ = true;
      const auto touched = open_->msix_table->write(offset - table.begin, part);
      for (std::uint32_t i = touched.first; i < touched.end; ++i)
        open_->irqs->set_table_mask(i, open_->msix_table->is_masked(i));
    } else {
      write_raw(region, offset, part);
    }
    from = from.subspan(step);
    offset += step;
  }
}

}  // namespace vmux::passthrough
