// SPDX-License-Identifier: BSD-3-Clause
// Each structure is that of linux/vfio.h; nothing else of vMux knows it.
#include "kvfio/group_kernel.hpp"

#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/logf.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::kvfio {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr char kContainer[] = "vfio/container", kGroup[] = "vfio/group";

std::uint64_t up_to_page(std::uint64_t value) noexcept { return (value + kPage - 1) & ~(kPage - 1); }

/// A variable-length answer: asked once for its length, then for all of it.
std::vector<std::byte> ask_region(int fd, std::uint32_t index) {
  vfio_region_info info{};
  info.argsz = sizeof info;
  info.index = index;
  if (::ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info) != 0) return {};
  std::vector<std::byte> answer(std::max<std::size_t>(info.argsz, sizeof info));
  info.argsz = static_cast<std::uint32_t>(answer.size());
  std::memcpy(answer.data(), &info, sizeof info);
  if (::ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, answer.data()) != 0) return {};
  return answer;
}

template <class T>
bool take(std::span<const std::byte> from, std::size_t at, T& into) noexcept {
  if (at > from.size() || from.size() - at < sizeof into) return false;
  std::memcpy(&into, from.data() + at, sizeof into);
  return true;
}

/// The areas of the sparse-mmap capability; all of the region when there is none.
std::vector<pci::SharedArea> mappable_areas(std::span<const std::byte> answer, const vfio_region_info& info) {
  if ((info.flags & VFIO_REGION_INFO_FLAG_MMAP) == 0) return {};
  const bool has_caps = (info.flags & VFIO_REGION_INFO_FLAG_CAPS) != 0;
  vfio_info_cap_header header{};
  for (std::size_t at = has_caps ? info.cap_offset : 0; at != 0 && take(answer, at, header); at = header.next) {
    if (header.id != VFIO_REGION_INFO_CAP_SPARSE_MMAP) continue;
    vfio_region_info_cap_sparse_mmap sparse{};
    if (!take(answer, at, sparse)) break;
    std::vector<pci::SharedArea> areas;
    vfio_region_sparse_mmap_area area{};
    for (std::uint32_t i = 0; i < sparse.nr_areas && take(answer, at + sizeof sparse + i * sizeof area, area); ++i) {
      if (area.size != 0) areas.push_back({area.offset, area.size});
    }
    return areas;
  }
  return {{0, info.size}};
}

/// True when the device's bus can be reset and nothing else is on it.
bool is_alone_on_its_bus(int fd) noexcept {
  vfio_pci_hot_reset_info head{};
  alignas(vfio_pci_hot_reset_info) std::array<std::byte, sizeof head + sizeof(vfio_pci_dependent_device)> answer{};
  head.argsz = static_cast<std::uint32_t>(answer.size());
  std::memcpy(answer.data(), &head, sizeof head);
  if (::ioctl(fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, answer.data()) != 0) return false;  // ENOSPC: there are more
  std::memcpy(&head, answer.data(), sizeof head);
  return head.count == 1;
}

/// readlink(2) of the kernel. The C library's may be an interposer's, which tells what the program is to see.
ssize_t readlink_of_the_kernel(const char* path, char* into, std::size_t size) noexcept {
#if defined(__x86_64__)
  ssize_t result = SYS_readlink;
  asm volatile("syscall" : "+a"(result) : "D"(path), "S"(into), "d"(size) : "rcx", "r11", "memory");
  return result;
#else
  return ::readlink(path, into, size);
#endif
}

/// True when another process can map the device from this descriptor: the kernel's own can. One that stands for a
/// device in this process alone (an interposer's, ours among them) is an empty file for whoever it is passed to, and
/// dies of its first access.
bool can_be_passed_on(int fd) noexcept {
  char link[32], target[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink_of_the_kernel(link, target, sizeof target);
  if (length < 0) return true;  // no /proc here
  const std::string_view name{target, static_cast<std::size_t>(length)};
  return name == "anon_inode:[vfio-device]" || name.substr(0, 18) == "/dev/vfio/devices/";
}

/// How a device can be reset: by itself, or with its bus.
enum class ResetMethod : std::uint8_t { none, function, bus };

class GroupDevice final : public KernelDevice {
 public:
  /// `group` must outlive the device.
  GroupDevice(UniqueFd fd, int group, ResetMethod method) noexcept
      : fd_(std::move(fd)), group_(group), method_(method), can_be_passed_on_(can_be_passed_on(fd_.get())) {}

  [[nodiscard]] int fd() const noexcept override { return fd_.get(); }
  [[nodiscard]] bool is_resettable() const noexcept override { return method_ != ResetMethod::none; }

  [[nodiscard]] RegionFacts region(pci::Region region) const override {
    const auto answer = ask_region(fd_.get(), static_cast<std::uint32_t>(region));
    vfio_region_info info{};
    RegionFacts facts;
    if (!take(answer, 0, info) || info.size == 0) return facts;
    facts.size = info.size;
    facts.offset = info.offset;
    facts.readable = (info.flags & VFIO_REGION_INFO_FLAG_READ) != 0;
    facts.writable = (info.flags & VFIO_REGION_INFO_FLAG_WRITE) != 0;
    if (can_be_passed_on_) facts.mappable = mappable_areas(answer, info);
    return facts;
  }

  [[nodiscard]] pci::IrqInfo irq(pci::Irq irq) const override {
    vfio_irq_info info{};
    info.argsz = sizeof info;
    info.index = static_cast<std::uint32_t>(irq);
    if (::ioctl(fd_.get(), VFIO_DEVICE_GET_IRQ_INFO, &info) != 0) return {};
    return {info.count, (info.flags & VFIO_IRQ_INFO_EVENTFD) != 0, (info.flags & VFIO_IRQ_INFO_MASKABLE) != 0,
            (info.flags & VFIO_IRQ_INFO_AUTOMASKED) != 0, (info.flags & VFIO_IRQ_INFO_NORESIZE) != 0};
  }

  [[nodiscard]] Result<void> read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    const ssize_t got = ::pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(offset));
    if (got < 0) return fail_errno("the device does not answer a read");
    if (static_cast<std::size_t>(got) != into.size()) return fail(Errc::out_of_range, "a read was cut short");
    return {};
  }
  [[nodiscard]] Result<void> write(std::uint64_t offset, std::span<const std::byte> from) noexcept override {
    const ssize_t put = ::pwrite(fd_.get(), from.data(), from.size(), static_cast<off_t>(offset));
    if (put < 0) return fail_errno("the device does not answer a write");
    if (static_cast<std::size_t>(put) != from.size()) return fail(Errc::out_of_range, "a write was cut short");
    return {};
  }

  [[nodiscard]] Result<void> set_irqs(const IrqCall& call) noexcept override {
    constexpr std::array<std::uint32_t, 3> kData{VFIO_IRQ_SET_DATA_NONE, VFIO_IRQ_SET_DATA_BOOL,
                                                 VFIO_IRQ_SET_DATA_EVENTFD};
    constexpr std::array<std::uint32_t, 3> kAction{VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_UNMASK,
                                                   VFIO_IRQ_SET_ACTION_TRIGGER};
    const auto data = call.data == pci::IrqData::eventfd   ? std::as_bytes(call.eventfds)
                      : call.data == pci::IrqData::boolean ? std::as_bytes(call.booleans)
                                                           : std::span<const std::byte>{};
    std::vector<std::byte> request(sizeof(vfio_irq_set) + data.size());
    vfio_irq_set head{};
    head.argsz = static_cast<std::uint32_t>(request.size());
    head.flags = kData[static_cast<std::size_t>(call.data)] | kAction[static_cast<std::size_t>(call.action)];
    head.index = static_cast<std::uint32_t>(call.irq);
    head.start = call.start;
    head.count = call.count;
    std::memcpy(request.data(), &head, sizeof head);
    std::copy(data.begin(), data.end(), request.begin() + sizeof head);
    const int left = ::ioctl(fd_.get(), VFIO_DEVICE_SET_IRQS, request.data());
    if (left < 0) return fail_errno("SET_IRQS");
    // vfio_msi_enable(): so many could be had, and none is set up.
    if (left > 0) return fail(Errc::no_space, "the host has fewer interrupt vectors than the guest wants", ENOSPC);
    return {};
  }

  [[nodiscard]] Result<void> reset() noexcept override {
    if (method_ == ResetMethod::function) {
      if (::ioctl(fd_.get(), VFIO_DEVICE_RESET) == 0) return {};
      return fail_errno("the device cannot be reset");
    }
    if (method_ == ResetMethod::none) return fail(Errc::not_supported, "the device has no reset");
    alignas(vfio_pci_hot_reset) std::array<std::byte, sizeof(vfio_pci_hot_reset) + sizeof group_> request{};
    vfio_pci_hot_reset head{};
    head.argsz = static_cast<std::uint32_t>(request.size());
    head.count = 1;
    std::memcpy(request.data(), &head, sizeof head);
    std::memcpy(request.data() + sizeof head, &group_, sizeof group_);  // proof that the group is ours
    if (::ioctl(fd_.get(), VFIO_DEVICE_PCI_HOT_RESET, request.data()) == 0) return {};
    return fail_errno("the device's bus cannot be reset");
  }

 private:
  UniqueFd fd_;
  std::int32_t group_;
  ResetMethod method_;
  bool can_be_passed_on_;
};

class GroupDomain final : public KernelDomain {
 public:
  GroupDomain(UniqueFd container, UniqueFd group) noexcept
      : container_(std::move(container)), group_(std::move(group)) {}

  [[nodiscard]] Result<std::unique_ptr<KernelDevice>> open(const std::string& address) override {
    UniqueFd fd{::ioctl(group_.get(), VFIO_GROUP_GET_DEVICE_FD, address.c_str())};
    if (!fd && errno == EBUSY) return fail(Errc::busy, "the device is in use", EBUSY);
    if (!fd) return fail_errno("the kernel does not hand the device out");
    ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
    return look_at(address, std::move(fd));
  }
  [[nodiscard]] Result<std::unique_ptr<KernelDevice>> adopt(const std::string& address, UniqueFd device) override {
    return look_at(address, std::move(device));
  }
  [[nodiscard]] Result<void> record(state::FdBag& into) const override {
    if (auto done = into.put_copy(kContainer, container_.get()); !done) return done;
    return into.put_copy(kGroup, group_.get());
  }

  /// What the kernel says of a device that is open.
  [[nodiscard]] Result<std::unique_ptr<KernelDevice>> look_at(const std::string& address, UniqueFd fd) const {
    vfio_device_info info{};
    info.argsz = sizeof info;
    if (::ioctl(fd.get(), VFIO_DEVICE_GET_INFO, &info) != 0) return fail_errno("GET_INFO");
    if ((info.flags & VFIO_DEVICE_FLAGS_PCI) == 0) return fail(Errc::not_supported, "not a PCI device");
    const auto method = (info.flags & VFIO_DEVICE_FLAGS_RESET) != 0 ? ResetMethod::function
                        : is_alone_on_its_bus(fd.get())             ? ResetMethod::bus
                                                                    : ResetMethod::none;
    if (!can_be_passed_on(fd.get())) {
      logf(LogLevel::warning, "{}: not the kernel's own descriptor (an interposer's?): all its registers go by message",
           address);
    }
    return std::make_unique<GroupDevice>(std::move(fd), group_.get(), method);
  }

  [[nodiscard]] Result<void> map(Iova start, ByteCount size, const std::byte* host,
                                 memory::Access access) noexcept override {
    vfio_iommu_type1_dma_map map{};
    map.argsz = sizeof map;
    if (memory::allows(access, memory::Access::read)) map.flags |= VFIO_DMA_MAP_FLAG_READ;
    if (memory::allows(access, memory::Access::write)) map.flags |= VFIO_DMA_MAP_FLAG_WRITE;
    map.vaddr = reinterpret_cast<std::uintptr_t>(host);
    map.iova = start.raw;
    map.size = size.raw;
    if (::ioctl(container_.get(), VFIO_IOMMU_MAP_DMA, &map) == 0) return {};
    if (errno == ENOMEM)
      return fail(Errc::no_space, "memory cannot be pinned (limit on locked memory, ulimit -l?)", ENOMEM);
    return fail_errno("the IOMMU does not take a range of guest memory");
  }

  [[nodiscard]] Result<void> unmap(Iova start, ByteCount size) noexcept override {
    vfio_iommu_type1_dma_unmap unmap{};
    unmap.argsz = sizeof unmap;
    unmap.iova = start.raw;
    unmap.size = up_to_page(size.raw);
    if (::ioctl(container_.get(), VFIO_IOMMU_UNMAP_DMA, &unmap) != 0) return fail_errno("UNMAP_DMA");
    return {};
  }

 private:
  UniqueFd container_;  // closed after group_, as it was opened before
  UniqueFd group_;
};

Result<UniqueFd> open_container() {
  UniqueFd fd{::open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC)};
  if (!fd && (errno == EACCES || errno == EPERM)) return fail(Errc::permission, "/dev/vfio/vfio", errno);
  if (!fd) return fail(Errc::not_found, "/dev/vfio/vfio", errno);
  if (::ioctl(fd.get(), VFIO_GET_API_VERSION) != VFIO_API_VERSION) {
    return fail(Errc::not_supported, "an unknown version of the kernel's VFIO");
  }
  if (::ioctl(fd.get(), VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) != 1) {
    return fail(Errc::not_supported, "VFIO without an IOMMU driver");
  }
  return fd;
}

Result<UniqueFd> open_group(unsigned number) {
  const std::string path = "/dev/vfio/" + std::to_string(number);
  UniqueFd fd{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
  if (!fd && errno == EBUSY) return fail(Errc::busy, "the IOMMU group is in use", EBUSY);
  if (!fd && (errno == EACCES || errno == EPERM)) return fail(Errc::permission, "the IOMMU group", errno);
  if (!fd) return fail(Errc::not_found, "the IOMMU group has no VFIO device", errno);
  vfio_group_status status{};
  status.argsz = sizeof status;
  if (::ioctl(fd.get(), VFIO_GROUP_GET_STATUS, &status) != 0) return fail_errno("the IOMMU group's status");
  if ((status.flags & VFIO_GROUP_FLAGS_VIABLE) == 0) {
    return fail(Errc::not_supported, "the IOMMU group is not viable: a host driver has one of its devices");
  }
  return fd;
}

/// A number of a record may be another file's by now: a group is known by what it is in /dev/vfio.
bool is_group(int fd, unsigned number) noexcept {
  char link[32], target[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink_of_the_kernel(link, target, sizeof target);
  const std::string_view name{target, static_cast<std::size_t>(std::max<ssize_t>(length, 0))};
  return length < 0 || name.ends_with("/vfio/" + std::to_string(number));
}

}  // namespace

bool lets_others_unmap(const char* release) noexcept { return std::strtoul(release, nullptr, 10) >= 6; }

bool GroupKernel::can_adopt() const noexcept {
  utsname names{};
  return ::uname(&names) == 0 && lets_others_unmap(names.release);
}

Result<std::unique_ptr<KernelDomain>> GroupKernel::adopt_domain(unsigned number, const state::FdBag& from) {
  auto container = from.copy(kContainer), group = from.copy(kGroup);
  if (!container) return tl::unexpected(container.error());
  if (!group) return tl::unexpected(group.error());
  vfio_group_status status{};
  status.argsz = sizeof status;
  if (::ioctl(container->get(), VFIO_GET_API_VERSION) != VFIO_API_VERSION ||
      ::ioctl(group->get(), VFIO_GROUP_GET_STATUS, &status) != 0 ||
      (status.flags & VFIO_GROUP_FLAGS_CONTAINER_SET) == 0 || !is_group(group->get(), number)) {
    return fail(Errc::invalid_argument, "the descriptors of the IOMMU group are something else");
  }
  return std::make_unique<GroupDomain>(std::move(*container), std::move(*group));
}

Result<std::unique_ptr<KernelDomain>> GroupKernel::open_domain(unsigned number) {
  auto container = open_container();
  if (!container) return tl::unexpected(container.error());
  auto group = open_group(number);
  if (!group) return tl::unexpected(group.error());
  const int container_fd = container->get();
  if (::ioctl(group->get(), VFIO_GROUP_SET_CONTAINER, &container_fd) != 0) {
    if (errno == EBUSY) return fail(Errc::busy, "the IOMMU group is in use", EBUSY);
    return fail_errno("the IOMMU group cannot be used");
  }
  if (::ioctl(container_fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) != 0) {
    if (errno == EPERM) return fail(Errc::permission, "the platform does not remap interrupts", EPERM);
    return fail_errno("the IOMMU cannot be used");
  }
  return std::make_unique<GroupDomain>(std::move(*container), std::move(*group));
}

}  // namespace vmux::kvfio
