// SPDX-License-Identifier: BSD-3-Clause
// Listens or connects, serves one front end at a time, and cleans up between them.
#include "vhost_user/server.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

#include "base/logf.hpp"
#include "ipc/listener.hpp"
#include "vhost_user/saved_session.hpp"
#include "vhost_user/session.hpp"
#include "vmux/base/clock.hpp"
#include "vmux/state/arena.hpp"
#include "vmux/state/control_slots.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::vhost_user {
namespace {

constexpr std::uint64_t kAcceptRetry_ns = 100'000'000;  // after running out of descriptors
// Between two tries to connect, and between sessions of a front end that comes and goes: doubled each time.
constexpr std::uint64_t kFirstPause_ns = 10'000'000, kLongestPause_ns = 1'000'000'000;
constexpr unsigned kFreeTries = 3;                    // of each, without a pause
constexpr std::uint64_t kSettled_ns = 2'000'000'000;  // a session this long was none of a loop

/// How long to wait before the next try.
class Patience {
 public:
  void succeeded() noexcept { tries_ = 0; }
  [[nodiscard]] std::uint64_t after_failure() noexcept {
    if (tries_ < kFreeTries + 10) ++tries_;
    if (tries_ <= kFreeTries) return 0;
    return std::min(kFirstPause_ns << (tries_ - kFreeTries - 1), kLongestPause_ns);
  }
  [[nodiscard]] unsigned tries() const noexcept { return tries_; }
  void set_tries(unsigned tries) noexcept { tries_ = std::min(tries, kFreeTries + 10); }

 private:
  unsigned tries_ = 0;
};

Result<void> check_peer(int socket, const ServerOptions& options) noexcept {
  if (!options.peer && !options.connects) return {};
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return fail_errno("cannot tell who connected");
  const bool is_expected =
      options.peer ? peer.uid == *options.peer
                   : peer.uid == 0 || peer.uid == ::geteuid() || (options.owner && peer.uid == *options.owner);
  if (!is_expected) return fail(Errc::permission, "the process at the other end is another user's");
  return {};
}

}  // namespace

struct Server::Impl final : SessionRecorder {
  /// Lets a callback that may come late find out that the server is gone.
  struct Anchor {
    Impl* server;
  };

  Impl(runtime::Poller& on, virtio::Device& served, ServerOptions how)
      : poller(on),
        device(served),
        options(std::move(how)),
        calls(ring_count(served)),
        retry(poller, [this] { next(); }),
        anchor(std::make_shared<Anchor>(Anchor{this})) {
    device.connect(calls, memory);
  }
  ~Impl() {  // NOLINT: nobody has it by its interface
    anchor->server = nullptr;
    retry.disarm();
    if (session) drop_session([] {});
    device.disconnect();
  }

  void next();
  void accept();
  void connect();
  Result<void> serve(ipc::Connection connection, bool is_adopted);
  void drop_session(std::function<void()> quiet);
  void session_ended();
  void make_session(ipc::Connection connection);
  [[nodiscard]] Result<void> save(state::Writer& into, state::FdBag& fds, bool with_stream) const;
  [[nodiscard]] Result<state::Suspended> suspend();
  void let_go() noexcept;
  [[nodiscard]] tl::expected<void, std::string> adopt(const state::Suspended& from);
  [[nodiscard]] Result<void> go_on();
  // What is left when the process dies.
  [[nodiscard]] Result<void> make_record();
  [[nodiscard]] Result<std::vector<std::byte>> image() const;
  void keep_all() noexcept;
  std::uint64_t keep(bool session_has_changed) noexcept override;
  bool kept() noexcept override;
  [[nodiscard]] ipc::StreamRecord& stream() noexcept override { return *stream_record; }

  runtime::Poller& poller;
  virtio::Device& device;
  ServerOptions options;
  SessionCounters counters;
  std::atomic<bool> is_connected{false};
  Calls calls;
  memory::AddressSpace memory;
  std::optional<ipc::Listener> listener;
  runtime::Watch listen_watch;
  runtime::Timer retry;
  Patience sessions, connects;
  std::uint64_t since_ns = 0;  // of this session
  bool has_complained = false;
  std::unique_ptr<Session> session;
  std::shared_ptr<Anchor> anchor;
  // Where another process finds what this one did.
  std::optional<state::ControlSlots> slots;
  std::optional<ipc::StreamRecord> stream_record;
  bool is_image_behind = true;  // there is none yet, or the last one could not be written
  RateLimit record_complaints;
  bool draining = false;  // the last front end's memory may still be touched
};

// Watched only while a front end can be taken: others wait in the backlog, without events.
void Server::Impl::next() {
  if (session || draining || listen_watch || retry.is_armed()) return;
  if (options.connects) return connect();
  if (!listener) return;
  auto watch = poller.watch(listener->fd(), EPOLLIN, [this](std::uint32_t) { accept(); });
  if (watch) {
    listen_watch = std::move(*watch);
    return;
  }
  logf(LogLevel::error, "{}: {}", options.name, watch.error().text());
  retry.arm_after(kAcceptRetry_ns);
}

void Server::Impl::accept() {
  auto connection = listener->accept();
  if (connection) {
    listen_watch.reset();
    if (auto served = serve(std::move(*connection), false); !served) {
      logf(LogLevel::warning, "{}: a front end was sent away: {}", options.name, served.error().text());
      retry.arm_after(sessions.after_failure());
    }
    return;
  }
  const int why = connection.error().sys;
  if (why == EAGAIN || why == EINTR || why == ECONNABORTED) return;
  logf(LogLevel::error, "{}: {}", options.name, connection.error().text());
  listen_watch.reset();
  retry.arm_after(kAcceptRetry_ns);
}

void Server::Impl::connect() {
  auto connection = ipc::connect_to(options.path, ipc::Wait::no);
  auto served = connection ? serve(std::move(*connection), false) : Result<void>{tl::unexpected(connection.error())};
  if (served) {
    connects.succeeded();
    has_complained = false;
    return;
  }
  if (!std::exchange(has_complained, true)) {
    logf(LogLevel::info, "{}: waits for its front end: {}", options.name, served.error().text());
  }
  retry.arm_after(std::max(connects.after_failure(), kFirstPause_ns));
}

Result<void> Server::Impl::serve(ipc::Connection connection, bool is_adopted) {
  if (session || draining) return fail(Errc::busy, "a front end is attached");
  if (!is_adopted) {
    if (auto checked = check_peer(connection.get(), options); !checked) return checked;
  }
  make_session(std::move(connection));
  // Who listens for us decides when to speak.
  if (auto started = session->start(/*is_awaited=*/!is_adopted && !options.connects); !started) {
    session.reset();
    return started;
  }
  listen_watch.reset();
  counters.connections.add();
  since_ns = monotonic_ns();
  session->commit();
  is_connected.store(true, std::memory_order_relaxed);
  return {};
}

void Server::Impl::make_session(ipc::Connection connection) {
  session = std::make_unique<Session>(
      SessionContext{poller, device, memory, calls, options, counters, slots ? this : nullptr}, std::move(connection),
      [this] { session_ended(); });
}

// Rings stop, then calls end, then memory goes: nothing of the old front end's is used behind this.
void Server::Impl::drop_session(std::function<void()> quiet) {
  session->detach();
  auto last = std::move(session);
  keep_all();  // before its descriptors are closed, whose numbers others may get
  last.reset();
  is_connected.store(false, std::memory_order_relaxed);
  device.reset(/*client_gone=*/true);
  calls.drop_all();
  memory.stop_dirty_log();
  memory.unmap_all(std::move(quiet));
}

void Server::Impl::session_ended() {
  draining = true;
  if (monotonic_ns() - since_ns >= kSettled_ns) sessions.succeeded();
  drop_session([anchor = anchor] {
    if (anchor->server == nullptr) return;
    anchor->server->draining = false;
    anchor->server->retry.arm_after(anchor->server->sessions.after_failure());
  });
}

Result<void> Server::Impl::save(state::Writer& into, state::FdBag& fds, bool with_stream) const {
  into.add(SavedServer{.has_session = session != nullptr,
                       .listens = listener.has_value(),
                       .connections = counters.connections.get(),
                       .requests = counters.requests.get(),
                       .errors = counters.errors.get(),
                       .kicks = counters.kicks.get(),
                       .session_age_ns = session ? monotonic_ns() - since_ns : 0,
                       .sessions = sessions.tries(),
                       .connecting = connects.tries()});
  if (listener) {
    if (auto done = fds.put_copy("listener", listener->fd()); !done) return done;
  }
  if (!session) return {};
  if (auto done = session->save(into, fds, with_stream); !done) return done;
  device.save(into);
  return {};
}

// Nothing is let go before all has been kept.
Result<state::Suspended> Server::Impl::suspend() {
  state::Suspended out;
  state::Writer writer;
  if (session) {
    device.pause();
    session->log_all();
  }
  if (auto done = save(writer, out.fds, /*with_stream=*/true); !done) {
    if (session) device.resume();
    return tl::unexpected(done.error());
  }
  let_go();
  out.image = std::move(writer).finish();
  return out;
}

Result<void> Server::Impl::make_record() {
  if (!options.keeps_record) return {};
  auto made = state::ControlSlots::create(state::kMaxImage);
  if (!made) return tl::unexpected(made.error());
  auto stream = ipc::StreamRecord::create(MessageStream::kLongestStream);
  if (!stream) return tl::unexpected(stream.error());
  slots.emplace(std::move(*made));
  stream_record.emplace(std::move(*stream));
  return {};
}

// Descriptors stay where they are, under the names that they would have.
Result<std::vector<std::byte>> Server::Impl::image() const {
  state::Writer writer;
  auto fds = state::FdBag::of_numbers();
  if (auto done = save(writer, fds, /*with_stream=*/false); !done) return tl::unexpected(done.error());
  if (const state::Arena* const arena = device.arena(); session && arena != nullptr) {
    if (auto done = fds.put_copy("cursors", arena->fd()); !done) return tl::unexpected(done.error());
  }
  writer.add(state::numbers_of(fds), state::Presence::optional);
  return std::move(writer).finish();
}

std::uint64_t Server::Impl::keep(bool session_has_changed) noexcept {
  const bool has_changed = calls.take_change() || session_has_changed;
  if (!has_changed && !is_image_behind) return slots->sequence();
  auto now = image();
  auto written = now ? slots->write(*now) : tl::unexpected<Error>(now.error());
  is_image_behind = !written;
  if (!written && record_complaints.allow()) {
    logf(LogLevel::error, "{}: it would not survive the death of this process: {}", options.name,
         written.error().text());
  }
  return slots->sequence();
}

bool Server::Impl::kept() noexcept {
  if (!is_image_behind) memory.forget_departed();
  return !is_image_behind;
}

void Server::Impl::keep_all() noexcept {
  if (!slots) return;
  if (session) return session->commit();
  keep(true);
  static_cast<void>(kept());
}

void Server::Impl::let_go() noexcept {
  if (session) session->let_go();
  session.reset();
  retry.disarm();
  listen_watch.reset();
  if (listener) listener->let_go();
  listener.reset();
  is_connected.store(false, std::memory_order_relaxed);
}

tl::expected<void, std::string> Server::Impl::adopt(const state::Suspended& from) {
  auto reader = state::Reader::open(from.image);
  if (!reader) return tl::unexpected(reader.error());
  SavedServer saved;
  if (auto done = reader->load(saved); !done) return done;
  if (saved.listens) {
    auto socket = from.fds.copy("listener");
    auto adopted = socket ? ipc::Listener::adopt(std::move(*socket), options.path) : tl::unexpected(socket.error());
    if (!adopted) return tl::unexpected(adopted.error().text());
    listener.emplace(std::move(*adopted));
  }
  if (saved.has_session) {
    auto socket = from.fds.copy("connection");
    if (!socket) return tl::unexpected(socket.error().text());
    device.pause();
    make_session(ipc::Connection{std::move(*socket)});
    if (auto done = session->adopt(*reader, from.fds); !done) return done;
    if (auto done = device.load(*reader); !done) return done;
    device.has_stayed();
    auto cursors = from.fds.copy("cursors");
    if (state::Arena* const arena = device.arena(); cursors && arena != nullptr) {
      if (auto done = arena->take_over(std::move(*cursors)); !done) return done;
      if (auto done = device.arena_taken_over(); !done) return done;
    }
  }
  if (auto done = reader->finish(); !done) return done;
  counters.connections.set(saved.connections);
  counters.requests.set(saved.requests);
  counters.errors.set(saved.errors);
  counters.kicks.set(saved.kicks);
  sessions.set_tries(saved.sessions);
  connects.set_tries(saved.connecting);
  since_ns = monotonic_ns() - std::min(monotonic_ns(), saved.session_age_ns);
  return {};
}

Result<void> Server::Impl::go_on() {
  if (!session) {
    next();
    return {};
  }
  if (auto done = session->go_on(); !done) return done;
  is_connected.store(true, std::memory_order_relaxed);
  device.resume();
  return {};
}

Server::Server(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::create(runtime::Poller& poller, virtio::Device& device, ServerOptions options) {
  auto impl = std::make_unique<Impl>(poller, device, std::move(options));
  if (auto made = impl->make_record(); !made) return tl::unexpected(made.error());
  if (!impl->options.path.empty()) {
    if (!impl->options.connects) {
      auto listener =
          ipc::Listener::open(impl->options.path, {impl->options.mode, impl->options.owner, impl->options.group});
      if (!listener) return tl::unexpected(listener.error());
      impl->listener.emplace(std::move(*listener));
    }
    impl->next();
  }
  impl->keep_all();
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

const std::string& Server::path() const noexcept { return impl_->options.path; }

ServerStats Server::stats() const noexcept {
  const auto& counters = impl_->counters;
  return {.connections = counters.connections.get(),
          .requests = counters.requests.get(),
          .errors = counters.errors.get(),
          .kicks = counters.kicks.get(),
          .dma_maps = counters.regions.maps.get(),
          .dma_unmaps = counters.regions.unmaps.get(),
          .is_connected = impl_->is_connected.load(std::memory_order_relaxed),
          .strangers = counters.strangers.get()};
}

Agreement Server::agreement() const noexcept { return impl_->session ? impl_->session->agreement() : Agreement{}; }

pid_t Server::peer() const noexcept { return impl_->session ? impl_->session->peer() : 0; }

memory::AddressSpace& Server::memory() noexcept { return impl_->memory; }

Result<state::Suspended> Server::suspend() { return impl_->suspend(); }

tl::expected<std::unique_ptr<Server>, std::string> Server::adopt(runtime::Poller& poller, virtio::Device& device,
                                                                 ServerOptions options, const state::Suspended& from) {
  auto server = adopt_paused(poller, device, std::move(options), from);
  if (!server) return server;
  if (auto done = (*server)->go_on(); !done) {
    (*server)->impl_->let_go();
    return tl::unexpected(done.error().text());
  }
  return server;
}

tl::expected<std::unique_ptr<Server>, std::string> Server::adopt_paused(runtime::Poller& poller, virtio::Device& device,
                                                                        ServerOptions options,
                                                                        const state::Suspended& from) {
  auto impl = std::make_unique<Impl>(poller, device, std::move(options));
  if (auto done = impl->make_record(); !done) return tl::unexpected(done.error().text());
  if (auto adopted = impl->adopt(from); !adopted) {
    impl->let_go();
    device.reset(/*client_gone=*/true);
    device.resume();  // for whoever begins anew with it
    return tl::unexpected(adopted.error());
  }
  impl->keep_all();
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Result<void> Server::go_on() { return impl_->go_on(); }

Server::Record Server::record() const noexcept {
  if (!impl_->slots) return {};
  return {impl_->slots->fd(), impl_->stream_record->fd()};
}

tl::expected<ipc::LeftBehind, std::string> Server::left_behind(UniqueFd image, UniqueFd stream,
                                                               const ipc::Fetch& fetch) {
  const auto has_session = [](state::Reader& from) {
    SavedServer server;
    return from.load(server) && server.has_session;
  };
  return ipc::left_behind(std::move(image), std::move(stream),
                          {&MessageStream::owner_of_last_byte, MessageStream::kLongestMessage, has_session}, fetch);
}

void Server::give_up(state::Suspended from) noexcept { ipc::give_up(from); }

Result<void> Server::adopt(UniqueFd connection) { return impl_->serve(ipc::Connection{std::move(connection)}, true); }

}  // namespace vmux::vhost_user
