// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/rpc_server.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/logf.hpp"
#include "base/text/format.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::control {
namespace {

constexpr std::size_t kMaxPendingOutput = 1 << 20;      // bytes; above this a client is not read from
constexpr std::size_t kMostFiles = 4;                   // of a client, at a time
constexpr std::uint64_t kAcceptRetry_ns = 100'000'000;  // after running out of descriptors

/// Those that came, as far as there is room; the others are closed.
void keep_files(msghdr& message, std::deque<UniqueFd>& into) {
  for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr; each = CMSG_NXTHDR(&message, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(each) + i * sizeof fd, sizeof fd);
      UniqueFd file{fd};
      if (into.size() < kMostFiles) into.push_back(std::move(file));
    }
  }
}

}  // namespace

Outcome<std::unique_ptr<RpcServer>> RpcServer::create(runtime::Poller& poller, const Methods& methods,
                                                      const std::string& path, const SocketAccess& access,
                                                      const RpcLimits& limits, RolesSpec roles, UniqueFd from) {
  auto listener =
      from ? ipc::Listener::adopt(std::move(from), path)
           : ipc::Listener::open(path, {access.mode.value_or(kSocketMode), id_of(access.owner), id_of(access.group)});
  if (!listener) {
    auto problem = refuse("rpc", "listen on " + path, listener.error());
    if (listener.error().code == Errc::busy) problem.value().text += "; --rpc PATH gives a second vmux its own";
    return problem;
  }
  std::unique_ptr<RpcServer> server{new RpcServer(poller, methods, limits, std::move(roles))};
  server->listener_.emplace(std::move(*listener));
  if (auto listening = server->listen(); !listening) return tl::unexpected(listening.error());
  return server;
}

Outcome<> RpcServer::listen() {
  auto watch = poller_.watch(listener_->fd(), EPOLLIN, [this](std::uint32_t) { accept_all(); });
  if (!watch) return refuse("rpc", "watch the socket", watch.error());
  watch_ = std::move(*watch);
  return {};
}

void RpcServer::accept_all() {
  for (;;) {
    auto connection = listener_->accept();
    if (connection) {
      static_cast<void>(adopt(std::move(*connection)));  // one that cannot be served is closed
      continue;
    }
    const int why = connection.error().sys;
    if (why == EINTR || why == ECONNABORTED) continue;
    if (why == EAGAIN) return;
    if (make_room(/*even_of_the_busy=*/false)) continue;  // out of descriptors, mostly
    logf(LogLevel::error, "RPC: {}", connection.error().text());
    watch_.reset();
    retry_.arm_after(kAcceptRetry_ns);
    return;
  }
}

/// Sends away who has been idle for longest; or, where all are in the middle of something, who has got on least.
bool RpcServer::make_room(bool even_of_the_busy) {
  const auto is_better = [](const Client& a, const Client& b) {
    return a.is_idle() == b.is_idle() ? a.since_ns < b.since_ns : a.is_idle();
  };
  const auto found = std::min_element(clients_.begin(), clients_.end(), is_better);
  if (found == clients_.end() || (!found->is_idle() && !even_of_the_busy)) return false;
  logf(LogLevel::debug, "RPC: a client that was {} makes room for another", found->is_idle() ? "idle" : "slow");
  drop_saying(*found, "others want to connect, and this connection was idle for longest");
  return true;
}

Outcome<> RpcServer::adopt(ipc::Connection connection) {
  if (clients_.size() >= limits_.clients) static_cast<void>(make_room(/*even_of_the_busy=*/true));
  if (::fcntl(connection.get(), F_SETFL, O_NONBLOCK) != 0) {
    return refuse("", "set up a connection", Error{Errc::system, "fcntl", errno});
  }
  Client& client = clients_.emplace_back();
  client.socket = std::move(connection);
  client.caller = caller_of(client.socket.get());
  client.events = EPOLLIN;
  client.since_ns = monotonic_ns();
  auto watch =
      poller_.watch(client.socket.get(), EPOLLIN, [this, &client](std::uint32_t events) { serve(client, events); });
  if (!watch) {
    clients_.pop_back();
    return refuse("", "watch a connection", watch.error());
  }
  client.watch = std::move(*watch);
  return {};
}

/// Whose role is looked up for each line, as the roles may have changed since it connected.
Asker RpcServer::asker_of(Client& client) {
  return {client.caller ? role_of(roles_, *client.caller) : Role::none,
          [this, &client](const std::string& method, const Json& params, Role needed, const Outcome<Json>& result) {
            tell(client, method, params, needed, result);
          },
          client.has_waited ? nullptr : &client.wait, [&client] { return take_file(client); },
          client.caller ? std::optional{client.caller->uid} : std::nullopt};
}

UniqueFd RpcServer::take_file(Client& client) {
  if (client.files.empty()) return {};
  UniqueFd file = std::move(client.files.front());
  client.files.pop_front();
  return file;
}

void RpcServer::begin_wait(Client& client) {
  ++waiters_;
  client.wait_until_ns = monotonic_ns() + client.wait.ns;
  // Who ends the wait wakes this poller from now on; what came before that is seen in the task's next round.
  if (client.wait.is_over()) client.wait_until_ns = 0;
  patience_.arm_after(0);
}

void RpcServer::end_wait(Client& client) noexcept {
  if (!client.is_waiting()) return;
  client.wait = {};
  --waiters_;
}

unsigned RpcServer::end_waits() {
  const std::uint64_t now = monotonic_ns();
  unsigned ended = 0;
  for (auto at = clients_.begin(); at != clients_.end();) {
    Client& client = *at++;
    if (!client.is_waiting() || (now < client.wait_until_ns && !client.wait.is_over())) continue;
    end_wait(client);
    client.has_waited = true;
    ++ended;
    serve(client, 0);
  }
  std::uint64_t next = ~0ull;
  for (const Client& client : clients_) {
    if (client.is_waiting()) next = std::min(next, client.wait_until_ns);
  }
  if (next != ~0ull) patience_.arm_at(next);
  return ended;
}

/// A line in the log for each call that may change something, and for those that somebody may not make.
void RpcServer::tell(const Client& client, const std::string& method, const Json& params, Role needed,
                     const Outcome<Json>& result) {
  const bool is_refused = !result && result.error().kind == ProblemKind::not_allowed;
  if (needed <= Role::read && !is_refused) return;
  if (is_refused && !refusals_.allow()) return;
  const auto name = params.find("name");
  const std::string what = name != params.end() && name->is_string() ? " " + name->get<std::string>() : "";
  const std::string who = client.caller ? fmt::format("user {} (process {})", client.caller->uid, client.caller->pid)
                                        : "somebody whom the kernel does not name";
  logf(is_refused ? LogLevel::warning : LogLevel::info, "RPC: {}: {}{}: {}", who, method, what,
       result ? "done" : text_of(result.error()));
}

void RpcServer::serve(Client& client, std::uint32_t events) {
  if (client.is_waiting() && (events & (EPOLLHUP | EPOLLERR)) != 0) return drop(client);
  const bool was_idle = client.is_idle();
  const std::size_t was_waiting = client.output.size();
  bool is_further = false;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !receive(client)) client.is_closing = true;
  // Lines that waited for room in the output go on as soon as there is some.
  bool is_alive = true;
  for (std::size_t before = client.input.size() + 1; is_alive && client.input.size() < before;) {
    before = client.input.size();
    is_further |= answer_lines(client);
    is_alive = send(client);
  }
  if (!is_alive || (client.is_closing && client.output.empty() && !client.is_waiting())) return drop(client);
  is_further |= client.output.size() < was_waiting;
  if (was_idle || is_further || client.is_idle()) client.since_ns = monotonic_ns();
  if (!client.is_idle() && !slow_.is_armed()) slow_.arm_after(limits_.request_ns);
  std::uint32_t wanted = client.output.empty() ? 0u : std::uint32_t{EPOLLOUT};
  if (!client.is_closing && !client.is_waiting() && client.output.size() < kMaxPendingOutput) wanted |= EPOLLIN;
  if (wanted != client.events && client.watch.modify(wanted)) client.events = wanted;
}

/// One read: the poller comes back for more, after it looked at the others. False when the client will send no more.
bool RpcServer::receive(Client& client) {
  char buffer[16 * 1024];
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostFiles * sizeof(int))> control;
  iovec part{buffer, sizeof buffer};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  // What does not fit is closed by the kernel.
  const ssize_t got = ::recvmsg(client.socket.get(), &message, MSG_CMSG_CLOEXEC);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  keep_files(message, client.files);
  client.input.append(buffer, static_cast<std::size_t>(got));
  if (got == 0 && !client.is_closing && !client.input.empty())
    client.input += '\n';  // the last line may end with the stream
  return got > 0;
}

/// True when a line came to its end.
bool RpcServer::answer_lines(Client& client) {
  std::size_t start = 0;
  while (client.output.size() < kMaxPendingOutput && !client.is_waiting()) {
    const std::size_t end = client.input.find('\n', start);
    if (end == std::string::npos) break;
    const std::string_view line{client.input.data() + start, end - start};
    start = end + 1;
    if (std::exchange(client.is_skipping, false) || line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string said = line.size() > kMaxRequest ? answer_too_long() : answer(line, methods_, asker_of(client));
    if (client.is_waiting()) {
      start -= line.size() + 1;  // it is answered later
      begin_wait(client);
      break;
    }
    client.has_waited = false;
    if (!said.empty()) client.output += said + '\n';
  }
  client.input.erase(0, start);
  if (client.input.empty()) client.files.clear();
  const bool is_endless = client.input.size() > kMaxRequest && client.input.find('\n') == std::string::npos;
  if (!is_endless) return start > 0;
  if (!std::exchange(client.is_skipping, true)) client.output += answer_too_long() + '\n';
  client.input.clear();
  return start > 0;
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
  end_wait(client);
  client.watch.reset();
  clients_.remove_if([&client](const Client& one) { return &one == &client; });
}

/// Its last words go where there is room for them: behind a whole answer, and into its buffer.
void RpcServer::drop_saying(Client& client, std::string why) {
  const std::string line = farewell(std::move(why)) + '\n';
  if (client.output.empty()) ::send(client.socket.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  drop(client);
}

std::uint64_t RpcServer::limit_of(const Client& client) const noexcept {
  return client.output.empty() ? limits_.request_ns : limits_.answer_ns;
}

void RpcServer::drop_the_slow() {
  const std::uint64_t now = monotonic_ns();
  std::uint64_t next = 0;
  for (auto at = clients_.begin(); at != clients_.end();) {
    Client& client = *at++;
    if (client.is_idle()) continue;
    const std::uint64_t limit = limit_of(client);
    if (now - client.since_ns >= limit) {
      drop_saying(client, fmt::format("the rest of this request did not come within {} s", limit / 1'000'000'000));
    } else {
      const std::uint64_t rest = client.since_ns + limit - now;
      next = next == 0 ? rest : std::min(next, rest);
    }
  }
  if (next != 0) slow_.arm_after(std::min(next, limits_.request_ns));  // one that begins meanwhile may not wait for it
}

}  // namespace vmux::control
