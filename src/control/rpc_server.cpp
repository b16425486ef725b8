// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc_server.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace vmux::control {
namespace {

constexpr std::size_t kMaxClients = 64;
constexpr std::size_t kMaxPendingOutput = 1 << 20;  // bytes; above this a client is not read from

}  // namespace

Outcome<std::unique_ptr<RpcServer>> RpcServer::create(runtime::Poller& poller, const Methods& methods,
                                                      const std::string& path, const SocketAccess& access) {
  auto listener =
      vfio_user::Listener::open(path, {access.mode.value_or(kSocketMode), id_of(access.owner), id_of(access.group)});
  if (!listener) {
    auto problem = refuse("rpc", "listen on " + path, listener.error());
    if (listener.error().code == Errc::busy) problem.value().text += "; --rpc PATH gives a second vmux its own";
    return problem;
  }
  std::unique_ptr<RpcServer> server{new RpcServer(poller, methods)};
  server->listener_.emplace(std::move(*listener));
  auto watch =
      poller.watch(server->listener_->fd(), EPOLLIN, [raw = server.get()](std::uint32_t) { raw->accept_all(); });
  if (!watch) return refuse("rpc", "watch the socket", watch.error());
  server->watch_ = std::move(*watch);
  return server;
}

void RpcServer::accept_all() {
  while (true) {
    auto connection = listener_->accept();
    if (!connection) return;
    static_cast<void>(adopt(std::move(*connection)));  // one that cannot be served is closed
  }
}

Outcome<> RpcServer::adopt(vfio_user::Connection connection) {
  if (clients_.size() >= kMaxClients) return refuse(ProblemKind::busy, "", "too many clients are connected");
  if (::fcntl(connection.get(), F_SETFL, O_NONBLOCK) != 0) {
    return refuse("", "set up a connection", Error{Errc::system, "fcntl", errno});
  }
  Client& client = clients_.emplace_back();
  client.socket = std::move(connection);
  client.events = EPOLLIN;
  auto watch =
      poller_.watch(client.socket.get(), EPOLLIN, [this, &client](std::uint32_t events) { serve(client, events); });
  if (!watch) {
    clients_.pop_back();
    return refuse("", "watch a connection", watch.error());
  }
  client.watch = std::move(*watch);
  return {};
}

void RpcServer::serve(Client& client, std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !receive(client)) client.is_closing = true;
  // Lines that waited for room in the output go on as soon as there is some.
  bool is_alive = true;
  for (std::size_t before = client.input.size() + 1; is_alive && client.input.size() < before;) {
    before = client.input.size();
    answer_lines(client);
    is_alive = send(client);
  }
  if (!is_alive || (client.is_closing && client.output.empty())) return drop(client);
  std::uint32_t wanted = client.output.empty() ? 0u : std::uint32_t{EPOLLOUT};
  if (!client.is_closing && client.output.size() < kMaxPendingOutput) wanted |= EPOLLIN;
  if (wanted != client.events && client.watch.modify(wanted)) client.events = wanted;
}

/// One read: the poller comes back for more, after it looked at the others. False when the client will send no more.
bool RpcServer::receive(Client& client) {
  char buffer[16 * 1024];
  const ssize_t got = ::recv(client.socket.get(), buffer, sizeof buffer, 0);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  client.input.append(buffer, static_cast<std::size_t>(got));
  if (got == 0 && !client.is_closing && !client.input.empty())
    client.input += '\n';  // the last line may end with the stream
  return got > 0;
}

void RpcServer::answer_lines(Client& client) {
  std::size_t start = 0;
  while (client.output.size() < kMaxPendingOutput) {
    const std::size_t end = client.input.find('\n', start);
    if (end == std::string::npos) break;
    const std::string_view line{client.input.data() + start, end - start};
    start = end + 1;
    if (std::exchange(client.is_skipping, false) || line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string said = line.size() > kMaxRequest ? answer_too_long() : answer(line, methods_);
    if (!said.empty()) client.output += said + '\n';
  }
  client.input.erase(0, start);
  const bool is_endless = client.input.size() > kMaxRequest && client.input.find('\n') == std::string::npos;
  if (!is_endless) return;
  if (!std::exchange(client.is_skipping, true)) client.output += answer_too_long() + '\n';
  client.input.clear();
}

/// As much as the socket takes. False when the client is gone.
bool RpcServer::send(Client& client) {
  std::size_t done = 0;
  while (done < client.output.size()) {
    const ssize_t sent = ::send(client.socket.get(), client.output.data() + done, client.output.size() - done,
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) return false;
    if (sent < 0) break;
    done += static_cast<std::size_t>(sent);
  }
  client.output.erase(0, done);
  return true;
}

void RpcServer::drop(Client& client) {
  client.watch.reset();
  clients_.remove_if([&client](const Client& one) { return &one == &client; });
}

}  // namespace vmux::control
