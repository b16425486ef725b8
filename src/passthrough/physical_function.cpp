// SPDX-License-Identifier: BSD-3-Clause
// The life of a physical function: opened, given to clients one after the other, given back. What a guest's accesses do
// is in physical_access.cpp.
#include "passthrough/physical_function.hpp"

#include <sys/epoll.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/logf.hpp"
#include "pci/interrupts/irq_vector.hpp"
#include "wire/pci.hpp"

namespace vmux::passthrough {
namespace {

constexpr char kTaken[] = "the host takes the device back";
constexpr std::uint64_t kSmall = 16ull << 20;  // pinned before it is answered, whatever comes: a transfer waits for it
constexpr std::uint32_t kPoliteRequests = 2;   // ten seconds apart (the kernel's doing) before a client is thrown out

}  // namespace

PhysicalFunction::PhysicalFunction(std::string name, std::string address, std::shared_ptr<kvfio::Group> group,
                                   runtime::Poller& poller)
    : name_(std::move(name)), address_(std::move(address)), group_(std::move(group)), poller_(poller) {
  space_.attach(reader_);
}

Result<std::unique_ptr<PhysicalFunction>> PhysicalFunction::create(std::string name, std::string address,
                                                                   std::shared_ptr<kvfio::Group> group,
                                                                   runtime::Poller& poller, Begins begins) {
  std::unique_ptr<PhysicalFunction> function{
      new PhysicalFunction(std::move(name), std::move(address), std::move(group), poller)};
  auto joined = begins == Begins::open ? function->group_->join(*function) : function->group_->join_closed(*function);
  if (!joined) {
    function->group_.reset();
    return tl::unexpected(joined.error());
  }
  if (begins == Begins::open) function->tell_what_it_is();
  return function;
}

void PhysicalFunction::tell_what_it_is() const {
  for (const HiddenCapability* one : open_->config.hidden()) {
    logf(LogLevel::info, "{}: guests do not see the capability {}: {}", name_, one->name, one->why);
  }
  if (!open_->device->is_resettable()) {
    logf(LogLevel::warning, "{}: {} cannot be reset: a VM finds its registers as the one before left them", name_,
         address_);
  }
}

PhysicalFunction::~PhysicalFunction() {
  if (group_) group_->leave(*this);
}

Result<void> PhysicalFunction::open(kvfio::KernelDomain& domain) {
  auto device = domain.open(address_);
  if (!device) return tl::unexpected(device.error());
  auto opened = look_at(std::move(*device));
  if (!opened) return tl::unexpected(opened.error());
  open_ = std::move(*opened);
  auto heard = listen(open_->error, pci::Irq::err, [this] { on_error(); });
  if (heard) heard = listen(open_->release, pci::Irq::req, [this] { on_release_request(); });
  if (!heard) open_.reset();
  return heard;
}

Result<std::unique_ptr<PhysicalFunction::Open>> PhysicalFunction::look_at(std::unique_ptr<kvfio::KernelDevice> device) {
  auto opened = std::make_unique<Open>();
  opened->device = std::move(device);
  for (std::uint32_t i = 0; i < pci::kRegionCount; ++i)
    opened->regions[i] = opened->device->region(static_cast<pci::Region>(i));
  const kvfio::RegionFacts& config = opened->regions[static_cast<std::size_t>(pci::Region::config)];
  if (config.size < wire::pci::kConfigSize || config.size > wire::pci::kExtendedConfigSize) {
    return fail(Errc::not_supported, "a device without PCI configuration space");
  }
  std::vector<std::byte> bytes(config.size);
  if (auto got = opened->device->read(config.offset, bytes); !got) return tl::unexpected(got.error());
  opened->config = ConfigView{bytes};
  if (opened->config.msix()) opened->msix_table.emplace(opened->config.msix()->vectors);
  opened->irqs.emplace(*opened->device);
  return opened;
}

void PhysicalFunction::close() noexcept { open_.reset(); }

/// From now on until the client has gone its device does not reach for memory (see write_config()).
void PhysicalFunction::memory_failed(const char* why) noexcept {
  failure_ = why;
  if (open_) stop_bus_mastering();
}

Result<void> PhysicalFunction::listen(Notice& notice, pci::Irq irq, std::function<void()> heard) {
  if (open_->device->irq(irq).count == 0) return {};
  auto eventfd = make_eventfd();
  if (!eventfd) return tl::unexpected(eventfd.error());
  const int fd = eventfd->get();
  kvfio::IrqCall call{irq, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, 1, {&fd, 1}, {}};
  if (auto set = open_->device->set_irqs(call); !set) return set;
  return watch(notice, std::move(*eventfd), std::move(heard));
}

Result<void> PhysicalFunction::watch(Notice& notice, UniqueFd eventfd, std::function<void()> heard) {
  const int fd = eventfd.get();
  auto watch = poller_.watch(fd, EPOLLIN, [fd, heard = std::move(heard)](std::uint32_t) {
    drain_eventfd(fd);
    heard();
  });
  if (!watch) return tl::unexpected(watch.error());
  notice.from_kernel = std::move(eventfd);
  notice.watch = std::move(*watch);
  return {};
}

void PhysicalFunction::on_error() {
  ++counters_.errors;
  logf(LogLevel::error, "{}: {} reports a fatal error", name_, address_);
  if (open_->error.sink) signal_peer_eventfd(open_->error.sink.get());
}

void PhysicalFunction::on_release_request() {
  ++counters_.release_requests;
  const std::uint32_t times = ++open_->release.count;
  logf(LogLevel::warning, "{}: the host wants {} back (request {})", name_, address_, times);
  if (!is_attached_) {
    group_->let_go(*this);
  } else if (open_->release.sink && times <= kPoliteRequests) {
    signal_peer_eventfd(open_->release.sink.get());  // the VMM unplugs it from the guest, and disconnects
  } else {
    failure_ = kTaken;
  }
}

const char* PhysicalFunction::failure() const noexcept {
  return space_.is_poisoned() ? "the client truncated its memory file under the device" : failure_;
}

void PhysicalFunction::client_attached(pci::MessageDma*) noexcept {
  is_attached_ = has_changed_ = true;
  failure_ = nullptr;
  auto opened = group_->client_came(*this);
  if (opened) return;
  logf(LogLevel::error, "{}: {} cannot be had: {}", name_, address_, opened.error().text());
  failure_ = "there is no device to serve";
}

void PhysicalFunction::client_gone(std::function<void()> quiet) noexcept {
  is_attached_ = false;
  const bool is_lost = failure_ == kTaken || (open_ && open_->release.count != 0);
  if (open_) {
    stop_bus_mastering();
    open_->irqs->drop();
    ++counters_.resets;  // by the kernel, when the device is closed and opened
  }
  space_.unmap_all(nullptr);
  failure_ = nullptr;
  group_->client_went(*this, is_lost, std::move(quiet));
}

/// The link is the wire's, and stays as it is.
bool PhysicalFunction::announce_departure(bool for_good) noexcept {
  if (!for_good || !open_ || !open_->release.sink) return false;
  signal_peer_eventfd(open_->release.sink.get());
  return true;
}

void PhysicalFunction::reset(pci::ResetKind) noexcept {
  if (!open_) return;
  ++counters_.resets;
  has_changed_ = true;
  const auto done = open_->device->is_resettable() ? open_->device->reset() : fail(Errc::not_supported, "no reset");
  if (!done) {
    stop_bus_mastering();
    if (complaints_.allow()) {
      logf(LogLevel::warning, "{}: {} is not reset, only stopped: {}", name_, address_, done.error().text());
    }
  }
  open_->irqs->clear_masks();
  if (open_->msix_table) open_->msix_table->reset();
}

// --- interrupts ---

pci::IrqInfo PhysicalFunction::irq_info(pci::Irq irq) const noexcept {
  if (!open_) return {};
  if (irq == pci::Irq::err || irq == pci::Irq::req) return open_->device->irq(irq);
  return open_->irqs->info(irq);
}

Result<void> PhysicalFunction::configure_irq(pci::IrqRequest request) noexcept {
  if (!open_) return fail(Errc::disconnected, "the device is gone");
  ++counters_.irq_requests;
  has_changed_ = true;
  if (request.irq != pci::Irq::err && request.irq != pci::Irq::req) return open_->irqs->configure(request);
  if (request.action != pci::IrqAction::trigger)
    return fail(Errc::not_supported, "ERR and REQ cannot be masked", ENOTTY);
  Notice& notice = request.irq == pci::Irq::err ? open_->error : open_->release;
  const bool is_disable = request.data == pci::IrqData::none && request.count == 0;
  if (request.count == 0 && !is_disable) return fail(Errc::invalid_argument, "an interrupt request without vectors");
  if (request.data != pci::IrqData::eventfd && !is_disable) {
    const bool is_selected = request.data == pci::IrqData::none || (!request.booleans.empty() && request.booleans[0]);
    if (is_selected && notice.sink) signal_peer_eventfd(notice.sink.get());
    return {};
  }
  const bool has_sink = !request.eventfds.empty() && request.eventfds[0];
  if (has_sink) {
    if (auto checked = pci::check_sink(request.eventfds[0]); !checked) return checked;
  }
  if (is_recorded_ && notice.sink) departed_.push_back(std::move(notice.sink));
  notice.sink = has_sink ? std::move(request.eventfds[0]) : UniqueFd{};
  return {};
}

// --- memory ---

Result<void> PhysicalFunction::map(memory::MapRequest request) noexcept {
  const Iova start = request.start;
  const ByteCount size = request.size;
  const memory::Access access = request.access;
  const bool has_fd = static_cast<bool>(request.fd);
  has_changed_ = true;
  kvfio::MemorySource source{};
  if (struct stat status{}; has_fd && ::fstat(request.fd.get(), &status) == 0) {
    source = {status.st_dev, status.st_ino, request.offset};
  }
  if (auto mapped = space_.map(std::move(request)); !mapped) return mapped;
  if (!has_fd || access == memory::Access::none) {
    // ROMs, other devices' BARs: no device needs to reach those, and the IOMMU cannot.
    ++counters_.memory_without_fd;
    return {};
  }
  const auto host = memory::allows(access, memory::Access::read) ? reader_.borrow(start, size)
                                                                 : reader_.borrow_for_write(start, size);
  const kvfio::DmaMap& dma = group_->dma();
  const bool had_backlog = dma.has_backlog(), may_follow = size.raw > kSmall && open_ && !masters_bus();
  auto done = host.size() == size.raw ? group_->map(*this, {start, size, access, source, host.data(), may_follow})
                                      : Result<void>{fail(Errc::disconnected, "the memory is gone")};
  if (dma.has_backlog() && !had_backlog) {
    logf(
        LogLevel::warning,
        "{}: pinning the VM's memory takes long, {} MiB are left and follow while it boots; huge pages, or prealloc=on "
        "of QEMU's memory backend, make it quick",
        name_, dma.counters().waiting * 4096 >> 20);
  }
  if (!done) {
    logf(LogLevel::error, "{}: {:#x} bytes at {:#x} cannot be given to {}: {}", name_, size.raw, start.raw, address_,
         done.error().text());
    static_cast<void>(space_.unmap(start, size, nullptr));
  }
  return done;
}

Result<ByteCount> PhysicalFunction::unmap(Iova start, ByteCount size, std::function<void()> quiet) noexcept {
  if (auto can = space_.can_unmap(start, size); !can) return tl::unexpected(can.error());
  has_changed_ = true;
  // The IOMMU first: what it keeps is still the client's, who is told so before it is shown out.
  if (auto done = group_->unmap(*this, start, size); !done) return tl::unexpected(done.error());
  return space_.unmap(start, size, std::move(quiet));  // quiet at once: its readers are of this thread
}

Result<ByteCount> PhysicalFunction::unmap_all(std::function<void()> quiet) noexcept {
  has_changed_ = true;
  if (auto done = group_->unmap_all(*this); !done) return tl::unexpected(done.error());
  return space_.unmap_all(std::move(quiet));
}

}  // namespace vmux::passthrough
