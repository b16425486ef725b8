// SPDX-License-Identifier: BSD-3-Clause
// VLANs in both dialects: lists of ids and a stripping switch (virtchnl 1.0), or negotiated filters and offloads (V2).
// What is offered is a part's single VLAN mode: the 802.1Q tag in L2TAG1 can be stripped and inserted at will. A driver
// may put a second tag in front of it (QinQ) with L2TAG2 of a context descriptor.
#include "device/iavf/virtchnl.hpp"

namespace vmux::device::iavf {

namespace vc = wire::virtchnl;
namespace vs = wire::virtchnl::vlan_support;

namespace {

constexpr std::uint16_t kVlanIds = 4096;
constexpr std::uint16_t kTpid = 0x8100;

/// A setting names the one tag that is offered, and no other.
bool is_setting(Virtchnl::Body body) noexcept {
  const auto setting = read_at<vc::VlanSetting>(body);
  return setting.vport_id == kVsiId && setting.outer_ethertype_setting == 0 &&
         setting.inner_ethertype_setting == vs::kEthertype8100;
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
  data_.vlan().inner.strip = true;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::disable_vlan_stripping(Body /*body*/, Reply& /*reply*/) noexcept {
  data_.vlan().inner.strip = false;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::get_offload_vlan_v2_caps(Body /*body*/, Reply& reply) noexcept {
  vc::VlanCaps caps{};
  caps.filtering.filtering_support.inner = vs::kEthertype8100;
  caps.filtering.ethertype_init = vs::kEthertype8100;
  caps.filtering.max_filters = kVlanIds - 1;
  caps.offloads.stripping_support.inner = vs::kToggle | vs::kEthertype8100 | vs::kTagInL2tag1;
  caps.offloads.insertion_support.inner = vs::kToggle | vs::kEthertype8100 | vs::kTagInL2tag1;
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
      if (filter.inner.tpid != kTpid || filter.outer.tpid != 0 || filter.inner.tci_mask != 0) return Status::err_param;
      if (filter.inner.tci >= kVlanIds) return Status::err_param;
      if (apply) set_vlan(filter.inner.tci, wanted);
    }
  }
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::add_vlan_v2(Body body, Reply& /*reply*/) noexcept { return set_vlans_v2(body, true); }
Virtchnl::Status Virtchnl::del_vlan_v2(Body body, Reply& /*reply*/) noexcept { return set_vlans_v2(body, false); }

Virtchnl::Status Virtchnl::enable_vlan_stripping_v2(Body body, Reply& /*reply*/) noexcept {
  if (!is_setting(body)) return Status::err_param;
  data_.vlan().inner.strip = true;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::disable_vlan_stripping_v2(Body body, Reply& /*reply*/) noexcept {
  if (!is_setting(body)) return Status::err_param;
  data_.vlan().inner.strip = false;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::enable_vlan_insertion_v2(Body body, Reply& /*reply*/) noexcept {
  if (!is_setting(body)) return Status::err_param;
  data_.vlan().inner.insert = true;
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::disable_vlan_insertion_v2(Body body, Reply& /*reply*/) noexcept {
  if (!is_setting(body)) return Status::err_param;
  data_.vlan().inner.insert = false;
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
