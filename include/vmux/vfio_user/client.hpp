// SPDX-License-Identifier: BSD-3-Clause
// Speaks to any vfio-user server: what a VMM does, for tests, benchmarks, tools and interposers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vmux/base/result.hpp"
#include "vmux/base/strong.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/memory/guest_memory.hpp"
#include "vmux/pci/device.hpp"
#include "vmux/pci/interrupts.hpp"
#include "vmux/pci/spec.hpp"

namespace vmux::vfio_user {

struct ClientOptions {
  std::uint16_t minor = 0;                      ///< minor version that is proposed
  std::size_t max_transfer = 1 << 20;           ///< max_data_xfer_size that is proposed, bytes
  std::uint64_t timeout_ns = 5'000'000'000ull;  ///< how long a call waits for the server
  bool twin_socket = false;                     ///< offer that the server's requests go over a socket of their own
  bool spin = false;                            ///< wait for replies by looking, without sleeping
};

/// What the server agreed to.
struct ServerLimits {
  std::uint16_t minor = 0;
  std::size_t max_fds = 1, max_transfer = 1 << 20, max_dma_maps = 65535;
  std::uint64_t page_sizes = 4096;
  bool write_multiple = false;
  bool twin_socket = false;  ///< the server's requests come over a socket of their own: Client::twin_fd()
};

struct DeviceSummary {
  bool is_resettable = false, is_pci = false;
  std::uint32_t regions = 0, irqs = 0;
};

/// One region as the server describes it.
struct RegionDescription {
  std::uint64_t size = 0;
  bool readable = false, writable = false, mappable = false;
  std::vector<pci::SharedArea> areas;  ///< what may be mapped; empty with `mappable`: all of it
  UniqueFd fd;                         ///< to map; region offset X lies at fd offset X + fd_offset
  std::uint64_t fd_offset = 0;
};

/// Writes that can be told to the server by a descriptor instead of a message, as KVM does.
struct IoFd {
  std::uint64_t offset = 0, size = 0;  ///< of the write; size 0: any
  bool is_ioregionfd = false;          ///< else an ioeventfd
  std::uint32_t flags = 0;             ///< KVM_IOEVENTFD_FLAG_* or KVM_IOREGION_*
  std::uint64_t value = 0;             ///< datamatch of an ioeventfd, user_data of an ioregionfd
  std::size_t fd_index = 0;            ///< into IoFds::fds; several may share one
};
struct IoFds {
  std::vector<IoFd> parts;
  std::vector<UniqueFd> fds;
};

/// One write of a WRITE_MULTI message: 1 to 8 bytes.
struct SmallWrite {
  pci::Region region = pci::Region::bar0;
  RegionOffset offset{};
  std::uint32_t size = 0;
  std::uint64_t value = 0;  ///< its low `size` bytes, little endian
};

/// Guest memory that the server reaches by message. Called within the client's calls, on their thread.
class DmaTarget {
 public:
  virtual ~DmaTarget() = default;
  /// False when the range is not (wholly) accessible.
  virtual bool read(Iova from, std::span<std::byte> into) noexcept = 0;
  virtual bool write(Iova to, std::span<const std::byte> from) noexcept = 0;
};

/// A connection to a server. One thread at a time. Calls wait for the server's reply, at most timeout_ns; start_*()
/// send without waiting and finish() collects, so that many requests are under way at once (the server serves them in
/// order). A call that fails with timed_out, disconnected or protocol leaves nothing to hope for: drop the client.
/// An error reply of the server is Errc::system with the server's errno in `sys`.
class Client {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Client>> connect(const std::string& path, ClientOptions options = {});
  /// Over a socket that is connected already.
  [[nodiscard]] static Result<std::unique_ptr<Client>> adopt(UniqueFd socket, ClientOptions options = {});
  ~Client();  ///< ends the connection: no descriptor of it, in whatever process, is of use afterwards
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// For a process that shares the connection with one that it was forked from, or has forked: closes the descriptors
  /// of this one, and leaves the connection to the other. The only thing that may follow is the destructor.
  void let_go() noexcept;

  [[nodiscard]] const ServerLimits& limits() const noexcept;
  [[nodiscard]] int fd() const noexcept;       ///< the socket: readable when serve() has something to do
  [[nodiscard]] int twin_fd() const noexcept;  ///< the second one, of which the same is true, or -1

  [[nodiscard]] Result<DeviceSummary> device_info();
  [[nodiscard]] Result<RegionDescription> region_info(std::uint32_t index);
  [[nodiscard]] Result<pci::IrqInfo> irq_info(std::uint32_t index);
  /// The parts of a region that have an ioeventfd or ioregionfd.
  [[nodiscard]] Result<IoFds> region_io_fds(std::uint32_t index);

  /// Gives memory to the device. fd -1: it can be reached by message only, see set_dma_target().
  [[nodiscard]] Result<void> dma_map(Iova start, ByteCount size, memory::Access access, int fd, std::uint64_t offset);
  [[nodiscard]] Result<void> dma_unmap(Iova start, ByteCount size);
  [[nodiscard]] Result<void> dma_unmap_all();

  [[nodiscard]] Result<void> read(pci::Region region, RegionOffset offset, std::span<std::byte> into);
  [[nodiscard]] Result<void> write(pci::Region region, RegionOffset offset, std::span<const std::byte> from);
  /// Does not wait and learns of no error; the next call that waits comes after it.
  [[nodiscard]] Result<void> write_posted(pci::Region region, RegionOffset offset, std::span<const std::byte> from);
  /// Returns how many were done. not_supported when the server did not agree to write_multiple.
  [[nodiscard]] Result<std::size_t> write_multi(std::span<const SmallWrite> writes);
  [[nodiscard]] Result<void> write_multi_posted(std::span<const SmallWrite> writes);

  /// SET_IRQS. More eventfds than the server takes in a message go in several.
  [[nodiscard]] Result<void> set_irqs(pci::Irq irq, pci::IrqAction action, pci::IrqData data, std::uint32_t start,
                                      std::uint32_t count, std::span<const int> eventfds = {},
                                      std::span<const std::uint8_t> booleans = {});
  [[nodiscard]] Result<void> reset();

  /// DEVICE_FEATURE: `flags` as in linux/vfio.h (index, GET, SET, PROBE). Returns how many bytes of `into` were filled.
  [[nodiscard]] Result<std::size_t> device_feature(std::uint32_t flags, std::span<const std::byte> data,
                                                   std::span<std::byte> into = {});
  [[nodiscard]] Result<pci::MigrationState> migration_state();
  [[nodiscard]] Result<void> set_migration_state(pci::MigrationState state);
  /// Returns how many bytes came; fewer than asked for: that was the end.
  [[nodiscard]] Result<std::size_t> migration_read(std::span<std::byte> into);
  [[nodiscard]] Result<void> migration_write(std::span<const std::byte> from);

  /// A request under way.
  struct Ticket {
    std::uint16_t id = 0;
  };
  /// `into` must live until finish().
  [[nodiscard]] Result<Ticket> start_read(pci::Region region, RegionOffset offset, std::span<std::byte> into);
  [[nodiscard]] Result<Ticket> start_write(pci::Region region, RegionOffset offset, std::span<const std::byte> from);
  [[nodiscard]] Result<Ticket> start_dma_map(Iova start, ByteCount size, memory::Access access, int fd,
                                             std::uint64_t offset);
  [[nodiscard]] Result<Ticket> start_dma_unmap(Iova start, ByteCount size);
  /// Waits for one of them. Each ticket is finished once, in any order.
  [[nodiscard]] Result<void> finish(Ticket ticket);

  /// Who answers the server's DMA_READ and DMA_WRITE; nullptr (the default): they are refused. Must outlive the client
  /// or be taken away.
  void set_dma_target(DmaTarget* target) noexcept;
  /// Answers what the server has asked, without waiting. For use when fd() is readable and no call is due.
  [[nodiscard]] Result<void> serve();

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmux::vfio_user
