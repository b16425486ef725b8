/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI device in userspace, in C: the interface of libvfio-user, served by vMux.
 *
 * Functions that return int return 0, or -1 with errno set, unless they say otherwise. A context belongs to one thread
 * at a time. Any thread may call, at any time while the context lives: vfu_irq_trigger(), vfu_addr_to_sgl(),
 * vfu_sgl_get(), vfu_sgl_put(), vfu_sgl_mark_dirty(), vfu_sg_is_mappable(), and, where the memory is mapped or the
 * client has twin sockets, vfu_sgl_read() and vfu_sgl_write().
 */
#ifndef LIB_VFIO_USER_H
#define LIB_VFIO_USER_H

#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

#include "pci_caps/dsn.h"
#include "pci_caps/msi.h"
#include "pci_caps/msix.h"
#include "pci_caps/pm.h"
#include "pci_caps/px.h"
#include "pci_defs.h"
#include "vfio-user.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LIB_VFIO_USER_MAJOR 0
#define LIB_VFIO_USER_MINOR 2

/* --- A context: one device at one socket --- */

typedef struct vfu_ctx vfu_ctx_t;

/* vfu_attach_ctx() and vfu_run_ctx() do not wait for the client. */
#define LIBVFIO_USER_FLAG_ATTACH_NB (1 << 0)

typedef enum {
  VFU_TRANS_SOCK, /* a UNIX socket */
  VFU_TRANS_PIPE, /* standard input and output: for tests; no descriptors can be passed */
  VFU_TRANS_MAX
} vfu_trans_t;

typedef enum { VFU_DEV_TYPE_PCI } vfu_dev_type_t;

/* Listens at `path` at once. The device has one ERR and one REQ interrupt until told otherwise. NULL: errno says why.
 * EINVAL: flags; ENOTSUP: transport or kind of device; what bind() says, EADDRINUSE where the path exists. */
vfu_ctx_t* vfu_create_ctx(vfu_trans_t trans, const char* path, int flags, void* pvt, vfu_dev_type_t dev_type);

/* The description is complete. Before the first vfu_attach_ctx(); a second call does nothing. */
int vfu_realize_ctx(vfu_ctx_t* vfu_ctx);

/* Takes the next client and agrees on the version with it. EAGAIN: none is there, or it has not said its version yet,
 * and the context does not wait. EINVAL: a client is attached, or this one's version was refused. */
int vfu_attach_ctx(vfu_ctx_t* vfu_ctx);

/* For poll() and the like. Ask again after vfu_attach_ctx() succeeded, or vfu_run_ctx() failed with ENOTCONN. */
int vfu_get_poll_fd(vfu_ctx_t* vfu_ctx);

/* Serves what the client has sent; without LIBVFIO_USER_FLAG_ATTACH_NB waits for it, and returns on errors only.
 * Returns how many requests were served. ENOTCONN: the client is gone, attach the next one. EBUSY: the device was asked
 * to quiesce, and has not told yet that it has. */
int vfu_run_ctx(vfu_ctx_t* vfu_ctx);

/* Ends the client, and frees everything. The device must be quiet: it is not asked to quiesce. */
void vfu_destroy_ctx(vfu_ctx_t* vfu_ctx);

/* `pvt` of vfu_create_ctx(). */
void* vfu_get_private(vfu_ctx_t* vfu_ctx);

/* --- Log --- */

/* `level` as in syslog(3); the message has no newline. */
typedef void(vfu_log_fn_t)(vfu_ctx_t* vfu_ctx, int level, const char* msg);

void vfu_log(vfu_ctx_t* vfu_ctx, int level, const char* fmt, ...) __attribute__((format(printf, 3, 4)));

/* Messages of `level` and graver ones go to `log`. Without a call there is no log. */
int vfu_setup_log(vfu_ctx_t* vfu_ctx, vfu_log_fn_t* log, int level);

/* --- Regions --- */

/* An access of `count` bytes at `offset`. Returns how many bytes were read or written: all of them, or -1 with errno,
 * which the client is told. */
typedef ssize_t(vfu_region_access_cb_t)(vfu_ctx_t* vfu_ctx, char* buf, size_t count, loff_t offset, bool is_write);

#define VFU_REGION_FLAG_READ (1 << 0)
#define VFU_REGION_FLAG_WRITE (1 << 1)
#define VFU_REGION_FLAG_RW (VFU_REGION_FLAG_READ | VFU_REGION_FLAG_WRITE)
#define VFU_REGION_FLAG_MEM (1 << 2)       /* memory; else I/O */
#define VFU_REGION_FLAG_ALWAYS_CB (1 << 3) /* configuration space: the callback serves all of it */
#define VFU_REGION_FLAG_64_BITS (1 << 4)
#define VFU_REGION_FLAG_PREFETCH (1 << 5)
#define VFU_REGION_FLAG_MASK                                                                        \
  (VFU_REGION_FLAG_RW | VFU_REGION_FLAG_MEM | VFU_REGION_FLAG_ALWAYS_CB | VFU_REGION_FLAG_64_BITS | \
   VFU_REGION_FLAG_PREFETCH)

enum {
  VFU_PCI_DEV_BAR0_REGION_IDX,
  VFU_PCI_DEV_BAR1_REGION_IDX,
  VFU_PCI_DEV_BAR2_REGION_IDX,
  VFU_PCI_DEV_BAR3_REGION_IDX,
  VFU_PCI_DEV_BAR4_REGION_IDX,
  VFU_PCI_DEV_BAR5_REGION_IDX,
  VFU_PCI_DEV_ROM_REGION_IDX,
  VFU_PCI_DEV_CFG_REGION_IDX,
  VFU_PCI_DEV_VGA_REGION_IDX,
  VFU_PCI_DEV_NUM_REGIONS,
};

enum { VFU_GENERIC_DEV_MIGR_REGION_IDX, VFU_GENERIC_DEV_NUM_REGIONS };

/* Describes region `region_idx`. `mmap_areas` (offset and length each) are what a client may map of `fd`, where region
 * offset 0 lies at `offset`; with an fd and no areas it is all of the region. The fd stays the caller's, and must live
 * as long as the context. What a client maps, it reads and writes without a callback.
 *
 * Configuration space has the size that its type of PCI has. The library serves its header and its capabilities;
 * `region_access` serves the rest, without it the rest reads as it lies in memory and cannot be written.
 *
 * BARs are powers of two, of 16 bytes and more (I/O: 4); a BAR of 64 bits is an even one and takes the next one too.
 * A size of 0 removes the region. */
int vfu_setup_region(vfu_ctx_t* vfu_ctx, int region_idx, size_t size, vfu_region_access_cb_t* region_access, int flags,
                     struct iovec* mmap_areas, uint32_t nr_mmap_areas, int fd, uint64_t offset);

/* An eventfd that stands for writes of `size` bytes at `gpa_offset` of a region: a client may hand it to KVM. `flags`
 * and `datamatch` as in struct kvm_ioeventfd. With a `shadow_fd`, what is written is also stored in that file at
 * `shadow_offset` (where the kernel can); else it is -1. Descriptors stay the caller's. */
int vfu_create_ioeventfd(vfu_ctx_t* vfu_ctx, uint32_t region_idx, int fd, size_t gpa_offset, uint32_t size,
                         uint32_t flags, uint64_t datamatch, int shadow_fd, size_t shadow_offset);

/* --- Reset and quiescence --- */

typedef enum vfu_reset_type {
  VFU_RESET_DEVICE,    /* by the client, as at a machine reset */
  VFU_RESET_LOST_CONN, /* the client is gone: its memory and interrupts go with it */
  VFU_RESET_PCI_FLR    /* function level reset, by the guest */
} vfu_reset_type_t;

typedef int(vfu_reset_cb_t)(vfu_ctx_t* vfu_ctx, vfu_reset_type_t type);

int vfu_setup_device_reset_cb(vfu_ctx_t* vfu_ctx, vfu_reset_cb_t* reset);

/* Called before memory comes or goes, a reset, and a change of the migration state. 0: the device has stopped, until
 * vfu_run_ctx() returns. -1 with errno EBUSY: it will tell by vfu_device_quiesced(), also from inside this callback,
 * and runs on until then. Another errno: the request fails with it. While it has stopped, a device uses guest memory
 * from callbacks only. */
typedef int(vfu_device_quiesce_cb_t)(vfu_ctx_t* vfu_ctx);

void vfu_setup_device_quiesce_cb(vfu_ctx_t* vfu_ctx, vfu_device_quiesce_cb_t* quiesce_cb);

/* The device has stopped, or, with an errno, could not: then the request fails and the device is reset. What waited for
 * it is done before this returns, and the device may run again afterwards. EINVAL: nobody waits. */
int vfu_device_quiesced(vfu_ctx_t* vfu_ctx, int quiesce_errno);

/* --- Guest memory --- */

/* An address as the device sees it: not a pointer of this process. */
typedef void* vfu_dma_addr_t;

/* A piece of guest memory. Its size is dma_sg_size(): arrays of it are allocated by the caller. */
struct dma_sg;
typedef struct dma_sg dma_sg_t;

size_t dma_sg_size(void);

/* A range that the client gave. What follows `iova` is of a mapped one: where it lies, the whole mapping (in pages of
 * `page_size`), and its protection as in mmap(2). */
typedef struct vfu_dma_info {
  struct iovec iova;
  void* vaddr;
  struct iovec mapping;
  size_t page_size;
  uint32_t prot;
} vfu_dma_info_t;

typedef void(vfu_dma_register_cb_t)(vfu_ctx_t* vfu_ctx, vfu_dma_info_t* info);
/* When it returns, nothing of the range may be in use any more. */
typedef void(vfu_dma_unregister_cb_t)(vfu_ctx_t* vfu_ctx, vfu_dma_info_t* info);

#define LIBVFIO_USER_MAX_DMA_REGIONS (1000 * 1000)

/* The device uses guest memory: at most `max_regions` ranges. Both callbacks are optional, but vfu_sgl_get() needs
 * `dma_unregister`. */
int vfu_setup_device_dma(vfu_ctx_t* vfu_ctx, size_t max_regions, vfu_dma_register_cb_t* dma_register,
                         vfu_dma_unregister_cb_t* dma_unregister);

/* Finds the pieces that [dma_addr, dma_addr + len) lies in. `prot` as in mmap(2): what will be done. Returns how many
 * there are; -1: ENOENT, some of it is not known; EACCES, it may not be written; -(n + 1) with errno 0: n are needed,
 * more than `max_nr_sgs`. */
int vfu_addr_to_sgl(vfu_ctx_t* vfu_ctx, vfu_dma_addr_t dma_addr, size_t len, dma_sg_t* sgl, size_t max_nr_sgs,
                    int prot);

/* True where the client gave a descriptor that is mapped. */
bool vfu_sg_is_mappable(vfu_ctx_t* vfu_ctx, dma_sg_t* sg);

/* Pointers to pieces, valid until vfu_sgl_put(), and no longer than until dma_unregister() of their range returns.
 * EFAULT: not mapped; EINVAL: flags other than 0, no dma_unregister(), or a piece of a range that is gone. */
int vfu_sgl_get(vfu_ctx_t* vfu_ctx, dma_sg_t* sgl, struct iovec* iov, size_t cnt, int flags);

/* Pieces that were written, for the log of a migration: when they are not put for a while. */
void vfu_sgl_mark_dirty(vfu_ctx_t* vfu_ctx, dma_sg_t* sgl, size_t cnt);

/* Ends vfu_sgl_get(), and marks what was asked for writing as written. */
void vfu_sgl_put(vfu_ctx_t* vfu_ctx, dma_sg_t* sgl, struct iovec* iov, size_t cnt);

/* Use the client's descriptor where there is one; without this flag it is asked by message. */
#define VFU_SGL_DIRECT_ACCESS (1)

/* Copy from and to guest memory, and return when that is done. `sg_cnt` must be 1 (else ENOTSUP). EPERM: a write to
 * what was not asked for writing; ENOTCONN: the client is gone; or what the client answered. */
int vfu_sgl_read(vfu_ctx_t* vfu_ctx, dma_sg_t* sg, size_t sg_cnt, void* data, int flags);
int vfu_sgl_write(vfu_ctx_t* vfu_ctx, dma_sg_t* sg, size_t sg_cnt, void* data, int flags);

/* --- Interrupts --- */

enum vfu_dev_irq_type {
  VFU_DEV_INTX_IRQ,
  VFU_DEV_MSI_IRQ,
  VFU_DEV_MSIX_IRQ,
  VFU_DEV_ERR_IRQ,
  VFU_DEV_REQ_IRQ,
  VFU_DEV_NUM_IRQS
};

/* How many vectors of a kind there are. Before vfu_realize_ctx(). */
int vfu_setup_device_nr_irqs(vfu_ctx_t* vfu_ctx, enum vfu_dev_irq_type type, uint32_t count);

/* The client masks or unmasks vectors. */
typedef void(vfu_dev_irq_state_cb_t)(vfu_ctx_t* vfu_ctx, uint32_t start, uint32_t count, bool mask);

int vfu_setup_irq_state_callback(vfu_ctx_t* vfu_ctx, enum vfu_dev_irq_type type, vfu_dev_irq_state_cb_t* cb);

/* Signals a vector of the kind that is in use: MSI-X, MSI or INTx. ENOENT: nobody listens; EINVAL: no such vector. */
int vfu_irq_trigger(vfu_ctx_t* vfu_ctx, uint32_t subindex);

/* --- Migration --- */

typedef enum {
  VFU_MIGR_STATE_STOP,
  VFU_MIGR_STATE_RUNNING,
  VFU_MIGR_STATE_STOP_AND_COPY,
  VFU_MIGR_STATE_PRE_COPY,
  VFU_MIGR_STATE_RESUME
} vfu_migr_state_t;

#define VFU_MIGR_CALLBACKS_VERS 2

typedef struct {
  int version; /* VFU_MIGR_CALLBACKS_VERS */
  /* The device enters a state; -1 with errno: it does not. */
  int (*transition)(vfu_ctx_t* vfu_ctx, vfu_migr_state_t state);
  /* The next bytes of the saved state, at most `count`; 0: there are no more. */
  ssize_t (*read_data)(vfu_ctx_t* vfu_ctx, void* buf, uint64_t count);
  /* Takes the next bytes of a saved state: all of them, or it is an error. */
  ssize_t (*write_data)(vfu_ctx_t* vfu_ctx, void* buf, uint64_t count);
} vfu_migration_callbacks_t;

int vfu_setup_device_migration_callbacks(vfu_ctx_t* vfu_ctx, const vfu_migration_callbacks_t* callbacks);

/* --- Configuration space --- */

typedef enum {
  VFU_PCI_TYPE_CONVENTIONAL,
  VFU_PCI_TYPE_PCI_X_1,
  VFU_PCI_TYPE_PCI_X_2,
  VFU_PCI_TYPE_EXPRESS
} vfu_pci_type_t;

/* 256 bytes of configuration space, or 4096 of PCI-X 2 and Express. Only header type 0. EEXIST: a second call. */
int vfu_pci_init(vfu_ctx_t* vfu_ctx, vfu_pci_type_t pci_type, int hdr_type, int revision);

void vfu_pci_set_id(vfu_ctx_t* vfu_ctx, uint16_t vid, uint16_t did, uint16_t ssvid, uint16_t ssid);
void vfu_pci_set_class(vfu_ctx_t* vfu_ctx, uint8_t base, uint8_t sub, uint8_t pi);

/* The bytes themselves. */
vfu_pci_config_space_t* vfu_pci_get_config_space(vfu_ctx_t* vfu_ctx);

#define VFU_CAP_FLAG_EXTENDED (1 << 0) /* an extended one, which PCI-X 2 and Express have */
#define VFU_CAP_FLAG_CALLBACK (1 << 1) /* the callback of configuration space serves it */
#define VFU_CAP_FLAG_READONLY (1 << 2) /* EPERM for each write */

/* Adds the capability that `data` (a copy is made) begins with: PM, PCI Express, MSI, MSI-X or vendor-specific ones;
 * extended: serial number, vendor-specific ones. `pos`: where, or 0 for the next place. Returns where it is, or -1:
 * EINVAL (flags, place), ENOTSUP (another capability), ENOSPC. */
ssize_t vfu_pci_add_capability(vfu_ctx_t* vfu_ctx, size_t pos, int flags, void* data);

/* Where the (next) capability with this number is; `pos`: that of the one before, or 0. 0: there is none, and errno is
 * ENOENT, or EINVAL for a place outside configuration space. */
size_t vfu_pci_find_capability(vfu_ctx_t* vfu_ctx, bool extended, int cap_id);
size_t vfu_pci_find_next_capability(vfu_ctx_t* vfu_ctx, bool extended, size_t pos, int cap_id);

#ifdef __cplusplus
}
#endif

#endif
