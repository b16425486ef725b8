// SPDX-License-Identifier: BSD-3-Clause
// The device's configuration space, for a front end that shows the guest ours: of a disk, not of a network card.
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "vhost_user/session.hpp"
#include "vhost_user/session_reply.hpp"

namespace vmux::vhost_user {
namespace {

namespace wv = wire::vhost_user;

/// What is asked for lies in configuration space, and as many bytes as it says come with it.
bool makes_sense(const wv::Config& head, std::size_t payload) noexcept {
  return payload == sizeof head + head.size && fits(head.offset, head.size, wv::kMostConfig);
}

}  // namespace

// "a payload of zero length to indicate an error".
Result<void> Session::get_config(const Message& message) {
  const auto head = body_of<wv::Config>(message.payload);
  if (!makes_sense(head, message.payload.size())) {
    static_cast<void>(stream_.append_reply(message.header, 0));
    return {};
  }
  const std::span<std::byte> reply = stream_.append_reply(message.header, message.payload.size());
  std::memcpy(reply.data(), &head, sizeof head);
  context_.device.read_config(head.offset, reply.subspan(sizeof head));
  return {};
}

Result<void> Session::set_config(const Message& message) {
  const auto head = body_of<wv::Config>(message.payload);
  if (!makes_sense(head, message.payload.size())) return fail(Errc::protocol, "a part that no configuration has");
  if (head.flags != wv::kConfigWritable && head.flags != wv::kConfigMigration)
    return fail(Errc::protocol, "flags that are not known");
  // What another host's disk was like is not what this one is to become: it is the same disk, or it is none of it.
  if (head.flags == wv::kConfigMigration) return {};
  context_.device.write_config(head.offset, message.payload.subspan(sizeof head));
  return {};
}

Result<void> Session::set_backend_req_fd(const Message& message) {
  int type = 0;
  socklen_t size = sizeof type;
  UniqueFd& socket = message.fds.front();
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM)
    return fail(Errc::invalid_argument, "it is no stream socket");
  depart(context_.calls.set_channel(std::move(socket)));
  return {};
}

}  // namespace vmux::vhost_user
