// SPDX-License-Identifier: BSD-3-Clause
// mmap() of a device: the server's shared memory where there is some; where there is none, emulation or refusal.
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "preload/device.hpp"
#include "preload/mmio_trap.hpp"
#include "preload/trace.hpp"

namespace vmux::preload {
namespace {

constexpr std::uint64_t kPage = 4096;

long mapped(void* address) { return address == MAP_FAILED ? -errno : reinterpret_cast<long>(address); }

}  // namespace

bool Device::is_memory_bar(unsigned region) const noexcept {
  if (!can_trap() || region > VFIO_PCI_BAR5_REGION_INDEX || regions_[region].size < kPage) return false;
  const std::size_t at = 0x10 + 4 * std::size_t{region};
  return at < first_config_.size() && (first_config_[at] & 1) == 0;
}

bool Device::is_pure_memory(unsigned region, std::uint64_t offset, std::uint64_t length) const noexcept {
  const auto& description = regions_[region];
  if (!description.mappable || !description.fd) return false;
  if (description.areas.empty()) return true;
  return std::any_of(description.areas.begin(), description.areas.end(), [&](const pci::SharedArea& area) {
    return offset >= area.offset && fits(offset - area.offset, length, area.size);
  });
}

long Device::mmap(void* hint, std::size_t length, int protection, int flags, std::uint64_t offset) {
  const auto region = static_cast<unsigned>(offset >> abi::kRegionShift);
  const std::uint64_t at = offset & ((std::uint64_t{1} << abi::kRegionShift) - 1);
  length = (length + kPage - 1) / kPage * kPage;
  long result = -EINVAL;  // vfio_pci_core_mmap says EINVAL to all that it does not map
  const int sharing = flags & MAP_TYPE;
  const bool is_shared = sharing == MAP_SHARED || sharing == MAP_SHARED_VALIDATE;
  if (is_bound_ && is_shared && region <= VFIO_PCI_BAR5_REGION_INDEX && region < regions_.size() && length != 0 &&
      fits(at, length, regions_[region].size)) {
    if (is_pure_memory(region, at, length)) {
      const auto& description = regions_[region];
      result = mapped(::mmap(hint, length, protection, flags, description.fd.get(),
                             static_cast<off_t>(description.fd_offset + at)));
    } else if (is_memory_bar(region) && !settings().strict_mmap) {
      result = map_emulated(hint, length, protection, flags, region, at);
    }
  }
  trace("{}: mmap(region {}, {:#x}, {:#x}) {}", name_, region, at, length,
        result < 0 ? result_text(result) : fmt::format("= {:#x}", result));
  return result;
}

long Device::map_emulated(void* hint, std::size_t length, int protection, int flags, unsigned region,
                          std::uint64_t offset) {
  const int placing = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
  const long start =
      mapped(::mmap(hint, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | placing, -1, 0));
  if (start < 0) return start;
  const auto base = static_cast<std::uint64_t>(start);
  const auto& description = regions_[region];
  trap_range(base, length, shared_from_this(), region, offset);
  for (const pci::SharedArea& area : description.areas) {
    const std::uint64_t from = std::max(area.offset, offset), to = std::min(area.offset + area.size, offset + length);
    if (from >= to || !description.fd) continue;
    void* place = reinterpret_cast<void*>(base + (from - offset));
    const long done = mapped(::mmap(place, to - from, protection, MAP_SHARED | MAP_FIXED, description.fd.get(),
                                    static_cast<off_t>(description.fd_offset + from)));
    if (done < 0) {
      forget_trapped(base, length);
      (void)::munmap(reinterpret_cast<void*>(base), length);
      return done;
    }
    forget_trapped(base + (from - offset), to - from);
  }
  return start;
}

}  // namespace vmux::preload
