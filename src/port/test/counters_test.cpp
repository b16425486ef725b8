// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "port/port.hpp"

namespace vmux::port {
namespace {

TEST(PortCounters, EachRowOfTheTableIsACounterOfItsOwn) {
  PortCounters counters;
  std::set<const Counter*> seen;
  std::set<std::string> names;
  for (const CounterRow& row : kPortCounters) {
    EXPECT_TRUE(seen.insert(&row.of(counters)).second) << row.name;
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
  }
  EXPECT_EQ(seen.size() * sizeof(Counter), sizeof counters);  // none is left out
}

TEST(PortCounters, ADropReasonIsCountedUnderItsName) {
  PortCounters counters;
  for (const DropReasonRow& row : kDropReasons)
    counters.drops(row.reason).add(1 + index_of(row.reason));
  for (const CounterRow& row : kPortCounters) {
    if (row.member != nullptr) continue;
    EXPECT_EQ(row.of(counters).get(), 1 + index_of(row.why)) << row.name;
    EXPECT_EQ(row.name, std::string{"drop_"} + kDropReasons[index_of(row.why)].name);
  }
}

TEST(PortCounters, AreDocumented) {
  std::ostringstream table;
  table << "| counter | unit | what |\n|---|---|---|\n";
  for (const CounterRow& row : kPortCounters)
    table << "| `" << row.name << "` | " << row.unit << " | " << row.help << " |\n";
  std::ifstream file{VMUX_DOCS "/rpc.md"};
  const std::string text{std::istreambuf_iterator<char>{file}, {}};
  EXPECT_NE(text.find(table.str()), std::string::npos) << "docs/rpc.md should have:\n" << table.str();
}

TEST(PortDelivery, CountsWhatIsLostByItsReason) {
  Delivery done{.taken = 5};
  done.lose(DropReason::no_room, 60);
  done.lose(DropReason::malformed, 100);
  done.lose(DropReason::no_room, 61);
  EXPECT_EQ(done.lost, 3u);
  EXPECT_EQ(done.lost_bytes, 221u);
  EXPECT_EQ(done.why[index_of(DropReason::no_room)], 2u);
  EXPECT_EQ(done.why[index_of(DropReason::malformed)], 1u);
}

}  // namespace
}  // namespace vmux::port
