// SPDX-License-Identifier: BSD-3-Clause
#include "ipc/fds.hpp"

#include <cstddef>
#include <cstring>

namespace vmux::ipc {

std::vector<UniqueFd> fds_of(const msghdr& message) {
  std::vector<UniqueFd> fds;
  msghdr walk = message;  // CMSG_NXTHDR takes one that is not const
  for (cmsghdr* part = CMSG_FIRSTHDR(&walk); part != nullptr; part = CMSG_NXTHDR(&walk, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace vmux::ipc
