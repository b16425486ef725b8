// SPDX-License-Identifier: BSD-3-Clause
// virtchnl 1.1: what a virtual function and its physical function say to each other, as it lies in the buffers of the
// admin queue. Layouts as in Intel's published virtchnl.h (Linux include/linux/avf/virtchnl.h, DPDK's copy of it).
// Structs, numbers and nothing else.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "vmux/base/le.hpp"

namespace vmux::wire::virtchnl {

inline constexpr std::uint32_t kMajor = 1, kMinor = 1;

/// A 1.0 driver sends GET_VF_RESOURCES without a capability mask and gets the base mode.
inline constexpr std::uint32_t kMinorWithoutCapabilities = 0;

enum class Op : std::uint32_t {
  unknown = 0,
  version = 1,
  reset_vf = 2,
  get_vf_resources = 3,
  config_tx_queue = 4,
  config_rx_queue = 5,
  config_vsi_queues = 6,
  config_irq_map = 7,
  enable_queues = 8,
  disable_queues = 9,
  add_eth_addr = 10,
  del_eth_addr = 11,
  add_vlan = 12,
  del_vlan = 13,
  config_promiscuous_mode = 14,
  get_stats = 15,
  event = 17,
  config_rss_hfunc = 18,
  config_rss_key = 23,
  config_rss_lut = 24,
  get_rss_hena_caps = 25,
  set_rss_hena = 26,
  enable_vlan_stripping = 27,
  disable_vlan_stripping = 28,
  request_queues = 29,
  enable_channels = 30,
  disable_channels = 31,
  add_cloud_filter = 32,
  del_cloud_filter = 33,
  get_supported_rxdids = 44,
  add_rss_cfg = 45,
  del_rss_cfg = 46,
  add_fdir_filter = 47,
  del_fdir_filter = 48,
  get_max_rss_qregion = 50,
  get_offload_vlan_v2_caps = 51,
  add_vlan_v2 = 52,
  del_vlan_v2 = 53,
  enable_vlan_stripping_v2 = 54,
  disable_vlan_stripping_v2 = 55,
  enable_vlan_insertion_v2 = 56,
  disable_vlan_insertion_v2 = 57,
  enable_vlan_filtering_v2 = 58,
  disable_vlan_filtering_v2 = 59,
  ptp_get_caps = 60,
  get_qos_caps = 66,
  config_queue_tc_map = 67,
  enable_queues_v2 = 107,
  disable_queues_v2 = 108,
  map_queue_vector = 111,
  config_queue_bw = 112,
  config_quanta = 113,
};

/// Negative on the wire: a 32-bit two's complement number.
enum class Status : std::int32_t {
  success = 0,
  err_param = -5,
  err_no_memory = -18,
  err_opcode_mismatch = -38,
  err_cqp_compl_error = -39,
  err_invalid_vf_id = -40,
  err_admin_queue_error = -53,
  err_not_supported = -64,
};

struct VersionInfo {
  Le<std::uint32_t> major, minor;
};
static_assert(sizeof(VersionInfo) == 8);

namespace capability {  // GET_VF_RESOURCES, vf_cap_flags
inline constexpr std::uint32_t kL2 = 1u << 0, kRssAq = 1u << 3, kRssReg = 1u << 4, kWbOnItr = 1u << 5,
                               kReqQueues = 1u << 6, kAdvLinkSpeed = 1u << 7, kLargeNumQpairs = 1u << 9,
                               kCrc = 1u << 10, kVlanV2 = 1u << 15, kVlan = 1u << 16, kRxPolling = 1u << 17,
                               kRssPctypeV2 = 1u << 18, kRssPf = 1u << 19, kEncap = 1u << 20, kEncapCsum = 1u << 21,
                               kRxEncapCsum = 1u << 22, kAdq = 1u << 23, kUso = 1u << 25, kRxFlexDesc = 1u << 26,
                               kAdvRssPf = 1u << 27, kFdirPf = 1u << 28, kQos = 1u << 29, kPtp = 1u << 31;
/// What a 1.0 driver is given.
inline constexpr std::uint32_t kBaseMode = kL2 | kVlan | kRssPf;
}  // namespace capability

inline constexpr std::uint32_t kVsiTypeSriov = 6;

struct VsiResource {
  Le<std::uint16_t> vsi_id, num_queue_pairs;
  Le<std::uint32_t> vsi_type;
  Le<std::uint16_t> qset_handle;
  std::array<std::uint8_t, 6> default_mac_addr;
};
static_assert(sizeof(VsiResource) == 16 && offsetof(VsiResource, default_mac_addr) == 10);

struct VfResource {
  Le<std::uint16_t> num_vsis, num_queue_pairs, max_vectors, max_mtu;
  Le<std::uint32_t> vf_cap_flags, rss_key_size, rss_lut_size;
  VsiResource vsi;
};
static_assert(sizeof(VfResource) == 36 && offsetof(VfResource, vsi) == 20);

struct TxqInfo {
  Le<std::uint16_t> vsi_id, queue_id, ring_len, headwb_enabled;
  Le<std::uint64_t> dma_ring_addr, dma_headwb_addr;
};
static_assert(sizeof(TxqInfo) == 24);

struct RxqInfo {
  Le<std::uint16_t> vsi_id, queue_id;
  Le<std::uint32_t> ring_len;
  Le<std::uint16_t> hdr_size, splithdr_enabled;
  Le<std::uint32_t> databuffer_size, max_pkt_size;
  std::uint8_t crc_disable, rxdid, flags, pad1;
  Le<std::uint64_t> dma_ring_addr;
  Le<std::uint32_t> rx_split_pos, pad2;
};
static_assert(sizeof(RxqInfo) == 40 && offsetof(RxqInfo, rxdid) == 21 && offsetof(RxqInfo, dma_ring_addr) == 24);

struct QueuePairInfo {
  TxqInfo txq;
  RxqInfo rxq;
};
static_assert(sizeof(QueuePairInfo) == 64);

struct VsiQueueConfigInfo {  // num_queue_pairs QueuePairInfo follow
  Le<std::uint16_t> vsi_id, num_queue_pairs;
  Le<std::uint32_t> pad;
};
static_assert(sizeof(VsiQueueConfigInfo) == 8);

struct VfResRequest {
  Le<std::uint16_t> num_queue_pairs;
};
static_assert(sizeof(VfResRequest) == 2);

struct VectorMap {
  Le<std::uint16_t> vsi_id, vector_id, rxq_map, txq_map, rxitr_idx, txitr_idx;
};
static_assert(sizeof(VectorMap) == 12);

struct IrqMapInfo {  // num_vectors VectorMap follow
  Le<std::uint16_t> num_vectors;
};
static_assert(sizeof(IrqMapInfo) == 2);

struct QueueSelect {
  Le<std::uint16_t> vsi_id, pad;
  Le<std::uint32_t> rx_queues, tx_queues;
};
static_assert(sizeof(QueueSelect) == 12);

struct MaxRssQregion {
  Le<std::uint16_t> vport_id, qregion_width;
  Le<std::uint32_t> pad;
};
static_assert(sizeof(MaxRssQregion) == 8);

struct EtherAddr {
  std::array<std::uint8_t, 6> addr;
  std::uint8_t type, pad;
};
static_assert(sizeof(EtherAddr) == 8);
inline constexpr std::uint8_t kEtherAddrTypeMask = 3, kEtherAddrLegacy = 0, kEtherAddrPrimary = 1, kEtherAddrExtra = 2;

struct EtherAddrList {  // num_elements EtherAddr follow
  Le<std::uint16_t> vsi_id, num_elements;
};
static_assert(sizeof(EtherAddrList) == 4);

struct VlanFilterList {  // num_elements 16-bit ids follow
  Le<std::uint16_t> vsi_id, num_elements;
};
static_assert(sizeof(VlanFilterList) == 4);

namespace vlan_support {  // GET_OFFLOAD_VLAN_V2_CAPS
inline constexpr std::uint32_t kEthertype8100 = 1u << 0, kEthertype88a8 = 1u << 1, kEthertype9100 = 1u << 2,
                               kTagInL2tag1 = 1u << 8, kTagInL2tag2 = 1u << 9, kTagInL2tag2_2 = 1u << 10,
                               kPrio = 1u << 24, kFilterMask = 1u << 28, kEthertypeAnd = 1u << 29,
                               kEthertypeXor = 1u << 30, kToggle = 1u << 31;
}  // namespace vlan_support

struct VlanSupportedCaps {
  Le<std::uint32_t> outer, inner;
};
struct VlanFilteringCaps {
  VlanSupportedCaps filtering_support;
  Le<std::uint32_t> ethertype_init;
  Le<std::uint16_t> max_filters, pad;
};
static_assert(sizeof(VlanFilteringCaps) == 16);
inline constexpr std::uint8_t kStrippingMatchesInsertion = 0, kMatchNotRequired = 1;
struct VlanOffloadCaps {
  VlanSupportedCaps stripping_support, insertion_support;
  Le<std::uint32_t> ethertype_init;
  std::uint8_t ethertype_match;
  std::array<std::uint8_t, 3> pad;
};
static_assert(sizeof(VlanOffloadCaps) == 24);
struct VlanCaps {
  VlanFilteringCaps filtering;
  VlanOffloadCaps offloads;
};
static_assert(sizeof(VlanCaps) == 40);

struct Vlan {
  Le<std::uint16_t> tci, tci_mask, tpid, pad;
};
struct VlanFilter {
  Vlan inner, outer;
  std::array<std::uint8_t, 16> pad;
};
static_assert(sizeof(VlanFilter) == 32);
struct VlanFilterListV2 {  // num_elements VlanFilter follow
  Le<std::uint16_t> vport_id, num_elements;
  Le<std::uint32_t> pad;
};
static_assert(sizeof(VlanFilterListV2) == 8);
struct VlanSetting {
  Le<std::uint32_t> outer_ethertype_setting, inner_ethertype_setting;
  Le<std::uint16_t> vport_id;
  std::array<std::uint8_t, 6> pad;
};
static_assert(sizeof(VlanSetting) == 16);

struct PromiscInfo {
  Le<std::uint16_t> vsi_id, flags;
};
static_assert(sizeof(PromiscInfo) == 4);
inline constexpr std::uint16_t kUnicastPromisc = 1, kMulticastPromisc = 2;

struct EthStats {
  Le<std::uint64_t> rx_bytes, rx_unicast, rx_multicast, rx_broadcast, rx_discards, rx_unknown_protocol, tx_bytes,
      tx_unicast, tx_multicast, tx_broadcast, tx_discards, tx_errors;
};
static_assert(sizeof(EthStats) == 96);

struct RssKey {  // key_len bytes follow
  Le<std::uint16_t> vsi_id, key_len;
};
struct RssLut {  // lut_entries bytes follow
  Le<std::uint16_t> vsi_id, lut_entries;
};
static_assert(sizeof(RssKey) == 4 && sizeof(RssLut) == 4);
struct RssHena {
  Le<std::uint64_t> hena;
};
struct RssHfunc {
  Le<std::uint16_t> vsi_id, rss_algorithm;
  Le<std::uint32_t> reserved;
};
static_assert(sizeof(RssHena) == 8 && sizeof(RssHfunc) == 8);
inline constexpr std::uint32_t kToeplitzAsymmetric = 0, kXorAsymmetric = 1, kToeplitzSymmetric = 2, kXorSymmetric = 3;

struct SupportedRxdids {
  Le<std::uint64_t> supported_rxdids;
};
static_assert(sizeof(SupportedRxdids) == 8);

enum class Event : std::uint32_t { link_change = 1, reset_impending = 2, pf_driver_close = 3 };
inline constexpr std::uint32_t kSeverityInfo = 0, kSeverityAttention = 1, kSeverityActionRequired = 2,
                               kSeverityCertainDoom = 255;
struct PfEvent {
  Le<std::uint32_t> event;
  Le<std::uint32_t> link_speed;  ///< a LinkSpeed bit, or Mbit/s with VF_CAP_ADV_LINK_SPEED
  std::uint8_t link_status;
  std::array<std::uint8_t, 3> pad;
  Le<std::uint32_t> severity;
};
static_assert(sizeof(PfEvent) == 16 && offsetof(PfEvent, severity) == 12);

namespace link_speed {  // PfEvent::link_speed without VF_CAP_ADV_LINK_SPEED
inline constexpr std::uint32_t k2_5Gb = 1u << 0, k100Mb = 1u << 1, k1Gb = 1u << 2, k10Gb = 1u << 3, k40Gb = 1u << 4,
                               k20Gb = 1u << 5, k25Gb = 1u << 6, k5Gb = 1u << 7;
}  // namespace link_speed

/// VFGEN_RSTAT.VFR_STATE
enum class ResetState : std::uint32_t { in_progress = 0, completed = 1, vf_active = 2 };

// --- headers and fields: flow director and advanced RSS ---

inline constexpr std::size_t kMaxProtoHdrs = 32, kMaxRawPacket = 1024, kMaxActions = 8;

enum class ProtoHdrType : std::uint32_t {
  none = 0,
  eth = 1,
  s_vlan = 2,
  c_vlan = 3,
  ipv4 = 4,
  ipv6 = 5,
  tcp = 6,
  udp = 7,
  sctp = 8,
  gtpu_ip = 9,
  l2tpv3 = 14,
  esp = 15,
  ah = 16,
  pfcp = 17,
  ipv4_frag = 22,
  ipv6_eh_frag = 23,
  gre = 24,
};

namespace proto_field {  // bits of ProtoHdr::field_selector, by header
inline constexpr std::uint32_t kEthSrc = 1u << 0, kEthDst = 1u << 1, kEthType = 1u << 2;
inline constexpr std::uint32_t kVlanId = 1u << 0;
inline constexpr std::uint32_t kIpv4Src = 1u << 0, kIpv4Dst = 1u << 1, kIpv4Dscp = 1u << 2, kIpv4Ttl = 1u << 3,
                               kIpv4Prot = 1u << 4;
inline constexpr std::uint32_t kIpv6Src = 1u << 0, kIpv6Dst = 1u << 1, kIpv6Tc = 1u << 2, kIpv6HopLimit = 1u << 3,
                               kIpv6Prot = 1u << 4;
inline constexpr std::uint32_t kPortSrc = 1u << 0, kPortDst = 1u << 1;  // TCP, UDP and SCTP alike
}  // namespace proto_field

struct ProtoHdr {
  Le<std::uint32_t> type, field_selector;
  std::array<std::uint8_t, 64> buffer;  // the header as it is on the wire
};
static_assert(sizeof(ProtoHdr) == 72);
struct ProtoHdrs {
  std::uint8_t tunnel_level;
  std::array<std::uint8_t, 3> pad;
  Le<std::uint32_t> count;  ///< 0: a raw packet with mask instead, which is not taken here
  std::array<ProtoHdr, kMaxProtoHdrs> proto_hdr;
};
static_assert(sizeof(ProtoHdrs) == 2312);

struct RssCfg {
  ProtoHdrs proto_hdrs;
  Le<std::uint32_t> rss_algorithm;
  std::array<std::uint8_t, 128> reserved;
};
static_assert(sizeof(RssCfg) == 2444);

enum class Action : std::uint32_t {
  drop = 0,
  tc_redirect = 1,
  passthru = 2,
  queue = 3,
  q_region = 4,
  mark = 5,
  count = 6
};
struct FilterAction {
  Le<std::uint32_t> type;
  Le<std::uint16_t> queue_index;  ///< queue and q_region
  std::uint8_t queue_region;      ///< q_region: log2 of the number of queues
  std::array<std::uint8_t, 29> rest;
};
static_assert(sizeof(FilterAction) == 36);
struct FilterActionSet {
  Le<std::uint32_t> count;
  std::array<FilterAction, kMaxActions> actions;
};
static_assert(sizeof(FilterActionSet) == 292);
enum class FdirStatus : std::uint32_t {
  success = 0,
  no_resource = 1,
  exists = 2,
  conflict = 3,
  not_existing = 4,
  invalid = 5,
  timeout = 6,
};
struct FdirAdd {
  Le<std::uint16_t> vsi_id, validate_only;
  Le<std::uint32_t> flow_id;  ///< answer
  ProtoHdrs proto_hdrs;
  FilterActionSet action_set;
  Le<std::uint32_t> status;  ///< answer
};
static_assert(sizeof(FdirAdd) == 2616);
struct FdirDel {
  Le<std::uint16_t> vsi_id, pad;
  Le<std::uint32_t> flow_id;
  Le<std::uint32_t> status;  ///< answer
};
static_assert(sizeof(FdirDel) == 12);

// --- traffic classes and cloud filters ---

struct ChannelInfo {
  Le<std::uint16_t> count, offset;  ///< queues
  Le<std::uint32_t> pad;
  Le<std::uint64_t> max_tx_rate;  ///< Mbit/s; 0: no limit
};
static_assert(sizeof(ChannelInfo) == 16);
struct TcInfo {  // num_tc ChannelInfo follow
  Le<std::uint32_t> num_tc, pad;
};
static_assert(sizeof(TcInfo) == 8);

struct L4Spec {  // as on the wire
  std::array<std::uint8_t, 6> src_mac, dst_mac;
  std::array<std::uint8_t, 2> vlan_id, pad;
  std::array<std::uint8_t, 16> src_ip, dst_ip;  ///< an IPv4 address takes the first four bytes
  std::array<std::uint8_t, 2> src_port, dst_port;
};
static_assert(sizeof(L4Spec) == 52);
inline constexpr std::uint32_t kTcpV4Flow = 0, kTcpV6Flow = 1, kUdpV4Flow = 2, kUdpV6Flow = 3;
struct CloudFilter {
  L4Spec data;
  std::array<std::uint8_t, 76> data_rest;
  L4Spec mask;
  std::array<std::uint8_t, 76> mask_rest;
  Le<std::uint32_t> flow_type, action, action_meta;  ///< an Action; tc_redirect: the class
  std::uint8_t field_flags;
  std::array<std::uint8_t, 3> pad;
};
static_assert(sizeof(CloudFilter) == 272 && offsetof(CloudFilter, mask) == 128 &&
              offsetof(CloudFilter, flow_type) == 256);

// --- the second forms: chunks of queues ---

inline constexpr std::uint32_t kQueueTypeTx = 0, kQueueTypeRx = 1;
struct QueueChunk {
  Le<std::uint32_t> type;
  Le<std::uint16_t> start_queue_id, num_queues;
};
static_assert(sizeof(QueueChunk) == 8);
struct EnableDisableQueues {  // num_chunks QueueChunk follow
  Le<std::uint16_t> vport_id, pad, num_chunks, reserved;
};
static_assert(sizeof(EnableDisableQueues) == 8);
struct QueueVector {
  Le<std::uint16_t> queue_id, vector_id;
  Le<std::uint32_t> pad, itr_idx, queue_type;
};
static_assert(sizeof(QueueVector) == 16);
struct QueueVectorMaps {  // num_qv_maps QueueVector follow
  Le<std::uint16_t> vport_id, num_qv_maps;
  Le<std::uint32_t> pad;
};
static_assert(sizeof(QueueVectorMaps) == 8);

}  // namespace vmux::wire::virtchnl
