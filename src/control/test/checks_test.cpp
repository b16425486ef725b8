// SPDX-License-Identifier: BSD-3-Clause
// Each condition that the doctor knows: what is found where it holds, that nothing is where all is well, and that the
// page for people has it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "base/text/format.hpp"
#include "control/look/checks.hpp"
#include "rigs/document.hpp"

namespace vmux::control {
namespace {

constexpr std::uint64_t kGiB = 1ull << 30;

/// A port with a VM, an uplink and a poller that all do what they should; vhost-user's and a function's facts are
/// there, too, though no port has all of them.
Facts healthy() {
  Facts facts;
  facts.seconds = 1;
  facts.descriptors = 50;
  facts.most_descriptors = 1024;
  PortFacts port;
  port.spec.name = "vm0";
  port.spec.socket = "/run/vm0.sock";
  port.spec.transport = "vfio-user";
  port.spec.switch_name = "default";
  port.spec.doorbell = Doorbell::poll;
  port.default_doorbell = Doorbell::poll;
  port.queues = 2;
  port.is_connected = port.is_ready = true;
  port.client = 4711;
  port.pollers = {0};
  port.counters.before = {{"rx_frames", 100},   {"tx_frames", 100},   {"drop_no_room", 3},  {"rx_held", 7},
                          {"drop_limited", 1},  {"drop_spoofed", 1},  {"drop_rule", 1},     {"drop_storm", 1},
                          {"drop_isolated", 1}, {"drop_too_long", 1}, {"drop_filtered", 1}, {"drop_ring_full", 1},
                          {"tx_cut", 5}};
  port.counters.now = port.counters.before;
  port.counters.now["rx_frames"] = port.counters.now["tx_frames"] = 1100;
  port.model.before =
      port.model.now = {{"unanswered", 3}, {"errors", 0}, {"dma.pages_waiting", 0}, {"dma.pages_stuck", 0}};
  port.transport.before = port.transport.now = {{"requests", 1000}, {"errors", 2}, {"rings", 4}, {"strangers", 0}};
  port.config = ConfigFacts{false, true, true, 0};
  port.memory.mapped = kGiB;
  port.memory.by_message = 1 << 20;
  port.memory.node = 0;
  port.function = FunctionFacts{"0000:01:00.0", {}, 0};
  facts.ports = {port};
  UplinkFacts uplink;
  uplink.spec.name = "up0";
  uplink.spec.backend = "dpdk";
  uplink.spec.device = "net0";
  uplink.is_ready = true;
  uplink.pollers = {0};
  uplink.counters = port.counters;
  facts.uplinks = {uplink};
  PollerFacts poller;
  poller.cpu = 2;
  poller.node = 0;
  poller.before.rounds = 1000;
  poller.now.rounds = 2000;
  poller.now.busy_rounds = 500;
  facts.pollers = {poller};
  return facts;
}

/// How each condition comes about.
using Spoil = std::function<void(Facts&)>;
const std::map<std::string, Spoil>& spoilt() {
  const auto port = [](auto change) -> Spoil { return [change](Facts& facts) { change(facts.ports.front()); }; };
  const auto uplink = [](auto change) -> Spoil { return [change](Facts& facts) { change(facts.uplinks.front()); }; };
  const auto counter = [&port](const char* name) { return port([name](PortFacts& p) { p.counters.now[name] += 20; }); };
  static const std::map<std::string, Spoil> kAll{
      {"no_client", port([](PortFacts& p) { p.is_connected = p.is_ready = false; })},
      {"wrong_protocol", port([](PortFacts& p) {
         p.is_ready = false;
         p.spec.link = Link::up;
         p.config->is_bus_master = true;
         p.transport.now["strangers"] = 1;
       })},
      {"few_rings", port([](PortFacts& p) { p.transport.now["rings"] = 2; })},
      {"requests_refused", port([](PortFacts& p) { p.transport.now["errors"] += 1; })},
      {"reads_all_ones", port([](PortFacts& p) {
         p.config = ConfigFacts{true, false, false, 0};
       })},
      {"reads_unanswered", port([](PortFacts& p) { p.model.now["unanswered"] += 1; })},
      {"device_errors", port([](PortFacts& p) { p.model.now["errors"] = 1; })},
      {"power_saving", port([](PortFacts& p) { p.config->power_state = 3; })},
      {"bus_master_off", port([](PortFacts& p) { p.config->is_bus_master = false; })},
      {"group_mates", port([](PortFacts& p) { p.function->group_mates = {"0000:01:00.1"}; })},
      {"pages_waiting", port([](PortFacts& p) { p.model.now["dma.pages_waiting"] = 512; })},
      {"pages_stuck", port([](PortFacts& p) { p.model.now["dma.pages_stuck"] = 1; })},
      {"link_down", port([](PortFacts& p) {
         p.spec.link = Link::down;
         p.is_ready = false;
       })},
      {"driver_down", port([](PortFacts& p) { p.is_ready = false; })},
      {"queue_stopped", port([](PortFacts& p) { p.faults = 1; })},
      {"ring_empty", port([](PortFacts& p) {
         p.counters.now["drop_no_room"] += 20;
         p.counters.now["tx_frames"] = p.counters.before["tx_frames"];
       })},
      {"slow_refill", counter("drop_no_room")},
      {"memory_private", port([](PortFacts& p) { p.memory.private_bytes = kGiB; })},
      {"memory_by_message", port([](PortFacts& p) { p.memory.by_message = 2 * kGiB; })},
      {"small_pages", port([](PortFacts& p) { p.memory.small_pages = kGiB; })},
      {"wrong_node", port([](PortFacts& p) { p.memory.node = 1; })},
      {"limited_in", counter("rx_held")},
      {"limited_out", counter("drop_limited")},
      {"spoofed", counter("drop_spoofed")},
      {"ruled_out", counter("drop_rule")},
      {"storm", counter("drop_storm")},
      {"isolated", counter("drop_isolated")},
      {"too_long", counter("drop_too_long")},
      {"filtered", port([](PortFacts& p) { p.counters.now["drop_filtered"] += 900; })},
      {"doorbell_trapped", port([](PortFacts& p) { p.spec.doorbell = Doorbell::trap; })},
      {"many_messages", port([](PortFacts& p) { p.transport.now["requests"] += 10'000; })},
      {"cut_in_software", counter("tx_cut")},
      {"ring_full", counter("drop_ring_full")},
      {"uplink_down", uplink([](UplinkFacts& u) { u.is_ready = false; })},
      {"uplink_slow", uplink([](UplinkFacts& u) { u.counters.now["drop_no_room"] += 1; })},
      {"uplink_limited", uplink([](UplinkFacts& u) { u.counters.now["drop_limited"] += 1; })},
      {"uplink_cut_in_software", uplink([](UplinkFacts& u) { u.counters.now["tx_cut"] += 1; })},
      {"no_hugepages", [](Facts& facts) { facts.has_hugepages = false; }},
      {"poller_saturated", [](Facts& facts) { facts.pollers.front().now.busy_rounds = 1000; }},
      {"few_descriptors", [](Facts& facts) { facts.descriptors = 1000; }},
  };
  return kAll;
}

std::vector<std::string> names_of(const std::vector<Finding>& findings) {
  std::vector<std::string> names;
  for (const Finding& each : findings)
    names.emplace_back(each.check->name);
  return names;
}

TEST(Checks, FindNothingWhereAllIsWell) { EXPECT_THAT(names_of(examine(healthy())), testing::IsEmpty()); }

TEST(Checks, AreEachTriedBelow) {
  std::vector<std::string> names, tried;
  for (const Check& check : checks())
    names.emplace_back(check.text.name);
  for (const auto& [name, spoil] : spoilt())
    tried.push_back(name);
  EXPECT_THAT(names, testing::UnorderedElementsAreArray(tried));
}

class EveryCheck : public testing::TestWithParam<const char*> {};

TEST_P(EveryCheck, IsFoundWhereItHoldsAndNothingElseIs) {
  Facts facts = healthy();
  spoilt().at(GetParam())(facts);
  const auto findings = examine(facts);
  auto names = names_of(findings);
  if (GetParam() == std::string_view{"wrong_protocol"}) std::erase(names, "driver_down");  // it is not up either
  EXPECT_THAT(names, testing::ElementsAre(GetParam()));
  for (const Finding& each : findings) {
    EXPECT_THAT(each.text, testing::Not(testing::IsEmpty()));
    EXPECT_THAT(each.advice, testing::Not(testing::HasSubstr("NAME")));
    EXPECT_NE(each.text.back(), '.');
  }
}
INSTANTIATE_TEST_SUITE_P(All, EveryCheck, testing::ValuesIn([] {
                           std::vector<const char*> names;
                           for (const Check& check : checks())
                             names.push_back(check.text.name);
                           return names;
                         }()),
                         [](const auto& one) { return std::string{one.param}; });

TEST(Checks, HaveTheWorstFirst) {
  Facts facts = healthy();
  facts.ports.front().spec.doorbell = Doorbell::trap;
  facts.ports.front().memory.private_bytes = kGiB;
  facts.ports.front().faults = 1;
  EXPECT_THAT(names_of(examine(facts)), testing::ElementsAre("memory_private", "queue_stopped", "doorbell_trapped"));
}

TEST(Checks, OfWhatGoesOnNeedTwoLooks) {
  Facts facts = healthy();
  facts.seconds = 0;
  facts.ports.front().counters.before.clear();
  facts.ports.front().transport.before.clear();
  facts.ports.front().transport.now["requests"] = 1'000'000;
  facts.pollers.front().before = facts.pollers.front().now;
  EXPECT_THAT(names_of(examine(facts)), testing::IsEmpty());
}

TEST(Checks, HoldAStrangerOfLongAgoAgainstNobodyWhoIsThereNow) {
  Facts facts = healthy();
  PortFacts& port = facts.ports.front();
  port.is_ready = false;
  port.transport.before["strangers"] = port.transport.now["strangers"] = 1;
  EXPECT_THAT(names_of(examine(facts)), testing::Not(testing::Contains("wrong_protocol")));
  port.is_connected = false;
  EXPECT_THAT(names_of(examine(facts)), testing::Contains("wrong_protocol"));
}

TEST(Checks, BlameADriverThatIsNotUpOnTheFunctionWhereThatSaysWhy) {
  Facts facts = healthy();
  facts.ports.front().is_ready = false;
  facts.ports.front().config->power_state = 3;
  facts.ports.front().config->is_bus_master = false;
  EXPECT_THAT(names_of(examine(facts)), testing::ElementsAre("power_saving"));
}

TEST(Reference, HasEveryCheckOfTheDoctor) {
  std::string text = "| finding | | when | what to do |\n|---|---|---|---|\n";
  for (const Check& check : checks())
    text += fmt::format("| `{}` | {} | {} | {} |\n", check.text.name, to_text(check.text.severity),
                        check.text.condition, check.text.advice);
  test::expect_section("docs/troubleshooting.md", "checks", text);
}

}  // namespace
}  // namespace vmux::control
