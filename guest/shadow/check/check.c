// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * A driver that asks the DMA API for what it promises, on a device that does nothing. What the device would read and
 * write is found through the IOMMU's tables, so each check plays both parts, and needs neither traffic nor time.
 *
 * It is bound by driver_override when it is loaded, says "vmux_shadow_check: NAME: ok" or "...: failed at LINE" for
 * each check, and does not want the device in the end. Without vmux_shadow some checks fail: those of what it is for.
 */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "check.h"

bool both;
module_param(both, bool, 0444);
MODULE_PARM_DESC(both, "Whether vmux_shadow was given both_mb");
bool wiped;
module_param(wiped, bool, 0444);
MODULE_PARM_DESC(wiped, "Whether vmux_shadow was given zero_freed");

static bool late;
module_param(late, bool, 0444);
MODULE_PARM_DESC(late, "Checks nothing but this: a buffer is unmapped when this module goes, after its driver");
static bool large;
module_param(large, bool, 0444);
MODULE_PARM_DESC(large, "Whether that buffer is larger than a slot");

void say(const char *name, int line)
{
	if (line)
		pr_info("vmux_shadow_check: %s: failed at %d\n", name, line);
	else
		pr_info("vmux_shadow_check: %s: ok\n", name);
}

/* As a page_pool that outlives the driver of its device. */
static struct {
	struct pci_dev *pci;
	u8 *buffer;
	dma_addr_t address;
	size_t size;
} outlives;

static void leave_mapped(struct pci_dev *pci)
{
	outlives.size = large ? LARGE : SIZE;
	outlives.buffer = kzalloc(outlives.size, GFP_KERNEL);
	if (!outlives.buffer)
		return;
	outlives.pci = pci_dev_get(pci);
	outlives.address = dma_map_single(&pci->dev, outlives.buffer, outlives.size, DMA_FROM_DEVICE);
	memset(seen(&pci->dev, outlives.address), 7, outlives.size);
}

static int unmap_late(void)
{
	dma_unmap_single(&outlives.pci->dev, outlives.address, outlives.size, DMA_FROM_DEVICE);
	NEED(is_all(outlives.buffer, 7, outlives.size));
	return 0;
}

static int probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	struct checked it = { .dev = &pci->dev, .buffer = kmalloc(LARGE, GFP_KERNEL) };

	if (!it.buffer || dma_set_mask_and_coherent(&pci->dev, DMA_BIT_MASK(64)))
		goto end;
	if (late && !outlives.pci)
		leave_mapped(pci);
	if (!late)
		check_promises(&it);
end:
	kfree(it.buffer);
	return -ENODEV;
}

static const struct pci_device_id none[] = { {} };

static struct pci_driver check_driver = {
	.name = "vmux_shadow_check",
	.id_table = none,
	.probe = probe,
};

static int __init start(void)
{
	return pci_register_driver(&check_driver);
}

static void __exit stop(void)
{
	pci_unregister_driver(&check_driver);
	if (outlives.pci) {
		say("late", unmap_late());
		pci_dev_put(outlives.pci);
		kfree(outlives.buffer);
	}
}

module_init(start);
module_exit(stop);
MODULE_DESCRIPTION("Checks of vmux_shadow");
MODULE_LICENSE("Dual BSD/GPL");
