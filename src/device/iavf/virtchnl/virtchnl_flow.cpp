// SPDX-License-Identifier: BSD-3-Clause
// Flow director rules (ethtool -N, rte_flow) and which fields of a flow are hashed (ethtool -N rx-flow-hash): messages
// that name headers and their fields, made into the data path's own terms.
#include <algorithm>

#include "device/iavf/virtchnl/virtchnl.hpp"

namespace vmux::device::iavf {

namespace vc = wire::virtchnl;
namespace field = wire::virtchnl::proto_field;

namespace {

/// Where a field of a header lies in the message's copy of that header, and in the frame's fields.
struct FieldPlace {
  vc::ProtoHdrType header;
  std::uint32_t selector;
  std::uint8_t at, size;  ///< bytes, in ProtoHdr::buffer
  std::uint8_t into;      ///< offset in FlowFields
};
#define VMUX_FIELD(name) static_cast<std::uint8_t>(offsetof(intel::FlowFields, name))
constexpr FieldPlace kFields[] = {
    {vc::ProtoHdrType::eth, field::kEthDst, 0, 6, VMUX_FIELD(destination)},
    {vc::ProtoHdrType::eth, field::kEthSrc, 6, 6, VMUX_FIELD(source)},
    {vc::ProtoHdrType::eth, field::kEthType, 12, 2, VMUX_FIELD(ethertype)},
    {vc::ProtoHdrType::ipv4, field::kIpv4Dscp, 1, 1, VMUX_FIELD(tos)},
    {vc::ProtoHdrType::ipv4, field::kIpv4Ttl, 8, 1, VMUX_FIELD(ttl)},
    {vc::ProtoHdrType::ipv4, field::kIpv4Prot, 9, 1, VMUX_FIELD(protocol)},
    {vc::ProtoHdrType::ipv4, field::kIpv4Src, 12, 4, VMUX_FIELD(source_ip)},
    {vc::ProtoHdrType::ipv4, field::kIpv4Dst, 16, 4, VMUX_FIELD(destination_ip)},
    {vc::ProtoHdrType::ipv6, field::kIpv6Prot, 6, 1, VMUX_FIELD(protocol)},
    {vc::ProtoHdrType::ipv6, field::kIpv6HopLimit, 7, 1, VMUX_FIELD(ttl)},
    {vc::ProtoHdrType::ipv6, field::kIpv6Src, 8, 16, VMUX_FIELD(source_ip)},
    {vc::ProtoHdrType::ipv6, field::kIpv6Dst, 24, 16, VMUX_FIELD(destination_ip)},
    {vc::ProtoHdrType::tcp, field::kPortSrc, 0, 2, VMUX_FIELD(source_port)},
    {vc::ProtoHdrType::tcp, field::kPortDst, 2, 2, VMUX_FIELD(destination_port)},
    {vc::ProtoHdrType::udp, field::kPortSrc, 0, 2, VMUX_FIELD(source_port)},
    {vc::ProtoHdrType::udp, field::kPortDst, 2, 2, VMUX_FIELD(destination_port)},
    {vc::ProtoHdrType::sctp, field::kPortSrc, 0, 2, VMUX_FIELD(source_port)},
    {vc::ProtoHdrType::sctp, field::kPortDst, 2, 2, VMUX_FIELD(destination_port)},
    {vc::ProtoHdrType::esp, 1u, 0, 4, VMUX_FIELD(spi)},
    {vc::ProtoHdrType::ah, 1u, 4, 4, VMUX_FIELD(spi)},
};
#undef VMUX_FIELD

constexpr std::uint8_t kTcp = 6, kUdp = 17, kEsp = 50, kAh = 51, kSctp = 132;  // IANA protocol numbers

void demand_protocol(intel::FlowRule& rule, std::uint8_t protocol) noexcept {
  rule.value.protocol = protocol;
  rule.mask.protocol = 0xff;
}

/// That a header is named is a demand by itself. False for headers that are not understood.
bool demand_header(intel::FlowRule& rule, vc::ProtoHdrType type) noexcept {
  switch (type) {
    case vc::ProtoHdrType::eth:
      return true;
    case vc::ProtoHdrType::ipv4:
    case vc::ProtoHdrType::ipv6:
      rule.value.ip_version = type == vc::ProtoHdrType::ipv4 ? 4 : 6;
      rule.mask.ip_version = 0xff;
      return true;
    case vc::ProtoHdrType::tcp:
      demand_protocol(rule, kTcp);
      return true;
    case vc::ProtoHdrType::udp:
      demand_protocol(rule, kUdp);
      return true;
    case vc::ProtoHdrType::sctp:
      demand_protocol(rule, kSctp);
      return true;
    case vc::ProtoHdrType::esp:
      demand_protocol(rule, kEsp);
      return true;
    case vc::ProtoHdrType::ah:
      demand_protocol(rule, kAh);
      return true;
    default:
      return false;
  }
}

/// Each selected field has to equal the message's. False when one of them is not understood.
bool demand_fields(intel::FlowRule& rule, const vc::ProtoHdr& header) noexcept {
  const auto type = static_cast<vc::ProtoHdrType>(std::uint32_t{header.type});
  if (!demand_header(rule, type)) return false;
  std::uint32_t left = header.field_selector;
  for (const FieldPlace& place : kFields) {
    if (place.header != type || (left & place.selector) == 0) continue;
    left &= ~place.selector;
    std::memcpy(reinterpret_cast<std::uint8_t*>(&rule.value) + place.into, header.buffer.data() + place.at, place.size);
    std::memset(reinterpret_cast<std::uint8_t*>(&rule.mask) + place.into, 0xff, place.size);
  }
  if (type == vc::ProtoHdrType::ipv6 && (left & field::kIpv6Tc) != 0) {  // across two bytes of the header
    rule.value.tos = static_cast<std::uint8_t>((header.buffer[0] << 4) | (header.buffer[1] >> 4));
    rule.mask.tos = 0xff;
    left &= ~field::kIpv6Tc;
  }
  return left == 0;
}

/// At most one of queue, group and drop, beside marks.
bool take_actions(intel::FlowRule& rule, const vc::FilterActionSet& set, unsigned queues) noexcept {
  if (set.count > vc::kMaxActions) return false;
  unsigned decisions = 0;
  for (std::uint32_t i = 0; i < set.count; ++i) {
    const vc::FilterAction& action = set.actions[i];
    const unsigned queue = action.queue_index, group = 1u << std::min<unsigned>(action.queue_region, 8);
    switch (static_cast<vc::Action>(std::uint32_t{action.type})) {
      case vc::Action::drop:
        rule.action = intel::FlowAction::drop;
        ++decisions;
        break;
      case vc::Action::passthru:
        rule.action = intel::FlowAction::pass;
        ++decisions;
        break;
      case vc::Action::queue:
        if (queue >= queues) return false;
        rule.action = intel::FlowAction::queue;
        rule.queue = static_cast<std::uint16_t>(queue);
        ++decisions;
        break;
      case vc::Action::q_region:
        if (!fits(queue, group, queues)) return false;
        rule.action = intel::FlowAction::queue_group;
        rule.queue = static_cast<std::uint16_t>(queue);
        rule.group_size = static_cast<std::uint16_t>(group);
        ++decisions;
        break;
      case vc::Action::mark:
        rule.mark = queue | std::uint32_t{action.queue_region} << 16 | std::uint32_t{action.rest[0]} << 24;
        break;
      case vc::Action::count:
        break;  // rules are not counted one by one; a query is answered with an error
      default:
        return false;
    }
  }
  return decisions <= 1 && set.count > 0;
}

std::optional<intel::FlowRule> rule_of(const vc::FdirAdd& message, unsigned queues) noexcept {
  intel::FlowRule rule;
  const std::uint32_t count = message.proto_hdrs.count;
  if (count == 0 || count > vc::kMaxProtoHdrs || message.proto_hdrs.tunnel_level != 0) return std::nullopt;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!demand_fields(rule, message.proto_hdrs.proto_hdr[i])) return std::nullopt;
  }
  if (!take_actions(rule, message.action_set, queues)) return std::nullopt;
  return rule;
}

}  // namespace

/// The answer repeats the request with an id and a status of its own; the message itself has gone well.
Virtchnl::Status Virtchnl::add_fdir_filter(Body body, Reply& reply) noexcept {
  auto message = read_at<vc::FdirAdd>(body);
  const auto answer = [&](vc::FdirStatus status) {
    message.status = static_cast<std::uint32_t>(status);
    reply.put(message);
    return Status::success;
  };
  if (message.vsi_id != kVsiId) return Status::err_param;
  auto rule = rule_of(message, data_.queue_pairs());
  if (!rule) return answer(vc::FdirStatus::invalid);
  if (message.validate_only != 0) return answer(vc::FdirStatus::success);
  if (data_.rules().flows.find_if([&](const intel::FlowRule& other) { return intel::is_same(*rule, other); }) !=
      nullptr) {
    return answer(vc::FdirStatus::exists);
  }
  rule->id = ++session_.last_flow_id;
  if (!data_.flows().add(*rule)) return answer(vc::FdirStatus::no_resource);
  message.flow_id = rule->id;
  return answer(vc::FdirStatus::success);
}

Virtchnl::Status Virtchnl::del_fdir_filter(Body body, Reply& reply) noexcept {
  auto message = read_at<vc::FdirDel>(body);
  if (message.vsi_id != kVsiId) return Status::err_param;
  const bool was_there = data_.flows().remove(message.flow_id);
  message.status = static_cast<std::uint32_t>(was_there ? vc::FdirStatus::success : vc::FdirStatus::not_existing);
  reply.put(message);
  return Status::success;
}

}  // namespace vmux::device::iavf
