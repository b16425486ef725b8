// SPDX-License-Identifier: BSD-3-Clause
#include "memory/table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
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

std::shared_ptr<const Table> ascending(std::uint64_t count) {
  std::shared_ptr<const Table> table = std::make_shared<Table>();
  for (std::uint64_t i = 0; i < count; ++i)
    table = table->with(window(i * 0x2000, 0x1000));
  return table;
}

TEST(Table, FindsTheLastWindowOfAllFromTheLastAddress) {
  const auto table = ascending(1000)->with(window(~0xfffull, 0x1000));
  ASSERT_NE(table->find(~0ull), nullptr);
  EXPECT_EQ(table->find(~0ull)->start, ~0xfffull);
}

TEST(Table, GrowsInEitherDirectionWithoutGrowingDeep) {
  std::shared_ptr<const Table> descending = std::make_shared<Table>();
  for (std::uint64_t i = 50'000; i-- > 0;)
    descending = descending->with(window(i * 0x2000, 0x1000));
  EXPECT_EQ(ascending(32ull * 32 * 32)->depth(), 3u);  // 32 in a leaf, 32 leaves in a node, ...: all full
  EXPECT_EQ(descending->depth(), 4u);
}

// A window in a node that was copied has its owner counted twice. (Nodes above it are as narrow, and depth() of them.)
TEST(Table, CopiesOneLeafForAChange) {
  std::shared_ptr<const Table> table = std::make_shared<Table>();
  for (std::uint64_t i = 0; i < 50'000; ++i) {
    Table::Entry entry = window(i * 0x2000, 0x1000);
    entry.owner = std::make_shared<RangeOwner>();
    table = table->with(std::move(entry));
  }
  std::vector<Table::Entry> removed;
  const auto more = table->with(window(25'000ull * 0x2000 + 0x1000, 0x1000));
  const auto less = table->without(40'000ull * 0x2000, 40'000ull * 0x2000, removed);
  std::size_t copied = 0;
  table->for_each([&copied](const Table::Entry& entry) { copied += entry.owner.use_count() > 1; });
  EXPECT_GE(copied, 2u);
  EXPECT_LE(copied, 64u);
}

TEST(Table, BecomesShallowAgainWhenMostIsRemoved) {
  auto table = ascending(20'000);
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    if (i % 1000 == 0) continue;
    std::vector<Table::Entry> removed;
    table = table->without(i * 0x2000, i * 0x2000, removed);
    ASSERT_EQ(removed.size(), 1u);
  }
  EXPECT_EQ(table->size(), 20u);
  EXPECT_LE(table->depth(), 2u);
  EXPECT_NE(table->find(19'000ull * 0x2000), nullptr);
}

TEST(Table, RemovesARangeAcrossManyNodesInAddressOrder) {
  std::vector<Table::Entry> removed;
  const auto table = ascending(10'000)->without(100ull * 0x2000, 9899ull * 0x2000 + 0x1fff, removed);
  EXPECT_EQ(table->size(), 200u);
  ASSERT_EQ(removed.size(), 9800u);
  EXPECT_TRUE(std::is_sorted(removed.begin(), removed.end(),
                             [](const auto& a, const auto& b) { return a.window.start < b.window.start; }));
  EXPECT_NE(table->find(99ull * 0x2000), nullptr);
  EXPECT_EQ(table->find(100ull * 0x2000), nullptr);
  EXPECT_EQ(table->find(9899ull * 0x2000), nullptr);
  EXPECT_NE(table->find(9900ull * 0x2000), nullptr);
}

TEST(Table, IsEmptyAfterEverythingIsRemoved) {
  std::vector<Table::Entry> removed;
  const auto table = ascending(5000)->without(0, ~0ull, removed);
  EXPECT_EQ(table->size(), 0u);
  EXPECT_EQ(table->depth(), 0u);
  EXPECT_EQ(table->find(0), nullptr);
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
