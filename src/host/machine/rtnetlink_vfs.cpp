// SPDX-License-Identifier: BSD-3-Clause
#include "host/machine/rtnetlink_vfs.hpp"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "base/text/format.hpp"
#include "host/machine/netlink.hpp"
#include "host/machine/values.hpp"

namespace vmux::host {
namespace {

using netlink::each_attribute;
using netlink::each_nested;
using netlink::payload;
using netlink::Request;

/// PCI Express 9.3.3.5, TotalVFs: 16 bits.
constexpr std::uint32_t kMostVfs = 65536;

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

/// Every attribute of a virtual function begins with its number (linux/if_link.h).
std::optional<unsigned> number_of(const nlattr* vf_info) {
  std::optional<unsigned> found;
  each_nested(vf_info, [&](const nlattr* attribute) {
    if (::mnl_attr_get_type(attribute) != IFLA_VF_MAC) return;
    if (const auto mac = payload<ifla_vf_mac>(attribute); mac && mac->vf < kMostVfs) found = mac->vf;
  });
  return found;
}

/// Not by their places: rtnl_fill_vfinfo() leaves out those whose driver says that it is not ready. And past the list's
/// own length, which is 16 bits and wraps around where they are many: what follows a whole list is of another type.
void take_list(const nlmsghdr* message, const nlattr* list, std::vector<VfSettings>& found) {
  const char* const end = static_cast<const char*>(::mnl_nlmsg_get_payload_tail(message));
  const auto* at = static_cast<const nlattr*>(::mnl_attr_get_payload(list));
  for (; ::mnl_attr_ok(at, static_cast<int>(end - reinterpret_cast<const char*>(at))); at = ::mnl_attr_next(at)) {
    const auto number = ::mnl_attr_get_type(at) == IFLA_VF_INFO ? number_of(at) : std::nullopt;
    if (!number) return;
    if (found.size() <= *number) found.resize(*number + 1);
    each_nested(at, [&](const nlattr* attribute) { take_setting(attribute, found[*number]); });
  }
}

int take_vfs(const nlmsghdr* message, void* data) {
  *static_cast<std::vector<VfSettings>*>(data) = parse_vfs(message);
  return MNL_CB_STOP;
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
  return request.exchange(nullptr, nullptr, NETLINK_ROUTE);
}

Result<> named(const char* what, Result<> done) {
  if (!done) return fail(done.error().code, what, done.error().sys);
  return done;
}

}  // namespace

std::vector<VfSettings> parse_vfs(const nlmsghdr* message) {
  std::uint32_t count = 0;
  const nlattr* list = nullptr;
  const char* const end = static_cast<const char*>(::mnl_nlmsg_get_payload_tail(message));
  const auto* at = static_cast<const nlattr*>(::mnl_nlmsg_get_payload_offset(message, sizeof(ifinfomsg)));
  const auto is_left = [&] { return ::mnl_attr_ok(at, static_cast<int>(end - reinterpret_cast<const char*>(at))); };
  for (; list == nullptr && is_left(); at = ::mnl_attr_next(at)) {  // the number comes before the list
    if (::mnl_attr_get_type(at) == IFLA_NUM_VF) count = payload<std::uint32_t>(at).value_or(0);
    if (::mnl_attr_get_type(at) == IFLA_VFINFO_LIST) list = at;
  }
  std::vector<VfSettings> found;
  if (list == nullptr) return found;
  take_list(message, list, found);
  found.resize(std::max<std::size_t>(found.size(), std::min(count, kMostVfs)));
  return found;
}

Result<std::vector<VfSettings>> read_vfs(unsigned interface) {
  std::vector<VfSettings> found;
  Request request{RTM_GETLINK, 0};
  request.family<ifinfomsg>().ifi_index = static_cast<int>(interface);
  // Their counters are asked for by nobody here, and are a third of the answer.
  ::mnl_attr_put_u32(request.header(), IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS);
  if (auto done = request.exchange(take_vfs, &found, NETLINK_ROUTE); !done) return tl::unexpected<Error>(done.error());
  return found;
}

Result<> write_vf(unsigned interface, unsigned vf, const VfSettings& wanted) {
  if (wanted.mac) {
    ifla_vf_mac mac{.vf = vf, .mac = {}};
    for (std::size_t i = 0; i < 6; ++i)
      mac.mac[i] = static_cast<std::uint8_t>(parse_hex(wanted.mac->substr(i * 3, 2)).value_or(0));
    if (auto done = named("its MAC address", set_one(interface, IFLA_VF_MAC, mac)); !done) return done;
  }
  if (wanted.vlan) {
    const ifla_vf_vlan vlan{.vf = vf, .vlan = *wanted.vlan, .qos = wanted.qos.value_or(0)};
    if (auto done = named("its VLAN", set_one(interface, IFLA_VF_VLAN, vlan)); !done) return done;
  }
  if (wanted.is_trusted) {
    const ifla_vf_trust trust{.vf = vf, .setting = *wanted.is_trusted ? 1u : 0u};
    if (auto done = named("its trust", set_one(interface, IFLA_VF_TRUST, trust)); !done) return done;
  }
  if (wanted.checks_spoofing) {
    const ifla_vf_spoofchk check{.vf = vf, .setting = *wanted.checks_spoofing ? 1u : 0u};
    if (auto done = named("its spoof check", set_one(interface, IFLA_VF_SPOOFCHK, check)); !done) return done;
  }
  if (!wanted.link) return {};
  const ifla_vf_link_state state{.vf = vf, .link_state = static_cast<std::uint32_t>(*wanted.link)};
  return named("its link state", set_one(interface, IFLA_VF_LINK_STATE, state));
}

}  // namespace vmux::host
