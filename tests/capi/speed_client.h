/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's end of speed.c: messages as bytes on a socket, by nobody's library. All of it ends the program where
 * something is wrong. */
#ifndef VMUX_TESTS_CAPI_SPEED_CLIENT_H
#define VMUX_TESTS_CAPI_SPEED_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client {
  int socket;
  bool is_polling; /* looks for answers all the time, instead of sleeping until they come */
  void (*serve)(
      void* device); /* called between request and answer, where the server has no thread of its own; or NULL */
  void* device;
};

_Noreturn void fail(const char* what);

/* Connects, waiting for the socket for ten seconds; and speaks of the version, which other servers answer meanwhile. */
void client_open(struct client* client, const char* path);

/* Four bytes of region 0. */
uint32_t client_read(struct client* client, uint64_t at);
void client_write(struct client* client, uint64_t at, uint32_t value);

/* A page of `file` at `address` in the device's view of memory; and away with it. */
void client_map(struct client* client, int file, uint64_t offset, uint64_t address);
void client_unmap(struct client* client, uint64_t address);

/* The eventfd of the first vector of MSI-X. */
void client_listen(struct client* client, int eventfd);

#endif
