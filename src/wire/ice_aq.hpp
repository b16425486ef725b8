// SPDX-License-Identifier: BSD-3-Clause
// Commands of the E800 series' firmware, as they lie in the descriptors and buffers of its control queues. Layouts and
// numbers as in what Intel published of them (Linux and DPDK: ice_adminq_cmd.h). Structs, numbers and nothing else.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "vmux/base/le.hpp"

namespace vmux::wire::ice {

using U16 = Le<std::uint16_t>;
using U32 = Le<std::uint32_t>;
using U64 = Le<std::uint64_t>;

struct Descriptor {
  U16 flags, opcode, datalen, retval;
  U32 cookie_high, cookie_low;
  std::array<std::byte, 16> params;  ///< the last eight are the buffer's address where there is one: high, then low
};
static_assert(sizeof(Descriptor) == 32 && offsetof(Descriptor, cookie_high) == 8 && offsetof(Descriptor, params) == 16);

namespace flag {
inline constexpr std::uint16_t DD = 1 << 0, CMP = 1 << 1, ERR = 1 << 2, LB = 1 << 9, RD = 1 << 10, BUF = 1 << 12,
                               SI = 1 << 13;
}

enum class Status : std::uint16_t {
  ok = 0,
  not_permitted = 1,
  no_entry = 2,
  no_such_thing = 3,
  io_error = 5,
  try_again = 8,
  no_memory = 9,
  bad_address = 11,
  busy = 12,
  exists = 13,
  invalid = 14,
  no_space = 16,
  not_implemented = 17,
  wrong_mode = 21,
};

namespace op {
inline constexpr std::uint16_t get_version = 0x0001, driver_version = 0x0002, queue_shutdown = 0x0003,
                               request_resource = 0x0008, release_resource = 0x0009,
                               list_function_capabilities = 0x000a, list_device_capabilities = 0x000b,
                               manage_mac_read = 0x0107, manage_mac_write = 0x0108, clear_pxe_mode = 0x0110;
inline constexpr std::uint16_t get_switch_config = 0x0200, set_port_parameters = 0x0203, alloc_resource = 0x0208,
                               free_resource = 0x0209, get_allocated_resources = 0x020a, add_vsi = 0x0210,
                               update_vsi = 0x0211, get_vsi = 0x0212, free_vsi = 0x0213, add_rules = 0x02a0,
                               update_rules = 0x02a1, remove_rules = 0x02a2, clear_pf_config = 0x02a4;
inline constexpr std::uint16_t get_default_topology = 0x0400, add_elements = 0x0401, configure_elements = 0x0403,
                               get_elements = 0x0404, move_elements = 0x0408, suspend_elements = 0x0409,
                               resume_elements = 0x040a, query_port_ets = 0x040e, delete_elements = 0x040f,
                               add_rate_profiles = 0x0410, query_scheduler_resources = 0x0412,
                               remove_rate_profiles = 0x0415;
inline constexpr std::uint16_t get_phy_capabilities = 0x0600, set_phy_config = 0x0601, set_mac_config = 0x0603,
                               restart_autonegotiation = 0x0605, get_link_status = 0x0607, set_event_mask = 0x0613,
                               set_loopback = 0x0620;
inline constexpr std::uint16_t nvm_read = 0x0701, nvm_checksum = 0x0706;
inline constexpr std::uint16_t send_to_pf = 0x0801, send_to_vf = 0x0802;
inline constexpr std::uint16_t lldp_get_mib = 0x0a00, lldp_set_mib_change = 0x0a01, lldp_stop = 0x0a05,
                               lldp_start = 0x0a06;
inline constexpr std::uint16_t set_rss_key = 0x0b02, set_rss_lut = 0x0b03, get_rss_key = 0x0b04, get_rss_lut = 0x0b05;
inline constexpr std::uint16_t add_tx_queues = 0x0c30, disable_tx_queues = 0x0c31;
inline constexpr std::uint16_t download_package = 0x0c40, upload_section = 0x0c41, update_package = 0x0c42,
                               get_package_info = 0x0c43;
}  // namespace op

// --- general ---
struct Version {
  U32 rom_version, firmware_build;
  std::uint8_t firmware_branch, firmware_major, firmware_minor, firmware_patch;
  std::uint8_t api_branch, api_major, api_minor, api_patch;
};
static_assert(sizeof(Version) == 16 && offsetof(Version, api_branch) == 12);

struct ResourceOwnership {
  U16 resource, access;
  U32 timeout_ms, number;
  U16 status, reserved;
};
static_assert(sizeof(ResourceOwnership) == 16 && offsetof(ResourceOwnership, status) == 12);
namespace ownership {
inline constexpr std::uint16_t nvm = 1, sdp = 2, change_lock = 3, global_config_lock = 4;
inline constexpr std::uint16_t granted = 0, in_progress = 1, done = 2;  // status of the global configuration lock
}  // namespace ownership

struct ListCapabilities {
  std::array<std::uint8_t, 4> reserved;
  U32 count;
};
static_assert(sizeof(ListCapabilities) == 8);
struct Capability {
  U16 id;
  std::uint8_t major, minor;
  U32 number, logical_id, physical_id;
  std::array<std::byte, 16> reserved;
};
static_assert(sizeof(Capability) == 32 && offsetof(Capability, physical_id) == 12);
namespace capability {
inline constexpr std::uint16_t valid_functions = 0x05, vsi = 0x17, rss = 0x40, rx_queues = 0x41, tx_queues = 0x42,
                               msix = 0x43, flow_director = 0x45, max_mtu = 0x47;
}

struct ManageMacRead {
  U16 flags, reserved;
  std::uint8_t count;
  std::array<std::uint8_t, 3> reserved2;
};
static_assert(sizeof(ManageMacRead) == 8 && offsetof(ManageMacRead, count) == 4);
struct MacAddress {
  std::uint8_t lport, type;
  std::array<std::uint8_t, 6> mac;
};
static_assert(sizeof(MacAddress) == 8);
namespace mac_read {
inline constexpr std::uint16_t lan_valid = 1 << 4, port_valid = 1 << 6;
}
struct ManageMacWrite {
  std::uint8_t reserved, flags;
  std::array<std::uint8_t, 6> mac;
};
static_assert(sizeof(ManageMacWrite) == 8);

// --- switch ---
struct GetSwitchConfig {
  U16 flags, element, count, reserved;
};
static_assert(sizeof(GetSwitchConfig) == 8 && offsetof(GetSwitchConfig, count) == 4);
struct SwitchElement {
  U16 number, switch_id, function;
};
static_assert(sizeof(SwitchElement) == 6);
namespace switch_element {
inline constexpr std::uint16_t physical_port = 0u << 14, vsi = 2u << 14;
inline constexpr std::uint16_t number_mask = 0x03ff;
}  // namespace switch_element

struct Vsi {
  U16 number, flags;
  std::uint8_t vf, reserved;
  U16 type;
};
static_assert(sizeof(Vsi) == 8 && offsetof(Vsi, type) == 6);
struct VsiAnswer {
  U16 number, extended_status, used, free;
};
static_assert(sizeof(VsiAnswer) == 8);
namespace vsi {
inline constexpr std::uint16_t number_mask = 0x03ff, number_valid = 0x8000, keep_allocated = 1;
}
struct VsiContext {
  U16 valid_sections;
  std::uint8_t switch_id, switch_flags, switch_flags2, veb_stat_id;
  std::uint8_t security_flags, security_reserved;
  U16 port_vlan;
  std::array<std::uint8_t, 2> port_vlan_reserved;
  std::uint8_t inner_vlan_flags;
  std::array<std::uint8_t, 3> inner_vlan_reserved;
  U32 ingress_table, egress_table;
  U16 outer_tag;
  std::uint8_t outer_tag_flags, outer_tag_reserved;
  U16 mapping_flags;
  std::array<U16, 16> queue_mapping;
  std::array<U16, 8> tc_mapping;
  std::uint8_t rss, tc, queue_flags;
  std::array<std::uint8_t, 3> queue_reserved;
  U32 outer_up_table;
  std::array<std::byte, 40> rest;  ///< flow director, PASID and what is reserved
};
static_assert(sizeof(VsiContext) == 128 && offsetof(VsiContext, inner_vlan_flags) == 12 &&
              offsetof(VsiContext, outer_tag) == 24 && offsetof(VsiContext, mapping_flags) == 28 &&
              offsetof(VsiContext, queue_mapping) == 30 && offsetof(VsiContext, tc_mapping) == 62 &&
              offsetof(VsiContext, rss) == 78);
namespace vsi_section {  // bits of valid_sections
inline constexpr std::uint16_t switching = 1 << 0, security = 1 << 1, vlan = 1 << 2, outer_tag = 1 << 3,
                               ingress = 1 << 4, egress = 1 << 5, queues = 1 << 6, queue_options = 1 << 7,
                               outer_up = 1 << 8, flow_director = 1 << 11, pasid = 1 << 12;
}
namespace vsi_context {
inline constexpr std::uint8_t vlan_prune = 1 << 0;                          // of switch_flags2
inline constexpr std::uint8_t strip_mask = 3 << 3, strip_nothing = 3 << 3;  // of inner_vlan_flags
inline constexpr std::uint16_t mapping_is_scattered = 1 << 0;               // of mapping_flags
inline constexpr std::uint8_t hash_mask = 3 << 6, hash_symmetric = 1 << 6;  // of rss
}  // namespace vsi_context

struct Count {  ///< of rules, or of elements of a resource
  U16 count;
  std::array<std::uint8_t, 6> reserved;
};
static_assert(sizeof(Count) == 8);
struct RuleHeader {
  U16 type, status;
};
struct LookupRule {
  RuleHeader header;
  U16 recipe, source;
  U32 action;
  U16 index, header_length;
};
static_assert(sizeof(LookupRule) == 16 && offsetof(LookupRule, index) == 12);
struct ListRule {
  RuleHeader header;
  U16 index, count;
};
static_assert(sizeof(ListRule) == 8);
namespace rule {
inline constexpr std::uint16_t lookup_rx = 0, lookup_tx = 1, large_action = 2, vsi_list_set = 3, vsi_list_clear = 4,
                               prune_list_set = 5, prune_list_clear = 6;
inline constexpr std::uint16_t recipe_ethertype = 0, recipe_mac = 1, recipe_mac_vlan = 2, recipe_promiscuous = 3,
                               recipe_vlan = 4, recipe_default = 5, recipe_ethertype_mac = 8,
                               recipe_promiscuous_vlan = 9;
inline constexpr std::size_t most_header = 256;  // bytes of a rule's header
}  // namespace rule

struct Resource {
  U16 type, count;
};
static_assert(sizeof(Resource) == 4);
namespace resource {
inline constexpr std::uint16_t type_mask = 0x007f;
/// Counters and entries of Flow Director: the count is that of a block, of which one number tells the first.
inline constexpr std::uint16_t flow_counters = 0x21, guaranteed_flows = 0x22, shared_flows = 0x23;
}  // namespace resource

// --- scheduler ---
struct ElementBody {
  std::uint8_t type, valid_sections, generic, flags;
  U16 cir_profile, cir_weight, eir_profile, eir_weight, shared_profile, reserved;
};
static_assert(sizeof(ElementBody) == 16);
struct Element {
  U32 parent, teid;
  ElementBody body;
};
static_assert(sizeof(Element) == 24);
namespace element {
inline constexpr std::uint8_t root_port = 1, traffic_class = 2, generic = 3, entry_point = 4, leaf = 5;
inline constexpr std::uint8_t suspended = 1 << 0;  // of flags
}  // namespace element
struct GetTopology {
  std::uint8_t port, branches;
  std::array<std::uint8_t, 6> reserved;
};
static_assert(sizeof(GetTopology) == 8);
struct ElementGroup {
  U32 parent;
  U16 count, reserved;
};
static_assert(sizeof(ElementGroup) == 8);
struct MoveGroup {
  U32 source, destination;
  U16 count, reserved;
};
static_assert(sizeof(MoveGroup) == 12);
inline constexpr std::size_t kTopologyElements = 9;
struct TopologyBranch {
  ElementGroup header;
  std::array<Element, kTopologyElements> elements;
};
static_assert(sizeof(TopologyBranch) == 224);
struct ElementCommand {
  U16 requested, responded;
  U32 reserved;
};
static_assert(sizeof(ElementCommand) == 8);
struct SchedulerProperties {
  U16 physical_levels, logical_levels;
  std::uint8_t flattening, max_device_cgds, max_pf_cgds, reserved0;
  U16 rdma_queue_sets;
  std::array<std::uint8_t, 22> reserved;
};
static_assert(sizeof(SchedulerProperties) == 32);
struct LayerProperties {
  std::uint8_t logical_layer, chunk_size;
  U16 max_device_nodes, max_pf_nodes;
  std::array<std::uint8_t, 4> reserved;
  U16 max_siblings, max_cir_profiles, max_eir_profiles, max_srl_profiles;
  std::array<std::uint8_t, 14> reserved2;
};
static_assert(sizeof(LayerProperties) == 32 && offsetof(LayerProperties, max_siblings) == 10);
inline constexpr std::size_t kLayers = 9;
struct SchedulerResources {
  SchedulerProperties properties;
  std::array<LayerProperties, kLayers> layers;
};
static_assert(sizeof(SchedulerResources) == 320);
struct RateProfile {
  std::uint8_t flags_level, flags;
  U16 id, max_burst, rate_multiplier, wakeup, encode;
};
static_assert(sizeof(RateProfile) == 12 && offsetof(RateProfile, id) == 2);

// --- link ---
struct GetPhyCapabilities {
  std::uint8_t lport, reserved;
  U16 mode;
  U32 reserved2;
};
static_assert(sizeof(GetPhyCapabilities) == 8);
namespace phy_mode {  // bits 3:1 of GetPhyCapabilities::mode
inline constexpr std::uint16_t mask = 0xe, active = 4;
}
struct PhyCapabilities {
  U64 type_low, type_high;
  std::uint8_t capabilities, low_power;
  U16 eee, eeer;
  std::array<std::uint8_t, 4> oui;
  std::array<std::uint8_t, 8> firmware;
  std::uint8_t fec_options, compliance, extended_compliance;
  std::array<std::uint8_t, 3> module_type;
  std::array<std::byte, 520> modules;
};
static_assert(sizeof(PhyCapabilities) == 560 && offsetof(PhyCapabilities, fec_options) == 34 &&
              offsetof(PhyCapabilities, module_type) == 37);
struct PhyConfig {
  U64 type_low, type_high;
  std::uint8_t capabilities, low_power;
  U16 eee, eeer;
  std::uint8_t fec_options, compliance;
};
static_assert(sizeof(PhyConfig) == 24 && offsetof(PhyConfig, fec_options) == 22);
namespace phy {
inline constexpr std::uint8_t tx_pause = 1 << 0, rx_pause = 1 << 1, link_enabled = 1 << 3, autonegotiation = 1 << 4;
inline constexpr std::uint64_t type_100g_cr4 = 1ull << 51;  // of type_low
}  // namespace phy
struct GetLinkStatus {
  std::uint8_t lport, reserved;
  U16 flags;
  U32 reserved2;
};
static_assert(sizeof(GetLinkStatus) == 8);
namespace link_flag {
inline constexpr std::uint16_t events_mask = 3, events_off = 2, events_on = 3, events_enabled = 1;
}
struct LinkStatus {
  std::uint8_t topology_conflict, configuration_error, info, autonegotiation, extended, reserved;
  U16 max_frame;
  std::uint8_t config, power;
  U16 speed;
  std::uint8_t external_device, reserved2;
  U16 reserved3;
  U64 type_low, type_high;
};
static_assert(sizeof(LinkStatus) == 32 && offsetof(LinkStatus, speed) == 10 && offsetof(LinkStatus, type_low) == 16);
namespace link {
inline constexpr std::uint8_t up = 1 << 0, port_up = 1 << 5, media = 1 << 6, signal = 1 << 7;  // of info
inline constexpr std::uint8_t negotiated = 1 << 0;                                             // of autonegotiation
inline constexpr std::uint16_t speed_100g = 1 << 10;
}  // namespace link
struct SetEventMask {
  std::array<std::uint8_t, 8> reserved;
  U16 mask;
  std::array<std::uint8_t, 6> reserved2;
};
static_assert(sizeof(SetEventMask) == 16 && offsetof(SetEventMask, mask) == 8);

// --- NVM ---
struct NvmRead {
  U16 offset_low;
  std::uint8_t offset_high, flags;
  U16 module, length;
};
static_assert(sizeof(NvmRead) == 8 && offsetof(NvmRead, module) == 4);
namespace nvm {
inline constexpr std::uint8_t last = 1 << 0, flash_only = 1 << 7;
}
struct NvmChecksum {
  std::uint8_t flags, reserved;
  U16 checksum;
  std::array<std::uint8_t, 12> reserved2;
};
static_assert(sizeof(NvmChecksum) == 16);
inline constexpr std::uint16_t kChecksumRight = 0xbaba;

// --- RSS ---
struct RssCommand {
  U16 vsi, flags;
  U32 reserved;
};
static_assert(sizeof(RssCommand) == 8);
inline constexpr std::size_t kRssKeySize = 52;
namespace rss_lut {
inline constexpr std::uint16_t type_mask = 3, type_vsi = 0, type_pf = 1, size_mask = 3 << 2, size_128 = 0,
                               size_512 = 1 << 2, size_2048 = 2 << 2;
}

// --- transmit queues ---
struct AddTxQueues {
  std::uint8_t groups;
  std::array<std::uint8_t, 7> reserved;
};
static_assert(sizeof(AddTxQueues) == 8);
struct TxQueueGroup {
  U32 parent;
  std::uint8_t count;
  std::array<std::uint8_t, 3> reserved;
};
static_assert(sizeof(TxQueueGroup) == 8);
struct TxQueue {
  U16 id, reserved;
  U32 teid;
  std::array<std::byte, 22> context;
  U16 reserved2;
  ElementBody element;
};
static_assert(sizeof(TxQueue) == 48 && offsetof(TxQueue, context) == 8 && offsetof(TxQueue, element) == 32);
struct DisableTxQueues {
  std::uint8_t type, entries;
  U16 vf_and_timeout;
  U32 blocked;
};
static_assert(sizeof(DisableTxQueues) == 8);
struct DisableTxGroup {
  U32 parent;
  std::uint8_t count, reserved;  ///< as many queue numbers of two bytes follow; the next group begins on four bytes
};
static_assert(sizeof(DisableTxGroup) == 6);

// --- package (DDP) ---
struct PackageVersion {
  std::uint8_t major, minor, update, draft;
};
inline constexpr std::size_t kPackageNameSize = 28;
struct PackageInfo {
  PackageVersion version;
  std::array<char, kPackageNameSize> name;
  U32 track_id;
  std::uint8_t is_in_nvm, is_active, is_active_at_boot, is_modified;
};
static_assert(sizeof(PackageInfo) == 40 && offsetof(PackageInfo, is_in_nvm) == 36);
struct DownloadPackage {
  std::uint8_t flags;
  std::array<std::uint8_t, 3> reserved;
  U32 error_offset;
};
static_assert(sizeof(DownloadPackage) == 8);
inline constexpr std::uint8_t kLastPackageBuffer = 1;
inline constexpr std::size_t kPackageBuffer = 4096;
struct PackageBufferHeader {
  U16 sections, end;
};
struct PackageSection {
  U32 type;
  U16 offset, size;
};
static_assert(sizeof(PackageSection) == 8);
inline constexpr std::uint32_t kMetadataSection = 1;
struct PackageMetadata {
  PackageVersion version;
  std::array<char, kPackageNameSize> name;
  U32 track_id;
};
static_assert(sizeof(PackageMetadata) == 36);

}  // namespace vmux::wire::ice
