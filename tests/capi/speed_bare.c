/* SPDX-License-Identifier: BSD-3-Clause */
#include "speed_bare.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "speed_client.h"
#include "vfio-user/vfio-user.h"

enum { LONGEST = 4096 };

void bare_create(struct bare* bare, const char* path, bool is_polling) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  bare->is_polling = is_polling;
  bare->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(bare->listener, (struct sockaddr*)&address, sizeof address) != 0 || listen(bare->listener, 1) != 0)
    fail("a socket");
}

/* What came with the request, if anything did. */
static int take_fd(struct msghdr* message) {
  const struct cmsghdr* const part = CMSG_FIRSTHDR(message);
  int fd = -1;
  if (part != NULL) memcpy(&fd, CMSG_DATA(part), sizeof fd);
  return fd;
}

bool bare_serve(struct bare* bare) {
  char bytes[LONGEST];
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr header;
  } control;
  struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t got = -1;
  do {
    message.msg_controllen = sizeof control;
    got = recvmsg(bare->socket, &message, MSG_CMSG_CLOEXEC | (bare->is_polling ? MSG_DONTWAIT : 0));
  } while (got < 0 && (errno == EAGAIN || errno == EINTR));
  if (got < (ssize_t)sizeof(struct vfio_user_header)) return false;
  const int fd = take_fd(&message);
  struct vfio_user_header header;
  memcpy(&header, bytes, sizeof header);
  switch (header.cmd) {
    case VFIO_USER_REGION_READ:
      header.msg_size += 4;
      break;
    case VFIO_USER_REGION_WRITE:
      header.msg_size -= 4;
      break;
    case VFIO_USER_DMA_MAP:
      header.msg_size = sizeof header;
      break;
    default:
      break;
  }
  header.flags = VFIO_USER_F_TYPE_REPLY;
  header.error_no = 0;
  memcpy(bytes, &header, sizeof header);
  if (send(bare->socket, bytes, header.msg_size, MSG_NOSIGNAL) != (ssize_t)header.msg_size) return false;
  if (fd >= 0) close(fd);
  return true;
}

void bare_attach(struct bare* bare) {
  bare->socket = accept4(bare->listener, NULL, NULL, SOCK_CLOEXEC);
  if (bare->socket < 0 || !bare_serve(bare)) fail("a client");
}
