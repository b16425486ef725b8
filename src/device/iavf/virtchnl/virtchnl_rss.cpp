// SPDX-License-Identifier: BSD-3-Clause
// Receive side scaling: key, table, which packets are hashed and how.
#include <algorithm>
#include <bit>
#include <iterator>

#include "device/iavf/virtchnl/virtchnl.hpp"

namespace vmux::device::iavf {

namespace vc = wire::virtchnl;
namespace field = wire::virtchnl::proto_field;

namespace {

/// What a message about hashing means: the classifier types that its headers describe, and the fields that it selects.
struct HashChoice {
  std::uint64_t types = 0;  ///< bits of HENA
  std::uint8_t fields = 0;
  bool is_v4 = false, has_transport = false;
};

constexpr std::uint64_t bit(std::uint8_t type) noexcept { return 1ull << type; }

struct TransportTypes {
  vc::ProtoHdrType header;
  std::uint64_t ipv4, ipv6;
};
// A UDP or TCP type stands for its unicast, multicast and SYN kinds too.
constexpr TransportTypes kTransports[] = {
    {vc::ProtoHdrType::udp, bit(29) | bit(30) | bit(intel::pctype::ipv4_udp),
     bit(39) | bit(40) | bit(intel::pctype::ipv6_udp)},
    {vc::ProtoHdrType::tcp, bit(32) | bit(intel::pctype::ipv4_tcp), bit(42) | bit(intel::pctype::ipv6_tcp)},
    {vc::ProtoHdrType::sctp, bit(intel::pctype::ipv4_sctp), bit(intel::pctype::ipv6_sctp)},
};
constexpr std::uint64_t kPortless = bit(intel::pctype::ipv4_other) | bit(intel::pctype::ipv4_fragment) |
                                    bit(intel::pctype::ipv6_other) | bit(intel::pctype::ipv6_fragment);
constexpr std::uint64_t kAllOfIpv4 = 0xffull << 29, kAllOfIpv6 = 0xffull << 39;

void hash(intel::Rss& rss, std::uint64_t types, std::uint8_t fields) noexcept {
  constexpr unsigned kAddresses = intel::kHashSource | intel::kHashDestination,
                     kPorts = intel::kHashSourcePort | intel::kHashDestinationPort;
  for (unsigned type = 0; type < rss.fields.size(); ++type) {
    if ((types >> type & 1) == 0) continue;
    const unsigned all = (bit(static_cast<std::uint8_t>(type)) & kPortless) != 0 ? kAddresses : kAddresses | kPorts;
    rss.fields[type] = fields == all ? std::uint8_t{0} : fields;
  }
  rss.hena |= types & intel::kHashedPackets;
}

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
    const bool is_below_ip =
        type == vc::ProtoHdrType::eth || type == vc::ProtoHdrType::s_vlan || type == vc::ProtoHdrType::c_vlan;
    if (is_below_ip && selected == 0) continue;  // DPDK names them to say that they may be there
    if (type == vc::ProtoHdrType::ipv4 || type == vc::ProtoHdrType::ipv6) {
      (type == vc::ProtoHdrType::ipv4 ? v4 : v6) = true;
      // The protocol may be named too: each type has one of its own.
      if ((selected & ~(field::kIpv4Src | field::kIpv4Dst | field::kIpv4Prot)) != 0) return std::nullopt;
      choice.is_v4 = v4;
      choice.types = v4 ? kAllOfIpv4 : kAllOfIpv6;
      if ((selected & field::kIpv4Src) != 0) choice.fields |= intel::kHashSource;  // the same bits for both versions
      if ((selected & field::kIpv4Dst) != 0) choice.fields |= intel::kHashDestination;
      continue;
    }
    const auto transport = std::find_if(std::begin(kTransports), std::end(kTransports),
                                        [type](const TransportTypes& row) { return row.header == type; });
    if (transport == std::end(kTransports) || v4 == v6) return std::nullopt;
    if ((selected & ~(field::kPortSrc | field::kPortDst)) != 0) return std::nullopt;
    choice.has_transport = true;
    choice.types = v4 ? transport->ipv4 : transport->ipv6;
    if ((selected & field::kPortSrc) != 0) choice.fields |= intel::kHashSourcePort;
    if ((selected & field::kPortDst) != 0) choice.fields |= intel::kHashDestinationPort;
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
  return Status::success;
}

Virtchnl::Status Virtchnl::config_rss_hfunc(Body body, Reply& /*reply*/) noexcept {
  const auto function = read_at<vc::RssHfunc>(body);
  if (function.vsi_id != kVsiId) return Status::err_param;
  if (function.rss_algorithm != vc::kToeplitzAsymmetric && function.rss_algorithm != vc::kToeplitzSymmetric) {
    return Status::err_not_supported;
  }
  data_.rss().symmetric = function.rss_algorithm == vc::kToeplitzSymmetric;
  return Status::success;
}

Virtchnl::Status Virtchnl::get_rss_hena_caps(Body /*body*/, Reply& reply) noexcept {
  reply.put(vc::RssHena{intel::kHashedPackets});
  return Status::success;
}

Virtchnl::Status Virtchnl::set_rss_hena(Body body, Reply& /*reply*/) noexcept {
  intel::Rss& rss = data_.rss();
  rss.hena = read_at<vc::RssHena>(body).hena & intel::kHashedPackets;
  rss.fields = {};  // all that was chosen by headers is gone: drivers clear it with 0 before they choose anew
  rss.by_transport = 0;
  rss.all_of_ipv4 = rss.all_of_ipv6 = 0;
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

/// An IP header alone means all packets of the version, as in the part, but for those whose L4 header was named.
Virtchnl::Status Virtchnl::add_rss_cfg(Body body, Reply& /*reply*/) noexcept {
  const auto message = read_at<vc::RssCfg>(body);
  const auto choice = choice_of(message);
  if (!choice || choice->fields == 0) return Status::err_param;
  if (message.rss_algorithm != vc::kToeplitzAsymmetric && message.rss_algorithm != vc::kToeplitzSymmetric) {
    return Status::err_not_supported;
  }
  intel::Rss& rss = data_.rss();
  rss.symmetric = message.rss_algorithm == vc::kToeplitzSymmetric;
  if (choice->has_transport) {
    rss.by_transport |= choice->types;
    hash(rss, choice->types, choice->fields);
  } else {
    (choice->is_v4 ? rss.all_of_ipv4 : rss.all_of_ipv6) = choice->fields;
    hash(rss, choice->types & ~rss.by_transport, choice->fields);
  }
  return Status::success;
}

Virtchnl::Status Virtchnl::del_rss_cfg(Body body, Reply& /*reply*/) noexcept {
  const auto choice = choice_of(read_at<vc::RssCfg>(body));
  if (!choice) return Status::err_param;
  intel::Rss& rss = data_.rss();
  std::uint8_t& rest = choice->is_v4 ? rss.all_of_ipv4 : rss.all_of_ipv6;
  if (choice->has_transport) {
    rss.by_transport &= ~choice->types;
  } else {
    rest = 0;
  }
  rss.hena &= ~(choice->types & ~rss.by_transport);
  if (rest != 0) hash(rss, choice->types, rest);
  return Status::success;
}

}  // namespace vmux::device::iavf
