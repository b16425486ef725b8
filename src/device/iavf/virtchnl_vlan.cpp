// SPDX-License-Identifier: BSD-3-Clause
// VLANs in both dialects: lists of ids and a stripping switch (virtchnl 1.0), or negotiated filters and offloads (V2).
// One tag is offloaded, the outermost, in L2TAG1; its ethertype is the driver's choice.
#include "device/iavf/virtchnl.hpp"

namespace vmux::device::iavf {

namespace vc = wire::virtchnl;
namespace vs = wire::virtchnl::vlan_support;

namespace {

constexpr std::uint16_t kVlanIds = 4096, kVidMask = 0x0fff;
constexpr std::uint32_t kOffloadedTypes = vs::kEthertype8100 | vs::kEthertype88a8 | vs::kEthertypeXor;

/// The TPID of a setting that names exactly one type.
std::optional<std::uint16_t> tpid_of(std::uint32_t ethertype) noexcept {
  if (ethertype == vs::kEthertype8100) return 0x8100;
  if (ethertype == vs::kEthertype88a8) return 0x88a8;
  return std::nullopt;
}

}  // namespace

/// VLAN 0 stands for frames without a tag (or with a priority alone), which always arrive.
void Virtchnl::set_vlan(std::uint16_t vid, bool wanted) noexcept {
  Filters& filters = data_.filters();
  if (vid == 0) return;
  filters.vlans.set(vid, wanted);
  filters.vlan_filtering = filters.vlans.any();
}

Virtchnl::Status Virtchnl::set_vlans(Body body, bool wanted) noexcept {
  const auto head = read_at<vc::VlanFilterList>(body);
  const std::size_t count = head.num_elements;
  if (head.vsi_id != kVsiId || !is_list(body.size(), sizeof head, 2, count)) return Status::err_param;
  for (const bool apply : {false, true}) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint16_t vid = read_at<Le<std::uint16_t>>(body, sizeof head + 2 * i);
      if (vid >= kVlanIds) return Status::err_param;
      if (apply) set_vlan(vid, wanted);
    }
  }
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::add_vlan(Body body, Reply& /*reply*/) noexcept { return set_vlans(body, true); }
Virtchnl::Status Virtchnl::del_vlan(Body body, Reply& /*reply*/) noexcept { return set_vlans(body, false); }

Virtchnl::Status Virtchnl::enable_vlan_stripping(Body /*body*/, Reply& /*reply*/) noexcept {
  data_.vlan().outer.strip = true;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::disable_vlan_stripping(Body /*body*/, Reply& /*reply*/) noexcept {
  data_.vlan().outer.strip = false;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::get_offload_vlan_v2_caps(Body /*body*/, Reply& reply) noexcept {
  vc::VlanCaps caps{};
  caps.filtering.filtering_support.outer = vs::kEthertype8100;
  caps.filtering.ethertype_init = vs::kEthertype8100;
  caps.filtering.max_filters = kVlanIds - 1;
  caps.offloads.stripping_support.outer = vs::kToggle | kOffloadedTypes | vs::kTagInL2tag1;
  caps.offloads.insertion_support.outer = vs::kToggle | kOffloadedTypes | vs::kTagInL2tag1;
  caps.offloads.ethertype_init = vs::kEthertype8100;
  caps.offloads.ethertype_match = vc::kStrippingMatchesInsertion;
  reply.put(caps);
  return Status::success;
}

Virtchnl::Status Virtchnl::set_vlans_v2(Body body, bool wanted) noexcept {
  const auto head = read_at<vc::VlanFilterListV2>(body);
  const std::size_t count = head.num_elements;
  if (head.vport_id != kVsiId || !is_list(body.size(), sizeof head, sizeof(vc::VlanFilter), count))
    return Status::err_param;
  for (const bool apply : {false, true}) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto filter = read_at<vc::VlanFilter>(body, sizeof head + i * sizeof(vc::VlanFilter));
      if (filter.outer.tpid != 0x8100 || filter.inner.tpid != 0 || filter.outer.tci_mask != 0) return Status::err_param;
      if ((filter.outer.tci & ~kVidMask) != 0) return Status::err_param;
      if (apply) set_vlan(filter.outer.tci, wanted);
    }
  }
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::add_vlan_v2(Body body, Reply& /*reply*/) noexcept { return set_vlans_v2(body, true); }
Virtchnl::Status Virtchnl::del_vlan_v2(Body body, Reply& /*reply*/) noexcept { return set_vlans_v2(body, false); }

/// What the setting asks for: one ethertype for the outer tag, none for the inner.
std::optional<std::uint16_t> Virtchnl::outer_tpid(Body body) const noexcept {
  const auto setting = read_at<vc::VlanSetting>(body);
  if (setting.vport_id != kVsiId || setting.inner_ethertype_setting != 0) return std::nullopt;
  return tpid_of(setting.outer_ethertype_setting);
}

Virtchnl::Status Virtchnl::enable_vlan_stripping_v2(Body body, Reply& /*reply*/) noexcept {
  const auto tpid = outer_tpid(body);
  if (!tpid) return Status::err_param;
  data_.vlan().outer.strip = true;
  data_.vlan().outer.tpid = *tpid;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::disable_vlan_stripping_v2(Body body, Reply& /*reply*/) noexcept {
  if (!outer_tpid(body)) return Status::err_param;
  data_.vlan().outer.strip = false;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::enable_vlan_insertion_v2(Body body, Reply& /*reply*/) noexcept {
  const auto tpid = outer_tpid(body);
  if (!tpid) return Status::err_param;
  data_.vlan().outer.insert = true;
  data_.vlan().outer.tpid = *tpid;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::disable_vlan_insertion_v2(Body body, Reply& /*reply*/) noexcept {
  if (!outer_tpid(body)) return Status::err_param;
  data_.vlan().outer.insert = false;
  data_.publish();
  return Status::success;
}

/// Not offered as a switch (no TOGGLE in the capabilities): filters are in force while there are any.
Virtchnl::Status Virtchnl::enable_vlan_filtering_v2(Body /*body*/, Reply& /*reply*/) noexcept {
  return Status::err_not_supported;
}
Virtchnl::Status Virtchnl::disable_vlan_filtering_v2(Body /*body*/, Reply& /*reply*/) noexcept {
  return Status::err_not_supported;
}

}  // namespace vmux::device::iavf
