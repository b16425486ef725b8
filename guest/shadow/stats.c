// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* /sys/kernel/debug/vmux_shadow/DEVICE/stats: a name and a number a line. */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "shadow.h"

static const char *const count_names[SHADOW_COUNTS] = {
	[SHADOW_MAPS] = "maps", /* buffers that got a slot */
	[SHADOW_UNMAPS] = "unmaps", /* and gave it back */
	[SHADOW_SYNCS_FOR_CPU] = "syncs_for_cpu", /* copies from a slot that stays taken */
	[SHADOW_SYNCS_FOR_DEVICE] = "syncs_for_device", /* copies into one */
	[SHADOW_BYTES_TO_DEVICE] = "bytes_to_device", /* copied into slots that it reads */
	[SHADOW_BYTES_PRESERVED] = "bytes_preserved", /* into those that it only writes: what it leaves is as before */
	[SHADOW_BYTES_FROM_DEVICE] = "bytes_from_device", /* copied out of them */
	[SHADOW_FALLBACKS_FULL] = "fallbacks_full", /* mapped the kernel's way: no slot was free */
	[SHADOW_FALLBACKS_LARGE] = "fallbacks_large", /* larger than the largest slot */
	[SHADOW_FALLBACKS_NO_POOL] = "fallbacks_no_pool", /* both ways, and both_mb is 0 */
	[SHADOW_FALLBACKS_COHERENT] = "fallbacks_coherent", /* the driver says that it will not sync */
	[SHADOW_FALLBACKS_ADDRESS] = "fallbacks_address", /* the slot was beyond what the device can address */
	[SHADOW_FALLBACKS_ALIGNED] = "fallbacks_aligned", /* the device needs the low bits of addresses kept */
	[SHADOW_STRAYS] = "strays", /* unmaps and syncs of what was not mapped: a driver's mistake */
	[SHADOW_KERNEL_MAPS] = "kernel_maps", /* all that we had the kernel map or allocate */
	[SHADOW_KERNEL_UNMAPS] = "kernel_unmaps", /* and what of it came back */
};

static const char *const pool_names[SHADOW_POOLS] = {
	[DMA_BIDIRECTIONAL] = "both",
	[DMA_TO_DEVICE] = "tx",
	[DMA_FROM_DEVICE] = "rx",
};

static struct dentry *top;

u64 shadow_sum(const struct shadow_device *shadow, enum shadow_count which)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += per_cpu_ptr(shadow->counters, cpu)->values[which];
	return sum;
}

u64 shadow_fallbacks(const struct shadow_device *shadow)
{
	enum shadow_count each;
	u64 sum = 0;

	for (each = SHADOW_FALLBACKS_FULL; each <= SHADOW_FALLBACKS_ALIGNED; each++)
		sum += shadow_sum(shadow, each);
	return sum;
}

static int stats_show(struct seq_file *file, void *unused)
{
	struct shadow_device *shadow = file->private;
	enum shadow_count each;
	int pool;

	for (each = 0; each < SHADOW_COUNTS; each++)
		seq_printf(file, "%s %llu\n", count_names[each], shadow_sum(shadow, each));
	for (pool = 0; pool < SHADOW_POOLS; pool++) {
		seq_printf(file, "%s_bytes %lu\n", pool_names[pool], shadow->pools[pool].count * SHADOW_CHUNK_SIZE);
		/* In slots, those that processors keep for their next buffers included. */
		seq_printf(file, "%s_bytes_peak %llu\n", pool_names[pool], READ_ONCE(shadow->pools[pool].bytes_peak));
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

void shadow_stats_add(struct shadow_device *shadow)
{
	shadow->directory = debugfs_create_dir(pci_name(shadow->pci), top);
	debugfs_create_file("stats", 0400, shadow->directory, shadow, &stats_fops);
}

void shadow_stats_drop(struct shadow_device *shadow)
{
	debugfs_remove_recursive(shadow->directory);
	shadow->directory = NULL;
}

void shadow_stats_create(void)
{
	top = debugfs_create_dir("vmux_shadow", NULL);
}

void shadow_stats_remove(void)
{
	debugfs_remove_recursive(top);
}
