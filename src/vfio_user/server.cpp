// SPDX-License-Identifier: BSD-3-Clause
// Listens, accepts one client at a time, and cleans up between them.
#include "vmux/vfio_user/server.hpp"

#include <sys/epoll.h>

#include <atomic>
#include <cerrno>

#include "base/logf.hpp"
#include "ipc/listener.hpp"
#include "vfio_user/session/session.hpp"

namespace vmux::vfio_user {
namespace {

constexpr std::uint64_t kAcceptRetry_ns = 100'000'000;  // after running out of descriptors

}  // namespace

struct Server::Impl final : runtime::Task {
  /// Lets a callback that may come late find out that the server is gone.
  struct Anchor {
    Impl* server;
  };

  Impl(runtime::Poller& on, pci::Endpoint& served, ServerOptions how)
      : poller(on),
        endpoint(served),
        options(std::move(how)),
        retry(poller, [this] { listen(); }),
        anchor(std::make_shared<Anchor>(Anchor{this})) {}

  ~Impl() override {
    anchor->server = nullptr;
    if (session) drop_session([] {});
    if (options.spin) poller.remove_task(*this);
  }

  unsigned poll() noexcept override { return session ? session->poll() : 0; }
  [[nodiscard]] bool needs_polling() const noexcept override { return session != nullptr; }

  void listen();
  void accept();
  Result<void> serve(ipc::Connection connection, unsigned version_timeout_ms);
  void drop_session(const std::function<void()>& quiet);
  void next_client();

  runtime::Poller& poller;
  pci::Endpoint& endpoint;
  ServerOptions options;
  SessionCounters counters;
  std::atomic<bool> is_connected{false};
  std::optional<ipc::Listener> listener;
  runtime::Watch listen_watch;
  runtime::Timer retry;
  std::unique_ptr<Session> session;
  std::shared_ptr<Anchor> anchor;
  bool draining = false;  // the last client's memory may still be touched
};

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
  logf(LogLevel::error, "{}: {}", endpoint.name(), connection.error().text());
  listen_watch.reset();
  retry.arm_after(kAcceptRetry_ns);
}

Result<void> Server::Impl::serve(ipc::Connection connection, unsigned version_timeout_ms) {
  if (session || draining) return fail(Errc::busy, "a client is attached");
  session = std::make_unique<Session>(SessionContext{poller, endpoint, options, counters}, std::move(connection),
                                      [this] { next_client(); });
  if (auto started = session->start(version_timeout_ms); !started) {
    session.reset();
    return started;
  }
  listen_watch.reset();
  counters.connections.add();
  is_connected.store(true, std::memory_order_relaxed);
  return {};
}

void Server::Impl::drop_session(const std::function<void()>& quiet) {
  session->detach();
  const bool was_attached = session->is_negotiated();
  if (was_attached) endpoint.client_gone(quiet);
  session->abort_dma();
  session.reset();
  is_connected.store(false, std::memory_order_relaxed);
  if (!was_attached) quiet();
}

void Server::Impl::next_client() {
  draining = true;
  drop_session([anchor = anchor] {
    if (anchor->server == nullptr) return;
    anchor->server->draining = false;
    anchor->server->listen();
  });
  listen();  // again: the memory may have been quiet before the session had gone
}

Server::Server(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::create(runtime::Poller& poller, pci::Endpoint& endpoint,
                                               ServerOptions options) {
  auto impl = std::make_unique<Impl>(poller, endpoint, std::move(options));
  if (!impl->options.path.empty()) {
    auto listener =
        ipc::Listener::open(impl->options.path, {impl->options.mode, impl->options.owner, impl->options.group});
    if (!listener) return tl::unexpected(listener.error());
    impl->listener.emplace(std::move(*listener));
    impl->listen();
  }
  if (impl->options.spin) poller.add_task(*impl);
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

const std::string& Server::path() const noexcept { return impl_->options.path; }

ServerStats Server::stats() const noexcept {
  const auto& counters = impl_->counters;
  return {counters.connections.get(), counters.requests.get(),   counters.errors.get(),
          counters.dma_maps.get(),    counters.dma_unmaps.get(), impl_->is_connected.load(std::memory_order_relaxed)};
}

bool Server::announce_departure(bool for_good) noexcept {
  const bool has_client = impl_->session && impl_->session->is_negotiated();
  return has_client && impl_->endpoint.announce_departure(for_good);
}

Result<void> Server::adopt(UniqueFd connection) { return impl_->serve(ipc::Connection{std::move(connection)}, 0); }

}  // namespace vmux::vfio_user
