// SPDX-License-Identifier: BSD-3-Clause
// What we need of the kernel's VFIO, and no more: the seam behind which the container and group API stands today, and
// iommufd may tomorrow. Unit tests put a fake behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/strong.hpp"
#include "vmux/memory/guest_memory.hpp"
#include "vmux/pci/interrupts.hpp"
#include "vmux/pci/spec.hpp"
#include "vmux/state/fd_bag.hpp"

namespace vmux::kvfio {

struct RegionFacts {
  std::uint64_t size = 0;    ///< 0: there is none
  std::uint64_t offset = 0;  ///< into the device's descriptor
  bool readable = false, writable = false;
  std::vector<pci::SharedArea> mappable;  ///< what the kernel lets a program map
};

/// SET_IRQS as the kernel takes it: -1 among the descriptors is a vector without a sink.
struct IrqCall {
  pci::Irq irq = pci::Irq::intx;
  pci::IrqAction action = pci::IrqAction::trigger;
  pci::IrqData data = pci::IrqData::none;
  std::uint32_t start = 0, count = 0;
  std::span<const int> eventfds;
  std::span<const std::uint8_t> booleans;
};

/// A function that the kernel gave us; given back when destroyed (the kernel then resets it).
class KernelDevice {
 public:
  virtual ~KernelDevice() = default;
  /// What regions are mapped from.
  [[nodiscard]] virtual int fd() const noexcept = 0;
  [[nodiscard]] virtual bool is_resettable() const noexcept = 0;
  /// Of a region or interrupt that the device does not have: size or count 0.
  [[nodiscard]] virtual RegionFacts region(pci::Region region) const = 0;
  [[nodiscard]] virtual pci::IrqInfo irq(pci::Irq irq) const = 0;
  /// At an offset into the descriptor. An error when the device does not answer (memory space is off, it is gone).
  [[nodiscard]] virtual Result<void> read(std::uint64_t offset, std::span<std::byte> into) noexcept = 0;
  [[nodiscard]] virtual Result<void> write(std::uint64_t offset, std::span<const std::byte> from) noexcept = 0;
  [[nodiscard]] virtual Result<void> set_irqs(const IrqCall& call) noexcept = 0;
  [[nodiscard]] virtual Result<void> reset() noexcept = 0;
};

/// One IOMMU address space and the functions that live in it: an IOMMU group. Devices must be gone before it goes.
class KernelDomain {
 public:
  virtual ~KernelDomain() = default;
  [[nodiscard]] virtual Result<std::unique_ptr<KernelDevice>> open(const std::string& address) = 0;
  /// Pins [host, host + size) and lets the devices reach it at `start`.
  [[nodiscard]] virtual Result<void> map(Iova start, ByteCount size, const std::byte* host,
                                         memory::Access access) noexcept = 0;
  /// Takes back everything that is mapped within the range, in one call to the kernel; nothing may be.
  [[nodiscard]] virtual Result<void> unmap(Iova start, ByteCount size) noexcept = 0;

  /// Names the descriptors by which another process goes on with it, `vfio/...`: Kernel::adopt_domain().
  [[nodiscard]] virtual Result<void> record(state::FdBag& into) const = 0;
  /// A device that another process has opened, by its descriptor: nothing of it changes.
  [[nodiscard]] virtual Result<std::unique_ptr<KernelDevice>> adopt(const std::string& address, UniqueFd device) = 0;
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  /// busy while another process, or a client that was given a descriptor, holds the group.
  [[nodiscard]] virtual Result<std::unique_ptr<KernelDomain>> open_domain(unsigned group) = 0;
  /// The domain of a process that is gone, as it is: what was mapped is, and devices go on. The error is of descriptors
  /// that are none of this group's.
  [[nodiscard]] virtual Result<std::unique_ptr<KernelDomain>> adopt_domain(unsigned group,
                                                                           const state::FdBag& from) = 0;
  /// Whether a process may take back what another one has mapped; without that there is nothing to adopt.
  [[nodiscard]] virtual bool can_adopt() const noexcept = 0;
};

}  // namespace vmux::kvfio
