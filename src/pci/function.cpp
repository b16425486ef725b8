// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/pci/function.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "pci/function_impl.hpp"
#include "wire/pci.hpp"

namespace vmux::pci {
namespace {

bool is_bar(Region region) noexcept { return region <= Region::bar5; }

Result<std::uint32_t> rom_bar_size(const FunctionSpec& spec) noexcept {
  if (spec.rom.size() > wire::pci::rom::kMaxSize) return fail(Errc::out_of_range, "size of the expansion ROM");
  if (spec.rom.empty()) return 0;
  return std::bit_ceil(std::max(static_cast<std::uint32_t>(spec.rom.size()), wire::pci::rom::kMinSize));
}

std::vector<std::byte> padded_rom(const FunctionSpec& spec, std::uint32_t size) {
  std::vector<std::byte> rom(size, std::byte{0xff});  // what an unprogrammed ROM reads
  std::transform(spec.rom.begin(), spec.rom.end(), rom.begin(), [](std::uint8_t value) { return std::byte{value}; });
  return rom;
}

}  // namespace

Function::Function(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Function::~Function() = default;

Result<std::unique_ptr<Function>> Function::create(FunctionSpec spec, Device& device) {
  const auto rom_size = rom_bar_size(spec);
  if (!rom_size) return tl::unexpected(rom_size.error());
  auto config = ConfigSpace::build(spec, *rom_size);
  if (!config) return tl::unexpected(config.error());
  auto impl = std::make_unique<Impl>(std::move(spec), device, std::move(*config));
  impl->rom = padded_rom(impl->spec, *rom_size);
  for (const Capability& capability : impl->spec.capabilities) {
    const auto* msix = std::get_if<Msix>(&capability);
    if (msix == nullptr) continue;
    if (!is_bar(msix->table_bar) || !is_bar(msix->pba_bar)) {
      return fail(Errc::invalid_argument, "MSI-X structures need a memory BAR");
    }
    impl->msix_table.emplace(msix->vectors);
  }
  for (unsigned i = 0; i < impl->bars.size(); ++i) {
    auto bar = Bar::create(impl->spec, i);
    if (!bar) return tl::unexpected(bar.error());
    impl->bars[i] = std::move(*bar);
  }
  auto interrupts = Interrupts::create(impl->spec);
  if (!interrupts) return tl::unexpected(interrupts.error());
  impl->interrupts = std::move(*interrupts);
  impl->space.attach(impl->own_reader);
  return std::unique_ptr<Function>{new Function(std::move(impl))};
}

// --- regions ---

std::uint64_t Function::Impl::size_of(Region region) const noexcept {
  if (is_bar(region)) return bars[static_cast<std::size_t>(region)].size();
  if (region == Region::rom) return rom.size();
  if (region == Region::config) return config.size();
  return 0;
}

RegionInfo Function::region(Region region) const noexcept {
  RegionInfo info;
  info.size = impl_->size_of(region);
  info.readable = info.size != 0;
  info.writable = info.size != 0 && region != Region::rom;
  if (is_bar(region) && info.size != 0) {
    const BarSpec& bar = *impl_->spec.bars[static_cast<std::size_t>(region)];
    info.shared = bar.shared;
    info.is_io = bar.kind == BarKind::io;
    info.io_events = bar.io_events;
    info.fd = impl_->bars[static_cast<std::size_t>(region)].fd();
  }
  return info;
}

Result<void> Function::Impl::check(Region region, std::uint64_t offset, std::size_t size) const noexcept {
  const std::uint64_t limit = size_of(region);
  if (limit == 0) return fail(Errc::not_supported, "the region does not exist");
  if (!fits(offset, size, limit)) return fail(Errc::out_of_range, "an access beyond the end of a region");
  return {};
}

Result<void> Function::read(Region region, RegionOffset offset, std::span<std::byte> into) noexcept {
  if (auto checked = impl_->check(region, offset.raw, into.size()); !checked) return checked;
  if (region == Region::config) {
    impl_->read_config(offset.raw, into);
  } else if (region == Region::rom) {
    std::memcpy(into.data(), impl_->rom.data() + offset.raw, into.size());
  } else {
    impl_->read_bar(region, offset.raw, into);
  }
  return {};
}

Result<void> Function::write(Region region, RegionOffset offset, std::span<const std::byte> from) noexcept {
  if (auto checked = impl_->check(region, offset.raw, from.size()); !checked) return checked;
  if (region == Region::rom) return fail(Errc::permission, "the expansion ROM is read-only");
  if (region == Region::config) {
    note_change();
    impl_->write_config(offset.raw, from);
  } else {
    impl_->write_bar(region, offset.raw, from);
  }
  return {};
}

void Function::Impl::read_bar(Region region, std::uint64_t offset, std::span<std::byte> into) noexcept {
  const Bar& bar = bars[static_cast<std::size_t>(region)];
  while (!into.empty()) {
    const Segment segment = bar.segment(offset);
    std::size_t step = std::min<std::uint64_t>(into.size(), segment.end - offset);
    if (segment.owner == Owner::model) step = aligned_step(offset, step);
    const auto part = into.first(step);
    switch (segment.owner) {
      case Owner::model:
        device.read_bar(region, RegionOffset{offset}, part);
        break;
      case Owner::shared:
        read_shared(bar.memory(), offset, part);
        break;
      case Owner::msix_table:
        msix_table->read(offset - segment.begin, part);
        break;
      case Owner::msix_pba:
        MsixTable::read_pba(offset - segment.begin, part, *interrupts);
        break;
    }
    into = into.subspan(step);
    offset += step;
  }
}

void Function::Impl::write_bar(Region region, std::uint64_t offset, std::span<const std::byte> from) noexcept {
  const Bar& bar = bars[static_cast<std::size_t>(region)];
  while (!from.empty()) {
    const Segment segment = bar.segment(offset);
    std::size_t step = std::min<std::uint64_t>(from.size(), segment.end - offset);
    if (segment.owner == Owner::model) step = aligned_step(offset, step);
    const auto part = from.first(step);
    switch (segment.owner) {
      case Owner::model:
        device.write_bar(region, RegionOffset{offset}, part);
        break;
      case Owner::shared:
        write_shared(bar.memory(), offset, part);
        device.shared_written(region, RegionOffset{offset}, step);
        break;
      case Owner::msix_table: {
        has_changed = true;
        has_changed = true;
        const auto touched = msix_table->write(offset - segment.begin, part);
        for (std::uint32_t i = touched.first; i < touched.end; ++i)
          interrupts->set_msix_vector_mask(i, msix_table->is_masked(i));
        break;
      }
      case Owner::msix_pba:
        break;  // read-only, [PCI] 6.8.2.10
    }
    from = from.subspan(step);
    offset += step;
  }
}

// --- life of a client ---

void Function::Impl::silence(bool drop_sinks) noexcept {
  has_changed = true;
  config.reset();
  update_dma();
  interrupts->reset(drop_sinks);
  if (msix_table) msix_table->reset();
}

void Function::Impl::reset(ResetKind kind) noexcept {
  silence(/*drop_sinks=*/false);
  device.reset(kind);
}

void Function::reset(ResetKind kind) noexcept {
  impl_->reset(kind);
  impl_->forget_move();
}

void Function::client_attached(MessageDma* message_dma) noexcept {
  impl_->message_dma = message_dma;
  impl_->is_attached = true;
  impl_->device.attached(true);
}

void Function::client_gone(std::function<void()> quiet) noexcept {
  // The memory may be quiet at once; the caller hears of it only when the device is ready for the next client too.
  struct Progress {
    bool is_quiet = false, is_reset = false;
    std::function<void()> quiet;
  };
  auto progress = std::make_shared<Progress>();
  progress->quiet = std::move(quiet);
  const auto proceed = [progress] {
    if (progress->is_quiet && progress->is_reset && progress->quiet) progress->quiet();
  };
  // A queue that still runs, on another poller say, would take memory that is gone for the guest's fault.
  impl_->silence(/*drop_sinks=*/true);
  impl_->message_dma = nullptr;
  impl_->space.stop_dirty_log();
  impl_->space.unmap_all([progress, proceed] {
    progress->is_quiet = true;
    proceed();
  });
  impl_->device.reset(ResetKind::client_gone);
  impl_->forget_move();
  impl_->is_attached = false;
  impl_->device.attached(false);
  progress->is_reset = true;
  proceed();
}

bool Function::announce_departure(bool for_good) noexcept {
  const bool guest_knows = impl_->device.leaving();
  const bool client_knows = for_good && impl_->interrupts->request_release();
  return guest_knows || client_knows;
}

const std::string& Function::name() const noexcept { return impl_->spec.name; }

const char* Function::failure() const noexcept {
  return impl_->space.is_poisoned() ? "the client truncated its memory file under the device" : nullptr;
}

IrqInfo Function::irq_info(Irq irq) const noexcept { return impl_->interrupts->info(irq); }
Result<void> Function::configure_irq(IrqRequest request) noexcept {
  note_change();
  return impl_->interrupts->configure(request);
}
int Function::intx_unmask_fd() const noexcept { return impl_->interrupts->intx_unmask_fd(); }
void Function::unmask_intx() noexcept { impl_->interrupts->unmask_intx(); }

Result<void> Function::map(memory::MapRequest request) noexcept {
  note_change();
  return impl_->space.map(std::move(request));
}
Result<ByteCount> Function::unmap(Iova start, ByteCount size, std::function<void()> quiet) noexcept {
  note_change();
  return impl_->space.unmap(start, size, std::move(quiet));
}
Result<ByteCount> Function::unmap_all(std::function<void()> quiet) noexcept {
  note_change();
  return impl_->space.unmap_all(std::move(quiet));
}

// --- the model's face ---

Interrupts& Function::interrupts() noexcept { return *impl_->interrupts; }
memory::AddressSpace& Function::memory() noexcept { return impl_->space; }

void Function::attach(memory::GuestMemory& reader) {
  impl_->readers.push_back(&reader);
  if (impl_->is_dma_on) impl_->space.attach(reader);
}

void Function::detach(memory::GuestMemory& reader) noexcept {
  std::erase(impl_->readers, &reader);
  impl_->space.detach(reader);
}

std::span<std::byte> Function::shared(Region bar) noexcept {
  return is_bar(bar) ? impl_->bars[static_cast<std::size_t>(bar)].memory() : std::span<std::byte>{};
}

Result<void> Function::Impl::check_dma(Iova at, std::size_t size, memory::Access access) const noexcept {
  if (!is_dma_on) return fail(Errc::permission, "bus mastering is off");
  if (!space.knows(at, ByteCount{size}, access)) return fail(Errc::out_of_range, "the guest gave no such memory");
  return {};
}

void Function::dma_read(Iova from, std::span<std::byte> into, MessageDma::Done done) {
  if (auto checked = impl_->check_dma(from, into.size(), memory::Access::read); !checked) return done(checked);
  if (impl_->own_reader.read(from, into)) return done({});
  if (impl_->message_dma == nullptr) return done(fail(Errc::disconnected, "no client to ask for memory"));
  impl_->message_dma->read(from, into, std::move(done));
}

void Function::dma_write(Iova to, std::span<const std::byte> from, MessageDma::Done done) {
  if (auto checked = impl_->check_dma(to, from.size(), memory::Access::write); !checked) return done(checked);
  if (impl_->own_reader.write(to, from)) return done({});
  if (impl_->message_dma == nullptr) return done(fail(Errc::disconnected, "no client to give memory to"));
  impl_->message_dma->write(to, from, std::move(done));
}

std::span<std::byte> Function::config() noexcept { return impl_->config.bytes(); }
bool Function::is_bus_master() const noexcept { return impl_->is_dma_on; }
Device& Function::device() noexcept { return impl_->device; }
const FunctionSpec& Function::spec() const noexcept { return impl_->spec; }

}  // namespace vmux::pci
