/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that survives its program's death, for tests: BAR 0 has counters to which a client adds, and an engine that
 * copies guest memory and interrupts. A parent keeps what has to be kept.
 *
 * Usage: capi-survivor SOCKET KEEPER    KEEPER: number of a socket (SOCK_SEQPACKET) whose other end the parent has.
 *
 * To the parent, a packet { char what; int number; } each, with descriptors:
 *   S  begins: it answers with as many descriptors as there are of the dead one's files (0 or 4: record, registers)
 *   K  keep this one under its number        D  drop it
 *   F  what was kept under this number? It answers with one descriptor or none.
 *   R  from now on what this process has counts: with its four files
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio-user/vmux-extensions.h"

enum { COUNTERS = 16, FILES = VMUX_RECORD_FILES + 1 };

/* In memory that outlives the process. Adding twice is not adding once, so each sum is stored beside the number of the
 * request that it is of: `which` says which of two counts. */
struct counter {
  uint64_t which;
  struct {
    uint64_t sum, request;
  } of[2];
};
struct registers {
  struct counter counters[COUNTERS];
};

struct packet {
  char what;
  int number;
};

struct device {
  struct registers* registers;
  int keeper;
};

static void die(const char* why) {
  perror(why);
  exit(1);
}

static void tell(int keeper, char what, int number, const int* fds, size_t count) {
  struct packet packet = {.what = what, .number = number};
  struct iovec part = {&packet, sizeof packet};
  char control[CMSG_SPACE(FILES * sizeof(int))] = {0};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count != 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(head), fds, count * sizeof(int));
  }
  if (sendmsg(keeper, &message, MSG_NOSIGNAL) < 0) die("sendmsg");
}

/* How many descriptors came. */
static size_t hear(int keeper, int* fds) {
  struct packet packet;
  struct iovec part = {&packet, sizeof packet};
  char control[CMSG_SPACE(FILES * sizeof(int))];
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (recvmsg(keeper, &message, MSG_CMSG_CLOEXEC) <= 0) die("recvmsg");
  const struct cmsghdr* const head = CMSG_FIRSTHDR(&message);
  if (head == NULL) return 0;
  memcpy(fds, CMSG_DATA(head), head->cmsg_len - CMSG_LEN(0));
  return (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
}

static void keep(vfu_ctx_t* ctx, void* arg, int fd) {
  (void)ctx;
  tell(*(int*)arg, 'K', fd, &fd, 1);
}
static void drop(vfu_ctx_t* ctx, void* arg, int fd) {
  (void)ctx;
  tell(*(int*)arg, 'D', fd, NULL, 0);
}
static int find(vfu_ctx_t* ctx, void* arg, int fd) {
  int found[FILES];
  (void)ctx;
  tell(*(int*)arg, 'F', fd, NULL, 0);
  return hear(*(int*)arg, found) == 1 ? found[0] : -1;
}

static void add(struct counter* counter, uint64_t value, uint64_t request) {
  const unsigned now = counter->which & 1, other = 1 - now;
  if (counter->of[now].request >= request) return; /* a process before has done it */
  counter->of[other].sum = counter->of[now].sum + value;
  counter->of[other].request = request;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  __atomic_store_n(&counter->which, other, __ATOMIC_RELAXED); /* from here on it is done */
}

/* Interrupts and copies may happen twice: that is the same as once. */
static ssize_t access_counters(vfu_ctx_t* ctx, char* bytes, size_t count, loff_t at, bool is_write) {
  struct device* const device = vfu_get_private(ctx);
  const size_t index = (size_t)at / 8;
  if (at % 8 != 0 || count != 8 || index >= COUNTERS) return errno = EINVAL, -1;
  struct counter* const counter = &device->registers->counters[index];
  if (!is_write) {
    memcpy(bytes, &counter->of[counter->which & 1].sum, 8);
    return 8;
  }
  uint64_t value = 0;
  memcpy(&value, bytes, 8);
  add(counter, value, vmux_request_id(ctx));
  if (index != 0) return 8;
  /* Counter 0 goes to the first word of guest memory too, and the client hears of it. */
  dma_sg_t* const to = calloc(1, dma_sg_size());
  uint64_t sum = counter->of[counter->which & 1].sum;
  if (to == NULL || vfu_addr_to_sgl(ctx, (vfu_dma_addr_t)(uintptr_t)0x10000, 8, to, 1, PROT_WRITE) != 1 ||
      vfu_sgl_write(ctx, to, 1, &sum, VFU_SGL_DIRECT_ACCESS) != 0) {
    free(to);
    return errno = EFAULT, -1;
  }
  free(to);
  vfu_irq_trigger(ctx, 0);
  return 8;
}

static void forget_memory(vfu_ctx_t* ctx, vfu_dma_info_t* info) { (void)ctx, (void)info; }

static void describe(vfu_ctx_t* ctx, int* keeper, int files[FILES]) {
  if (vfu_pci_init(ctx, VFU_PCI_TYPE_CONVENTIONAL, PCI_HEADER_TYPE_NORMAL, 0) != 0 ||
      vfu_setup_region(ctx, VFU_PCI_DEV_BAR0_REGION_IDX, 4096, access_counters,
                       VFU_REGION_FLAG_RW | VFU_REGION_FLAG_MEM, NULL, 0, -1, 0) != 0 ||
      vfu_setup_device_nr_irqs(ctx, VFU_DEV_MSIX_IRQ, 1) != 0 ||
      vfu_setup_device_dma(ctx, LIBVFIO_USER_MAX_DMA_REGIONS, NULL, forget_memory) != 0 ||
      vmux_record(ctx, files, keep, drop, keeper) != 0 || vfu_realize_ctx(ctx) != 0)
    die("describe");
}

int main(int count, char** arguments) {
  struct device device = {0};
  int before[FILES], files[FILES];
  if (count != 3) return 2;
  device.keeper = atoi(arguments[2]);
  tell(device.keeper, 'S', 0, NULL, 0);
  const bool is_next = hear(device.keeper, before) == FILES;
  const int registers = is_next ? before[VMUX_RECORD_FILES] : memfd_create("registers", MFD_CLOEXEC);
  if (registers < 0 || ftruncate(registers, sizeof(struct registers)) != 0) die("registers");
  device.registers = mmap(NULL, sizeof(struct registers), PROT_READ | PROT_WRITE, MAP_SHARED, registers, 0);
  if (device.registers == MAP_FAILED) die("mmap");
  files[VMUX_RECORD_FILES] = registers;

  vfu_ctx_t* const ctx =
      is_next ? vmux_create_ctx_to_restore(arguments[1], LIBVFIO_USER_FLAG_ATTACH_NB, &device)
              : vfu_create_ctx(VFU_TRANS_SOCK, arguments[1], LIBVFIO_USER_FLAG_ATTACH_NB, &device, VFU_DEV_TYPE_PCI);
  if (ctx == NULL) die("context");
  describe(ctx, &device.keeper, files);
  bool is_attached = is_next && vmux_restore(ctx, before, find, &device.keeper) == 0;
  if (is_next && !is_attached && errno != ENOTCONN) die("restore");
  tell(device.keeper, 'R', 0, files, FILES);
  if (is_attached) vfu_irq_trigger(ctx, 0); /* the one before may not have come to that */
  for (bool may_wait = !is_attached;; may_wait = true) {
    struct pollfd input = {.fd = vfu_get_poll_fd(ctx), .events = POLLIN};
    if (may_wait && poll(&input, 1, -1) < 0) die("poll");
    if ((is_attached ? vfu_run_ctx(ctx) : vfu_attach_ctx(ctx)) >= 0) {
      is_attached = true;
    } else if (errno == ENOTCONN) {
      is_attached = false;
    } else if (errno != EAGAIN) {
      die("serve");
    }
  }
}
