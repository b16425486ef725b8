// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * The DMA operations of a shadowed device. Which way a mapping went is told by its address alone: the pools' chunks are
 * ours, every other address is the kernel's. So an unmap is right whatever was decided when the buffer was mapped.
 */
#include <linux/io.h>
#include <linux/memremap.h>
#include <linux/scatterlist.h>

#include "compat.h"
#include "shadow.h"

static struct shadow_device *shadow_of(struct device *dev)
{
	return container_of(dev->dma_ops, struct shadow_device, ops);
}

/* The device for what the kernel is to do itself. A driver may have changed its masks since. */
static struct device *twin_of(struct device *dev)
{
	struct device *twin = &shadow_of(dev)->twin->dev;

	twin->coherent_dma_mask = dev->coherent_dma_mask;
	return twin;
}

static void fell_back(struct shadow_device *shadow, enum shadow_count why)
{
	shadow_add(shadow, why, 1);
	if (READ_ONCE(shadow->is_watching) || cmpxchg(&shadow->is_watching, 0, 1))
		return;
	shadow->maps_before = shadow_sum(shadow, SHADOW_MAPS);
	shadow->fallbacks_before = shadow_fallbacks(shadow) - 1;
	schedule_delayed_work(&shadow->watch, 10 * HZ);
}

/* What goes to the kernel is counted, for as long as it is to come back through us: see shadow_is_in_use(). */
static dma_addr_t map_by_kernel(struct device *dev, phys_addr_t phys, size_t size, enum dma_data_direction dir,
				unsigned long attrs)
{
	struct page *page = pfn_to_page(PHYS_PFN(phys));
	dma_addr_t address = dma_map_page_attrs(twin_of(dev), page, offset_in_page(phys), size, dir, attrs);

	if (address != DMA_MAPPING_ERROR)
		shadow_add(shadow_of(dev), SHADOW_KERNEL_MAPS, 1);
	return address;
}

/* To count is the last thing that touches the shadow: it may be gone right after. */
static void unmap_by_kernel(struct device *dev, dma_addr_t address, size_t size, enum dma_data_direction dir,
			    unsigned long attrs)
{
	struct shadow_device *shadow = shadow_of(dev);

	if (likely(dev->iommu_group)) /* else it is unplugged, and was unmapped with its domain */
		dma_unmap_page_attrs(twin_of(dev), address, size, dir, attrs);
	shadow_add(shadow, SHADOW_KERNEL_UNMAPS, 1);
}

/* The pools lie where the mask of before probe() allowed it. A driver may since have set a narrower one. */
static bool is_addressable(struct device *dev, const struct shadow_place *place, size_t size)
{
	return place->address + size - 1 <= min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);
}

static bool take(struct device *dev, size_t size, enum dma_data_direction dir, unsigned long attrs,
		 struct shadow_place *place)
{
	struct shadow_device *shadow = shadow_of(dev);
	enum shadow_count why;

	if (unlikely(dma_get_min_align_mask(dev)))
		why = SHADOW_FALLBACKS_ALIGNED;
	else if (unlikely(!size || size > SHADOW_LARGEST_SIZE))
		why = SHADOW_FALLBACKS_LARGE;
	else if (unlikely(attrs & DMA_ATTR_REQUIRE_COHERENT))
		why = SHADOW_FALLBACKS_COHERENT;
	else if (likely(shadow_pool_take(&shadow->pools[dir], size, place))) {
		if (likely(is_addressable(dev, place, size)))
			return true;
		shadow_pool_give(place);
		why = SHADOW_FALLBACKS_ADDRESS;
	} else
		why = shadow->pools[dir].count ? SHADOW_FALLBACKS_FULL : SHADOW_FALLBACKS_NO_POOL;
	fell_back(shadow, why);
	return false;
}

static void copy_to_slot(struct shadow_device *shadow, const struct shadow_place *place, size_t size,
			 enum dma_data_direction dir)
{
	memcpy(place->memory + place->offset, place->record->original + place->offset, size);
	shadow_add(shadow, dir == DMA_FROM_DEVICE ? SHADOW_BYTES_PRESERVED : SHADOW_BYTES_TO_DEVICE, size);
}

static void copy_from_slot(struct shadow_device *shadow, const struct shadow_place *place, size_t size)
{
	memcpy(place->record->original + place->offset, place->memory + place->offset, size);
	shadow_add(shadow, SHADOW_BYTES_FROM_DEVICE, size);
}

/*
 * A device need not write all of a buffer that it is given to write. What it leaves must be what was there before, as
 * without us: never what the slot's last user has left. A driver that skips the copy promises to sync what was
 * written; what it syncs beyond that is zeros.
 */
static dma_addr_t map(struct device *dev, phys_addr_t phys, size_t size, enum dma_data_direction dir,
		      unsigned long attrs)
{
	struct shadow_device *shadow = shadow_of(dev);
	struct shadow_place place;

	if (!take(dev, size, dir, attrs, &place))
		return map_by_kernel(dev, phys, size, dir, attrs);
	place.record->original = phys_to_virt(phys);
	place.record->size = size;
	if (!(attrs & DMA_ATTR_SKIP_CPU_SYNC))
		copy_to_slot(shadow, &place, size, dir);
	else if (dir != DMA_TO_DEVICE)
		memset(place.memory, 0, size);
	shadow_add(shadow, SHADOW_MAPS, 1);
	return place.address;
}

/* A slot's address that nobody can have been given, or not any more: a driver's mistake, which must not become ours. */
static bool is_stray(struct shadow_device *shadow, const struct shadow_place *place)
{
	if (likely(place->offset < place->record->size))
		return false;
	shadow_add(shadow, SHADOW_STRAYS, 1);
	return true;
}

static void unmap(struct device *dev, dma_addr_t address, size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	struct shadow_device *shadow = shadow_of(dev);
	struct shadow_place place;

	if (!shadow_index_find(&shadow->index, address, &place)) {
		unmap_by_kernel(dev, address, size, dir, attrs);
		return;
	}
	if (is_stray(shadow, &place))
		return;
	if (dir != DMA_TO_DEVICE && !(attrs & DMA_ATTR_SKIP_CPU_SYNC))
		copy_from_slot(shadow, &place, min_t(size_t, size, place.record->size - place.offset));
	if (shadow_zero_freed)
		memset(place.memory, 0, place.record->size);
	shadow_pool_give(&place);
	shadow_add(shadow, SHADOW_UNMAPS, 1);
}

static void sync_single_for_cpu(struct device *dev, dma_addr_t address, size_t size, enum dma_data_direction dir)
{
	struct shadow_device *shadow = shadow_of(dev);
	struct shadow_place place;

	if (!shadow_index_find(&shadow->index, address, &place)) {
		dma_sync_single_for_cpu(twin_of(dev), address, size, dir);
		return;
	}
	if (dir == DMA_TO_DEVICE || is_stray(shadow, &place))
		return;
	copy_from_slot(shadow, &place, min_t(size_t, size, place.record->size - place.offset));
	shadow_add(shadow, SHADOW_SYNCS_FOR_CPU, 1);
}

static void sync_single_for_device(struct device *dev, dma_addr_t address, size_t size, enum dma_data_direction dir)
{
	struct shadow_device *shadow = shadow_of(dev);
	struct shadow_place place;

	if (!shadow_index_find(&shadow->index, address, &place)) {
		dma_sync_single_for_device(twin_of(dev), address, size, dir);
		return;
	}
	if (dir == DMA_FROM_DEVICE || is_stray(shadow, &place))
		return;
	copy_to_slot(shadow, &place, min_t(size_t, size, place.record->size - place.offset), dir);
	shadow_add(shadow, SHADOW_SYNCS_FOR_DEVICE, 1);
}

static void unmap_sg(struct device *dev, struct scatterlist *list, int count, enum dma_data_direction dir,
		     unsigned long attrs)
{
	struct scatterlist *each;
	int i;

	for_each_sg(list, each, count, i)
		unmap(dev, sg_dma_address(each), sg_dma_len(each), dir, attrs);
}

static int map_sg(struct device *dev, struct scatterlist *list, int count, enum dma_data_direction dir,
		  unsigned long attrs)
{
	struct scatterlist *each;
	int i;

	for_each_sg(list, each, count, i) {
		dma_addr_t address;

		if (is_pci_p2pdma_page(sg_page(each))) { /* other devices' memory, which is not to be copied */
			unmap_sg(dev, list, i, dir, attrs | DMA_ATTR_SKIP_CPU_SYNC);
			return -EREMOTEIO;
		}
		address = map(dev, sg_phys(each), each->length, dir, attrs);
		if (address == DMA_MAPPING_ERROR) {
			unmap_sg(dev, list, i, dir, attrs | DMA_ATTR_SKIP_CPU_SYNC);
			return -ENOMEM;
		}
		sg_dma_address(each) = address;
		sg_dma_len(each) = each->length;
	}
	return count;
}

static void sync_sg_for_cpu(struct device *dev, struct scatterlist *list, int count, enum dma_data_direction dir)
{
	struct scatterlist *each;
	int i;

	for_each_sg(list, each, count, i)
		sync_single_for_cpu(dev, sg_dma_address(each), each->length, dir);
}

static void sync_sg_for_device(struct device *dev, struct scatterlist *list, int count, enum dma_data_direction dir)
{
	struct scatterlist *each;
	int i;

	for_each_sg(list, each, count, i)
		sync_single_for_device(dev, sg_dma_address(each), each->length, dir);
}

/* What follows is the kernel's, for the device as it was. */

static dma_addr_t map_resource(struct device *dev, phys_addr_t phys, size_t size, enum dma_data_direction dir,
			       unsigned long attrs)
{
	dma_addr_t address = dma_map_resource(twin_of(dev), phys, size, dir, attrs);

	if (address != DMA_MAPPING_ERROR)
		shadow_add(shadow_of(dev), SHADOW_KERNEL_MAPS, 1);
	return address;
}

static void unmap_resource(struct device *dev, dma_addr_t address, size_t size, enum dma_data_direction dir,
			   unsigned long attrs)
{
	struct shadow_device *shadow = shadow_of(dev);

	dma_unmap_resource(twin_of(dev), address, size, dir, attrs);
	shadow_add(shadow, SHADOW_KERNEL_UNMAPS, 1);
}

#if defined(SHADOW_OPS_HAVE_MAP_PHYS)
static dma_addr_t map_phys(struct device *dev, phys_addr_t phys, size_t size, enum dma_data_direction dir,
			   unsigned long attrs)
{
	return attrs & DMA_ATTR_MMIO ? map_resource(dev, phys, size, dir, attrs) : map(dev, phys, size, dir, attrs);
}

static void unmap_phys(struct device *dev, dma_addr_t address, size_t size, enum dma_data_direction dir,
		       unsigned long attrs)
{
	if (attrs & DMA_ATTR_MMIO)
		unmap_resource(dev, address, size, dir, attrs);
	else
		unmap(dev, address, size, dir, attrs);
}
#else
static dma_addr_t map_page(struct device *dev, struct page *page, unsigned long offset, size_t size,
			   enum dma_data_direction dir, unsigned long attrs)
{
	return map(dev, page_to_phys(page) + offset, size, dir, attrs);
}
#endif

static void *alloc_coherent(struct device *dev, size_t size, dma_addr_t *address, gfp_t flags, unsigned long attrs)
{
	void *memory = dma_alloc_attrs(twin_of(dev), size, address, flags, attrs);

	if (memory)
		shadow_add(shadow_of(dev), SHADOW_KERNEL_MAPS, 1);
	return memory;
}

static void free_coherent(struct device *dev, size_t size, void *memory, dma_addr_t address, unsigned long attrs)
{
	struct shadow_device *shadow = shadow_of(dev);

	dma_free_attrs(twin_of(dev), size, memory, address, attrs);
	shadow_add(shadow, SHADOW_KERNEL_UNMAPS, 1);
}

static struct page *alloc_pages_of(struct device *dev, size_t size, dma_addr_t *address, enum dma_data_direction dir,
				   gfp_t flags)
{
	struct page *page = dma_alloc_pages(twin_of(dev), size, address, dir, flags);

	if (page)
		shadow_add(shadow_of(dev), SHADOW_KERNEL_MAPS, 1);
	return page;
}

static void free_pages_of(struct device *dev, size_t size, struct page *page, dma_addr_t address,
			  enum dma_data_direction dir)
{
	struct shadow_device *shadow = shadow_of(dev);

	dma_free_pages(twin_of(dev), size, page, address, dir);
	shadow_add(shadow, SHADOW_KERNEL_UNMAPS, 1);
}

static int mmap(struct device *dev, struct vm_area_struct *area, void *memory, dma_addr_t address, size_t size,
		unsigned long attrs)
{
	return dma_mmap_attrs(twin_of(dev), area, memory, address, size, attrs);
}

static int get_sgtable(struct device *dev, struct sg_table *table, void *memory, dma_addr_t address, size_t size,
		       unsigned long attrs)
{
	return dma_get_sgtable_attrs(twin_of(dev), table, memory, address, size, attrs);
}

static u64 get_required_mask(struct device *dev)
{
	return dma_get_required_mask(twin_of(dev));
}

static size_t max_mapping_size(struct device *dev)
{
	return dma_max_mapping_size(twin_of(dev));
}

static size_t opt_mapping_size(void)
{
	return SHADOW_LARGEST_SIZE;
}

/* A list with #if in it is beyond the formatter. */
/* clang-format off */
void shadow_fill_ops(struct dma_map_ops *ops)
{
	*ops = (struct dma_map_ops){
		.alloc = alloc_coherent,
		.free = free_coherent,
#if defined(SHADOW_OPS_HAVE_ALLOC_PAGES_OP)
		.alloc_pages_op = alloc_pages_of,
#else
		.alloc_pages = alloc_pages_of,
#endif
		.free_pages = free_pages_of,
		.mmap = mmap,
		.get_sgtable = get_sgtable,
#if defined(SHADOW_OPS_HAVE_MAP_PHYS)
		.map_phys = map_phys,
		.unmap_phys = unmap_phys,
#else
		.map_page = map_page,
		.unmap_page = unmap,
		.map_resource = map_resource,
		.unmap_resource = unmap_resource,
#endif
		.map_sg = map_sg,
		.unmap_sg = unmap_sg,
		.sync_single_for_cpu = sync_single_for_cpu,
		.sync_single_for_device = sync_single_for_device,
		.sync_sg_for_cpu = sync_sg_for_cpu,
		.sync_sg_for_device = sync_sg_for_device,
		.get_required_mask = get_required_mask,
		.max_mapping_size = max_mapping_size,
		.opt_mapping_size = opt_mapping_size,
	};
}
/* clang-format on */
