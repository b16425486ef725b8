// SPDX-License-Identifier: BSD-3-Clause
// The pools of the guests' module, without a kernel: a thread is a processor.
extern "C" {
#include "pool.h"
void shadow_test_become(u32 cpu);
}

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace {

constexpr u64 kFirst = 0xffe0'0000;  // where the kernel begins, going downwards
constexpr std::size_t kSlotsOf64K = SHADOW_CHUNK_SIZE / SHADOW_LARGEST_SIZE;

struct Pool {
  explicit Pool(u32 chunks, u32 cpus = 1) {
    shadow_test_become(0);
    EXPECT_EQ(shadow_pool_init(pool.get(), cpus), 0);
    EXPECT_EQ(shadow_index_init(&index, chunks), 0);
    for (u32 i = 0; i < chunks; i++) {
      memory.push_back(std::make_unique<char[]>(SHADOW_CHUNK_SIZE));
      shadow_index_add(&index,
                       shadow_pool_add(pool.get(), memory.back().get(), kFirst - i * SHADOW_CHUNK_SIZE, nullptr));
    }
    shadow_pool_settle(pool.get());
  }
  ~Pool() {
    shadow_pool_clear(pool.get());
    shadow_index_clear(&index);
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  shadow_place take(std::size_t size) {
    shadow_place place{};
    EXPECT_TRUE(shadow_pool_take(pool.get(), size, &place));
    place.record->size = static_cast<u32>(size);
    return place;
  }
  bool has(std::size_t size) {
    shadow_place place{};
    if (!shadow_pool_take(pool.get(), size, &place)) return false;
    shadow_pool_give(&place);
    return true;
  }
  std::vector<shadow_place> take_all(std::size_t size) {
    std::vector<shadow_place> all;
    for (shadow_place place{}; shadow_pool_take(pool.get(), size, &place);)
      all.push_back(place);
    return all;
  }
  static void give_all(const std::vector<shadow_place>& places) {
    for (const shadow_place& place : places)
      shadow_pool_give(&place);
  }

  std::unique_ptr<shadow_pool> pool = std::make_unique<shadow_pool>();
  shadow_index index{};
  std::vector<std::unique_ptr<char[]>> memory;
};

TEST(ShadowPool, GivesSlotsThatDoNotOverlap) {
  Pool it{2};
  std::set<u64> addresses;
  for (const shadow_place& place : it.take_all(2048))
    EXPECT_TRUE(addresses.insert(place.address).second && place.address % 2048 == 0);
  EXPECT_EQ(addresses.size(), 2 * SHADOW_CHUNK_SIZE / 2048);
}

TEST(ShadowPool, GivesAddressAndMemoryOfTheSamePlace) {
  Pool it{1};
  for (const std::size_t size : {60u, 2048u, 2049u, 9000u, 65536u}) {
    const shadow_place place = it.take(size);
    EXPECT_EQ(static_cast<char*>(place.memory) - it.memory[0].get(),
              static_cast<std::ptrdiff_t>(place.address - kFirst));
  }
}

TEST(ShadowPool, HasNoSlotForMoreThan64K) {
  Pool it{1};
  EXPECT_TRUE(it.has(65536));
  EXPECT_FALSE(it.has(65537));
}

TEST(ShadowPool, WithoutChunksHasNoSlot) {
  Pool it{0};
  EXPECT_FALSE(it.has(60));
}

TEST(ShadowPool, TakesALargerSlotWhenNoOtherIsLeft) {
  Pool it{1};
  const auto large = it.take_all(32768);
  ASSERT_EQ(large.size(), 2 * kSlotsOf64K);
  EXPECT_FALSE(it.has(60));
  for (std::size_t i = 0; i < 8; i += 2)  // more than this processor keeps, and none that leaves a block without any
    shadow_pool_give(&large[i]);
  EXPECT_TRUE(it.has(60));
}

TEST(ShadowPool, LosesNoSlotOfABlockInUse) {
  Pool it{1};
  const auto all = it.take_all(2048);
  std::size_t given = 0;
  for (std::size_t i = 0; i < all.size(); i++) {
    if (i % 32 == 7) continue;  // one of each block stays
    shadow_pool_give(&all[i]);
    given++;
  }
  EXPECT_EQ(it.take_all(2048).size(), given);
}

TEST(ShadowPool, CutsABlockAnewForAnotherSize) {
  Pool it{1};
  Pool::give_all(it.take_all(2048));
  EXPECT_GE(it.take_all(65536).size(), kSlotsOf64K - 2)
      << "what one processor keeps of the small ones fills two blocks at most";
}

TEST(ShadowPool, ServesEverySizeFromOneChunk) {
  Pool it{1};
  std::vector<shadow_place> held;
  for (const std::size_t size : {2048u, 4096u, 8192u, 16384u, 32768u, 65536u})
    held.push_back(it.take(size));
  Pool::give_all(held);
  EXPECT_TRUE(it.has(65536));
}

TEST(ShadowPool, GivesBackARecordThatIsEmpty) {
  Pool it{1};
  const shadow_place place = it.take(1514);
  EXPECT_EQ(place.record->size, 1514u);
  shadow_pool_give(&place);
  EXPECT_EQ(place.record->size, 0u);
}

TEST(ShadowPool, KeepsAtMostAQuarterInProcessors) {
  constexpr u32 kCpus = 16;
  Pool it{1, kCpus};
  for (u32 cpu = 0; cpu < kCpus; cpu++) {
    shadow_test_become(cpu);
    std::vector<shadow_place> held;
    for (const std::size_t size : {2048u, 4096u, 8192u})
      for (int i = 0; i < 8; i++)
        held.push_back(it.take(size));
    Pool::give_all(held);
  }
  EXPECT_LE(it.pool->bytes, SHADOW_CHUNK_SIZE / 4);
}

TEST(ShadowPool, RemembersItsPeak) {
  Pool it{1};
  it.take_all(65536);
  EXPECT_EQ(it.pool->bytes_peak, SHADOW_CHUNK_SIZE);
}

TEST(ShadowIndex, FindsTheSlotOfAnAddressInside) {
  Pool it{3};
  std::vector<shadow_place> held;
  for (int i = 0; i < 900; i++)
    held.push_back(it.take(4096));
  for (const shadow_place& place : held) {
    shadow_place found{};
    ASSERT_TRUE(shadow_index_find(&it.index, place.address + 1500, &found));
    EXPECT_EQ(found.record, place.record);
    EXPECT_EQ(found.memory, place.memory);
    EXPECT_EQ(found.offset, 1500u);
  }
}

TEST(ShadowIndex, KnowsNoOtherAddress) {
  Pool it{1};
  it.take_all(2048);
  shadow_place found{};
  EXPECT_TRUE(shadow_index_find(&it.index, kFirst, &found));
  EXPECT_FALSE(shadow_index_find(&it.index, kFirst - 1, &found));
  EXPECT_FALSE(shadow_index_find(&it.index, kFirst + SHADOW_CHUNK_SIZE, &found));
  EXPECT_FALSE(shadow_index_find(&it.index, kFirst + (u64{1} << 32), &found));
}

TEST(ShadowIndex, KnowsNoAddressInABlockThatIsUncut) {
  Pool it{1};
  shadow_place found{};
  EXPECT_FALSE(shadow_index_find(&it.index, kFirst, &found));
}

TEST(ShadowIndex, FindsAChunkThatIsNotAligned) {
  auto pool = std::make_unique<shadow_pool>();
  shadow_index index{};
  const auto memory = std::make_unique<char[]>(SHADOW_CHUNK_SIZE);
  ASSERT_EQ(shadow_pool_init(pool.get(), 1), 0);
  ASSERT_EQ(shadow_index_init(&index, 1), 0);
  constexpr u64 kOdd = 0x7fff'f000;
  shadow_index_add(&index, shadow_pool_add(pool.get(), memory.get(), kOdd, nullptr));
  shadow_place place{}, found{};
  while (shadow_pool_take(pool.get(), 65536, &place))
    ASSERT_TRUE(shadow_index_find(&index, place.address + 65535, &found) && found.record == place.record);
  EXPECT_FALSE(shadow_index_find(&index, kOdd - 1, &found));
  EXPECT_FALSE(shadow_index_find(&index, kOdd + SHADOW_CHUNK_SIZE, &found));
  shadow_pool_clear(pool.get());
  shadow_index_clear(&index);
}

/// Takes, writes its mark, and on giving finds it as it was; gives some of what others have taken.
void work(Pool& it, u32 cpu, std::vector<shadow_place>& left) {
  shadow_test_become(cpu);
  std::mt19937 random{cpu};
  std::vector<shadow_place> held;
  for (int i = 0; i < 20000; i++) {
    shadow_place place{};
    const std::size_t size = std::size_t{60} << random() % 11;
    if (random() % 2 && shadow_pool_take(it.pool.get(), size, &place)) {
      place.record->size = static_cast<u32>(size);
      std::memset(place.memory, static_cast<int>(cpu), size);
      held.push_back(place);
    } else if (!held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      const auto* bytes = static_cast<const unsigned char*>(held.back().memory);
      for (u32 at = 0; at < held.back().record->size; at += 512)
        ASSERT_EQ(bytes[at], cpu);
      shadow_pool_give(&held.back());
      held.pop_back();
    }
  }
  left = held;
}

TEST(ShadowPool, IsSharedByProcessors) {
  constexpr u32 kCpus = 4;
  Pool it{4, kCpus};
  std::vector<shadow_place> left[kCpus];
  std::vector<std::thread> threads;
  for (u32 cpu = 0; cpu < kCpus; cpu++)
    threads.emplace_back([&it, cpu, &left] { work(it, cpu, left[cpu]); });
  for (std::thread& thread : threads)
    thread.join();
  std::set<const void*> memory;
  for (const auto& held : left)
    for (const shadow_place& place : held)
      EXPECT_TRUE(memory.insert(place.memory).second);
  for (const auto& held : left)
    Pool::give_all(held);
  EXPECT_LE(it.pool->bytes, 4 * SHADOW_CHUNK_SIZE / 4);
}

}  // namespace
