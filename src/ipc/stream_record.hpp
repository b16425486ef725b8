// SPDX-License-Identifier: BSD-3-Clause
// What a stream has received and not served, queued and not sent, in memory that outlives the process: whoever takes
// over after a death at any instruction knows which bytes were read, which requests were done and which replies sent.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vmux/base/mapping.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::ipc {

/// Descriptors that came, or go, with the message whose first byte is at `position` of the stream.
struct StreamFds {
  static constexpr std::size_t kMost = 253;  ///< SCM_MAX_FD in the kernel: no more can go with one message
  std::uint64_t position = 0;
  std::uint32_t count = 0;
  std::uint32_t lost = 0;  ///< 1: the kernel could not give us all of them
  std::int32_t fds[kMost] = {};
};

/// One stream at a time, in a sealed memfd that no client is given. Two cursors, one of which counts: storing which is
/// the commit, and nothing else is. The bytes themselves are written to places that no cursor that counts names.
/// It is for the death of a process, not of the machine: stores that have retired are there, in the order of the
/// program. Thread: the stream's.
class StreamRecord {
 public:
  /// For streams that have at most `longest` bytes received and not served, and as many queued and not sent. Pages that
  /// are never written take no memory.
  [[nodiscard]] static Result<StreamRecord> create(std::size_t longest);
  /// What another process has left. The error is for people.
  [[nodiscard]] static tl::expected<StreamRecord, std::string> open(UniqueFd fd);

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

  /// A stream begins, of which nothing is known yet.
  void clear() noexcept;

  // --- receiving ---
  /// recvmmsg() of at most `limit` bytes, which received() then makes count. As recvmsg(): `message` is as it leaves
  /// it, `bytes` what came.
  [[nodiscard]] ssize_t receive(int socket, std::size_t limit, int flags, msghdr& message,
                                std::span<const std::byte>& bytes) noexcept;
  /// What receive() has just read counts, and the numbers of descriptors that came with it, all of their message so
  /// far.
  void received(std::size_t bytes, const StreamFds* fds) noexcept;

  // --- requests ---
  /// The message at `position` is being served; the process may die of it.
  void begin(std::uint64_t position) noexcept;
  /// Everything before `served`, a position, is done, with `image` of the control slots; `output` was queued since the
  /// last commit, and `fds` go with it, kDepartures messages of such at most.
  void commit(std::uint64_t served, std::uint64_t image, std::span<const std::byte> output,
              std::span<const StreamFds> fds) noexcept;
  /// How many commits there were: what belongs to requests that are not committed carries this number.
  [[nodiscard]] std::uint64_t round() const noexcept { return current().round; }

  // --- sending ---
  /// sendmmsg() of what is queued, from its first byte on; what was sent then counts. As sendmsg().
  [[nodiscard]] ssize_t send(int socket, msghdr& message, int flags) noexcept;

  // --- whoever takes over ---
  struct Left {
    std::uint64_t image = 0;                    ///< which image of the control slots belongs to it
    std::uint64_t round = 0;                    ///< what carries this number was not committed
    std::uint64_t in_position = 0;              ///< of the first byte of `in`
    std::uint64_t out_position = 0;             ///< of the first byte of `out`
    std::vector<std::byte> in, out;             ///< received and not served, queued and not sent
    std::vector<StreamFds> arrived, departing;  ///< in order; a message may have several
    bool died_serving = false;                  ///< a message of `in`
    std::uint32_t deaths = 0;                   ///< how many processes have died of that message, the last one included
  };
  /// Completes what a system call had done when its process died. `owner_of`: where in these bytes the message begins
  /// that the last of them belongs to. The error, for people, is of a record that cannot be.
  using OwnerOf = std::size_t (*)(std::span<const std::byte> bytes, std::size_t max_message);
  [[nodiscard]] tl::expected<Left, std::string> left(OwnerOf owner_of, std::size_t max_message) const;
  /// Of a record that is clear: begins with these bytes and numbers of this process's descriptors, positions from the
  /// first of the bytes on; `deaths` as in Left. no_space when it is too small.
  [[nodiscard]] Result<void> begin_with(std::span<const std::byte> in, std::span<const StreamFds> arrived,
                                        std::uint32_t deaths) noexcept;

  static constexpr std::size_t kDepartures = 8;  ///< messages with descriptors that may be queued

 private:
  static constexpr std::size_t kArrivals = 4;
  /// Where the stream stands. Positions count its bytes from the first; a base is that of the first byte of a buffer.
  struct Cursor {
    std::uint64_t generation;  // one more with each commit
    std::uint64_t round, image;
    std::uint64_t in_base, in_begin, in_end;
    std::uint64_t out_base, out_sent, out_end;
    std::uint8_t arrivals, departures;  // how many of these count
    std::uint8_t arrived[kArrivals];    // their places, oldest first
    std::uint8_t departing[kDepartures];
  };
  struct Call;
  struct State;
  StreamRecord(UniqueFd fd, Mapping mapping) noexcept : fd_(std::move(fd)), mapping_(std::move(mapping)) {}
  [[nodiscard]] State& state() const noexcept;
  [[nodiscard]] const Cursor& current() const noexcept;
  void flip(Cursor next) noexcept;
  [[nodiscard]] std::span<std::byte> in() const noexcept;
  [[nodiscard]] std::span<std::byte> out() const noexcept;
  UniqueFd fd_;
  Mapping mapping_;
};

}  // namespace vmux::ipc
