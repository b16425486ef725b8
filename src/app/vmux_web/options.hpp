// SPDX-License-Identifier: BSD-3-Clause
// The command line of vmux-web.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <variant>
#include <vector>

#include "app/console/exit.hpp"
#include "app/console/screen.hpp"

namespace vmux::app {

/// Where to listen. Without TLS and login, so on this machine only unless somebody says otherwise.
struct TcpAddress {
  std::string host;        ///< an address in digits; without brackets
  std::uint16_t port = 0;  ///< 0: any that is free
  bool is_ipv6 = false;
};
struct SocketPath {
  std::string path;
  unsigned mode = 0660;
};
using ListenAt = std::variant<TcpAddress, SocketPath>;

struct WebOptions {
  std::string rpc;
  ListenAt listen;
  std::vector<std::string> allowed_hosts;  ///< beside localhost's, in lower case
};

/// "127.0.0.1:9640", "[::1]:9640", "unix:/run/vmux-web/http.sock"; the error stands behind "expected".
[[nodiscard]] tl::expected<ListenAt, std::string> parse_listen(const std::string& written);

/// Without the program's name. An Exit: there is nothing to do but that.
[[nodiscard]] tl::expected<WebOptions, Exit> parse_web(const std::vector<std::string>& written,
                                                       const Screen& screen = {});

}  // namespace vmux::app
