// SPDX-License-Identifier: BSD-3-Clause
// Which pages a device wrote, asked for in each of the three ways that programs have: of the device, of its container,
// of the page table that it is attached to.
#include <vector>

#include "preload/iommufd_abi.hpp"
#include "preload/program.hpp"

namespace vmux::tests {
namespace {

constexpr std::uint64_t kPages = 100, kIova = 0x100000;

struct Ram {
  Fd file = shareable(kPages * kPage);
  Memory memory{kPages * kPage, MAP_SHARED, file};
};

/// The device writes into these pages, a few bytes at the end of each.
void write_pages(const Opened& it, std::initializer_list<std::uint64_t> pages) {
  for (const std::uint64_t page : pages)
    EXPECT_EQ(it.run(probe::kFill, kIova + page * kPage + 4000, 64), 1u) << page;
}

using Pages = std::vector<std::uint64_t>;
Pages set_bits(const std::vector<std::uint64_t>& bits) {
  Pages pages;
  for (std::uint64_t page = 0; page < bits.size() * 64; ++page) {
    if ((bits[page / 64] >> (page % 64) & 1) != 0) pages.push_back(page);
  }
  return pages;
}
std::uint64_t address_of(std::vector<std::uint64_t>& bits) { return reinterpret_cast<std::uint64_t>(bits.data()); }

// --- of the device: linux/vfio.h, VFIO_DEVICE_FEATURE_DMA_LOGGING_* ---

struct LoggingRange {
  std::uint64_t iova, length;
};
int start_log(const Opened& it, std::vector<LoggingRange> ranges) {
  struct {
    std::uint32_t argsz, flags;
    std::uint64_t page_size;
    std::uint32_t count, reserved;
    std::uint64_t ranges;
  } request{sizeof request,
            VFIO_DEVICE_FEATURE_SET | 6,
            kPage,
            static_cast<std::uint32_t>(ranges.size()),
            0,
            reinterpret_cast<std::uint64_t>(ranges.data())};
  return errno_of(ioctl(it.device, VFIO_DEVICE_FEATURE, &request));
}
int report_log(const Opened& it, std::uint64_t iova, std::uint64_t length, std::vector<std::uint64_t>& bits) {
  struct {
    std::uint32_t argsz, flags;
    std::uint64_t iova, length, page_size, bitmap;
  } request{sizeof request, VFIO_DEVICE_FEATURE_GET | 8, iova, length, kPage, address_of(bits)};
  return errno_of(ioctl(it.device, VFIO_DEVICE_FEATURE, &request));
}

TEST(DirtyPagesOfADevice, AreToldOnce) {
  const Opened it;
  const Ram ram;
  it.enable_bus_master();
  ASSERT_EQ(map_dma(it.container, kIova, ram.memory.address(), kPages * kPage), 0);
  write_pages(it, {1});
  std::vector<std::uint64_t> bits(2);
  EXPECT_EQ(report_log(it, kIova, kPages * kPage, bits), EINVAL);  // not started
  ASSERT_EQ(start_log(it, {{kIova, kPages * kPage}}), 0);
  write_pages(it, {3, 70, 99});
  bits[0] = 2;  // bits are only ever set
  ASSERT_EQ(report_log(it, kIova, kPages * kPage, bits), 0);
  EXPECT_EQ(set_bits(bits), (Pages{1, 3, 70, 99}));
  bits = {0, 0};
  ASSERT_EQ(report_log(it, kIova, kPages * kPage, bits), 0);
  EXPECT_EQ(set_bits(bits), Pages{});
  vfio_device_feature stop{sizeof stop, VFIO_DEVICE_FEATURE_SET | 7};
  EXPECT_EQ(ioctl(it.device, VFIO_DEVICE_FEATURE, &stop), 0);
  EXPECT_EQ(report_log(it, kIova, kPages * kPage, bits), EINVAL);
}
// More bits than a message holds, as for a VM with much memory.
TEST(DirtyPagesOfADevice, AreToldOfALargeRange) {
  const Opened it;
  const Ram ram;
  it.enable_bus_master();
  constexpr std::uint64_t kAll = std::uint64_t{40} << 30, kFar = kAll - kPages * kPage;
  ASSERT_EQ(map_dma(it.container, kFar, ram.memory.address(), kPages * kPage), 0);
  ASSERT_EQ(start_log(it, {{0, kAll}}), 0);
  EXPECT_EQ(it.run(probe::kFill, kFar + 99 * kPage, 64), 1u);
  std::vector<std::uint64_t> bits(kAll / kPage / 64);
  ASSERT_EQ(report_log(it, 0, kAll, bits), 0);
  EXPECT_EQ(set_bits(bits), Pages{kAll / kPage - 1});
  EXPECT_EQ(report_log(it, ~std::uint64_t{0} - kPage + 1, 2 * kPage, bits), EOVERFLOW);
}
TEST(DirtyPagesOfADevice, BadRequestsAreRefusedAsTheKernelDoes) {
  const Opened it;
  EXPECT_EQ(start_log(it, {}), EINVAL);
  vfio_device_feature head{sizeof head, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_PROBE | 6};
  EXPECT_EQ(errno_of(ioctl(it.device, VFIO_DEVICE_FEATURE, &head)), EINVAL);
  head.flags = VFIO_DEVICE_FEATURE_PROBE | 6;
  EXPECT_EQ(ioctl(it.device, VFIO_DEVICE_FEATURE, &head), 0);
  ASSERT_EQ(start_log(it, {{0, kPage}}), 0);
  std::vector<std::uint64_t> bits(1);
  EXPECT_EQ(report_log(it, 0, 0, bits), EINVAL);
}

// --- of a container: VFIO_IOMMU_DIRTY_PAGES ---

int dirty_pages(const Opened& it, std::uint32_t flags) {
  vfio_iommu_type1_dirty_bitmap request{};
  request.argsz = sizeof request;
  request.flags = flags;
  return errno_of(ioctl(it.container, VFIO_IOMMU_DIRTY_PAGES, &request));
}
int container_bitmap(const Opened& it, std::uint64_t iova, std::uint64_t size, std::vector<std::uint64_t>& bits,
                     std::uint64_t page = kPage) {
  struct {
    std::uint32_t argsz, flags;
    vfio_iommu_type1_dirty_bitmap_get range;
  } request{sizeof request,
            VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
            {iova, size, {page, bits.size() * 8, reinterpret_cast<__u64*>(bits.data())}}};
  return errno_of(ioctl(it.container, VFIO_IOMMU_DIRTY_PAGES, &request));
}

TEST(DirtyPagesOfAContainer, AreToldOnce) {
  const Opened it;
  const Ram ram;
  it.enable_bus_master();
  ASSERT_EQ(map_dma(it.container, kIova, ram.memory.address(), kPages * kPage), 0);
  ASSERT_EQ(dirty_pages(it, VFIO_IOMMU_DIRTY_PAGES_FLAG_START), 0);
  write_pages(it, {0, 64, 99});
  std::vector<std::uint64_t> bits(2, ~std::uint64_t{0});
  ASSERT_EQ(container_bitmap(it, kIova, kPages * kPage, bits), 0);
  bits[1] &= (std::uint64_t{1} << (kPages - 64)) - 1;
  EXPECT_EQ(set_bits(bits), (Pages{0, 64, 99}));
  ASSERT_EQ(container_bitmap(it, kIova, kPages * kPage, bits), 0);
  EXPECT_EQ(set_bits(bits), Pages{});
  ASSERT_EQ(dirty_pages(it, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP), 0);
  EXPECT_EQ(container_bitmap(it, kIova, kPages * kPage, bits), EINVAL);
}
TEST(DirtyPagesOfAContainer, UnmapTellsTheLastOfThem) {
  const Opened it;
  const Ram ram;
  it.enable_bus_master();
  ASSERT_EQ(map_dma(it.container, kIova, ram.memory.address(), kPages * kPage), 0);
  std::vector<std::uint64_t> bits(2);
  struct {
    std::uint32_t argsz, flags;
    std::uint64_t iova, size;
    vfio_bitmap bitmap;
  } request{sizeof request,
            VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
            kIova,
            kPages * kPage,
            {kPage, 16, reinterpret_cast<__u64*>(bits.data())}};
  EXPECT_EQ(errno_of(ioctl(it.container, VFIO_IOMMU_UNMAP_DMA, &request)), EINVAL);  // nothing is tracked
  ASSERT_EQ(dirty_pages(it, VFIO_IOMMU_DIRTY_PAGES_FLAG_START), 0);
  write_pages(it, {5});
  request.bitmap.size = 8;
  EXPECT_EQ(errno_of(ioctl(it.container, VFIO_IOMMU_UNMAP_DMA, &request)), EINVAL);
  request.bitmap.size = 16;
  ASSERT_EQ(ioctl(it.container, VFIO_IOMMU_UNMAP_DMA, &request), 0);
  EXPECT_EQ(request.size, kPages * kPage);
  EXPECT_EQ(set_bits(bits), Pages{5});
}
TEST(DirtyPagesOfAContainer, BadRequestsAreRefusedAsTheKernelDoes) {
  const Opened it;
  const Ram ram;
  ASSERT_EQ(map_dma(it.container, kIova, ram.memory.address(), 64 * kPage), 0);
  EXPECT_EQ(dirty_pages(it, 0), EINVAL);
  EXPECT_EQ(dirty_pages(it, VFIO_IOMMU_DIRTY_PAGES_FLAG_START | VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP), EINVAL);
  EXPECT_EQ(dirty_pages(it, 8), EINVAL);
  EXPECT_EQ(dirty_pages(it, VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP), EINVAL);  // too short
  ASSERT_EQ(dirty_pages(it, VFIO_IOMMU_DIRTY_PAGES_FLAG_START), 0);
  EXPECT_EQ(dirty_pages(it, VFIO_IOMMU_DIRTY_PAGES_FLAG_START), 0);
  std::vector<std::uint64_t> bits(1), none;
  EXPECT_EQ(container_bitmap(it, kIova, 32 * kPage, bits), EINVAL);  // cuts the mapping
  EXPECT_EQ(container_bitmap(it, kIova, 64 * kPage, bits, 2 * kPage), EINVAL);
  EXPECT_EQ(container_bitmap(it, kIova, 65 * kPage, bits), EINVAL);  // the bitmap is too small
  EXPECT_EQ(container_bitmap(it, kIova, 64 * kPage, none), EINVAL);
  EXPECT_EQ(container_bitmap(it, kIova + 1, 64 * kPage, bits), EINVAL);
  EXPECT_EQ(container_bitmap(it, kIova, 0, bits), EINVAL);
  EXPECT_EQ(container_bitmap(it, kIova, 64 * kPage, bits), 0);
}

// --- of a page table: linux/iommufd.h ---

struct SetTracking {
  std::uint32_t size = sizeof(SetTracking), flags, table, reserved = 0;
};
struct GetBitmap {
  std::uint32_t size = sizeof(GetBitmap), table, flags = 0, reserved = 0;
  std::uint64_t iova, length, page_size, data;
};

struct Tracked : Cdev {
  std::uint32_t table = 0;
  Ram ram;
  Tracked() {
    bind();
    iommufd::HwInfo info{.device = devid};
    EXPECT_EQ(ioctl(iommufd, iommufd::command(0x8a), &info), 0);
    EXPECT_EQ(info.capabilities, 1u);  // IOMMU_HW_CAP_DIRTY_TRACKING
    iommufd::Hwpt alloc{.flags = 2, .device = devid, .parent = ioas};
    EXPECT_EQ(ioctl(iommufd, iommufd::command(0x89), &alloc), 0);
    table = alloc.id;
    EXPECT_EQ(attach(table), 0);
    enable_bus_master();
    iommufd::Map map{.flags = iommufd::kFixedReadWrite,
                     .id = ioas,
                     .address = ram.memory.address(),
                     .length = kPages * kPage,
                     .iova = kIova};
    EXPECT_EQ(ioctl(iommufd, iommufd::command(0x85), &map), 0);
  }
  int track(std::uint32_t id, std::uint32_t flags) {
    SetTracking request{.flags = flags, .table = id};
    return errno_of(ioctl(iommufd, iommufd::command(0x8b), &request));
  }
  int report(std::vector<std::uint64_t>& bits, std::uint32_t flags = 0, std::uint64_t page = kPage) {
    GetBitmap request{.table = table,
                      .flags = flags,
                      .iova = kIova,
                      .length = kPages * kPage,
                      .page_size = page,
                      .data = address_of(bits)};
    return errno_of(ioctl(iommufd, iommufd::command(0x8c), &request));
  }
};

TEST(DirtyPagesOfAPageTable, AreToldUntilTheyAreCleared) {
  Tracked it;
  std::vector<std::uint64_t> bits(2);
  EXPECT_EQ(it.report(bits), EINVAL);
  ASSERT_EQ(it.track(it.table, 1), 0);
  write_pages(it, {2, 3, 65});
  ASSERT_EQ(it.report(bits, /*no clear*/ 1), 0);
  EXPECT_EQ(set_bits(bits), (Pages{2, 3, 65}));
  bits = {0, 0};
  ASSERT_EQ(it.report(bits, 0, 4 * kPage), 0);
  EXPECT_EQ(set_bits(bits), (Pages{0, 16}));
  bits = {0, 0};
  ASSERT_EQ(it.report(bits), 0);
  EXPECT_EQ(set_bits(bits), Pages{});
  ASSERT_EQ(it.track(it.table, 0), 0);
}
TEST(DirtyPagesOfAPageTable, BadRequestsAreRefusedAsTheKernelDoes) {
  Tracked it;
  std::vector<std::uint64_t> bits(2);
  EXPECT_EQ(it.track(999, 1), ENOENT);
  EXPECT_EQ(it.track(it.table, 2), EOPNOTSUPP);
  iommufd::Hwpt plain{.device = it.devid, .parent = it.ioas};
  ASSERT_EQ(ioctl(it.iommufd, iommufd::command(0x89), &plain), 0);
  EXPECT_EQ(it.track(plain.id, 1), EOPNOTSUPP);  // was not allocated for it
  ASSERT_EQ(it.track(it.table, 1), 0);
  EXPECT_EQ(it.report(bits, 2), EOPNOTSUPP);
  EXPECT_EQ(it.report(bits, 0, 3 * kPage), EINVAL);
  EXPECT_EQ(it.report(bits, 0, 8 * kPage), EINVAL);  // 100 pages are no multiple
}

}  // namespace
}  // namespace vmux::tests
