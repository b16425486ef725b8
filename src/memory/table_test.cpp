// SPDX-License-Identifier: BSD-3-Clause
#include "memory/table.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace vmux::memory {
namespace {

Table::Entry window(std::uint64_t start, std::uint64_t size) {
  return {{start, size, nullptr, nullptr, Access::read}, nullptr};
}

TEST(Table, FindsNothingWhenEmpty) {
  const Table table;
  EXPECT_EQ(table.find(0), nullptr);
  EXPECT_EQ(table.at_or_below(~0ull), nullptr);
}

TEST(Table, FindsFirstAndLastByteOfAWindowOnly) {
  const auto table = Table{}.with(window(0x1000, 0x1000));
  EXPECT_EQ(table->find(0xfff), nullptr);
  ASSERT_NE(table->find(0x1000), nullptr);
  ASSERT_NE(table->find(0x1fff), nullptr);
  EXPECT_EQ(table->find(0x2000), nullptr);
}

TEST(Table, OldTablesStayAsTheyWere) {
  const auto before = Table{}.with(window(0x1000, 0x1000));
  const auto after = before->with(window(0x3000, 0x1000));
  std::vector<Table::Entry> removed;
  const auto last = after->without(0x1000, 0x1000, removed);
  EXPECT_EQ(before->size(), 1u);
  EXPECT_EQ(after->size(), 2u);
  EXPECT_EQ(last->size(), 1u);
  EXPECT_NE(after->find(0x1000), nullptr);
  EXPECT_EQ(last->find(0x1000), nullptr);
  EXPECT_EQ(removed.size(), 1u);
}

// The same random changes to a table and to a std::map: they agree at every step.
TEST(Table, AgreesWithAMapUnderRandomChanges) {
  std::mt19937_64 random{1};
  std::map<std::uint64_t, std::uint64_t> model;
  std::shared_ptr<const Table> table = std::make_shared<Table>();
  for (int step = 0; step < 20000; ++step) {
    const std::uint64_t start = random() % 3000 * 0x1000;
    if (random() % 3 != 0) {
      if (model.emplace(start, 0x1000).second) table = table->with(window(start, 0x1000));
    } else {
      const std::uint64_t last = start + random() % 8 * 0x1000;
      std::vector<Table::Entry> removed;
      table = table->without(start, last, removed);
      const auto from = model.lower_bound(start), to = model.upper_bound(last);
      ASSERT_EQ(removed.size(), static_cast<std::size_t>(std::distance(from, to)));
      model.erase(from, to);
    }
    ASSERT_EQ(table->size(), model.size());
    const std::uint64_t probe = random() % 3000 * 0x1000 + random() % 0x1000;
    ASSERT_EQ(table->find(probe) != nullptr, model.count(probe & ~0xfffull) == 1) << "step " << step;
  }
  auto expected = model.begin();
  table->for_each([&](const Table::Entry& entry) { ASSERT_EQ(entry.window.start, (expected++)->first); });
}

}  // namespace
}  // namespace vmux::memory
