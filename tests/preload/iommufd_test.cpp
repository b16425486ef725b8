// SPDX-License-Identifier: BSD-3-Clause
// The cdev and iommufd interface. Debian 12's headers do not have it, so the structs are written down here once more,
// from linux/vfio.h and linux/iommufd.h of Linux 6.12.
#include <vector>

#include "preload/program.hpp"

namespace vmux::tests {
namespace {

constexpr unsigned long command(unsigned number) { return _IO(';', number); }
constexpr unsigned long kBind = command(118), kAttach = command(119), kDetach = command(120);

struct Bind {
  std::uint32_t argsz = sizeof(Bind), flags = 0;
  std::int32_t iommufd;
  std::uint32_t devid = 0;
};
struct Attach {
  std::uint32_t argsz = sizeof(Attach), flags = 0, id;
};
struct Detach {
  std::uint32_t argsz = sizeof(Detach), flags = 0;
};
struct Ioas {
  std::uint32_t size = sizeof(Ioas), flags = 0, id = 0;
};
struct Destroy {
  std::uint32_t size = sizeof(Destroy), id;
};
struct Ranges {
  std::uint32_t size = sizeof(Ranges), id, count = 0, reserved = 0;
  std::uint64_t pointer = 0, alignment = 0;
};
struct Map {
  std::uint32_t size = sizeof(Map), flags, id, reserved = 0;
  std::uint64_t address, length, iova;
};
struct MapFile {
  std::uint32_t size = sizeof(MapFile), flags, id;
  std::int32_t fd;
  std::uint64_t start, length, iova;
};
struct Unmap {
  std::uint32_t size = sizeof(Unmap), id;
  std::uint64_t iova, length;
};
struct Hwpt {
  std::uint32_t size = sizeof(Hwpt), flags = 0, device, parent, id = 0, reserved = 0, type = 0, length = 0;
  std::uint64_t data = 0;
};
struct HwInfo {
  std::uint32_t size = sizeof(HwInfo), flags = 0, device, length = 0;
  std::uint64_t data = 0;
  std::uint32_t type = 7, reserved = 0;
  std::uint64_t capabilities = 7;
};
constexpr std::uint32_t kFixedReadWrite = 1 | 2 | 4;

struct Cdev : Opened {
  Fd iommufd{open("/dev/iommu", O_RDWR | O_CLOEXEC)};
  std::uint32_t devid = 0, ioas = 0;

  Cdev() : Opened(Bare{}) {
    device = Fd{open(("/dev/vfio/devices/vfio" + group_of(kBdf)).c_str(), O_RDWR | O_CLOEXEC)};
    EXPECT_GE(static_cast<int>(device), 0);
    Ioas alloc;
    EXPECT_EQ(ioctl(iommufd, command(0x81), &alloc), 0);
    ioas = alloc.id;
  }
  void bind() {
    Bind request{.iommufd = iommufd};
    ASSERT_EQ(ioctl(device, kBind, &request), 0) << strerror(errno);
    devid = request.devid;
  }
  int attach(std::uint32_t id) {
    Attach request{.id = id};
    return errno_of(ioctl(device, kAttach, &request));
  }
};

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
  EXPECT_EQ(info.capabilities, 0u);
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
