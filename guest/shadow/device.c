// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* Attaching to a device between its dma_configure() and its driver's probe(), and letting go of it. */
#include <linux/crash_dump.h>
#include <linux/debugfs.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "compat.h"
#include "shadow.h"

#define CHUNK_ORDER (SHADOW_CHUNK_SHIFT - PAGE_SHIFT)
#define MB_OF_CHUNK (SHADOW_CHUNK_SIZE >> 20)

/* Why this device is to be left alone, or NULL. */
static const char *reason_against(struct pci_dev *pci, struct iommu_domain *domain)
{
	if (is_kdump_kernel())
		return "a crash kernel has no memory to spare";
	if (!domain || !(domain->type & __IOMMU_DOMAIN_DMA_API))
		return "its DMA is not translated, so there is nothing to gain";
	if (pci->untrusted)
		return "the kernel bounces what an untrusted device gets already";
	if (!dev_is_dma_coherent(&pci->dev))
		return "it is not coherent";
	if (!shadow_is_original(&pci->dev))
		return "somebody else has taken its DMA over";
	return NULL;
}

static void release_twin(struct device *dev)
{
	iommu_group_put(dev->iommu_group);
	kfree(to_pci_dev(dev));
}

/* What dma-iommu reads of a device. A pci_dev and not a bare device, because it asks whether it is one. */
static struct pci_dev *make_twin(struct pci_dev *pci)
{
	struct pci_dev *twin = kzalloc(sizeof(*twin), GFP_KERNEL);

	if (!twin)
		return NULL;
	device_initialize(&twin->dev);
	twin->dev.release = release_twin;
	twin->bus = pci->bus;
	twin->devfn = pci->devfn;
	twin->vendor = pci->vendor;
	twin->device = pci->device;
	twin->dma_mask = pci->dma_mask;
	twin->dev.bus = pci->dev.bus;
	twin->dev.dma_mask = pci->dev.dma_mask; /* the pointer: it follows what the driver sets */
	twin->dev.coherent_dma_mask = pci->dev.coherent_dma_mask;
	twin->dev.bus_dma_limit = pci->dev.bus_dma_limit;
	twin->dev.dma_parms = pci->dev.dma_parms;
	twin->dev.iommu = pci->dev.iommu;
	twin->dev.iommu_group = iommu_group_get(&pci->dev); /* ours: the device may leave it */
	set_dev_node(&twin->dev, dev_to_node(&pci->dev));
	set_dma_ops(&twin->dev, pci->dev.dma_ops);
	shadow_mark_dma_iommu(&twin->dev, true);
	if (dev_set_name(&twin->dev, "%s-shadow", pci_name(pci))) {
		put_device(&twin->dev);
		return NULL;
	}
	return twin;
}

/*
 * Queues are as many as there are vectors but one, and at most as many as processors; a ring has 1,024 buffers of a
 * page. Received frames wait in sockets with their buffers still mapped where a driver recycles pages: twice as much.
 */
static unsigned int chunks_for(struct pci_dev *pci, const struct shadow_sizes *sizes, enum dma_data_direction dir)
{
	unsigned int most = (totalram_pages() >> CHUNK_ORDER) / 8;
	unsigned int queues = clamp_t(int, pci_msix_vec_count(pci) - 1, 1, num_online_cpus());
	unsigned int mb = sizes->mb[dir];

	if (!mb && dir == DMA_TO_DEVICE)
		mb = max(8U, 4 * queues);
	if (!mb && dir == DMA_FROM_DEVICE)
		mb = max(12U, 8 * queues);
	if (sizes->mb[dir])
		most = SHADOW_CHUNKS_IN_POOL;
	return min3(DIV_ROUND_UP(mb, (unsigned int)MB_OF_CHUNK), max(1U, most), (unsigned int)SHADOW_CHUNKS_IN_POOL);
}

static bool add_chunk(struct shadow_device *shadow, enum dma_data_direction dir)
{
	struct device *twin = &shadow->twin->dev;
	struct page *page =
		alloc_pages_node(dev_to_node(twin), GFP_KERNEL | __GFP_ZERO | __GFP_COMP | __GFP_NOWARN, CHUNK_ORDER);
	dma_addr_t address;

	if (!page)
		return false;
	address = dma_map_page_attrs(twin, page, 0, SHADOW_CHUNK_SIZE, dir, DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_NO_WARN);
	if (address == DMA_MAPPING_ERROR)
		goto free_page;
	if (!shadow_pool_add(&shadow->pools[dir], page_address(page), address, page))
		goto unmap_page;
	return true;

unmap_page:
	dma_unmap_page_attrs(twin, address, SHADOW_CHUNK_SIZE, dir, DMA_ATTR_SKIP_CPU_SYNC);
free_page:
	__free_pages(page, CHUNK_ORDER);
	return false;
}

/* `is_mapped`: else the domain that the pool was mapped in is gone. */
static void clear_pool(struct shadow_device *shadow, enum dma_data_direction dir, bool is_mapped)
{
	struct shadow_pool *pool = &shadow->pools[dir];
	u32 i;

	for (i = 0; i < pool->count; i++) {
		struct shadow_chunk *chunk = pool->chunks[i];

		if (is_mapped)
			dma_unmap_page_attrs(&shadow->twin->dev, chunk->address, SHADOW_CHUNK_SIZE, dir,
					     DMA_ATTR_SKIP_CPU_SYNC);
		__free_pages(chunk->owner, CHUNK_ORDER);
	}
	shadow_pool_clear(pool);
}

/* False: not even one chunk of what was asked for. Fewer than that are better than none, and the counters tell. */
static bool fill_pool(struct shadow_device *shadow, enum dma_data_direction dir, unsigned int wanted)
{
	struct shadow_pool *pool = &shadow->pools[dir];

	if (shadow_pool_init(pool, nr_cpu_ids))
		return false;
	while (pool->count < wanted && add_chunk(shadow, dir))
		;
	shadow_pool_settle(pool);
	return pool->count || !wanted;
}

static bool fill_pools(struct shadow_device *shadow, const struct shadow_sizes *sizes)
{
	u32 wanted[SHADOW_POOLS], total = 0, i;
	enum dma_data_direction dir;

	for (dir = 0; dir < SHADOW_POOLS; dir++) {
		/* Both ways is for XDP alone: only who asks for it pays for it. */
		wanted[dir] = dir == DMA_BIDIRECTIONAL && !sizes->mb[dir] ? 0 : chunks_for(shadow->pci, sizes, dir);
		if (!fill_pool(shadow, dir, wanted[dir]))
			return false;
		total += shadow->pools[dir].count;
	}
	if (shadow_index_init(&shadow->index, total))
		return false;
	for (dir = 0; dir < SHADOW_POOLS; dir++)
		for (i = 0; i < shadow->pools[dir].count; i++)
			shadow_index_add(&shadow->index, shadow->pools[dir].chunks[i]);
	return true;
}

static void watch(struct work_struct *work)
{
	struct shadow_device *shadow = container_of(to_delayed_work(work), struct shadow_device, watch);
	u64 maps = shadow_sum(shadow, SHADOW_MAPS) - shadow->maps_before;
	u64 fallbacks = shadow_fallbacks(shadow) - shadow->fallbacks_before;

	if (fallbacks * 100 <= maps + fallbacks) {
		WRITE_ONCE(shadow->is_watching, 0);
		return;
	}
	pci_warn(shadow->pci,
		 "vmux_shadow: %llu of %llu buffers in 10 s were mapped the kernel's way: more tx_mb, rx_mb or, with "
		 "XDP, both_mb may help (said once; debugfs has the counters)\n",
		 fallbacks, maps + fallbacks);
}

static void destroy(struct shadow_device *shadow, bool is_mapped)
{
	enum dma_data_direction dir;

	debugfs_remove_recursive(shadow->directory);
	cancel_delayed_work_sync(&shadow->watch);
	for (dir = 0; dir < SHADOW_POOLS; dir++)
		clear_pool(shadow, dir, is_mapped);
	shadow_index_clear(&shadow->index);
	free_percpu(shadow->counters);
	if (shadow->twin)
		put_device(&shadow->twin->dev);
	pci_dev_put(shadow->pci);
	kvfree(shadow);
}

static struct shadow_device *create(struct pci_dev *pci, const struct shadow_sizes *sizes)
{
	struct shadow_device *shadow = kvzalloc(sizeof(*shadow), GFP_KERNEL);

	if (!shadow)
		return NULL;
	shadow->pci = pci_dev_get(pci);
	shadow->original = pci->dev.dma_ops;
	INIT_DELAYED_WORK(&shadow->watch, watch);
	shadow_fill_ops(&shadow->ops);
	shadow->counters = alloc_percpu(struct shadow_counters);
	shadow->twin = make_twin(pci);
	if (shadow->counters && shadow->twin && fill_pools(shadow, sizes))
		return shadow;
	destroy(shadow, true);
	return NULL;
}

struct shadow_device *shadow_attach(struct pci_dev *pci, const struct shadow_sizes *sizes)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&pci->dev);
	const char *reason = reason_against(pci, domain);
	struct shadow_device *shadow;

	if (reason) {
		pci_info(pci, "vmux_shadow: left alone: %s\n", reason);
		return NULL;
	}
	shadow = create(pci, sizes);
	if (!shadow) {
		pci_warn(pci, "vmux_shadow: left alone: no memory for its pools\n");
		return NULL;
	}
	shadow->domain = domain;
	set_dma_ops(&pci->dev, &shadow->ops);
	shadow_mark_dma_iommu(&pci->dev, false);
	shadow_want_syncs(&pci->dev);
	shadow_stats_add(shadow);
	pci_info(pci, "vmux_shadow: %lu MiB to the device, %lu MiB from it, %lu MiB both ways\n",
		 shadow->pools[DMA_TO_DEVICE].count * MB_OF_CHUNK, shadow->pools[DMA_FROM_DEVICE].count * MB_OF_CHUNK,
		 shadow->pools[DMA_BIDIRECTIONAL].count * MB_OF_CHUNK);
	return shadow;
}

bool shadow_is_in_use(const struct shadow_device *shadow)
{
	/* More may come back than went: what a driver has had mapped before we came. The kernel knows how. */
	s64 kernels = shadow_sum(shadow, SHADOW_KERNEL_MAPS) - shadow_sum(shadow, SHADOW_KERNEL_UNMAPS);

	return kernels > 0 || shadow_sum(shadow, SHADOW_MAPS) != shadow_sum(shadow, SHADOW_UNMAPS);
}

void shadow_detach(struct shadow_device *shadow)
{
	/* Without mark and without ops the kernel would take the device for one whose DMA is not translated. */
	shadow_mark_dma_iommu(&shadow->pci->dev, true);
	synchronize_rcu();
	set_dma_ops(&shadow->pci->dev, shadow->original);
	synchronize_rcu(); /* the last unmap may have counted itself, and not have returned */
	destroy(shadow, true);
}

/* Pointers may be the same by chance, where the kernel has freed a domain and made another. */
bool shadow_is_in_place(const struct shadow_device *shadow)
{
	struct device *dev = &shadow->pci->dev;
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	enum dma_data_direction dir;

	if (domain != shadow->domain || dev->dma_ops != &shadow->ops || shadow_is_marked(dev))
		return false;
	for (dir = 0; dir < SHADOW_POOLS; dir++) {
		const struct shadow_chunk *first = shadow->pools[dir].chunks[0];

		if (first && iommu_iova_to_phys(domain, first->address) != virt_to_phys(first->memory))
			return false;
	}
	return true;
}

void shadow_give_up(struct shadow_device *shadow)
{
	struct device *dev = &shadow->pci->dev;

	pci_warn(shadow->pci, "vmux_shadow: buffers of an earlier driver have never come back; their pools are lost\n");
	shadow_stats_drop(shadow);
	if (dev->dma_ops == &shadow->ops)
		set_dma_ops(dev, shadow->original);
}

static int is_member(struct device *dev, void *unused)
{
	return 1;
}

/* Others of its group may still be in the domain, and reach the pools. */
bool shadow_is_unplugged(const struct shadow_device *shadow)
{
	return !device_is_registered(&shadow->pci->dev) &&
	       !iommu_group_for_each_dev(shadow->twin->dev.iommu_group, NULL, is_member);
}

bool shadow_is_reached(const struct shadow_device *shadow)
{
	return shadow_is_in_use(shadow) && shadow->pci->dev.dma_ops == &shadow->ops;
}

void shadow_detach_unplugged(struct shadow_device *shadow)
{
	struct device *dev = &shadow->pci->dev;

	if (dev->dma_ops == &shadow->ops)
		set_dma_ops(dev, NULL); /* who comes still has nothing to unmap */
	synchronize_rcu();
	destroy(shadow, false);
}
