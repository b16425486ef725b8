// SPDX-License-Identifier: BSD-3-Clause
// One PCI function that the program opened: VFIO's device file on one side, a vfio-user server on the other.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "preload/dma/dma_space.hpp"
#include "preload/dma/message_memory.hpp"
#include "preload/process/shared_lock.hpp"
#include "preload/tree/sysfs.hpp"
#include "preload/vfio/abi.hpp"
#include "preload/vfio/device/irq_rules.hpp"
#include "preload/vfio/object.hpp"
#include "vmux/vfio_user/client.hpp"

namespace vmux::preload {

class Device final : public Object, public DmaUser, public std::enable_shared_from_this<Device> {
 public:
  struct Opened {
    int error = 0;  ///< 0, or a negated errno
    std::shared_ptr<Device> device;
  };
  /// Connects and asks for everything that does not change.
  [[nodiscard]] static Opened open(const Identity& identity);
  ~Device() override;

  // Object
  [[nodiscard]] const char* kind() const noexcept override { return "vfio-device"; }
  long ioctl(unsigned long request, void* argument) override;
  long read_at(std::uint64_t offset, std::span<std::byte> into) override;
  long write_at(std::uint64_t offset, std::span<const std::byte> from) override;
  long mmap(void* hint, std::size_t length, int protection, int flags, std::uint64_t offset) override;
  [[nodiscard]] dev_t device_number() const noexcept override { return device_number_; }

  // DmaUser; state_mutex() is held
  int dma_map(const DmaPiece& piece) override;
  int dma_unmap(const DmaPiece& piece) override;
  [[nodiscard]] std::size_t dma_limit() const noexcept override { return limits_.max_dma_maps; }
  int dirty_start() override;
  void dirty_stop() override;
  int dirty_report(std::uint64_t iova, std::span<std::uint64_t> bits, std::uint64_t pages) override;
  /// Does its server keep a log of the pages that it writes?
  [[nodiscard]] bool can_log_dma();

  /// Which address space it uses; the old one is left. state_mutex() is held.
  int use(std::shared_ptr<DmaSpace> space);
  [[nodiscard]] bool has_space() const noexcept { return space_ != nullptr; }
  /// What the device file keeps open, as a reference in the kernel does: its group, or the iommufd it is bound to.
  void hold(std::shared_ptr<Object> owner) noexcept { owner_ = std::move(owner); }
  /// Opened as a character device: nothing works before it is bound.
  void require_bind(dev_t number) noexcept {
    is_bound_ = false;
    device_number_ = number;
  }

  /// An access to a part of a BAR that is not memory, from the fault handler. Size 1, 2, 4 or 8.
  bool load(unsigned region, std::uint64_t offset, std::span<std::byte> into) noexcept;
  bool store(unsigned region, std::uint64_t offset, std::span<const std::byte> from) noexcept;

  /// A stretch of a BAR: memory that the server shares, or registers.
  struct Part {
    std::uint64_t offset = 0, size = 0;  ///< in the region
    bool is_memory = false;
  };
  [[nodiscard]] std::vector<Part> parts(unsigned region, std::uint64_t offset, std::uint64_t length) const;
  /// Maps them in place of whatever is at `base`: memory as asked for, pages that fault for registers. 0, or a negated
  /// errno, and then there is nothing at `base`.
  [[nodiscard]] int lay_parts(std::uint64_t base, std::uint64_t length, int protection, unsigned region,
                              std::uint64_t offset) const;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }

  /// From now on another process has what is open here.
  static void before_fork() noexcept { has_forked_ = true; }

  /// The program's state file of a migration, for the stream object.
  long migration_read(std::span<std::byte> into);
  long migration_write(std::span<const std::byte> from);

 private:
  Device(const Identity& identity, std::unique_ptr<vfio_user::Client> client);
  int describe();

  // ioctls, one each; all return 0 or more, or a negated errno
  struct Handler {
    unsigned long request;
    const char* name;
    long (Device::*handle)(void* argument);
    bool before_bind;
  };
  static const std::array<Handler, 11> kHandlers;
  long get_info(void* argument);
  long get_region_info(void* argument);
  long get_irq_info(void* argument);
  long set_irqs(void* argument);
  long reset(void* argument);
  long hot_reset_info(void* argument);
  long hot_reset(void* argument);
  long feature(void* argument);
  long bind_iommufd(void* argument);
  long attach_pt(void* argument);
  long detach_pt(void* argument);

  // pieces of the above
  int apply_irqs(const vfio_irq_set& header, std::span<const std::byte> data);
  int send_irqs(const vfio_irq_set& header, std::span<const std::byte> data);
  int send_eventfds(const vfio_irq_set& header, std::span<const std::int32_t> fds);
  int feature_state(std::uint32_t flags, void* data, std::size_t size);
  int feature_logging_start(std::uint32_t flags, void* data, std::size_t size);
  int feature_logging_report(std::uint32_t flags, void* data, std::size_t size);
  int report_part(std::uint32_t flags, const abi::FeatureLoggingReport& report, std::uint64_t pages);
  int feature_plain(std::uint32_t flags, void* data, std::size_t size);
  [[nodiscard]] bool can_map(const std::vector<Part>& wanted, unsigned region) const noexcept;
  long map_bar(void* hint, std::size_t length, int protection, int flags, unsigned region, std::uint64_t offset);
  [[nodiscard]] bool is_memory_bar(unsigned region) const noexcept;

  /// `step(region, offset, done, part)` for each access of a bus, as a Result<void>.
  template <class Step>
  long access(std::uint64_t offset, std::size_t size, const Step& step);
  /// 0, or the errno for a failed call; notices that the server is gone (said once).
  template <class T>
  int outcome(const Result<T>& result, int when_gone = ENODEV) {
    return result ? 0 : -failure(result.error(), when_gone);
  }
  int failure(const Error& error, int when_gone);
  void serve_messages();

  static std::atomic<bool> has_forked_;

  const std::string name_, socket_;
  const std::vector<std::uint8_t> first_config_;
  dev_t device_number_ = 0;
  bool is_bound_ = true;

  SharedLock lock_;  // guards client_ and messages_, in this process and in those forked from it
  MessageMemory messages_;
  std::unique_ptr<vfio_user::Client> client_;
  std::atomic<bool> is_gone_ = false;
  std::atomic<int> calls_ = 0;

  vfio_user::ServerLimits limits_;
  vfio_user::DeviceSummary summary_;
  std::vector<vfio_user::RegionDescription> regions_;
  std::vector<pci::IrqInfo> irqs_;
  IrqRules irq_rules_;  // lock_
  bool can_post_ = false;

  std::shared_ptr<DmaSpace> space_;  // state_mutex()
  std::shared_ptr<Object> owner_;

  UniqueFd stop_;
  std::thread server_requests_;  // only while memory is reached by message
  pid_t thread_owner_ = 0;
};

}  // namespace vmux::preload
