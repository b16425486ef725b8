// SPDX-License-Identifier: BSD-3-Clause
#include "device/virtio_net/rules.hpp"

#include <algorithm>
#include <cstring>

#include "packet/bytes.hpp"
#include "packet/flow.hpp"
#include "packet/headers.hpp"

namespace vmux::device::virtio_net {
namespace {

namespace hash = wire::virtio::net::hash;

constexpr std::size_t kType = 12, kTci = 14;  // bytes of an Ethernet frame

bool is_wanted(const RxRules& rules, const packet::FrameView& view) noexcept {
  if (rules.takes_all) return true;
  if (view.header.size() < kTci) return false;
  std::uint64_t key = 0;
  std::memcpy(&key, view.header.data(), 6);
  if constexpr (std::endian::native == std::endian::big) key = byteswap(key);
  if (!rules.filters.admits(key)) return false;
  if (!rules.filters.vlan_filtering) return true;
  if (view.offload.has_vlan) return rules.filters.admits_vlan(intel::kTpid, view.offload.vlan_tci);
  const std::uint16_t type = packet::get16(view.header, kType);
  if (type != intel::kTpid || view.header.size() < kTci + 2) return true;
  return rules.filters.admits_vlan(type, packet::get16(view.header, kTci));
}

// [VIRTIO] 5.1.6.4.3: addresses and ports where the type of the packet is among those enabled, else addresses, else
// nothing.
void hash_frame(const RxRules& rules, packet::Slice header, RxInfo& info) noexcept {
  const auto headers = packet::parse(header);
  if (!headers || headers->l3 == packet::L3::other) return;
  const bool v4 = headers->l3 == packet::L3::ipv4;
  const bool has_ports = headers->l4_offset != 0 && !headers->is_fragment;
  const std::size_t addresses = v4 ? 8 : 32;
  std::array<std::byte, Toeplitz::kMaxInput> input;
  std::memcpy(input.data(), header.data() + headers->l3_offset + (v4 ? 12 : 8), addresses);
  std::size_t size = addresses;
  const auto by_ports = [&](std::uint32_t type, std::uint16_t report) {
    if ((rules.hash_types & type) == 0) return false;
    std::memcpy(input.data() + addresses, header.data() + headers->l4_offset, 4);
    size += 4;
    info.report = report;
    return true;
  };
  const bool is_tcp = has_ports && headers->l4 == packet::L4::tcp, is_udp = has_ports && headers->l4 == packet::L4::udp;
  const bool is_done =
      (is_tcp && by_ports(v4 ? hash::tcpv4 : hash::tcpv6, v4 ? hash::report_tcpv4 : hash::report_tcpv6)) ||
      (is_udp && by_ports(v4 ? hash::udpv4 : hash::udpv6, v4 ? hash::report_udpv4 : hash::report_udpv6));
  if (!is_done) {
    if ((rules.hash_types & (v4 ? hash::ipv4 : hash::ipv6)) == 0) return;
    info.report = v4 ? hash::report_ipv4 : hash::report_ipv6;
  }
  info.hash = (*rules.toeplitz)(std::span<const std::byte>{input}.first(size));
}

std::uint16_t queue_of(const RxRules& rules, packet::Slice header, const RxInfo& info) noexcept {
  if (rules.has_rss) {
    return info.report == hash::report_none ? rules.unclassified : rules.table[info.hash & rules.table_mask];
  }
  if (rules.pairs == 1) return 0;
  return static_cast<std::uint16_t>(packet::flow_hash(header) % rules.pairs);
}

}  // namespace

void steer(const RxRules& rules, std::span<const packet::FrameView> frames, std::span<RxInfo> into) noexcept {
  for (std::size_t i = 0; i < frames.size(); ++i) {
    RxInfo& info = into[i];
    info = {};
    if (!is_wanted(rules, frames[i])) continue;
    if (rules.hash_types != 0) hash_frame(rules, frames[i].header, info);
    const std::uint16_t queue = queue_of(rules, frames[i].header, info);
    info.queue = queue < rules.pairs ? queue : std::uint16_t{0};
  }
}

std::shared_ptr<const Toeplitz> toeplitz_of(const std::array<std::uint8_t, kHashKey>& key) {
  std::array<std::uint8_t, intel::Rss::kKeySize> longer{};  // what lies beyond no input reaches
  std::ranges::copy(key, longer.begin());
  return std::make_shared<const Toeplitz>(longer);
}

}  // namespace vmux::device::virtio_net
