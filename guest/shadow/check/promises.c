// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* What the DMA API promises: a function for each, which returns 0 or the line where it is not so. */
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/kthread.h>
#include <linux/pci.h>
#include <linux/random.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#if __has_include(<net/page_pool/helpers.h>)
#include <net/page_pool/helpers.h>
#else
#include <net/page_pool.h>
#endif

#include "check.h"

#define LARGEST_SLOT (64 << 10)
#define MANY 256

/* Leaves a slot behind that is full of a value that nobody else has. */
static int dirty_a_slot(struct checked *it, enum dma_data_direction dir)
{
	u8 *other = kmalloc(SIZE, GFP_KERNEL);
	dma_addr_t address = dma_map_single(it->dev, other, SIZE, dir);

	NEED(!dma_mapping_error(it->dev, address));
	memset(seen(it->dev, address), 0xee, SIZE);
	dma_unmap_single(it->dev, address, SIZE, dir);
	kfree(other);
	return 0;
}

static int to_device(struct checked *it)
{
	dma_addr_t address;

	memset(it->buffer, 1, SIZE);
	address = dma_map_single(it->dev, it->buffer, 1500, DMA_TO_DEVICE);
	NEED(!dma_mapping_error(it->dev, address));
	NEED(is_all(seen(it->dev, address), 1, 1500));
	dma_unmap_single(it->dev, address, 1500, DMA_TO_DEVICE);
	return 0;
}

static int copies_are_private(struct checked *it)
{
	dma_addr_t address;

	memset(it->buffer, 1, SIZE);
	address = dma_map_single(it->dev, it->buffer, SIZE, DMA_TO_DEVICE);
	memset(it->buffer, 2, SIZE);
	NEED(is_all(seen(it->dev, address), 1, SIZE));
	dma_sync_single_range_for_device(it->dev, address, 100, 50, DMA_TO_DEVICE);
	NEED(is_all(seen(it->dev, address), 1, 100));
	NEED(is_all(seen(it->dev, address) + 100, 2, 50));
	NEED(is_all(seen(it->dev, address) + 150, 1, SIZE - 150));
	dma_unmap_single(it->dev, address, SIZE, DMA_TO_DEVICE);
	return 0;
}

static int nothing_after_completion(struct checked *it)
{
	dma_addr_t address;
	u8 *slot;

	memset(it->buffer, 1, SIZE);
	address = dma_map_single(it->dev, it->buffer, SIZE, DMA_FROM_DEVICE);
	slot = seen(it->dev, address);
	memset(slot, 2, SIZE);
	dma_unmap_single(it->dev, address, SIZE, DMA_FROM_DEVICE);
	NEED(is_all(it->buffer, 2, SIZE));
	if (wiped)
		NEED(is_all(slot, 0, SIZE));
	memset(slot, 3, SIZE);
	NEED(is_all(it->buffer, 2, SIZE));
	return 0;
}

static int short_write_leaves_the_rest(struct checked *it)
{
	dma_addr_t address;
	int line = dirty_a_slot(it, DMA_FROM_DEVICE);

	if (line)
		return line;
	memset(it->buffer, 1, SIZE);
	address = dma_map_single(it->dev, it->buffer, SIZE, DMA_FROM_DEVICE);
	memset(seen(it->dev, address), 2, 60);
	dma_unmap_single(it->dev, address, SIZE, DMA_FROM_DEVICE);
	NEED(is_all(it->buffer, 2, 60));
	NEED(is_all(it->buffer + 60, 1, SIZE - 60));
	return 0;
}

static int skipped_copies(struct checked *it)
{
	dma_addr_t address;
	int line = dirty_a_slot(it, DMA_FROM_DEVICE);

	if (line)
		return line;
	memset(it->buffer, 1, SIZE);
	address = dma_map_single_attrs(it->dev, it->buffer, SIZE, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
	NEED(is_all(seen(it->dev, address), 0, SIZE)); /* neither the slot's last user's nor this buffer's */
	memset(seen(it->dev, address), 2, 100);
	dma_sync_single_range_for_cpu(it->dev, address, 10, 190, DMA_FROM_DEVICE);
	NEED(is_all(it->buffer, 1, 10));
	NEED(is_all(it->buffer + 10, 2, 90));
	NEED(is_all(it->buffer + 100, 0, 100));
	NEED(is_all(it->buffer + 200, 1, SIZE - 200));
	memset(it->buffer, 4, SIZE);
	dma_unmap_single_attrs(it->dev, address, SIZE, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
	NEED(is_all(it->buffer, 4, SIZE));
	return 0;
}

static int syncs_are_wanted(struct checked *it)
{
	dma_addr_t address = dma_map_single(it->dev, it->buffer, SIZE, DMA_FROM_DEVICE);

	NEED(dma_need_sync(it->dev, address));
	dma_unmap_single(it->dev, address, SIZE, DMA_FROM_DEVICE);
	return 0;
}

static int too_large(struct checked *it)
{
	dma_addr_t address;

	memset(it->buffer, 1, LARGE);
	address = dma_map_single(it->dev, it->buffer, LARGE, DMA_BIDIRECTIONAL);
	NEED(!dma_mapping_error(it->dev, address));
	NEED(seen(it->dev, address) == it->buffer);
	dma_sync_single_for_cpu(it->dev, address, LARGE, DMA_BIDIRECTIONAL);
	dma_unmap_single(it->dev, address, LARGE, DMA_BIDIRECTIONAL);
	return 0;
}

/* A driver that never syncs gets its own memory where it can say so; where it cannot, its device is not to be named. */
static int never_synced(struct checked *it)
{
#if defined(DMA_ATTR_REQUIRE_COHERENT)
	dma_addr_t address =
		dma_map_single_attrs(it->dev, it->buffer, SIZE, DMA_FROM_DEVICE, DMA_ATTR_REQUIRE_COHERENT);

	NEED(!dma_mapping_error(it->dev, address));
	NEED(seen(it->dev, address) == it->buffer);
	dma_unmap_single_attrs(it->dev, address, SIZE, DMA_FROM_DEVICE, DMA_ATTR_REQUIRE_COHERENT);
#endif
	return 0;
}

static int narrow_mask(struct checked *it)
{
	dma_addr_t address;

	NEED(!dma_set_mask(it->dev, DMA_BIT_MASK(24)));
	address = dma_map_single(it->dev, it->buffer, SIZE, DMA_TO_DEVICE);
	NEED(!dma_set_mask(it->dev, DMA_BIT_MASK(64)));
	NEED(!dma_mapping_error(it->dev, address));
	dma_unmap_single(it->dev, address, SIZE, DMA_TO_DEVICE);
	NEED(address + SIZE - 1 <= DMA_BIT_MASK(24));
	return 0;
}

static int both_ways(struct checked *it)
{
	dma_addr_t address;
	u8 *there;

	memset(it->buffer, 1, SIZE);
	address = dma_map_single(it->dev, it->buffer, SIZE, DMA_BIDIRECTIONAL);
	NEED(!dma_mapping_error(it->dev, address));
	there = seen(it->dev, address);
	NEED(both == (there != it->buffer));
	NEED(is_all(there, 1, SIZE));
	memset(there, 2, 100);
	dma_sync_single_for_cpu(it->dev, address, SIZE, DMA_BIDIRECTIONAL);
	NEED(is_all(it->buffer, 2, 100) && is_all(it->buffer + 100, 1, SIZE - 100));
	memset(it->buffer, 3, 50);
	dma_sync_single_for_device(it->dev, address, SIZE, DMA_BIDIRECTIONAL);
	NEED(is_all(there, 3, 50) && is_all(there + 50, 2, 50));
	dma_unmap_single(it->dev, address, SIZE, DMA_BIDIRECTIONAL);
	NEED(is_all(it->buffer, 3, 50) && is_all(it->buffer + 50, 2, 50));
	return 0;
}

static int scattered(struct checked *it)
{
	struct scatterlist list[3], *each;
	int count, i;

	memset(it->buffer, 1, LARGE);
	sg_init_table(list, 3);
	sg_set_buf(&list[0], it->buffer, 100);
	sg_set_buf(&list[1], it->buffer + 4096, 9000);
	sg_set_buf(&list[2], it->buffer + 32768, 80 << 10); /* larger than a slot */
	count = dma_map_sg(it->dev, list, 3, DMA_FROM_DEVICE);
	NEED(count == 3);
	for_each_sg(list, each, count, i)
		memset(seen(it->dev, sg_dma_address(each)), 2 + i, sg_dma_len(each));
	dma_sync_sg_for_cpu(it->dev, list, 3, DMA_FROM_DEVICE);
	NEED(is_all(it->buffer, 2, 100) && is_all(it->buffer + 100, 1, 3996));
	dma_unmap_sg(it->dev, list, 3, DMA_FROM_DEVICE);
	NEED(is_all(it->buffer, 2, 100) && is_all(it->buffer + 4096, 3, 9000) &&
	     is_all(it->buffer + 32768, 4, 80 << 10));
	NEED(is_all(it->buffer + 13096, 1, 32768 - 13096));
	return 0;
}

/* More than any pool of these tests has: the last of them are mapped as without us. All must be right. */
static int exhausted(struct checked *it)
{
	static dma_addr_t addresses[MANY];
	int i, ours = 0;

	memset(it->buffer, 1, LARGE);
	for (i = 0; i < MANY; i++) {
		addresses[i] = dma_map_single(it->dev, it->buffer, LARGEST_SLOT, DMA_TO_DEVICE);
		NEED(!dma_mapping_error(it->dev, addresses[i]));
		ours += seen(it->dev, addresses[i]) != it->buffer;
	}
	NEED(ours > 10 && ours < MANY);
	for (i = 0; i < MANY; i++) {
		NEED(is_all(seen(it->dev, addresses[i]), 1, LARGEST_SLOT));
		dma_unmap_single(it->dev, addresses[i], LARGEST_SLOT, DMA_TO_DEVICE);
	}
	return copies_are_private(it);
}

static int coherent(struct checked *it)
{
	dma_addr_t address;
	u8 *memory = dma_alloc_coherent(it->dev, 3 * PAGE_SIZE, &address, GFP_KERNEL);
	int i;

	NEED(memory);
	for (i = 0; i < 3; i++) {
		memset(memory + i * PAGE_SIZE, 5 + i, PAGE_SIZE);
		NEED(is_all(seen(it->dev, address + i * PAGE_SIZE), 5 + i, PAGE_SIZE));
	}
	dma_free_coherent(it->dev, 3 * PAGE_SIZE, memory, address);
	return 0;
}

/* As a driver receives with XDP, or without: pages stay mapped, and syncs are all there is. */
static int recycled_pages(struct checked *it, enum dma_data_direction dir)
{
	const struct page_pool_params params = {
		.flags = PP_FLAG_DMA_MAP | PP_FLAG_DMA_SYNC_DEV,
		.pool_size = 64,
		.nid = NUMA_NO_NODE,
		.dev = it->dev,
		.dma_dir = dir,
		.max_len = PAGE_SIZE,
	};
	struct page_pool *pool = page_pool_create(&params);
	int i;

	NEED(!IS_ERR(pool));
	for (i = 0; i < 200; i++) {
		struct page *page = page_pool_alloc_pages(pool, GFP_KERNEL);
		dma_addr_t address;

		NEED(page);
		address = page_pool_get_dma_addr(page);
		memset(page_address(page), 0xdd, PAGE_SIZE);
		memset(seen(it->dev, address), i, 1500);
		dma_sync_single_range_for_cpu(it->dev, address, 0, 1500, dir);
		NEED(is_all(page_address(page), i, 1500));
		NEED(is_all(page_address(page) + 1500, 0xdd, PAGE_SIZE - 1500) || dir == DMA_BIDIRECTIONAL);
		if (dir == DMA_BIDIRECTIONAL) { /* XDP_TX: what the program has changed, from where it was received */
			memset(page_address(page), i + 1, 64);
			dma_sync_single_range_for_device(it->dev, address, 0, 1500, dir);
			NEED(is_all(seen(it->dev, address), i + 1, 64) && is_all(seen(it->dev, address) + 64, i, 1436));
		}
		page_pool_put_full_page(pool, page, false);
	}
	page_pool_destroy(pool);
	return 0;
}

static int received_pages(struct checked *it)
{
	return recycled_pages(it, DMA_FROM_DEVICE);
}

static int xdp_pages(struct checked *it)
{
	return recycled_pages(it, DMA_BIDIRECTIONAL);
}

struct worker {
	struct checked *it;
	struct completion done;
	u8 tag;
	int line;
};

#define HELD 48

static int work(struct worker *worker)
{
	static const u16 sizes[] = { 60, 1514, 2048, 2049, 4096, 9000, 16384, 33000 };
	struct device *dev = worker->it->dev;
	dma_addr_t held[HELD] = {};
	u16 size_of[HELD];
	u8 *data = kmalloc(LARGEST_SLOT, GFP_KERNEL);
	int i, at;

	NEED(data);
	for (i = 0; i < 5000; i++) {
		at = get_random_u32() % HELD;
		if (held[at]) {
			NEED(is_all(seen(dev, held[at]), worker->tag + at, size_of[at]));
			dma_unmap_single(dev, held[at], size_of[at], DMA_TO_DEVICE);
			held[at] = 0;
			continue;
		}
		size_of[at] = sizes[get_random_u32() % ARRAY_SIZE(sizes)];
		memset(data, worker->tag + at, size_of[at]);
		held[at] = dma_map_single(dev, data, size_of[at], DMA_TO_DEVICE);
		NEED(!dma_mapping_error(dev, held[at]));
		cond_resched();
	}
	for (at = 0; at < HELD; at++)
		if (held[at])
			dma_unmap_single(dev, held[at], size_of[at], DMA_TO_DEVICE);
	kfree(data);
	return 0;
}

static int start_work(void *data)
{
	struct worker *worker = data;

	worker->line = work(worker);
	complete(&worker->done);
	return 0;
}

/* Two threads on each processor: the slots that one has are never another's. */
static int many_processors(struct checked *it)
{
	struct worker workers[8] = {};
	unsigned int cpu, count = 0, i;
	int line = 0;

	for_each_online_cpu(cpu) {
		for (i = 0; i < 2 && count < ARRAY_SIZE(workers); i++, count++) {
			struct worker *worker = &workers[count];
			struct task_struct *task;

			worker->it = it;
			worker->tag = count * HELD;
			init_completion(&worker->done);
			task = kthread_create(start_work, worker, "shadow_check/%u", count);
			if (IS_ERR(task)) { /* the others have this frame's memory until they are done */
				line = __LINE__;
				break;
			}
			kthread_bind(task, cpu);
			wake_up_process(task);
		}
	}
	for (i = 0; i < count; i++) {
		wait_for_completion(&workers[i].done);
		line = line ?: workers[i].line;
	}
	return line;
}

static const struct {
	const char *name;
	int (*run)(struct checked *it);
} checks[] = {
	{ "to_device", to_device },
	{ "copies_are_private", copies_are_private },
	{ "nothing_after_completion", nothing_after_completion },
	{ "short_write_leaves_the_rest", short_write_leaves_the_rest },
	{ "skipped_copies", skipped_copies },
	{ "syncs_are_wanted", syncs_are_wanted },
	{ "too_large", too_large },
	{ "never_synced", never_synced },
	{ "narrow_mask", narrow_mask },
	{ "both_ways", both_ways },
	{ "scattered", scattered },
	{ "exhausted", exhausted },
	{ "coherent", coherent },
	{ "received_pages", received_pages },
	{ "xdp_pages", xdp_pages },
	{ "many_processors", many_processors },
};

void check_promises(struct checked *it)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(checks); i++)
		say(checks[i].name, checks[i].run(it));
}
