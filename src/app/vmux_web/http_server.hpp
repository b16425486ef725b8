// SPDX-License-Identifier: BSD-3-Clause
// HTTP/1.1 by libmicrohttpd, on a socket of our own.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "app/vmux_web/options.hpp"
#include "app/vmux_web/response.hpp"
#include "vmux/base/result.hpp"

namespace vmux::app {

/// Everything runs within run_once(), on the caller's thread. Connections are bounded in number, in memory, and in how
/// long they may be idle or take for their request.
class HttpServer {
 public:
  using Answer = std::function<Response(const Request&)>;
  [[nodiscard]] static Result<std::unique_ptr<HttpServer>> create(const ListenAt& at, Answer answer);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// "http://127.0.0.1:9640/", "unix:/run/vmux-web/http.sock"
  [[nodiscard]] const std::string& where() const noexcept;
  /// Readable when run_once() has something to do.
  [[nodiscard]] int fd() const noexcept;
  /// Until when run_once() is to be called at the latest, in ms; -1: no limit.
  [[nodiscard]] int wait_ms() const noexcept;
  void run_once() noexcept;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmux::app
