// SPDX-License-Identifier: BSD-3-Clause
#include "backend/dpdk/ethdev.hpp"

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_version.h>

#include <algorithm>
#include <string_view>

#include "base/logf.hpp"
#include "port/frame_length.hpp"

namespace vmux::backend::dpdk {
namespace {

constexpr std::uint16_t kRxDescriptors = 512, kTxDescriptors = 512;
constexpr unsigned kSpareMbufs = 1024;  // in the switch's hands, in caches, and of super-frames under way
constexpr unsigned kMbufCache = 128;
constexpr std::uint64_t kChecksums = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
constexpr std::uint64_t kWantedTx = RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | kChecksums |
                                    RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_VLAN_INSERT;
constexpr std::uint64_t kWantedRx =
    RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;

// Bytes of tags that the device carries beside its MTU: it says what it adds to an MTU, FCS included. One tag always
// passes: drivers that say 18 mean it so, and the kernel behind af_packet does too; and no more than two.
std::uint32_t room_for_tags(const rte_eth_dev_info& info) noexcept {
  constexpr std::uint32_t kPlain = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
  const bool says = info.max_mtu != UINT16_MAX && info.max_rx_pktlen > info.max_mtu;
  const std::uint32_t added = says ? info.max_rx_pktlen - info.max_mtu : kPlain;
  return std::clamp(added, kPlain + port::kVlanTag, kPlain + port::kTagsBesideMtu * port::kVlanTag) - kPlain;
}

tl::unexpected<Error> refused(const char* what, int status) noexcept {
  return fail(Errc::system, what, status < 0 ? -status : 0);
}

}  // namespace

Result<std::unique_ptr<EthDev>> EthDev::create(const DpdkOptions& options) {
  auto device = std::unique_ptr<EthDev>(new EthDev());
  if (auto ok = device->probe(options.device); !ok) return tl::unexpected(ok.error());
  if (auto ok = device->configure(options); !ok) return tl::unexpected(ok.error());
  return device;
}

Result<void> EthDev::probe(const std::string& device) {
  const std::string name = device.substr(0, device.find(','));
  std::uint16_t id = 0;
  if (rte_eth_dev_get_port_by_name(name.c_str(), &id) == 0) {
    rte_eth_dev_info info{};
    // A PCI device that the EAL found at its start is nobody's yet; anything else is an uplink of ours.
    if (rte_eth_dev_info_get(id, &info) != 0 || info.nb_rx_queues != 0) {
      return fail(Errc::already_exists, "the DPDK device is in use by another uplink");
    }
  } else if (const int status = rte_dev_probe(device.c_str()); status != 0) {
    return fail(Errc::not_found, "DPDK finds no such device, or its arguments are wrong (see the log)",
                std::abs(status));
  } else if (rte_eth_dev_get_port_by_name(name.c_str(), &id) != 0) {
    return fail(Errc::not_supported, "the DPDK device is no network device");
  }
  rte_eth_dev_info info{};
  if (const int status = rte_eth_dev_info_get(id, &info); status != 0)
    return refused("the DPDK device tells nothing", status);
  id_ = id;
  device_ =
      const_cast<rte_device*>(info.device);  // const since DPDK 23.03, and rte_dev_remove() still takes it without
  return {};
}

Result<void> EthDev::configure(const DpdkOptions& options) {
  rte_eth_dev_info info{};
  if (const int status = rte_eth_dev_info_get(id_, &info); status != 0)
    return refused("the DPDK device tells nothing", status);
  rte_eth_conf conf{};
  conf.txmode.offloads = kWantedTx & info.tx_offload_capa;
  conf.rxmode.offloads = kWantedRx & info.rx_offload_capa;
  // DPDK's tap (seen in 22.11) compares a piece with its headers against the MTU and so refuses pieces of the usual
  // size.
  if (std::string_view{info.driver_name} == "net_tap")
    conf.txmode.offloads &= ~std::uint64_t{RTE_ETH_TX_OFFLOAD_TCP_TSO};
  std::uint16_t mtu = RTE_ETHER_MTU;
  if (options.mtu != 0) {
    if (options.mtu < info.min_mtu || options.mtu > info.max_mtu || options.mtu > 0xffff) {
      return fail(Errc::out_of_range, "the DPDK device does not take that MTU");
    }
    mtu = static_cast<std::uint16_t>(options.mtu);
  }
  conf.rxmode.mtu = mtu;
  if (const int status = rte_eth_dev_configure(id_, 1, 1, &conf); status != 0) {
    return refused("the DPDK device cannot be configured", status);
  }
  if (auto ok = set_up_queues(info, conf); !ok) return ok;
  if (const int status = rte_eth_dev_start(id_); status != 0)
    return refused("the DPDK device cannot be started", status);
  is_started_ = true;
  if (options.promiscuous && rte_eth_promiscuous_enable(id_) != 0) {
    logf(LogLevel::warning, "uplink {}: the device has no promiscuous mode", options.device);
  }
  describe(info, conf.txmode.offloads, mtu);
  return {};
}

Result<void> EthDev::set_up_queues(const rte_eth_dev_info& info, const rte_eth_conf& conf) {
  std::uint16_t rx = kRxDescriptors, tx = kTxDescriptors;
  if (const int status = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx, &tx); status != 0) {
    return refused("the DPDK device takes no usual ring sizes", status);
  }
  // A frame of the MTU lies in one mbuf, so that no driver needs scattering.
  const std::uint32_t room = std::max<std::uint32_t>(RTE_MBUF_DEFAULT_DATAROOM, conf.rxmode.mtu + 64u);
  const std::string name = "vmux_mbufs_" + std::to_string(id_);
  pool_ = rte_pktmbuf_pool_create(name.c_str(), rx + tx + kSpareMbufs, kMbufCache, 0,
                                  static_cast<std::uint16_t>(std::min(room + RTE_PKTMBUF_HEADROOM, 0xffffu)),
                                  rte_eth_dev_socket_id(id_));
  if (pool_ == nullptr) return fail(Errc::no_space, "DPDK has no memory for packet buffers", rte_errno);
  const auto socket = static_cast<unsigned>(rte_eth_dev_socket_id(id_));
  rte_eth_rxconf rx_conf = info.default_rxconf;
  rx_conf.offloads = conf.rxmode.offloads;
  rte_eth_txconf tx_conf = info.default_txconf;
  tx_conf.offloads = conf.txmode.offloads;
  int status = rte_eth_rx_queue_setup(id_, 0, rx, socket, &rx_conf, pool_);
  if (status == 0) status = rte_eth_tx_queue_setup(id_, 0, tx, socket, &tx_conf);
  return status == 0 ? Result<void>{} : refused("the DPDK device's queues cannot be set up", status);
}

void EthDev::describe(const rte_eth_dev_info& info, std::uint64_t tx_offloads, std::uint32_t mtu) noexcept {
  const bool chains = (tx_offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
  accepts_.checksum = (tx_offloads & kChecksums) == kChecksums;
  const bool tso = accepts_.checksum && chains && (tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO) != 0 &&
                   (tx_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
  accepts_.gso_tcp4 = accepts_.gso_tcp6 = tso;
  accepts_.vlan = (tx_offloads & RTE_ETH_TX_OFFLOAD_VLAN_INSERT) != 0;
  accepts_.max_frame = mtu + port::kEthernetHeader + room_for_tags(info);
}

EthDev::~EthDev() {
  if (id_ == RTE_MAX_ETHPORTS) return;
  if (is_started_) rte_eth_dev_stop(id_);
  rte_eth_dev_close(id_);
  if (device_ != nullptr) rte_dev_remove(device_);
  rte_mempool_free(pool_);
}

}  // namespace vmux::backend::dpdk
