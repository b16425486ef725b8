// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* The module: its parameters, and the bus's word of drivers that come and go. */
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>

#include "compat.h"
#include "shadow.h"

static char *devices = "";
module_param(devices, charp, 0444);
MODULE_PARM_DESC(
	devices,
	"Which to shadow: addresses (0000:00:02.0) and vendor:device numbers (8086:1889), with commas between");

static unsigned int tx_mb, rx_mb, both_mb;
module_param(tx_mb, uint, 0444);
MODULE_PARM_DESC(tx_mb, "MiB that each device may read, at most 2048 (0, the default: as its queues let expect)");
module_param(rx_mb, uint, 0444);
MODULE_PARM_DESC(rx_mb, "MiB that each device may write, at most 2048 (0, the default: as its queues let expect)");
module_param(both_mb, uint, 0444);
MODULE_PARM_DESC(both_mb, "MiB that each device may read and write, which is what XDP receives into, at most 2048 (0, "
			  "the default: none)");

bool shadow_zero_freed;
module_param_named(zero_freed, shadow_zero_freed, bool, 0644);
MODULE_PARM_DESC(zero_freed, "Whether a slot is wiped when its buffer is unmapped, so that the device cannot read old "
			     "packets (default: no)");

#define RETRY_SECONDS 1

static DEFINE_MUTEX(mutex); /* of the list, and of attaching and detaching */
static LIST_HEAD(attached); /* each holds a reference of the module */

static bool is_named(struct pci_dev *pci)
{
	char numbers[10];
	const char *at = devices;

	snprintf(numbers, sizeof(numbers), "%04x:%04x", pci->vendor, pci->device);
	while (*at) {
		size_t length = strcspn(at, ",");

		if ((length == strlen(pci_name(pci)) && !strncasecmp(at, pci_name(pci), length)) ||
		    (length == strlen(numbers) && !strncasecmp(at, numbers, length)))
			return true;
		at += length + (at[length] == ',');
	}
	return false;
}

/* An unplugged device that is waited for still has its name in debugfs, which is the new one's now. */
static void drop_stats_of(const char *name)
{
	struct shadow_device *each;

	list_for_each_entry(each, &attached, list)
		if (!strcmp(pci_name(each->pci), name))
			shadow_stats_drop(each);
}

static struct shadow_device *find(struct pci_dev *pci)
{
	struct shadow_device *each;

	list_for_each_entry(each, &attached, list)
		if (each->pci == pci)
			return each;
	return NULL;
}

static void let_go_of_the_rest(struct work_struct *work);
static DECLARE_DELAYED_WORK(rest, let_go_of_the_rest);

/*
 * Under the device's lock, because its marks share a word with bits that the kernel writes under it. False: not yet.
 * A driver may go while the network stack still has pages that are mapped (a page_pool outlives its device): they come
 * back later, and through us. A domain that is not the one of before is somebody else's for as long as it is there.
 */
static bool let_go(struct shadow_device *shadow)
{
	if (shadow_is_unplugged(shadow)) {
		if (shadow_is_reached(shadow))
			return false;
		list_del(&shadow->list);
		shadow_detach_unplugged(shadow);
	} else {
		if (shadow_is_in_use(shadow) || !shadow_is_in_place(shadow))
			return false;
		list_del(&shadow->list);
		shadow_detach(shadow);
	}
	module_put(THIS_MODULE);
	return true;
}

/* The same without the lock. Who has it may wait for our mutex. */
static bool try_to_let_go(struct shadow_device *shadow)
{
	struct pci_dev *pci = shadow->pci;
	bool is_gone;

	if (!device_trylock(&pci->dev))
		return false;
	pci_dev_get(pci); /* the shadow's reference goes with it */
	is_gone = let_go(shadow);
	device_unlock(&pci->dev);
	pci_dev_put(pci);
	return is_gone;
}

static void let_go_of_the_rest(struct work_struct *work)
{
	struct shadow_device *each, *next;
	bool is_rest = false;

	mutex_lock(&mutex);
	list_for_each_entry_safe(each, next, &attached, list) {
		if (!each->is_bound && !try_to_let_go(each))
			is_rest = true;
	}
	if (is_rest)
		schedule_delayed_work(&rest, RETRY_SECONDS * HZ);
	mutex_unlock(&mutex);
}

/* A driver is about to probe. */
static void bind(struct pci_dev *pci)
{
	const struct shadow_sizes sizes = { { both_mb, tx_mb, rx_mb } }; /* in the order of directions */
	struct shadow_device *shadow = find(pci);

	if (shadow && shadow_is_in_place(shadow)) {
		shadow->is_bound = true;
		return;
	}
	if (shadow) {
		/* The kernel has set the device up for its new domain, but perhaps for the ops. What comes late for
		 * one of the old domain is as wrong in the new as it is without us, and the kernel's to complain of. */
		shadow_give_up(shadow);
		list_del(&shadow->list);
	}
	if (!try_module_get(THIS_MODULE)) /* on its way out */
		return;
	drop_stats_of(pci_name(pci));
	shadow = shadow_attach(pci, &sizes);
	if (!shadow) {
		module_put(THIS_MODULE);
		return;
	}
	shadow->is_bound = true;
	list_add(&shadow->list, &attached);
}

/* A driver is gone, or was none for this device. */
static void unbind(struct pci_dev *pci)
{
	struct shadow_device *shadow = find(pci);

	if (!shadow)
		return;
	shadow->is_bound = false;
	if (!let_go(shadow))
		schedule_delayed_work(&rest, RETRY_SECONDS * HZ);
}

static int notice(struct notifier_block *block, unsigned long event, void *data)
{
	struct pci_dev *pci = to_pci_dev(data);

	if (!is_named(pci))
		return NOTIFY_DONE;
	mutex_lock(&mutex);
	switch (event) {
	case BUS_NOTIFY_BIND_DRIVER:
		/* VFIO and the like bring a domain of their own and ask for no streaming DMA. */
		if (!to_pci_driver(pci->dev.driver)->driver_managed_dma)
			bind(pci);
		break;
	case BUS_NOTIFY_UNBOUND_DRIVER:
	case BUS_NOTIFY_DRIVER_NOT_BOUND:
		unbind(pci);
		break;
	}
	mutex_unlock(&mutex);
	return NOTIFY_OK;
}

static struct notifier_block notifier = { .notifier_call = notice };

/* A device that has a driver is not touched: its mappings would be neither ours nor not. */
static void tell_those_who_are_late(void)
{
	struct pci_dev *pci = NULL;

	for_each_pci_dev(pci)
		if (is_named(pci) && READ_ONCE(pci->dev.driver))
			pci_info(pci, "vmux_shadow: has a driver already; shadowed when that is bound again\n");
}

static int __init start(void)
{
	const char *refusal = SHADOW_REFUSAL;
	int error;

	if (refusal) {
		pr_err("vmux_shadow: %s\n", refusal);
		return -EOPNOTSUPP;
	}
	shadow_stats_create();
	error = bus_register_notifier(&pci_bus_type, &notifier);
	if (error)
		shadow_stats_remove();
	else
		tell_those_who_are_late();
	return error;
}

/* Nobody is attached any more: each holds a reference. */
static void __exit stop(void)
{
	bus_unregister_notifier(&pci_bus_type, &notifier);
	cancel_delayed_work_sync(&rest);
	shadow_stats_remove();
	synchronize_rcu_tasks(); /* nor is one preempted on its way out of an unmap, which is our text */
}

module_init(start);
module_exit(stop);
MODULE_DESCRIPTION("DMA through permanently mapped pools: strict IOMMU protection without maps and unmaps");
MODULE_LICENSE("Dual BSD/GPL");
MODULE_VERSION("0.1.0");
