// SPDX-License-Identifier: BSD-3-Clause
// The cdev and iommufd interface. Debian 12's headers do not have it, so the structs are written down here once more,
// from linux/vfio.h and linux/iommufd.h of Linux 6.12; and a device opened that way.
#pragma once

#include "preload/program.hpp"

namespace vmux::tests {
namespace iommufd {

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

}  // namespace iommufd

struct Cdev : Opened {
  Fd iommufd{open("/dev/iommu", O_RDWR | O_CLOEXEC)};
  std::uint32_t devid = 0, ioas = 0;

  Cdev() : Opened(Bare{}) {
    device = Fd{open(("/dev/vfio/devices/vfio" + group_of(kBdf)).c_str(), O_RDWR | O_CLOEXEC)};
    EXPECT_GE(static_cast<int>(device), 0);
    iommufd::Ioas alloc;
    EXPECT_EQ(ioctl(iommufd, iommufd::command(0x81), &alloc), 0);
    ioas = alloc.id;
  }
  void bind() {
    iommufd::Bind request{.iommufd = iommufd};
    ASSERT_EQ(ioctl(device, iommufd::kBind, &request), 0) << strerror(errno);
    devid = request.devid;
  }
  int attach(std::uint32_t id) {
    iommufd::Attach request{.id = id};
    return errno_of(ioctl(device, iommufd::kAttach, &request));
  }
};

}  // namespace vmux::tests
