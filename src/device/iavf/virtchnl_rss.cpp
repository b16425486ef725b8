// SPDX-License-Identifier: BSD-3-Clause
// Receive side scaling: key, table, which packets are hashed and how.
#include <algorithm>
#include <bit>
#include <iterator>

#include "device/iavf/virtchnl.hpp"

namespace vmux::device::iavf {

namespace vc = wire::virtchnl;
namespace field = wire::virtchnl::proto_field;

namespace {

/// What a message about hashing means: the classifier types that its headers describe, and the fields that it selects.
struct HashChoice {
  std::uint64_t types = 0;  ///< bits of HENA
  std::uint8_t fields = 0;
};

constexpr std::uint64_t bit(std::uint8_t type) noexcept { return 1ull << type; }

struct TransportTypes {
  vc::ProtoHdrType header;
  std::uint64_t ipv4, ipv6;
};
// A UDP or TCP type stands for its unicast, multicast and SYN kinds too.
constexpr TransportTypes kTransports[] = {
    {vc::ProtoHdrType::udp, bit(29) | bit(30) | bit(pctype::ipv4_udp), bit(39) | bit(40) | bit(pctype::ipv6_udp)},
    {vc::ProtoHdrType::tcp, bit(32) | bit(pctype::ipv4_tcp), bit(42) | bit(pctype::ipv6_tcp)},
    {vc::ProtoHdrType::sctp, bit(pctype::ipv4_sctp), bit(pctype::ipv6_sctp)},
};
constexpr std::uint64_t kIpv4Only = bit(pctype::ipv4_other) | bit(pctype::ipv4_fragment);
constexpr std::uint64_t kIpv6Only = bit(pctype::ipv6_other) | bit(pctype::ipv6_fragment);

/// Inner headers of a tunnel are hashed only where there is no tunnel: the part's own packages differ in that too.
std::optional<HashChoice> choice_of(const vc::RssCfg& message) noexcept {
  HashChoice choice;
  bool v4 = false, v6 = false;
  const std::uint32_t count = message.proto_hdrs.count;
  if (count == 0 || count > vc::kMaxProtoHdrs) return std::nullopt;
  for (std::uint32_t i = 0; i < count; ++i) {
    const vc::ProtoHdr& header = message.proto_hdrs.proto_hdr[i];
    const auto type = static_cast<vc::ProtoHdrType>(std::uint32_t{header.type});
    const std::uint32_t selected = header.field_selector;
    if (type == vc::ProtoHdrType::eth) continue;
    if (type == vc::ProtoHdrType::ipv4 || type == vc::ProtoHdrType::ipv6) {
      (type == vc::ProtoHdrType::ipv4 ? v4 : v6) = true;
      choice.types = type == vc::ProtoHdrType::ipv4 ? kIpv4Only : kIpv6Only;
      if ((selected & field::kIpv4Src) != 0) choice.fields |= kHashSource;  // the same bits for both versions
      if ((selected & field::kIpv4Dst) != 0) choice.fields |= kHashDestination;
      continue;
    }
    const auto transport = std::find_if(std::begin(kTransports), std::end(kTransports),
                                        [type](const TransportTypes& row) { return row.header == type; });
    if (transport == std::end(kTransports) || v4 == v6) return std::nullopt;
    choice.types = v4 ? transport->ipv4 : transport->ipv6;
    if ((selected & field::kPortSrc) != 0) choice.fields |= kHashSourcePort;
    if ((selected & field::kPortDst) != 0) choice.fields |= kHashDestinationPort;
  }
  if (choice.types == 0) return std::nullopt;
  return choice;
}

}  // namespace

Virtchnl::Status Virtchnl::config_rss_key(Body body, Reply& /*reply*/) noexcept {
  const auto head = read_at<vc::RssKey>(body);
  if (head.vsi_id != kVsiId || head.key_len != kRssKeySize) return Status::err_param;
  if (body.size() < sizeof head + kRssKeySize) return Status::err_param;
  std::memcpy(data_.rss().key.data(), body.data() + sizeof head, kRssKeySize);
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::config_rss_lut(Body body, Reply& /*reply*/) noexcept {
  const auto head = read_at<vc::RssLut>(body);
  if (head.vsi_id != kVsiId || head.lut_entries != kRssLutSize) return Status::err_param;
  if (body.size() < sizeof head + kRssLutSize) return Status::err_param;
  std::array<std::uint8_t, kRssLutSize> lut;
  std::memcpy(lut.data(), body.data() + sizeof head, kRssLutSize);
  if (std::any_of(lut.begin(), lut.end(), [this](std::uint8_t queue) { return queue >= data_.queue_pairs(); })) {
    return Status::err_param;
  }
  data_.rss().lut = lut;
  data_.rss().enabled = true;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::config_rss_hfunc(Body body, Reply& /*reply*/) noexcept {
  const auto function = read_at<vc::RssHfunc>(body);
  if (function.vsi_id != kVsiId) return Status::err_param;
  if (function.rss_algorithm != vc::kToeplitzAsymmetric && function.rss_algorithm != vc::kToeplitzSymmetric) {
    return Status::err_not_supported;
  }
  data_.rss().symmetric = function.rss_algorithm == vc::kToeplitzSymmetric;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::get_rss_hena_caps(Body /*body*/, Reply& reply) noexcept {
  reply.put(vc::RssHena{kHashedPackets});
  return Status::success;
}

Virtchnl::Status Virtchnl::set_rss_hena(Body body, Reply& /*reply*/) noexcept {
  data_.rss().hena = read_at<vc::RssHena>(body).hena & kHashedPackets;
  data_.publish();
  return Status::success;
}

/// The table can lead to every queue there is.
Virtchnl::Status Virtchnl::get_max_rss_qregion(Body /*body*/, Reply& reply) noexcept {
  vc::MaxRssQregion answer{};
  answer.vport_id = kVsiId;
  answer.qregion_width = static_cast<std::uint16_t>(std::bit_width(data_.queue_pairs()) - 1);
  reply.put(answer);
  return Status::success;
}

Virtchnl::Status Virtchnl::add_rss_cfg(Body body, Reply& /*reply*/) noexcept {
  const auto message = read_at<vc::RssCfg>(body);
  const auto choice = choice_of(message);
  if (!choice || choice->fields == 0) return Status::err_param;
  if (message.rss_algorithm != vc::kToeplitzAsymmetric && message.rss_algorithm != vc::kToeplitzSymmetric) {
    return Status::err_not_supported;
  }
  Rss& rss = data_.rss();
  rss.symmetric = message.rss_algorithm == vc::kToeplitzSymmetric;
  const bool has_ports = (choice->types & (kIpv4Only | kIpv6Only)) == 0;
  const unsigned all = kHashSource | kHashDestination | (has_ports ? kHashSourcePort | kHashDestinationPort : 0u);
  for (unsigned type = 0; type < rss.fields.size(); ++type) {
    if ((choice->types >> type & 1) != 0) rss.fields[type] = choice->fields == all ? std::uint8_t{0} : choice->fields;
  }
  rss.hena |= choice->types & kHashedPackets;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::del_rss_cfg(Body body, Reply& /*reply*/) noexcept {
  const auto choice = choice_of(read_at<vc::RssCfg>(body));
  if (!choice) return Status::err_param;
  data_.rss().hena &= ~choice->types;
  data_.publish();
  return Status::success;
}

}  // namespace vmux::device::iavf
