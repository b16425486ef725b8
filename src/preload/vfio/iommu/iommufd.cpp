// SPDX-License-Identifier: BSD-3-Clause
// Checks and answers follow drivers/iommu/iommufd/{main,ioas,hw_pagetable,device}.c and drivers/vfio/device_cdev.c.
#include "preload/vfio/iommu/iommufd.hpp"

#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "preload/dma/iova.hpp"
#include "preload/process/trace.hpp"
#include "preload/vfio/fd_table.hpp"

namespace vmux::preload {
namespace {

constexpr std::size_t kLargest = sizeof(abi::HwptAlloc);

template <class T>
T& as(void* command) {
  return *static_cast<T*>(command);
}

}  // namespace

const std::array<Iommufd::Handler, 11> Iommufd::kHandlers = {{
    {abi::kDestroy, "DESTROY", sizeof(abi::Destroy), sizeof(abi::Destroy), &Iommufd::destroy},
    {abi::kIoasAlloc, "IOAS_ALLOC", sizeof(abi::IoasAlloc), sizeof(abi::IoasAlloc), &Iommufd::ioas_alloc},
    {abi::kIoasIovaRanges, "IOAS_IOVA_RANGES", sizeof(abi::IoasIovaRanges), sizeof(abi::IoasIovaRanges),
     &Iommufd::iova_ranges},
    {abi::kIoasMap, "IOAS_MAP", sizeof(abi::IoasMap), sizeof(abi::IoasMap), &Iommufd::ioas_map},
    {abi::kIoasMapFile, "IOAS_MAP_FILE", sizeof(abi::IoasMapFile), sizeof(abi::IoasMapFile), &Iommufd::ioas_map_file},
    {abi::kIoasUnmap, "IOAS_UNMAP", sizeof(abi::IoasUnmap), sizeof(abi::IoasUnmap), &Iommufd::ioas_unmap},
    {abi::kOption, "OPTION", sizeof(abi::Option), sizeof(abi::Option), &Iommufd::option},
    {abi::kHwptAlloc, "HWPT_ALLOC", sizeof(abi::HwptAlloc), offsetof(abi::HwptAlloc, reserved) + 4,
     &Iommufd::hwpt_alloc},
    {abi::kGetHwInfo, "GET_HW_INFO", sizeof(abi::GetHwInfo), offsetof(abi::GetHwInfo, out_data_type) + 8,
     &Iommufd::hw_info},
    {abi::kHwptSetDirtyTracking, "HWPT_SET_DIRTY_TRACKING", sizeof(abi::HwptSetDirtyTracking),
     sizeof(abi::HwptSetDirtyTracking), &Iommufd::set_dirty_tracking},
    {abi::kHwptGetDirtyBitmap, "HWPT_GET_DIRTY_BITMAP", sizeof(abi::HwptGetDirtyBitmap),
     sizeof(abi::HwptGetDirtyBitmap), &Iommufd::get_dirty_bitmap},
}};

long Iommufd::ioctl(unsigned long request, void* argument) {
  const std::lock_guard lock{state_mutex()};
  const auto row = std::find_if(kHandlers.begin(), kHandlers.end(),
                                [&](const Handler& handler) { return handler.request == request; });
  long result = -ENOTTY;
  if (row != kHandlers.end()) {
    // copy_struct_from_user: a shorter struct is filled with zeros, a longer one must have zeros beyond ours.
    alignas(8) std::byte command[kLargest]{};
    std::uint32_t size = 0;
    result = copy_in(size, argument) ? 0 : -EFAULT;
    if (result == 0 && size < row->least) result = -EINVAL;
    std::vector<std::byte> given(result == 0 ? std::min<std::size_t>(size, 4096) : 0);
    if (result == 0 && !copy_in(given.data(), argument, given.size())) result = -EFAULT;
    const auto is_zero = [](std::byte byte) { return byte == std::byte{0}; };
    const std::size_t known = std::min(given.size(), row->size);
    if (result == 0 && !std::all_of(given.begin() + static_cast<std::ptrdiff_t>(known), given.end(), is_zero)) {
      result = -E2BIG;
    }
    if (result == 0) {
      std::memcpy(command, given.data(), known);
      result = (this->*row->handle)(command);
      if (!copy_out(argument, command, known) && result == 0) result = -EFAULT;
    }
  }
  trace("iommufd: IOMMU_{} {}", row != kHandlers.end() ? row->name : fmt::format("{:#x}", request),
        result_text(result));
  return result;
}

dev_t Iommufd::device_number() const noexcept { return makedev(kMiscMajor, kIommuMinor); }

std::uint32_t Iommufd::bind(std::weak_ptr<Device> device) {
  entries_.emplace(next_id_, std::move(device));
  return next_id_++;
}

std::shared_ptr<DmaSpace> Iommufd::space_of(std::uint32_t id) const {
  if (const auto* table = get<PageTable>(id)) return space_of(table->space_id);
  const auto* space = get<std::shared_ptr<DmaSpace>>(id);
  return space == nullptr ? nullptr : *space;
}

long Iommufd::destroy(void* command) {
  const std::uint32_t id = as<abi::Destroy>(command).id;
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return -ENOENT;
  if (const auto* device = std::get_if<std::weak_ptr<Device>>(&entry->second); device != nullptr) {
    if (!device->expired()) return -EBUSY;
  }
  const auto rests_on = [&](const auto& other) {
    const auto* table = std::get_if<PageTable>(&other.second);
    return table != nullptr && table->space_id == id;
  };
  if (std::any_of(entries_.begin(), entries_.end(), rests_on)) return -EBUSY;
  if (const auto* space = std::get_if<std::shared_ptr<DmaSpace>>(&entry->second); space != nullptr) {
    if ((*space)->has_users()) return -EBUSY;
  }
  entries_.erase(entry);
  kept_.erase(id);
  return 0;
}

long Iommufd::ioas_alloc(void* command) {
  auto& alloc = as<abi::IoasAlloc>(command);
  if (alloc.flags != 0) return -EOPNOTSUPP;
  entries_.emplace(next_id_, std::make_shared<DmaSpace>());
  alloc.out_ioas_id = next_id_++;
  return 0;
}

long Iommufd::iova_ranges(void* command) {
  auto& ranges = as<abi::IoasIovaRanges>(command);
  if (ranges.reserved != 0) return -EOPNOTSUPP;
  if (get<std::shared_ptr<DmaSpace>>(ranges.ioas_id) == nullptr) return -ENOENT;
  const std::uint32_t room = ranges.num_iovas;
  ranges.num_iovas = static_cast<std::uint32_t>(kUsableIovas.size());
  ranges.out_iova_alignment = kIovaPage;
  for (std::uint32_t i = 0; i < std::min(room, ranges.num_iovas); ++i) {
    const abi::IovaRange range{kUsableIovas[i].first, kUsableIovas[i].last};
    if (!copy_out(reinterpret_cast<void*>(ranges.allowed_iovas + i * sizeof range), range)) return -EFAULT;
  }
  return room < ranges.num_iovas ? -EMSGSIZE : 0;
}

/// Checks what IOAS_MAP and IOAS_MAP_FILE have in common, and finds an address where the program leaves it to us.
long Iommufd::place(std::uint32_t id, std::uint32_t flags, std::uint64_t length, std::uint64_t& iova,
                    DmaSpace*& space) {
  constexpr std::uint32_t access = abi::kMapReadable | abi::kMapWriteable;
  if ((flags & ~(access | abi::kMapFixedIova)) != 0) return -EOPNOTSUPP;
  if ((flags & access) == 0 || length == 0 || length % kIovaPage != 0) return -EINVAL;
  const auto* found = get<std::shared_ptr<DmaSpace>>(id);
  if (found == nullptr) return -ENOENT;
  space = found->get();
  if ((flags & abi::kMapFixedIova) == 0) {
    const auto free = space->find_free(length, kIovaPage, kUsableIovas[0].last);
    const auto high = free ? free : space->find_free(length, kUsableIovas[1].first, kUsableIovas[1].last);
    if (!high) return -ENOSPC;
    iova = *high;
  }
  if (iova + (length - 1) < iova) return -EOVERFLOW;
  return iova % kIovaPage != 0 || !is_usable(iova, iova + (length - 1)) ? -EINVAL : 0;
}

long Iommufd::ioas_map(void* command) {
  auto& map = as<abi::IoasMap>(command);
  if (map.reserved != 0) return -EOPNOTSUPP;
  DmaSpace* space = nullptr;
  if (const long error = place(map.ioas_id, map.flags, map.length, map.iova, space); error != 0) return error;
  if (map.user_va % kIovaPage != 0 || map.user_va + (map.length - 1) < map.user_va) return -EINVAL;
  return space->map(
      {map.iova, map.length, map.user_va, (map.flags & abi::kMapReadable) != 0, (map.flags & abi::kMapWriteable) != 0});
}

long Iommufd::ioas_map_file(void* command) {
  auto& map = as<abi::IoasMapFile>(command);
  DmaSpace* space = nullptr;
  if (const long error = place(map.ioas_id, map.flags, map.length, map.iova, space); error != 0) return error;
  if (map.start % kIovaPage != 0) return -EINVAL;
  return space->map_file(
      {map.iova, map.length, 0, (map.flags & abi::kMapReadable) != 0, (map.flags & abi::kMapWriteable) != 0}, map.fd,
      map.start);
}

long Iommufd::ioas_unmap(void* command) {
  auto& unmap = as<abi::IoasUnmap>(command);
  const auto* space = get<std::shared_ptr<DmaSpace>>(unmap.ioas_id);
  if (space == nullptr) return -ENOENT;
  const bool is_all = unmap.iova == 0 && unmap.length == UINT64_MAX;
  if (unmap.length == 0) return -EINVAL;
  const std::uint64_t last = is_all ? UINT64_MAX : unmap.iova + (unmap.length - 1);
  if (last < unmap.iova) return -EOVERFLOW;
  const auto done = (*space)->unmap(unmap.iova, last);
  if (done.cuts || (done.bytes == 0 && !is_all)) return -ENOENT;
  unmap.length = done.bytes;
  return 0;
}

long Iommufd::option(void* command) {
  auto& option = as<abi::Option>(command);
  if (option.reserved != 0) return -EOPNOTSUPP;
  if (option.option_id > abi::kOptionHugePages) return -EOPNOTSUPP;
  if (option.op == 1) option.value = option.option_id == abi::kOptionHugePages ? 1 : 0;
  return option.op > 1 ? -EINVAL : 0;
}

long Iommufd::hwpt_alloc(void* command) {
  auto& alloc = as<abi::HwptAlloc>(command);
  const bool tracks = (alloc.flags & abi::kHwptAllocDirtyTracking) != 0;
  if ((alloc.flags & ~abi::kHwptAllocDirtyTracking) != 0 || alloc.data_type != 0 || alloc.data_len != 0) {
    return -EOPNOTSUPP;
  }
  const auto* device = get<std::weak_ptr<Device>>(alloc.dev_id);
  if (device == nullptr || device->expired()) return -ENOENT;
  if (get<std::shared_ptr<DmaSpace>>(alloc.pt_id) == nullptr) return -ENOENT;
  if (tracks && !device->lock()->can_log_dma()) return -EOPNOTSUPP;
  entries_.emplace(next_id_, PageTable{alloc.pt_id, tracks});
  alloc.out_hwpt_id = next_id_++;
  return 0;
}

long Iommufd::hw_info(void* command) {
  auto& info = as<abi::GetHwInfo>(command);
  if (info.flags != 0 || info.reserved != 0) return -EOPNOTSUPP;
  const auto* device = get<std::weak_ptr<Device>>(info.dev_id);
  if (device == nullptr || device->expired()) return -ENOENT;
  info.data_len = 0;  // IOMMU_HW_INFO_TYPE_NONE: there is no IOMMU to describe
  info.out_data_type = 0;
  info.out_capabilities = device->lock()->can_log_dma() ? abi::kHwCapDirtyTracking : 0;
  return 0;
}

// --- the device's side ---

long Device::bind_iommufd(void* argument) {
  abi::BindIommufd bind{};
  if (!copy_in(bind, argument)) return -EFAULT;
  if (bind.argsz < sizeof bind || bind.flags != 0) return -EINVAL;
  // A device of a group cannot be bound, nor one that is bound already.
  if (is_bound_ || bind.iommufd < 0) return -EINVAL;
  const std::lock_guard lock{state_mutex()};
  auto iommufd = std::dynamic_pointer_cast<Iommufd>(FdTable::instance().adopt(bind.iommufd));
  if (!iommufd) return -EBADFD;
  bind.out_devid = iommufd->bind(weak_from_this());
  if (!copy_out(argument, bind)) return -EFAULT;
  owner_ = std::move(iommufd);
  is_bound_ = true;
  return 0;
}

long Device::attach_pt(void* argument) {
  abi::AttachIommufdPt attach{};
  if (!copy_in(attach, argument)) return -EFAULT;
  if (attach.argsz < sizeof attach || attach.flags != 0) return -EINVAL;
  const std::lock_guard lock{state_mutex()};
  const auto iommufd = std::dynamic_pointer_cast<Iommufd>(owner_);
  if (!iommufd) return -ENOTTY;  // opened through its group
  auto space = iommufd->space_of(attach.pt_id);
  if (!space) return -ENOENT;
  if (iommufd->wants_log(attach.pt_id) && !can_log_dma()) return -EINVAL;
  return use(std::move(space));
}

long Device::detach_pt(void* argument) {
  abi::DetachIommufdPt detach{};
  if (!copy_in(detach, argument)) return -EFAULT;
  if (detach.argsz < sizeof detach || detach.flags != 0) return -EINVAL;
  const std::lock_guard lock{state_mutex()};
  if (!std::dynamic_pointer_cast<Iommufd>(owner_)) return -ENOTTY;
  return use(nullptr);
}

}  // namespace vmux::preload
