// SPDX-License-Identifier: BSD-3-Clause
// What a keeper and a daemon say to each other, over a socket pair that nobody else has an end of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::keeper {

enum class Say : std::uint32_t {
  // keeper to daemon
  begin,  ///< value: its epoch; descriptors: segment, objects, its end of the twin's socket
  go,     ///< value: how many came before it; descriptors: the sockets of their twins; text: their epochs, and behind a
          ///< semicolon the marks (runtime::LifeSign::burst) that the last one died with
  check,  ///< as go, but only to say whether it could
  farewell,  ///< as go, but only to end all sessions politely
  freeze,    ///< stop at a quiet point, and end
  refused,   ///< an upgrade: text says why. Nothing has changed
  status,    ///< text: JSON
  // daemon to keeper
  begun,      ///< its control thread's signs are there, and its twin; value: the twin's process; text: its version
  ready,      ///< it serves
  able,       ///< value: 1 or 0; text: what would be carried over, or why not
  stopping,   ///< it ends because it was told to
  upgrade,    ///< value: 1: only find out; descriptor: the executable, if it is another than before; text: its name
  take_over,  ///< a drill: the daemon is killed
  ask_status,
  // to a keeper that finds a daemon without one
  adopt,  ///< value: its epoch; descriptors: segment, objects, the twin's socket, executable; text: its version
};

struct Message {
  Say say{};
  std::uint32_t value = 0;
  std::string text;
  std::vector<UniqueFd> fds;
};

/// Longest text, bytes.
inline constexpr std::size_t kMaxText = 64 << 10;

[[nodiscard]] Result<void> send_message(int socket, Say say, std::uint32_t value = 0, std::string_view text = {},
                                        const std::vector<int>& fds = {});
/// Errc::disconnected when nobody is at the other end; Errc::system with EAGAIN when there is none.
[[nodiscard]] Result<Message> receive_message(int socket, bool may_wait);

}  // namespace vmux::keeper
