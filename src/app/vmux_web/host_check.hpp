// SPDX-License-Identifier: BSD-3-Clause
// By which names a browser may have come here. A page of somebody else's can have its own name lead to 127.0.0.1 (DNS
// rebinding) and would read what this program says; its requests still carry that name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vmux::app {

/// The host of a Host header (RFC 9110, section 7.2: `host [ ":" port ]`) in lower case and without the port; nullopt
/// if it is none.
[[nodiscard]] std::optional<std::string> host_of(std::string_view header);

/// Names that requests may be for; each in lower case, without a port, IPv6 addresses in brackets.
class AllowedHosts {
 public:
  /// localhost and its addresses are allowed always.
  explicit AllowedHosts(std::vector<std::string> more = {});
  [[nodiscard]] bool has(std::string_view header) const;

 private:
  std::vector<std::string> names_;
};

}  // namespace vmux::app
