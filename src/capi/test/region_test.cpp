// SPDX-License-Identifier: BSD-3-Clause
// Regions: how they are described, what clients are told, and how they are accessed.
#include "capi/test/rig.hpp"

namespace capi_test {
namespace {

int setup(Device& one, int index, std::size_t size, int flags, std::vector<iovec> areas = {}, int fd = -1) {
  return vfu_setup_region(one.ctx, index, size, on_access, flags, areas.empty() ? nullptr : areas.data(),
                          static_cast<std::uint32_t>(areas.size()), fd, 0x8000);
}
iovec area(std::uint64_t start, std::size_t size) { return {dma_address(start), size}; }

TEST(CapiRegion, IsRefusedWhenItCannotBe) {
  Device one;
  struct Case {
    int index;
    std::size_t size;
    int flags;
    std::vector<iovec> areas;
    int fd;
  };
  const std::vector<Case> cases{
      {0, 4096, 0, {}, -1},                                         // neither read nor written
      {0, 4096, kMem | 0x40, {}, -1},                               // an unknown flag
      {-1, 4096, kMem, {}, -1},                                     //
      {9, 4096, kMem, {}, -1},                                      //
      {0, 4097, kMem, {}, -1},                                      // no power of two
      {0, 8, kMem, {}, -1},                                         // too small for memory
      {0, 2, VFU_REGION_FLAG_RW, {}, -1},                           // and for I/O
      {1, 4096, kWide, {}, -1},                                     // an odd one of 64 bits
      {7, 4096, kMem, {}, -1},                                      // configuration space is no memory
      {7, 4096, VFU_REGION_FLAG_READ, {}, -1},                      // and can be written
      {0, 0x4000, kMem, {area(0x3000, 0x2000)}, 0},                 // an area beyond the end
      {0, 0x4000, kMem, {area(~std::uint64_t{0xfff}, 0x2000)}, 0},  // or around it
      {0, 0x4000, kMem, {area(0, 0x1000)}, -1},                     // areas of nothing
  };
  for (const Case& each : cases) {
    EXPECT_EQ(setup(one, each.index, each.size, each.flags, each.areas, each.fd), -1) << &each - cases.data();
    EXPECT_EQ(errno, EINVAL);
  }
  EXPECT_EQ(
      vfu_setup_region(one.ctx, 7, 4096, nullptr, VFU_REGION_FLAG_RW | VFU_REGION_FLAG_ALWAYS_CB, nullptr, 0, -1, 0),
      -1);
}

TEST(CapiRegion, OfSixtyFourBitsTakesTheNextOneToo) {
  Device one;
  EXPECT_EQ(setup(one, 0, 4096, kWide), 0);
  EXPECT_EQ(setup(one, 1, 4096, kMem), -1);
  EXPECT_EQ(setup(one, 3, 4096, kMem), 0);
  EXPECT_EQ(setup(one, 2, 4096, kWide), -1);
  EXPECT_EQ(setup(one, 3, 0, kMem), 0);
  EXPECT_EQ(setup(one, 2, 4096, kWide), 0);
}

TEST(CapiRegion, TellsItsAreasToWhoHasRoomForThem) {
  Device one;
  const int fd = memory_file(0x10000);
  ASSERT_EQ(setup(one, 2, 0x8000, kMem, {area(0x2000, 0x1000), area(0x4000, 0x2000)}, fd), 0);
  one.attach();
  const auto ask = [&](unsigned argsz) { return one.call(5, Bytes{}.u32(argsz).u32(0).u32(2).u32(0).u64(0).u64(0)); };
  const Received brief = ask(32);
  EXPECT_EQ(brief.payload, Bytes{}.u32(80).u32(7).u32(2).u32(0).u64(0x8000).u64(0x8000).str());
  EXPECT_TRUE(brief.fds.empty());
  const Received whole = ask(80);
  EXPECT_EQ(whole.payload, Bytes{}
                               .u32(80)
                               .u32(15)
                               .u32(2)
                               .u32(32)
                               .u64(0x8000)
                               .u64(0x8000)
                               .u16(1)
                               .u16(1)
                               .u32(0)
                               .u32(2)
                               .u32(0)
                               .u64(0x2000)
                               .u64(0x1000)
                               .u64(0x4000)
                               .u64(0x2000)
                               .str());
  ASSERT_EQ(whole.fds.size(), 1u);
  struct stat ours {
  }, theirs{};
  ::fstat(fd, &ours);
  ::fstat(whole.fds[0], &theirs);
  EXPECT_EQ(ours.st_ino, theirs.st_ino);
  ::close(whole.fds[0]);
  ::close(fd);
}

TEST(CapiRegion, IsMappableAsAWholeWithoutAreas) {
  Device one;
  const int fd = memory_file(0x2000);
  ASSERT_EQ(vfu_setup_region(one.ctx, 0, 0x2000, nullptr, kMem, nullptr, 0, fd, 0), 0);
  one.attach();
  const Received got = one.call(5, Bytes{}.u32(64).u32(0).u32(0).u32(0).u64(0).u64(0));
  EXPECT_EQ(number(got.payload, 48, 8), 0u);
  EXPECT_EQ(number(got.payload, 56, 8), 0x2000u);
  ASSERT_EQ(got.fds.size(), 1u);
  ::close(got.fds[0]);
  ::close(fd);
}

TEST(CapiRegion, IsReadAndWrittenByItsCallback) {
  Device one;
  one.with_bar0().attach();
  EXPECT_EQ(one.write(0, 12, "abcde"), 0u);
  const Received got = one.read(0, 13, 3);
  EXPECT_EQ(got.payload, Bytes{}.u64(13).u32(0).u32(3).text("bcd").str());
  EXPECT_EQ(one.device.calls, (std::vector<std::string>{"write 12+5", "read 13+3"}));
}

TEST(CapiRegion, GivesTheErrnoOfItsCallback) {
  Device one;
  one.with_bar0().attach();
  one.device.access_errno = EXDEV;
  EXPECT_EQ(one.write(0, 0, "a"), static_cast<unsigned>(EXDEV));
  const Received got = one.read(0, 0, 4);
  EXPECT_EQ(got.error, static_cast<unsigned>(EXDEV));
  EXPECT_TRUE(got.payload.empty());
}

TEST(CapiRegion, IsNotAccessedBeyondItsEnd) {
  Device one;
  one.with_bar0().attach();
  EXPECT_EQ(one.read(0, 4093, 4).error, kInvalid);
  EXPECT_EQ(one.read(0, ~std::uint64_t{0}, 4).error, kInvalid);
  EXPECT_EQ(one.read(1, 0, 4).error, kInvalid);
  EXPECT_EQ(one.read(9, 0, 4).error, kInvalid);
  EXPECT_EQ(one.read(0, 0, (1 << 20) + 1).error, kInvalid);
  EXPECT_EQ(one.error_of(10, Bytes{}.u64(0).u32(0).u32(4).text("abc")), kInvalid);  // count says more than there is
  EXPECT_EQ(one.error_of(9, Bytes{}.u64(0)), kInvalid);
  EXPECT_TRUE(one.device.calls.empty());
  EXPECT_EQ(one.read(0, 4092, 4).error, 0u);
  EXPECT_EQ(one.read(0, 4096, 0).payload, "");  // nothing, at the end
}

TEST(CapiRegion, TakesSeveralWritesInOneMessageFromWhoAgreedOnIt) {
  Device one;
  const std::string two = Bytes{}.u64(2).u64(8).u32(0).u32(2).text("ab______").u64(5000).u32(0).u32(1).text("c_______");
  one.with_bar0().attach(R"({"capabilities":{"write_multiple":true}})");
  EXPECT_EQ(number(one.call(15, two).payload, 0, 8), 1u);  // the second is beyond the end
  EXPECT_EQ(one.device.region.substr(8, 3), std::string("ab\0", 3));

  Device other;
  other.with_bar0().attach();
  EXPECT_EQ(other.error_of(15, two), static_cast<unsigned>(EINVAL));
}

TEST(CapiRegion, TellsItsEventfdsNewestFirstAndEachDescriptorOnce) {
  Device one;
  one.with_bar0();
  const int fd = ::eventfd(0, 0), shadow = memory_file(4096);
  EXPECT_EQ(vfu_create_ioeventfd(one.ctx, 0, fd, 0, 4, 1, 0x55, -1, 0), 0);
  EXPECT_EQ(vfu_create_ioeventfd(one.ctx, 0, -1, 8, 8, 0, 0, -1, 0), 0);
  EXPECT_EQ(vfu_create_ioeventfd(one.ctx, 0, fd, 16, 8, 0, 0, shadow, 0x40), 0);
  EXPECT_EQ(vfu_create_ioeventfd(one.ctx, 0, fd, 4092, 8, 0, 0, -1, 0), -1);
  EXPECT_EQ(vfu_create_ioeventfd(one.ctx, 9, fd, 0, 8, 0, 0, -1, 0), -1);
  one.attach();
  const Received got = one.call(6, Bytes{}.u32(16 + 3 * 48).u32(0).u32(0).u32(0));
  EXPECT_EQ(got.payload, Bytes{}
                             .u32(160)
                             .u32(0)
                             .u32(0)
                             .u32(3)
                             .u64(16)
                             .u64(8)
                             .u32(0)
                             .u32(2)
                             .u32(0)
                             .u32(1)
                             .u64(0x40)
                             .u64(0)
                             .u64(8)
                             .u64(8)
                             .u32(0xffff'ffff)
                             .u32(0)
                             .u32(0)
                             .u32(0)
                             .u64(0)
                             .u64(0)
                             .u64(0)
                             .u64(4)
                             .u32(0)
                             .u32(0)
                             .u32(1)
                             .u32(0)
                             .u64(0)
                             .u64(0x55)
                             .str());
  ASSERT_EQ(got.fds.size(), 2u);
  const std::uint64_t value = 3;
  EXPECT_EQ(::write(got.fds[0], &value, 8), 8);
  std::uint64_t back = 0;
  EXPECT_EQ(::read(fd, &back, 8), 8);
  EXPECT_EQ(back, 3u);
  const Received brief = one.call(6, Bytes{}.u32(16 + 2 * 48).u32(0).u32(0).u32(0));
  EXPECT_EQ(brief.payload, Bytes{}.u32(160).u32(0).u32(0).u32(3).str());
  EXPECT_TRUE(brief.fds.empty());
  EXPECT_EQ(one.error_of(6, Bytes{}.u32(64).u32(0).u32(1).u32(0)), static_cast<unsigned>(EINVAL));  // absent
  EXPECT_EQ(one.error_of(6, Bytes{}.u32(64).u32(1).u32(0).u32(0)), static_cast<unsigned>(EINVAL));
  for (const int each : {got.fds[0], got.fds[1], fd, shadow})
    ::close(each);
}

TEST(CapiRegion, IsNotTouchedWhileItsStateIsSaved) {
  Device one;
  one.with_bar0().with_migration().attach();
  ASSERT_EQ(one.error_of(16, Bytes{}.u32(16).u32(1u << 17 | 2).u32(3).u32(0)), 0u);
  EXPECT_EQ(one.read(0, 0, 4).error, static_cast<unsigned>(EINVAL));
}

}  // namespace
}  // namespace capi_test
