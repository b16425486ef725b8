// SPDX-License-Identifier: BSD-3-Clause
// VFIO's second interface: /dev/iommu, and devices opened as /dev/vfio/devices/vfioN. Everything under state_mutex().
// Ids name I/O address spaces, page tables on top of one (each the same as its space here), and bound devices.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <set>
#include <variant>

#include "preload/vfio/device/device.hpp"

namespace vmux::preload {

class Iommufd final : public Object, public std::enable_shared_from_this<Iommufd> {
 public:
  [[nodiscard]] const char* kind() const noexcept override { return "iommufd"; }
  long ioctl(unsigned long request, void* argument) override;
  [[nodiscard]] dev_t device_number() const noexcept override;

  // for Device, which holds state_mutex()
  [[nodiscard]] std::uint32_t bind(std::weak_ptr<Device> device);
  /// The space that an id of a space or page table leads to, or null.
  [[nodiscard]] std::shared_ptr<DmaSpace> space_of(std::uint32_t id) const;
  [[nodiscard]] bool wants_log(std::uint32_t id) const {
    const auto* table = get<PageTable>(id);
    return table != nullptr && table->tracks_dirty;
  }

 private:
  struct PageTable {
    std::uint32_t space_id = 0;
    bool tracks_dirty = false;  // allocated for it: only devices that log may use it
  };
  using Entry = std::variant<std::shared_ptr<DmaSpace>, PageTable, std::weak_ptr<Device>>;
  struct Handler {
    unsigned long request;
    const char* name;
    std::size_t size;   ///< of the struct
    std::size_t least;  ///< of what a program must give
    long (Iommufd::*handle)(void* command);
  };
  static const std::array<Handler, 11> kHandlers;
  long destroy(void* command);
  long ioas_alloc(void* command);
  long iova_ranges(void* command);
  long ioas_map(void* command);
  long ioas_map_file(void* command);
  long ioas_unmap(void* command);
  long option(void* command);
  long hwpt_alloc(void* command);
  long hw_info(void* command);
  long set_dirty_tracking(void* command);
  long get_dirty_bitmap(void* command);

  template <class T>
  [[nodiscard]] const T* get(std::uint32_t id) const {
    const auto entry = entries_.find(id);
    return entry == entries_.end() ? nullptr : std::get_if<T>(&entry->second);
  }
  [[nodiscard]] long place(std::uint32_t id, std::uint32_t flags, std::uint64_t length, std::uint64_t& iova,
                           DmaSpace*& space);

  std::map<std::uint32_t, Entry> entries_;
  std::map<std::uint32_t, std::set<std::uint64_t>> kept_;  // by page table: dirty pages that were told and not cleared
  std::uint32_t next_id_ = 1;
};

}  // namespace vmux::preload
