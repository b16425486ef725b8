// SPDX-License-Identifier: BSD-3-Clause
#include "capi/emulated_irqs.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "capi/context.hpp"
#include "vfio-user/vmux-extensions.h"
#include "wire/vfio_user.hpp"

namespace vmux::capi {
namespace {

constexpr std::uint32_t kMsiKind = VFU_DEV_MSI_IRQ, kMsixKind = VFU_DEV_MSIX_IRQ, kIntxKind = VFU_DEV_INTX_IRQ;

/// Where a capability is that the library serves, so that it sees what a guest writes there; 0: the log says why not.
std::size_t served_capability(vfu_ctx& context, int id, const char* name) {
  const auto& region = context.regions[VFU_PCI_DEV_CFG_REGION_IDX];
  const std::size_t at = context.config.find(false, 0, id, region.size);
  const Capability* const found = at == 0 ? nullptr : context.config.first_in(at, 1);
  const bool is_served = found != nullptr && (found->flags & (VFU_CAP_FLAG_CALLBACK | VFU_CAP_FLAG_READONLY)) == 0 &&
                         (region.flags & VFU_REGION_FLAG_ALWAYS_CB) == 0;
  if (is_served) return at;
  vfu_log(&context, LOG_ERR, "interrupts cannot be emulated: there is no capability of %s that the library serves",
          name);
  return 0;
}

/// The count that vfu_setup_device_nr_irqs() gave is none, or this one.
bool agree_on_count(vfu_ctx& context, std::uint32_t kind, std::uint32_t count) {
  std::uint32_t& given = context.irqs.counts[kind];
  if (given == 0) given = count;
  if (given == count) return true;
  vfu_log(&context, LOG_ERR, "interrupts cannot be emulated: %u vectors, where the capability says %u", given, count);
  return false;
}

std::uint64_t page_size() noexcept { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

}  // namespace

std::unique_ptr<EmulatedIrqs> EmulatedIrqs::create(vfu_ctx& context, std::uint32_t kinds) {
  std::unique_ptr<EmulatedIrqs> made{new EmulatedIrqs};
  made->kinds_ = kinds;
  pci::FunctionSpec spec;
  spec.err_irq = spec.req_irq = false;
  const bool fits = (!made->serves(kIntxKind) || made->add_intx(context, spec)) &&
                    (!made->serves(kMsiKind) || made->add_msi(context, spec)) &&
                    (!made->serves(kMsixKind) || made->add_msix(context, spec));
  if (!fits) return errno = EINVAL, nullptr;
  auto interrupts = pci::Interrupts::create(spec);
  if (!interrupts) return errno = interrupts.error().as_errno(), nullptr;
  made->interrupts_ = std::move(*interrupts);
  made->interrupts_->set_bus_master(true);
  made->config_written(context);
  if (made->serves(kMsixKind)) {
    keep_from_clients(context, made->table_);
    keep_from_clients(context, made->pba_);
  }
  return made;
}

bool EmulatedIrqs::add_intx(vfu_ctx& context, pci::FunctionSpec& spec) {
  spec.intx = true;
  counts_[kIntxKind] = 1;
  return agree_on_count(context, kIntxKind, 1);
}

bool EmulatedIrqs::add_msi(vfu_ctx& context, pci::FunctionSpec& spec) {
  msi_at_ = served_capability(context, PCI_CAP_ID_MSI, "MSI");
  if (msi_at_ == 0) return false;
  const mc control = context.config.capability_at<msicap>(msi_at_)->mc;
  // What configuration space has is the form with 64-bit addresses: masks lie elsewhere without.
  if (control.mmc > 5 || (control.pvm != 0 && control.c64 == 0)) {
    vfu_log(&context, LOG_ERR, "interrupts cannot be emulated: MSI of more than 32 vectors, or masks without c64");
    return false;
  }
  counts_[kMsiKind] = 1u << control.mmc;
  spec.capabilities.emplace_back(pci::Msi{counts_[kMsiKind], control.pvm != 0});
  return agree_on_count(context, kMsiKind, counts_[kMsiKind]);
}

bool EmulatedIrqs::add_msix(vfu_ctx& context, pci::FunctionSpec& spec) {
  msix_at_ = served_capability(context, PCI_CAP_ID_MSIX, "MSI-X");
  if (msix_at_ == 0) return false;
  const msixcap capability = *context.config.capability_at<msixcap>(msix_at_);
  const std::uint32_t vectors = capability.mxc.ts + 1u;
  counts_[kMsixKind] = vectors;
  spec.capabilities.emplace_back(pci::Msix{vectors});
  msix_.emplace(vectors);
  table_ = {capability.mtab.tbir, std::uint64_t{capability.mtab.to} * 8, msix_->size()};
  pba_ = {capability.mpba.pbir, std::uint64_t{capability.mpba.pbao} * 8, msix_->pba_size()};
  const auto is_inside = [&](const Place& place) {
    if (place.region > VFU_PCI_DEV_BAR5_REGION_IDX) return false;
    const Region& bar = context.regions[place.region];
    return (bar.flags & VFU_REGION_FLAG_MEM) != 0 && place.start <= bar.size && place.size <= bar.size - place.start;
  };
  const bool are_apart = table_.region != pba_.region || table_.start + table_.size <= pba_.start ||
                         pba_.start + pba_.size <= table_.start;
  if (!is_inside(table_) || !is_inside(pba_) || !are_apart) {
    vfu_log(&context, LOG_ERR,
            "interrupts cannot be emulated: table and pending bits of MSI-X do not lie in memory BARs");
    return false;
  }
  return agree_on_count(context, kMsixKind, vectors);
}

// A page that a client maps is read and written without us.
void EmulatedIrqs::keep_from_clients(vfu_ctx& context, const Place& place) {
  Region& region = context.regions[place.region];
  const std::uint64_t page = page_size();
  const std::uint64_t first = place.start / page * page, end = (place.start + place.size + page - 1) / page * page;
  std::vector<iovec> rest;
  for (const iovec& area : region.areas) {
    const auto start = reinterpret_cast<std::uint64_t>(area.iov_base);
    const std::uint64_t before = std::min(start + area.iov_len, std::max(start, first));
    const std::uint64_t behind = std::max(start, std::min(start + area.iov_len, end));
    if (before > start) rest.push_back({area.iov_base, before - start});
    const std::uint64_t from = std::max(behind, before);
    if (from < start + area.iov_len) rest.push_back({reinterpret_cast<void*>(from), start + area.iov_len - from});
  }
  region.areas = std::move(rest);
  if (region.areas.empty()) region.fd = -1;  // "all of it" is what a descriptor without areas would say
}

std::optional<int> EmulatedIrqs::trigger(std::uint32_t vector) noexcept {
  if (!interrupts_->is_message_signalled()) return {};
  if (vector >= std::max(counts_[kMsiKind], counts_[kMsixKind])) return EINVAL;
  if (!interrupts_->trigger(vector)) return {};
  return 0;
}

std::optional<bool> EmulatedIrqs::is_pending(std::uint32_t kind, std::uint32_t vector) const noexcept {
  if ((kind != kMsiKind && kind != kMsixKind) || vector >= counts_[kind]) return {};
  const pci::Irq irq = kind == kMsiKind ? pci::Irq::msi : pci::Irq::msix;
  return (interrupts_->pending_word(irq, vector) & 1) != 0;
}

int EmulatedIrqs::configure(std::uint32_t kind, std::uint32_t flags, std::uint32_t start, std::uint32_t count,
                            std::span<const std::byte> booleans, std::span<UniqueFd> fds) noexcept {
  namespace sf = wire::vfio_user::set_irqs_flags;
  pci::IrqRequest request;
  request.irq = static_cast<pci::Irq>(kind);  // VFIO's numbers, as VFU_DEV_*_IRQ are
  request.action = (flags & sf::kMask) != 0     ? pci::IrqAction::mask
                   : (flags & sf::kUnmask) != 0 ? pci::IrqAction::unmask
                                                : pci::IrqAction::trigger;
  request.data = (flags & sf::kDataEventfd) != 0 ? pci::IrqData::eventfd
                 : (flags & sf::kDataBool) != 0  ? pci::IrqData::boolean
                                                 : pci::IrqData::none;
  // Nobody watches an eventfd for the client here: the program's thread may sleep in the socket.
  if (request.action != pci::IrqAction::trigger && request.data == pci::IrqData::eventfd) return ENOTTY;
  request.start = start;
  request.count = count;
  request.booleans = {reinterpret_cast<const std::uint8_t*>(booleans.data()), booleans.size()};
  request.eventfds = fds;
  const auto done = interrupts_->configure(request);
  return done ? 0 : done.error().as_errno();
}

EmulatedIrqs::Part EmulatedIrqs::part_at(std::uint32_t region, std::uint64_t offset,
                                         std::uint64_t most) const noexcept {
  Part part{Owner::program, most};
  for (const auto& [place, owner] : {std::pair{&table_, Owner::table}, std::pair{&pba_, Owner::pba}}) {
    if (place->region != region) continue;
    if (offset >= place->start && offset - place->start < place->size) {
      return {owner, std::min(most, place->start + place->size - offset)};
    }
    if (offset < place->start) part.length = std::min(part.length, place->start - offset);
  }
  return part;
}

void EmulatedIrqs::read(Owner owner, std::uint64_t offset, std::span<std::byte> into) const noexcept {
  if (owner == Owner::table) {
    msix_->read(offset - table_.start, into);
  } else {
    pci::MsixTable::read_pba(offset - pba_.start, into, *interrupts_);
  }
}

void EmulatedIrqs::write(Owner owner, std::uint64_t offset, std::span<const std::byte> from) noexcept {
  if (owner != Owner::table) return;  // "read-only to software": 7.7.2.8
  const auto touched = msix_->write(offset - table_.start, from);
  for (std::uint32_t vector = touched.first; vector < touched.end; ++vector)
    interrupts_->set_msix_vector_mask(vector, msix_->is_masked(vector));
}

void EmulatedIrqs::update_config(vfu_ctx& context) const noexcept {
  if (serves(kIntxKind)) context.config.header().sts.is = interrupts_->intx_level() ? 1 : 0;
  if (msi_at_ == 0) return;
  msicap* const msi = context.config.capability_at<msicap>(msi_at_);
  if (msi->mc.pvm != 0) msi->mpend = static_cast<std::uint32_t>(interrupts_->pending_word(pci::Irq::msi, 0));
}

void EmulatedIrqs::config_written(vfu_ctx& context) noexcept {
  interrupts_->set_intx_disabled(context.config.header().cmd.id != 0);
  if (msi_at_ != 0) {
    const msicap* const msi = context.config.capability_at<msicap>(msi_at_);
    if (msi->mc.pvm != 0) interrupts_->set_msi_mask(msi->mmask);
  }
  if (msix_at_ != 0) interrupts_->set_msix_function_mask(context.config.capability_at<msixcap>(msix_at_)->mxc.fm != 0);
}

// What a reset leaves of the capabilities: 6.8.1.3, 6.8.2.3; of the command register: 6.2.2.
void EmulatedIrqs::reset(vfu_ctx& context, bool drop_sinks) noexcept {
  interrupts_->reset(drop_sinks);
  if (serves(kIntxKind)) context.config.header().cmd.id = 0;
  if (msi_at_ != 0) {
    msicap* const msi = context.config.capability_at<msicap>(msi_at_);
    msi->mc.msie = 0;
    msi->mc.mme = 0;
    if (msi->mc.pvm != 0) msi->mmask = msi->mpend = 0;
  }
  if (msix_at_ != 0) {
    mxc& control = context.config.capability_at<msixcap>(msix_at_)->mxc;
    control.mxe = control.fm = 0;
    msix_->reset();
  }
  update_config(context);
}

}  // namespace vmux::capi
