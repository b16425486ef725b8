// SPDX-License-Identifier: BSD-3-Clause
// One client of one function: from its VERSION to its last byte.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "vfio_user/dma_channel.hpp"
#include "vfio_user/migration.hpp"
#include "vfio_user/transport.hpp"
#include "vfio_user/twin_socket.hpp"
#include "vmux/base/counter.hpp"
#include "vmux/base/log.hpp"
#include "vmux/pci/endpoint.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/vfio_user/server.hpp"
#include "wire/vfio_user.hpp"

namespace vmux::vfio_user {

struct SessionCounters {
  Counter connections, requests, errors, dma_maps, dma_unmaps, strangers;
  Counter region_reads, region_writes;
};

/// Keeps what a session has done for the time after this process.
class SessionRecorder {
 public:
  /// Keeps what has changed, if the session or its endpoint says that anything has. The number of the image that
  /// counts.
  virtual std::uint64_t keep(bool session_has_changed) noexcept = 0;
  /// That image counts from now on: what only the one before it names may go.
  virtual void kept() noexcept = 0;
  [[nodiscard]] virtual StreamRecord& stream() noexcept = 0;

 protected:
  ~SessionRecorder() = default;
};

/// What the session needs and does not own; all of it outlives the session.
struct SessionContext {
  runtime::Poller& poller;
  pci::Endpoint& endpoint;
  const ServerOptions& options;
  SessionCounters& counters;
  SessionRecorder* recorder = nullptr;  ///< nobody keeps anything
};

/// The most bytes of a session's stream that are queued and not sent, or received and not served.
[[nodiscard]] std::size_t longest_stream(const ServerOptions& options);
/// The longest message of a client.
[[nodiscard]] std::size_t longest_message(const ServerOptions& options);

/// Serves requests in order, each by one handler that a table names. Home thread.
class Session final : private pci::Recorder {
 public:
  /// `ended` is called as the last thing that an event does when the client is gone or was thrown out; it may destroy
  /// the session.
  Session(SessionContext context, ipc::Connection socket, std::function<void()> ended);
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Ends by itself when VERSION has not come within `version_timeout_ms`, unless that is 0.
  [[nodiscard]] Result<void> start(unsigned version_timeout_ms);
  /// Reads what is there without waiting for an event; returns how many requests were served.
  unsigned poll();
  /// VERSION has been agreed on: the function knows of this client.
  [[nodiscard]] bool is_negotiated() const noexcept { return negotiated_; }
  /// See Server::peer().
  [[nodiscard]] pid_t peer() const noexcept { return ipc::peer_of(transport_.fd()); }
  /// No event reaches the session any more. Before Function::client_gone().
  void detach() noexcept;
  /// Ends the device's transfers by message. After Function::client_gone().
  void abort_dma() { dma_.abort(); }

  // session_state.cpp: one session goes on in another object, in front of the same client. Between events.
  /// Its section, and descriptors. Nothing changes here. `with_stream`: bytes under way, too; a recorder has them.
  [[nodiscard]] Result<void> save(state::Writer& into, state::FdBag& fds, bool with_stream = true) const;
  /// The client is somebody else's: nothing is said to it any more, and destroying this object does not end it.
  void let_go() noexcept;
  /// In place of start(): everything as it was in the other object, and the function with it. Nothing is served before
  /// go_on(). The error is for people; the client is not hung up on.
  [[nodiscard]] tl::expected<void, std::string> adopt(state::Reader& from, const state::FdBag& fds);
  [[nodiscard]] Result<void> go_on();
  /// What was served so far counts, and is kept, if there is a recorder.
  void commit() noexcept;

 private:
  friend struct CommandTable;  // names the handlers
  enum class Outcome : std::uint8_t { replied, deferred };
  struct Request {
    const Header& header;
    std::span<const std::byte> payload;
    std::span<UniqueFd> fds;
  };
  struct Row;
  struct PendingUnmap {
    Header header;
    wire::vfio_user::DmaUnmap body;
  };
  /// Lets a callback that may come late find out that the session is gone.
  struct Anchor {
    Session* session;
  };

  // session.cpp: events, order, replies
  void on_ready(std::uint32_t events);
  void on_patrol();
  void arm_patrol() noexcept;
  void on_quiet();
  [[nodiscard]] bool is_stranger() const noexcept;
  void process();
  void settle();
  void finish_event();
  void dispatch(Incoming& message);
  void open_round() noexcept;
  void run(const std::function<void()>& work) override;  // pci::Recorder
  [[nodiscard]] Result<Outcome> serve(const Row& row, Incoming& message);
  void end(LogLevel level, const char* why, const char* detail = "") noexcept;
  std::span<std::byte> reply(const Header& to, std::size_t payload_size, int error = 0);
  void reply_error(const Incoming& to, const Error& error);
  [[nodiscard]] bool may_read() const noexcept;

  // session_trace.cpp: nobody looks, mostly
  void trace(const Incoming& message) noexcept;
  void trace_refusal(const Header& header, int error) noexcept;
  void trace(TraceRecord::What what, std::uint32_t region, std::uint64_t offset,
             std::span<const std::byte> bytes) noexcept;
  Result<void> write_region(const wire::vfio_user::RegionRequest& request) noexcept;

  // session_info.cpp
  Result<Outcome> handle_version(const Request& request);
  Result<Outcome> handle_get_info(const Request& request);
  Result<Outcome> handle_get_region_info(const Request& request);
  Result<Outcome> handle_get_irq_info(const Request& request);
  [[nodiscard]] bool open_twin(const Request& request);
  // session_io_fds.cpp
  Result<Outcome> handle_get_region_io_fds(const Request& request);
  Result<void> open_io_events(std::uint32_t index, std::span<const pci::IoEvent> events);
  Result<void> watch_io_events(std::uint32_t index, std::vector<UniqueFd> fds);
  void on_io_event(int fd, pci::Region region, const pci::IoEvent& event);
  // session_access.cpp
  Result<Outcome> handle_region_read(const Request& request);
  Result<Outcome> handle_region_write(const Request& request);
  Result<Outcome> handle_write_multi(const Request& request);
  Result<Outcome> handle_reset(const Request& request);
  Result<Outcome> handle_set_irqs(const Request& request);
  void watch_intx_unmask();
  // session_dma.cpp
  Result<Outcome> handle_dma_map(const Request& request);
  Result<Outcome> handle_dma_unmap(const Request& request);
  void reply_unmap(const PendingUnmap& unmap);
  void on_twin_ready();
  // session_state.cpp
  [[nodiscard]] tl::expected<void, std::string> load(const struct SavedSession& saved, const state::FdBag& fds);
  // session_feature.cpp
  Result<Outcome> handle_feature(const Request& request);
  Result<Outcome> handle_mig_data_read(const Request& request);
  Result<Outcome> handle_mig_data_write(const Request& request);
  Result<Outcome> get_device_state(const Request& request);
  Result<Outcome> set_device_state(const Request& request, std::span<const std::byte> data);
  Result<Outcome> start_logging(const Request& request, std::span<const std::byte> data);
  Result<Outcome> report_logging(const Request& request, std::uint32_t argsz, std::span<const std::byte> data);
  Result<Outcome> echo(const Request& request);

  SessionContext context_;
  Transport transport_;
  std::optional<TwinSocket> twin_;  ///< what we ask the client goes here, if it wants that
  DmaChannel dma_;
  std::function<void()> ended_callback_;
  std::shared_ptr<Anchor> anchor_;
  runtime::Watch watch_;
  std::uint32_t watched_ = 0;
  runtime::Watch unmask_watch_;
  int unmask_fd_ = -1;
  /// An eventfd of ours that stands for writes, in the hands of the client as well.
  struct IoEventFd {
    UniqueFd fd;
    runtime::Watch watch;
  };
  std::array<std::vector<IoEventFd>, pci::kRegionCount> io_events_;  ///< made when a client asks for them
  std::uint64_t peer_max_fds_ = 1;
  runtime::Timer patrol_;
  std::uint64_t version_due_ns_ = 0;           ///< 0: whenever it comes
  std::optional<PendingUnmap> pending_unmap_;  ///< its reply is due when nothing is blocked
  MigrationMachine migration_;
  RateLimit complaints_;
  unsigned served_ = 0;
  bool negotiated_ = false;
  bool full_size_errors_ = false;  ///< the client reads replies of fixed sizes, whatever their error flag says
  bool write_multiple_ = false;
  bool in_event_ = false;
  bool has_changed_ = true;           ///< since the last commit(), beside its stream
  std::vector<UniqueFd> served_fds_;  ///< of messages that are not committed: they may have to be served again
  bool is_round_open_ = false;        ///< requests were served that are not committed
  bool is_behind_ = false;            ///< requests may have been received that are not served yet
  bool blocked_ = false;              ///< an UNMAP waits for readers: later requests wait behind it
  bool ended_ = false;
};

}  // namespace vmux::vfio_user
