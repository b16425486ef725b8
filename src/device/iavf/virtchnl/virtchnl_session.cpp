// SPDX-License-Identifier: BSD-3-Clause
// Version, resources, statistics, events, reset.
#include <utility>

#include "device/iavf/virtchnl/virtchnl.hpp"

namespace vmux::device::iavf {

namespace vc = wire::virtchnl;
namespace cap = wire::virtchnl::capability;

namespace {

struct Speed {
  std::uint32_t mbps, bit;
};
constexpr Speed kSpeeds[] = {{100, vc::link_speed::k100Mb},  {1000, vc::link_speed::k1Gb},
                             {2500, vc::link_speed::k2_5Gb}, {5000, vc::link_speed::k5Gb},
                             {10000, vc::link_speed::k10Gb}, {20000, vc::link_speed::k20Gb},
                             {25000, vc::link_speed::k25Gb}, {40000, vc::link_speed::k40Gb}};

}  // namespace

/// The highest minor that both know. A driver says this when it is loaded and not after its resets. So what there is
/// was left by another that is gone, without a word if its kernel died: its queues run, with rings in memory that may
/// be anybody's by now, and its addresses, VLANs, rules and traffic classes would lead frames astray. The physical
/// functions leave all that as it is, but for queues that are configured anew; here the next driver finds a function as
/// after a reset, its address excepted, which the network knows it by.
Virtchnl::Status Virtchnl::version(Body body, Reply& reply) noexcept {
  const auto asked = read_at<vc::VersionInfo>(body);
  const MacAddress mac = session_.mac;
  session_ = {};
  session_.mac = mac;
  session_.minor = asked.major == vc::kMajor && asked.minor < vc::kMinor ? std::uint32_t{asked.minor} : vc::kMinor;
  channels_ = {};
  data_.forget_driver();
  interrupts_.reset();
  data_.set_station_address(mac);
  reply.put(vc::VersionInfo{vc::kMajor, session_.minor});
  return Status::success;
}

/// No answer: the driver watches ARQLEN1 and VFGEN_RSTAT.
Virtchnl::Status Virtchnl::reset_vf(Body /*body*/, Reply& reply) noexcept {
  reply.is_wanted = false;
  session_.reset_request = ResetRequest::now;
  session_.is_resetting = true;
  return Status::success;
}

std::uint32_t Virtchnl::offered() const noexcept {
  constexpr std::uint32_t kBoth = cap::kL2 | cap::kRssPf | cap::kWbOnItr | cap::kReqQueues | cap::kAdvLinkSpeed |
                                  cap::kVlan | cap::kEncap | cap::kEncapCsum | cap::kAdq;
  constexpr std::uint32_t kE810 =
      cap::kLargeNumQpairs | cap::kVlanV2 | cap::kRxFlexDesc | cap::kCrc | cap::kFdirPf | cap::kAdvRssPf | cap::kUso;
  return identity_.parent == Parent::e810 ? kBoth | kE810 : kBoth;
}

Virtchnl::Status Virtchnl::get_vf_resources(Body body, Reply& reply) noexcept {
  std::uint32_t wanted = cap::kBaseMode;
  if (session_.minor != vc::kMinorWithoutCapabilities) {
    if (body.size() < sizeof(std::uint32_t)) return Status::err_param;
    wanted = read_at<Le<std::uint32_t>>(body);
  }
  std::uint32_t given = wanted & offered();
  if ((given & cap::kVlanV2) != 0) given &= ~cap::kVlan;  // one dialect of VLANs, the newer
  session_.capabilities = given | cap::kL2;
  session_.has_resources = true;
  session_.link_event_due = true;
  data_.vlan() = {};                           // whatever was said in the other dialect
  data_.vlan().outer.strip = has(cap::kVlan);  // the first dialect starts so, with either parent; the second asks
  if (!has(cap::kAdq)) channels_ = {};
  data_.channels() = channels_;

  vc::VfResource answer{};
  answer.num_vsis = 1;
  answer.num_queue_pairs = static_cast<std::uint16_t>(identity_.queue_pairs);
  answer.max_vectors = static_cast<std::uint16_t>(identity_.queue_pairs + 1);
  answer.max_mtu = intel::kMaxFrameWithFcs;  // so the physical functions of this family fill it in
  answer.vf_cap_flags = session_.capabilities;
  answer.rss_key_size = kRssKeySize;
  answer.rss_lut_size = kRssLutSize;
  answer.vsi.vsi_id = kVsiId;
  answer.vsi.num_queue_pairs = static_cast<std::uint16_t>(identity_.queue_pairs);
  answer.vsi.vsi_type = vc::kVsiTypeSriov;
  answer.vsi.default_mac_addr = session_.mac;
  reply.put(answer);
  return Status::success;
}

Virtchnl::Status Virtchnl::get_stats(Body body, Reply& reply) noexcept {
  if (read_at<vc::QueueSelect>(body).vsi_id != kVsiId) return Status::err_param;
  const FrameStatistics sum = data_.statistics();
  vc::EthStats answer{};
  answer.rx_bytes = sum.rx_bytes;
  answer.rx_unicast = sum.rx_unicast;
  answer.rx_multicast = sum.rx_multicast;
  answer.rx_broadcast = sum.rx_broadcast;
  answer.rx_discards = sum.rx_discards;
  answer.tx_bytes = sum.tx_bytes;
  answer.tx_unicast = sum.tx_unicast;
  answer.tx_multicast = sum.tx_multicast;
  answer.tx_broadcast = sum.tx_broadcast;
  answer.tx_discards = sum.tx_discards;
  answer.tx_errors = sum.tx_errors;
  reply.put(answer);
  return Status::success;
}

std::uint32_t Virtchnl::link_speed() const noexcept {
  if (has(cap::kAdvLinkSpeed)) return identity_.link_mbps;
  std::uint32_t bit = 0;
  for (const Speed& speed : kSpeeds) {  // the fastest that the old encoding knows and that is not above ours
    if (speed.mbps <= identity_.link_mbps) bit = speed.bit;
  }
  return bit;
}

/// The latest state of each kind, once there is room for it: events do not pile up.
void Virtchnl::tell_what_is_due() noexcept {
  if (!session_.has_resources) return;
  if (session_.link_event_due && queue_.has_room()) {
    session_.link_event_due = false;
    vc::PfEvent event{};
    event.event = static_cast<std::uint32_t>(vc::Event::link_change);
    event.link_speed = state_.is_link_up() ? link_speed() : 0;
    event.link_status = state_.is_link_up() ? 1 : 0;
    event.severity = vc::kSeverityInfo;
    post(vc::Op::event, Status::success, std::as_bytes(std::span{&event, 1}));
  }
  if (session_.reset_event_due && queue_.has_room()) {
    session_.reset_event_due = false;
    vc::PfEvent event{};
    event.event = static_cast<std::uint32_t>(vc::Event::reset_impending);
    event.severity = vc::kSeverityCertainDoom;
    post(vc::Op::event, Status::success, std::as_bytes(std::span{&event, 1}));
  }
}

Virtchnl::ResetRequest Virtchnl::take_reset_request() noexcept {
  return std::exchange(session_.reset_request, ResetRequest::none);
}

void Virtchnl::set_station(const MacAddress& mac) noexcept {
  session_.mac = mac;
  session_.has_deleted_mac = false;
  if (!session_.has_resources || session_.is_resetting) return;
  plan_reset();
  tell_what_is_due();
}

void Virtchnl::reset(bool whole) noexcept {
  const MacAddress mac = whole ? identity_.mac : session_.mac;
  if (whole) channels_ = {};
  session_ = {};
  session_.mac = mac;
}

}  // namespace vmux::device::iavf
