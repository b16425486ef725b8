// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/rpc_client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "base/text/format.hpp"
#include "control/rpc/json_rpc.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::control {
namespace {

constexpr const char* kSystemPath = "/run/vmux/vmux.sock";
constexpr std::size_t kMaxAnswer = 64 << 20;  // bytes; a daemon of a thousand ports needs some 2 MiB

/// Why nobody answers at `path`.
std::string why_not(const std::string& path, int error, unsigned timeout_s) {
  if (error == EAGAIN) {
    return fmt::format("vmux at {} took no connection within {} s: more wait there than it can keep", path, timeout_s);
  }
  if (error == EACCES || error == EPERM) {
    return fmt::format("may not connect to {} ({}): rpc_group and rpc_mode of vmux.toml say who may", path,
                       std::strerror(error));
  }
  return fmt::format("no vmux answers at {} ({}); is it running? --rpc PATH or VMUX_RPC names another socket", path,
                     std::strerror(error));
}

/// As much as the socket takes, without waiting; with a file, if there is one.
ssize_t send_some(int socket, std::string_view text, int file) {
  iovec part{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (file >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof file);
    std::memcpy(CMSG_DATA(header), &file, sizeof file);
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace

/// When a call has taken long enough, whatever its peer does meanwhile.
class RpcClient::Deadline {
 public:
  explicit Deadline(unsigned timeout_s) : end_ns_(monotonic_ns() + timeout_s * 1'000'000'000ull) {}
  /// Waits for one of `events`; false once the time is over.
  [[nodiscard]] bool wait(const UniqueFd& socket, short events) const {
    for (;;) {
      const std::uint64_t now = monotonic_ns();
      if (now >= end_ns_) return false;
      pollfd entry{socket.get(), events, 0};
      const int ready = ::poll(&entry, 1, static_cast<int>((end_ns_ - now) / 1'000'000 + 1));
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return false;
    }
  }

 private:
  std::uint64_t end_ns_;
};

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
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);  // of connect(), unix(7)
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return refuse(ProblemKind::host, "", why_not(path, errno, timeout_s));
  }
  return RpcClient{std::move(socket), "vmux at " + path, timeout_s};
}

Outcome<> RpcClient::send(std::string_view text, int file, const std::string& method, const Deadline& deadline) {
  while (!text.empty()) {
    const ssize_t sent = send_some(socket_.get(), text, file);
    if (sent >= 0) {
      text.remove_prefix(static_cast<std::size_t>(sent));
      file = -1;  // it has gone with the first byte
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return {};  // it may have said why
    } else if (errno != EINTR && errno != EAGAIN) {
      return refuse("", "send to " + peer_, Error{Errc::system, "the connection", errno});
    } else if (!deadline.wait(socket_, POLLOUT)) {
      return refuse(ProblemKind::host, "",
                    fmt::format("{} did not take the call {} within {} s", peer_, method, timeout_s_));
    }
  }
  return {};
}

Outcome<std::string> RpcClient::receive_line(const std::string& method, const Deadline& deadline) {
  for (std::size_t seen = 0;;) {
    if (const std::size_t end = input_.find('\n', seen); end != std::string::npos) {
      std::string line = input_.substr(0, end);
      input_.erase(0, end + 1);
      return line;
    }
    seen = input_.size();
    if (seen > kMaxAnswer) {
      return refuse(ProblemKind::host, "",
                    fmt::format("{} answered {} with more than {} MiB and no end", peer_, method, kMaxAnswer >> 20));
    }
    if (!deadline.wait(socket_, POLLIN)) {
      return refuse(
          ProblemKind::host, "",
          fmt::format("{} did not answer {}{} within {} s", peer_, method, seen == 0 ? "" : " to the end", timeout_s_));
    }
    char buffer[16 * 1024];
    const ssize_t got = ::recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0 && errno != ECONNRESET) {
      return refuse("", "hear from " + peer_, Error{Errc::system, "the connection", errno});
    }
    if (got <= 0) {
      return refuse(
          ProblemKind::host, "",
          fmt::format("{} closed the connection {} it answered {}", peer_, seen == 0 ? "before" : "while", method));
    }
    input_.append(buffer, static_cast<std::size_t>(got));
  }
}

/// JSON-RPC 2.0, section 5.
Outcome<Json> RpcClient::result_of(const std::string& line, std::uint64_t id) const {
  const auto odd = [this](const char* what) {
    return refuse(ProblemKind::host, "", fmt::format("{} is no vmux, or of another version: {}", peer_, what));
  };
  const Json response = is_too_deep(line) ? Json() : Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (response.is_discarded()) return odd("its answer is not JSON");
  if (!response.is_object() || response.value("jsonrpc", Json()) != "2.0") return odd("its answer is not JSON-RPC 2.0");
  const bool has_result = response.contains("result");
  if (has_result == response.contains("error")) return odd("its answer has neither a result nor an error, or both");
  const Json of = response.value("id", Json());
  if (of != id && (has_result || !of.is_null()))
    return odd("it answered another call");  // null: it could not read ours
  if (has_result) return response["result"];
  return tl::unexpected<Problem>(problem_of(response["error"]));
}

Outcome<Json> RpcClient::call(const std::string& method, const Json& params, int file) {
  const std::uint64_t id = next_id_++;
  const Json request{{"jsonrpc", "2.0"}, {"method", method}, {"params", params}, {"id", id}};
  const Deadline deadline{timeout_s_};
  if (auto sent = send(to_line(request) + '\n', file, method, deadline); !sent) return tl::unexpected(sent.error());
  const auto line = receive_line(method, deadline);
  if (!line) return tl::unexpected(line.error());
  return result_of(*line, id);
}

std::string default_rpc_path() {
  if (const char* const named = std::getenv("VMUX_RPC"); named != nullptr && *named != '\0') return named;
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (::geteuid() == 0 || runtime == nullptr || *runtime == '\0') return kSystemPath;
  return std::string{runtime} + "/vmux/vmux.sock";
}

}  // namespace vmux::control
