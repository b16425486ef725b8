/* SPDX-License-Identifier: BSD-3-Clause */
/* The server's end of speed.c without a library: what the kernel takes for the messages, and nothing else. It reads a
 * request, answers with as many bytes as a device would, and closes what came with it. */
#ifndef VMUX_TESTS_CAPI_SPEED_BARE_H
#define VMUX_TESTS_CAPI_SPEED_BARE_H

#include <stdbool.h>

struct bare {
  int listener, socket;
  bool is_polling;
};

void bare_create(struct bare* bare, const char* path, bool is_polling);
/* The client, and VERSION. */
void bare_attach(struct bare* bare);
/* One request. False: the client is gone. */
bool bare_serve(struct bare* bare);

#endif
