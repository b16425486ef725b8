// SPDX-License-Identifier: BSD-3-Clause
// Servers that say what a test tells them to, in bytes written out by hand.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "vmux/base/unique_fd.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::vfio_user {

using Bytes = std::vector<std::uint8_t>;

// The message header: id, command (16 bits each), size, flags, error (32 bits each).
inline constexpr std::size_t kHeader = 16;
inline constexpr std::uint8_t kReply = 1, kNoReply = 0x10, kError = 0x20;
inline constexpr std::uint64_t kForever = 3'600'000'000'000;  // ns: ctest's time limit is the failure
inline constexpr std::uint64_t kShort = 300'000'000;          // ns: a busy machine still agrees on a version within
inline constexpr std::uint8_t kVersion = 1, kRegionRead = 9, kRegionWrite = 10, kDmaRead = 11, kReset = 13;

template <class T>
T at(const Bytes& bytes, std::size_t offset) {
  T value{};
  if (offset + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

template <class T>
Bytes& operator<<(Bytes& bytes, T value) {
  const auto* raw = reinterpret_cast<const std::uint8_t*>(&value);
  bytes.insert(bytes.end(), raw, raw + sizeof value);
  return bytes;
}

inline Bytes message(std::uint16_t id, std::uint16_t command, std::uint32_t flags, std::uint32_t error,
                     const Bytes& body) {
  Bytes bytes;
  bytes << id << command << static_cast<std::uint32_t>(kHeader + body.size()) << flags << error;
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

inline Bytes reply_to(const Bytes& request, const Bytes& body = {}) {
  return message(at<std::uint16_t>(request, 0), at<std::uint16_t>(request, 2), kReply, 0, body);
}

inline Bytes version_body(std::uint16_t major, const std::string& json) {
  Bytes body;
  body << major << std::uint16_t{0};
  body.insert(body.end(), json.begin(), json.end());
  body.push_back(0);
  return body;
}

inline Bytes region_reply(std::uint32_t count, std::size_t sent) {
  Bytes body;
  body << std::uint64_t{8} << std::uint32_t{0} << count;
  body.resize(body.size() + sent, 0xa5);
  return body;
}

/// Answers each request with the next step of its script, then hangs up, unless it `stays` for the test to go on.
class ScriptedServer {
 public:
  using Step = std::function<Bytes(const Bytes& request)>;

  /// Sends at most `piece` bytes at once.
  explicit ScriptedServer(std::vector<Step> script, std::size_t piece = 65536, bool stays = false) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    socket_ = UniqueFd{ends[0]};
    client_end = UniqueFd{ends[1]};
    thread_ = std::thread{[this, script = std::move(script), piece, stays] {
      for (const Step& step : script) {
        requests.push_back(receive());
        if (!send(step(requests.back()), piece)) return;
      }
      if (!stays) ::shutdown(socket_.get(), SHUT_WR);
    }};
  }
  ~ScriptedServer() { join(); }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  UniqueFd client_end;
  std::vector<Bytes> requests;  // to be read after join()

  // For the script's thread, or after join() for the test.
  bool send(const Bytes& answer, std::size_t piece = 65536) {
    for (std::size_t sent = 0; sent < answer.size(); sent += piece) {
      const std::size_t length = std::min(piece, answer.size() - sent);
      if (::send(socket_.get(), answer.data() + sent, length, MSG_NOSIGNAL) < 0) return false;
    }
    return true;
  }
  Bytes receive() {
    Bytes bytes(kHeader);
    if (!fill(bytes, 0)) return {};
    bytes.resize(at<std::uint32_t>(bytes, 4));
    return fill(bytes, kHeader) ? bytes : Bytes{};
  }

 private:
  bool fill(Bytes& bytes, std::size_t from) {
    while (from < bytes.size()) {
      const ssize_t got = ::recv(socket_.get(), bytes.data() + from, bytes.size() - from, 0);
      if (got <= 0) return false;
      from += static_cast<std::size_t>(got);
    }
    return true;
  }
  UniqueFd socket_;
  std::thread thread_;
};

inline ScriptedServer::Step agree(const std::string& json = R"({"capabilities":{}})") {
  return [json](const Bytes& request) { return reply_to(request, version_body(0, json)); };
}
inline ScriptedServer::Step answer(Bytes body) {
  return [body = std::move(body)](const Bytes& request) { return reply_to(request, body); };
}

inline Result<void> read_register(Client& client, std::uint32_t& into) {
  return client.read(pci::Region::bar0, RegionOffset{8}, std::as_writable_bytes(std::span{&into, 1}));
}

/// A server that sends descriptors: a second socket along with its first reply, if it agrees to one.
struct TwinServer {
  TwinServer() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    socket = UniqueFd{ends[0]};
    client_end = UniqueFd{ends[1]};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    twin = UniqueFd{ends[0]};
    twin_of_client = UniqueFd{ends[1]};
  }
  static Bytes receive(const UniqueFd& from) {
    Bytes bytes(4096);
    const ssize_t got = ::recv(from.get(), bytes.data(), bytes.size(), 0);
    bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return bytes;
  }
  static void send(const UniqueFd& to, const Bytes& bytes) {
    EXPECT_EQ(::send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  void send_with(int fd, const Bytes& bytes) {
    iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr what{};
    what.msg_iov = &part;
    what.msg_iovlen = 1;
    if (fd >= 0) {
      what.msg_control = control.data();
      what.msg_controllen = control.size();
      cmsghdr* const head = CMSG_FIRSTHDR(&what);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
    }
    EXPECT_EQ(::sendmsg(socket.get(), &what, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  void agree(const std::string& json, bool with_fd = true) {
    send_with(with_fd ? twin_of_client.get() : -1, reply_to(receive(socket), version_body(0, json)));
    twin_of_client.reset();
  }
  UniqueFd socket, client_end, twin, twin_of_client;
};

inline constexpr const char* kTwinJson = R"({"capabilities":{"twin_socket":{"supported":true,"fd_index":0}}})";

}  // namespace vmux::vfio_user
