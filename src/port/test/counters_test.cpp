// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <span>
#include <sstream>
#include <string>

#include "port/port.hpp"

namespace vmux::port {
namespace {

TEST(PortCounters, EachRowOfTheTableIsACounterOfItsOwn) {
  PortCounters counters;
  std::uint64_t next = 1;
  for (Counter* const counter : {&counters.rx_frames, &counters.rx_bytes, &counters.tx_frames, &counters.tx_bytes,
                                 &counters.held, &counters.cut, &counters.mirrored})
    counter->add(next++);
  for (const DropReasonRow& row : kDropReasons)
    counters.drops(row.reason).add(next++);
  std::set<std::uint64_t> seen;
  std::set<std::string> names;
  for (const auto& row : kPortCounters) {
    EXPECT_TRUE(seen.insert(row.get(counters)).second) << row.text.name;
    EXPECT_TRUE(names.insert(row.text.name).second) << row.text.name;
  }
  EXPECT_EQ(seen.count(0), 0u);
  EXPECT_EQ(seen.size() * sizeof(Counter), sizeof counters);  // none is left out
}

TEST(PortCounters, ADropReasonIsCountedUnderItsName) {
  PortCounters counters;
  for (const DropReasonRow& row : kDropReasons)
    counters.drops(row.reason).add(1 + index_of(row.reason));
  const auto rows = std::span{kPortCounters}.last(kDropReasons.size());
  for (const DropReasonRow& reason : kDropReasons) {
    const auto& row = rows[index_of(reason.reason)];
    EXPECT_EQ(row.get(counters), 1 + index_of(reason.reason)) << row.text.name;
    EXPECT_EQ(row.text.name, std::string{"drop_"} + reason.name);
  }
}

TEST(PortCounters, AreDocumented) {
  std::ostringstream table;
  table << "| counter | unit | what |\n|---|---|---|\n";
  for (const auto& row : kPortCounters)
    table << "| `" << row.text.name << "` | " << row.text.unit << " | " << row.text.help << " |\n";
  std::ifstream file{VMUX_DOCS "/rpc.md"};
  const std::string text{std::istreambuf_iterator<char>{file}, {}};
  EXPECT_NE(text.find(table.str()), std::string::npos) << "docs/rpc.md should have:\n" << table.str();
}

/// Drops that an operator has asked for, or that are for VMs that are not up: nobody is to be called for them.
constexpr bool is_wanted(DropReason reason) {
  switch (reason) {
    case DropReason::filtered:
    case DropReason::isolated:
    case DropReason::limited:
    case DropReason::not_ready:
    case DropReason::rule:
    case DropReason::storm:
      return true;
    case DropReason::none:
    case DropReason::no_room:
    case DropReason::too_long:
    case DropReason::malformed:
    case DropReason::ring_full:
    case DropReason::mirror_ingress:
    case DropReason::mirror_full:
    case DropReason::spoofed:
      return false;
  }
  return false;
}

TEST(PortCounters, OfDropsThatAreWantedRaiseNoAlert) {
  std::set<std::string> wanted;
  for (const DropReasonRow& row : kDropReasons) {
    if (is_wanted(row.reason)) wanted.insert(row.name);
  }
  std::string expected;
  for (const std::string& name : wanted)
    expected += (expected.empty() ? "" : "|") + name;
  std::ifstream file{VMUX_DOCS "/../dist/prometheus/alerts.yml"};
  const std::string text{std::istreambuf_iterator<char>{file}, {}};
  EXPECT_NE(text.find("vmux_port_drops_total{reason!~\"" + expected + "\"}"), std::string::npos) << expected;
}

TEST(PortDelivery, CountsWhatIsLostByItsReason) {
  Delivery done{.taken = 5};
  done.lose(DropReason::no_room, 60, 0);
  done.lose(DropReason::malformed, 100, 3);
  done.lose(DropReason::no_room, 61, 4);
  EXPECT_EQ(done.lost, 3u);
  EXPECT_EQ(done.lost_bytes, 221u);
  EXPECT_EQ(done.why[index_of(DropReason::no_room)], 2u);
  EXPECT_EQ(done.why[index_of(DropReason::malformed)], 1u);
  EXPECT_EQ(done.reasons[3], DropReason::malformed);
  EXPECT_EQ(done.reasons[2], DropReason::none);
}

}  // namespace
}  // namespace vmux::port
