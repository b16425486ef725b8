// SPDX-License-Identifier: BSD-3-Clause
// Drives a modern virtio PCI function that the kernel's VFIO has handed out: the driver's side of [VIRTIO] 4.1.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kvfio/kernel.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/strong.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::vdpa {

/// Where a queue lies, for the function: split, in addresses of its IOMMU domain.
struct RingPlace {
  Iova descriptors{}, driver{}, device{};
  std::uint16_t size = 0;
};

/// One thread. Resetting waits for the function, as do some reads: for no thread that moves frames of others.
///
/// What it says is not believed: each offset is checked against the region that it lies in, and whatever a function may
/// not do is an error, behind which its user stops it.
class Function {
 public:
  static constexpr std::uint16_t kNoVector = 0xffff;
  static constexpr unsigned kMostQueues = 65;  ///< 32 pairs and a control queue

  /// Finds its structures and resets it. not_supported for what is no modern virtio function.
  [[nodiscard]] static Result<std::unique_ptr<Function>> create(std::unique_ptr<kvfio::KernelDevice> device);

  [[nodiscard]] std::uint16_t kind() const noexcept { return kind_; }  ///< [VIRTIO] 5: 1 network, 2 block
  [[nodiscard]] std::uint64_t features() const noexcept { return features_; }
  [[nodiscard]] unsigned queues() const noexcept { return queues_; }
  [[nodiscard]] unsigned vectors() const noexcept { return vectors_; }  ///< of MSI-X
  [[nodiscard]] kvfio::KernelDevice& device() noexcept { return *device_; }

  /// A consistent copy of the configuration space of its kind; 0 beyond its end.
  [[nodiscard]] Result<void> read_config(std::size_t offset, std::span<std::byte> into);
  [[nodiscard]] Result<void> write_config(std::size_t offset, std::span<const std::byte> from);

  /// [VIRTIO] 3.1.1, steps 1 to 6: reset, and of its features these, which it may refuse. It may reach for memory from
  /// here on.
  [[nodiscard]] Result<void> negotiate(std::uint64_t features);
  /// Behind negotiate(): the most descriptors that this queue has; 0: there is no such queue.
  [[nodiscard]] Result<std::uint16_t> max_size(unsigned queue);
  [[nodiscard]] Result<void> set_up(unsigned queue, const RingPlace& place, std::uint16_t vector);
  [[nodiscard]] Result<void> set_config_vector(std::uint16_t vector);
  /// Step 8: it is live.
  [[nodiscard]] Result<void> drive();
  /// There are new chains. Of a queue that is set up.
  void kick(unsigned queue) noexcept;
  /// The device status field; nullopt: it does not answer.
  [[nodiscard]] std::optional<std::uint8_t> status() noexcept;

  /// Nothing of its queues or of the memory that they named is touched by it any more: it is reset, may not master the
  /// bus, and both were read back. After an error the only way to be sure is to give it back to the kernel.
  [[nodiscard]] Result<void> stop() noexcept;

  /// The eventfd that the kernel signals for this vector; -1: none. All of them are enabled once, by create().
  [[nodiscard]] Result<void> listen(unsigned vector, int eventfd) noexcept;

 private:
  /// A structure of [VIRTIO] 4.1.4 in one of the BARs.
  struct Structure {
    std::uint64_t at = 0;  ///< into the device's descriptor
    std::uint32_t length = 0;
    std::uint8_t bar = 0;
    std::uint32_t in_bar = 0;
  };
  struct Bell {
    std::uint64_t at = 0;  ///< into the device's descriptor
    std::byte* mapped = nullptr;
  };

  explicit Function(std::unique_ptr<kvfio::KernelDevice> device) noexcept : device_(std::move(device)) {}
  [[nodiscard]] Result<void> read_fields(std::size_t offset, std::span<std::byte> into);
  [[nodiscard]] Result<void> find_structures();
  [[nodiscard]] Result<void> take_structure(std::span<const std::byte> config, std::size_t at);
  [[nodiscard]] Result<void> enable_vectors();
  [[nodiscard]] Result<void> reset() noexcept;
  [[nodiscard]] Result<void> set_bus_master(bool is_on) noexcept;
  [[nodiscard]] Result<void> find_bell(unsigned queue, std::uint16_t notify_off);
  template <class T>
  [[nodiscard]] Result<T> get(const Structure& from, std::uint64_t offset) noexcept;
  template <class T>
  [[nodiscard]] Result<void> put(const Structure& into, std::uint64_t offset, T value) noexcept;
  [[nodiscard]] Result<void> put_address(std::uint64_t offset, Iova address) noexcept;

  std::unique_ptr<kvfio::KernelDevice> device_;
  std::uint64_t config_at_ = 0;
  std::uint16_t kind_ = 0;
  std::uint64_t features_ = 0;
  unsigned queues_ = 0, vectors_ = 0;
  std::optional<Structure> common_, notify_, config_;
  std::uint32_t notify_multiplier_ = 0;
  std::array<Bell, kMostQueues> bells_{};
  std::vector<std::pair<std::uint64_t, Mapping>> bell_pages_;  // by where they begin in the device's descriptor
};

}  // namespace vmux::vdpa
