// SPDX-License-Identifier: BSD-3-Clause
// Network tables by rtnetlink(7), sockets by sock_diag(7).
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/xdp_diag.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/text/format.hpp"
#include "host/machine/netlink.hpp"
#include "host/machine/network.hpp"
#include "host/machine/rtnetlink_vfs.hpp"

namespace vmux::host {
namespace {

using netlink::each_attribute;
using netlink::each_nested;
using netlink::payload;
using netlink::Request;

std::string name_of(unsigned index) {
  std::array<char, IF_NAMESIZE> name{};
  return ::if_indextoname(index, name.data()) == nullptr ? fmt::format("if{}", index) : name.data();
}

std::string prefix_text(int family, const void* address, unsigned length) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  return fmt::format("{}/{}", ::inet_ntop(family, address, text.data(), text.size()) ? text.data() : "?", length);
}

std::size_t address_size(int family) { return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0; }

int take_address(const nlmsghdr* message, void* data) {
  const auto& head = *static_cast<const ifaddrmsg*>(::mnl_nlmsg_get_payload(message));
  const nlattr* found = nullptr;
  each_attribute(message, sizeof head, [&](const nlattr* attribute) {
    // A peer-to-peer link has the other end in IFA_ADDRESS and its own in IFA_LOCAL.
    const std::uint16_t type = ::mnl_attr_get_type(attribute);
    if (type == IFA_LOCAL || (type == IFA_ADDRESS && found == nullptr)) found = attribute;
  });
  const std::size_t size = address_size(head.ifa_family);
  if (found == nullptr || size == 0 || ::mnl_attr_get_payload_len(found) < size) return MNL_CB_OK;
  static_cast<std::vector<InterfaceAddress>*>(data)->push_back(
      {name_of(head.ifa_index), prefix_text(head.ifa_family, ::mnl_attr_get_payload(found), head.ifa_prefixlen),
       head.ifa_family == AF_INET6 && head.ifa_scope == RT_SCOPE_LINK});
  return MNL_CB_OK;
}

void take_hops(const nlattr* attribute, const std::string& destination, std::vector<Route>& routes) {
  auto left = static_cast<std::size_t>(::mnl_attr_get_payload_len(attribute));
  const char* at = static_cast<const char*>(::mnl_attr_get_payload(attribute));
  while (left >= sizeof(rtnexthop)) {
    rtnexthop hop;
    std::memcpy(&hop, at, sizeof hop);
    if (hop.rtnh_len < sizeof hop || hop.rtnh_len > left) return;
    routes.push_back({name_of(static_cast<unsigned>(hop.rtnh_ifindex)), destination});
    const std::size_t step = std::min<std::size_t>(RTNH_ALIGN(hop.rtnh_len), left);
    at += step;
    left -= step;
  }
}

int take_route(const nlmsghdr* message, void* data) {
  const auto& head = *static_cast<const rtmsg*>(::mnl_nlmsg_get_payload(message));
  if (head.rtm_type != RTN_UNICAST || head.rtm_table == RT_TABLE_LOCAL || head.rtm_protocol == RTPROT_KERNEL ||
      (head.rtm_flags & RTM_F_CLONED) != 0)
    return MNL_CB_OK;
  std::string destination = "default";
  const nlattr* interface = nullptr;
  const nlattr* hops = nullptr;
  each_attribute(message, sizeof head, [&](const nlattr* attribute) {
    const std::uint16_t type = ::mnl_attr_get_type(attribute);
    const std::size_t size = address_size(head.rtm_family);
    if (type == RTA_DST && size != 0 && ::mnl_attr_get_payload_len(attribute) >= size)
      destination = prefix_text(head.rtm_family, ::mnl_attr_get_payload(attribute), head.rtm_dst_len);
    if (type == RTA_OIF && ::mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0) interface = attribute;
    if (type == RTA_MULTIPATH) hops = attribute;
  });
  auto& routes = *static_cast<std::vector<Route>*>(data);
  if (interface != nullptr) routes.push_back({name_of(::mnl_attr_get_u32(interface)), destination});
  if (hops != nullptr) take_hops(hops, destination, routes);
  return MNL_CB_OK;
}

std::string text_of(const nlattr* attribute) {
  const auto* const text = static_cast<const char*>(::mnl_attr_get_payload(attribute));
  return {text, ::strnlen(text, ::mnl_attr_get_payload_len(attribute))};
}

int take_link(const nlmsghdr* message, void* data) {
  auto& link = *static_cast<Link*>(data);
  link.index = static_cast<unsigned>(static_cast<const ifinfomsg*>(::mnl_nlmsg_get_payload(message))->ifi_index);
  each_attribute(message, sizeof(ifinfomsg), [&](const nlattr* attribute) {
    const std::uint16_t type = ::mnl_attr_get_type(attribute);
    if (type == IFLA_IFNAME) link.name = text_of(attribute);
    if (type == IFLA_PROP_LIST) {
      each_nested(attribute, [&](const nlattr* property) {
        if (::mnl_attr_get_type(property) == IFLA_ALT_IFNAME) link.other_names.push_back(text_of(property));
      });
    }
    if (type == IFLA_XDP) {
      each_nested(attribute, [&](const nlattr* xdp) {
        if (::mnl_attr_get_type(xdp) == IFLA_XDP_ATTACHED)
          link.has_xdp = payload<std::uint8_t>(xdp).value_or(XDP_ATTACHED_NONE) != XDP_ATTACHED_NONE;
      });
    }
  });
  return MNL_CB_STOP;
}

int take_xdp_socket(const nlmsghdr* message, void* data) {
  const auto& head = *static_cast<const xdp_diag_msg*>(::mnl_nlmsg_get_payload(message));
  each_attribute(message, sizeof head, [&](const nlattr* attribute) {
    if (::mnl_attr_get_type(attribute) != XDP_DIAG_INFO) return;
    if (const auto info = payload<xdp_diag_info>(attribute); info && info->ifindex != 0)
      static_cast<std::vector<XdpSocket>*>(data)->push_back({info->ifindex, info->queue_id, head.xdiag_ino});
  });
  return MNL_CB_OK;
}

Result<unsigned> index_of(const std::string& interface) {
  const unsigned index = ::if_nametoindex(interface.c_str());
  if (index == 0) return fail_errno("find the interface");
  return index;
}

/// A whole table, of all address families (the header's zeros). If it changed while it was read (NLM_F_DUMP_INTR, for
/// which libmnl says EINTR) it is read again: interfaces that have just come up change it a few times.
template <class Family, class Row>
Result<std::vector<Row>> dump(std::uint16_t type, mnl_cb_t take) {
  constexpr unsigned kTries = 50;
  for (unsigned tries = 1;; ++tries) {
    std::vector<Row> found;
    Request request{type, NLM_F_DUMP};
    request.family<Family>();
    const auto done = request.exchange(take, &found, NETLINK_ROUTE);
    if (done) return found;
    if (done.error().sys != EINTR || tries == kTries) return tl::unexpected<Error>(done.error());
  }
}

class Rtnetlink final : public Network {
 public:
  Result<std::vector<InterfaceAddress>> addresses() override {
    return dump<ifaddrmsg, InterfaceAddress>(RTM_GETADDR, take_address);
  }
  Result<std::vector<Route>> routes() override { return dump<rtmsg, Route>(RTM_GETROUTE, take_route); }

  Result<Link> link(const std::string& name) override {
    Link found;
    constexpr std::size_t kLongestName = 127;  // ALTIFNAMSIZ of linux/if.h, which net/if.h does not go with
    if (name.size() > kLongestName) return fail(Errc::not_found, "find the interface", ENODEV);
    Request request{RTM_GETLINK, 0};
    request.family<ifinfomsg>();
    ::mnl_attr_put_strz(request.header(), name.size() < IFNAMSIZ ? IFLA_IFNAME : IFLA_ALT_IFNAME, name.c_str());
    ::mnl_attr_put_u32(request.header(), IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    if (auto done = request.exchange(take_link, &found, NETLINK_ROUTE); !done)
      return tl::unexpected<Error>(done.error());
    return found;
  }

  Result<std::vector<XdpSocket>> xdp_sockets() override {
    std::vector<XdpSocket> found;
    Request request{SOCK_DIAG_BY_FAMILY, NLM_F_DUMP};
    auto& asked = request.family<xdp_diag_req>();
    asked.sdiag_family = AF_XDP;
    asked.xdiag_show = XDP_SHOW_INFO;
    const auto done = request.exchange(take_xdp_socket, &found, NETLINK_SOCK_DIAG);
    const int error = done ? 0 : done.error().sys;
    if (error != 0 && error != ENOENT && error != EINVAL && error != EPROTONOSUPPORT)
      return tl::unexpected<Error>(done.error());
    return found;
  }

  Result<std::vector<VfSettings>> vfs(const std::string& interface) override {
    const auto index = index_of(interface);
    if (!index) return tl::unexpected<Error>(index.error());
    return read_vfs(*index);
  }

  Result<> set_vf(const std::string& interface, unsigned vf, const VfSettings& wanted) override {
    const auto index = index_of(interface);
    if (!index) return tl::unexpected<Error>(index.error());
    return write_vf(*index, vf, wanted);
  }

  Result<> set_up(const std::string& interface, bool up) override {
    const auto index = index_of(interface);
    if (!index) return tl::unexpected<Error>(index.error());
    Request request{RTM_NEWLINK, NLM_F_ACK};
    auto& head = request.family<ifinfomsg>();
    head.ifi_index = static_cast<int>(*index);
    head.ifi_change = IFF_UP;
    head.ifi_flags = up ? static_cast<unsigned>(IFF_UP) : 0u;
    return request.exchange(nullptr, nullptr, NETLINK_ROUTE);
  }
};

}  // namespace

std::unique_ptr<Network> make_rtnetlink() { return std::make_unique<Rtnetlink>(); }

}  // namespace vmux::host
