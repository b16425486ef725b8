/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* What the driver (check.c) and the promises that it checks (promises.c) share. */
#pragma once

#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/string.h>

#define SIZE 2048
#define LARGE (128 << 10)

/* In a check: ends it, with the line for the log. */
#define NEED(condition)                  \
	do {                             \
		if (!(condition))        \
			return __LINE__; \
	} while (0)

struct checked {
	struct device *dev;
	u8 *buffer; /* LARGE */
};

extern bool both, wiped; /* what vmux_shadow was given */

/* Where the device's address leads. */
static inline u8 *seen(struct device *dev, dma_addr_t address)
{
	return phys_to_virt(iommu_iova_to_phys(iommu_get_domain_for_dev(dev), address));
}

static inline bool is_all(const u8 *data, u8 value, size_t size)
{
	return !memchr_inv(data, value, size);
}

/* For the log: `line` is where it failed, or 0. */
void say(const char *name, int line);

/* All of them, and says of each what came out. */
void check_promises(struct checked *it);
