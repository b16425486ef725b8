// SPDX-License-Identifier: BSD-3-Clause
#include "app/bench/crowd.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <vector>

#include "app/bench/crowd_port.hpp"
#include "app/bench/e1000_registers.hpp"
#include "base/text/format.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::bench {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kLongestWait_ns = 10 * kSecond;
constexpr unsigned kRoundsPerLook = 64;  // at the standard input
constexpr std::uint32_t kAsserted = 1u << 31;

/// Registers whose accesses are none that may be done twice: a cause is set, read once, and gone.
class Registers {
 public:
  explicit Registers(std::unique_ptr<vfio_user::Client> client) : client_(std::move(client)) {
    thread_ = std::thread{[this] { run(); }};
  }
  ~Registers() {
    is_over_ = true;
    thread_.join();
  }
  void begin_window() { longest_ns_ = 0; }
  [[nodiscard]] std::uint64_t longest_ns() const { return longest_ns_; }
  [[nodiscard]] std::uint64_t wrong() const { return wrong_; }
  [[nodiscard]] std::uint64_t accesses() const { return accesses_; }

 private:
  void run() {
    for (std::uint32_t round = 0; !is_over_; ++round) {
      const std::uint32_t cause = 1u << (round % 2 == 0 ? 2 : 4);
      write(cause);
      if ((read() & ~kAsserted) != cause) ++wrong_;
      if (read() != 0) ++wrong_;
      std::this_thread::sleep_for(std::chrono::microseconds{100});
    }
  }
  void write(std::uint32_t value) {
    timed([&] {
      const Le<std::uint32_t> raw = value;
      return client_->write(pci::Region::bar0, RegionOffset{kIcs}, std::as_bytes(std::span{&raw, 1}));
    });
  }
  std::uint32_t read() {
    Le<std::uint32_t> value{};
    timed([&] {
      return client_->read(pci::Region::bar0, RegionOffset{kIcr}, std::as_writable_bytes(std::span{&value, 1}));
    });
    return value;
  }
  template <class F>
  void timed(F&& access) {
    const std::uint64_t begun = monotonic_ns();
    if (!access()) ++wrong_;
    const std::uint64_t took = monotonic_ns() - begun;
    if (took > longest_ns_) longest_ns_ = took;
    ++accesses_;
  }

  std::unique_ptr<vfio_user::Client> client_;
  std::atomic<bool> is_over_{false};
  std::atomic<std::uint64_t> longest_ns_{0}, wrong_{0}, accesses_{0};
  std::thread thread_;
};

class Crowd {
 public:
  explicit Crowd(const CrowdOptions& options) : interval_ns_(options.interval_us * 1000ull), options_(options) {}

  Result<void> attach() {
    for (unsigned i = 0; i < options_.ports; ++i) {
      auto port = CrowdPort::create(fmt::format("{}/vm{}.sock", options_.directory, i), i, i ^ 1,
                                    (std::uint64_t{options_.memory_mib} << 20) / options_.ports);
      if (!port) return tl::unexpected(port.error());
      ports_.push_back(std::move(*port));
    }
    auto client = vfio_user::Client::connect(options_.directory + "/register.sock");
    if (!client) return tl::unexpected(client.error());
    registers_.emplace(std::move(*client));
    return {};
  }

  /// As fast as can be, until the server has touched all memory.
  bool warm_up() {
    const std::uint64_t until = monotonic_ns() + 60 * kSecond;
    while (!std::all_of(ports_.begin(), ports_.end(), [](const auto& port) { return port->has_touched_all(); })) {
      const std::uint64_t now = monotonic_ns();
      if (now > until) return false;
      for (const auto& port : ports_) {
        for (int i = 0; i < 16; ++i)
          port->send();
        port->receive(now);
      }
    }
    return true;
  }

  void serve() {
    due_.assign(ports_.size(), monotonic_ns());
    for (unsigned round = 0;; ++round) {
      move_frames();
      if (is_ending_ && (all_heard_since(end_ns_) || monotonic_ns() - end_ns_ > kLongestWait_ns)) tell();
      if (round % kRoundsPerLook != 0) continue;
      pollfd look{STDIN_FILENO, POLLIN, 0};
      if (::poll(&look, 1, 0) != 1) continue;
      std::string line;
      if (!std::getline(std::cin, line)) return;
      if (line == "begin") begin();
      if (line == "poison" || line == "poison delivery") {
        using enum CrowdPort::Poison;
        ports_.front()->poison(line == "poison" ? when_taken : when_delivered);
        std::cout << Json{{"poisoned", 0}}.dump() << std::endl;
      }
      if (line == "end") {
        is_ending_ = true;
        end_ns_ = monotonic_ns();
      }
    }
  }

 private:
  void move_frames() {
    for (std::size_t i = 0; i < ports_.size(); ++i) {
      const std::uint64_t now = monotonic_ns();
      if (now >= due_[i]) {
        ports_[i]->send();
        due_[i] = std::max(due_[i] + interval_ns_, now);  // what could not be sent meanwhile is not sent at once
      }
      ports_[i]->receive(now);
    }
  }
  void begin() {
    const std::uint64_t now = monotonic_ns();
    for (const auto& port : ports_)
      port->begin_window(now);
    registers_->begin_window();
    std::cout << Json{{"begun", now}}.dump() << std::endl;
  }
  [[nodiscard]] bool all_heard_since(std::uint64_t when) const {
    return std::all_of(ports_.begin(), ports_.end(),
                       [when](const auto& port) { return port->arrivals().last_ns > when; });
  }
  void tell() {
    is_ending_ = false;
    Json gaps = Json::array();
    Arrivals all;
    for (const auto& port : ports_) {
      const Arrivals& one = port->arrivals();
      gaps.push_back(one.longest_gap_ns / 1000);
      all.lost += one.lost;
      all.twice += one.twice;
      all.reordered += one.reordered;
      all.damaged += one.damaged;
      all.frames += one.frames;
    }
    const Json answer{{"gaps_us", gaps},
                      {"all_heard", all_heard_since(end_ns_)},
                      {"frames", all.frames},
                      {"lost", all.lost},
                      {"twice", all.twice},
                      {"reordered", all.reordered},
                      {"damaged", all.damaged},
                      {"register_us", registers_->longest_ns() / 1000},
                      {"registers_wrong", registers_->wrong()},
                      {"register_accesses", registers_->accesses()}};
    std::cout << answer.dump() << std::endl;
  }

  std::uint64_t interval_ns_;
  const CrowdOptions& options_;
  std::vector<std::unique_ptr<CrowdPort>> ports_;
  std::vector<std::uint64_t> due_;
  std::optional<Registers> registers_;
  bool is_ending_ = false;
  std::uint64_t end_ns_ = 0;
};

}  // namespace

int run_crowd(const CrowdOptions& options) {
  Crowd crowd{options};
  if (auto attached = crowd.attach(); !attached) {
    fmt::print(stderr, "vmux-bench: {}\n", attached.error().text());
    return 1;
  }
  if (!crowd.warm_up()) {
    fmt::print(stderr, "vmux-bench: frames do not arrive\n");
    return 1;
  }
  std::cout << Json{{"ready", options.ports}}.dump() << std::endl;
  crowd.serve();
  return 0;
}

}  // namespace vmux::bench
