// SPDX-License-Identifier: BSD-3-Clause
// rules: what the rules of a switch cost whoever sends under them, and whoever does not.
#include <time.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "app/bench/benches.hpp"
#include "app/bench/e1000_driver.hpp"
#include "device/e1000/nic.hpp"
#include "switch/switch.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::bench {
namespace {

namespace e1000 = device::e1000;

constexpr std::uint32_t kBurst = 32;
constexpr std::uint64_t kFrames = 300'000;  // a sample
constexpr std::size_t kCards = 4;           // the first sends to the second, the third to the fourth
constexpr std::size_t kSize = 64;           // bytes of a frame
constexpr std::size_t kRules = 1000, kMasks = 40;

MacAddress mac_of(std::size_t card) { return {0x02, 0, 0, 0, 0, static_cast<std::uint8_t>(0x0a + card)}; }

/// UDP over IPv4, from 192.168.0.0 on.
std::array<std::byte, kSize> frame_of(std::size_t to, std::size_t from) {
  constexpr std::array<std::uint8_t, kSize> kFrame{0,    0, 0,  0,  0, 0, 0,    0, 0,    0,  0, 0, 0x08, 0x00,
                                                   0x45, 0, 0,  50, 0, 0, 0,    0, 64,   17, 0, 0, 192,  168,
                                                   0,    0, 10, 0,  0, 2, 0x10, 0, 0x20, 0,  0, 30};
  std::array<std::byte, kSize> frame;
  std::memcpy(frame.data(), kFrame.data(), kSize);
  std::memcpy(frame.data(), mac_of(to).data(), 6);
  std::memcpy(frame.data() + 6, mac_of(from).data(), 6);
  return frame;
}

/// As many as are promised, over as many masks; none is about what is sent.
std::vector<switching::Rule> many_rules() {
  std::vector<switching::Rule> rules;
  for (std::size_t i = 0; i < kRules; ++i) {
    switching::Rule& rule = rules.emplace_back();
    const std::size_t mask = i % kMasks, value = i / kMasks;
    rule.name = "r" + std::to_string(i);
    rule.priority = static_cast<std::uint32_t>(mask);
    rule.verdict = switching::RuleVerdict::drop;
    packet::FlowFields& is = rule.match.value;
    packet::FlowFields& of = rule.match.mask;
    of.source_ip = {0xff, static_cast<std::uint8_t>(0xff << mask % 8), 0xff};
    is.source_ip = {10, 0, static_cast<std::uint8_t>(value)};
    of.ip_version = is.ip_version = 4;
    if (mask / 8 % 2 == 1) of.destination_ip = is.destination_ip = {0xff, 0xff};
    if (mask / 16 == 1) of.protocol = is.protocol = 0xff;
    if (mask / 16 == 2)
      rule.match.destination_port =
          switching::L4Ports{static_cast<std::uint16_t>(value), static_cast<std::uint16_t>(value)};
  }
  return rules;
}

std::uint64_t cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

/// Cards on one switch on one poller, which this thread drives.
struct Lab {
  std::unique_ptr<runtime::Poller> poller;
  std::array<std::unique_ptr<e1000::Nic>, kCards> nics;
  std::unique_ptr<switching::Switch> middle;
  std::array<std::unique_ptr<E1000Driver>, kCards> drivers;
  std::array<std::uint64_t, kCards> sent{};  // and so the number of the next flow
  ~Lab() { middle.reset(); }

  static Result<std::unique_ptr<Lab>> create(bool has_rules);
  /// Of a card: so many frames, of flows that begin anew after `flows`.
  void send(std::size_t card, std::uint64_t flows) noexcept;
};

Result<std::unique_ptr<Lab>> Lab::create(bool has_rules) {
  auto lab = std::make_unique<Lab>();
  auto poller = runtime::Poller::create();
  if (!poller) return tl::unexpected(poller.error());
  lab->poller = std::move(*poller);
  auto middle = switching::Switch::create("bench");
  if (!middle) return tl::unexpected(middle.error());
  lab->middle = std::move(*middle);
  for (std::size_t i = 0; i < kCards; ++i) {
    const std::string name = std::to_string(i);
    auto made = e1000::Nic::create({.name = name, .mac = mac_of(i)}, *lab->poller);
    if (!made) return tl::unexpected(made.error());
    lab->nics[i] = std::move(*made);
    auto driven = E1000Driver::create(lab->nics[i]->function());
    if (!driven) return tl::unexpected(driven.error());
    lab->drivers[i] = std::move(*driven);
    auto id = lab->middle->attach(lab->nics[i]->port(), *lab->poller, {.name = name});
    if (!id) return tl::unexpected(id.error());
    lab->drivers[i]->load(frame_of(i ^ 1u, i));
  }
  for (const auto& driver : lab->drivers) {  // all stations are known, or what is sent would be flooded
    driver->send(1);
    lab->poller->run_once();
  }
  for (const auto& driver : lab->drivers)
    driver->receive();
  if (has_rules) {
    if (auto set = lab->middle->set_rules(many_rules()); !set) return tl::unexpected(set.error());
  }
  return lab;
}

void Lab::send(std::size_t card, std::uint64_t flows) noexcept {
  E1000Driver& driver = *drivers[card];
  const std::uint32_t next = driver.tx_tail();
  for (std::uint32_t i = 0; i < kBurst; ++i) {
    const std::uint64_t flow = (sent[card] + i) % flows;
    std::byte* const at = driver.host(driver.tx(next + i).buffer);
    const std::array<std::byte, 4> bytes{static_cast<std::byte>(flow >> 8), static_cast<std::byte>(flow),
                                         static_cast<std::byte>(flow >> 16), static_cast<std::byte>(flow >> 24)};
    std::memcpy(at + 27, bytes.data(), 2);      // of the source address that rules look at,
    std::memcpy(at + 36, bytes.data() + 2, 2);  // and of the port
  }
  sent[card] += driver.send(kBurst);
}

/// CPU time per frame that the last card got; 0 when they do not arrive. `flows` of each card that sends; 0: it does
/// not.
double measure(Lab& lab, std::uint64_t flows_of_first, std::uint64_t flows_of_third) {
  const std::size_t counted = flows_of_third == 0 ? 1 : 3;
  std::uint64_t received = 0;
  unsigned fruitless = 0;
  std::uint64_t start = 0;
  for (std::uint64_t warm = kFrames / 10; received < kFrames + warm && fruitless < 1000;) {
    if (start == 0 && received >= warm) start = cpu_ns();
    lab.send(0, flows_of_first);
    if (flows_of_third != 0) lab.send(2, flows_of_third);
    lab.poller->run_once();
    lab.drivers[counted == 1 ? 3 : 1]->receive();
    const std::uint32_t got = lab.drivers[counted]->receive();
    received += got;
    fruitless = got == 0 ? fruitless + 1 : 0;
  }
  return fruitless == 1000 ? 0 : static_cast<double>(cpu_ns() - start) / static_cast<double>(kFrames);
}

constexpr std::uint64_t kAlwaysNew = 1ull << 32;

struct Case {
  const char* name;
  std::uint64_t flows, flows_of_other;
  bool is_against_one_flow;  // the reference has rules too, and the first card one flow
  const char* goal;
};
constexpr auto kCases = std::to_array<Case>({
    {"1 flow", 1, 0, false, "<= 1.10"},
    {"10000 flows", 10'000, 0, false, "<= 1.10"},
    {"all miss", kAlwaysNew, 0, false, "-"},
    {"others beside all miss", kAlwaysNew, 1, true, "<= 1.10"},
});

Result<double> sample(const Case& row, bool is_reference) {
  auto lab = Lab::create(!is_reference || row.is_against_one_flow);
  if (!lab) return tl::unexpected(lab.error());
  const double cost = measure(**lab, is_reference && row.is_against_one_flow ? 1 : row.flows, row.flows_of_other);
  if (cost == 0) return fail(Errc::system, "frames were lost between the cards");
  return cost;
}

}  // namespace

Result<Report> run_rules(const Options& options) {
  Report report{
      .benchmark = "rules",
      .ours =
          "frames of 64 bytes between e1000 cards on a switch of 1000 rules with 40 masks, none of which "
          "matches; CPU time of drivers, models and switch",
      .reference = "the same without rules; for others: the same with rules, and one flow of who sends beside them"};
  for (const Case& row : kCases) {
    Row cost{.name = row.name, .bytes = kSize, .direction = "-", .unit = "ns/frame", .goal = row.goal};
    for (unsigned round = 0; round < options.rounds; ++round) {
      options.progress(row.name, round);
      for (const bool is_reference : {true, false}) {
        const auto one = sample(row, is_reference);
        if (!one) return tl::unexpected(one.error());
        (is_reference ? cost.reference : cost.ours).push_back(*one);
      }
    }
    report.rows.push_back(std::move(cost));
  }
  return report;
}

}  // namespace vmux::bench
