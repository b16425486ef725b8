// SPDX-License-Identifier: BSD-3-Clause
// What is answered to which request; no I/O.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/vmux_web/host_check.hpp"
#include "app/vmux_web/snapshot.hpp"

namespace vmux::app {

struct Request {
  std::string_view method, path;  ///< the path without its query
  std::optional<std::string_view> host;
  std::optional<std::string_view> if_none_match;
};

struct Response {
  unsigned status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<const char*, std::string>> headers;  ///< beside kHeaders
};

/// Behind every answer. Scripts, styles and data come from here alone, none of them within a page; nobody else shows
/// the page in a frame, or reads what it reads.
inline constexpr std::pair<const char*, const char*> kHeaders[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
     "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
};

/// The pages and what is asked of the daemon for them.
class Site {
 public:
  /// Gives what is known of the daemon, for as long as the site does not ask again.
  using Look = const Snapshot& (*)(void* of, bool for_people);
  Site(AllowedHosts hosts, Look look, void* of) : hosts_(std::move(hosts)), look_(look), of_(of) {}

  /// GET and HEAD only; 421 for a host that is not allowed.
  [[nodiscard]] Response answer(const Request& request);

 private:
  [[nodiscard]] Response route(const Request& request);

  AllowedHosts hosts_;
  Look look_;
  void* of_;
  std::map<unsigned, std::uint64_t> answered_;  // by status
};

}  // namespace vmux::app
