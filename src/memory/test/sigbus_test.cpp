// SPDX-License-Identifier: BSD-3-Clause
#include "memory/sigbus.hpp"

#include <gtest/gtest.h>

#include <csetjmp>
#include <csignal>
#include <thread>
#include <vector>

#include "memory/test/test_support.hpp"
#include "vmux/base/mapping.hpp"

namespace vmux::memory {
namespace {

using namespace test;

TEST(BusError, TruncatedFileReadsZeroAndPoisonsItsSpace) {
  File file{4 * kPage};
  AddressSpace space;
  GuestMemory memory;
  space.attach(memory);
  ASSERT_TRUE(space.map(range(0, 4 * kPage, file.fd())));
  ASSERT_TRUE(memory.store(Iova{3 * kPage}, 0x1234u));
  file.resize(kPage);
  EXPECT_EQ(memory.fetch<std::uint32_t>(Iova{3 * kPage}), 0u);
  EXPECT_TRUE(space.is_poisoned());
  EXPECT_TRUE(memory.store(Iova{2 * kPage}, 1u));
}

TEST(BusError, LeavesOtherSpacesAlone) {
  File bad{2 * kPage}, good{2 * kPage};
  AddressSpace hurt, healthy;
  GuestMemory hurt_memory, healthy_memory;
  hurt.attach(hurt_memory);
  healthy.attach(healthy_memory);
  ASSERT_TRUE(hurt.map(range(0, 2 * kPage, bad.fd())));
  ASSERT_TRUE(healthy.map(range(0, 2 * kPage, good.fd())));
  bad.resize(0);
  ASSERT_TRUE(healthy_memory.store(Iova{0}, 7u));
  ASSERT_TRUE(hurt_memory.store(Iova{0}, 9u));
  EXPECT_TRUE(hurt.is_poisoned());
  EXPECT_FALSE(healthy.is_poisoned());
  EXPECT_EQ(good.get(0), 7);
}

TEST(BusError, PoisonEndsWithTheClient) {
  File file{kPage};
  AddressSpace space;
  GuestMemory memory;
  space.attach(memory);
  ASSERT_TRUE(space.map(range(0, kPage, file.fd())));
  file.resize(0);
  ASSERT_TRUE(memory.fetch<std::uint8_t>(Iova{0}));
  ASSERT_TRUE(space.is_poisoned());
  space.unmap_all({});
  EXPECT_FALSE(space.is_poisoned());
  file.resize(kPage);
  ASSERT_TRUE(space.map(range(0, kPage, file.fd())));
  ASSERT_TRUE(memory.store(Iova{0}, std::uint8_t{5}));
  EXPECT_EQ(file.get(0), 5);
}

TEST(BusError, ManyThreadsMeetTheHoleAtOnce) {
  File file{64 * kPage};
  AddressSpace space;
  ASSERT_TRUE(space.map(range(0, 64 * kPage, file.fd())));
  std::vector<GuestMemory> readers(4);
  for (GuestMemory& reader : readers)
    space.attach(reader);
  file.resize(0);
  std::vector<std::thread> threads;
  threads.reserve(readers.size());
  for (GuestMemory& reader : readers) {
    threads.emplace_back([&reader] {
      for (std::uint64_t page = 0; page < 64; ++page)
        EXPECT_EQ(reader.fetch<std::uint8_t>(Iova{page * kPage}), 0);
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_TRUE(space.is_poisoned());
}

TEST(BusError, RegistryGrowsAndShrinksFromManyThreads) {
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      File file{kPage};
      for (int round = 0; round < 50; ++round) {
        AddressSpace space;
        GuestMemory memory;
        space.attach(memory);
        ASSERT_TRUE(space.map(range(0, kPage, file.fd())));
        ASSERT_TRUE(memory.store(Iova{0}, std::uint8_t{1}));
        EXPECT_FALSE(space.is_poisoned());
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
}

TEST(BusErrorDeathTest, ForeignAddressesEndTheProcessAsBefore) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(
      {
        File registered{kPage};
        AddressSpace space;
        static_cast<void>(space.map(range(0, kPage, registered.fd())));
        File foreign{kPage};
        auto mapping = Mapping::create(foreign.fd().get(), 0, kPage, true);
        foreign.resize(0);
        *reinterpret_cast<volatile char*>(mapping->data()) = 1;
      },
      "");
}

}  // namespace
}  // namespace vmux::memory
