// SPDX-License-Identifier: BSD-3-Clause
#include "ipc/fds.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <string>
#include <vector>

#include "rigs/sending.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::ipc {
namespace {

/// Of the file behind a descriptor.
ino_t inode_of(int fd) {
  struct stat about {};
  EXPECT_EQ(::fstat(fd, &about), 0);
  return about.st_ino;
}

class IpcFds : public testing::Test {
 protected:
  IpcFds() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ours_.reset(ends[0]);
    theirs_.reset(ends[1]);
    for (const char* name : {"one", "two", "three"})
      files_.push_back(std::move(*make_memfd(name, 4096)));
  }
  void send_all() {
    const std::array<std::uint8_t, 1> byte{7};
    std::vector<int> fds;
    for (const UniqueFd& file : files_)
      fds.push_back(file.get());
    ASSERT_EQ(send_with_fds(theirs_.get(), byte, fds), 1);
  }
  /// With room for so many descriptors.
  std::vector<UniqueFd> receive(std::size_t room) {
    char byte = 0;
    iovec part{&byte, 1};
    std::vector<char> control(CMSG_SPACE(room * sizeof(int)));
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = CMSG_LEN(room * sizeof(int));
    EXPECT_EQ(::recvmsg(ours_.get(), &message, MSG_CMSG_CLOEXEC), 1);
    was_cut_ = (message.msg_flags & MSG_CTRUNC) != 0;
    return fds_of(message);
  }

  UniqueFd ours_, theirs_;
  std::vector<UniqueFd> files_;
  bool was_cut_ = false;
};

TEST_F(IpcFds, ComeInTheSendersOrder) {
  send_all();
  const auto fds = receive(8);
  ASSERT_EQ(fds.size(), files_.size());
  for (std::size_t i = 0; i < fds.size(); ++i)
    EXPECT_EQ(inode_of(fds[i].get()), inode_of(files_[i].get())) << i;
}

TEST_F(IpcFds, AreThoseThatHadRoom) {
  send_all();
  const auto fds = receive(2);
  EXPECT_TRUE(was_cut_);
  ASSERT_EQ(fds.size(), 2u);
  EXPECT_EQ(inode_of(fds[1].get()), inode_of(files_[1].get()));
}

// The sender's credentials are no descriptors.
TEST_F(IpcFds, AreFoundAmongOtherControlMessages) {
  const int on = 1;
  ASSERT_EQ(::setsockopt(ours_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
  send_all();
  const auto fds = receive(16);
  ASSERT_EQ(fds.size(), files_.size());
  EXPECT_EQ(inode_of(fds[0].get()), inode_of(files_[0].get()));
}

TEST_F(IpcFds, AreNoneOfAMessageWithoutAny) {
  ASSERT_EQ(::send(theirs_.get(), "x", 1, 0), 1);
  EXPECT_TRUE(receive(4).empty());
}

}  // namespace
}  // namespace vmux::ipc
