// SPDX-License-Identifier: BSD-3-Clause
// Configuration space as a C program describes it: bytes that it may look at and change at any time, and the rules for
// what a guest writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vfio-user/libvfio-user.h"

namespace vmux::capi {

struct CapabilityKind;

/// One capability in its place.
struct Capability {
  const CapabilityKind* kind;
  std::size_t at, size;
  int flags;  ///< VFU_CAP_FLAG_*
  [[nodiscard]] bool is_extended() const noexcept { return (flags & VFU_CAP_FLAG_EXTENDED) != 0; }
};

class ConfigSpace {
 public:
  [[nodiscard]] vfu_pci_config_space_t* raw() noexcept { return reinterpret_cast<vfu_pci_config_space_t*>(bytes_); }
  [[nodiscard]] vfu_pci_hdr_t& header() noexcept { return raw()->hdr; }
  [[nodiscard]] std::span<std::uint8_t> bytes() noexcept { return bytes_; }
  /// The capability at `at`, as find() has it, as what it is made of.
  template <class T>
  [[nodiscard]] T* capability_at(std::size_t at) noexcept {
    return reinterpret_cast<T*>(bytes_ + at);
  }

  /// 0, EINVAL or EEXIST. `size`: that of the region.
  [[nodiscard]] int init(vfu_pci_type_t type, int header_type, std::size_t& size) noexcept;
  [[nodiscard]] bool is_initialised() const noexcept { return is_initialised_; }

  /// See vfu_pci_add_capability(): 0 or an errno. `size`: that of the region.
  [[nodiscard]] int add(std::size_t& at, int flags, const std::uint8_t* data, std::size_t size);
  /// See vfu_pci_find_next_capability().
  [[nodiscard]] std::size_t find(bool is_extended, std::size_t after, int id, std::size_t size) noexcept;
  /// The first capability that has a byte of [at, at + count), or nullptr.
  [[nodiscard]] const Capability* first_in(std::size_t at, std::size_t count) const noexcept;
  [[nodiscard]] std::span<const Capability> capabilities() const noexcept { return capabilities_; }
  /// Where the device control register of PCI Express is; 0: there is none.
  [[nodiscard]] std::size_t device_control() const noexcept;

 private:
  [[nodiscard]] int place(Capability& what, std::size_t size);
  void link(const Capability& what) noexcept;
  [[nodiscard]] std::size_t next_of(std::size_t at, bool is_extended) noexcept;
  [[nodiscard]] int id_of(std::size_t at, bool is_extended) noexcept;
  [[nodiscard]] std::size_t first_of(bool is_extended) noexcept;
  [[nodiscard]] std::size_t last_of(bool is_extended) noexcept;

  alignas(8) std::uint8_t bytes_[PCI_CFG_SPACE_EXP_SIZE]{};
  std::vector<Capability> capabilities_;
  bool is_initialised_ = false, may_extend_ = false;
};

/// An access by the client: how many bytes were served, or -1 with errno.
[[nodiscard]] ssize_t access_config(vfu_ctx& context, char* bytes, std::size_t count, std::size_t at, bool is_write);

/// A write to [at, at + from.size()) of a capability that the library serves: 0 or an errno.
[[nodiscard]] int write_capability(vfu_ctx& context, const Capability& what, std::size_t at,
                                   std::span<const std::uint8_t> from);

}  // namespace vmux::capi
