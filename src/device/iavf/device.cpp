// SPDX-License-Identifier: BSD-3-Clause
// Glue: owns the parts, is the pci::Device.
#include <utility>

#include "device/iavf/nic.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::device::iavf {
namespace {

// A driver that asked for a reset first waits until ARQLEN1 is clear, then until VFGEN_RSTAT says that it is over: as
// long as a physical function takes, so that both can be seen. One that is reset for what it asked hears of it before.
constexpr std::uint64_t kResetTakes = 1'000'000, kResetNotice = 10'000'000;  // ns

constexpr std::uint32_t kPagesTag = 1;  // in the arena
using DataPages = std::array<std::byte, kDataPagesEnd>;

pci::FunctionSpec spec_of(const NicOptions& options) {
  pci::FunctionSpec spec;
  spec.name = options.name;
  spec.vendor_id = 0x8086;
  spec.device_id = 0x1889;
  spec.subsystem_vendor_id = 0x8086;
  spec.subsystem_id = 0x0000;
  spec.revision_id = 0x02;
  spec.class_code = 0x020000;
  pci::BarSpec registers{pci::BarKind::memory64, true, kBarSize, {}};
  if (options.doorbell == Doorbell::poll) registers.shared = {{0, kDataPagesEnd}};
  spec.bars[0] = registers;
  spec.bars[3] = pci::BarSpec{pci::BarKind::memory64, true, kMsixBarSize, {}};
  pci::Msix msix;
  msix.vectors = options.queue_pairs + 1;
  msix.table_bar = pci::Region::bar3;
  msix.pba_bar = pci::Region::bar3;
  msix.pba_offset = kMsixPba;
  spec.capabilities = {msix, pci::Express{}};
  return spec;
}

}  // namespace

Nic::Nic(NicOptions options, runtime::Poller& poller, state::Arena arena)
    : options_(std::move(options)),
      identity_{options_.mac, options_.queue_pairs, options_.link_mbps, options_.parent},
      alarm_(poller, [this] { queue_stopped(); }),
      arena_(std::move(arena)),
      data_({registers_, vectors_, alarm_, arena_, options_.doorbell == Doorbell::poll}, run_state_,
            options_.name.c_str(), options_.queue_pairs, poller, options_.more_pollers),
      interrupts_(data_.interrupts()),
      admin_(registers_, nic_counters_, options_.name.c_str()),
      virtchnl_(admin_, data_, interrupts_, nic_counters_, identity_, run_state_),
      reset_timer_(poller, [this] { reset_timer_expired(); }),
      pump_timer_(poller, [this] { pump(); }) {
  run_state_.set_link(options_.link_up);
}

Nic::~Nic() {
  if (function_ == nullptr) return;
  function_->detach(admin_.memory());
  data_.disconnect(*function_);
}

Result<std::unique_ptr<Nic>> Nic::create(NicOptions options, runtime::Poller& poller) {
  if (is_multicast(options.mac)) return fail(Errc::invalid_argument, "a multicast address for a network card");
  if (options.queue_pairs < 1 || options.queue_pairs > kMaxQueuePairs) {
    return fail(Errc::out_of_range, "queue pairs of an iavf: 1 to 16");
  }
  constexpr std::size_t kCursors = kMaxQueuePairs * (sizeof(intel::TxMemory) + sizeof(intel::RxMemory));
  auto arena = state::Arena::create(kCursors + sizeof(DataPages));
  if (!arena) return tl::unexpected(arena.error());
  std::unique_ptr<Nic> nic{new Nic(std::move(options), poller, std::move(*arena))};
  auto function = pci::Function::create(spec_of(nic->options_), *nic);
  if (!function) return tl::unexpected<Error>(function.error());
  nic->connect(std::move(*function));
  return nic;
}

void Nic::connect(std::unique_ptr<pci::Function> function) noexcept {
  function_ = std::move(function);
  std::span<std::byte> pages = function_->shared(pci::Region::bar0);
  if (pages.empty()) {
    pages = arena_.place<DataPages>(kPagesTag);  // trap mode
  }
  registers_.place_data_pages(pages.first(kDataPagesEnd));
  function_->attach(admin_.memory());
  virtchnl_.set_traced(*function_);
  data_.connect(*function_);
  forget_everything(true);
}

void Nic::forget_everything(bool whole) noexcept {
  function_->note_change();
  reset_timer_.disarm();
  reset_due_ns_ = 0;
  pump_timer_.disarm();
  data_.reset();
  alarm_.silence();  // of queues that are no more
  registers_.reset();
  virtchnl_.reset(whole);
  data_.set_station_address(virtchnl_.mac());
  nic_counters_.resets.add();
}

void Nic::reset(pci::ResetKind kind) noexcept {
  if (kind == pci::ResetKind::client_gone && std::exchange(is_leaving_, false)) {
    run_state_.set_link(true);
    data_.link_changed();
  }
  if (function_ != nullptr) forget_everything(true);
}

void Nic::bus_master_changed(bool enabled) noexcept { nic::set_dma(run_state_, data_.lanes(), enabled); }

std::vector<port::Port*> Nic::lanes() noexcept {
  std::vector<port::Port*> lanes;
  for (const auto& lane : data_.lanes())
    lanes.push_back(lane.get());
  return lanes;
}

std::uint64_t Nic::interrupts(Counter InterruptCounters::*which) const noexcept {
  std::uint64_t sum = 0;
  for (const auto& lane : data_.lanes())
    sum += (lane->queues().interrupt_counters().*which).get();
  return sum;
}

void Nic::pump() noexcept {
  if (run_state_.is_paused()) return;  // resume() does
  const std::uint64_t messages = nic_counters_.messages.get();
  if (virtchnl_.pump()) pump_timer_.arm_after(0);
  if (nic_counters_.messages.get() != messages) function_->note_change();
  apply_request();
}

void Nic::apply_request() noexcept {
  switch (virtchnl_.take_reset_request()) {
    case Virtchnl::ResetRequest::none:
      return;
    case Virtchnl::ResetRequest::now:
      return begin_reset();
    case Virtchnl::ResetRequest::soon:
      return set_reset_due(monotonic_ns() + kResetNotice);
  }
}

void Nic::queue_stopped() noexcept {
  if (run_state_.is_paused()) return;  // resume() raises the alarm once more
  virtchnl_.queue_stopped();
  apply_request();
}

void Nic::begin_reset() noexcept {
  forget_everything(false);
  registers_.set(reg::VFGEN_RSTAT, static_cast<std::uint32_t>(wire::virtchnl::ResetState::in_progress));
  set_reset_due(monotonic_ns() + kResetTakes);
}

void Nic::reset_timer_expired() noexcept {
  function_->note_change();
  reset_due_ns_ = 0;
  const auto active = static_cast<std::uint32_t>(wire::virtchnl::ResetState::vf_active);
  if (registers_.get(reg::VFGEN_RSTAT) == active) return begin_reset();  // the notice is over
  registers_.set(reg::VFGEN_RSTAT, active);
}

void Nic::set_link(bool up) noexcept {
  function_->note_change();
  run_state_.set_link(up);
  data_.link_changed();
  virtchnl_.link_changed();
  pump();
}

void Nic::set_mac(const MacAddress& mac) noexcept {
  function_->note_change();
  options_.mac = identity_.mac = mac;
  if (!virtchnl_.has_driver()) {  // nobody has been told of the other one
    data_.filters().remove(virtchnl_.mac());
    data_.set_station_address(mac);
  }
  virtchnl_.set_station(mac);
  apply_request();
}

bool Nic::leaving() noexcept {
  if (!run_state_.is_link_up()) return false;
  is_leaving_ = true;
  set_link(false);
  return true;
}

}  // namespace vmux::device::iavf
