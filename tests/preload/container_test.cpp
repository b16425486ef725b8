// SPDX-License-Identifier: BSD-3-Clause
#include <vector>

#include "preload/program.hpp"

namespace vmux::tests {
namespace {

std::string group_path() { return "/dev/vfio/" + group_of(kBdf); }

TEST(Container, AnswersBeforeAnyGroup) {
  const Fd container{open("/dev/vfio/vfio", O_RDWR)};
  EXPECT_EQ(ioctl(container, VFIO_GET_API_VERSION), VFIO_API_VERSION);
  EXPECT_EQ(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 1);
  EXPECT_EQ(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_SPAPR_TCE_IOMMU), 0);
  EXPECT_EQ(errno_of(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)), EINVAL);
  EXPECT_EQ(map_dma(container, 0, 0, kPage), EINVAL);
}
TEST(Group, GoesThroughItsLife) {
  const Fd container{open("/dev/vfio/vfio", O_RDWR)}, group{open(group_path().c_str(), O_RDWR)};
  vfio_group_status status{sizeof status, 0};
  ASSERT_EQ(ioctl(group, VFIO_GROUP_GET_STATUS, &status), 0);
  EXPECT_EQ(status.flags, unsigned{VFIO_GROUP_FLAGS_VIABLE});
  EXPECT_EQ(errno_of(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, kBdf)), EINVAL);
  EXPECT_EQ(errno_of(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:40:00.1")), ENODEV);
  EXPECT_EQ(errno_of(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:40:00.0 speed=1")), EINVAL);
  EXPECT_EQ(errno_of(ioctl(group, VFIO_GROUP_UNSET_CONTAINER)), EINVAL);
  const int number = container;
  ASSERT_EQ(ioctl(group, VFIO_GROUP_SET_CONTAINER, &number), 0);
  EXPECT_EQ(errno_of(ioctl(group, VFIO_GROUP_SET_CONTAINER, &number)), EINVAL);
  ASSERT_EQ(ioctl(group, VFIO_GROUP_GET_STATUS, &status), 0);
  EXPECT_EQ(status.flags, unsigned{VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET});
  EXPECT_EQ(errno_of(ioctl(container, VFIO_SET_IOMMU, VFIO_SPAPR_TCE_IOMMU)), ENODEV);
  ASSERT_EQ(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
  EXPECT_EQ(errno_of(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)), EINVAL);
  EXPECT_EQ(errno_of(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:40:00.1")), ENODEV);
  Fd device{ioctl(group, VFIO_GROUP_GET_DEVICE_FD, kBdf)};
  ASSERT_GE(static_cast<int>(device), 0);
  EXPECT_EQ(errno_of(ioctl(group, VFIO_GROUP_UNSET_CONTAINER)), EBUSY);
  device.reset();
  EXPECT_EQ(ioctl(group, VFIO_GROUP_UNSET_CONTAINER), 0);
}
TEST(Group, OpensOnce) {
  Fd group{open(group_path().c_str(), O_RDWR)};
  EXPECT_EQ(errno_of(open(group_path().c_str(), O_RDWR)), EBUSY);
  group.reset();
  EXPECT_GE(static_cast<int>(Fd{open(group_path().c_str(), O_RDWR)}), 0);
}
TEST(Group, RefusesWhatIsNoContainer) {
  const Fd group{open(group_path().c_str(), O_RDWR)}, file{open("/dev/null", O_RDWR)};
  const int wrong = file, closed = 4000;
  EXPECT_EQ(errno_of(ioctl(group, VFIO_GROUP_SET_CONTAINER, &wrong)), EINVAL);
  EXPECT_EQ(errno_of(ioctl(group, VFIO_GROUP_SET_CONTAINER, &closed)), EBADF);
  EXPECT_EQ(errno_of(ioctl(group, VFIO_GROUP_SET_CONTAINER, nullptr)), EFAULT);
  EXPECT_EQ(errno_of(ioctl(group, VFIO_DEVICE_RESET)), ENOTTY);
}
TEST(Container, TellsRangesAndLimitsInTwoSteps) {
  const Opened it;
  vfio_iommu_type1_info info{};
  info.argsz = sizeof info;
  ASSERT_EQ(ioctl(it.container, VFIO_IOMMU_GET_INFO, &info), 0);
  ASSERT_GT(info.argsz, sizeof info);
  EXPECT_EQ(info.cap_offset, 0u);
  std::vector<std::uint8_t> whole(info.argsz);
  std::memcpy(whole.data(), &info, sizeof info);
  ASSERT_EQ(ioctl(it.container, VFIO_IOMMU_GET_INFO, whole.data()), 0);
  std::memcpy(&info, whole.data(), sizeof info);
  EXPECT_EQ(info.iova_pgsizes & kPage, kPage);
  std::vector<unsigned> kinds;
  for (std::uint32_t at = info.cap_offset; at != 0;) {
    vfio_info_cap_header header{};
    std::memcpy(&header, &whole.at(at), sizeof header);
    kinds.push_back(header.id);
    at = header.next;
  }
  EXPECT_EQ(kinds, (std::vector<unsigned>{VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
                                          VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL}));
  info.argsz = 8;
  EXPECT_EQ(errno_of(ioctl(it.container, VFIO_IOMMU_GET_INFO, &info)), EINVAL);
}
TEST(Container, BadMapsAreRefusedAsTheKernelDoes) {
  const Opened it;
  const Fd file = shareable(4 * kPage);
  const Memory memory{4 * kPage, MAP_SHARED, file};
  EXPECT_EQ(map_dma(it.container, 0, memory.address(), 0), EINVAL);
  EXPECT_EQ(map_dma(it.container, 1, memory.address(), kPage), EINVAL);
  EXPECT_EQ(map_dma(it.container, 0, memory.address() + 1, kPage), EINVAL);
  EXPECT_EQ(map_dma(it.container, 0, memory.address(), kPage, 0), EINVAL);
  EXPECT_EQ(map_dma(it.container, 0, memory.address(), kPage, 0x100), EINVAL);
  EXPECT_EQ(map_dma(it.container, ~(kPage - 1), memory.address(), 2 * kPage), EINVAL);
  EXPECT_EQ(map_dma(it.container, 0xfee00000, memory.address(), kPage), EINVAL);  // where MSIs go
  EXPECT_EQ(map_dma(it.container, 0, 0x1000, kPage), EFAULT);
  EXPECT_EQ(map_dma(it.container, 0, memory.address(), 4 * kPage), 0);
  EXPECT_EQ(map_dma(it.container, 0, memory.address(), 4 * kPage), EEXIST);
  EXPECT_EQ(map_dma(it.container, 3 * kPage, memory.address(), kPage), EEXIST);
}
TEST(Container, UnmapCountsWhatWasThere) {
  const Opened it;
  const Fd file = shareable(4 * kPage);
  const Memory memory{4 * kPage, MAP_SHARED, file};
  ASSERT_EQ(map_dma(it.container, 0, memory.address(), 2 * kPage), 0);
  ASSERT_EQ(map_dma(it.container, 8 * kPage, memory.address(), kPage), 0);
  EXPECT_EQ(unmap_dma(it.container, 0, kPage).error, EINVAL);  // cuts the first
  EXPECT_EQ(unmap_dma(it.container, 0x100000, kPage).error, 0);
  EXPECT_EQ(unmap_dma(it.container, 0x100000, kPage).size, 0u);
  EXPECT_EQ(unmap_dma(it.container, 0, 0).error, EINVAL);
  EXPECT_EQ(unmap_dma(it.container, 0, kPage, 0x100).error, EINVAL);
  EXPECT_EQ(unmap_dma(it.container, 0, 16 * kPage).size, 3 * kPage);
  ASSERT_EQ(map_dma(it.container, 0, memory.address(), 2 * kPage), 0);
  EXPECT_EQ(unmap_dma(it.container, 0, kPage, VFIO_DMA_UNMAP_FLAG_ALL).error, EINVAL);
  EXPECT_EQ(unmap_dma(it.container, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL).size, 2 * kPage);
}

}  // namespace
}  // namespace vmux::tests
