// SPDX-License-Identifier: BSD-3-Clause
// Replies with a body of a fixed layout.
#pragma once

#include <cstring>

#include "vhost_user/messages.hpp"

namespace vmux::vhost_user {

template <class T>
void put_reply(MessageStream& stream, const Header& to, const T& body) {
  std::memcpy(stream.append_reply(to, sizeof body).data(), &body, sizeof body);
}
/// The body of a message that is known to be long enough.
template <class T>
[[nodiscard]] T body_of(std::span<const std::byte> payload) noexcept {
  return wire::vhost_user::peek<T>(payload).value_or(T{});
}

}  // namespace vmux::vhost_user
