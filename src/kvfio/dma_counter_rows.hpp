// SPDX-License-Identifier: BSD-3-Clause
// The table of what an IOMMU group's DMA map counts.
#pragma once

#include <array>

#include "base/counter_row.hpp"
#include "kvfio/dma_map.hpp"

namespace vmux::kvfio {

inline constexpr auto kDmaCounterRows = std::to_array<CounterRow<DmaCounters>>({
    {{"dma.maps", "calls", "to the kernel that pinned memory"}, count_of<&DmaCounters::maps>},
    {{"dma.unmaps", "calls", "to the kernel that let go of memory"}, count_of<&DmaCounters::unmaps>},
    {{"dma.shared", "ranges", "that another function of the group had mapped"}, count_of<&DmaCounters::shared>},
    {{"dma.refused", "ranges", "that the kernel or other memory in the same place refused"},
     count_of<&DmaCounters::refused>},
    {{"dma.pages_pinned", "pages", "that are pinned now", CounterKind::now}, count_of<&DmaCounters::pinned>},
    {{"dma.pages_waiting", "pages", "that are promised, to be pinned while the VM boots", CounterKind::now},
     count_of<&DmaCounters::waiting>},
    {{"dma.pages_stuck", "pages", "that the kernel refused to unmap", CounterKind::now}, count_of<&DmaCounters::stuck>},
    {{"dma.pages_pinned_ever", "pages", "that have been pinned"}, count_of<&DmaCounters::pinned_ever>},
    {{"dma.map_us", "microseconds", "in the kernel, pinning"}, count_of<&DmaCounters::map_ns, 1000>},
    {{"dma.unmap_us", "microseconds", "in the kernel, letting go"}, count_of<&DmaCounters::unmap_ns, 1000>},
});

}  // namespace vmux::kvfio
