// SPDX-License-Identifier: BSD-3-Clause
// Application device queues (ADQ): traffic classes, each a range of queues, and the cloud filters that lead flows to
// them. Frames that no filter names belong to class 0.
#include <algorithm>
#include <cstring>

#include "device/iavf/virtchnl/virtchnl.hpp"

namespace vmux::device::iavf {

namespace vc = wire::virtchnl;

namespace {

constexpr std::uint8_t kTcp = 6, kUdp = 17;  // IANA protocol numbers

template <std::size_t N>
void demand(std::array<std::uint8_t, N>& value, std::array<std::uint8_t, N>& mask, std::span<const std::uint8_t> data,
            std::span<const std::uint8_t> wanted) noexcept {
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    mask[i] = wanted[i];
    value[i] = data[i] & wanted[i];
  }
}

/// What the flow type says, and each bit of the fields that the mask names. `ranges`: of the traffic classes there are.
std::optional<intel::FlowRule> rule_of(const vc::CloudFilter& filter,
                                       std::span<const intel::Channels::Range> ranges) noexcept {
  const std::uint32_t type = filter.flow_type, traffic_class = filter.action_meta;
  if (type > vc::kUdpV6Flow || filter.action != static_cast<std::uint32_t>(vc::Action::tc_redirect))
    return std::nullopt;
  if (traffic_class >= ranges.size()) return std::nullopt;
  const bool is_v6 = type == vc::kTcpV6Flow || type == vc::kUdpV6Flow;
  const bool is_tcp = type == vc::kTcpV4Flow || type == vc::kTcpV6Flow;
  intel::FlowRule rule;
  rule.is_cloud = true;
  rule.action = intel::FlowAction::queue_group;
  rule.queue = ranges[traffic_class].first;
  rule.group_size = ranges[traffic_class].queues;
  rule.value.ip_version = is_v6 ? 6 : 4;
  rule.value.protocol = is_tcp ? kTcp : kUdp;
  rule.mask.ip_version = rule.mask.protocol = 0xff;
  const vc::L4Spec &data = filter.data, &mask = filter.mask;
  const std::size_t address = is_v6 ? 16 : 4;
  demand(rule.value.source, rule.mask.source, data.src_mac, mask.src_mac);
  demand(rule.value.destination, rule.mask.destination, data.dst_mac, mask.dst_mac);
  demand(rule.value.source_ip, rule.mask.source_ip, data.src_ip, std::span{mask.src_ip}.first(address));
  demand(rule.value.destination_ip, rule.mask.destination_ip, data.dst_ip, std::span{mask.dst_ip}.first(address));
  demand(rule.value.source_port, rule.mask.source_port, data.src_port, mask.src_port);
  demand(rule.value.destination_port, rule.mask.destination_port, data.dst_port, mask.dst_port);
  // A VLAN is meant without its priority, whose bits Linux has in the mask all the same.
  const std::array<std::uint8_t, 2> vid{static_cast<std::uint8_t>(mask.vlan_id[0] & 0x0f), mask.vlan_id[1]};
  demand(rule.value.vlan, rule.mask.vlan, data.vlan_id, vid);
  return rule;
}

}  // namespace

/// Ranges one behind the other, from queue 0 on. Granted by a reset, after which they hold. Rates are not limited here:
/// whoever asks for a limit hears of it.
Virtchnl::Status Virtchnl::enable_channels(Body body, Reply& reply) noexcept {
  const auto head = read_at<vc::TcInfo>(body);
  const std::size_t count = head.num_tc;
  if (count == 0 || count > intel::Channels::kMost) return Status::err_param;
  if (!is_list(body.size(), sizeof head, sizeof(vc::ChannelInfo), count)) return Status::err_param;
  intel::Channels wanted;
  unsigned used = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto channel = read_at<vc::ChannelInfo>(body, sizeof head + i * sizeof(vc::ChannelInfo));
    if (channel.count == 0 || channel.offset != used || channel.count > identity_.queue_pairs - used) {
      return Status::err_param;
    }
    if (channel.max_tx_rate > identity_.link_mbps) return Status::err_param;
    if (channel.max_tx_rate != 0) return Status::err_not_supported;
    wanted.ranges[wanted.count++] = {static_cast<std::uint16_t>(used), channel.count};
    used += channel.count;
  }
  channels_ = wanted;
  return announce_reset(reply);
}

Virtchnl::Status Virtchnl::disable_channels(Body /*body*/, Reply& reply) noexcept {
  if (channels_.count == 0) return Status::err_param;
  channels_ = {};
  return announce_reset(reply);
}

Virtchnl::Status Virtchnl::add_cloud_filter(Body body, Reply& /*reply*/) noexcept {
  auto rule = rule_of(read_at<vc::CloudFilter>(body), std::span{channels_.ranges}.first(channels_.count));
  if (!rule) return Status::err_param;
  if (data_.rules().flows.find_if([&](const intel::FlowRule& other) { return intel::is_same(*rule, other); }) !=
      nullptr) {
    return Status::err_param;
  }
  rule->id = ++session_.last_flow_id;
  if (!data_.flows().add(*rule)) return Status::err_no_memory;
  return Status::success;
}

Virtchnl::Status Virtchnl::del_cloud_filter(Body body, Reply& /*reply*/) noexcept {
  const auto rule = rule_of(read_at<vc::CloudFilter>(body), std::span{channels_.ranges}.first(channels_.count));
  if (!rule) return Status::err_param;
  const intel::FlowRule* const found = data_.rules().flows.find_if([&](const intel::FlowRule& other) {
    return other.is_cloud && other.queue == rule->queue && intel::is_same(*rule, other);
  });
  if (found == nullptr) return Status::err_param;
  data_.flows().remove(found->id);
  return Status::success;
}

}  // namespace vmux::device::iavf
