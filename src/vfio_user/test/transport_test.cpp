// SPDX-License-Identifier: BSD-3-Clause
#include "vfio_user/transport.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

namespace vmux::vfio_user {
namespace {

// No descriptors left in flight, or no memory: the peer is still there, and no event of the socket tells of it.
TEST(Transport, WhatCannotBeSentEndsTheConnectionForBothEnds) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd peer{ends[1]};
  Transport transport{ipc::Connection{UniqueFd{ends[0]}}, 65536};
  constexpr int kNoDescriptor = 1 << 20;
  transport.attach_fds({&kNoDescriptor, 1});
  Header header;
  header.size = sizeof header;
  wire::vfio_user::put(transport.append(sizeof header), header);
  EXPECT_EQ(transport.flush(), Transport::Io::closed);
  EXPECT_EQ(transport.receive(), Transport::Io::closed);
  char byte = 0;
  EXPECT_EQ(::recv(peer.get(), &byte, 1, MSG_DONTWAIT), 0);
}

}  // namespace
}  // namespace vmux::vfio_user
