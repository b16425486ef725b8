// SPDX-License-Identifier: BSD-3-Clause
// Addresses and promiscuous modes.
#include "device/iavf/virtchnl.hpp"

namespace vmux::device::iavf {

namespace vc = wire::virtchnl;

namespace {

bool is_multicast(const Mac& mac) noexcept { return (mac[0] & 1) != 0; }
bool is_address(const Mac& mac) noexcept { return mac != Mac{}; }

}  // namespace

/// All addresses or none. A driver's primary address becomes the function's: it survives a reset of the virtual
/// function, so that a guest that has given itself an address keeps it when it changes its rings.
Virtchnl::Status Virtchnl::add_eth_addr(Body body, Reply& /*reply*/) noexcept {
  const auto head = read_at<vc::EtherAddrList>(body);
  const std::size_t count = head.num_elements;
  if (head.vsi_id != kVsiId || !is_list(body.size(), sizeof head, sizeof(vc::EtherAddr), count))
    return Status::err_param;
  Filters changed = data_.filters();
  Mac primary = session_.mac;
  for (std::size_t i = 0; i < count; ++i) {
    const auto entry = read_at<vc::EtherAddr>(body, sizeof head + i * sizeof(vc::EtherAddr));
    if (!is_address(entry.addr)) return Status::err_param;
    if (!changed.add(entry.addr)) return Status::err_no_memory;
    if ((entry.type & vc::kEtherAddrTypeMask) == vc::kEtherAddrPrimary && !is_multicast(entry.addr))
      primary = entry.addr;
  }
  session_.mac = primary;
  data_.filters() = changed;
  data_.publish();
  return Status::success;
}

/// An address that is not there is as good as deleted: drivers delete what a reset has forgotten.
Virtchnl::Status Virtchnl::del_eth_addr(Body body, Reply& /*reply*/) noexcept {
  const auto head = read_at<vc::EtherAddrList>(body);
  const std::size_t count = head.num_elements;
  if (head.vsi_id != kVsiId || !is_list(body.size(), sizeof head, sizeof(vc::EtherAddr), count))
    return Status::err_param;
  for (std::size_t i = 0; i < count; ++i)
    data_.filters().remove(read_at<vc::EtherAddr>(body, sizeof head + i * sizeof(vc::EtherAddr)).addr);
  data_.publish();
  return Status::success;
}

Virtchnl::Status Virtchnl::config_promiscuous_mode(Body body, Reply& /*reply*/) noexcept {
  const auto info = read_at<vc::PromiscInfo>(body);
  if (info.vsi_id != kVsiId) return Status::err_param;
  data_.filters().unicast_promisc = (info.flags & vc::kUnicastPromisc) != 0;
  data_.filters().multicast_promisc = (info.flags & vc::kMulticastPromisc) != 0;
  data_.publish();
  return Status::success;
}

}  // namespace vmux::device::iavf
