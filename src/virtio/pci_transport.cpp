// SPDX-License-Identifier: BSD-3-Clause
// What the function looks like, accesses to its BAR, its interrupts. Registers: pci_transport_common.cpp.
#include "virtio/pci_transport.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "vmux/memory/ordered.hpp"

namespace vmux::virtio {
namespace {

namespace wp = wire::virtio::pci;

constexpr std::uint32_t kIsrSize = 1, kDeviceSize = 256, kNotifySize = 2;  // bytes
constexpr std::uint32_t kPendingAt = 0x800, kMsixBarSize = 0x1000;

pci::VendorSpecific structure(wp::Structure type, std::uint32_t offset, std::uint32_t length,
                              std::span<const std::byte> more = {}) {
  wp::Capability capability;
  capability.type = static_cast<std::uint8_t>(type);
  if (type != wp::Structure::pci_config) capability.bar = static_cast<std::uint8_t>(PciTransport::kBar);
  capability.offset = offset;
  capability.length = length;
  pci::VendorSpecific made;
  made.body.resize(sizeof capability + more.size());
  std::memcpy(made.body.data(), &capability, sizeof capability);
  if (!more.empty()) std::memcpy(made.body.data() + sizeof capability, more.data(), more.size());
  return made;
}

std::span<std::byte> bytes_of(std::uint32_t& word) noexcept { return std::as_writable_bytes(std::span{&word, 1}); }

}  // namespace

PciTransport::PciTransport(const PciOptions& options, virtio::Device& device)
    : options_(options), device_(device), count_(device.queue_count()) {}

PciTransport::~PciTransport() { device_.disconnect(); }

Result<std::unique_ptr<PciTransport>> PciTransport::create(const PciOptions& options, virtio::Device& device) {
  if (device.queue_count() == 0 || device.queue_count() > kMaxQueues) {
    return vmux::fail(Errc::out_of_range, "queues of a virtio device");
  }
  std::unique_ptr<PciTransport> made{new PciTransport(options, device)};
  auto function = pci::Function::create(made->spec(), *made);
  if (!function) return tl::unexpected<Error>(function.error());
  made->connect(std::move(*function));
  return made;
}

// [VIRTIO] 4.1.2, 4.1.4. Linux's drivers want an id of the subsystem that no legacy device has.
pci::FunctionSpec PciTransport::spec() const {
  const Le<std::uint32_t> multiplier{kPage};
  const std::array<std::byte, 4> window_data{};
  pci::FunctionSpec spec;
  spec.name = options_.name;
  spec.vendor_id = spec.subsystem_vendor_id = wp::kVendor;
  spec.device_id = static_cast<std::uint16_t>(wp::kFirstDevice + device_.kind());
  spec.subsystem_id = static_cast<std::uint16_t>(wp::kFirstSubsystem + device_.kind());
  spec.revision_id = 1;
  spec.class_code = options_.class_code;
  spec.intx = true;
  pci::BarSpec structures{pci::BarKind::memory64, true, std::bit_ceil(std::uint64_t{kNotifyAt} + count_ * kPage), {}};
  if (options_.is_mapped && data_pages() > 0) structures.shared = {{kNotifyAt, std::uint64_t{data_pages()} * kPage}};
  for (unsigned page = options_.is_mapped ? data_pages() : 0; page < count_; ++page)
    structures.io_events.push_back({std::uint64_t{kNotifyAt} + page * kPage, kNotifySize, {}});
  spec.bars[static_cast<std::size_t>(kBar)] = structures;
  spec.bars[static_cast<std::size_t>(kMsixBar)] = pci::BarSpec{pci::BarKind::memory32, false, kMsixBarSize, {}};
  pci::Msix msix;
  msix.vectors = count_ + 1;
  msix.table_bar = msix.pba_bar = kMsixBar;
  msix.pba_offset = kPendingAt;
  spec.capabilities = {
      structure(wp::Structure::common, kCommonAt, wp::common::end),
      structure(wp::Structure::isr, kIsrAt, kIsrSize),
      structure(wp::Structure::device, kDeviceAt, kDeviceSize),
      structure(wp::Structure::notify, kNotifyAt, count_ * kPage, std::as_bytes(std::span{&multiplier, 1})),
      structure(wp::Structure::pci_config, 0, 0, window_data),
      msix,
      pci::Express{},
  };
  return spec;
}

void PciTransport::connect(std::unique_ptr<pci::Function> function) {
  function_ = std::move(function);
  constexpr std::size_t kList = 0x34, kType = 3;  // PCI 3.0 6.7; [VIRTIO] 4.1.4
  const std::span<const std::byte> config = function_->config();
  for (auto at = std::to_integer<std::size_t>(config[kList]); at != 0;
       at = std::to_integer<std::size_t>(config[at + 1])) {
    const bool is_vendors = config[at] == std::byte{0x09};
    if (is_vendors && config[at + kType] == static_cast<std::byte>(wp::Structure::pci_config)) window_at_ = at;
  }
  forget_driver(false);
  device_.connect(*this, function_->memory());
}

// --- BAR accesses ---

void PciTransport::read_bar(pci::Region bar, RegionOffset offset, std::span<std::byte> into) noexcept {
  std::ranges::fill(into, std::byte{0});
  if (bar != kBar) return;
  const auto at = static_cast<std::uint32_t>(offset.raw % kPage);
  switch (static_cast<std::uint32_t>(offset.raw - at)) {
    case kCommonAt: {
      const auto registers = common_registers();
      if (fits(at, into.size(), registers.size())) std::memcpy(into.data(), registers.data() + at, into.size());
      return;
    }
    case kIsrAt:
      if (at == 0) into[0] = static_cast<std::byte>(read_isr());
      return;
    case kDeviceAt:
      return device_.read_config(at, into);
    default:
      return;  // 4.1.4.4: notifications are written
  }
}

void PciTransport::write_bar(pci::Region bar, RegionOffset offset, std::span<const std::byte> from) noexcept {
  if (bar != kBar) return;
  const auto at = static_cast<std::uint32_t>(offset.raw % kPage);
  const auto page = static_cast<std::uint32_t>(offset.raw - at);
  if (page >= kNotifyAt) {
    if (at == 0) notified((page - kNotifyAt) / kPage);
  } else if (page == kCommonAt) {
    write_common(at, from);
  } else if (page == kDeviceAt) {
    device_.write_config(at, from);
  }
}

// A notification by message to a page that is mapped: a VMM may take the mapping away for a while.
void PciTransport::shared_written(pci::Region bar, RegionOffset offset, std::size_t /*size*/) noexcept {
  if (bar == kBar && offset.raw >= kNotifyAt) notified(static_cast<std::uint32_t>((offset.raw - kNotifyAt) / kPage));
}

void PciTransport::notified(std::uint32_t page) noexcept {
  if (!is_running()) return;
  for (unsigned queue = 0; queue < count_; ++queue) {
    if (queues_[queue].is_enabled && (device_.is_control(queue) ? data_pages() : queue) == page) device_.kicked(queue);
  }
}

void PciTransport::reset(pci::ResetKind kind) noexcept {
  if (function_ == nullptr) return;
  set_window({});
  forget_driver(kind == pci::ResetKind::client_gone);
}

void PciTransport::bus_master_changed(bool enabled) noexcept { device_.set_dma(enabled); }

// --- interrupts ---

std::uint32_t PciTransport::vector_of(unsigned slot) const noexcept {
  return memory::load_acquire32(std::as_bytes(std::span{vectors_}), slot * sizeof(std::uint32_t));
}

void PciTransport::set_vector(unsigned slot, std::uint32_t vector) noexcept {
  memory::store_release32(std::as_writable_bytes(std::span{vectors_}), slot * sizeof(std::uint32_t), vector);
}

void PciTransport::queue_used(unsigned queue) noexcept { signal(vector_of(queue), wp::kIsrQueue); }

void PciTransport::config_changed() noexcept {
  ++registers_.generation;
  function_->note_change();
  if ((registers_.status & wire::virtio::status::driver_ok) != 0) signal(vector_of(kMaxQueues), wp::kIsrConfig);
}

// [VIRTIO] 4.1.5.3: with MSI-X the vector, without it the ISR status and INTx.
void PciTransport::signal(std::uint32_t vector, std::uint32_t isr_bit) noexcept {
  pci::Interrupts& interrupts = function_->interrupts();
  if (interrupts.is_message_signalled()) {
    if (vector != wp::kNoVector) static_cast<void>(interrupts.trigger(vector));
    return;
  }
  const std::span<std::byte> isr = bytes_of(isr_);
  std::uint32_t before = memory::load_acquire32(isr, 0);
  while (!memory::compare_exchange32(isr, 0, before, before | isr_bit))
    before = memory::load_acquire32(isr, 0);
  interrupts.set_level(true);
}

// Reading clears it and lowers the line; who has raised it meanwhile may have done so before that.
std::uint32_t PciTransport::read_isr() noexcept {
  const std::span<std::byte> isr = bytes_of(isr_);
  std::uint32_t before = memory::load_acquire32(isr, 0);
  while (!memory::compare_exchange32(isr, 0, before, 0))
    before = memory::load_acquire32(isr, 0);
  function_->interrupts().set_level(false);
  if (memory::load_acquire32(isr, 0) != 0) function_->interrupts().set_level(true);
  return before;
}

// --- the window in config space ([VIRTIO] 4.1.4.9) ---

PciTransport::Window PciTransport::window() const noexcept {
  const auto bytes = function_->config().subspan(window_at_, wp::capability::end);
  Le<std::uint32_t> offset, length;
  std::memcpy(&offset, bytes.data() + wp::capability::offset, sizeof offset);
  std::memcpy(&length, bytes.data() + wp::capability::length, sizeof length);
  return {std::to_integer<std::uint8_t>(bytes[wp::capability::bar]), offset, length};
}

void PciTransport::set_window(const Window& window) noexcept {
  const auto bytes = function_->config().subspan(window_at_, wp::capability::end);
  const Le<std::uint32_t> offset{window.offset}, length{window.length};
  bytes[wp::capability::bar] = std::byte{window.bar};
  std::memcpy(bytes.data() + wp::capability::offset, &offset, sizeof offset);
  std::memcpy(bytes.data() + wp::capability::length, &length, sizeof length);
}

bool PciTransport::is_open(const Window& window, std::size_t size) const noexcept {
  const auto length = window.length;
  const bool is_bar =
      window.bar == static_cast<std::uint8_t>(kBar) || window.bar == static_cast<std::uint8_t>(kMsixBar);
  return is_bar && (length == 1 || length == 2 || length == 4) && window.offset % length == 0 && size >= length &&
         fits(window.offset, length, function_->region(static_cast<pci::Region>(window.bar)).size);
}

void PciTransport::config_reading(RegionOffset offset, std::size_t size) noexcept {
  const std::size_t data = window_at_ + wp::capability::data;
  const Window open = window();
  if (offset.raw > data || offset.raw + size <= data || !is_open(open, offset.raw + size - data)) return;
  const auto into = function_->config().subspan(data, open.length);
  static_cast<void>(function_->read(static_cast<pci::Region>(open.bar), RegionOffset{open.offset}, into));
}

void PciTransport::config_written(RegionOffset offset, std::span<const std::byte> bytes) noexcept {
  const std::size_t end = window_at_ + wp::capability::end, data = window_at_ + wp::capability::data;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t at = offset.raw + i, in_window = at - window_at_;
    const bool is_writable = at < end && (in_window == wp::capability::bar || in_window >= wp::capability::offset);
    if (at >= window_at_ && is_writable) function_->config()[at] = bytes[i];
  }
  const Window open = window();
  if (offset.raw > data || offset.raw + bytes.size() <= data || offset.raw + bytes.size() > end) return;
  if (!is_open(open, offset.raw + bytes.size() - data)) return;
  const std::span<const std::byte> from = function_->config().subspan(data, open.length);
  static_cast<void>(function_->write(static_cast<pci::Region>(open.bar), RegionOffset{open.offset}, from));
}

}  // namespace vmux::virtio
