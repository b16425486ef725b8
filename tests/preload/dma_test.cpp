// SPDX-License-Identifier: BSD-3-Clause
#include <sys/shm.h>

#include <algorithm>

#include "preload/program.hpp"

namespace vmux::tests {
namespace {

bool is_filled(const std::uint8_t* from, std::size_t size) {
  return std::all_of(from, from + size, [](std::uint8_t byte) { return byte == probe::kFillByte; });
}

/// Maps it, has the device read and fill it, and checks both.
void expect_reached(const Opened& it, std::uint8_t* memory, std::size_t size) {
  it.enable_bus_master();
  ASSERT_EQ(map_dma(it.container, 0x100000, reinterpret_cast<std::uint64_t>(memory), size), 0);
  std::fill_n(memory, 100, std::uint8_t{2});
  EXPECT_EQ(it.run(probe::kSumUp, 0x100000, 100), 1u);
  EXPECT_EQ(it.read(probe::kSum), 200u);
  EXPECT_EQ(it.run(probe::kFill, 0x100000 + size - 64, 64), 1u);
  EXPECT_TRUE(is_filled(memory + size - 64, 64));
  EXPECT_EQ(unmap_dma(it.container, 0x100000, size).size, size);
  EXPECT_EQ(it.run(probe::kSumUp, 0x100000, 100), 2u);
}

TEST(Dma, MemfdWhoseDescriptorIsOpen) {
  const Opened it;
  const Fd file = shareable(2 * kPage);
  const Memory memory{2 * kPage, MAP_SHARED, file};
  expect_reached(it, memory.data(), 2 * kPage);
}
TEST(Dma, FileOnDiskWhoseDescriptorIsClosed) {
  const Opened it;
  char path[] = "/tmp/preload-dma-XXXXXX";
  Fd file{mkstemp(path)};
  ASSERT_EQ(ftruncate(file, 2 * kPage), 0);
  const Memory memory{2 * kPage, MAP_SHARED, file};
  file.reset();
  expect_reached(it, memory.data(), 2 * kPage);
  unlink(path);
}
TEST(Dma, SharedAnonymousMemoryNeedsPrivilege) {
  if (geteuid() != 0) GTEST_SKIP() << "needs CAP_CHECKPOINT_RESTORE for /proc/self/map_files";
  const Opened it;
  const Memory memory{2 * kPage, MAP_SHARED | MAP_ANONYMOUS};
  expect_reached(it, memory.data(), 2 * kPage);
}
TEST(Dma, SystemVSharedMemory) {
  if (geteuid() != 0) GTEST_SKIP() << "needs CAP_CHECKPOINT_RESTORE for /proc/self/map_files";
  const Opened it;
  const int id = shmget(IPC_PRIVATE, 2 * kPage, IPC_CREAT | 0600);
  auto* memory = static_cast<std::uint8_t*>(shmat(id, nullptr, 0));
  shmctl(id, IPC_RMID, nullptr);
  expect_reached(it, memory, 2 * kPage);
  shmdt(memory);
}
TEST(Dma, PrivateMemoryGoesByMessage) {
  const Opened it;
  const Memory memory{2 * kPage, MAP_PRIVATE | MAP_ANONYMOUS};
  expect_reached(it, memory.data(), 2 * kPage);
}
TEST(Dma, PrivateMemoryIsRefusedWhereTheServerTakesNone) {
  const Opened it{"0000:40:00.1"};
  const Memory memory{kPage, MAP_PRIVATE | MAP_ANONYMOUS};
  EXPECT_NE(map_dma(it.container, 0, memory.address(), kPage), 0);
  EXPECT_EQ(unmap_dma(it.container, 0, kPage).size, 0u);
  const Fd file = shareable(kPage);
  const Memory shared{kPage, MAP_SHARED, file};
  EXPECT_EQ(map_dma(it.container, 0, shared.address(), kPage), 0);
}
TEST(Dma, OneMapAcrossSeveralMappings) {
  const Opened it;
  it.enable_bus_master();
  const Fd one = shareable(kPage), two = shareable(2 * kPage);
  const Memory memory{3 * kPage, MAP_PRIVATE | MAP_ANONYMOUS};
  ASSERT_NE(mmap(memory.data(), kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, one, 0), MAP_FAILED);
  ASSERT_NE(mmap(memory.data() + kPage, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, two, kPage), MAP_FAILED);
  ASSERT_EQ(map_dma(it.container, 0, memory.address(), 3 * kPage), 0);
  for (std::uint64_t page = 0; page < 3; ++page) {
    EXPECT_EQ(it.run(probe::kFill, page * kPage, 4096), 1u);
    EXPECT_TRUE(is_filled(memory.data() + page * kPage, 4096)) << page;
  }
  EXPECT_EQ(unmap_dma(it.container, 0, 3 * kPage).size, 3 * kPage);
}
TEST(Dma, MapsMadeBeforeTheDeviceIsOpenedCount) {
  const Fd file = shareable(kPage);
  const Memory memory{kPage, MAP_SHARED, file};
  Opened it;
  it.device.reset();
  ASSERT_EQ(map_dma(it.container, 0, memory.address(), kPage), 0);
  it.device = Fd{ioctl(it.group, VFIO_GROUP_GET_DEVICE_FD, kBdf)};
  it.enable_bus_master();
  EXPECT_EQ(it.run(probe::kFill, 0, 64), 1u);
  EXPECT_TRUE(is_filled(memory.data(), 64));
}
TEST(Dma, TwoDevicesOfOneContainerShareMaps) {
  Opened it;
  const Fd file = shareable(kPage);
  const Memory memory{kPage, MAP_SHARED, file};
  ASSERT_EQ(map_dma(it.container, 0, memory.address(), kPage), 0);
  const Fd group{open(("/dev/vfio/" + group_of("0000:40:00.1")).c_str(), O_RDWR)};
  const int number = it.container;
  ASSERT_EQ(ioctl(group, VFIO_GROUP_SET_CONTAINER, &number), 0);
  const Fd first = std::move(it.device);
  it.device = Fd{ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:40:00.1")};
  it.enable_bus_master();
  EXPECT_EQ(it.run(probe::kFill, 0, 64), 1u);
  EXPECT_TRUE(is_filled(memory.data(), 64));
}

}  // namespace
}  // namespace vmux::tests
