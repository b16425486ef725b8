/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device in C, for tests: to Linux a GPIO card (ACCES 104-IDIO-16, BAR 2), and beside that an engine in BAR 0 that
 * copies guest memory and then interrupts. The library serves the table of MSI-X there; BAR 4 is a page that clients
 * map, with the engine's doorbell.
 *
 * Usage: capi-device SOCKET    It serves one client after another, until SIGTERM.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vfio-user/vmux-extensions.h"

/* BAR 0. A write to `go`, or another number in the first word of BAR 4, copies, and signals vector 0 of MSI-X; then
 * `status` is 0, or the errno of what went wrong. */
struct engine {
  uint64_t source, target;
  uint32_t length, go, status, padding;
};

struct device {
  struct engine engine;
  unsigned senses[4];
  uint8_t outputs[2];
  bool is_driven[2];
};

static volatile sig_atomic_t is_over;

static void on_signal(int number) {
  (void)number;
  is_over = 1;
}

static void print(vfu_ctx_t* ctx, int level, const char* text) {
  (void)ctx;
  fprintf(stderr, "<%d> %s\n", level, text);
}

/* One copy between pieces of guest memory, by way of this process where it is not mapped. */
static int copy(vfu_ctx_t* ctx, const struct engine* engine) {
  int result = -1;
  char* buffer = malloc(engine->length);
  dma_sg_t *from = calloc(1, dma_sg_size()), *to = calloc(1, dma_sg_size());
  if (buffer != NULL && from != NULL && to != NULL &&
      vfu_addr_to_sgl(ctx, (vfu_dma_addr_t)(uintptr_t)engine->source, engine->length, from, 1, PROT_READ) == 1 &&
      vfu_addr_to_sgl(ctx, (vfu_dma_addr_t)(uintptr_t)engine->target, engine->length, to, 1, PROT_WRITE) == 1 &&
      vfu_sgl_read(ctx, from, 1, buffer, VFU_SGL_DIRECT_ACCESS) == 0 &&
      vfu_sgl_write(ctx, to, 1, buffer, VFU_SGL_DIRECT_ACCESS) == 0) {
    result = 0;
  }
  const int error = errno != 0 ? errno : ENOSPC; /* more than one piece */
  free(buffer);
  free(from);
  free(to);
  errno = error;
  return result;
}

static void run(vfu_ctx_t* ctx, struct engine* engine) {
  engine->status = copy(ctx, engine) == 0 ? 0 : (uint32_t)errno;
  vfu_irq_trigger(ctx, 0); /* nobody need listen */
}

static void on_doorbell(vfu_ctx_t* ctx, void* arg, uint64_t value, uint64_t writes) {
  (void)writes;
  vfu_log(ctx, LOG_INFO, "doorbell %u", (unsigned)value);
  run(ctx, arg);
}

static ssize_t access_engine(vfu_ctx_t* ctx, char* bytes, size_t count, loff_t at, bool is_write) {
  struct engine* const engine = &((struct device*)vfu_get_private(ctx))->engine;
  if ((size_t)at + count > sizeof *engine) return errno = EINVAL, -1;
  memcpy(is_write ? (char*)engine + at : bytes, is_write ? bytes : (char*)engine + at, count);
  if (is_write && at == (loff_t)offsetof(struct engine, go)) run(ctx, engine);
  return (ssize_t)count;
}

/* Inputs change with every third reading; so do outputs that nobody drives. */
static uint8_t sense(struct device* device, unsigned line) { return device->senses[line]++ / 3 % 2 != 0 ? 0xff : 0; }

static ssize_t access_lines(vfu_ctx_t* ctx, char* bytes, size_t count, loff_t at, bool is_write) {
  struct device* const device = vfu_get_private(ctx);
  for (size_t i = 0; i < count; ++i) {
    const size_t reg = (size_t)at + i;
    const unsigned port = reg >= 4; /* lines 0 to 7, or 8 to 15 */
    if (is_write && reg % 4 == 0 && reg <= 4) {
      device->outputs[port] = (uint8_t)bytes[i];
      device->is_driven[port] = true;
      vfu_log(ctx, LOG_INFO, "wrote %#x to output %u", (uint8_t)bytes[i], port);
    } else if (!is_write) {
      const bool is_output = reg % 4 == 0 && reg <= 4, is_input = reg % 4 == 1 && reg <= 5;
      const bool is_known = is_output && device->is_driven[port];
      const uint8_t sensed = is_output || is_input ? sense(device, (is_output ? 2u : 0u) + port) : 0;
      bytes[i] = (char)(is_known ? device->outputs[port] : sensed);
    }
  }
  return (ssize_t)count;
}

static int reset(vfu_ctx_t* ctx, vfu_reset_type_t type) {
  (void)type;
  memset(vfu_get_private(ctx), 0, sizeof(struct device));
  return 0;
}

/* The library maps and unmaps; vfu_sgl_read() and vfu_sgl_write() keep nothing. */
static void forget_memory(vfu_ctx_t* ctx, vfu_dma_info_t* info) {
  vfu_log(ctx, LOG_DEBUG, "memory at %p is gone", info->iova.iov_base);
}

static int add_doorbell(vfu_ctx_t* ctx) {
  const int fd = memfd_create("doorbell", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0 || ftruncate(fd, 4096) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return -1;
  return vfu_setup_region(ctx, VFU_PCI_DEV_BAR4_REGION_IDX, 4096, NULL, VFU_REGION_FLAG_RW | VFU_REGION_FLAG_MEM, NULL,
                          0, fd, 0) != 0
             ? -1
             : vmux_watch(ctx, VFU_PCI_DEV_BAR4_REGION_IDX, 0, 4, 0, on_doorbell, vfu_get_private(ctx));
}

static int describe(vfu_ctx_t* ctx) {
  struct msixcap msix = {.hdr.id = PCI_CAP_ID_MSIX, .mtab.to = 0x800 / 8, .mpba.pbao = 0xc00 / 8};
  if (vfu_pci_init(ctx, VFU_PCI_TYPE_CONVENTIONAL, PCI_HEADER_TYPE_NORMAL, 0) != 0) return -1;
  vfu_pci_set_id(ctx, 0x494f, 0x0dc8, 0, 0);
  return vfu_setup_log(ctx, print, LOG_INFO) != 0 || vfu_setup_device_reset_cb(ctx, reset) != 0 ||
                 vfu_setup_region(ctx, VFU_PCI_DEV_BAR0_REGION_IDX, 4096, access_engine,
                                  VFU_REGION_FLAG_RW | VFU_REGION_FLAG_MEM, NULL, 0, -1, 0) != 0 ||
                 vfu_setup_region(ctx, VFU_PCI_DEV_BAR2_REGION_IDX, 256, access_lines, VFU_REGION_FLAG_RW, NULL, 0, -1,
                                  0) != 0 ||
                 vfu_setup_device_nr_irqs(ctx, VFU_DEV_INTX_IRQ, 1) != 0 ||
                 vfu_setup_device_nr_irqs(ctx, VFU_DEV_MSIX_IRQ, 1) != 0 ||
                 vfu_setup_device_dma(ctx, LIBVFIO_USER_MAX_DMA_REGIONS, NULL, forget_memory) != 0 ||
                 vfu_pci_add_capability(ctx, 0, 0, &msix) < 0 || vmux_emulate_irqs(ctx, VMUX_IRQ_MSIX) != 0 ||
                 add_doorbell(ctx) != 0 || vfu_realize_ctx(ctx) != 0
             ? -1
             : 0;
}

/* Waits with the signals that end it, as any event loop does, and looks at the doorbell now and then. */
static int serve(vfu_ctx_t* ctx, const sigset_t* while_waiting) {
  bool is_attached = false;
  while (!is_over) {
    struct pollfd input = {.fd = vfu_get_poll_fd(ctx), .events = POLLIN};
    const struct timespec a_while = {.tv_nsec = 5000000};
    const int ready = ppoll(&input, 1, is_attached ? &a_while : NULL, while_waiting);
    vmux_poll_watches(ctx);
    if (ready <= 0) continue;
    const int done = is_attached ? vfu_run_ctx(ctx) : vfu_attach_ctx(ctx);
    if (done >= 0) {
      is_attached = true;
    } else if (is_attached && errno == ENOTCONN) {
      is_attached = false;
    } else if (is_attached) {
      return -1;
    }
  }
  return 0;
}

int main(int count, char** arguments) {
  sigset_t blocked, before;
  struct device device = {0};
  if (count != 2) {
    fprintf(stderr, "usage: capi-device SOCKET\n");
    return 2;
  }
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
  vfu_ctx_t* const ctx =
      vfu_create_ctx(VFU_TRANS_SOCK, arguments[1], LIBVFIO_USER_FLAG_ATTACH_NB, &device, VFU_DEV_TYPE_PCI);
  const int result = ctx != NULL && describe(ctx) == 0 && serve(ctx, &before) == 0 ? 0 : 1;
  if (result != 0) perror("capi-device");
  vfu_destroy_ctx(ctx);
  return result;
}
