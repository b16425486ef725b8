// SPDX-License-Identifier: BSD-3-Clause
// A DMA map that is saved, and loaded into another space.
#include <gtest/gtest.h>

#include "memory/test/test_support.hpp"
#include "rigs/saved_image.hpp"
#include "vmux/memory/address_space.hpp"
#include "vmux/state/fd_bag.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::memory {
namespace {

using namespace test;

state::Suspended saved(const AddressSpace& space) {
  state::Suspended out;
  state::Writer writer;
  EXPECT_TRUE(space.save(writer, out.fds));
  out.image = std::move(writer).finish();
  return out;
}

std::string load(AddressSpace& space, const std::vector<std::byte>& image, const state::FdBag& fds) {
  auto reader = state::Reader::open(image);
  if (!reader) return reader.error();
  const auto done = space.load(*reader, fds);
  return done ? std::string{} : done.error();
}

struct MemoryState : testing::Test {
  MemoryState() {
    EXPECT_TRUE(space_.map(range(0x10000, 4 * kPage, file_.fd(), 2 * kPage)));
    EXPECT_TRUE(space_.map(range(0x20000, kPage, other_.read_only_fd(), 0, Access::read)));
    EXPECT_TRUE(space_.map(range(0x30000, kPage, {})));
    EXPECT_TRUE(space_.map(range(0x40000, kPage, file_.fd())));
  }
  File file_{16 * kPage}, other_{kPage};
  AddressSpace space_;
};

TEST_F(MemoryState, IsTheSameMapOfTheSameFiles) {
  const auto suspended = saved(space_);
  EXPECT_EQ(suspended.fds.size(), 2u);
  AddressSpace next;
  GuestMemory reader;
  next.attach(reader);
  ASSERT_EQ(load(next, suspended.image, suspended.fds), "");
  file_.put(2 * kPage + 7, 0x5a);
  EXPECT_EQ(reader.fetch<std::uint8_t>(Iova{0x10007}), 0x5a);
  EXPECT_FALSE(reader.store(Iova{0x20000}, std::uint8_t{1}));
  EXPECT_TRUE(next.knows(Iova{0x30000}, ByteCount{kPage}, Access::read_write));
  EXPECT_EQ(saved(next).image, suspended.image);
  EXPECT_EQ(next.reach().bytes, space_.reach().bytes);
}

TEST_F(MemoryState, TakesThePlaceOfWhatWasThere) {
  const auto suspended = saved(space_);
  AddressSpace next;
  ASSERT_TRUE(next.map(range(0x10000, kPage, other_.fd())));
  ASSERT_EQ(load(next, suspended.image, suspended.fds), "");
  EXPECT_EQ(next.size(), 4u);
}

TEST_F(MemoryState, WithoutOneOfItsFilesIsRefusedAndNothingIsMapped) {
  const auto suspended = saved(space_);
  AddressSpace next;
  EXPECT_NE(load(next, suspended.image, state::FdBag{}), "");
  EXPECT_EQ(next.size(), 0u);
}

TEST_F(MemoryState, OfAFileThatWasCutIsRefused) {
  const auto suspended = saved(space_);
  file_.resize(3 * kPage);
  AddressSpace next;
  EXPECT_NE(load(next, suspended.image, suspended.fds), "");
  EXPECT_EQ(next.size(), 0u);
}

TEST_F(MemoryState, ThatWasTamperedWithIsRefusedOrAMapLikeAnother) {
  const auto suspended = saved(space_);
  unsigned refused = 0;
  rigs::for_each_changed_byte(suspended.image, [&](const rigs::SavedImage& image) {
    AddressSpace next;
    if (!load(next, image, suspended.fds).empty()) {
      ++refused;
      EXPECT_EQ(next.size(), 0u);
      return;
    }
    EXPECT_EQ(next.size(), 4u);
    for (const Window& window : next.windows())
      EXPECT_EQ(window.start % kPage, 0u);
  });
  EXPECT_GT(refused, 50u);
}

}  // namespace
}  // namespace vmux::memory
