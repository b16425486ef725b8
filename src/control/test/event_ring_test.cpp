// SPDX-License-Identifier: BSD-3-Clause
#include "control/live/event_ring.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace vmux::control {
namespace {

std::vector<std::uint64_t> numbers_of(const EventRing::Slice& slice) {
  std::vector<std::uint64_t> numbers;
  for (const Event& event : slice.events)
    numbers.push_back(event.number);
  return numbers;
}

void write(EventRing& ring, std::uint64_t number) { ring.write(EventType::fault, "port", "vm0", number); }

TEST(EventRing, KeepsWhatHappenedInItsOrder) {
  EventRing ring;
  EXPECT_FALSE(ring.has_behind(0));
  ring.write(EventType::attached, "port", "a-name-of-32-letters-as-long-as-1", 7);
  ring.write(EventType::removed, "uplink", "up0");
  const auto slice = ring.read(0, 10);
  ASSERT_EQ(slice.events.size(), 2u);
  EXPECT_EQ(slice.next, 2u);
  EXPECT_EQ(slice.lost, 0u);
  EXPECT_EQ(slice.events[0].sequence, 1u);
  EXPECT_STREQ(slice.events[0].name.data(), "a-name-of-32-letters-as-long-as-1");
  EXPECT_EQ(slice.events[0].number, 7u);
  EXPECT_GE(slice.events[1].time_ns, slice.events[0].time_ns);
  EXPECT_STREQ(text_of(slice.events[1].type).name, "removed");
  EXPECT_STREQ(slice.events[1].kind, "uplink");
}

TEST(EventRing, TellsWhatIsBehindANumberAndHowToGoOn) {
  EventRing ring;
  for (std::uint64_t i = 1; i <= 5; ++i)
    write(ring, i);
  EXPECT_THAT(numbers_of(ring.read(2, 2)), testing::ElementsAre(3, 4));
  EXPECT_EQ(ring.read(2, 2).next, 4u);
  EXPECT_THAT(numbers_of(ring.read(4, 2)), testing::ElementsAre(5));
  EXPECT_TRUE(ring.read(5, 2).events.empty());
  EXPECT_EQ(ring.read(5, 2).next, 5u);
  EXPECT_TRUE(ring.has_behind(4));
  EXPECT_FALSE(ring.has_behind(5));
}

TEST(EventRing, TakesANumberThatWasNotYetForOneOfAnEarlierProcess) {
  EventRing ring;
  EXPECT_EQ(ring.read(99, 10).next, 0u);
  write(ring, 1);
  EXPECT_TRUE(ring.has_behind(99));
  EXPECT_THAT(numbers_of(ring.read(99, 10)), testing::ElementsAre(1));
  EXPECT_EQ(ring.read(99, 10).lost, 0u);
}

TEST(EventRing, OverwritesTheOldestAndCountsThem) {
  EventRing ring;
  for (std::uint64_t i = 1; i <= EventRing::kCapacity + 3; ++i)
    write(ring, i);
  const auto all = ring.read(0, 2 * EventRing::kCapacity);
  EXPECT_EQ(all.events.size(), EventRing::kCapacity);
  EXPECT_EQ(all.lost, 3u);
  EXPECT_EQ(all.events.front().number, 4u);
  EXPECT_EQ(ring.read(2, 1).lost, 1u);
  EXPECT_EQ(ring.read(3, 1).lost, 0u);
}

// Two writers and a reader who follows: it sees each event once, whole and in its order, or hears that it was lost.
TEST(EventRing, IsReadWhileOthersWrite) {
  constexpr std::uint64_t kEach = 20'000;
  EventRing ring;
  const auto write_all = [&ring](const char* name) {
    for (std::uint64_t i = 1; i <= kEach; ++i)
      ring.write(EventType::fault, "port", name, i);
  };
  std::thread one{write_all, "one"}, other{write_all, "other"};
  std::uint64_t since = 0, seen = 0, lost = 0, last_one = 0, last_other = 0;
  bool is_in_order = true;
  while (seen + lost < 2 * kEach) {
    const auto slice = ring.read(since, 64);
    for (const Event& event : slice.events) {
      std::uint64_t& last = std::string_view{event.name.data()} == "one" ? last_one : last_other;
      is_in_order = is_in_order && event.number > last && event.sequence > since;
      last = event.number;
    }
    seen += slice.events.size();
    lost += slice.lost;
    since = slice.next;
  }
  one.join();
  other.join();
  EXPECT_TRUE(is_in_order);
  EXPECT_EQ(seen + lost, 2 * kEach);
  EXPECT_EQ(since, 2 * kEach);
}

}  // namespace
}  // namespace vmux::control
