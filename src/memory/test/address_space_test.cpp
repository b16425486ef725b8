// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/memory/address_space.hpp"

#include <gtest/gtest.h>

#include "memory/test/test_support.hpp"

namespace vmux::memory {
namespace {

using namespace test;

class AddressSpaceTest : public ::testing::Test {
 protected:
  AddressSpaceTest() { space_.attach(reader_); }
  File file_{16 * kPage};
  AddressSpace space_;
  GuestMemory reader_;
};

TEST_F(AddressSpaceTest, RefusesRangesThatAreNotWholePages) {
  EXPECT_EQ(code_of(space_.map(range(0, 0, file_.fd()))), Errc::invalid_argument);
  EXPECT_EQ(code_of(space_.map(range(12, kPage, file_.fd()))), Errc::invalid_argument);
  EXPECT_EQ(code_of(space_.map(range(0, kPage + 1, file_.fd()))), Errc::invalid_argument);
  EXPECT_EQ(code_of(space_.map(range(0, kPage, file_.fd(), 512))), Errc::invalid_argument);
  EXPECT_EQ(space_.size(), 0u);
}

TEST_F(AddressSpaceTest, RefusesRangesThatWrap) {
  EXPECT_EQ(code_of(space_.map(range(~0ull - kPage + 1, 2 * kPage, {}))), Errc::invalid_argument);
  EXPECT_EQ(code_of(space_.map(range(kPage, ~0ull - kPage + 1, {}))), Errc::invalid_argument);
}

TEST_F(AddressSpaceTest, RefusesOverlapFromEverySide) {
  ASSERT_TRUE(space_.map(range(0x10000, 4 * kPage, file_.fd())));
  EXPECT_EQ(code_of(space_.map(range(0x10000, 4 * kPage, file_.fd()))), Errc::already_exists);
  EXPECT_EQ(code_of(space_.map(range(0xf000, 2 * kPage, file_.fd()))), Errc::already_exists);
  EXPECT_EQ(code_of(space_.map(range(0x13000, 2 * kPage, file_.fd()))), Errc::already_exists);
  EXPECT_EQ(code_of(space_.map(range(0x11000, kPage, file_.fd()))), Errc::already_exists);
  EXPECT_EQ(code_of(space_.map(range(0, 0x100000, {}))), Errc::already_exists);
  EXPECT_TRUE(space_.map(range(0xf000, kPage, file_.fd())));
  EXPECT_TRUE(space_.map(range(0x14000, kPage, file_.fd())));
}

TEST_F(AddressSpaceTest, RefusesFilesShorterThanTheRange) {
  EXPECT_EQ(code_of(space_.map(range(0, 17 * kPage, file_.fd()))), Errc::out_of_range);
  EXPECT_EQ(code_of(space_.map(range(0, kPage, file_.fd(), 16 * kPage))), Errc::out_of_range);
  EXPECT_EQ(code_of(space_.map(range(0, kPage, file_.fd(), ~0ull - kPage + 1))), Errc::out_of_range);
  EXPECT_TRUE(space_.map(range(0, kPage, file_.fd(), 15 * kPage)));
}

TEST_F(AddressSpaceTest, RefusesWritingToFilesOpenedForReading) {
  EXPECT_EQ(code_of(space_.map(range(0, kPage, file_.read_only_fd()))), Errc::permission);
  EXPECT_TRUE(space_.map(range(0, kPage, file_.read_only_fd(), 0, Access::read)));
  file_.put(7, 0x5a);
  EXPECT_EQ(reader_.fetch<std::uint8_t>(Iova{7}), 0x5a);
  EXPECT_FALSE(reader_.store(Iova{7}, std::uint8_t{1}));
}

TEST_F(AddressSpaceTest, WritesAfterAReadOnlyFileComesAgainForWriting) {
  ASSERT_TRUE(space_.map(range(0, kPage, file_.read_only_fd(), 0, Access::read)));
  ASSERT_TRUE(space_.map(range(kPage, kPage, file_.fd(), kPage)));
  EXPECT_TRUE(reader_.store(Iova{kPage}, std::uint8_t{0x77}));
  EXPECT_EQ(file_.get(kPage), 0x77);
}

TEST_F(AddressSpaceTest, RefusesDirectoriesAndOtherThingsThatAreNotMemory) {
  EXPECT_EQ(code_of(space_.map(range(0, kPage, UniqueFd{::open("/", O_RDONLY | O_CLOEXEC)}))), Errc::invalid_argument);
  auto event = make_eventfd();
  ASSERT_TRUE(event);
  EXPECT_FALSE(space_.map(range(0, kPage, std::move(*event))));
  EXPECT_EQ(space_.size(), 0u);
}

TEST_F(AddressSpaceTest, MapsEachFileOnce) {
  for (std::uint64_t i = 0; i < 16; ++i)
    ASSERT_TRUE(space_.map(range(i * 0x10000, kPage, file_.fd(), i * kPage)));
  EXPECT_EQ(mappings_of_guest_files(), 1u);
}

TEST_F(AddressSpaceTest, KeepsAFileMappedBetweenWindowsOfIt) {
  ASSERT_TRUE(space_.map(range(0, kPage, file_.fd())));
  const std::byte* host = space_.windows().at(0).host;
  ASSERT_TRUE(space_.unmap(Iova{0}, ByteCount{kPage}, {}));
  ASSERT_TRUE(space_.map(range(0x5000, kPage, file_.fd(), 2 * kPage)));
  EXPECT_EQ(space_.windows().at(0).host, host + 2 * kPage);
}

TEST_F(AddressSpaceTest, LetsIdleFilesGo) {
  File others[] = {File{kPage}, File{kPage}, File{kPage}, File{kPage}};
  for (File& other : others) {
    ASSERT_TRUE(space_.map(range(0, kPage, other.fd())));
    ASSERT_TRUE(space_.unmap(Iova{0}, ByteCount{kPage}, {}));
  }
  EXPECT_LE(mappings_of_guest_files(), 2u);
  space_.unmap_all({});
  EXPECT_EQ(mappings_of_guest_files(), 0u);
}

TEST_F(AddressSpaceTest, ReachesWhatAFileGrewBy) {
  File file{3 * kPage};
  ASSERT_TRUE(space_.map(range(0, kPage, file.fd())));
  file.resize(64 * kPage);
  file.put(63 * kPage, 0x42);
  ASSERT_TRUE(space_.map(range(0x100000, kPage, file.fd(), 63 * kPage)));
  EXPECT_EQ(reader_.fetch<std::uint8_t>(Iova{0x100000}), 0x42);
  EXPECT_TRUE(reader_.store(Iova{0}, std::uint8_t{0x43}));
  EXPECT_EQ(file.get(0), 0x43);
}

TEST_F(AddressSpaceTest, ReachesFarIntoSparseFiles) {
  constexpr std::uint64_t kFar = 1ull << 44;
  File file{kFar + kPage};
  ASSERT_TRUE(space_.map(range(0, kPage, file.fd(), kFar)));
  EXPECT_TRUE(reader_.store(Iova{5}, std::uint8_t{0x99}));
  EXPECT_EQ(file.get(kFar + 5), 0x99);
}

TEST_F(AddressSpaceTest, TakesRangesWithoutAFile) {
  ASSERT_TRUE(space_.map(range(0x8000, kPage, {})));
  EXPECT_FALSE(reader_.fetch<std::uint8_t>(Iova{0x8000}));
  EXPECT_TRUE(space_.knows(Iova{0x8000}, ByteCount{kPage}, Access::read_write));
  EXPECT_FALSE(space_.knows(Iova{0x8000}, ByteCount{kPage + 1}, Access::read));
  EXPECT_FALSE(reader_.covers(Iova{0x8000}, ByteCount{1}, Access::read));
}

TEST_F(AddressSpaceTest, UnmapTakesAllWholeRangesInside) {
  for (std::uint64_t i = 0; i < 4; ++i)
    ASSERT_TRUE(space_.map(range(i * 0x10000, kPage, file_.fd(), i * kPage)));
  EXPECT_EQ(space_.unmap(Iova{0x10000}, ByteCount{0x20000}, {}).value().raw, 2 * kPage);
  ASSERT_EQ(space_.size(), 2u);
  EXPECT_EQ(space_.windows()[0].start, 0u);
  EXPECT_EQ(space_.windows()[1].start, 0x30000u);
  EXPECT_FALSE(reader_.fetch<std::uint8_t>(Iova{0x10000}));
}

TEST_F(AddressSpaceTest, UnmapRefusesToCutARange) {
  ASSERT_TRUE(space_.map(range(0x10000, 4 * kPage, file_.fd())));
  EXPECT_EQ(code_of(space_.unmap(Iova{0x10000}, ByteCount{kPage}, {})), Errc::invalid_argument);
  EXPECT_EQ(code_of(space_.unmap(Iova{0x11000}, ByteCount{kPage}, {})), Errc::invalid_argument);
  EXPECT_EQ(code_of(space_.unmap(Iova{0x12000}, ByteCount{4 * kPage}, {})), Errc::invalid_argument);
  EXPECT_EQ(code_of(space_.unmap(Iova{0}, ByteCount{0x12000}, {})), Errc::invalid_argument);
  EXPECT_EQ(space_.size(), 1u);
}

TEST_F(AddressSpaceTest, UnmapFindsNothingInHoles) {
  ASSERT_TRUE(space_.map(range(0x10000, kPage, file_.fd())));
  bool is_called = false;
  EXPECT_EQ(space_.unmap(Iova{0x20000}, ByteCount{kPage}, [&] { is_called = true; }).value().raw, 0u);
  EXPECT_TRUE(is_called);
  EXPECT_EQ(space_.unmap(Iova{0}, ByteCount{0x10000}, {}).value().raw, 0u);
  EXPECT_EQ(space_.size(), 1u);
}

TEST_F(AddressSpaceTest, UnmapRefusesRangesThatAreNone) {
  bool is_called = false;
  const auto note = [&] { is_called = true; };
  EXPECT_EQ(code_of(space_.unmap(Iova{0x10000}, ByteCount{0}, note)), Errc::invalid_argument);
  EXPECT_EQ(code_of(space_.unmap(Iova{kPage}, ByteCount{0 - kPage + 1}, note)), Errc::invalid_argument);
  EXPECT_EQ(code_of(space_.unmap(Iova{2 * kPage}, ByteCount{0 - kPage}, note)), Errc::invalid_argument);
  EXPECT_EQ(code_of(space_.unmap(Iova{1}, ByteCount{kPage}, note)), Errc::invalid_argument);
  EXPECT_FALSE(is_called);
}

TEST_F(AddressSpaceTest, UnmapReachesTheEndOfTheAddressSpace) {
  ASSERT_TRUE(space_.map(range(0x10000, kPage, file_.fd())));
  EXPECT_TRUE(space_.unmap(Iova{kPage}, ByteCount{~0ull - kPage + 1}, {}));
  EXPECT_EQ(space_.size(), 0u);
}

TEST_F(AddressSpaceTest, TellsHowMuchIsReachedAndTheMostEver) {
  ASSERT_TRUE(space_.map(range(0, 4 * kPage, file_.fd())));
  ASSERT_TRUE(space_.map(range(0x10000, 2 * kPage, {})));
  ASSERT_FALSE(space_.map(range(0, kPage, {})));
  ASSERT_TRUE(space_.unmap(Iova{0}, ByteCount{4 * kPage}, [] {}));
  ASSERT_TRUE(space_.map(range(0x20000, kPage, {})));
  EXPECT_EQ(space_.reach().ranges, 2u);
  EXPECT_EQ(space_.reach().bytes, 3 * kPage);
  EXPECT_EQ(space_.reach().bytes_peak, 6 * kPage);
  space_.unmap_all([] {});
  EXPECT_EQ(space_.reach().ranges, 0u);
  EXPECT_EQ(space_.reach().bytes, 0u);
  EXPECT_EQ(space_.reach().bytes_peak, 6 * kPage);
}

TEST_F(AddressSpaceTest, UnmapIsQuietAtOnceWhenAllReadersAreLocal) {
  ASSERT_TRUE(space_.map(range(0, kPage, file_.fd())));
  bool is_quiet = false, is_gone = false;
  ASSERT_TRUE(space_.unmap(Iova{0}, ByteCount{kPage}, [&] {
    is_quiet = true;
    is_gone = !reader_.fetch<std::uint8_t>(Iova{0});
  }));
  EXPECT_TRUE(is_quiet);
  EXPECT_TRUE(is_gone);
}

TEST_F(AddressSpaceTest, QuietCallbackMayChangeTheMap) {
  ASSERT_TRUE(space_.map(range(0, kPage, file_.fd())));
  ASSERT_TRUE(space_.map(range(kPage, kPage, file_.fd())));
  int depth = 0;
  ASSERT_TRUE(space_.unmap(Iova{0}, ByteCount{kPage}, [&] {
    ++depth;
    EXPECT_TRUE(space_.unmap(Iova{kPage}, ByteCount{kPage}, [&] { ++depth; }));
  }));
  EXPECT_EQ(depth, 2);
  EXPECT_EQ(space_.size(), 0u);
}

TEST_F(AddressSpaceTest, ReaderOutlivesTheSpace) {
  GuestMemory survivor;
  {
    AddressSpace space;
    space.attach(survivor);
    ASSERT_TRUE(space.map(range(0, kPage, file_.fd())));
  }
  file_.put(3, 0x21);
  EXPECT_EQ(survivor.fetch<std::uint8_t>(Iova{3}), 0x21);
  survivor.adopt(nullptr);
  EXPECT_FALSE(survivor.fetch<std::uint8_t>(Iova{3}));
}

TEST_F(AddressSpaceTest, DetachedReaderSeesNothing) {
  ASSERT_TRUE(space_.map(range(0, kPage, file_.fd())));
  space_.detach(reader_);
  EXPECT_FALSE(reader_.fetch<std::uint8_t>(Iova{0}));
}

// It can be handed over; a mapping cannot.
TEST_F(AddressSpaceTest, KeepsOneDescriptorOfAFileForAsLongAsItIsMapped) {
  const auto lowest_free = [] {
    const int fd = ::dup(0);
    ::close(fd);
    return fd;
  };
  const int before = lowest_free();
  ASSERT_TRUE(space_.map(range(0, kPage, file_.fd())));
  EXPECT_EQ(lowest_free(), before + 1);
  EXPECT_TRUE(space_.map(range(kPage, kPage, file_.fd())));
  EXPECT_FALSE(space_.map(range(0, kPage, file_.fd())));
  EXPECT_EQ(lowest_free(), before + 1);
  space_.unmap_all([] {});
  EXPECT_EQ(lowest_free(), before);
}

}  // namespace
}  // namespace vmux::memory
