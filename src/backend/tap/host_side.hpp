// SPDX-License-Identifier: BSD-3-Clause
// For tests: a tap port in a private network namespace, and the host's end of its cable. Needs root; says so and skips
// where that is not granted.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "backend/tap/tap_port.hpp"
#include "packet/test/test_frames.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::backend::test {

using packet::test::Bytes;

inline constexpr std::size_t kHeader = 10;  // of a packet socket with PACKET_VNET_HDR

class TapTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "a network namespace of our own is not permitted here";
    if (::access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "/dev/net/tun cannot be opened here";
    silence_ipv6();
    poller_ = *runtime::Poller::create();
  }
  // No router solicitations among the frames that the tests count.
  static void silence_ipv6() {
    const UniqueFd fd{::open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC)};
    const bool written = !fd || ::write(fd.get(), "1", 1) == 1;
    EXPECT_TRUE(written);
  }
  std::unique_ptr<TapPort> make(const TapOptions& options) {
    auto port = TapPort::create(options, *poller_);
    EXPECT_TRUE(port) << (port ? "" : port.error().text());
    return port ? std::move(*port) : nullptr;
  }
  // The host's end of the cable.
  UniqueFd host_socket(const char* name) {
    UniqueFd fd{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))};
    int on = 1;
    EXPECT_EQ(::setsockopt(fd.get(), SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on), 0);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(name));
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  static void host_sends(const UniqueFd& fd, const Bytes& bytes) {
    EXPECT_EQ(::write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  static Bytes host_receives(const UniqueFd& fd) {
    pollfd wait{fd.get(), POLLIN, 0};
    Bytes bytes(70000);
    if (::poll(&wait, 1, 30000) != 1) return {};
    const ssize_t size = ::read(fd.get(), bytes.data(), bytes.size());
    bytes.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return bytes;
  }
  static void add(Bytes& to, packet::Slice bytes) {
    for (const std::byte byte : bytes)
      to.push_back(static_cast<std::uint8_t>(byte));
  }
  static Bytes bytes_of(const packet::FrameView& view) {
    Bytes out;
    add(out, view.header);
    for (const packet::Slice& slice : view.payload)
      add(out, slice);
    return out;
  }
  std::size_t peek(TapPort& port) {
    poller_->run_once(0);
    return port.take(views_);
  }

  std::unique_ptr<runtime::Poller> poller_;
  std::array<packet::FrameView, port::kMaxBurst> views_;
};

inline Bytes with_header(const Bytes& header, const Bytes& frame) {
  Bytes out = header;
  packet::test::append(out, frame);
  return out;
}
inline const Bytes kNoOffload(kHeader, 0);

}  // namespace vmux::backend::test
