// SPDX-License-Identifier: BSD-3-Clause
// One question to the kernel by netlink(7), through libmnl, and its answer however long. One socket per question:
// nothing here is asked often.
#pragma once

#include <libmnl/libmnl.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "vmux/base/result.hpp"

namespace vmux::host::netlink {

/// The next datagram, as a whole: its length is the sender's choice (the kernel's, of virtual functions some 200 bytes
/// each), and what does not fit is cut off.
[[nodiscard]] Result<> receive(int socket, std::vector<char>& into);

/// A request under construction, and the conversation that it starts.
class Request {
 public:
  Request(std::uint16_t type, std::uint16_t flags);

  template <class Family>
  Family& family() {
    return *static_cast<Family*>(::mnl_nlmsg_put_extra_header(header_, sizeof(Family)));
  }
  nlmsghdr* header() { return header_; }

  /// Sends it and gives every answer to `take`, until the kernel says that it is done. `bus`: NETLINK_ROUTE, ...
  Result<> exchange(mnl_cb_t take, void* data, int bus);

 private:
  Result<> converse(mnl_socket* socket, mnl_cb_t take, void* data);

  alignas(nlmsghdr) std::array<char, 4096> buffer_{};
  nlmsghdr* header_;
};

/// Calls `take` with every attribute. libmnl's own loops are C's alone, its callbacks are not.
template <class Take>
int call(const nlattr* attribute, void* take) {
  (*static_cast<Take*>(take))(attribute);
  return MNL_CB_OK;
}
template <class Take>
void each_attribute(const nlmsghdr* message, unsigned offset, Take take) {
  ::mnl_attr_parse(message, offset, call<Take>, &take);
}
template <class Take>
void each_nested(const nlattr* attribute, Take take) {
  ::mnl_attr_parse_nested(attribute, call<Take>, &take);
}

template <class Struct>
std::optional<Struct> payload(const nlattr* attribute) {
  Struct value;
  if (::mnl_attr_get_payload_len(attribute) < sizeof value) return std::nullopt;
  std::memcpy(&value, ::mnl_attr_get_payload(attribute), sizeof value);
  return value;
}

}  // namespace vmux::host::netlink
