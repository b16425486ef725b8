// SPDX-License-Identifier: BSD-3-Clause
// The daemon's side of being kept: what it says to its keeper, and what it finds of the daemon before it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "keeper/messages.hpp"
#include "keeper/segment.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/state/control_slots.hpp"

namespace vmux::keeper {

/// Name of the environment variable by which a keeper tells a daemon the number of its socket.
inline constexpr const char* kSocketVariable = "VMUX_KEEPER_SOCKET";

/// What there is of the objects of a daemon: a JSON text, and the epoch of the daemon whose descriptors it names.
struct Objects {
  std::uint32_t epoch = 0;
  std::string text;
};

/// Control thread, but for what watch_over() has other threads call.
class Lifeline {
 public:
  /// Of a process that a keeper started; nullptr of any other. Starts the twin: before there is a second thread. An
  /// error: the environment says so, and it is not so.
  /// `version` is this program's, for people.
  [[nodiscard]] static Result<std::unique_ptr<Lifeline>> from_environment(const std::string& version);

  /// What the keeper wants of a process that waits.
  enum class Task : std::uint8_t { none, serve, farewell };
  /// Waits for the keeper's word: to serve; to end all sessions of the predecessor politely, because daemons die again
  /// and again; or that it is not needed any more. A keeper that only asks is answered by `check`, which gives what
  /// would be carried over, or why it cannot be.
  using Check = std::function<tl::expected<std::string, std::string>(const Lifeline&)>;
  [[nodiscard]] Result<Task> wait_for_task(const Check& check);

  /// The daemon before this one left objects, and this one is to go on with them.
  [[nodiscard]] bool has_predecessor() const noexcept { return objects_.has_value(); }
  [[nodiscard]] const Objects& predecessor() const noexcept { return *objects_; }
  /// What the threads of the process before were about to touch when it died (runtime::LifeSign::burst).
  [[nodiscard]] const std::vector<std::uint32_t>& marks() const noexcept { return marks_; }
  /// The predecessor's descriptors of these numbers. Those that are not open there are missing.
  [[nodiscard]] Result<std::map<int, UniqueFd>> fetch(const std::vector<int>& numbers) const;

  /// From here on what the next daemon finds is this. Numbers in it are those of this process.
  [[nodiscard]] Result<void> keep_objects(const std::string& text);

  /// The keeper sees the poller's thread end, or stand still; `may_block`: it calls into the host, and may.
  void watch_over(runtime::PollerOptions& options, bool may_block);
  /// The control thread calls into the host for as long as the guard lives.
  class HostCall {
   public:
    explicit HostCall(Lifeline* lifeline) noexcept;
    ~HostCall();
    HostCall(const HostCall&) = delete;
    HostCall& operator=(const HostCall&) = delete;

   private:
    ThreadSigns* signs_;
  };

  void ready();     ///< everything is served; the predecessor's twin may go
  void stopping();  ///< this process ends because it was told to

  /// Readable when take() has something.
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  /// What the keeper says. disconnected: it is gone, and see accept_keeper().
  [[nodiscard]] Result<Message> take() { return receive_message(socket_.get(), /*may_wait=*/false); }
  [[nodiscard]] Result<void> say(Say what, std::uint32_t value = 0, std::string_view text = {},
                                 const std::vector<int>& fds = {});

  /// Where a new keeper finds a daemon that has lost its own: a listening socket at `path`.
  [[nodiscard]] Result<void> listen_for_keeper(const std::string& path);
  [[nodiscard]] int listener_fd() const noexcept { return listener_.get(); }
  /// Takes the next keeper, if it is a process of our user, and gives it all that the last one had.
  [[nodiscard]] Result<void> accept_keeper();

 private:
  Lifeline(UniqueFd socket, Segment segment, state::ControlSlots slots) noexcept
      : socket_(std::move(socket)), segment_(std::move(segment)), slots_(std::move(slots)) {}
  [[nodiscard]] Result<void> learn(const Message& go);

  UniqueFd socket_;
  Segment segment_;
  state::ControlSlots slots_;
  ThreadSigns* control_ = nullptr;
  std::uint32_t epoch_ = 0;
  int twin_socket_ = -1;  // the twin's end, in the common table: never closed
  std::optional<Objects> objects_;
  std::vector<std::uint32_t> marks_;
  UniqueFd source_;    // the socket of the predecessor's twin
  UniqueFd listener_;  // while there is no keeper
  std::string meeting_place_, version_;
};

}  // namespace vmux::keeper
