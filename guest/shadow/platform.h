/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * What pool.c needs of the kernel. test/user.h gives the same names to a program, so that the pool is tested without a
 * kernel; nothing else of the module is meant to be compiled that way.
 */
#ifndef VMUX_SHADOW_PLATFORM_H
#define VMUX_SHADOW_PLATFORM_H

#ifdef __KERNEL__
#include <linux/cache.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/types.h>

static inline void *shadow_zalloc(size_t size)
{
	return kvzalloc(size, GFP_KERNEL);
}

static inline void shadow_free(void *memory)
{
	kvfree(memory);
}

/* Nobody else works on this processor's cache until shadow_cpu_leave(): interrupts are off. Gives its number. */
#define shadow_cpu_enter(flags)        \
	({                             \
		local_irq_save(flags); \
		smp_processor_id();    \
	})
#define shadow_cpu_leave(flags) local_irq_restore(flags)
#else
#include "test/user.h"
#endif

#endif
