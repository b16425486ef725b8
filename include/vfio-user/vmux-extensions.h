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

/* --- Guest memory by message, without waiting --- */

/* vfu_sgl_read() and vfu_sgl_write() wait for the client's answer where it gave memory without a descriptor. The
 * functions here do not: so a device may ask inside any callback, while it quiesces, and of a client that is itself
 * waiting for it. */

/* Before vfu_realize_ctx(), EINVAL later. Returns a descriptor, the library's for as long as the context is there, that
 * is to be waited for (POLLIN) beside vfu_get_poll_fd(), in a context that does not wait itself: vfu_run_ctx() then
 * goes on with what is under way. */
int vmux_setup_async_dma(vfu_ctx_t* vfu_ctx);

/* The end of a transfer, called by the thread that serves, inside vfu_run_ctx() (also when that returns -1 with EBUSY,
 * because the device is to quiesce), vfu_device_quiesced() or vfu_destroy_ctx(), once for each call that returned 0.
 * `error`: 0; what the client answered; ENOTCONN: it is gone. May call everything but vfu_destroy_ctx(). */
typedef void(vmux_dma_done_cb_t)(vfu_ctx_t* vfu_ctx, void* arg, int error);

/* Any thread. Copies `cnt` pieces of guest memory, one behind the other, to or from `data`, which is the library's
 * until the transfer has ended; the pieces are not. Returns 1: it has ended, all of it was mapped, and `done` is not
 * called; 0: it goes on. Pieces that need messages are transferred in the order in which they were asked for, behind
 * those of vfu_sgl_read() and vfu_sgl_write(); what is mapped is copied at once. A transfer whose range goes meanwhile
 * ends as the client says. With a record, none outlives its process. EINVAL: a piece is of no range, no `done`, or no
 * vmux_setup_async_dma(); EPERM: a piece is not for writing; ENOTCONN: there is no client; EFAULT, EIO: as
 * vfu_sgl_read() says of what is mapped or a file, and pieces before that one may have been copied. */
int vmux_sgl_read_async(vfu_ctx_t* vfu_ctx, dma_sg_t* sgl, size_t cnt, void* data, vmux_dma_done_cb_t* done, void* arg);
int vmux_sgl_write_async(vfu_ctx_t* vfu_ctx, dma_sg_t* sgl, size_t cnt, const void* data, vmux_dma_done_cb_t* done,
                         void* arg);

/* --- Clients that take their memory away --- */

/* Before vfu_realize_ctx(), EINVAL later. A client may make the file of its memory shorter, and whoever touches what
 * was there gets SIGBUS. With this, such an access reads zeroes and writes to nowhere, as do all others to that file;
 * vfu_sgl_read() and vfu_sgl_write() say EFAULT, and the next vfu_run_ctx() loses the client (ENOTCONN), with a line in
 * the log. The handler of SIGBUS, which the process then gets with the first range of memory, has that effect on these
 * mappings alone, and hands everything else to the one that was there before. A program that installs its own later
 * has to call it. */
int vmux_guard_memory(vfu_ctx_t* vfu_ctx);

/* --- A program that dies, and another that goes on --- */

/* With a record, a client does not see its device go when the program dies (SIGKILL, a fault, abort()): another process
 * takes the connection, the memory and the interrupts over, and serves what was sent meanwhile. What the library knows
 * is in the record. What the device itself knows is the program's, as are the files of its regions and the eventfds of
 * vfu_create_ioeventfd(); so is where all of it is kept: with a parent, in systemd (FDSTORE), or in a process that
 * shares the table of descriptors (clone() with CLONE_FILES), which needs neither callback.
 *
 * The rule: a request is served once its callbacks have returned and the library has noted that, which it does before
 * it sends the answer. A process that dies before then leaves the request to the next one, which serves it from its
 * beginning; one that dies later does not, and what is left of the answer is sent. So the client gets every answer
 * once, and a callback may run twice for one request, in two processes. Where twice is not the same as once, note
 * vmux_request_id() together with what the callback changes, in one step. A death between the last callback and the
 * library's note cannot be told from one before that otherwise.
 *
 * Interrupts: one that was triggered in vain, as its process died before it came to that, is known to nobody. After
 * vmux_restore() trigger what may be due; drivers take one too many. */

/* The record: an image of the library's state, and both of its sockets. They stay the library's. */
#define VMUX_RECORD_FILES 3

/* `fd` must be kept from now on, under its own number: the library has it open and does not touch it meanwhile, but for
 * what it does with it. Called before anything rests on it. */
typedef void(vmux_keep_fd_cb_t)(vfu_ctx_t* vfu_ctx, void* arg, int fd);
/* The number need not be kept any more. It is still open, and may be given to keep() again from now on. */
typedef void(vmux_drop_fd_cb_t)(vfu_ctx_t* vfu_ctx, void* arg, int fd);
/* Returns a descriptor of this process, the library's from now on, of what the dead one had as `fd`; or -1. */
typedef int(vmux_find_fd_cb_t)(vfu_ctx_t* vfu_ctx, void* arg, int fd);

/* Before vfu_realize_ctx(): keeps a record in memory files, whose descriptors are stored in `files`; they are to be
 * kept too, and must be given to nobody who is not trusted with the program's memory. `keep` and `drop` may be NULL.
 * They are called by the thread that serves, also inside vfu_realize_ctx(), and must not call the library. With a
 * record a thread is not cancelled in here. EINVAL: the context is realized or has a record; ENOTSUP: it has pipes; or
 * there is no memory. */
int vmux_record(vfu_ctx_t* vfu_ctx, int files[VMUX_RECORD_FILES], vmux_keep_fd_cb_t* keep, vmux_drop_fd_cb_t* drop,
                void* arg);

/* As vfu_create_ctx() with a socket, but that it leaves `path` alone: vmux_restore() takes the socket that listens
 * there. NULL with EINVAL: flags, or no path. */
vfu_ctx_t* vmux_create_ctx_to_restore(const char* path, int flags, void* pvt);

/* In place of vfu_attach_ctx(), in another process, with a context that is described and realized as that of the dead
 * one was, and with its files. The listening socket is taken over unless this context has one. `find` is called before
 * this returns. Then dma_register() is called for each range of memory, in order of addresses; no other callback is.
 * Nothing is sent or received before vfu_run_ctx(), which is to be called once without waiting for input (poll() does
 * not tell of what had been read), and the files of the dead process are as they were: until then a third one can do
 * the same. To survive again call vmux_record() before; the new files count as soon as this has
 * returned, and numbers that are kept for them are not those of the dead process.
 *
 * ENOTCONN: no client had agreed on its version, or one went (go on with vfu_attach_ctx()). EINVAL: the context has a
 * client or is not realized; the files are damaged or of another version, the device is another one, or a descriptor is
 * missing, with a line in the log: destroy the context, which leaves client and path as they are. A request whose
 * descriptors are missing (they came in the moment before death) is answered with EMFILE.
 *
 * Restored: configuration space, who listens to which interrupt, what vmux_emulate_irqs() keeps, memory, the migration
 * state (without a callback), a log of written pages (as if all had been written). Each word of vmux_watch() is told
 * once. */
int vmux_restore(vfu_ctx_t* vfu_ctx, const int files[VMUX_RECORD_FILES], vmux_find_fd_cb_t* find, void* arg);

/* Inside a callback: the number of the request that it serves, above 0, growing from each to the next over all clients
 * and processes; one that is served again has the same. 0: there is no record, or no request. */
uint64_t vmux_request_id(vfu_ctx_t* vfu_ctx);

#ifdef __cplusplus
}
#endif

#endif
