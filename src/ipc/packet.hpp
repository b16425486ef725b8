// SPDX-License-Identifier: BSD-3-Clause
// Messages with descriptors between processes of ours: whole or not at all, over a socket of type SOCK_SEQPACKET.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::ipc {

/// Descriptors that can go with one packet: SCM_MAX_FD in the kernel.
inline constexpr std::size_t kMaxPacketFds = 253;

/// Both ends, close-on-exec.
struct PacketPair {
  UniqueFd ours, theirs;
};
[[nodiscard]] Result<PacketPair> packet_pair() noexcept;

/// Sends `bytes`, one at least, with duplicates of `fds`. Waits while the socket is full, unless it does not block.
[[nodiscard]] Result<void> send_packet(int socket, std::span<const std::byte> bytes,
                                       std::span<const int> fds = {}) noexcept;

struct Packet {
  std::size_t size = 0;  ///< of what came into the buffer; 0: the peer is gone
  std::vector<UniqueFd> fds;
};
/// The next packet, into `buffer`. Errors: Errc::system with EAGAIN when there is none and `may_wait` is false;
/// protocol when it is longer than the buffer, or its descriptors did not fit into this process.
[[nodiscard]] Result<Packet> receive_packet(int socket, std::span<std::byte> buffer, bool may_wait);

}  // namespace vmux::ipc
