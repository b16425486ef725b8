// SPDX-License-Identifier: BSD-3-Clause
// A physical function from a process to the next. The device runs meanwhile: its descriptors outlive the process, and
// with them its maps in the IOMMU and the eventfds that the kernel signals. Its registers are in the device, so what is
// saved is what we know and the kernel does not: the client's memory, masks of vectors, and how far memory has been
// pinned.
//
// A request that was under way is served once more. The kernel may have done it: maps that no record has are taken away
// first (Group::settle_adopted()), unmaps and SET_IRQS may be repeated, and an access of a register is repeated as
// well; nobody can tell whether the device has seen it.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/logf.hpp"
#include "passthrough/physical_function.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::passthrough {
namespace {

constexpr char kDevice[] = "vfio/device";
constexpr std::size_t kMostRanges = 1 << 20;
constexpr std::size_t kMostVectors = 2048;  // [PCI] 6.8.2.3

struct SavedFunction {
  static constexpr std::string_view kSection = "passthrough.function";
  static constexpr std::uint16_t kVersion = 1;
  struct Range {
    std::uint64_t start = 0, size = 0, pinned = 0;
    memory::Access access = memory::Access::none;
    std::uint64_t device = 0, inode = 0, offset = 0;
    static void describe(auto& fields, auto& self) {
      fields("start", self.start);
      fields("size", self.size);
      fields("pinned", self.pinned);
      fields.one_of("access", self.access, memory::Access::read_write);
      fields("device", self.device);
      fields("inode", self.inode);
      fields("offset", self.offset);
    }
  };
  std::string address;
  std::vector<Range> ranges;  // that the IOMMU has, or is promised
  bool is_function_masked = false;
  std::vector<std::uint8_t> table;  // of MSI-X, as the guest sees it
  static void describe(auto& fields, auto& self) {
    fields.text("address", self.address, 16);
    fields.list("ranges", self.ranges, kMostRanges);
    fields("is_function_masked", self.is_function_masked);
    fields.list("table", self.table, kMostVectors * sizeof(wire::pci::MsixEntry));
  }
};

/// An eventfd of the kernel's notices, and the client's that it is passed on to.
struct NoticeNames {
  const char *from_kernel, *sink;
};
constexpr NoticeNames kError{"vfio/err", "irq/err"}, kRelease{"vfio/req", "irq/req"};

Result<void> put_if_there(state::FdBag& into, const char* name, const UniqueFd& fd) {
  return fd ? into.put_copy(name, fd.get()) : Result<void>{};
}

}  // namespace

Result<void> PhysicalFunction::record(state::Writer& into, state::FdBag& fds) {
  if (!open_ || group_->domain() == nullptr) return fail(Errc::disconnected, "the device is gone");
  is_recorded_ = true;
  space_.keep_departed();
  open_->irqs->keep_departed();
  if (auto done = space_.save(into, fds); !done) return done;
  if (auto done = open_->irqs->save(into, fds); !done) return done;
  if (auto done = group_->domain()->record(fds); !done) return done;
  if (auto done = fds.put_copy(kDevice, open_->device->fd()); !done) return done;
  for (const auto& [notice, names] : {std::pair{&open_->error, &kError}, std::pair{&open_->release, &kRelease}}) {
    if (auto done = put_if_there(fds, names->from_kernel, notice->from_kernel); !done) return done;
    if (auto done = put_if_there(fds, names->sink, notice->sink); !done) return done;
  }
  SavedFunction saved{.address = address_, .ranges = {}, .is_function_masked = open_->is_function_masked, .table = {}};
  for (const auto& one : group_->dma().holdings(group_->bit_of(*this))) {
    saved.ranges.push_back({one.start.raw, one.size.raw, one.pinned.raw, one.access, one.source.device,
                            one.source.inode, one.source.offset});
  }
  if (open_->msix_table) {
    saved.table.resize(open_->msix_table->size());
    open_->msix_table->read(0, std::as_writable_bytes(std::span{saved.table}));
  }
  into.add(saved);
  return {};
}

void PhysicalFunction::record_kept() noexcept {
  space_.forget_departed();
  departed_.clear();
  if (open_) open_->irqs->forget_departed();
}

tl::expected<void, std::string> PhysicalFunction::adopt(state::Reader& from, const state::FdBag& fds,
                                                        pci::MessageDma*) {
  auto taken = take_over(from, fds);
  if (taken) {
    is_attached_ = has_changed_ = true;
    group_->adopted(*this);
    return {};
  }
  open_.reset();
  space_.unmap_all(nullptr);
  group_->disown(*this);
  return tl::unexpected(address_ + ": " + taken.error());
}

tl::expected<void, std::string> PhysicalFunction::take_over(state::Reader& from, const state::FdBag& fds) {
  SavedFunction saved;
  if (auto done = from.load(saved); !done) return done;
  if (saved.address != address_) return tl::unexpected("the saved state is that of " + saved.address);
  if (open_) return tl::unexpected(std::string{"the device has been opened anew"});
  const auto domain = group_->adopt_domain(fds);
  if (!domain) return tl::unexpected(domain.error().text());
  auto fd = fds.copy(kDevice);
  if (!fd) return tl::unexpected(fd.error().text());
  auto device = (*domain)->adopt(address_, std::move(*fd));
  auto opened = device ? look_at(std::move(*device)) : tl::unexpected(device.error());
  if (!opened) return tl::unexpected(opened.error().text());
  open_ = std::move(*opened);
  if (auto done = open_->irqs->load(from, fds); !done) return done;
  if (auto done = take_notices(fds); !done) return done;
  if (saved.table.size() != (open_->msix_table ? open_->msix_table->size() : 0)) {
    return tl::unexpected(std::string{"the saved state has another number of MSI-X vectors than the device"});
  }
  if (open_->msix_table) static_cast<void>(open_->msix_table->write(0, std::as_bytes(std::span{saved.table})));
  open_->is_function_masked = saved.is_function_masked;
  if (auto done = space_.load(from, fds); !done) return done;
  for (const SavedFunction::Range& one : saved.ranges) {
    const auto host = memory::allows(one.access, memory::Access::read)
                          ? reader_.borrow(Iova{one.start}, ByteCount{one.size})
                          : reader_.borrow_for_write(Iova{one.start}, ByteCount{one.size});
    if (host.size() != one.size) return tl::unexpected(std::string{"the saved state has memory that nobody gave"});
    const kvfio::DmaMap::Holding holding{Iova{one.start},
                                         ByteCount{one.size},
                                         one.access,
                                         {static_cast<dev_t>(one.device), static_cast<ino_t>(one.inode), one.offset},
                                         ByteCount{one.pinned}};
    if (auto done = group_->dma().adopt(group_->bit_of(*this), holding, host.data()); !done)
      return tl::unexpected(done.error().text());
  }
  return {};
}

tl::expected<void, std::string> PhysicalFunction::take_notices(const state::FdBag& fds) {
  const auto take = [&](Notice& notice, const NoticeNames& names, std::function<void()> heard) -> Result<void> {
    if (fds.get(names.sink) >= 0) {
      auto sink = fds.copy(names.sink);
      if (!sink) return tl::unexpected(sink.error());
      notice.sink = std::move(*sink);
    }
    if (fds.get(names.from_kernel) < 0) return {};
    auto eventfd = fds.copy(names.from_kernel);
    return eventfd ? watch(notice, std::move(*eventfd), std::move(heard)) : tl::unexpected(eventfd.error());
  };
  auto taken = take(open_->error, kError, [this] { on_error(); });
  if (taken) taken = take(open_->release, kRelease, [this] { on_release_request(); });
  if (!taken) return tl::unexpected(taken.error().text());
  return {};
}

void PhysicalFunction::go_on() noexcept {
  if (!open_) return;
  group_->settle_adopted([](const kvfio::Group::Member& member) {
    const auto& function = static_cast<const PhysicalFunction&>(member);
    return function.open_ != nullptr && function.masters_bus();
  });
  open_->irqs->go_on();
  logf(LogLevel::info, "{}: {} goes on, {} MiB of its VM's memory pinned", name_, address_,
       dma_counters().pinned * 4096 >> 20);
}

}  // namespace vmux::passthrough
