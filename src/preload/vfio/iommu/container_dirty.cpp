// SPDX-License-Identifier: BSD-3-Clause
// Dirty pages of a container: VFIO_IOMMU_DIRTY_PAGES, and the bitmap of an unmap. Checks and answers follow
// vfio_iommu_type1_dirty_pages and verify_bitmap_size of vfio_iommu_type1.c.
#include <cerrno>
#include <cstring>
#include <vector>

#include "preload/dma/iova.hpp"
#include "preload/process/trace.hpp"
#include "preload/vfio/iommu/container.hpp"

namespace vmux::preload {

long Container::dirty_pages(void* argument) {
  if (!space_) return -EINVAL;
  if (!is_v2_) return -EACCES;
  vfio_iommu_type1_dirty_bitmap head{};
  if (!copy_in(&head, argument, sizeof head)) return -EFAULT;
  if (head.argsz < sizeof head) return -EINVAL;
  switch (head.flags) {  // one of them at a time
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
      space_->start_dirty();
      return 0;
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
      space_->stop_dirty();
      return 0;
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP: {
      vfio_iommu_type1_dirty_bitmap_get range{};
      if (head.argsz < sizeof head + sizeof range) return -EINVAL;
      if (!copy_in(range, static_cast<const std::byte*>(argument) + sizeof head)) return -EFAULT;
      if (range.iova + range.size < range.iova) return -EINVAL;
      if (const long error = check_bitmap(range.bitmap, range.size); error != 0) return error;
      if (((range.iova | range.size) & (kIovaPage - 1)) != 0 || !space_->is_tracking()) return -EINVAL;
      return report_dirty(range.iova, range.size, range.bitmap);
    }
    default:
      return -EINVAL;
  }
}

long Container::check_bitmap(const vfio_bitmap& bitmap, std::uint64_t size) const {
  if (bitmap.pgsize != kIovaPage) return -EINVAL;
  const std::uint64_t pages = size / kIovaPage;
  if (pages == 0 || bitmap.size == 0 || bitmap.size > kLargestBitmap) return -EINVAL;
  return bitmap.size < (pages + 63) / 64 * 8 ? -EINVAL : 0;
}

long Container::report_dirty(std::uint64_t iova, std::uint64_t size, const vfio_bitmap& bitmap) {
  if (space_->cuts(iova, iova + (size - 1))) return -EINVAL;
  const std::uint64_t pages = size / kIovaPage;
  std::vector<std::uint64_t> bits((pages + 63) / 64);
  if (!copy_in(bits.data(), bitmap.data, bits.size() * 8)) return -EFAULT;
  space_->take_dirty(iova, pages, bits);
  trace("container: dirty pages of iova {:#x}, {:#x} bytes", iova, size);
  return copy_out(bitmap.data, bits.data(), bits.size() * 8) ? 0 : -EFAULT;
}

}  // namespace vmux::preload
