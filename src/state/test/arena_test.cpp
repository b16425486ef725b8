// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/state/arena.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmux/state/control_slots.hpp"

namespace vmux::state {
namespace {

struct Cursor {
  std::uint16_t head = 0;
  std::uint32_t pending = 0;
};

struct Pair {
  Arena arena = Arena::create(1024).value();
  Cursor& first = arena.place<Cursor>(1);
  Cursor& second = arena.place<Cursor>(2);
};

UniqueFd copy_of(int fd) { return UniqueFd{::fcntl(fd, F_DUPFD_CLOEXEC, 0)}; }

TEST(StateArena, GivesItsValuesToTheNextAtTheAddressesThatHeHas) {
  Pair before, after;
  before.first = {7, 0};
  before.second = {0, 9};
  ASSERT_TRUE(after.arena.take_over(copy_of(before.arena.fd())));
  EXPECT_EQ(after.first.head, 7);
  EXPECT_EQ(after.second.pending, 9u);
  before.first.head = 8;  // one memory
  EXPECT_EQ(after.first.head, 8);
}

TEST(StateArena, HasEachValueOnLinesOfItsOwn) {
  Pair pair;
  const auto distance = reinterpret_cast<std::byte*>(&pair.second) - reinterpret_cast<std::byte*>(&pair.first);
  EXPECT_EQ(distance % 64, 0);
  EXPECT_NE(distance, 0);
}

TEST(StateArena, RefusesAnotherKindAndWhatCanBeCut) {
  Pair pair;
  pair.first.head = 5;
  Arena other = Arena::create(1024).value();
  static_cast<void>(other.place<Cursor>(1));
  EXPECT_FALSE(pair.arena.take_over(copy_of(other.fd())));  // one value less
  static_cast<void>(other.place<Cursor>(3));
  EXPECT_FALSE(pair.arena.take_over(copy_of(other.fd())));  // another value
  Arena larger = Arena::create(64 << 10).value();
  EXPECT_FALSE(pair.arena.take_over(copy_of(larger.fd())));
  UniqueFd open{::memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  ASSERT_EQ(::ftruncate(open.get(), 1 << 16), 0);
  EXPECT_FALSE(pair.arena.take_over(std::move(open)));
  EXPECT_EQ(pair.first.head, 5);
}

std::vector<std::byte> image(std::size_t size, unsigned value) {
  return std::vector<std::byte>(size, std::byte(value));
}

TEST(StateSlots, GiveTheNewestImage) {
  auto slots = ControlSlots::create(100).value();
  EXPECT_FALSE(slots.newest());
  for (unsigned i = 1; i < 6; ++i) {
    ASSERT_TRUE(slots.write(image(10 + i, i)));
    EXPECT_EQ(slots.newest().value(), image(10 + i, i));
  }
}

TEST(StateSlots, GoOnBehindTheNewestInTheNextProcess) {
  auto slots = ControlSlots::create(100).value();
  for (unsigned i = 1; i < 4; ++i)
    ASSERT_TRUE(slots.write(image(10, i)));
  auto next = ControlSlots::adopt(copy_of(slots.fd())).value();
  EXPECT_EQ(next.newest().value(), image(10, 3));
  ASSERT_TRUE(next.write(image(20, 4)));
  EXPECT_EQ(next.newest().value(), image(20, 4));
  EXPECT_EQ(next.sequence(), 4u);
}

// Whoever writes may die after any byte.
TEST(StateSlots, ThatAreTornAtAnyByteGiveTheOneBefore) {
  auto slots = ControlSlots::create(200).value();
  ASSERT_TRUE(slots.write(image(150, 1)));
  ASSERT_TRUE(slots.write(image(150, 2)));
  ASSERT_TRUE(slots.write(image(150, 3)));
  std::vector<std::byte> whole(24 + 150);
  const off_t at = 4096;  // the slot of odd numbers
  ASSERT_EQ(::pread(slots.fd(), whole.data(), whole.size(), at), static_cast<ssize_t>(whole.size()));
  for (std::size_t torn = 0; torn < whole.size(); ++torn) {
    auto copy = ControlSlots::create(200).value();
    ASSERT_TRUE(copy.write(image(150, 1)));
    ASSERT_TRUE(copy.write(image(150, 2)));
    ASSERT_EQ(::pwrite(copy.fd(), whole.data(), torn, at), static_cast<ssize_t>(torn));
    const auto read = ControlSlots::adopt(copy_of(copy.fd())).value().newest();
    ASSERT_TRUE(read) << torn;
    ASSERT_EQ(read.value(), image(150, 2)) << torn;
  }
}

TEST(StateSlots, RefuseWhatIsTooLongAndForeignFiles) {
  auto slots = ControlSlots::create(100).value();
  EXPECT_EQ(slots.write(image(5000, 1)).error().code, Errc::no_space);
  UniqueFd empty{::memfd_create("empty", MFD_CLOEXEC)};
  EXPECT_FALSE(ControlSlots::adopt(std::move(empty)));
}

TEST(StateSlots, WithAnyByteChangedGiveTheOtherOrNone) {
  auto slots = ControlSlots::create(100).value();
  ASSERT_TRUE(slots.write(image(60, 1)));
  for (off_t at = 4096; at < 4096 + 24 + 60; ++at) {
    std::byte value{};
    ASSERT_EQ(::pread(slots.fd(), &value, 1, at), 1);
    const std::byte changed = value ^ std::byte{0x40};
    ASSERT_EQ(::pwrite(slots.fd(), &changed, 1, at), 1);
    EXPECT_FALSE(slots.newest()) << at;
    ASSERT_EQ(::pwrite(slots.fd(), &value, 1, at), 1);
  }
  EXPECT_TRUE(slots.newest());
}

}  // namespace
}  // namespace vmux::state
