// SPDX-License-Identifier: BSD-3-Clause
// Makes a configuration space from a description: config_space.cpp the header, capabilities.cpp the chain.
#pragma once

#include <optional>

#include "pci/config/config_space.hpp"
#include "wire/pci.hpp"

namespace vmux::pci {

class ConfigBuilder {
 public:
  ConfigBuilder(const FunctionSpec& spec, std::uint32_t rom_size) : spec_(spec), rom_size_(rom_size) {}
  [[nodiscard]] Result<ConfigSpace> build();

 private:
  void identity();
  [[nodiscard]] Result<void> bars();
  [[nodiscard]] Result<void> bar(unsigned index, const BarSpec& bar);
  void command_and_interrupt();

  /// One overload per alternative of Capability.
  [[nodiscard]] Result<void> add(const PowerManagement& capability);
  [[nodiscard]] Result<void> add(const Msi& capability);
  [[nodiscard]] Result<void> add(const Msix& capability);
  [[nodiscard]] Result<void> add(const Express& capability);
  [[nodiscard]] Result<void> add(const VendorSpecific& capability);
  [[nodiscard]] Result<void> add(const DeviceSerialNumber& capability);

  /// Room for a capability of `size` bytes, chained to the last one. `unique`: its offset field, which must be unused.
  [[nodiscard]] Result<std::size_t> place(wire::pci::CapabilityId id, std::size_t size, std::size_t* unique);
  void claim(std::size_t at, std::size_t size);
  template <class T>
  void put(std::size_t at, const T& value) {
    std::memcpy(&space_.bytes_[at], &value, sizeof value);
  }
  template <class T>
  void writable(std::size_t at, T mask) {
    const Le<T> wire = mask;
    std::memcpy(&space_.writable_[at], &wire, sizeof wire);
  }
  template <class T>
  void clears(std::size_t at, T mask) {
    const Le<T> wire = mask;
    std::memcpy(&space_.clears_[at], &wire, sizeof wire);
  }

  const FunctionSpec& spec_;
  std::uint32_t rom_size_;
  ConfigSpace space_;
  std::size_t link_ = offsetof(wire::pci::Type0Header, capabilities);  // the byte that will point to the next one
  std::size_t free_ = wire::pci::kFirstCapability;
  bool has_serial_ = false;
};

}  // namespace vmux::pci
