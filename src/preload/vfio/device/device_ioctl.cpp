// SPDX-License-Identifier: BSD-3-Clause
// A device's ioctls, one small handler each; what they answer is what drivers/vfio/pci/vfio_pci_core.c answers.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "preload/process/proc_files.hpp"
#include "preload/process/trace.hpp"
#include "preload/vfio/device/device.hpp"

namespace vmux::preload {
namespace {

template <class T>
constexpr std::uint32_t size_of = static_cast<std::uint32_t>(sizeof(T));

bool is_eventfd(int fd) { return read_proc_link(fmt::format("self/fd/{}", fd)) == "anon_inode:[eventfd]"; }

std::size_t element_size(std::uint32_t flags) {
  switch (flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
    case VFIO_IRQ_SET_DATA_BOOL:
      return 1;
    case VFIO_IRQ_SET_DATA_EVENTFD:
      return sizeof(std::int32_t);
    default:
      return 0;
  }
}

std::optional<pci::IrqAction> action_of(std::uint32_t flags) {
  switch (flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) {
    case VFIO_IRQ_SET_ACTION_MASK:
      return pci::IrqAction::mask;
    case VFIO_IRQ_SET_ACTION_UNMASK:
      return pci::IrqAction::unmask;
    case VFIO_IRQ_SET_ACTION_TRIGGER:
      return pci::IrqAction::trigger;
    default:
      return std::nullopt;
  }
}

}  // namespace

const std::array<Device::Handler, 11> Device::kHandlers = {{
    {VFIO_DEVICE_GET_INFO, "GET_INFO", &Device::get_info, false},
    {VFIO_DEVICE_GET_REGION_INFO, "GET_REGION_INFO", &Device::get_region_info, false},
    {VFIO_DEVICE_GET_IRQ_INFO, "GET_IRQ_INFO", &Device::get_irq_info, false},
    {VFIO_DEVICE_SET_IRQS, "SET_IRQS", &Device::set_irqs, false},
    {VFIO_DEVICE_RESET, "RESET", &Device::reset, false},
    {VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, "GET_PCI_HOT_RESET_INFO", &Device::hot_reset_info, false},
    {VFIO_DEVICE_PCI_HOT_RESET, "PCI_HOT_RESET", &Device::hot_reset, false},
    {VFIO_DEVICE_FEATURE, "FEATURE", &Device::feature, false},
    {abi::kBindIommufd, "BIND_IOMMUFD", &Device::bind_iommufd, true},
    {abi::kAttachIommufdPt, "ATTACH_IOMMUFD_PT", &Device::attach_pt, false},
    {abi::kDetachIommufdPt, "DETACH_IOMMUFD_PT", &Device::detach_pt, false},
}};

long Device::ioctl(unsigned long request, void* argument) {
  const auto handler =
      std::find_if(kHandlers.begin(), kHandlers.end(), [&](const Handler& row) { return row.request == request; });
  long result = -ENOTTY;
  if (handler != kHandlers.end()) {
    const bool may_run = is_bound_ || handler->before_bind;
    result = !may_run ? -EINVAL : (this->*handler->handle)(argument);
  }
  trace("{}: VFIO_DEVICE_{} {}", name_, handler != kHandlers.end() ? handler->name : fmt::format("{:#x}", request),
        result_text(result));
  return result;
}

long Device::get_info(void* argument) {
  vfio_device_info info{};
  const std::size_t least = offsetof(vfio_device_info, num_irqs) + sizeof info.num_irqs;
  if (!copy_in(&info, argument, least)) return -EFAULT;
  if (info.argsz < least) return -EINVAL;
  info.flags = VFIO_DEVICE_FLAGS_PCI | (summary_.is_resettable ? unsigned{VFIO_DEVICE_FLAGS_RESET} : 0u);
  info.num_regions = static_cast<std::uint32_t>(regions_.size());
  info.num_irqs = static_cast<std::uint32_t>(irqs_.size());
  const std::size_t most = std::min<std::size_t>(info.argsz, sizeof info);
  return copy_out(argument, &info, most) ? 0 : -EFAULT;
}

long Device::get_region_info(void* argument) {
  vfio_region_info info{};
  if (!copy_in(info, argument)) return -EFAULT;
  if (info.argsz < sizeof info || info.index >= regions_.size()) return -EINVAL;
  const auto& region = regions_[info.index];
  if (info.index == VFIO_PCI_VGA_REGION_INDEX && region.size == 0) return -EINVAL;
  info.flags = (region.readable ? unsigned{VFIO_REGION_INFO_FLAG_READ} : 0u) |
               (region.writable ? unsigned{VFIO_REGION_INFO_FLAG_WRITE} : 0u);
  info.size = region.size;
  info.offset = std::uint64_t{info.index} << abi::kRegionShift;
  info.cap_offset = 0;
  // Parts of a BAR that are not memory can be mapped too, see device_mmap.cpp: a program that goes by the sparse list
  // (QEMU) never does, one that maps a BAR as a whole (DPDK's drivers) could not work otherwise.
  const bool emulates = is_memory_bar(info.index) && !settings().strict_mmap;
  std::vector<std::byte> reply(sizeof info);
  if (region.mappable || emulates) info.flags |= VFIO_REGION_INFO_FLAG_MMAP;
  const bool is_sparse = region.mappable ? !region.areas.empty() : emulates;
  if (is_sparse && !settings().whole_bars) {
    vfio_region_info_cap_sparse_mmap list{};
    list.header = {VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, 0};
    list.nr_areas = static_cast<std::uint32_t>(region.areas.size());
    reply.resize(sizeof info + sizeof list + region.areas.size() * sizeof(vfio_region_sparse_mmap_area));
    std::memcpy(reply.data() + sizeof info, &list, sizeof list);
    std::byte* into = reply.data() + sizeof info + sizeof list;
    for (const auto& area : region.areas) {
      const vfio_region_sparse_mmap_area row{area.offset, area.size};
      std::memcpy(into, &row, sizeof row);
      into += sizeof row;
    }
    info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
    if (info.argsz >= reply.size()) info.cap_offset = size_of<vfio_region_info>;
  }
  const bool has_room = info.argsz >= reply.size();
  if (!has_room) info.argsz = static_cast<std::uint32_t>(reply.size());
  std::memcpy(reply.data(), &info, sizeof info);
  return copy_out(argument, reply.data(), has_room ? reply.size() : sizeof info) ? 0 : -EFAULT;
}

long Device::get_irq_info(void* argument) {
  vfio_irq_info info{};
  if (!copy_in(info, argument)) return -EFAULT;
  if (info.argsz < sizeof info || info.index >= irqs_.size()) return -EINVAL;
  const pci::IrqInfo& irq = irqs_[info.index];
  if (info.index == VFIO_PCI_ERR_IRQ_INDEX && irq.count == 0)
    return -EINVAL;  // the kernel's answer without PCI Express
  info.flags = (irq.eventfd ? unsigned{VFIO_IRQ_INFO_EVENTFD} : 0u) |
               (irq.maskable ? unsigned{VFIO_IRQ_INFO_MASKABLE} : 0u) |
               (irq.automasked ? unsigned{VFIO_IRQ_INFO_AUTOMASKED} : 0u) |
               (irq.noresize ? unsigned{VFIO_IRQ_INFO_NORESIZE} : 0u);
  info.count = irq.count;
  return copy_out(argument, info) ? 0 : -EFAULT;
}

long Device::set_irqs(void* argument) {
  vfio_irq_set header{};
  const std::size_t least = offsetof(vfio_irq_set, data);
  if (!copy_in(&header, argument, least)) return -EFAULT;
  // vfio_set_irqs_validate_and_prepare
  constexpr std::uint32_t known = VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK;
  if (header.argsz < least || header.index >= irqs_.size() || (header.flags & ~known) != 0) return -EINVAL;
  if (header.count >= UINT32_MAX - header.start) return -EINVAL;
  const std::uint32_t most = irqs_[header.index].count;
  if (header.start >= most || header.start + header.count > most) return -EINVAL;
  const std::uint32_t type = header.flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
  if (type == 0 || (type & (type - 1)) != 0) return -EINVAL;
  const std::size_t size = element_size(header.flags) * header.count;
  if (header.argsz - least < size) return -EINVAL;
  std::vector<std::byte> data(size);
  if (!copy_in(data.data(), static_cast<const std::byte*>(argument) + least, size)) return -EFAULT;
  if (!action_of(header.flags)) return -ENOTTY;
  const std::lock_guard lock{lock_};
  return apply_irqs(header, data);
}

int Device::apply_irqs(const vfio_irq_set& header, std::span<const std::byte> data) {
  if (is_gone_) return -ENODEV;
  if (const int error = irq_rules_.check(header, irqs_[header.index].noresize); error != 0) return error;
  const int error = send_irqs(header, data);
  std::int32_t first = -1;
  if (data.size() >= sizeof first) std::memcpy(&first, data.data(), sizeof first);
  if (error == 0) irq_rules_.follow(header, first);
  return error;
}

/// lock_ is held.
int Device::send_irqs(const vfio_irq_set& header, std::span<const std::byte> data) {
  if ((header.flags & VFIO_IRQ_SET_DATA_EVENTFD) != 0) {
    std::vector<std::int32_t> fds(header.count);
    std::memcpy(fds.data(), data.data(), data.size());
    for (const std::int32_t fd : fds) {  // all that is negative is none
      struct stat status {};
      if (fd >= 0 && ::fstat(fd, &status) != 0) return -EBADF;
      if (fd >= 0 && !is_eventfd(fd)) return -EINVAL;
    }
    return send_eventfds(header, fds);
  }
  const bool is_bool = (header.flags & VFIO_IRQ_SET_DATA_BOOL) != 0;
  std::vector<std::uint8_t> booleans(data.size());
  std::memcpy(booleans.data(), data.data(), data.size());
  return outcome(client_->set_irqs(static_cast<pci::Irq>(header.index), *action_of(header.flags),
                                   is_bool ? pci::IrqData::boolean : pci::IrqData::none, header.start, header.count, {},
                                   booleans));
}

/// The kernel takes -1 in the middle of a list for "no eventfd here"; on the socket a vector without a descriptor is a
/// message of its own, so the list goes out in runs.
int Device::send_eventfds(const vfio_irq_set& header, std::span<const std::int32_t> fds) {
  int error = 0;
  for (std::size_t done = 0; done < fds.size() && error == 0;) {
    const bool is_none = fds[done] < 0;
    std::size_t end = done;
    while (end < fds.size() && (fds[end] < 0) == is_none)
      ++end;
    const auto run = fds.subspan(done, end - done);
    error = outcome(client_->set_irqs(static_cast<pci::Irq>(header.index), *action_of(header.flags),
                                      pci::IrqData::eventfd, header.start + static_cast<std::uint32_t>(done),
                                      static_cast<std::uint32_t>(run.size()), is_none ? std::span<const int>{} : run));
    done = end;
  }
  return error;
}

/// The kernel saves the header of config space before a reset and restores it after (pci_try_reset_function), and DPDK
/// relies on it: it enables bus mastering first. A server's reset is the function's own.
long Device::reset(void*) {
  if (!summary_.is_resettable) return -EINVAL;
  constexpr auto config = pci::Region::config;
  // Top down as the kernel does it, the command register last.
  constexpr std::array<std::size_t, 10> kRestored = {0x3c, 0x30, 0x24, 0x20, 0x1c, 0x18, 0x14, 0x10, 0x0c, 0x04};
  std::array<std::byte, 64> before{}, after{};
  const std::lock_guard lock{lock_};
  if (is_gone_) return -ENODEV;
  if (const int error = outcome(client_->read(config, RegionOffset{0}, before)); error != 0) return error;
  if (const int error = outcome(client_->reset()); error != 0) return error;
  if (const int error = outcome(client_->read(config, RegionOffset{0}, after)); error != 0) return error;
  for (const std::size_t at : kRestored) {
    const std::size_t size = at == 0x04 ? 2 : 4;  // not the status register, whose bits clear when written
    if (std::memcmp(&before[at], &after[at], size) == 0) continue;
    const int error = outcome(client_->write(config, RegionOffset{at}, std::span{before}.subspan(at, size)));
    if (error != 0) return error;
  }
  return 0;
}

/// There is no slot and no bus to reset: the kernel's answer for such a function to a request that is well formed.
long Device::hot_reset_info(void* argument) {
  vfio_pci_hot_reset_info info{};
  const std::size_t least = offsetof(vfio_pci_hot_reset_info, devices);
  if (!copy_in(&info, argument, least)) return -EFAULT;
  return info.argsz < least ? -EINVAL : -ENODEV;
}

long Device::hot_reset(void* argument) {
  vfio_pci_hot_reset head{};
  const std::size_t least = offsetof(vfio_pci_hot_reset, group_fds);
  if (!copy_in(&head, argument, least)) return -EFAULT;
  return head.argsz < least || head.flags != 0 ? -EINVAL : -ENODEV;
}

}  // namespace vmux::preload
