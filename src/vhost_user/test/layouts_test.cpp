// SPDX-License-Identifier: BSD-3-Clause
// The layouts of the protocol, and what lies between its addresses and bits.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "vhost_user/dirty_log.hpp"
#include "vhost_user/memory_map.hpp"
#include "wire/vhost_user.hpp"

namespace vmux::vhost_user {
namespace {

namespace wv = wire::vhost_user;

/// Bytes 1, 2, 3 ... as one of the structures.
template <class T>
T counted() {
  std::array<std::byte, sizeof(T)> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(i + 1);
  return wv::peek<T>(bytes).value();
}

TEST(VhostUserLayout, OfTheHeaderIsRequestFlagsSize) {
  const auto header = counted<wv::Header>();
  EXPECT_EQ(header.request, 0x04030201u);
  EXPECT_EQ(header.flags, 0x08070605u);
  EXPECT_EQ(header.size, 0x0c0b0a09u);
}

TEST(VhostUserLayout, OfRingAddressesHasTheUsedRingBeforeTheAvailableOne) {
  const auto body = counted<wv::RingAddresses>();
  EXPECT_EQ(body.index, 0x04030201u);
  EXPECT_EQ(body.flags, 0x08070605u);
  EXPECT_EQ(body.descriptors, 0x100f0e0d0c0b0a09u);
  EXPECT_EQ(body.used, 0x1817161514131211u);
  EXPECT_EQ(body.available, 0x201f1e1d1c1b1a19u);
  EXPECT_EQ(body.log, 0x2827262524232221u);
}

TEST(VhostUserLayout, OfASingleRegionBeginsWithPadding) {
  const auto body = counted<wv::SingleRegion>();
  EXPECT_EQ(body.region.guest_address, 0x100f0e0d0c0b0a09u);
  EXPECT_EQ(body.region.size, 0x1817161514131211u);
  EXPECT_EQ(body.region.user_address, 0x201f1e1d1c1b1a19u);
  EXPECT_EQ(body.region.mmap_offset, 0x2827262524232221u);
}

TEST(VhostUserLayout, OfALogIsSizeAndOffset) {
  const auto body = counted<wv::Log>();
  EXPECT_EQ(body.size, 0x0807060504030201u);
  EXPECT_EQ(body.offset, 0x100f0e0d0c0b0a09u);
}

TEST(VhostUserLayout, IsNotReadBeyondItsBytes) {
  const std::array<std::byte, 11> few{};
  EXPECT_FALSE(wv::peek<wv::Header>(few));
}

UniqueFd new_file(std::uint64_t size) {
  UniqueFd fd{::memfd_create("test", MFD_CLOEXEC)};
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  return fd;
}

TEST(VhostUserMemoryMap, FindsRangesThatLieInOneRegion) {
  memory::AddressSpace space;
  MapCounters counters;
  MemoryMap map{space, counters};
  ASSERT_TRUE(map.add({0x10000, 0x2000, 0x7000'0000, 0}, new_file(0x2000)));
  ASSERT_TRUE(map.add({0x40000, 0x2000, 0x7000'2000, 0}, new_file(0x2000)));
  EXPECT_EQ(map.guest_address(0x7000'0000, 0x2000), Iova{0x10000});
  EXPECT_EQ(map.guest_address(0x7000'1fff, 1), Iova{0x11fff});
  EXPECT_EQ(map.guest_address(0x7000'2010, 4), Iova{0x40010});
  EXPECT_FALSE(map.guest_address(0x7000'1fff, 2));  // beside each other for the front end only
  EXPECT_FALSE(map.guest_address(0x6fff'ffff, 1));
  EXPECT_FALSE(map.guest_address(0x7000'4000, 1));
  EXPECT_FALSE(map.guest_address(0x7000'0000, ~0ull));
}

TEST(VhostUserDirtyLog, PutsBitsWhereTheGuestsPagesAreWhateverTheRegionsStart) {
  constexpr std::uint64_t kStart = 100 * 4096, kPages = 200;  // 100 is 36 more than a word of bits
  memory::AddressSpace space;
  ASSERT_TRUE(
      space.map({Iova{kStart}, ByteCount{kPages * 4096}, memory::Access::read_write, new_file(kPages * 4096), 0}));
  const auto file = new_file(64);
  auto log = DirtyLog::create(file.duplicate().value(), 0, 64).value();
  ASSERT_TRUE(space.start_dirty_log());
  memory::GuestMemory writer;
  space.attach(writer);
  for (const std::uint64_t page : {0u, 27u, 28u, 91u, 92u, 199u})
    ASSERT_TRUE(writer.store(Iova{kStart + page * 4096}, std::uint8_t{1}));
  log->take_from(space);
  std::array<std::uint8_t, 64> bits{};
  ASSERT_EQ(::pread(file.get(), bits.data(), bits.size(), 0), 64);
  std::vector<unsigned> pages;
  for (unsigned page = 0; page < 512; ++page) {
    if ((bits[page / 8] >> (page % 8) & 1) != 0) pages.push_back(page);
  }
  EXPECT_EQ(pages, (std::vector<unsigned>{100, 127, 128, 191, 192, 299}));
  space.detach(writer);
}

TEST(VhostUserDirtyLog, LooksThroughRegionsLargerThanItLooksThroughAtATime) {
  constexpr std::uint64_t kPages = 3 * (64 << 10) + 5;
  memory::AddressSpace space;
  ASSERT_TRUE(space.map({Iova{0}, ByteCount{kPages * 4096}, memory::Access::read_write, new_file(kPages * 4096), 0}));
  const auto file = new_file(kPages / 8 + 8);
  auto log = DirtyLog::create(file.duplicate().value(), 0, kPages / 8 + 8).value();
  ASSERT_TRUE(space.start_dirty_log());
  memory::GuestMemory writer;
  space.attach(writer);
  ASSERT_TRUE(writer.store(Iova{(64ull << 10) * 4096}, std::uint8_t{1}));
  ASSERT_TRUE(writer.store(Iova{(kPages - 1) * 4096}, std::uint8_t{1}));
  log->take_from(space);
  std::uint8_t byte = 0;
  ASSERT_EQ(::pread(file.get(), &byte, 1, (64 << 10) / 8), 1);
  EXPECT_EQ(byte, 1u);
  ASSERT_EQ(::pread(file.get(), &byte, 1, static_cast<off_t>((kPages - 1) / 8)), 1);
  EXPECT_EQ(byte, 1u << ((kPages - 1) % 8));
  space.detach(writer);
}

}  // namespace
}  // namespace vmux::vhost_user
