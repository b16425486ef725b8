// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc_client.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "control/json_rpc.hpp"

namespace vmux::control {
namespace {

constexpr const char* kSystemPath = "/run/vmux/vmux.sock";

Outcome<> send_all(int socket, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return refuse("", "send to the daemon", Error{Errc::system, "the connection", errno});
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

}  // namespace

Outcome<RpcClient> RpcClient::connect(const std::string& path, unsigned timeout_s) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return refuse(ProblemKind::invalid, "rpc", "expected a path of 1 to 107 bytes, got " + std::to_string(path.size()));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (!socket) return refuse("", "open a socket", Error{Errc::system, "socket", errno});
  const timeval limit{static_cast<time_t>(timeout_s), 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return refuse(ProblemKind::host, "",
                  "no vmux answers at " + path + " (" + std::strerror(errno) +
                      "); is it running? --rpc PATH or VMUX_RPC names another socket");
  }
  return RpcClient{std::move(socket)};
}

Outcome<Json> RpcClient::call(const std::string& method, const Json& params) {
  const std::uint64_t id = next_id_++;
  const Json request{{"jsonrpc", "2.0"}, {"method", method}, {"params", params}, {"id", id}};
  if (auto sent = send_all(socket_.get(), to_line(request) + '\n'); !sent) return tl::unexpected(sent.error());
  std::size_t end = input_.find('\n');
  while (end == std::string::npos) {
    char buffer[16 * 1024];
    const ssize_t got = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return refuse("", "hear from the daemon", Error{Errc::system, "the connection", errno});
    if (got == 0) return refuse(ProblemKind::host, "", "the daemon closed the connection before it answered");
    input_.append(buffer, static_cast<std::size_t>(got));
    end = input_.find('\n');
  }
  const Json response = Json::parse(input_.substr(0, end), nullptr, /*allow_exceptions=*/false);
  input_.erase(0, end + 1);
  if (response.is_object() && response.contains("result") && response.value("id", Json()) == id) {
    return response["result"];
  }
  return tl::unexpected<Problem>(problem_of(response.is_object() ? response.value("error", Json()) : Json()));
}

std::string default_rpc_path() {
  if (const char* const named = std::getenv("VMUX_RPC"); named != nullptr && *named != '\0') return named;
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (::geteuid() == 0 || runtime == nullptr || *runtime == '\0') return kSystemPath;
  return std::string{runtime} + "/vmux/vmux.sock";
}

}  // namespace vmux::control
