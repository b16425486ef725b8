// SPDX-License-Identifier: BSD-3-Clause
// mmap() of a device: the server's shared memory where there is some; where there is none, emulation or refusal.
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "preload/mmio/bar_maps.hpp"
#include "preload/mmio/mmio_trap.hpp"
#include "preload/process/trace.hpp"
#include "preload/vfio/device/device.hpp"

namespace vmux::preload {
namespace {

long mapped(void* address) { return address == MAP_FAILED ? -errno : reinterpret_cast<long>(address); }

}  // namespace

bool Device::is_memory_bar(unsigned region) const noexcept {
  if (!can_trap() || region > VFIO_PCI_BAR5_REGION_INDEX || regions_[region].size < kPage) return false;
  const std::size_t at = 0x10 + 4 * std::size_t{region};
  return at < first_config_.size() && (first_config_[at] & 1) == 0;
}

std::vector<Device::Part> Device::parts(unsigned region, std::uint64_t offset, std::uint64_t length) const {
  const auto& description = regions_[region];
  const std::uint64_t end = offset + length;
  if (!description.mappable || !description.fd) return {{offset, length, false}};
  if (description.areas.empty()) return {{offset, length, true}};
  std::vector<Part> parts;
  for (std::uint64_t at = offset; at < end;) {
    Part part{at, end - at, false};
    for (const pci::SharedArea& area : description.areas) {
      if (area.offset <= at && at - area.offset < area.size) {
        part = {at, std::min(end - at, area.offset + area.size - at), true};
        break;
      }
      if (area.offset > at) part.size = std::min(part.size, area.offset - at);
    }
    at += part.size;
    parts.push_back(part);
  }
  return parts;
}

int Device::lay_parts(std::uint64_t base, std::uint64_t length, int protection, unsigned region,
                      std::uint64_t offset) const {
  const auto& description = regions_[region];
  for (const Part& part : parts(region, offset, length)) {
    void* const place = reinterpret_cast<void*>(base + (part.offset - offset));
    const long done = part.is_memory
                          ? mapped(::mmap(place, part.size, protection, MAP_SHARED | MAP_FIXED, description.fd.get(),
                                          static_cast<off_t>(description.fd_offset + part.offset)))
                          : mapped(::mmap(place, part.size, PROT_NONE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0));
    if (done >= 0) continue;
    (void)::munmap(reinterpret_cast<void*>(base), length);
    return static_cast<int>(done);
  }
  return 0;
}

bool Device::can_map(const std::vector<Part>& wanted, unsigned region) const noexcept {
  const bool has_registers =
      std::any_of(wanted.begin(), wanted.end(), [](const Part& part) { return !part.is_memory; });
  return !has_registers || (is_memory_bar(region) && !settings().strict_mmap);
}

long Device::mmap(void* hint, std::size_t length, int protection, int flags, std::uint64_t offset) {
  const auto region = static_cast<unsigned>(offset >> abi::kRegionShift);
  const std::uint64_t at = offset & ((std::uint64_t{1} << abi::kRegionShift) - 1);
  length = up_to_page(length);
  long result = -EINVAL;  // vfio_pci_core_mmap says EINVAL to all that it does not map
  const int sharing = flags & MAP_TYPE;
  const bool is_shared = sharing == MAP_SHARED || sharing == MAP_SHARED_VALIDATE;
  if (is_bound_ && is_shared && region <= VFIO_PCI_BAR5_REGION_INDEX && region < regions_.size() && length != 0 &&
      fits(at, length, regions_[region].size) && can_map(parts(region, at, length), region)) {
    result = map_bar(hint, length, protection, flags, region, at);
  }
  trace("{}: mmap(region {}, {:#x}, {:#x}) {}", name_, region, at, length,
        result < 0 ? result_text(result) : fmt::format("= {:#x}", result));
  return result;
}

/// The place is taken first, for all parts, as the flags say.
long Device::map_bar(void* hint, std::size_t length, int protection, int flags, unsigned region, std::uint64_t offset) {
  const int placing = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT);
  const long start =
      mapped(::mmap(hint, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | placing, -1, 0));
  if (start < 0) return start;
  const auto base = static_cast<std::uint64_t>(start);
  BarMaps& maps = BarMaps::instance();
  BarMaps::Released released;
  const std::lock_guard lock{maps.mutex()};
  trap_faults();
  if (const int error = lay_parts(base, length, protection, region, offset); error != 0) {
    maps.erase(base, base + length, released);
    return error;
  }
  maps.add(base, {length, offset, shared_from_this(), region, protection & (PROT_READ | PROT_WRITE | PROT_EXEC), 0},
           released);
  return start;
}

}  // namespace vmux::preload
