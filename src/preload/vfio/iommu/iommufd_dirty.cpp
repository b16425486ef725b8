// SPDX-License-Identifier: BSD-3-Clause
// Dirty pages of a page table, from the logs of the servers whose devices use it. Checks follow
// drivers/iommu/iommufd/hw_pagetable.c and io_pagetable.c (iommufd_check_iova_range).
#include <cerrno>
#include <climits>
#include <vector>

#include "preload/dma/iova.hpp"
#include "preload/vfio/iommu/iommufd.hpp"

namespace vmux::preload {

long Iommufd::set_dirty_tracking(void* command) {
  const auto& request = *static_cast<const abi::HwptSetDirtyTracking*>(command);
  if ((request.flags & ~abi::kDirtyTrackingEnable) != 0 || request.reserved != 0) return -EOPNOTSUPP;
  const auto* table = get<PageTable>(request.hwpt_id);
  if (table == nullptr) return -ENOENT;
  if (!table->tracks_dirty) return -EOPNOTSUPP;
  const auto space = space_of(request.hwpt_id);
  kept_.erase(request.hwpt_id);
  (request.flags & abi::kDirtyTrackingEnable) != 0 ? space->start_dirty() : space->stop_dirty();
  return 0;
}

long Iommufd::get_dirty_bitmap(void* command) {
  const auto& request = *static_cast<const abi::HwptGetDirtyBitmap*>(command);
  if ((request.flags & ~abi::kDirtyBitmapNoClear) != 0 || request.reserved != 0) return -EOPNOTSUPP;
  const auto* table = get<PageTable>(request.hwpt_id);
  if (table == nullptr) return -ENOENT;
  if (!table->tracks_dirty) return -EOPNOTSUPP;
  if (request.length == 0) return -EINVAL;
  if (request.iova + (request.length - 1) < request.iova) return -EOVERFLOW;
  const std::uint64_t page = request.page_size;
  // A bit of the answer stands for one page of ours or several.
  if (page < kIovaPage || (page & (page - 1)) != 0 || ((request.iova | request.length) & (page - 1)) != 0)
    return -EINVAL;
  const std::uint64_t pages = request.length / kIovaPage;
  if (pages > INT_MAX) return -EINVAL;
  const auto space = space_of(request.hwpt_id);
  if (!space->is_tracking()) return -EINVAL;

  std::vector<std::uint64_t> fine((pages + 63) / 64), answer((request.length / page + 63) / 64);
  if (!copy_in(answer.data(), reinterpret_cast<const void*>(request.data), answer.size() * 8)) return -EFAULT;
  space->take_dirty(request.iova, pages, fine);
  const bool keeps = (request.flags & abi::kDirtyBitmapNoClear) != 0;
  auto& kept = kept_[request.hwpt_id];
  const std::uint64_t first = request.iova / kIovaPage;
  for (std::uint64_t i = 0; i < pages; ++i) {
    const bool was_kept = !kept.empty() && kept.count(first + i) != 0;
    if (!was_kept && (fine[i / 64] >> (i % 64) & 1) == 0) continue;
    const std::uint64_t bit = i * kIovaPage / page;
    answer[bit / 64] |= std::uint64_t{1} << (bit % 64);
    if (keeps) kept.insert(first + i);
    if (!keeps && was_kept) kept.erase(first + i);
  }
  return copy_out(reinterpret_cast<void*>(request.data), answer.data(), answer.size() * 8) ? 0 : -EFAULT;
}

}  // namespace vmux::preload
