// SPDX-License-Identifier: BSD-3-Clause
// A DPDK program that sleeps until a queue's receive interrupt wakes it, sends each frame back to where it came from,
// and sleeps again: what l3fwd-power does, which Debian does not ship, and what testpmd has no option for.
//
//   dpdk-sleeper EAL-OPTIONS -- [QUEUES]        all ports that the EAL finds, QUEUES (1) pairs each, spread by RSS
//
// It knows ethdev only, so it is the same for every driver: net_e1000_em has one queue and takes INTx, net_iavf has a
// vector of MSI-X for each queue. When it sleeps it says "ready". Then each line on its standard input asks for one:
//   show    a line of JSON: for each port its name, driver, address and MTU, for each queue how often its interrupt
//   woke us
//           (`wakes`), how often for nothing (`empty_wakes`), `frames` that came and how many were sent back
//           (`echoed`); `cpu_us`: processor time of the whole process until now
//   quit    stops and closes the ports; so does the end of the input
#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_mbuf.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr std::uint16_t kDescriptors = 512, kBurst = 32;
constexpr unsigned kBuffersPerQueue = 2048;

[[noreturn]] void give_up(const char* what, int status) {
  std::fprintf(stderr, "dpdk-sleeper: %s: %s\n", what, rte_strerror(std::abs(status)));
  std::exit(1);
}
void check(int status, const char* what) {
  if (status != 0) give_up(what, status);
}

std::vector<std::uint16_t> all_ports() {
  std::vector<std::uint16_t> found;
  for (std::uint16_t port = 0; port < RTE_MAX_ETHPORTS; ++port) {
    if (rte_eth_dev_is_valid_port(port) != 0) found.push_back(port);
  }
  return found;
}

struct Queue {
  std::uint16_t port = 0, number = 0;
  std::uint64_t wakes = 0, empty_wakes = 0, frames = 0, echoed = 0;
};

void turn_round(rte_mbuf& frame) {
  auto* header = rte_pktmbuf_mtod(&frame, rte_ether_hdr*);
  std::swap(header->src_addr, header->dst_addr);
}

/// Empties the queue; how many frames there were.
std::uint64_t serve(Queue& queue) {
  std::array<rte_mbuf*, kBurst> frames{};
  std::uint64_t total = 0;
  for (;;) {
    const std::uint16_t count = rte_eth_rx_burst(queue.port, queue.number, frames.data(), kBurst);
    if (count == 0) break;
    std::for_each_n(frames.begin(), count, [](rte_mbuf* frame) { turn_round(*frame); });
    const std::uint16_t sent = rte_eth_tx_burst(queue.port, 0, frames.data(), count);
    if (sent < count) rte_pktmbuf_free_bulk(&frames[sent], static_cast<unsigned>(count - sent));
    queue.echoed += sent;
    total += count;
  }
  queue.frames += total;
  return total;
}

/// A frame that comes between the last look and the interrupt's being armed would wait for the next one: so look again.
void arm(Queue& queue) {
  check(rte_eth_dev_rx_intr_enable(queue.port, queue.number), "rte_eth_dev_rx_intr_enable");
  serve(queue);
}

void on_wake(Queue& queue) {
  ++queue.wakes;
  check(rte_eth_dev_rx_intr_disable(queue.port, queue.number), "rte_eth_dev_rx_intr_disable");
  if (serve(queue) == 0) ++queue.empty_wakes;
  arm(queue);
}

void start(std::uint16_t port, std::uint16_t queues) {
  rte_eth_dev_info info{};
  check(rte_eth_dev_info_get(port, &info), "rte_eth_dev_info_get");
  rte_eth_conf conf{};
  conf.intr_conf.rxq = 1;
  if (queues > 1) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf =
        info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP);
  }
  const std::string name = fmt::format("frames-{}", port);
  rte_mempool* const pool =
      rte_pktmbuf_pool_create(name.c_str(), kBuffersPerQueue * queues, 64, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  if (pool == nullptr) give_up("rte_pktmbuf_pool_create", rte_errno);
  check(rte_eth_dev_configure(port, queues, 1, &conf), "rte_eth_dev_configure");  // one sends for all
  for (std::uint16_t queue = 0; queue < queues; ++queue)
    check(rte_eth_rx_queue_setup(port, queue, kDescriptors, SOCKET_ID_ANY, nullptr, pool), "rte_eth_rx_queue_setup");
  check(rte_eth_tx_queue_setup(port, 0, kDescriptors, SOCKET_ID_ANY, nullptr), "rte_eth_tx_queue_setup");
  check(rte_eth_dev_start(port), "rte_eth_dev_start");
}

std::string described(const Queue& queue) {
  return fmt::format(R"({{"wakes": {}, "empty_wakes": {}, "frames": {}, "echoed": {}}})", queue.wakes,
                     queue.empty_wakes, queue.frames, queue.echoed);
}

std::string described(std::uint16_t port, const std::vector<Queue>& queues) {
  rte_eth_dev_info info{};
  rte_ether_addr mac{};
  std::array<char, RTE_ETH_NAME_MAX_LEN> name{};
  std::array<char, RTE_ETHER_ADDR_FMT_SIZE> address{};
  std::uint16_t mtu = 0;
  check(rte_eth_dev_info_get(port, &info), "rte_eth_dev_info_get");
  check(rte_eth_macaddr_get(port, &mac), "rte_eth_macaddr_get");
  check(rte_eth_dev_get_name_by_port(port, name.data()), "rte_eth_dev_get_name_by_port");
  check(rte_eth_dev_get_mtu(port, &mtu), "rte_eth_dev_get_mtu");
  rte_ether_format_addr(address.data(), static_cast<std::uint16_t>(address.size()), &mac);
  std::vector<std::string> own;
  for (const Queue& queue : queues) {
    if (queue.port == port) own.push_back(described(queue));
  }
  return fmt::format(R"({{"name": "{}", "driver": "{}", "mac": "{}", "mtu": {}, "queues": [{}]}})", name.data(),
                     info.driver_name, address.data(), mtu, fmt::join(own, ", "));
}

void show(const std::vector<Queue>& queues) {
  timespec used{};
  (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  std::vector<std::string> ports;
  for (const std::uint16_t port : all_ports())
    ports.push_back(described(port, queues));
  fmt::print("{{\"cpu_us\": {}, \"ports\": [{}]}}\n", used.tv_sec * 1'000'000 + used.tv_nsec / 1000,
             fmt::join(ports, ", "));
}

/// Serves what was typed; false when it is time to go.
bool on_input(std::string& pending, const std::vector<Queue>& queues) {
  std::array<char, 256> bytes{};
  const ssize_t size = read(STDIN_FILENO, bytes.data(), bytes.size());
  if (size <= 0) return false;
  pending.append(bytes.data(), static_cast<std::size_t>(size));
  for (std::size_t end = 0; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1)) {
    const std::string line = pending.substr(0, end);
    if (line == "quit") return false;
    if (line == "show") show(queues);
  }
  std::fflush(stdout);
  return true;
}

void run(std::vector<Queue>& queues) {
  static rte_epoll_event input{};  // the EAL keeps its address
  input.epdata.event = EPOLLIN;
  check(rte_epoll_ctl(RTE_EPOLL_PER_THREAD, EPOLL_CTL_ADD, STDIN_FILENO, &input), "rte_epoll_ctl");
  for (Queue& queue : queues) {
    check(rte_eth_dev_rx_intr_ctl_q(queue.port, queue.number, RTE_EPOLL_PER_THREAD, RTE_INTR_EVENT_ADD, &queue),
          "rte_eth_dev_rx_intr_ctl_q");
    arm(queue);
  }
  std::puts("ready");
  std::fflush(stdout);
  std::string pending;
  for (std::array<rte_epoll_event, 16> events;;) {
    const int count = rte_epoll_wait(RTE_EPOLL_PER_THREAD, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      auto* queue = static_cast<Queue*>(events[static_cast<std::size_t>(i)].epdata.data);
      if (queue != nullptr) on_wake(*queue);
      if (queue == nullptr && !on_input(pending, queues)) return;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int taken = rte_eal_init(argc, argv);
  if (taken < 0) give_up("rte_eal_init", rte_errno);
  const int per_port = taken + 1 < argc ? std::atoi(argv[taken + 1]) : 1;
  if (per_port < 1 || per_port > 64) give_up("QUEUES is 1 to 64", EINVAL);
  const std::vector<std::uint16_t> ports = all_ports();
  if (ports.empty()) give_up("no port", ENODEV);
  std::vector<Queue> queues;
  for (const std::uint16_t port : ports) {
    start(port, static_cast<std::uint16_t>(per_port));
    for (int number = 0; number < per_port; ++number)
      queues.push_back({port, static_cast<std::uint16_t>(number)});
  }
  run(queues);
  for (const std::uint16_t port : ports) {
    check(rte_eth_dev_stop(port), "rte_eth_dev_stop");
    check(rte_eth_dev_close(port), "rte_eth_dev_close");
  }
  return rte_eal_cleanup() == 0 ? 0 : 1;
}
