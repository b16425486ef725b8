/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * How kernels differ in who is asked for a device's DMA.
 *
 * Linux 6.1 asks the device's dma_map_ops, which for a translated device are those of the IOMMU. Since 6.12 a mark at
 * the device ("dma_iommu") makes it call the IOMMU's functions without a look at the ops, and since 6.10 another
 * ("dma_skip_sync") makes it call no sync at all for what is coherent. Both are changed here while no driver is bound,
 * and never in between. Kbuild finds out which of this a kernel has.
 */
#ifndef VMUX_SHADOW_COMPAT_H
#define VMUX_SHADOW_COMPAT_H

#include <linux/device.h>
#include <linux/dma-map-ops.h>
#include <linux/iommu.h>

/* Since 7.2 a driver that never syncs says so; before, nobody can tell. */
#if !defined(DMA_ATTR_REQUIRE_COHERENT)
#define DMA_ATTR_REQUIRE_COHERENT 0UL
#endif

#if !defined(CONFIG_X86_64)
#define SHADOW_REFUSAL "other processors than x86-64 are not known to it"
#elif !IS_ENABLED(CONFIG_IOMMU_DMA) || !(IS_ENABLED(CONFIG_ARCH_HAS_DMA_OPS) || IS_ENABLED(CONFIG_DMA_OPS))
#define SHADOW_REFUSAL "this kernel is built without dma_map_ops of devices"
#elif defined(SHADOW_HAS_USE_DMA_IOMMU) && !defined(SHADOW_DMA_IOMMU_IS_BIT) && !defined(SHADOW_DMA_IOMMU_IS_FLAG)
#define SHADOW_REFUSAL "this kernel chooses the IOMMU for a device in a way that is not known to it"
#elif defined(SHADOW_HAS_SKIP_SYNC) && !defined(SHADOW_DMA_SKIP_SYNC_IS_BIT) && !defined(SHADOW_DMA_SKIP_SYNC_IS_FLAG)
#define SHADOW_REFUSAL "this kernel leaves out syncs in a way that is not known to it, and data would be lost"
#else
#define SHADOW_REFUSAL NULL
#endif

/* Whether the kernel goes to the IOMMU without asking the device's ops. */
static inline void shadow_mark_dma_iommu(struct device *dev, bool is_marked)
{
#if defined(SHADOW_DMA_IOMMU_IS_FLAG)
	dev_assign_dma_iommu(dev, is_marked);
#elif defined(SHADOW_DMA_IOMMU_IS_BIT)
	dev->dma_iommu = is_marked;
#endif
}

/* Whether it does. */
static inline bool shadow_is_marked(struct device *dev)
{
#if defined(SHADOW_DMA_IOMMU_IS_FLAG)
	return dev_dma_iommu(dev);
#elif defined(SHADOW_DMA_IOMMU_IS_BIT)
	return dev->dma_iommu;
#else
	return false;
#endif
}

/* Whether this device's DMA is the kernel's own and goes through the IOMMU. */
static inline bool shadow_is_original(struct device *dev)
{
#if defined(SHADOW_DMA_IOMMU_IS_FLAG) || defined(SHADOW_DMA_IOMMU_IS_BIT)
	return shadow_is_marked(dev) && !get_dma_ops(dev);
#else
	return get_dma_ops(dev); /* a translated device has no others: the kernel has put the IOMMU's there */
#endif
}

/* A driver's dma_set_mask() decides this again, by the ops; who calls none finds what an earlier driver has left. */
static inline void shadow_want_syncs(struct device *dev)
{
#if defined(SHADOW_DMA_SKIP_SYNC_IS_FLAG)
	dev_clear_dma_skip_sync(dev);
#elif defined(SHADOW_DMA_SKIP_SYNC_IS_BIT)
	dev->dma_skip_sync = false;
#endif
}

#endif
