/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* A device whose streaming DMA goes through pools of ours. README.md says why; this is what its files share. */
#ifndef VMUX_SHADOW_H
#define VMUX_SHADOW_H

#include <linux/dma-map-ops.h>
#include <linux/pci.h>
#include <linux/percpu.h>
#include <linux/workqueue.h>

#include "pool.h"

/* In the order of enum shadow_count, as debugfs shows them; stats.c says what each is. */
enum shadow_count {
	SHADOW_MAPS,
	SHADOW_UNMAPS,
	SHADOW_SYNCS_FOR_CPU,
	SHADOW_SYNCS_FOR_DEVICE,
	SHADOW_BYTES_TO_DEVICE,
	SHADOW_BYTES_PRESERVED,
	SHADOW_BYTES_FROM_DEVICE,
	SHADOW_FALLBACKS_FULL, /* the fallbacks stand together: shadow_fallbacks() */
	SHADOW_FALLBACKS_LARGE,
	SHADOW_FALLBACKS_NO_POOL,
	SHADOW_FALLBACKS_COHERENT,
	SHADOW_FALLBACKS_ADDRESS,
	SHADOW_FALLBACKS_ALIGNED,
	SHADOW_STRAYS,
	SHADOW_KERNEL_MAPS,
	SHADOW_KERNEL_UNMAPS,
	SHADOW_COUNTS
};

struct shadow_counters {
	u64 values[SHADOW_COUNTS];
};

#define SHADOW_POOLS 3 /* by enum dma_data_direction: both ways, to the device, from the device */

struct shadow_device {
	struct list_head list;
	struct pci_dev *pci;
	/*
	 * The device as it was, for the kernel's own functions: in its IOMMU group, with its marks, never registered.
	 * What is not shadowed is mapped and allocated for it, and so the same way into the same domain as without us.
	 */
	struct pci_dev *twin;
	const struct dma_map_ops *original; /* NULL where the kernel needs none */
	struct dma_map_ops ops;
	struct iommu_domain *domain; /* only to compare: the kernel may free it once no driver is bound */
	bool is_bound;
	struct shadow_pool pools[SHADOW_POOLS];
	struct shadow_index index;
	struct shadow_counters __percpu *counters;
	struct dentry *directory;
	/* Whether too much falls back: looked at 10 s after the first that does, said once. */
	struct delayed_work watch;
	int is_watching;
	u64 maps_before, fallbacks_before;
};

/* What the parameters ask for, in MiB; 0: as the device's queues let expect. */
struct shadow_sizes {
	unsigned int mb[SHADOW_POOLS];
};

extern bool shadow_zero_freed;

/* device.c. All under the caller's mutex. */
/* The device's pools and ops, before its driver's probe(). NULL: it is left alone, and the log says why. */
struct shadow_device *shadow_attach(struct pci_dev *pci, const struct shadow_sizes *sizes);
/* Puts back what was. Under the device's lock, and only when it is not in use. Sleeps. */
void shadow_detach(struct shadow_device *shadow);
/*
 * Whether anything is still to come back through us: slots, and what we have had the kernel map. Without a driver
 * nothing new is mapped, so once it says no it says no for good.
 */
bool shadow_is_in_use(const struct shadow_device *shadow);
/* Whether the device is still in the domain that its pools are mapped in, and asks us: a change of its group's type
 * ends that. */
bool shadow_is_in_place(const struct shadow_device *shadow);
/* For a device that is in place no more: its ops are the kernel's again. The pools are lost, because somebody may be at
 * them. */
void shadow_give_up(struct shadow_device *shadow);
/* The device is off the bus, and nobody is in its domain, if there is one. */
bool shadow_is_unplugged(const struct shadow_device *shadow);
/* Whether something is to come back, and would come to us: some kernels take the ops of an unplugged device away. */
bool shadow_is_reached(const struct shadow_device *shadow);
/* As shadow_detach(), for an unplugged device: there is nothing to unmap the pools from. */
void shadow_detach_unplugged(struct shadow_device *shadow);

/* ops.c */
void shadow_fill_ops(struct dma_map_ops *ops);

/* stats.c */
void shadow_stats_create(void);
void shadow_stats_remove(void);
void shadow_stats_add(struct shadow_device *shadow);
/* The device's directory, whose name another one may want. */
void shadow_stats_drop(struct shadow_device *shadow);
u64 shadow_sum(const struct shadow_device *shadow, enum shadow_count which);
u64 shadow_fallbacks(const struct shadow_device *shadow);

static inline void shadow_add(struct shadow_device *shadow, enum shadow_count which, u64 number)
{
	this_cpu_add(shadow->counters->values[which], number);
}

#endif
