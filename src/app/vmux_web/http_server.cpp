// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux_web/http_server.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>
#include <utility>

#include "ipc/listener.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::app {
namespace {

constexpr unsigned kMostConnections = 64;
constexpr unsigned kIdle_s = 15;
constexpr std::size_t kMemoryOfAConnection = 16'384;  // headers included
constexpr int kBacklog = 16;

struct DaemonStop {
  void operator()(MHD_Daemon* daemon) const noexcept { MHD_stop_daemon(daemon); }
};

Result<UniqueFd> listen_on(const TcpAddress& address) {
  sockaddr_storage storage{};
  socklen_t length = 0;
  if (address.is_ipv6) {
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(address.port);
    ::inet_pton(AF_INET6, address.host.c_str(), &in6.sin6_addr);
    std::memcpy(&storage, &in6, length = sizeof in6);
  } else {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    ::inet_pton(AF_INET, address.host.c_str(), &in.sin_addr);
    std::memcpy(&storage, &in, length = sizeof in);
  }
  UniqueFd socket{::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!socket) return fail_errno("cannot make a socket");
  const int yes = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);  // of one that was here a minute ago
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0)
    return fail_errno("cannot bind to it");
  if (::listen(socket.get(), kBacklog) != 0) return fail_errno("cannot listen on it");
  return socket;
}

std::uint16_t port_of(int socket) noexcept {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return 0;
  in_port_t port = 0;  // at the same place in both
  std::memcpy(&port, reinterpret_cast<const char*>(&storage) + offsetof(sockaddr_in, sin_port), sizeof port);
  return ntohs(port);
}

std::optional<std::string_view> header(MHD_Connection* connection, const char* name) {
  const char* const value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
  return value == nullptr ? std::nullopt : std::optional<std::string_view>{value};
}

MHD_Result send(MHD_Connection* connection, const Response& answer) {
  MHD_Response* const response =
      MHD_create_response_from_buffer(answer.body.size(), const_cast<char*>(answer.body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, "Content-Type", answer.type.c_str());
  for (const auto& [name, value] : kHeaders)
    MHD_add_response_header(response, name, value);
  for (const auto& [name, value] : answer.headers)
    MHD_add_response_header(response, name, value.c_str());
  const MHD_Result queued = MHD_queue_response(connection, answer.status, response);
  MHD_destroy_response(response);
  return queued;
}

}  // namespace

struct HttpServer::Impl {
  std::string where;
  Answer answer;
  std::optional<ipc::Listener> listener;  // of a path; goes last, and its file with it
  std::unique_ptr<MHD_Daemon, DaemonStop> daemon;

  Result<void> start(int socket);
  static MHD_Result handle(void* self, MHD_Connection* connection, const char* url, const char* method,
                           const char* version, const char* upload, std::size_t* upload_size, void** seen) noexcept;
};

// Called with the request's header, and again for its body and its end. A body is of no use to anybody: who sends one
// is answered right away, behind which libmicrohttpd closes the connection.
MHD_Result HttpServer::Impl::handle(void* self, MHD_Connection* connection, const char* url, const char* method,
                                    const char* /*version*/, const char* /*upload*/, std::size_t* /*upload_size*/,
                                    void** seen) noexcept {
  static char is_seen;
  Request request{.method = method, .path = url};
  if (std::exchange(*seen, &is_seen) == nullptr && (request.method == "GET" || request.method == "HEAD"))
    return MHD_YES;
  try {
    request.host = header(connection, "Host");
    request.if_none_match = header(connection, "If-None-Match");
    return send(connection, static_cast<Impl*>(self)->answer(request));
  } catch (const std::exception&) {  // no memory: this connection ends
    return MHD_NO;
  }
}

Result<void> HttpServer::Impl::start(int socket) {
  daemon.reset(MHD_start_daemon(MHD_USE_EPOLL, 0, nullptr, nullptr, &Impl::handle, this,   //
                                MHD_OPTION_LISTEN_SOCKET, socket,                          //
                                MHD_OPTION_CONNECTION_LIMIT, kMostConnections,             //
                                MHD_OPTION_CONNECTION_TIMEOUT, kIdle_s,                    //
                                MHD_OPTION_CONNECTION_MEMORY_LIMIT, kMemoryOfAConnection,  //
                                MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END));
  if (!daemon) return fail(Errc::system, "libmicrohttpd does not start");
  return {};
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::create(const ListenAt& at, Answer answer) {
  auto impl = std::make_unique<Impl>();
  impl->answer = std::move(answer);
  int socket = -1;
  if (const auto* const path = std::get_if<SocketPath>(&at)) {
    auto listener = ipc::Listener::open(path->path, {.mode = path->mode, .owner = {}, .group = {}});
    if (!listener) return tl::unexpected<Error>(listener.error());
    impl->listener.emplace(std::move(*listener));
    socket = ::fcntl(impl->listener->fd(), F_DUPFD_CLOEXEC, 0);  // libmicrohttpd closes the one that it gets
    impl->where = "unix:" + path->path;
  } else {
    const auto& address = std::get<TcpAddress>(at);
    auto listening = listen_on(address);
    if (!listening) return tl::unexpected<Error>(listening.error());
    socket = std::move(*listening).release();
    const std::string host = address.is_ipv6 ? '[' + address.host + ']' : address.host;
    impl->where = "http://" + host + ':' + std::to_string(port_of(socket)) + '/';
  }
  if (auto started = impl->start(socket); !started) return tl::unexpected<Error>(started.error());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

const std::string& HttpServer::where() const noexcept { return impl_->where; }

int HttpServer::fd() const noexcept {
  return MHD_get_daemon_info(impl_->daemon.get(), MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

int HttpServer::wait_ms() const noexcept {
  MHD_UNSIGNED_LONG_LONG wait = 0;
  if (MHD_get_timeout(impl_->daemon.get(), &wait) != MHD_YES) return -1;
  return static_cast<int>(std::min<MHD_UNSIGNED_LONG_LONG>(wait, 60'000));
}

void HttpServer::run_once() noexcept { MHD_run(impl_->daemon.get()); }

}  // namespace vmux::app
