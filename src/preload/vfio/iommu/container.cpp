// SPDX-License-Identifier: BSD-3-Clause
// Checks and answers follow drivers/vfio/container.c, group.c and vfio_iommu_type1.c.
#include "preload/vfio/iommu/container.hpp"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "preload/dma/iova.hpp"
#include "preload/process/trace.hpp"
#include "preload/vfio/fd_table.hpp"

namespace vmux::preload {
namespace {

constexpr std::uint32_t kUnmapAllExtension = 9;  // VFIO_UNMAP_ALL

template <class Rows>
auto find_row(const Rows& rows, unsigned long request) {
  return std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.request == request; });
}

}  // namespace

// --- containers ---

const std::array<Container::Handler, 7> Container::kHandlers = {{
    {VFIO_GET_API_VERSION, "GET_API_VERSION", &Container::get_api_version},
    {VFIO_CHECK_EXTENSION, "CHECK_EXTENSION", &Container::check_extension},
    {VFIO_SET_IOMMU, "SET_IOMMU", &Container::set_iommu},
    {VFIO_IOMMU_GET_INFO, "IOMMU_GET_INFO", &Container::get_info},
    {VFIO_IOMMU_MAP_DMA, "IOMMU_MAP_DMA", &Container::map_dma},
    {VFIO_IOMMU_UNMAP_DMA, "IOMMU_UNMAP_DMA", &Container::unmap_dma},
    {VFIO_IOMMU_DIRTY_PAGES, "IOMMU_DIRTY_PAGES", &Container::dirty_pages},
}};

long Container::ioctl(unsigned long request, void* argument) {
  const std::lock_guard lock{state_mutex()};
  const auto row = find_row(kHandlers, request);
  // Without a kind of IOMMU nobody is there to answer what is not about the container itself: EINVAL.
  const long result = row != kHandlers.end() ? (this->*row->handle)(argument) : space_ ? -ENOTTY : -EINVAL;
  trace("container: VFIO_{} {}", row != kHandlers.end() ? row->name : fmt::format("{:#x}", request),
        result_text(result));
  return result;
}

dev_t Container::device_number() const noexcept { return makedev(kMiscMajor, kVfioMinor); }

void Container::leave() noexcept {
  if (--groups_ == 0) space_ = nullptr;
}

long Container::get_api_version(void*) { return VFIO_API_VERSION; }

long Container::check_extension(void* argument) {
  switch (reinterpret_cast<unsigned long>(argument)) {
    case VFIO_TYPE1_IOMMU:
    case VFIO_TYPE1v2_IOMMU:
    case kUnmapAllExtension:
      return 1;
    case VFIO_DMA_CC_IOMMU:  // a server sees memory as a CPU does, once there is one
      return space_ ? 1 : 0;
    default:
      return 0;
  }
}

long Container::set_iommu(void* argument) {
  const auto kind = reinterpret_cast<unsigned long>(argument);
  if (groups_ == 0 || space_) return -EINVAL;
  if (kind != VFIO_TYPE1_IOMMU && kind != VFIO_TYPE1v2_IOMMU) return -ENODEV;
  space_ = std::make_shared<DmaSpace>();
  is_v2_ = kind == VFIO_TYPE1v2_IOMMU;
  return 0;
}

long Container::get_info(void* argument) {
  if (!space_) return -EINVAL;
  vfio_iommu_type1_info info{};
  const std::size_t least = offsetof(vfio_iommu_type1_info, iova_pgsizes) + sizeof info.iova_pgsizes;
  if (!copy_in(&info, argument, least)) return -EFAULT;
  if (info.argsz < least) return -EINVAL;

  struct {
    vfio_iommu_type1_info info;
    vfio_iommu_type1_info_cap_migration migration;
    abi::IovaRangeCap ranges;  // linux/vfio.h's ends in a flexible array, which C++ does not take in here
    vfio_iova_range range[kUsableIovas.size()];
    vfio_iommu_type1_info_dma_avail available;
  } reply{};
  reply.info.argsz = info.argsz;
  reply.info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
  reply.info.iova_pgsizes = ~(kIovaPage - 1);
  reply.migration.header = {VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, 1, offsetof(decltype(reply), ranges)};
  reply.migration.pgsize_bitmap = kIovaPage;
  reply.migration.max_dirty_bitmap_size = kLargestBitmap;
  reply.ranges.header = {VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1, offsetof(decltype(reply), available)};
  reply.ranges.nr_iovas = static_cast<std::uint32_t>(kUsableIovas.size());
  for (std::size_t i = 0; i < kUsableIovas.size(); ++i) {
    reply.range[i] = {kUsableIovas[i].first, kUsableIovas[i].last};
  }
  reply.available.header = {VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, 1, 0};
  reply.available.avail = static_cast<std::uint32_t>(space_->available());

  const bool has_room = info.argsz >= sizeof reply;
  // A container of the first type tracks nothing.
  if (has_room)
    reply.info.cap_offset = is_v2_ ? offsetof(decltype(reply), migration) : offsetof(decltype(reply), ranges);
  if (!has_room) reply.info.argsz = static_cast<std::uint32_t>(sizeof reply);
  const std::size_t size = has_room ? sizeof reply : std::min<std::size_t>(info.argsz, sizeof reply.info);
  return copy_out(argument, &reply, size) ? 0 : -EFAULT;
}

long Container::map_dma(void* argument) {
  if (!space_) return -EINVAL;
  vfio_iommu_type1_dma_map map{};
  if (!copy_in(map, argument)) return -EFAULT;
  constexpr std::uint32_t known = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
  if (map.argsz < sizeof map || (map.flags & ~known) != 0 || (map.flags & known) == 0) return -EINVAL;
  if (map.size == 0 || ((map.size | map.iova | map.vaddr) & (kIovaPage - 1)) != 0) return -EINVAL;
  if (map.iova + map.size - 1 < map.iova || map.vaddr + map.size - 1 < map.vaddr) return -EINVAL;
  if (!is_usable(map.iova, map.iova + (map.size - 1))) return -EINVAL;
  const DmaSpace::Request request{map.iova, map.size, map.vaddr, (map.flags & VFIO_DMA_MAP_FLAG_READ) != 0,
                                  (map.flags & VFIO_DMA_MAP_FLAG_WRITE) != 0};
  const int error = space_->map(request);
  trace("container: map iova {:#x}, {:#x} bytes at {:#x} {}", map.iova, map.size, map.vaddr, result_text(error));
  return error;
}

long Container::unmap_dma(void* argument) {
  if (!space_) return -EINVAL;
  vfio_iommu_type1_dma_unmap unmap{};
  const std::size_t least = offsetof(vfio_iommu_type1_dma_unmap, size) + sizeof unmap.size;
  if (!copy_in(&unmap, argument, least)) return -EFAULT;
  const bool is_all = (unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL) != 0;
  const bool reports = (unmap.flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) != 0;
  constexpr std::uint32_t known = VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
  if (unmap.argsz < least || (unmap.flags & ~known) != 0 || (is_all && reports)) return -EINVAL;
  if (is_all ? unmap.iova != 0 || unmap.size != 0 : unmap.size == 0) return -EINVAL;
  if (((unmap.size | unmap.iova) & (kIovaPage - 1)) != 0) return -EINVAL;
  const std::uint64_t last = is_all ? UINT64_MAX : unmap.iova + (unmap.size - 1);
  if (last < unmap.iova) return -EINVAL;
  if (reports) {
    vfio_bitmap bitmap{};
    if (unmap.argsz < least + sizeof bitmap) return -EINVAL;
    if (!copy_in(bitmap, static_cast<const std::byte*>(argument) + least)) return -EFAULT;
    if (const long error = check_bitmap(bitmap, unmap.size); error != 0) return error;
    if (!space_->is_tracking()) return -EINVAL;
    if (const long error = report_dirty(unmap.iova, unmap.size, bitmap); error != 0) return error;
  }
  const auto done = space_->unmap(unmap.iova, last);
  if (done.cuts) return -EINVAL;
  trace("container: unmap iova {:#x}, {:#x} bytes: {:#x} were mapped", unmap.iova, unmap.size, done.bytes);
  unmap.size = done.bytes;
  return copy_out(argument, &unmap, least) ? 0 : -EFAULT;
}

// --- groups ---

const std::array<Group::Handler, 4> Group::kHandlers = {{
    {VFIO_GROUP_GET_STATUS, "GET_STATUS", &Group::get_status},
    {VFIO_GROUP_SET_CONTAINER, "SET_CONTAINER", &Group::set_container},
    {VFIO_GROUP_UNSET_CONTAINER, "UNSET_CONTAINER", &Group::unset_container},
    {VFIO_GROUP_GET_DEVICE_FD, "GET_DEVICE_FD", &Group::get_device_fd},
}};

Group::~Group() {
  const std::lock_guard lock{state_mutex()};
  if (container_) container_->leave();
}

long Group::ioctl(unsigned long request, void* argument) {
  const std::lock_guard lock{state_mutex()};
  const auto row = find_row(kHandlers, request);
  const long result = row != kHandlers.end() ? (this->*row->handle)(argument) : -ENOTTY;
  trace("group {}: VFIO_GROUP_{} {}", identity_.group,
        row != kHandlers.end() ? row->name : fmt::format("{:#x}", request), result_text(result));
  return result;
}

dev_t Group::device_number() const noexcept { return makedev(kGroupMajor, identity_.group); }

long Group::get_status(void* argument) {
  vfio_group_status status{};
  if (!copy_in(status, argument)) return -EFAULT;
  if (status.argsz < sizeof status) return -EINVAL;
  status.flags = VFIO_GROUP_FLAGS_VIABLE | (container_ ? unsigned{VFIO_GROUP_FLAGS_CONTAINER_SET} : 0u);
  return copy_out(argument, status) ? 0 : -EFAULT;
}

long Group::set_container(void* argument) {
  std::int32_t fd = -1;
  if (!copy_in(fd, argument)) return -EFAULT;
  auto container = std::dynamic_pointer_cast<Container>(FdTable::instance().adopt(fd));
  if (!container && fcntl(fd, F_GETFD) < 0) return -EBADF;
  if (!container || container_) return -EINVAL;
  container->join();
  container_ = std::move(container);
  return 0;
}

long Group::unset_container(void*) {
  if (!container_) return -EINVAL;
  if (!device_.expired()) return -EBUSY;
  container_->leave();
  container_ = nullptr;
  return 0;
}

long Group::get_device_fd(void* argument) {
  char name[64]{};
  // strndup_user: up to the NUL, which may lie right before an unmapped page
  for (std::size_t i = 0; i < sizeof name - 1; ++i) {
    if (!copy_in(&name[i], static_cast<const char*>(argument) + i, 1)) return -EFAULT;
    if (name[i] == '\0') break;
  }
  // vfio_pci_core_match: after the address options may follow, of which we know none (the kernel: a token of VFs).
  const std::string address = identity_.address.text();
  const std::string_view asked{name}, options = asked.substr(std::min(asked.size(), address.size()));
  if (asked.substr(0, address.size()) != address || (!options.empty() && options.front() != ' ')) return -ENODEV;
  if (options.find_first_not_of(' ') != std::string_view::npos) return -EINVAL;
  if (!container_ || !container_->space()) return -EINVAL;
  auto device = device_.lock();
  if (!device) {
    auto opened = Device::open(identity_);
    if (opened.error != 0) return opened.error;
    device = std::move(opened.device);
    if (const int error = device->use(container_->space()); error != 0) return error;
    device->hold(shared_from_this());
    device_ = device;
  }
  return FdTable::instance().add(std::move(device), O_RDWR | O_CLOEXEC);
}

}  // namespace vmux::preload
