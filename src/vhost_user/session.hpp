// SPDX-License-Identifier: BSD-3-Clause
// One front end, from its first message to its last. The requests are a table in session.cpp; their handlers are in
// session_*.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "vhost_user/calls.hpp"
#include "vhost_user/dirty_log.hpp"
#include "vhost_user/memory_map.hpp"
#include "vhost_user/messages.hpp"
#include "vhost_user/server.hpp"
#include "virtio/device.hpp"
#include "vmux/base/counter.hpp"
#include "vmux/base/log.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::state {
class FdBag;
class Reader;
class Writer;
}  // namespace vmux::state

namespace vmux::vhost_user {

struct SavedRing;
struct SavedSession;

struct SessionCounters {
  Counter connections, requests, errors, kicks, strangers;
  MapCounters regions;
};

/// Keeps what a session has done for the time after this process.
class SessionRecorder {
 public:
  /// Keeps what has changed, if the session or its device says that anything has. The number of the image that counts.
  virtual std::uint64_t keep(bool session_has_changed) noexcept = 0;
  /// That image counts from now on. False: it is behind, and what the one before it names is to stay.
  [[nodiscard]] virtual bool kept() noexcept = 0;
  [[nodiscard]] virtual ipc::StreamRecord& stream() noexcept = 0;

 protected:
  ~SessionRecorder() = default;
};

/// What the session needs and does not own; all of it outlives the session.
struct SessionContext {
  runtime::Poller& poller;
  virtio::Device& device;
  memory::AddressSpace& memory;
  Calls& calls;
  const ServerOptions& options;
  SessionCounters& counters;
  SessionRecorder* recorder = nullptr;  ///< nobody keeps anything
};

/// How many rings a front end may set up: a card's control queue is not among them.
[[nodiscard]] unsigned ring_count(const virtio::Device& device) noexcept;

/// Serves requests in order. Home thread.
class Session final : private runtime::Task {
 public:
  /// `ended` is called as the last thing that an event does when the front end is gone or was thrown out; it may
  /// destroy the session.
  Session(SessionContext context, ipc::Connection socket, std::function<void()> ended);
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// `is_awaited`: it ends by itself when nothing has come within `first_message_timeout_ms`.
  [[nodiscard]] Result<void> start(bool is_awaited);
  /// No event reaches the session any more, and no ring runs.
  void detach() noexcept;
  [[nodiscard]] Agreement agreement() const noexcept;
  /// See Server::peer().
  [[nodiscard]] pid_t peer() const noexcept { return ipc::peer_of(stream_.fd()); }
  /// Between two requests: what adopt() takes. Nothing changes here; the device's own state
  /// is not in it.
  /// `with_stream`: bytes under way, too; a recorder has them.
  [[nodiscard]] Result<void> save(state::Writer& into, state::FdBag& fds, bool with_stream = true) const;
  /// What has been marked so far is in the front end's log.
  void log_all() noexcept;
  /// As detach(), but what the front end has given is somebody else's by now, and nobody hears of the end.
  void let_go() noexcept;
  /// In place of start(), with a device that is paused: goes on where that one was when go_on() is called. On an error,
  /// which is for people, it has let go.
  [[nodiscard]] tl::expected<void, std::string> adopt(state::Reader& from, const state::FdBag& fds);
  [[nodiscard]] Result<void> go_on();
  /// What was served so far counts, and is kept, if there is a recorder.
  void commit() noexcept;
  /// It has sent a request that could be served.
  [[nodiscard]] bool has_spoken() const noexcept { return has_spoken_; }

 private:
  static constexpr std::uint64_t kLogPeriod_ns = 50'000'000;  // how old a write is, at most, that no front end sees

  friend struct RequestTable;  // names the handlers
  struct Message {
    const Header& header;
    std::span<const std::byte> payload;
    std::span<UniqueFd> fds;
  };
  struct Row;
  /// Lets a callback that may come late find out that the session is gone.
  struct Anchor {
    Session* session;
  };
  /// What the front end has said of a ring.
  struct Ring {
    std::uint16_t size = 0;  ///< 0: not said yet
    std::optional<wire::vhost_user::RingAddresses> addresses;
    virtio::QueueState state;           ///< while it does not run: where it stopped
    std::optional<std::uint32_t> base;  ///< SET_VRING_BASE since then, in its place
    bool has_kick = false;              ///< SET_VRING_KICK has come since it stopped last: it may run
    UniqueFd kick;
    runtime::Watch watch;
    std::optional<bool> enabled;  ///< SET_VRING_ENABLE; not given: see is_enabled()
    bool runs = false;
  };

  // session.cpp: events, order, replies
  void on_ready(std::uint32_t events);
  void on_patrol();
  void on_quiet();
  void process();
  void trace(const Incoming& message) noexcept;
  void dispatch(Incoming& message);
  void depart(UniqueFd fd);
  [[nodiscard]] Result<void> serve(const Row& row, Incoming& message);
  void acknowledge(const Header& header, bool is_done);
  [[nodiscard]] MessageStream::Io flush();
  void settle();
  void finish_event();
  void refuse(const Header& header, const Error& error);
  void end(LogLevel level, std::string_view why) noexcept;
  void arm_patrol() noexcept;
  [[nodiscard]] bool may_read() const noexcept;
  [[nodiscard]] bool has(std::uint64_t protocol_feature) const noexcept {
    return (protocol_features_ & protocol_feature) != 0;
  }
  /// Later requests wait until what the caller has taken away is used by nobody.
  [[nodiscard]] std::function<void()> hold_up();
  // runtime::Task: rings whose front end cannot kick
  unsigned poll() noexcept override;
  [[nodiscard]] bool needs_polling() const noexcept override;

  // session_features.cpp: what both sides can
  Result<void> get_features(const Message& message);
  Result<void> set_features(const Message& message);
  Result<void> set_owner(const Message& message);
  Result<void> ignore(const Message& message);
  Result<void> get_protocol_features(const Message& message);
  Result<void> set_protocol_features(const Message& message);
  Result<void> get_queue_num(const Message& message);
  Result<void> get_max_mem_slots(const Message& message);
  Result<void> get_status(const Message& message);
  Result<void> set_status(const Message& message);
  Result<void> reset_device(const Message& message);
  Result<void> net_set_mtu(const Message& message);
  Result<void> send_rarp(const Message& message);
  [[nodiscard]] std::uint64_t offered_features() const noexcept;
  [[nodiscard]] std::uint64_t offered_protocol_features() const noexcept;

  // session_config.cpp: configuration space, of devices whose front end has none of its own
  Result<void> get_config(const Message& message);
  Result<void> set_config(const Message& message);
  Result<void> set_backend_req_fd(const Message& message);

  // session_memory.cpp: memory and its dirty log
  Result<void> set_mem_table(const Message& message);
  Result<void> add_mem_reg(const Message& message);
  Result<void> rem_mem_reg(const Message& message);
  Result<void> set_log_base(const Message& message);
  Result<void> set_logging(bool is_on);
  void carry_over_log();
  void on_log_timer();

  // session_rings.cpp
  Result<void> set_vring_num(const Message& message);
  Result<void> set_vring_addr(const Message& message);
  Result<void> set_vring_base(const Message& message);
  Result<void> get_vring_base(const Message& message);
  Result<void> set_vring_kick(const Message& message);
  Result<void> set_vring_call(const Message& message);
  Result<void> set_vring_err(const Message& message);
  Result<void> set_vring_enable(const Message& message);
  [[nodiscard]] Ring* ring(std::uint64_t index) noexcept { return index < rings_.size() ? &rings_[index] : nullptr; }
  /// The index in such a payload, and its descriptor, if it has one. An error: it does not match what came with it.
  struct RingFd {
    unsigned index;
    UniqueFd fd;
  };
  [[nodiscard]] Result<RingFd> take_ring_fd(const Message& message) noexcept;
  [[nodiscard]] bool is_enabled(const Ring& ring) const noexcept;
  [[nodiscard]] bool should_run(const Ring& ring) const noexcept;
  [[nodiscard]] bool is_packed() const noexcept;
  /// Starts or stops the ring, as what is known of it wants it. An error: it should run, and cannot.
  Result<void> update_ring(unsigned index);
  void stop_ring(unsigned index) noexcept;
  void stop_rings() noexcept;
  /// After stop_rings(), or a change of memory: those that can.
  void start_rings() noexcept;
  [[nodiscard]] std::optional<virtio::QueueSetup> setup_of(const Ring& ring) const noexcept;
  [[nodiscard]] Result<void> start_ring(unsigned index);
  void on_kick(unsigned index) noexcept;
  [[nodiscard]] Result<void> watch_kick(unsigned index);

  // session_state.cpp: another object's session
  [[nodiscard]] Result<void> save_rings(SavedSession& into, state::FdBag& fds) const;
  [[nodiscard]] tl::expected<void, std::string> load(const SavedSession& saved, const state::FdBag& fds,
                                                     std::uint32_t deaths);
  [[nodiscard]] tl::expected<void, std::string> load_ring(unsigned index, const SavedRing& saved,
                                                          const state::FdBag& fds);

  SessionContext context_;
  MessageStream stream_;
  std::function<void()> ended_callback_;
  std::shared_ptr<Anchor> anchor_;
  runtime::Watch watch_;
  std::uint32_t watched_ = 0;
  runtime::Timer patrol_;
  std::uint64_t speak_by_ns_ = 0;  ///< 0: whenever it likes
  RateLimit complaints_;

  std::uint64_t protocol_features_ = 0;
  std::uint64_t features_ = 0;             ///< of SET_FEATURES, the transport's own included
  std::optional<std::uint64_t> accepted_;  ///< by the device; none: it has been reset
  std::uint8_t status_ = 0;                ///< of SET_STATUS: each connection begins with 0
  std::vector<Ring> rings_;
  MemoryMap map_;
  memory::GuestMemory reader_;
  std::unique_ptr<DirtyLog> log_;
  runtime::Timer more_;  ///< requests that one turn had no time for
  runtime::Timer log_timer_;

  std::optional<Header> held_up_;  ///< of the request whose answer is due when nothing holds it up any more
  bool is_held_up_ = false;
  bool in_event_ = false;
  bool has_spoken_ = false;
  bool has_served_ = true;  ///< since the last commit; a session that begins is one more thing to keep
  bool holds_dma_ = false;  ///< until the next one: a ring was started that no image has yet
  bool ended_ = false;
  // Until the next commit: of requests that may have to be served again, and what the image that counts still names.
  std::vector<UniqueFd> served_fds_, departed_;
  std::vector<std::unique_ptr<DirtyLog>> departed_logs_;
};

}  // namespace vmux::vhost_user
