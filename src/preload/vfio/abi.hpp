// SPDX-License-Identifier: BSD-3-Clause
// The kernel's VFIO and iommufd interfaces as a program sees them: linux/vfio.h, and what is newer than Debian 12's
// copy of it (Linux 6.6 and later: cdev and iommufd; Documentation/userspace-api/iommufd.rst), declared here under our
// names.
#pragma once

#include <linux/vfio.h>
#include <sys/ioctl.h>

#include <cstdint>

namespace vmux::preload::abi {

// VFIO of a device opened as a character device: linux/vfio.h of 6.6.
inline constexpr unsigned long kBindIommufd = _IO(VFIO_TYPE, VFIO_BASE + 18);
inline constexpr unsigned long kAttachIommufdPt = _IO(VFIO_TYPE, VFIO_BASE + 19);
inline constexpr unsigned long kDetachIommufdPt = _IO(VFIO_TYPE, VFIO_BASE + 20);

struct BindIommufd {
  std::uint32_t argsz, flags;
  std::int32_t iommufd;
  std::uint32_t out_devid;
};
static_assert(sizeof(BindIommufd) == 16);
struct AttachIommufdPt {
  std::uint32_t argsz, flags, pt_id;
};
static_assert(sizeof(AttachIommufdPt) == 12);
struct DetachIommufdPt {
  std::uint32_t argsz, flags;
};

// linux/iommufd.h. Every struct begins with its size; a kernel that knows a longer one takes a shorter.
inline constexpr unsigned kIommufdBase = 0x80;
inline constexpr unsigned long iommufd_command(unsigned number) { return _IO(VFIO_TYPE, kIommufdBase + number); }
inline constexpr unsigned long kDestroy = iommufd_command(0);
inline constexpr unsigned long kIoasAlloc = iommufd_command(1);
inline constexpr unsigned long kIoasAllowIovas = iommufd_command(2);
inline constexpr unsigned long kIoasCopy = iommufd_command(3);
inline constexpr unsigned long kIoasIovaRanges = iommufd_command(4);
inline constexpr unsigned long kIoasMap = iommufd_command(5);
inline constexpr unsigned long kIoasUnmap = iommufd_command(6);
inline constexpr unsigned long kOption = iommufd_command(7);
inline constexpr unsigned long kHwptAlloc = iommufd_command(9);
inline constexpr unsigned long kGetHwInfo = iommufd_command(10);
inline constexpr unsigned long kHwptSetDirtyTracking = iommufd_command(11);
inline constexpr unsigned long kHwptGetDirtyBitmap = iommufd_command(12);
inline constexpr unsigned long kIoasMapFile = iommufd_command(15);

struct Destroy {
  std::uint32_t size, id;
};
struct IoasAlloc {
  std::uint32_t size, flags, out_ioas_id;
};
struct IovaRange {
  std::uint64_t start, last;
};
struct IoasIovaRanges {
  std::uint32_t size, ioas_id, num_iovas, reserved;
  std::uint64_t allowed_iovas, out_iova_alignment;
};
static_assert(sizeof(IoasIovaRanges) == 32);
inline constexpr std::uint32_t kMapFixedIova = 1, kMapWriteable = 2, kMapReadable = 4;
struct IoasMap {
  std::uint32_t size, flags, ioas_id, reserved;
  std::uint64_t user_va, length, iova;
};
static_assert(sizeof(IoasMap) == 40);
struct IoasMapFile {
  std::uint32_t size, flags, ioas_id;
  std::int32_t fd;
  std::uint64_t start, length, iova;
};
static_assert(sizeof(IoasMapFile) == 40);
struct IoasUnmap {
  std::uint32_t size, ioas_id;
  std::uint64_t iova, length;
};
static_assert(sizeof(IoasUnmap) == 24);
struct Option {
  std::uint32_t size, option_id;
  std::uint16_t op, reserved;
  std::uint32_t object_id;
  std::uint64_t value;
};
static_assert(sizeof(Option) == 24);
inline constexpr std::uint32_t kOptionRlimitMode = 0, kOptionHugePages = 1;
struct HwptAlloc {
  std::uint32_t size, flags, dev_id, pt_id, out_hwpt_id, reserved;
  std::uint32_t data_type, data_len;
  std::uint64_t data_uptr;
  std::uint32_t fault_id, reserved2;
};
static_assert(sizeof(HwptAlloc) == 48);
inline constexpr std::uint32_t kHwptAllocDirtyTracking = 2;
inline constexpr std::uint64_t kHwCapDirtyTracking = 1;
struct HwptSetDirtyTracking {
  std::uint32_t size, flags, hwpt_id, reserved;
};
inline constexpr std::uint32_t kDirtyTrackingEnable = 1;
struct HwptGetDirtyBitmap {
  std::uint32_t size, hwpt_id, flags, reserved;
  std::uint64_t iova, length, page_size, data;
};
static_assert(sizeof(HwptGetDirtyBitmap) == 48);
inline constexpr std::uint32_t kDirtyBitmapNoClear = 1;
struct GetHwInfo {
  std::uint32_t size, flags, dev_id, data_len;
  std::uint64_t data_uptr;
  std::uint32_t out_data_type, reserved;
  std::uint64_t out_capabilities;
};
static_assert(sizeof(GetHwInfo) == 40);

// linux/kvm.h: what a VMM tells KVM's VFIO pseudo device about groups and devices.
struct KvmDeviceAttr {
  std::uint32_t flags, group;
  std::uint64_t attr, addr;
};
inline constexpr unsigned long kKvmSetDeviceAttr = _IOW(0xAE, 0xe1, KvmDeviceAttr);
inline constexpr std::uint32_t kKvmDevVfioGroup = 1;

// vfio_iommu_type1_info_cap_iova_range without the array that follows it.
struct IovaRangeCap {
  vfio_info_cap_header header;
  std::uint32_t nr_iovas, reserved;
};
static_assert(sizeof(IovaRangeCap) == 16);

// Offsets of regions in a device's file, as the kernel's vfio-pci lays them out (VFIO_PCI_OFFSET_SHIFT).
inline constexpr unsigned kRegionShift = 40;

// Newer than Debian 12's linux/vfio.h in some of their uses; numbers are the kernel's.
inline constexpr std::uint32_t kFeatureMigration = 1, kFeatureDeviceState = 2, kFeatureLoggingStart = 6,
                               kFeatureLoggingStop = 7, kFeatureLoggingReport = 8;
struct FeatureDeviceState {
  std::uint32_t device_state;
  std::int32_t data_fd;
};
struct FeatureLoggingControl {
  std::uint64_t page_size;
  std::uint32_t num_ranges, reserved;
  std::uint64_t ranges;  // pointer to num_ranges times {iova, length}
};
static_assert(sizeof(FeatureLoggingControl) == 24);
struct FeatureLoggingReport {
  std::uint64_t iova, length, page_size, bitmap;
};
static_assert(sizeof(FeatureLoggingReport) == 32);

}  // namespace vmux::preload::abi
