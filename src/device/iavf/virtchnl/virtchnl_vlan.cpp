// SPDX-License-Identifier: BSD-3-Clause
// VLANs in both dialects: lists of ids and a stripping switch (virtchnl 1.0), or negotiated filters and offloads (V2).
//
// What V2 offers is a part's double VLAN mode: the outer tag, 802.1Q or 802.1ad as the driver chooses, in L2TAG1, an
// inner 802.1Q tag in L2TAG2. The places are the other way round than the E810's physical function has them, which the
// capabilities say and drivers obey: a frame of one tag then needs no context descriptor, DPDK's vector code for
// transmission knows L2TAG1 only, and DPDK takes L2TAG1 for the outer of two received tags.
#include "device/iavf/virtchnl/virtchnl.hpp"

namespace vmux::device::iavf {

namespace vc = wire::virtchnl;
namespace vs = wire::virtchnl::vlan_support;

namespace {

constexpr std::uint16_t kVlanIds = 4096;
constexpr std::uint32_t kOuterTypes = vs::kEthertype8100 | vs::kEthertype88a8;

/// VLAN 0 stands for frames without a tag (or with a priority alone), which always arrive.
void set_vlan(intel::Filters& filters, std::uint16_t tpid, std::uint16_t vid, bool wanted) noexcept {
  if (vid == 0) return;
  (tpid == intel::kServiceTpid ? filters.service_vlans : filters.vlans).set(vid, wanted);
  filters.vlan_filtering = filters.vlans.any() || filters.service_vlans.any();
}

/// The outer tag alone can be filtered by, whole and without a priority.
bool is_filter(const vc::VlanFilter& filter) noexcept {
  return (filter.outer.tpid == intel::kTpid || filter.outer.tpid == intel::kServiceTpid) &&
         filter.outer.tci < kVlanIds && filter.outer.tci_mask == 0 && filter.inner.tpid == 0 && filter.inner.tci == 0;
}

/// A setting names the outer tag (one type of it), the inner one, or both.
bool is_setting(const vc::VlanSetting& setting) noexcept {
  const std::uint32_t outer = setting.outer_ethertype_setting, inner = setting.inner_ethertype_setting;
  return setting.vport_id == kVsiId && (outer | inner) != 0 &&
         (outer == 0 || outer == vs::kEthertype8100 || outer == vs::kEthertype88a8) &&
         (inner == 0 || inner == vs::kEthertype8100);
}

}  // namespace

Virtchnl::Status Virtchnl::set_vlans(Body body, bool wanted) noexcept {
  const auto head = read_at<vc::VlanFilterList>(body);
  const std::size_t count = head.num_elements;
  if (head.vsi_id != kVsiId || !is_list(body.size(), sizeof head, 2, count)) return Status::err_param;
  for (const bool apply : {false, true}) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint16_t vid = read_at<Le<std::uint16_t>>(body, sizeof head + 2 * i);
      if (vid >= kVlanIds) return Status::err_param;
      if (apply) set_vlan(data_.filters(), intel::kTpid, vid, wanted);
    }
  }
  return Status::success;
}

Virtchnl::Status Virtchnl::add_vlan(Body body, Reply& /*reply*/) noexcept { return set_vlans(body, true); }
Virtchnl::Status Virtchnl::del_vlan(Body body, Reply& /*reply*/) noexcept { return set_vlans(body, false); }

Virtchnl::Status Virtchnl::enable_vlan_stripping(Body /*body*/, Reply& /*reply*/) noexcept {
  data_.vlan().outer.strip = true;
  return Status::success;
}

Virtchnl::Status Virtchnl::disable_vlan_stripping(Body /*body*/, Reply& /*reply*/) noexcept {
  data_.vlan().outer.strip = false;
  return Status::success;
}

Virtchnl::Status Virtchnl::get_offload_vlan_v2_caps(Body /*body*/, Reply& reply) noexcept {
  constexpr std::uint32_t kOuter = vs::kToggle | kOuterTypes | vs::kEthertypeXor | vs::kTagInL2tag1;
  constexpr std::uint32_t kInner = vs::kToggle | vs::kEthertype8100;
  vc::VlanCaps caps{};
  caps.filtering.filtering_support.outer = kOuterTypes | vs::kEthertypeAnd;
  caps.filtering.ethertype_init = kOuterTypes;
  caps.filtering.max_filters = 2 * (kVlanIds - 1);
  caps.offloads.stripping_support = {kOuter, kInner | vs::kTagInL2tag2_2};
  caps.offloads.insertion_support = {kOuter, kInner | vs::kTagInL2tag2};
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
      if (!is_filter(filter)) return Status::err_param;
      if (apply) set_vlan(data_.filters(), filter.outer.tpid, filter.outer.tci, wanted);
    }
  }
  return Status::success;
}

Virtchnl::Status Virtchnl::add_vlan_v2(Body body, Reply& /*reply*/) noexcept { return set_vlans_v2(body, true); }
Virtchnl::Status Virtchnl::del_vlan_v2(Body body, Reply& /*reply*/) noexcept { return set_vlans_v2(body, false); }

/// Enabling chooses the type of the outer tag, for stripping and insertion alike.
Virtchnl::Status Virtchnl::set_vlan_offload(Body body, bool intel::VlanTag::*what, bool enabled) noexcept {
  const auto setting = read_at<vc::VlanSetting>(body);
  if (!is_setting(setting)) return Status::err_param;
  intel::VlanOffload& vlan = data_.vlan();
  if (const std::uint32_t outer = setting.outer_ethertype_setting; outer != 0) {
    vlan.outer.*what = enabled;
    if (enabled) vlan.outer.tpid = outer == vs::kEthertype88a8 ? intel::kServiceTpid : intel::kTpid;
  }
  if (setting.inner_ethertype_setting != 0) vlan.inner.*what = enabled;
  return Status::success;
}

Virtchnl::Status Virtchnl::enable_vlan_stripping_v2(Body body, Reply& /*reply*/) noexcept {
  return set_vlan_offload(body, &intel::VlanTag::strip, true);
}
Virtchnl::Status Virtchnl::disable_vlan_stripping_v2(Body body, Reply& /*reply*/) noexcept {
  return set_vlan_offload(body, &intel::VlanTag::strip, false);
}
Virtchnl::Status Virtchnl::enable_vlan_insertion_v2(Body body, Reply& /*reply*/) noexcept {
  return set_vlan_offload(body, &intel::VlanTag::insert, true);
}
Virtchnl::Status Virtchnl::disable_vlan_insertion_v2(Body body, Reply& /*reply*/) noexcept {
  return set_vlan_offload(body, &intel::VlanTag::insert, false);
}

/// Not offered as a switch (no TOGGLE in the capabilities): filters are in force while there are any.
Virtchnl::Status Virtchnl::enable_vlan_filtering_v2(Body /*body*/, Reply& /*reply*/) noexcept {
  return Status::err_not_supported;
}
Virtchnl::Status Virtchnl::disable_vlan_filtering_v2(Body /*body*/, Reply& /*reply*/) noexcept {
  return Status::err_not_supported;
}

}  // namespace vmux::device::iavf
