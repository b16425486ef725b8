// SPDX-License-Identifier: BSD-3-Clause
// Network tables by rtnetlink(7), through libmnl. One socket per question: nothing here is asked often.
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <array>
#include <cstring>

#include "base/format.hpp"
#include "host/network.hpp"
#include "host/values.hpp"

namespace vmux::host {
namespace {

/// A dump's message may be as long as the kernel likes to make it: 32 KiB is what libmnl's users give.
constexpr std::size_t kBuffer = 32768;

/// A request under construction, and the conversation that it starts.
class Request {
 public:
  Request(std::uint16_t type, std::uint16_t flags) {
    header_ = ::mnl_nlmsg_put_header(buffer_.data());
    header_->nlmsg_type = type;
    header_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    header_->nlmsg_seq = 1;
  }

  template <class Family>
  Family& family() {
    return *static_cast<Family*>(::mnl_nlmsg_put_extra_header(header_, sizeof(Family)));
  }
  nlmsghdr* header() { return header_; }

  /// Sends it and gives every answer to `take`, until the kernel says that it is done.
  Result<> exchange(mnl_cb_t take, void* data) {
    mnl_socket* const socket = ::mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (socket == nullptr) return fail_errno("netlink socket");
    const Result<> done = converse(socket, take, data);
    ::mnl_socket_close(socket);
    return done;
  }

 private:
  Result<> converse(mnl_socket* socket, mnl_cb_t take, void* data) {
    if (::mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) return fail_errno("netlink bind");
    if (::mnl_socket_sendto(socket, header_, header_->nlmsg_len) < 0) return fail_errno("netlink send");
    std::vector<char> answer(kBuffer);
    while (true) {
      const ssize_t got = ::mnl_socket_recvfrom(socket, answer.data(), answer.size());
      if (got < 0) return fail_errno("netlink receive");
      const int next = ::mnl_cb_run(answer.data(), static_cast<std::size_t>(got), header_->nlmsg_seq,
                                    ::mnl_socket_get_portid(socket), take, data);
      if (next < 0) return fail_errno("rtnetlink");
      if (next == MNL_CB_STOP) return {};
    }
  }

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

template <class Struct>
std::optional<Struct> payload(const nlattr* attribute) {
  Struct value;
  if (::mnl_attr_get_payload_len(attribute) < sizeof value) return std::nullopt;
  std::memcpy(&value, ::mnl_attr_get_payload(attribute), sizeof value);
  return value;
}

/// A driver that does not know leaves all bits set (rtnl_fill_vfinfo in net/core/rtnetlink.c).
std::optional<bool> setting(std::uint32_t raw) { return raw == ~0u ? std::nullopt : std::optional<bool>{raw != 0}; }

void take_setting(const nlattr* attribute, VfSettings& found) {
  switch (::mnl_attr_get_type(attribute)) {
    case IFLA_VF_MAC:
      if (const auto mac = payload<ifla_vf_mac>(attribute))
        found.mac = fmt::format("{:02x}", fmt::join(mac->mac, mac->mac + 6, ":"));
      break;
    case IFLA_VF_VLAN:
      if (const auto vlan = payload<ifla_vf_vlan>(attribute)) {
        found.vlan = static_cast<std::uint16_t>(vlan->vlan);
        found.qos = static_cast<std::uint8_t>(vlan->qos);
      }
      break;
    case IFLA_VF_TRUST:
      if (const auto trust = payload<ifla_vf_trust>(attribute)) found.is_trusted = setting(trust->setting);
      break;
    case IFLA_VF_SPOOFCHK:
      if (const auto check = payload<ifla_vf_spoofchk>(attribute)) found.checks_spoofing = setting(check->setting);
      break;
    case IFLA_VF_LINK_STATE:
      if (const auto state = payload<ifla_vf_link_state>(attribute); state && state->link_state <= 2)
        found.link = static_cast<VfLink>(state->link_state);
      break;
    default:
      break;
  }
}

int take_vfs(const nlmsghdr* message, void* data) {
  auto& found = *static_cast<std::vector<VfSettings>*>(data);
  each_attribute(message, sizeof(ifinfomsg), [&](const nlattr* list) {
    if (::mnl_attr_get_type(list) != IFLA_VFINFO_LIST) return;
    each_nested(list, [&](const nlattr* vf_info) {
      if (::mnl_attr_get_type(vf_info) != IFLA_VF_INFO) return;
      VfSettings& settings = found.emplace_back();
      each_nested(vf_info, [&](const nlattr* attribute) { take_setting(attribute, settings); });
    });
  });
  return MNL_CB_STOP;
}

Result<unsigned> index_of(const std::string& interface) {
  const unsigned index = ::if_nametoindex(interface.c_str());
  if (index == 0) return fail_errno("find the interface");
  return index;
}

/// One attribute of one virtual function. Each goes alone, so that a refusal is of that one.
template <class Struct>
Result<> set_one(unsigned index, std::uint16_t type, const Struct& value) {
  Request request{RTM_SETLINK, NLM_F_ACK};
  request.family<ifinfomsg>().ifi_index = static_cast<int>(index);
  nlattr* const list = ::mnl_attr_nest_start(request.header(), IFLA_VFINFO_LIST);
  nlattr* const info = ::mnl_attr_nest_start(request.header(), IFLA_VF_INFO);
  ::mnl_attr_put(request.header(), type, sizeof value, &value);
  ::mnl_attr_nest_end(request.header(), info);
  ::mnl_attr_nest_end(request.header(), list);
  return request.exchange(nullptr, nullptr);
}

Result<> named(const char* what, Result<> done) {
  if (!done) return fail(done.error().code, what, done.error().sys);
  return done;
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
    const auto done = request.exchange(take, &found);
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

  Result<std::vector<VfSettings>> vfs(const std::string& interface) override {
    const auto index = index_of(interface);
    if (!index) return tl::unexpected<Error>(index.error());
    std::vector<VfSettings> found;
    Request request{RTM_GETLINK, 0};
    request.family<ifinfomsg>().ifi_index = static_cast<int>(*index);
    ::mnl_attr_put_u32(request.header(), IFLA_EXT_MASK, RTEXT_FILTER_VF);
    if (auto done = request.exchange(take_vfs, &found); !done) return tl::unexpected<Error>(done.error());
    return found;
  }

  Result<> set_vf(const std::string& interface, unsigned vf, const VfSettings& wanted) override {
    const auto index = index_of(interface);
    if (!index) return tl::unexpected<Error>(index.error());
    if (wanted.mac) {
      ifla_vf_mac mac{.vf = vf, .mac = {}};
      for (std::size_t i = 0; i < 6; ++i)
        mac.mac[i] = static_cast<std::uint8_t>(parse_hex(wanted.mac->substr(i * 3, 2)).value_or(0));
      if (auto done = named("its MAC address", set_one(*index, IFLA_VF_MAC, mac)); !done) return done;
    }
    if (wanted.vlan) {
      const ifla_vf_vlan vlan{.vf = vf, .vlan = *wanted.vlan, .qos = wanted.qos.value_or(0)};
      if (auto done = named("its VLAN", set_one(*index, IFLA_VF_VLAN, vlan)); !done) return done;
    }
    if (wanted.is_trusted) {
      const ifla_vf_trust trust{.vf = vf, .setting = *wanted.is_trusted ? 1u : 0u};
      if (auto done = named("its trust", set_one(*index, IFLA_VF_TRUST, trust)); !done) return done;
    }
    if (wanted.checks_spoofing) {
      const ifla_vf_spoofchk check{.vf = vf, .setting = *wanted.checks_spoofing ? 1u : 0u};
      if (auto done = named("its spoof check", set_one(*index, IFLA_VF_SPOOFCHK, check)); !done) return done;
    }
    if (!wanted.link) return {};
    const ifla_vf_link_state state{.vf = vf, .link_state = static_cast<std::uint32_t>(*wanted.link)};
    return named("its link state", set_one(*index, IFLA_VF_LINK_STATE, state));
  }

  Result<> set_up(const std::string& interface, bool up) override {
    const auto index = index_of(interface);
    if (!index) return tl::unexpected<Error>(index.error());
    Request request{RTM_NEWLINK, NLM_F_ACK};
    auto& head = request.family<ifinfomsg>();
    head.ifi_index = static_cast<int>(*index);
    head.ifi_change = IFF_UP;
    head.ifi_flags = up ? static_cast<unsigned>(IFF_UP) : 0u;
    return request.exchange(nullptr, nullptr);
  }
};

}  // namespace

std::unique_ptr<Network> make_rtnetlink() { return std::make_unique<Rtnetlink>(); }

}  // namespace vmux::host
