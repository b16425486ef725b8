// SPDX-License-Identifier: BSD-3-Clause
// Opening, region accesses, DMA and the end of a server. The ioctls are in device_ioctl.cpp, mmap in device_mmap.cpp.
#include "preload/vfio/device/device.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "preload/process/trace.hpp"
#include "preload/vfio/fd_table.hpp"

namespace vmux::preload {

std::atomic<bool> Device::has_forked_ = false;

namespace {

constexpr std::uint64_t kOffsetMask = (std::uint64_t{1} << abi::kRegionShift) - 1;
constexpr unsigned kBars = 6;

memory::Access access_of(const DmaPiece& piece) {
  return static_cast<memory::Access>((piece.readable ? 1u : 0u) | (piece.writable ? 2u : 0u));
}

/// How many bytes go in one access: naturally aligned, at most 8, as a bus does it.
std::size_t bus_size(std::uint64_t at, std::size_t left) {
  std::size_t size = 8;
  while (size > left || at % size != 0)
    size /= 2;
  return size;
}

}  // namespace

Device::Device(const Identity& identity, std::unique_ptr<vfio_user::Client> client)
    : name_(identity.address.text()),
      socket_(identity.socket),
      first_config_(identity.config),
      client_(std::move(client)) {}

Device::~Device() {
  {
    const std::lock_guard state{state_mutex()};
    if (space_) space_->remove(*this);
  }
  if (server_requests_.joinable()) {
    if (thread_owner_ == getpid()) {
      signal_eventfd(stop_.get());
      server_requests_.join();
    } else {
      server_requests_.detach();  // a fork has no threads but its own
    }
  }
  if (has_forked_) client_->let_go();  // the other process may go on with it
  trace("{}: closed", name_);
}

Device::Opened Device::open(const Identity& identity) {
  auto client = vfio_user::Client::connect(identity.socket);
  if (!client) {
    say("{}: no vfio-user server at {}: {}", identity.address.text(), identity.socket, client.error().text());
    return {-ENODEV, nullptr};
  }
  std::shared_ptr<Device> device{new Device(identity, std::move(*client))};
  const int error = device->describe();
  if (error != 0) return {error, nullptr};
  trace("{}: opened at {}, {} regions, {} interrupts", device->name_, identity.socket, device->regions_.size(),
        device->irqs_.size());
  return {0, std::move(device)};
}

int Device::describe() {
  limits_ = client_->limits();
  client_->set_dma_target(&messages_);
  const auto info = client_->device_info();
  if (!info) return outcome(info);
  summary_ = *info;
  for (std::uint32_t index = 0; index < summary_.regions; ++index) {
    auto region = client_->region_info(index);
    if (!region && (region.error().code != Errc::system)) return outcome(region);
    regions_.push_back(region ? std::move(*region) : vfio_user::RegionDescription{});
  }
  for (std::uint32_t index = 0; index < summary_.irqs; ++index) {
    const auto irq = client_->irq_info(index);
    if (!irq && (irq.error().code != Errc::system)) return outcome(irq);
    irqs_.push_back(irq ? *irq : pci::IrqInfo{});
  }
  FdTable& table = FdTable::instance();
  table.hide(client_->fd());
  table.hide(client_->twin_fd());
  for (const auto& region : regions_)
    table.hide(region.fd.get());
  // A write that was posted must not be overtaken by a store to memory that the server shares with the program.
  const auto maps = [](const vfio_user::RegionDescription& region) { return region.mappable; };
  can_post_ = std::none_of(regions_.begin(), regions_.end(), maps);
  return 0;
}

int Device::failure(const Error& error, int when_gone) {
  const bool is_lost =
      error.code == Errc::disconnected || error.code == Errc::timed_out || error.code == Errc::protocol;
  if (!is_lost) return error.as_errno();
  if (!is_gone_.exchange(true)) say("{}: the server at {} is lost: {}", name_, socket_, error.text());
  return when_gone;
}

// --- region accesses ---

template <class Step>
long Device::access(std::uint64_t offset, std::size_t size, const Step& step) {
  const std::uint64_t index = offset >> abi::kRegionShift;
  const std::uint64_t at = offset & kOffsetMask;
  if (!is_bound_) return -EINVAL;
  if (size == 0) return 0;
  if (index >= regions_.size()) return -EINVAL;
  const std::uint64_t limit = regions_[index].size;
  if (index == VFIO_PCI_CONFIG_REGION_INDEX) {
    if (!fits(at, size, limit)) return -EFAULT;  // vfio_pci_config_do_rw
  } else {
    if (at >= limit) return -EINVAL;  // vfio_pci_bar_rw
    size = std::min<std::uint64_t>(size, limit - at);
  }
  ++calls_;
  int error = 0;
  {
    const std::lock_guard lock{lock_};
    for (std::size_t done = 0; done < size && error == 0;) {
      const std::size_t part =
          index < kBars ? bus_size(at + done, size - done) : std::min(size - done, limits_.max_transfer);
      error =
          is_gone_ ? -EIO : outcome(step(static_cast<pci::Region>(index), RegionOffset{at + done}, done, part), EIO);
      done += part;
    }
  }
  --calls_;
  return error != 0 ? error : static_cast<long>(size);
}

long Device::read_at(std::uint64_t offset, std::span<std::byte> into) {
  const long result =
      access(offset, into.size(), [&](pci::Region region, RegionOffset at, std::size_t done, std::size_t part) {
        return client_->read(region, at, into.subspan(done, part));
      });
  trace("{}: read(region {}, {:#x}, {}) {}", name_, offset >> abi::kRegionShift, offset & kOffsetMask, into.size(),
        result_text(result));
  return result;
}

long Device::write_at(std::uint64_t offset, std::span<const std::byte> from) {
  const std::uint64_t index = offset >> abi::kRegionShift;
  if (index < regions_.size() && regions_[index].size != 0 && !regions_[index].writable) return -EINVAL;
  const long result =
      access(offset, from.size(), [&](pci::Region region, RegionOffset at, std::size_t done, std::size_t part) {
        if (can_post_ && index < kBars) return client_->write_posted(region, at, from.subspan(done, part));
        return client_->write(region, at, from.subspan(done, part));
      });
  trace("{}: write(region {}, {:#x}, {}) {}", name_, index, offset & kOffsetMask, from.size(), result_text(result));
  return result;
}

bool Device::load(unsigned region, std::uint64_t offset, std::span<std::byte> into) noexcept {
  const std::uint64_t at = (std::uint64_t{region} << abi::kRegionShift) + offset;
  return read_at(at, into) == static_cast<long>(into.size());
}

bool Device::store(unsigned region, std::uint64_t offset, std::span<const std::byte> from) noexcept {
  const std::uint64_t at = (std::uint64_t{region} << abi::kRegionShift) + offset;
  return write_at(at, from) == static_cast<long>(from.size());
}

// --- memory ---

int Device::use(std::shared_ptr<DmaSpace> space) {
  if (space_) {
    space_->remove(*this);
    ++calls_;
    const std::lock_guard lock{lock_};
    if (!is_gone_) (void)outcome(client_->dma_unmap_all());
    messages_.clear();
    --calls_;
  }
  space_ = nullptr;
  if (!space) return 0;
  const int error = space->add(*this);
  if (error == 0) space_ = std::move(space);
  return error;
}

int Device::dma_map(const DmaPiece& piece) {
  const int fd = piece.memory.file ? piece.memory.file->get() : -1;
  int error = -ENODEV;
  ++calls_;
  {
    const std::lock_guard lock{lock_};
    if (!is_gone_) {
      error = outcome(
          client_->dma_map(Iova{piece.iova}, ByteCount{piece.memory.size}, access_of(piece), fd, piece.memory.offset));
    }
    if (error == 0 && fd < 0) messages_.add(piece);
  }
  --calls_;
  if (error != 0 && fd < 0 && !is_gone_) {
    say("{}: {:#x} bytes at {:#x} are private to this process and the server takes no memory without a descriptor; use "
        "shared memory (share=on, hugepages, memfd) or set {}=1",
        name_, piece.memory.size, piece.memory.vaddr, kEnvShareAnonymous);
  }
  if (error == 0 && fd < 0 && !server_requests_.joinable()) {
    if (auto made = make_eventfd()) {
      stop_ = std::move(*made);
      FdTable::instance().hide(stop_.get());
      thread_owner_ = getpid();
      server_requests_ = std::thread{[this] { serve_messages(); }};
    }
  }
  trace("{}: map iova {:#x}, {:#x} bytes, {} {}", name_, piece.iova, piece.memory.size,
        fd < 0 ? "by message" : "by descriptor", result_text(error));
  return error;
}

int Device::dma_unmap(const DmaPiece& piece) {
  ++calls_;
  int error = 0;
  {
    const std::lock_guard lock{lock_};
    if (!is_gone_) error = outcome(client_->dma_unmap(Iova{piece.iova}, ByteCount{piece.memory.size}));
    messages_.remove(piece.iova);
  }
  --calls_;
  trace("{}: unmap iova {:#x}, {:#x} bytes {}", name_, piece.iova, piece.memory.size, result_text(error));
  return error;
}

/// Answers the server's DMA_READ and DMA_WRITE while the program itself has nothing to ask. While it does, the calls
/// answer them on their way, and this thread stays out of their light.
void Device::serve_messages() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);  // signals are the program's
  for (;;) {
    pollfd watched[2] = {{client_->fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (::poll(watched, 2, -1) < 0 && errno != EINTR) return;
    if (watched[1].revents != 0) return;
    if (watched[0].revents == 0) continue;
    if (calls_ > 0) {
      std::this_thread::sleep_for(std::chrono::microseconds{500});
      continue;
    }
    const std::lock_guard lock{lock_};
    if (is_gone_ || outcome(client_->serve()) != 0) return;
  }
}

}  // namespace vmux::preload
