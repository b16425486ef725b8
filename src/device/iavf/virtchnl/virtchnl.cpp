// SPDX-License-Identifier: BSD-3-Clause
// The table of opcodes, and the way of a message through it.
#include "device/iavf/virtchnl/virtchnl.hpp"

#include <algorithm>
#include <iterator>

namespace vmux::device::iavf {

namespace vc = wire::virtchnl;
namespace cap = wire::virtchnl::capability;

// clang-format off
const Virtchnl::Row Virtchnl::kRows[] = {
    // opcode                               needs                    first  size                              handler
    {vc::Op::version,                       0,                       true,  sizeof(vc::VersionInfo),          &Virtchnl::version},
    {vc::Op::reset_vf,                      0,                       true,  0,                                &Virtchnl::reset_vf},
    {vc::Op::get_vf_resources,              0,                       true,  0,                                &Virtchnl::get_vf_resources},
    {vc::Op::config_tx_queue,               0,                       false, sizeof(vc::TxqInfo),              &Virtchnl::config_tx_queue},
    {vc::Op::config_rx_queue,               0,                       false, sizeof(vc::RxqInfo),              &Virtchnl::config_rx_queue},
    {vc::Op::config_vsi_queues,             0,                       false, sizeof(vc::VsiQueueConfigInfo),   &Virtchnl::config_vsi_queues},
    {vc::Op::config_irq_map,                0,                       false, sizeof(vc::IrqMapInfo),           &Virtchnl::config_irq_map},
    {vc::Op::enable_queues,                 0,                       false, sizeof(vc::QueueSelect),          &Virtchnl::enable_queues},
    {vc::Op::disable_queues,                0,                       false, sizeof(vc::QueueSelect),          &Virtchnl::disable_queues},
    {vc::Op::add_eth_addr,                  0,                       false, sizeof(vc::EtherAddrList),        &Virtchnl::add_eth_addr},
    {vc::Op::del_eth_addr,                  0,                       false, sizeof(vc::EtherAddrList),        &Virtchnl::del_eth_addr},
    {vc::Op::add_vlan,                      cap::kVlan,              false, sizeof(vc::VlanFilterList),       &Virtchnl::add_vlan},
    {vc::Op::del_vlan,                      cap::kVlan,              false, sizeof(vc::VlanFilterList),       &Virtchnl::del_vlan},
    {vc::Op::config_promiscuous_mode,       0,                       false, sizeof(vc::PromiscInfo),          &Virtchnl::config_promiscuous_mode},
    {vc::Op::get_stats,                     0,                       false, sizeof(vc::QueueSelect),          &Virtchnl::get_stats},
    {vc::Op::config_rss_hfunc,              cap::kRssPf,             false, sizeof(vc::RssHfunc),             &Virtchnl::config_rss_hfunc},
    {vc::Op::config_rss_key,                cap::kRssPf,             false, sizeof(vc::RssKey),               &Virtchnl::config_rss_key},
    {vc::Op::config_rss_lut,                cap::kRssPf,             false, sizeof(vc::RssLut),               &Virtchnl::config_rss_lut},
    {vc::Op::get_rss_hena_caps,             cap::kRssPf,             false, 0,                                &Virtchnl::get_rss_hena_caps},
    {vc::Op::set_rss_hena,                  cap::kRssPf,             false, sizeof(vc::RssHena),              &Virtchnl::set_rss_hena},
    {vc::Op::enable_vlan_stripping,         cap::kVlan,              false, 0,                                &Virtchnl::enable_vlan_stripping},
    {vc::Op::disable_vlan_stripping,        cap::kVlan,              false, 0,                                &Virtchnl::disable_vlan_stripping},
    {vc::Op::request_queues,                cap::kReqQueues,         false, sizeof(vc::VfResRequest),         &Virtchnl::request_queues},
    {vc::Op::enable_channels,               cap::kAdq,               false, sizeof(vc::TcInfo),               &Virtchnl::enable_channels},
    {vc::Op::disable_channels,              cap::kAdq,               false, 0,                                &Virtchnl::disable_channels},
    {vc::Op::add_cloud_filter,              cap::kAdq,               false, sizeof(vc::CloudFilter),          &Virtchnl::add_cloud_filter},
    {vc::Op::del_cloud_filter,              cap::kAdq,               false, sizeof(vc::CloudFilter),          &Virtchnl::del_cloud_filter},
    {vc::Op::get_supported_rxdids,          cap::kRxFlexDesc,        false, 0,                                &Virtchnl::get_supported_rxdids},
    {vc::Op::get_max_rss_qregion,           cap::kLargeNumQpairs,    false, 0,                                &Virtchnl::get_max_rss_qregion},
    {vc::Op::get_offload_vlan_v2_caps,      cap::kVlanV2,            false, 0,                                &Virtchnl::get_offload_vlan_v2_caps},
    {vc::Op::add_vlan_v2,                   cap::kVlanV2,            false, sizeof(vc::VlanFilterListV2),     &Virtchnl::add_vlan_v2},
    {vc::Op::del_vlan_v2,                   cap::kVlanV2,            false, sizeof(vc::VlanFilterListV2),     &Virtchnl::del_vlan_v2},
    {vc::Op::enable_vlan_stripping_v2,      cap::kVlanV2,            false, sizeof(vc::VlanSetting),          &Virtchnl::enable_vlan_stripping_v2},
    {vc::Op::disable_vlan_stripping_v2,     cap::kVlanV2,            false, sizeof(vc::VlanSetting),          &Virtchnl::disable_vlan_stripping_v2},
    {vc::Op::enable_vlan_insertion_v2,      cap::kVlanV2,            false, sizeof(vc::VlanSetting),          &Virtchnl::enable_vlan_insertion_v2},
    {vc::Op::disable_vlan_insertion_v2,     cap::kVlanV2,            false, sizeof(vc::VlanSetting),          &Virtchnl::disable_vlan_insertion_v2},
    {vc::Op::enable_vlan_filtering_v2,      cap::kVlanV2,            false, sizeof(vc::VlanSetting),          &Virtchnl::enable_vlan_filtering_v2},
    {vc::Op::disable_vlan_filtering_v2,     cap::kVlanV2,            false, sizeof(vc::VlanSetting),          &Virtchnl::disable_vlan_filtering_v2},
    {vc::Op::add_rss_cfg,                   cap::kAdvRssPf,          false, sizeof(vc::RssCfg),               &Virtchnl::add_rss_cfg},
    {vc::Op::del_rss_cfg,                   cap::kAdvRssPf,          false, sizeof(vc::RssCfg),               &Virtchnl::del_rss_cfg},
    {vc::Op::add_fdir_filter,               cap::kFdirPf,            false, sizeof(vc::FdirAdd),              &Virtchnl::add_fdir_filter},
    {vc::Op::del_fdir_filter,               cap::kFdirPf,            false, sizeof(vc::FdirDel),              &Virtchnl::del_fdir_filter},
    {vc::Op::enable_queues_v2,              cap::kLargeNumQpairs,    false, sizeof(vc::EnableDisableQueues),  &Virtchnl::enable_queues_v2},
    {vc::Op::disable_queues_v2,             cap::kLargeNumQpairs,    false, sizeof(vc::EnableDisableQueues),  &Virtchnl::disable_queues_v2},
    {vc::Op::map_queue_vector,              cap::kLargeNumQpairs,    false, sizeof(vc::QueueVectorMaps),      &Virtchnl::map_queue_vector},
};
// clang-format on

const Virtchnl::Row* Virtchnl::find(vc::Op op) noexcept {
  const auto found = std::find_if(std::begin(kRows), std::end(kRows), [op](const Row& row) { return row.op == op; });
  return found == std::end(kRows) ? nullptr : found;
}

Virtchnl::Status Virtchnl::handle(const AdminMessage& message, Reply& reply) noexcept {
  const Row* row = find(message.op);
  if (row == nullptr) return Status::err_not_supported;
  if (!row->is_first && !session_.has_resources) return Status::err_param;
  if (row->needs != 0 && !has(row->needs)) return Status::err_not_supported;
  if (message.body.size() < row->size) return Status::err_param;
  const Status status = (this->*row->handler)(message.body, reply);
  data_.publish_changes();
  return status;
}

void Virtchnl::trace(const AdminMessage& message, Status status) const noexcept {
  TraceRecord record;
  record.what = TraceRecord::What::command;
  record.code = static_cast<std::uint32_t>(message.op);
  record.bytes = static_cast<std::uint32_t>(message.body.size());
  record.result = static_cast<std::int32_t>(status);
  traced_->tracer()->record(record);
}

bool Virtchnl::pump() noexcept {
  AdminMessage message;
  unsigned taken = 0;
  for (; taken < kMessagesAtOnce && !session_.is_resetting && queue_.take(message); ++taken) {
    counters_.messages.add();
    reply_.clear();
    reply_.is_wanted = true;
    const Status status = handle(message, reply_);
    if (status != Status::success) counters_.refused.add();
    if (traced_ != nullptr && traced_->tracer() != nullptr) [[unlikely]]
      trace(message, status);
    if (reply_.is_wanted) post(message.op, status, reply_.bytes());
    tell_what_is_due();
  }
  tell_what_is_due();
  if (queue_.take_completion_request()) interrupts_.raise_admin(icr0::ADMINQ);
  return taken == kMessagesAtOnce;
}

void Virtchnl::post(vc::Op op, Status status, Body body) noexcept {
  if (queue_.post(op, status, body)) interrupts_.raise_admin(icr0::ADMINQ);
}

}  // namespace vmux::device::iavf
