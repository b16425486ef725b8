/* SPDX-License-Identifier: BSD-3-Clause */
#include "speed_client.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vfio-user/libvfio-user.h"
#include "vfio-user/vfio-user.h"

enum { PAGE = 4096 };

void fail(const char* what) {
  perror(what);
  exit(1);
}

static void send_all(const struct client* client, const void* bytes, size_t size, int fd) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr header;
  } control;
  struct iovec part = {.iov_base = (void*)bytes, .iov_len = size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd >= 0) {
    memset(&control, 0, sizeof control);
    control.header =
        (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
  }
  if (sendmsg(client->socket, &message, MSG_NOSIGNAL) != (ssize_t)size) fail("sendmsg");
}

static void receive_all(const struct client* client, void* bytes, size_t size) {
  for (char* at = bytes; size > 0;) {
    const ssize_t got = recv(client->socket, at, size, client->is_polling ? MSG_DONTWAIT : 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) fail("the server went away");
    at += got;
    size -= (size_t)got;
  }
}

/* Sends a request that begins with a header, and receives an answer of `size` bytes. */
static void ask(struct client* client, uint16_t command, void* request, size_t length, int fd, void* answer,
                size_t size) {
  struct vfio_user_header header = {.msg_id = 7, .cmd = command, .msg_size = (uint32_t)length};
  memcpy(request, &header, sizeof header);
  send_all(client, request, length, fd);
  if (client->serve != NULL) client->serve(client->device);
  receive_all(client, answer, size);
  memcpy(&header, answer, sizeof header);
  errno = (int)header.error_no;
  if (header.cmd != command || header.msg_size != size || (header.flags & VFIO_USER_F_ERROR) != 0)
    fail("the server's answer");
}

void client_open(struct client* client, const char* path) {
  static const char capabilities[] = "{\"capabilities\":{\"max_msg_fds\":1}}";
  struct {
    struct vfio_user_header header;
    uint16_t major, minor;
    char text[sizeof capabilities];
  } request = {.major = 0, .minor = 0};
  char rest[4096];
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  client->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  for (int tries = 0; connect(client->socket, (struct sockaddr*)&address, sizeof address) != 0; ++tries) {
    if (tries == 1000) fail(path);
    usleep(10000);
  }
  memcpy(request.text, capabilities, sizeof capabilities);
  request.header = (struct vfio_user_header){
      .msg_id = 1, .cmd = VFIO_USER_VERSION, .msg_size = sizeof request.header + 4 + sizeof capabilities};
  send_all(client, &request, request.header.msg_size, -1);
  if (client->serve != NULL) client->serve(client->device);
  receive_all(client, &request.header, sizeof request.header);
  const size_t size = request.header.msg_size - sizeof request.header;
  if ((request.header.flags & VFIO_USER_F_ERROR) != 0 || size > sizeof rest) fail("VERSION");
  receive_all(client, rest, size);
}

struct access {
  struct vfio_user_header header;
  struct vfio_user_region_access what;
};

uint32_t client_read(struct client* client, uint64_t at) {
  struct access request = {.what = {.offset = at, .region = VFU_PCI_DEV_BAR0_REGION_IDX, .count = 4}};
  char answer[sizeof request + 4];
  uint32_t value;
  ask(client, VFIO_USER_REGION_READ, &request, sizeof request, -1, answer, sizeof answer);
  memcpy(&value, answer + sizeof request, sizeof value);
  return value;
}

void client_write(struct client* client, uint64_t at, uint32_t value) {
  const struct access head = {.what = {.offset = at, .region = VFU_PCI_DEV_BAR0_REGION_IDX, .count = sizeof value}};
  char request[sizeof head + sizeof value];
  struct access answer;
  memcpy(request, &head, sizeof head);
  memcpy(request + sizeof head, &value, sizeof value);
  ask(client, VFIO_USER_REGION_WRITE, request, sizeof request, -1, &answer, sizeof answer);
}

void client_map(struct client* client, int file, uint64_t offset, uint64_t address) {
  struct {
    struct vfio_user_header header;
    struct vfio_user_dma_map what;
  } request = {
      .what = {.argsz = sizeof request.what,
               .flags = VFIO_USER_F_DMA_REGION_READ | VFIO_USER_F_DMA_REGION_WRITE | VFIO_USER_F_DMA_REGION_MMAP,
               .offset = offset,
               .addr = address,
               .size = PAGE}};
  struct vfio_user_header answer;
  ask(client, VFIO_USER_DMA_MAP, &request, sizeof request, file, &answer, sizeof answer);
}

void client_unmap(struct client* client, uint64_t address) {
  struct {
    struct vfio_user_header header;
    struct vfio_user_dma_unmap what;
  } request = {.what = {.argsz = sizeof request.what, .addr = address, .size = PAGE}}, answer;
  ask(client, VFIO_USER_DMA_UNMAP, &request, sizeof request, -1, &answer, sizeof answer);
}

void client_listen(struct client* client, int eventfd) {
  struct {
    struct vfio_user_header header;
    struct vfio_irq_set what;
  } request = {.what = {.argsz = sizeof request.what,
                        .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                        .index = VFU_DEV_MSIX_IRQ,
                        .count = 1}};
  struct vfio_user_header answer;
  ask(client, VFIO_USER_DEVICE_SET_IRQS, &request, sizeof request, eventfd, &answer, sizeof answer);
}
