// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/state/undo_log.hpp"

#include <gtest/gtest.h>

#include <array>

#include "vmux/state/arena.hpp"
#include "vmux/state/fd_bag.hpp"

namespace vmux::state {
namespace {

struct Words {
  std::array<std::uint32_t, 1024> word;
  std::uint16_t half, other_half;
};

/// An arena with one value; and what whoever takes over does with it.
struct Undo {
  Undo() : arena(*Arena::create(4 * sizeof(Words) + sizeof(UndoWords))), placed(arena.place_undoable<Words>(5)) {
    for (std::uint32_t i = 0; i < words().word.size(); ++i)
      words().word[i] = i;
  }
  Words& words() { return placed.first; }
  UndoLog& log() { return placed.second; }
  void change(std::uint32_t at, std::uint32_t value) {
    log().note(words().word[at]);
    words().word[at] = value;
  }
  [[nodiscard]] bool undo(std::uint64_t round) const { return Arena::undo(arena.fd(), round).has_value(); }

  Arena arena;
  std::pair<Words&, UndoLog> placed;
};

TEST(UndoLog, BringsBackWhatARoundHasChanged) {
  Undo all;
  all.log().begin(7);
  all.change(3, 100);
  all.change(3, 200);
  all.change(9, 300);
  all.log().note(all.words().half);
  all.words().half = 1;
  ASSERT_TRUE(all.undo(7));
  EXPECT_EQ(all.words().word[3], 3u);
  EXPECT_EQ(all.words().word[9], 9u);
  EXPECT_EQ(all.words().half, 0u);
  ASSERT_TRUE(all.undo(7));  // whoever does it may die, too
  EXPECT_EQ(all.words().word[3], 3u);
}

TEST(UndoLog, LeavesWhatCounts) {
  Undo all;
  all.log().begin(7);
  all.change(3, 100);
  all.log().end();
  ASSERT_TRUE(all.undo(8));  // 7 was committed
  EXPECT_EQ(all.words().word[3], 100u);
  all.change(4, 101);  // no request: nobody undoes it
  all.log().begin(8);
  all.change(5, 102);
  ASSERT_TRUE(all.undo(8));
  EXPECT_EQ(all.words().word[3], 100u);
  EXPECT_EQ(all.words().word[4], 101u);
  EXPECT_EQ(all.words().word[5], 5u);
}

TEST(UndoLog, KeepsAllWhereThereIsNoRoomForWords) {
  Undo all;
  all.log().begin(1);
  for (std::uint32_t i = 0; i < all.words().word.size(); ++i)
    all.change(i, 7777);
  ASSERT_TRUE(all.undo(1));
  for (std::uint32_t i = 0; i < all.words().word.size(); ++i)
    ASSERT_EQ(all.words().word[i], i);
}

TEST(UndoLog, ThatCannotBeIsRefused) {
  Undo all;
  all.log().begin(1);
  all.change(3, 100);
  auto memory = *Mapping::create(all.arena.fd(), 0, 4096, true);
  for (std::size_t at = 0; at < 64; at += 4) {  // the directory: its magic, its number of blocks, their tags and sizes
    std::uint32_t before = 0;
    const std::uint32_t nonsense = 0xffff'fff0;
    std::memcpy(&before, memory.data() + at, sizeof before);
    std::memcpy(memory.data() + at, &nonsense, sizeof nonsense);
    static_cast<void>(all.undo(1));  // refused, or without harm
    std::memcpy(memory.data() + at, &before, sizeof before);
  }
  EXPECT_TRUE(all.undo(1));
  EXPECT_FALSE(Arena::undo(-1, 1));
}

TEST(FdBag, OfNumbersOwnsNothing) {
  const UniqueFd fd = *make_memfd("numbers", 4096);
  {
    auto bag = FdBag::of_numbers();
    ASSERT_TRUE(bag.put_copy("ram/0", fd.get()));
    EXPECT_FALSE(bag.put_copy("ram/0", fd.get()));
    EXPECT_FALSE(bag.put_copy("nothing", -1));
    EXPECT_EQ(bag.get("ram/0"), fd.get());
    const FdNumbers numbers = numbers_of(bag);
    ASSERT_EQ(numbers.entries.size(), 1u);
    EXPECT_EQ(numbers.entries[0].name, "ram/0");
    EXPECT_EQ(numbers.entries[0].number, static_cast<std::uint32_t>(fd.get()));
  }
  EXPECT_TRUE(fd.duplicate());  // it is still open
}

}  // namespace
}  // namespace vmux::state
