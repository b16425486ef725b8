// SPDX-License-Identifier: BSD-3-Clause
// VFIO's first interface: containers (/dev/vfio/vfio) and groups (/dev/vfio/N). Everything under state_mutex().
#pragma once

#include <array>
#include <memory>

#include "preload/vfio/device/device.hpp"

namespace vmux::preload {

/// An I/O address space of type1, once groups are in it and its kind is set.
class Container final : public Object {
 public:
  [[nodiscard]] const char* kind() const noexcept override { return "vfio-container"; }
  long ioctl(unsigned long request, void* argument) override;
  [[nodiscard]] dev_t device_number() const noexcept override;

  // for Group, which holds state_mutex()
  void join() noexcept { ++groups_; }
  void leave() noexcept;
  [[nodiscard]] const std::shared_ptr<DmaSpace>& space() const noexcept { return space_; }  ///< null before SET_IOMMU

 private:
  struct Handler {
    unsigned long request;
    const char* name;
    long (Container::*handle)(void* argument);
  };
  static const std::array<Handler, 7> kHandlers;
  long get_api_version(void* argument);
  long check_extension(void* argument);
  long set_iommu(void* argument);
  long get_info(void* argument);
  long map_dma(void* argument);
  long unmap_dma(void* argument);
  long dirty_pages(void* argument);

  // pieces of the above; container_dirty.cpp
  long check_bitmap(const vfio_bitmap& bitmap, std::uint64_t size) const;
  long report_dirty(std::uint64_t iova, std::uint64_t size, const vfio_bitmap& bitmap);

  std::shared_ptr<DmaSpace> space_;
  bool is_v2_ = false;
  unsigned groups_ = 0;
};

/// The one function in an IOMMU group of its own.
class Group final : public Object, public std::enable_shared_from_this<Group> {
 public:
  explicit Group(const Identity& identity) : identity_(identity) {}
  ~Group() override;
  [[nodiscard]] const char* kind() const noexcept override { return "vfio-group"; }
  long ioctl(unsigned long request, void* argument) override;
  [[nodiscard]] dev_t device_number() const noexcept override;

 private:
  struct Handler {
    unsigned long request;
    const char* name;
    long (Group::*handle)(void* argument);
  };
  static const std::array<Handler, 4> kHandlers;
  long get_status(void* argument);
  long set_container(void* argument);
  long unset_container(void* argument);
  long get_device_fd(void* argument);

  const Identity& identity_;  // lives as long as the process
  std::shared_ptr<Container> container_;
  std::weak_ptr<Device> device_;
};

}  // namespace vmux::preload
