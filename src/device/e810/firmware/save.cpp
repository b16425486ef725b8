// SPDX-License-Identifier: BSD-3-Clause
// What the firmware keeps, saved and loaded.
#include "device/e810/firmware/firmware.hpp"
#include "device/e810/saved_state.hpp"

namespace vmux::device::e810 {
namespace {

std::optional<SavedState::Package> saved_of(const std::optional<Package>& package) {
  if (!package) return std::nullopt;
  return SavedState::Package{{package->version, package->name, package->track_id}};
}

std::optional<Package> package_of(const std::optional<SavedState::Package>& saved) {
  if (!saved) return std::nullopt;
  return Package{saved->metadata.version, saved->metadata.name, saved->metadata.track_id};
}

std::vector<SavedState::Numbers> saved_of(const std::map<std::uint16_t, std::set<std::uint16_t>>& sets) {
  std::vector<SavedState::Numbers> saved;
  for (const auto& [of, numbers] : sets)
    saved.push_back({of, {numbers.begin(), numbers.end()}});
  return saved;
}

}  // namespace

void Firmware::save(SavedState& into) const {
  SavedState::Firmware& saved = into.firmware;
  saved.mac = mac_;
  saved.vsis.push_back({Switching::kDefaultVsi, switching_.vsis().at(Switching::kDefaultVsi)});
  for (const std::uint16_t number : switching_.order())
    saved.vsis.push_back({number, switching_.vsis().at(number)});
  for (const auto& [index, rule] : switching_.rules())
    saved.rules.push_back({rule});
  saved.lists = saved_of(switching_.lists());
  saved.resources = saved_of(resources_);
  for (const wire::ice::Element& node : scheduler_.nodes())
    saved.nodes.push_back({node});
  saved.next_node = scheduler_.next();
  for (const auto& [queue, teid] : tx_queues_)
    saved.leaves.push_back({queue, teid});
  saved.next_rate_profile = next_rate_profile_;
  saved.rss_key = rss_.key;
  saved.rss_lut = rss_.lut;
  saved.phy = phy_;
  saved.are_link_events_on = are_link_events_on_;
  saved.is_link_event_due = is_link_event_due_;
  saved.event_mask = event_mask_;
  saved.downloading = saved_of(downloading_);
  saved.active = saved_of(active_);
}

void Firmware::load(const SavedState& from) {
  const SavedState::Firmware& saved = from.firmware;
  reset(ClearedBy::core_reset);
  mac_ = saved.mac;
  for (const SavedState::Vsi& vsi : saved.vsis)
    switching_.restore_vsi(vsi.number, vsi.context);
  for (const SavedState::SwitchRule& each : saved.rules)
    switching_.restore(each.rule);
  for (const SavedState::Numbers& list : saved.lists)
    switching_.set_list(list.of, list.numbers, true);
  for (const SavedState::Numbers& type : saved.resources)
    resources_[type.of] = {type.numbers.begin(), type.numbers.end()};
  std::vector<wire::ice::Element> nodes;
  for (const SavedState::Node& node : saved.nodes)
    nodes.push_back(node.element);
  scheduler_.restore(nodes, saved.next_node);
  for (const SavedState::Leaf& leaf : saved.leaves)
    tx_queues_[leaf.queue] = leaf.teid;
  next_rate_profile_ = saved.next_rate_profile;
  rss_ = {saved.rss_key, saved.rss_lut};
  phy_ = saved.phy;
  are_link_events_on_ = saved.are_link_events_on;
  is_link_event_due_ = saved.is_link_event_due;
  event_mask_ = saved.event_mask;
  downloading_ = package_of(saved.downloading);
  active_ = package_of(saved.active);
  publish();
}

}  // namespace vmux::device::e810
