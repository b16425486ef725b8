// SPDX-License-Identifier: BSD-3-Clause
// A configured and started ethdev with its mbuf pool. Inside backend/dpdk only: it shows DPDK's types.
#pragma once

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <memory>
#include <string>

#include "backend/dpdk/dpdk_port.hpp"
#include "vmux/base/result.hpp"

namespace vmux::backend::dpdk {

class EthDev {
 public:
  /// The EAL must run. Control threads only.
  [[nodiscard]] static Result<std::unique_ptr<EthDev>> create(const DpdkOptions& options);
  ~EthDev();  ///< stops, closes and removes the device
  EthDev(const EthDev&) = delete;
  EthDev& operator=(const EthDev&) = delete;

  [[nodiscard]] std::uint16_t id() const noexcept { return id_; }
  [[nodiscard]] rte_mempool* pool() const noexcept { return pool_; }
  [[nodiscard]] const packet::Accepts& accepts() const noexcept { return accepts_; }

 private:
  EthDev() = default;
  [[nodiscard]] Result<void> probe(const std::string& device);
  [[nodiscard]] Result<void> configure(const DpdkOptions& options);
  [[nodiscard]] Result<void> set_up_queues(const rte_eth_dev_info& info, const rte_eth_conf& conf);
  void describe(const rte_eth_dev_info& info, std::uint64_t tx_offloads, std::uint32_t mtu) noexcept;

  std::uint16_t id_ = RTE_MAX_ETHPORTS;
  rte_device* device_ = nullptr;
  rte_mempool* pool_ = nullptr;
  packet::Accepts accepts_;
  bool is_started_ = false;
};

}  // namespace vmux::backend::dpdk
