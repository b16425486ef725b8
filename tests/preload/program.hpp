// SPDX-License-Identifier: BSD-3-Clause
// The program's side of the tests: plain system calls, as any VFIO program makes them. Nothing of ours is included.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "preload/probe_device.hpp"

namespace vmux::tests {

inline constexpr const char* kBdf = "0000:40:00.0";
inline constexpr std::uint64_t kPage = 4096;

/// The errno of a system call that fails, 0 of one that does not.
inline int errno_of(long result) { return result == -1 ? errno : 0; }
inline int errno_of(const void* result) { return result == MAP_FAILED ? errno : 0; }

/// Owns a descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    reset();
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  ~Fd() { reset(); }
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  operator int() const { return fd_; }

 private:
  int fd_ = -1;
};

/// Memory with an owner.
class Memory {
 public:
  Memory(std::size_t size, int flags, int fd = -1, off_t offset = 0)
      : size_(size), at_(::mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, offset)) {}
  ~Memory() {
    if (at_ != MAP_FAILED) ::munmap(at_, size_);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  std::uint8_t* data() const { return static_cast<std::uint8_t*>(at_); }
  std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(at_); }

 private:
  std::size_t size_;
  void* at_;
};

inline Fd shareable(std::uint64_t size) {
  Fd fd{memfd_create("test", MFD_CLOEXEC)};
  EXPECT_EQ(ftruncate(fd, static_cast<off_t>(size)), 0);
  return fd;
}

/// The group number that sysfs shows.
inline std::string group_of(const std::string& bdf) {
  char target[256];
  const ssize_t length = readlink(("/sys/bus/pci/devices/" + bdf + "/iommu_group").c_str(), target, sizeof target);
  if (length < 0) return {};
  const std::string text{target, static_cast<std::size_t>(length)};
  return text.substr(text.rfind('/') + 1);
}

inline int map_dma(int container, std::uint64_t iova, std::uint64_t vaddr, std::uint64_t size,
                   std::uint32_t flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE) {
  vfio_iommu_type1_dma_map map{sizeof map, flags, vaddr, iova, size};
  return errno_of(ioctl(container, VFIO_IOMMU_MAP_DMA, &map));
}
struct Unmapped {
  int error;
  std::uint64_t size;
};
inline Unmapped unmap_dma(int container, std::uint64_t iova, std::uint64_t size, std::uint32_t flags = 0) {
  vfio_iommu_type1_dma_unmap unmap{sizeof unmap, flags, iova, size};
  const int error = errno_of(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap));
  return {error, unmap.size};
}

/// A device opened the way every program of the container API opens it.
struct Opened {
  Fd container, group, device;

  struct Bare {};  // nothing is opened yet
  explicit Opened(Bare) {}
  explicit Opened(const std::string& bdf = kBdf) {
    container = Fd{open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC)};
    group = Fd{open(("/dev/vfio/" + group_of(bdf)).c_str(), O_RDWR | O_CLOEXEC)};
    const int number = container;
    EXPECT_EQ(ioctl(group, VFIO_GROUP_SET_CONTAINER, &number), 0) << strerror(errno);
    EXPECT_EQ(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0) << strerror(errno);
    device = Fd{ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf.c_str())};
    EXPECT_GE(static_cast<int>(device), 0) << strerror(errno);
  }

  static off_t at(unsigned region, std::uint64_t offset) {
    return static_cast<off_t>((std::uint64_t{region} << 40) + offset);
  }
  template <class T = std::uint32_t>
  T read(std::uint64_t offset) const {
    T value{};
    EXPECT_EQ(pread(device, &value, sizeof value, at(0, offset)), static_cast<ssize_t>(sizeof value))
        << strerror(errno);
    return value;
  }
  template <class T = std::uint32_t>
  void write(std::uint64_t offset, T value) const {
    EXPECT_EQ(pwrite(device, &value, sizeof value, at(0, offset)), static_cast<ssize_t>(sizeof value))
        << strerror(errno);
  }
  void enable_bus_master() const {
    const std::uint16_t command = 7;
    EXPECT_EQ(pwrite(device, &command, sizeof command, at(VFIO_PCI_CONFIG_REGION_INDEX, 4)), 2);
  }
  /// Has the device read or fill memory; its status register afterwards.
  std::uint32_t run(std::uint32_t command, std::uint64_t iova, std::uint32_t length) const {
    write<std::uint64_t>(probe::kAddress, iova);
    write(probe::kLength, length);
    write(probe::kCommand, command);
    std::uint32_t status = 0;
    while (status == 0)
      status = read(probe::kStatus);
    return status;
  }
};

inline int set_irqs(int device, std::uint32_t index, std::uint32_t flags, std::uint32_t start, std::uint32_t count,
                    std::initializer_list<std::int32_t> data = {}) {
  std::uint8_t buffer[128]{};
  vfio_irq_set header{};
  header.argsz = static_cast<std::uint32_t>(sizeof header + data.size() * 4);
  header.flags = flags;
  header.index = index;
  header.start = start;
  header.count = count;
  std::memcpy(buffer, &header, sizeof header);
  std::memcpy(buffer + sizeof header, data.begin(), data.size() * 4);
  return errno_of(ioctl(device, VFIO_DEVICE_SET_IRQS, buffer));
}

/// Waits for an eventfd; how often it was signalled.
inline std::uint64_t wait_for(int event) {
  std::uint64_t count = 0;
  return ::read(event, &count, sizeof count) == sizeof count ? count : 0;
}

}  // namespace vmux::tests
