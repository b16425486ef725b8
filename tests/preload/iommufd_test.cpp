// SPDX-License-Identifier: BSD-3-Clause
// The cdev and iommufd interface.
#include "preload/iommufd_abi.hpp"

#include <vector>

namespace vmux::tests {
namespace {

using namespace iommufd;

TEST(Iommufd, NothingWorksBeforeBind) {
  Cdev it;
  vfio_device_info info{};
  info.argsz = sizeof info;
  EXPECT_EQ(errno_of(ioctl(it.device, VFIO_DEVICE_GET_INFO, &info)), EINVAL);
  Bind request{.iommufd = it.device};
  EXPECT_EQ(errno_of(ioctl(it.device, kBind, &request)), EBADFD);
  it.bind();
  EXPECT_EQ(ioctl(it.device, VFIO_DEVICE_GET_INFO, &info), 0);
  request.iommufd = it.iommufd;
  EXPECT_EQ(errno_of(ioctl(it.device, kBind, &request)), EINVAL);
}
TEST(Iommufd, DeviceReachesMappedMemory) {
  Cdev it;
  it.bind();
  ASSERT_EQ(it.attach(it.ioas), 0);
  it.enable_bus_master();
  const Fd file = shareable(kPage);
  const Memory memory{kPage, MAP_SHARED, file};
  Map map{.flags = kFixedReadWrite, .id = it.ioas, .address = memory.address(), .length = kPage, .iova = 0x1000};
  ASSERT_EQ(ioctl(it.iommufd, command(0x85), &map), 0);
  EXPECT_EQ(errno_of(ioctl(it.iommufd, command(0x85), &map)), EEXIST);
  EXPECT_EQ(it.run(probe::kFill, 0x1000, 64), 1u);
  EXPECT_EQ(memory.data()[63], probe::kFillByte);
  Unmap unmap{.id = it.ioas, .iova = 0x1000, .length = kPage};
  EXPECT_EQ(ioctl(it.iommufd, command(0x86), &unmap), 0);
  EXPECT_EQ(unmap.length, kPage);
  EXPECT_EQ(errno_of(ioctl(it.iommufd, command(0x86), &unmap)), ENOENT);
  EXPECT_EQ(it.run(probe::kFill, 0x1000, 64), 2u);
}
TEST(Iommufd, FileIsMappedWithoutAnAddress) {
  Cdev it;
  it.bind();
  ASSERT_EQ(it.attach(it.ioas), 0);
  it.enable_bus_master();
  const Fd file = shareable(2 * kPage);
  const Memory memory{2 * kPage, MAP_SHARED, file};
  MapFile map{.flags = kFixedReadWrite, .id = it.ioas, .fd = file, .start = kPage, .length = kPage, .iova = 0};
  ASSERT_EQ(ioctl(it.iommufd, command(0x8f), &map), 0);
  EXPECT_EQ(it.run(probe::kFill, 0, 64), 1u);
  EXPECT_EQ(memory.data()[kPage], probe::kFillByte);
  EXPECT_EQ(memory.data()[0], 0);
}
TEST(Iommufd, AddressIsChosenWhereTheProgramLeavesItOpen) {
  Cdev it;
  const Fd file = shareable(kPage);
  const Memory memory{kPage, MAP_SHARED, file};
  Map map{.flags = 2 | 4, .id = it.ioas, .address = memory.address(), .length = kPage, .iova = 0};
  ASSERT_EQ(ioctl(it.iommufd, command(0x85), &map), 0);
  const std::uint64_t first = map.iova;
  ASSERT_EQ(ioctl(it.iommufd, command(0x85), &map), 0);
  EXPECT_NE(map.iova, first);
}
TEST(Iommufd, PageTableOnTopOfASpace) {
  Cdev it;
  it.bind();
  HwInfo info{.device = it.devid};
  ASSERT_EQ(ioctl(it.iommufd, command(0x8a), &info), 0);
  EXPECT_EQ(info.type, 0u);
  EXPECT_EQ(info.capabilities, 1u);  // dirty tracking: the server keeps a log
  Hwpt table{.device = it.devid, .parent = it.ioas};
  ASSERT_EQ(ioctl(it.iommufd, command(0x89), &table), 0);
  ASSERT_EQ(it.attach(table.id), 0);
  Destroy space{.id = it.ioas};
  EXPECT_EQ(errno_of(ioctl(it.iommufd, command(0x80), &space)), EBUSY);
  Detach detach;
  EXPECT_EQ(ioctl(it.device, kDetach, &detach), 0);
  Destroy gone{.id = table.id};
  EXPECT_EQ(ioctl(it.iommufd, command(0x80), &gone), 0);
  EXPECT_EQ(ioctl(it.iommufd, command(0x80), &space), 0);
}
TEST(Iommufd, RangesComeInTwoSteps) {
  Cdev it;
  Ranges ranges{.id = it.ioas};
  EXPECT_EQ(errno_of(ioctl(it.iommufd, command(0x84), &ranges)), EMSGSIZE);
  ASSERT_GT(ranges.count, 0u);
  std::vector<std::uint64_t> table(2 * ranges.count);
  ranges.pointer = reinterpret_cast<std::uint64_t>(table.data());
  EXPECT_EQ(ioctl(it.iommufd, command(0x84), &ranges), 0);
  EXPECT_EQ(table[0], 0u);
}
TEST(Iommufd, BadRequestsAreRefusedAsTheKernelDoes) {
  Cdev it;
  it.bind();
  EXPECT_EQ(it.attach(999), ENOENT);
  Destroy nothing{.id = 999};
  EXPECT_EQ(errno_of(ioctl(it.iommufd, command(0x80), &nothing)), ENOENT);
  EXPECT_EQ(errno_of(ioctl(it.iommufd, command(0xf0), &nothing)), ENOTTY);
  Ioas small;
  small.size = 4;
  EXPECT_EQ(errno_of(ioctl(it.iommufd, command(0x81), &small)), EINVAL);
  struct {
    Ioas alloc;
    std::uint32_t beyond = 1;
  } large;
  large.alloc.size = sizeof large;
  EXPECT_EQ(errno_of(ioctl(it.iommufd, command(0x81), &large)), E2BIG);
  Map map{.flags = 1, .id = it.ioas, .address = 0, .length = kPage, .iova = 0};
  EXPECT_EQ(errno_of(ioctl(it.iommufd, command(0x85), &map)), EINVAL);
}

}  // namespace
}  // namespace vmux::tests
