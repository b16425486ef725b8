/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Times what a program has of libvfio-user.so: of whichever the loader finds, so the same program and the same loop for
 * each that there is. compare-speed runs it with two of them in turn.
 *
 * Usage: capi-speed CASE MILLISECONDS        prints the library's path, and nanoseconds of one of what CASE names
 *        capi-speed CASE MILLISECONDS bare   the same of a server without a library, which the case may not have: "-"
 *        capi-speed                          lists the cases, one a line
 *
 * With a server of its own process, on another CPU, that is the time of a client; else that of the server's calls
 * alone.
 */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "speed_bare.h"
#include "speed_client.h"
#include "vfio-user/libvfio-user.h"

enum { PAGE = 4096, BAR = 4096, TRIGGERS = 8, TRIGGER_NS = 12, OTHERS = 1000, AT_ONCE = 8, MOST_SAMPLES = 16384 };

/* --- the server: what is timed --- */

struct device {
  vfu_ctx_t* ctx;
  char registers[BAR];
};

static uint64_t now(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Triggers so many times, and leaves in a register how long that took. */
static void trigger(struct device* device, uint32_t times) {
  const uint64_t start = now(CLOCK_THREAD_CPUTIME_ID);
  for (uint32_t i = 0; i < times; ++i) {
    if (vfu_irq_trigger(device->ctx, 0) != 0) fail("vfu_irq_trigger");
  }
  const uint32_t took = (uint32_t)(now(CLOCK_THREAD_CPUTIME_ID) - start);
  memcpy(device->registers + TRIGGER_NS, &took, sizeof took);
}

static ssize_t access_registers(vfu_ctx_t* ctx, char* bytes, size_t count, loff_t at, bool is_write) {
  struct device* device = vfu_get_private(ctx);
  if ((size_t)at + count > BAR) return errno = EINVAL, -1;
  memcpy(is_write ? device->registers + at : bytes, is_write ? bytes : device->registers + at, count);
  if (is_write && at == TRIGGERS && count == 4) {
    uint32_t times;
    memcpy(&times, bytes, sizeof times);
    trigger(device, times);
  }
  return (ssize_t)count;
}

static void forget_memory(vfu_ctx_t* ctx, vfu_dma_info_t* info) { (void)ctx, (void)info; }

static void create(struct device* device, const char* path, int flags) {
  device->ctx = vfu_create_ctx(VFU_TRANS_SOCK, path, flags, device, VFU_DEV_TYPE_PCI);
  if (device->ctx == NULL || vfu_pci_init(device->ctx, VFU_PCI_TYPE_EXPRESS, PCI_HEADER_TYPE_NORMAL, 0) != 0 ||
      vfu_setup_region(device->ctx, VFU_PCI_DEV_BAR0_REGION_IDX, BAR, access_registers,
                       VFU_REGION_FLAG_RW | VFU_REGION_FLAG_MEM, NULL, 0, -1, 0) != 0 ||
      vfu_setup_device_nr_irqs(device->ctx, VFU_DEV_MSIX_IRQ, 1) != 0 ||
      vfu_setup_device_dma(device->ctx, LIBVFIO_USER_MAX_DMA_REGIONS, NULL, forget_memory) != 0 ||
      vfu_realize_ctx(device->ctx) != 0)
    fail("a device");
}

/* The one loop: with LIBVFIO_USER_FLAG_ATTACH_NB it looks all the time, without it waits inside. */
static void serve(struct device* device) {
  while (vfu_attach_ctx(device->ctx) != 0) {
    if (errno != EAGAIN && errno != EWOULDBLOCK) fail("vfu_attach_ctx");
  }
  while (vfu_run_ctx(device->ctx) >= 0)
    continue;
}

/* --- where there is no other thread: one call of the server's to each request --- */

static void attach_bare(void* bare) { bare_attach(bare); }

static uint64_t server_ns;
static void run_bare_once(void* bare) {
  const uint64_t start = now(CLOCK_MONOTONIC);
  if (!bare_serve(bare)) fail("the bare server");
  server_ns += now(CLOCK_MONOTONIC) - start;
}

static void attach_once(void* device) {
  if (vfu_attach_ctx(((struct device*)device)->ctx) != 0) fail("vfu_attach_ctx");
}

static void run_once(void* device) {
  const uint64_t start = now(CLOCK_MONOTONIC);
  if (vfu_run_ctx(((struct device*)device)->ctx) != 1) fail("vfu_run_ctx");
  server_ns += now(CLOCK_MONOTONIC) - start;
}

/* --- what is done to it --- */

static int memory;

static void do_read(struct client* client) { client_read(client, 0); }
static void do_write(struct client* client) { client_write(client, 0, 1); }
static void do_remap(struct client* client) {
  client_map(client, memory, 0, 0);
  client_unmap(client, 0);
}

/* No two of them are neighbours in the file, so none shares a mapping of the kernel's with another. */
static void map_others(struct client* client) {
  for (uint64_t i = 1; i <= OTHERS; ++i)
    client_map(client, memory, 2 * i * PAGE, 2 * i * PAGE);
}

static void listen_to_vector(struct client* client) {
  const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0) fail("eventfd");
  client_listen(client, event);
}
static void do_triggers(struct client* client) { client_write(client, TRIGGERS, 1000); }

enum kind { POLLING, BLOCKING, ONE_THREAD };
struct row {
  const char* name;
  enum kind kind;
  void (*prepare)(struct client*);
  void (*step)(struct client*);
};
static const struct row rows[] = {
    {"read-polling", POLLING, NULL, do_read},
    {"write-polling", POLLING, NULL, do_write},
    {"read-blocking", BLOCKING, NULL, do_read},
    {"write-blocking", BLOCKING, NULL, do_write},
    {"map-unmap", POLLING, NULL, do_remap},
    {"map-unmap-among-1000", POLLING, map_others, do_remap},
    {"trigger", POLLING, listen_to_vector, do_triggers},
    {"read-alone", ONE_THREAD, NULL, do_read},
    {"write-alone", ONE_THREAD, NULL, do_write},
    {"map-unmap-alone", ONE_THREAD, NULL, do_remap},
};

/* --- the clock --- */

static int compare(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

/* Nanoseconds of a step: the median of what AT_ONCE of them took. They are few: what the scheduler takes away in
 * between is then in few samples. */
static double measure(const struct row* row, struct client* client, unsigned milliseconds) {
  static double samples[MOST_SAMPLES];
  const uint64_t end = now(CLOCK_MONOTONIC) + milliseconds * 1000000ull;
  const bool is_timed_there = row->step == do_triggers;
  const unsigned at_once = is_timed_there ? 1 : AT_ONCE;
  size_t count = 0;
  for (unsigned i = 0; i < at_once; ++i)
    row->step(client); /* to warm up */
  while (count < MOST_SAMPLES && (count == 0 || now(CLOCK_MONOTONIC) < end)) {
    const uint64_t start = now(CLOCK_MONOTONIC);
    server_ns = 0;
    for (unsigned i = 0; i < at_once; ++i)
      row->step(client);
    const uint64_t took = row->kind == ONE_THREAD ? server_ns : now(CLOCK_MONOTONIC) - start;
    samples[count++] = is_timed_there ? client_read(client, TRIGGER_NS) / 1000.0 : (double)took / at_once;
  }
  qsort(samples, count, sizeof *samples, compare);
  return samples[count / 2];
}

/* The first or the last of the CPUs that this process may use. */
static void pin(bool to_last) {
  cpu_set_t allowed, one;
  size_t chosen = CPU_SETSIZE;
  sched_getaffinity(0, sizeof allowed, &allowed);
  for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed) && (chosen == CPU_SETSIZE || to_last)) chosen = cpu;
  }
  CPU_ZERO(&one);
  CPU_SET(chosen, &one);
  sched_setaffinity(0, sizeof one, &one);
}

/* The server of a process of its own, until its client goes. */
static void be_server(const struct row* row, const char* path, bool is_bare) {
  static struct device device;
  struct bare bare;
  pin(true);
  if (is_bare) {
    bare_create(&bare, path, row->kind == POLLING);
    bare_attach(&bare);
    while (bare_serve(&bare))
      continue;
  } else {
    create(&device, path, row->kind == POLLING ? LIBVFIO_USER_FLAG_ATTACH_NB : 0);
    serve(&device);
  }
}

static double run(const struct row* row, const char* path, unsigned milliseconds, bool is_bare) {
  static struct device device;
  static struct bare bare;
  struct client client = {.is_polling = row->kind != BLOCKING};
  pid_t server = 0;
  if (row->kind == ONE_THREAD && is_bare) {
    bare_create(&bare, path, false);
    client.serve = attach_bare;
    client.device = &bare;
  } else if (row->kind == ONE_THREAD) {
    create(&device, path, LIBVFIO_USER_FLAG_ATTACH_NB);
    client.serve = attach_once;
    client.device = &device;
  } else if ((server = fork()) == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    be_server(row, path, is_bare);
    _exit(0);
  }
  pin(false);
  client_open(&client, path);
  if (client.serve != NULL) client.serve = is_bare ? run_bare_once : run_once;
  if (row->prepare != NULL) row->prepare(&client);
  const double found = measure(row, &client, milliseconds);
  close(client.socket);
  if (server > 0) {
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
  }
  return found;
}

int main(int count, char** arguments) {
  const struct row* row = NULL;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
    if (count == 1) puts(rows[i].name);
    if (count >= 3 && strcmp(arguments[1], rows[i].name) == 0) row = &rows[i];
  }
  if (count == 1) return 0;
  const bool is_bare = count == 4 && strcmp(arguments[3], "bare") == 0;
  const unsigned milliseconds = count == 3 || is_bare ? (unsigned)strtoul(arguments[2], NULL, 10) : 0;
  if (row == NULL || milliseconds == 0) return fprintf(stderr, "usage: capi-speed [CASE MILLISECONDS [bare]]\n"), 2;

  Dl_info library;
  char directory[] = "/tmp/capi-speed.XXXXXX", path[PATH_MAX];
  if (dladdr(dlsym(RTLD_DEFAULT, "vfu_create_ctx"), &library) == 0 || mkdtemp(directory) == NULL) fail("a directory");
  snprintf(path, sizeof path, "%s/socket", directory);
  memory = memfd_create("memory", MFD_CLOEXEC);
  if (memory < 0 || ftruncate(memory, (off_t)(2 * OTHERS + 2) * PAGE) != 0) fail("memory");
  if (is_bare && row->step == do_triggers) {
    printf("%s -\n", library.dli_fname);
  } else {
    printf("%s %.1f\n", library.dli_fname, run(row, path, milliseconds, is_bare));
  }
  unlink(path);
  rmdir(directory);
  return 0;
}
