// SPDX-License-Identifier: BSD-3-Clause
#include "backend/tap/tap_device.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <cstring>

namespace vmux::backend {
namespace {

// Newer than Debian 12's kernel headers: UDP segmentation (Linux 6.2).
constexpr unsigned kTunUso4 = 0x20, kTunUso6 = 0x40;

ifreq request_for(const std::string& name) noexcept {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  return request;
}

tl::unexpected<Error> tun_error(int error) noexcept {
  switch (error) {
    case EPERM:
    case EACCES:
      return fail(Errc::permission, "a tap interface needs CAP_NET_ADMIN, or one that was made for this user", error);
    case EBUSY:
      return fail(Errc::busy, "the tap interface is in use by another program", error);
    case EINVAL:
      return fail(Errc::invalid_argument, "an interface of that name exists and is not a tap with these queues", error);
    case ENOENT:
    case ENODEV:
      return fail(Errc::not_supported, "the kernel offers no tap interfaces (/dev/net/tun)", error);
    default:
      return fail(Errc::system, "the tap interface cannot be opened", error);
  }
}

Result<UniqueFd> open_queue(const std::string& name, int flags) {
  UniqueFd fd{::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
  if (!fd) return tun_error(errno);
  ifreq request = request_for(name);
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags);
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) return tun_error(errno);
  return fd;
}

// The header as virtio 1.x has it (little endian, 12 bytes) where the kernel agrees, else whatever it has.
Result<std::size_t> agree_on_header(int fd) {
  int size = 12, little_endian = 1;
  ::ioctl(fd, TUNSETVNETHDRSZ, &size);
  if (::ioctl(fd, TUNGETVNETHDRSZ, &size) != 0) return fail_errno("the tap interface tells no header size");
  if (size != 10 && size != 12) return fail(Errc::not_supported, "the tap interface has an unknown header size");
  if (::ioctl(fd, TUNSETVNETLE, &little_endian) != 0)
    return fail_errno("the tap interface has no little-endian headers");
  return static_cast<std::size_t>(size);
}

}  // namespace

bool is_interface_name(const std::string& name) noexcept {
  if (name.empty() || name.size() >= IFNAMSIZ || name == "." || name == "..") return false;
  // '%' would make the kernel choose a number; ':' is for aliases.
  return std::none_of(name.begin(), name.end(), [](unsigned char c) {
    return c == '/' || c == ':' || c == '%' || std::isspace(c) != 0 || std::iscntrl(c) != 0;
  });
}

namespace {

Result<void> agree_on_offloads(TapDevice& device) {
  const unsigned basic = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  const int fd = device.queues.front().get();
  device.has_udp_gso = ::ioctl(fd, TUNSETOFFLOAD, basic | kTunUso4 | kTunUso6) == 0;
  if (!device.has_udp_gso && ::ioctl(fd, TUNSETOFFLOAD, basic) != 0) {
    return fail_errno("the tap interface takes no offloads");
  }
  return {};
}

}  // namespace

Result<TapDevice> adopt_tap(const std::vector<int>& queues) {
  TapDevice device;
  for (const int queue : queues) {
    UniqueFd fd{::fcntl(queue, F_DUPFD_CLOEXEC, 0)};
    if (!fd) return fail_errno("a queue of the tap interface is gone");
    const auto header = agree_on_header(fd.get());
    if (!header) return tl::unexpected(header.error());
    device.header_size = *header;
    device.queues.push_back(std::move(fd));
  }
  if (auto agreed = agree_on_offloads(device); !agreed) return tl::unexpected(agreed.error());
  return device;
}

Result<TapDevice> open_tap(const std::string& name, unsigned queues) {
  TapDevice device;
  int flags = queues > 1 ? IFF_MULTI_QUEUE : 0;
  for (unsigned i = 0; i < queues; ++i) {
    auto fd = open_queue(name, flags);
    if (!fd && fd.error().sys == EINVAL && queues == 1) fd = open_queue(name, flags = IFF_MULTI_QUEUE);  // made so
    if (!fd) return tl::unexpected(fd.error());
    const auto header = agree_on_header(fd->get());
    if (!header) return tl::unexpected(header.error());
    device.header_size = *header;
    device.queues.push_back(std::move(*fd));
  }
  if (auto agreed = agree_on_offloads(device); !agreed) return tl::unexpected(agreed.error());
  return device;
}

Result<std::uint32_t> set_up_link(const std::string& name, std::uint32_t mtu, bool up) {
  const UniqueFd socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  if (!socket) return fail_errno("cannot open a socket to configure the tap interface");
  ifreq request = request_for(name);
  if (mtu != 0) {
    request.ifr_mtu = static_cast<int>(std::min(mtu, 1u << 20));
    if (::ioctl(socket.get(), SIOCSIFMTU, &request) != 0) return fail_errno("the tap interface refuses the MTU");
  }
  if (up) {
    request = request_for(name);
    if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) return fail_errno("the tap interface tells no flags");
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno("the tap interface cannot be set up");
  }
  request = request_for(name);
  if (::ioctl(socket.get(), SIOCGIFMTU, &request) != 0) return fail_errno("the tap interface tells no MTU");
  return static_cast<std::uint32_t>(request.ifr_mtu);
}

}  // namespace vmux::backend
