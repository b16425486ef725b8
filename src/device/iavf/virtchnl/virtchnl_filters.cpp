// SPDX-License-Identifier: BSD-3-Clause
// Addresses and promiscuous modes.
#include "device/iavf/virtchnl/virtchnl.hpp"

namespace vmux::device::iavf {

namespace vc = wire::virtchnl;

namespace {

bool is_address(const MacAddress& mac) noexcept { return mac != MacAddress{}; }

}  // namespace

/// A driver's primary address becomes the function's: it survives a reset of the virtual function, so that a guest that
/// has given itself an address keeps it when it changes its rings. Older drivers (Linux before 5.15, FreeBSD) do not
/// say which one is primary: they add the new one and delete the old, or the other way round.
void Virtchnl::note_added(const vc::EtherAddr& entry) noexcept {
  if (is_multicast(entry.addr)) return;
  const unsigned type = entry.type & vc::kEtherAddrTypeMask;
  if (type == vc::kEtherAddrPrimary || (type == vc::kEtherAddrLegacy && session_.has_deleted_mac)) {
    session_.mac = entry.addr;
    session_.has_deleted_mac = false;
  } else if (type == vc::kEtherAddrLegacy) {
    session_.last_added = entry.addr;
  }
}

/// After the addresses of a message are gone.
void Virtchnl::note_deleted() noexcept {
  session_.has_deleted_mac = !data_.rules().filters.has(session_.mac);
  const bool has_other = is_address(session_.last_added) && data_.rules().filters.has(session_.last_added);
  if (!session_.has_deleted_mac || !has_other) return;
  session_.mac = session_.last_added;
  session_.has_deleted_mac = false;
}

/// Each on its own, as the ice physical function takes them: what finds no room must not cost the others theirs.
Virtchnl::Status Virtchnl::add_eth_addr(Body body, Reply& /*reply*/) noexcept {
  const auto head = read_at<vc::EtherAddrList>(body);
  const std::size_t count = head.num_elements;
  if (head.vsi_id != kVsiId || !is_list(body.size(), sizeof head, sizeof(vc::EtherAddr), count))
    return Status::err_param;
  const auto entry = [&](std::size_t i) {
    return read_at<vc::EtherAddr>(body, sizeof head + i * sizeof(vc::EtherAddr));
  };
  for (std::size_t i = 0; i < count; ++i) {
    if (!is_address(entry(i).addr)) return Status::err_param;
  }
  intel::Filters& filters = data_.filters();
  const std::size_t beyond_before = filters.groups_beyond();
  Status status = Status::success;
  for (std::size_t i = 0; i < count; ++i) {
    if (filters.add(entry(i).addr)) {
      note_added(entry(i));
    } else {
      status = Status::err_no_memory;
      counters_.addresses_refused.add();
    }
  }
  if (beyond_before == 0 && filters.groups_beyond() != 0) counters_.all_groups.add();
  return status;
}

/// An address that is not there is as good as deleted: drivers delete what a reset has forgotten.
Virtchnl::Status Virtchnl::del_eth_addr(Body body, Reply& /*reply*/) noexcept {
  const auto head = read_at<vc::EtherAddrList>(body);
  const std::size_t count = head.num_elements;
  if (head.vsi_id != kVsiId || !is_list(body.size(), sizeof head, sizeof(vc::EtherAddr), count))
    return Status::err_param;
  for (std::size_t i = 0; i < count; ++i)
    data_.filters().remove(read_at<vc::EtherAddr>(body, sizeof head + i * sizeof(vc::EtherAddr)).addr);
  note_deleted();
  return Status::success;
}

Virtchnl::Status Virtchnl::config_promiscuous_mode(Body body, Reply& /*reply*/) noexcept {
  const auto info = read_at<vc::PromiscInfo>(body);
  if (info.vsi_id != kVsiId) return Status::err_param;
  data_.filters().unicast_promisc = (info.flags & vc::kUnicastPromisc) != 0;
  data_.filters().multicast_promisc = (info.flags & vc::kMulticastPromisc) != 0;
  return Status::success;
}

}  // namespace vmux::device::iavf
