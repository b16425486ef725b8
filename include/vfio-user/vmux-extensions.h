/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What vMux's libvfio-user.so.0 does beyond libvfio-user's interface, for programs that ask for it. A program that may
 * run with libvfio-user itself looks its functions up with dlsym(); their symbol version is VMUX_1.
 *
 * As in libvfio-user.h, int functions return 0, or -1 with errno, unless they say otherwise, and a context belongs to
 * one thread at a time; what any thread may call says so.
 */
#ifndef VMUX_EXTENSIONS_H
#define VMUX_EXTENSIONS_H

#include "libvfio-user.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- Interrupts with masks and pending bits --- */

#define VMUX_IRQ_INTX (1u << VFU_DEV_INTX_IRQ)
#define VMUX_IRQ_MSI (1u << VFU_DEV_MSI_IRQ)
#define VMUX_IRQ_MSIX (1u << VFU_DEV_MSIX_IRQ)

/* The library does for `kinds` (VMUX_IRQ_*) what hardware does: PCI Local Bus 3.0, 6.8; PCI Express Base, 6.1.4, 7.7.2.
 * Before vfu_realize_ctx(), which looks at the rest of the description and says EINVAL, with a line in the log, where
 * it does not fit. EINVAL here: unknown bits, or the context is realized.
 *
 * All kinds: what the client sends must be eventfds (else it is told EINVAL); its masks (SET_IRQS) hold triggers back,
 * and the callback of vfu_setup_irq_state_callback() is called after they are in force.
 *
 * MSI-X: the capability (added without VFU_CAP_FLAG_CALLBACK) says how many vectors there are, which
 * vfu_setup_device_nr_irqs() may repeat, and where table and pending bits lie: apart from each other, inside memory
 * BARs. The library serves both there, the region's callback all the rest; without a callback the rest reads as zero
 * and ignores writes. Accesses may have any size and alignment. Pages (of sysconf(_SC_PAGESIZE)) with a part of either
 * are taken out of what clients may map, and vfu_setup_region() of these BARs is EINVAL once the context is realized.
 * A vector that is masked, by its entry, the function mask or the client, or that has no eventfd yet, keeps a trigger
 * as its pending bit, and sends it once when it can. A VMM may keep the table to itself (QEMU does): an entry's mask
 * bit counts from the first write to that entry on.
 *
 * MSI: as many vectors as the capability has; where it has masks per vector, mask and pending bits work the same way.
 *
 * INTx: a level, see vmux_set_intx(). The interrupt disable bit of the command register and the status bit are the
 * library's. SET_IRQS with an eventfd to unmask by is ENOTTY: clients then unmask by message.
 *
 * Which kind is in use follows SET_IRQS, not the enable bits. Bus mastering is not looked at. A reset of the device
 * clears masks, pending bits, the level and the enable bits of the capabilities, before the reset callback is called;
 * eventfds stay, until the client goes. */
int vmux_emulate_irqs(vfu_ctx_t* vfu_ctx, uint32_t kinds);

/* With kinds that are emulated vfu_irq_trigger() is of MSI-X and MSI, for any thread as before: 0 for sent or pending,
 * ENOENT while the client uses neither. */

/* Any thread. The level of INTx: while it is high and not masked the client is told, once for each time it unmasks.
 * EINVAL: INTx is not emulated. */
int vmux_set_intx(vfu_ctx_t* vfu_ctx, bool is_high);

/* Any thread. 1: `vector` of `type`, VFU_DEV_MSI_IRQ or VFU_DEV_MSIX_IRQ, is pending; 0: it is not. EINVAL: it is not
 * emulated, or there is no such vector. */
int vmux_irq_is_pending(vfu_ctx_t* vfu_ctx, enum vfu_dev_irq_type type, uint32_t vector);

/* For the program's own migration stream: masks, pending bits, MSI-X's table and the level, as bytes that say of what
 * kind of device they are, at most 64 KiB. Returns how many there are; they are written to `into` if `size` is enough.
 * From the thread that serves, while the device does not trigger. EINVAL: nothing is emulated. */
ssize_t vmux_save_irqs(vfu_ctx_t* vfu_ctx, void* into, size_t size);

/* In the place of what is there now. What is pending and not masked is sent as soon as the client listens. EINVAL:
 * nothing is emulated, or the bytes are not of a device like this one; then nothing has changed. */
int vmux_load_irqs(vfu_ctx_t* vfu_ctx, const void* from, size_t size);

/* --- Words that clients write without a message --- */

/* `value`: what the word holds, in the byte order of this machine (a guest's is little endian). `writes`: how many
 * writes were counted since the last call, by the client's eventfd; 0: a change was seen in memory. The callback may
 * call everything, vmux_unwatch() of its own word included. */
typedef void(vmux_watch_cb_t)(vfu_ctx_t* vfu_ctx, void* arg, uint64_t value, uint64_t writes);

/* An eventfd of the library's is offered to clients for the word (see vfu_create_ioeventfd()), which count writes there
 * that KVM takes instead of a mapping or a message: each is counted, also one of the same value. */
#define VMUX_WATCH_IOEVENTFD (1u << 0)
/* With the former: as one that also stores the value in the region's file, for clients whose kernel can. */
#define VMUX_WATCH_SHADOW (1u << 1)

/* Looks at the word of `size` bytes (1, 2, 4, 8) at `offset` of a region that vfu_setup_region() gave a descriptor and
 * that clients may map there. The first change against what it holds now is told first. The file must be as long as
 * that already and must not become shorter: seal it (F_SEAL_SHRINK), or a client can raise SIGBUS here. EINVAL: flags,
 * size, alignment, no such region, not mappable there, a file that is too short; EEXIST: the word is watched; what
 * mmap() says. */
int vmux_watch(vfu_ctx_t* vfu_ctx, int region_idx, uint64_t offset, uint32_t size, uint32_t flags, vmux_watch_cb_t* cb,
               void* arg);

/* ENOENT: it is not watched. */
int vmux_unwatch(vfu_ctx_t* vfu_ctx, int region_idx, uint64_t offset);

/* The eventfd of a word with VMUX_WATCH_IOEVENTFD, to wait for with poll(); it stays the library's, and is another one,
 * of the same number, after vfu_run_ctx() failed with ENOTCONN: tell epoll again. -1 with ENOENT: no such word, or it
 * has none. */
int vmux_watch_fd(vfu_ctx_t* vfu_ctx, int region_idx, uint64_t offset);

/* Looks at all of them, in the order of their vmux_watch(), and calls back for each that has changed: once, however
 * often it did, so values in between are missed, and a change that is undone is. Returns how many calls that were. It
 * allocates nothing, and makes no system call but one for each eventfd that a client has asked for.
 * vfu_run_ctx() does it too: as it begins and, in a context that waits for messages, after each of them. What the
 * program itself writes there counts as a change, but for the reset callback. From inside a callback it does nothing
 * and returns 0. */
int vmux_poll_watches(vfu_ctx_t* vfu_ctx);

#ifdef __cplusplus
}
#endif

#endif
