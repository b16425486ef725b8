// SPDX-License-Identifier: BSD-3-Clause
// Listens, accepts one client at a time, and cleans up between them.
#include "vmux/vfio_user/server.hpp"

#include <sys/epoll.h>

#include <cerrno>

#include "base/logf.hpp"
#include "vfio_user/saved_session.hpp"
#include "vfio_user/server_impl.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::vfio_user {
namespace {

constexpr std::uint64_t kAcceptRetry_ns = 100'000'000;  // after running out of descriptors

}  // namespace

// Watched only while a client can be taken: others wait in the backlog, without events.
void Server::Impl::listen() {
  if (!listener || session || draining || listen_watch) return;
  auto watch = poller.watch(listener->fd(), EPOLLIN, [this](std::uint32_t) { accept(); });
  if (watch) {
    listen_watch = std::move(*watch);
    return;
  }
  logf(LogLevel::error, "{}: {}", endpoint.name(), watch.error().text());
  retry.arm_after(kAcceptRetry_ns);
}

void Server::Impl::accept() {
  auto connection = listener->accept();
  if (connection) {
    listen_watch.reset();
    if (!serve(std::move(*connection), options.version_timeout_ms)) listen();
    return;
  }
  const int why = connection.error().sys;
  if (why == EAGAIN || why == EINTR || why == ECONNABORTED) return;
  if (complaints.allow()) logf(LogLevel::error, "{}: {}", endpoint.name(), connection.error().text());
  listen_watch.reset();
  retry.arm_after(kAcceptRetry_ns);
}

Result<void> Server::Impl::serve(ipc::Connection connection, unsigned version_timeout_ms) {
  if (session || draining) return fail(Errc::busy, "a client is attached");
  make_session(std::move(connection));
  if (auto started = session->start(version_timeout_ms); !started) {
    session.reset();
    return started;
  }
  listen_watch.reset();
  counters.connections.add();
  session->commit();
  is_connected.store(true, std::memory_order_relaxed);
  return {};
}

void Server::Impl::make_session(ipc::Connection connection) {
  session =
      std::make_unique<Session>(SessionContext{poller, endpoint, options, counters, is_recorded() ? this : nullptr},
                                std::move(connection), [this] { next_client(); });
}

// Nothing is let go before all has been kept.
Result<state::Suspended> Server::Impl::suspend() {
  state::Suspended out;
  state::Writer writer;
  writer.add(SavedServer{session != nullptr, listener.has_value(), counters.connections.get(), counters.requests.get(),
                         counters.errors.get(), counters.dma_maps.get(), counters.dma_unmaps.get()});
  if (listener) {
    if (auto done = out.fds.put_copy("listener", listener->fd()); !done) return tl::unexpected(done.error());
  }
  if (session) {
    if (auto done = session->save(writer, out.fds); !done) return tl::unexpected(done.error());
    if (session->is_negotiated()) {
      if (auto done = endpoint.suspend(writer, out.fds); !done) return tl::unexpected(done.error());
    }
  }
  let_go();
  out.image = std::move(writer).finish();
  return out;
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
    make_session(ipc::Connection{std::move(*socket)});
    if (auto done = session->adopt(*reader, from.fds); !done) return done;
  }
  if (auto done = reader->finish(); !done) return done;
  counters.connections.set(saved.connections);
  counters.requests.set(saved.requests);
  counters.errors.set(saved.errors);
  counters.dma_maps.set(saved.dma_maps);
  counters.dma_unmaps.set(saved.dma_unmaps);
  return {};
}

Result<void> Server::Impl::go_on() {
  if (!session) {
    await_client();
    return {};
  }
  if (auto done = session->go_on(); !done) return done;
  is_connected.store(true, std::memory_order_relaxed);
  if (session->is_negotiated()) endpoint.go_on();
  return {};
}

void Server::Impl::drop_session(const std::function<void()>& quiet) {
  session->detach();
  const bool was_attached = session->is_negotiated();
  if (was_attached) endpoint.client_gone(quiet);
  session->abort_dma();
  const auto last = std::move(session);
  keep_all();  // before its descriptors are closed, whose numbers others may get
  is_connected.store(false, std::memory_order_relaxed);
  if (!was_attached) quiet();
}

void Server::Impl::next_client() {
  draining = true;
  drop_session(when_drained());
  listen();  // again: the memory may have been quiet before the session had gone
}

/// The first one, of an endpoint that may have to be waited for.
void Server::Impl::await_client() {
  draining = true;
  endpoint.await_ready(when_drained());
}

std::function<void()> Server::Impl::when_drained() {
  return [anchor = anchor] {
    if (anchor->server == nullptr) return;
    anchor->server->draining = false;
    anchor->server->listen();
  };
}

Server::Server(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::create(runtime::Poller& poller, pci::Endpoint& endpoint,
                                               ServerOptions options) {
  auto impl = std::make_unique<Impl>(poller, endpoint, std::move(options));
  if (auto made = impl->make_record(); !made) return tl::unexpected(made.error());
  if (!impl->options.path.empty()) {
    auto listener =
        ipc::Listener::open(impl->options.path, {impl->options.mode, impl->options.owner, impl->options.group});
    if (!listener) return tl::unexpected(listener.error());
    impl->listener.emplace(std::move(*listener));
  }
  impl->await_client();
  impl->keep_all();
  if (impl->options.spin) poller.add_task(*impl);
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

const std::string& Server::path() const noexcept { return impl_->options.path; }

ServerStats Server::stats() const noexcept {
  const auto& counters = impl_->counters;
  return {.connections = counters.connections.get(),
          .requests = counters.requests.get(),
          .errors = counters.errors.get(),
          .dma_maps = counters.dma_maps.get(),
          .dma_unmaps = counters.dma_unmaps.get(),
          .region_reads = counters.region_reads.get(),
          .region_writes = counters.region_writes.get(),
          .is_connected = impl_->is_connected.load(std::memory_order_relaxed),
          .strangers = counters.strangers.get()};
}

pid_t Server::peer() const noexcept { return impl_->session ? impl_->session->peer() : 0; }

bool Server::announce_departure(bool for_good) noexcept {
  const bool has_client = impl_->session && impl_->session->is_negotiated();
  return has_client && impl_->endpoint.announce_departure(for_good);
}

Result<state::Suspended> Server::suspend() { return impl_->suspend(); }

tl::expected<std::unique_ptr<Server>, std::string> Server::adopt(runtime::Poller& poller, pci::Endpoint& endpoint,
                                                                 ServerOptions options, const state::Suspended& from) {
  auto server = adopt_paused(poller, endpoint, std::move(options), from);
  if (!server) return server;
  if (auto done = (*server)->go_on(); !done) {
    (*server)->impl_->let_go();
    return tl::unexpected(done.error().text());
  }
  return server;
}

tl::expected<std::unique_ptr<Server>, std::string> Server::adopt_paused(runtime::Poller& poller,
                                                                        pci::Endpoint& endpoint, ServerOptions options,
                                                                        const state::Suspended& from) {
  auto impl = std::make_unique<Impl>(poller, endpoint, std::move(options));
  if (auto done = impl->make_record(); !done) return tl::unexpected(done.error().text());
  if (auto adopted = impl->adopt(from); !adopted) {
    impl->let_go();
    return tl::unexpected(adopted.error());
  }
  impl->keep_all();
  if (impl->options.spin) poller.add_task(*impl);
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Result<void> Server::go_on() { return impl_->go_on(); }

Server::Record Server::record() const noexcept {
  if (!impl_->slots) return {};
  return {impl_->slots->fd(), impl_->stream_record->fd()};
}

void Server::give_up(state::Suspended from) noexcept { ipc::give_up(from); }

Result<void> Server::adopt(UniqueFd connection) { return impl_->serve(ipc::Connection{std::move(connection)}, 0); }

}  // namespace vmux::vfio_user
