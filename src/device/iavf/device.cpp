// SPDX-License-Identifier: BSD-3-Clause
// Glue: owns the parts, is the pci::Device and the port::Port.
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
      identity_{options_.mac, options_.queue_pairs, options_.link_mbps, options_.link_up, options_.parent},
      interrupts_(registers_, vectors_, nic_counters_, poller),
      admin_(registers_, nic_counters_, options_.name.c_str()),
      alarm_(poller),
      arena_(std::move(arena)),
      data_(registers_, vectors_, interrupts_, alarm_, options_.name.c_str(), options_.queue_pairs,
            options_.more_pollers, options_.doorbell == Doorbell::poll, arena_),
      virtchnl_(admin_, data_, interrupts_, nic_counters_, identity_),
      reset_timer_(poller, [this] { reset_timer_expired(); }),
      pump_timer_(poller, [this] { pump(); }),
      alarm_timer_(poller, [this] { queue_stopped(); }) {}

Nic::~Nic() {
  if (function_ == nullptr) return;
  function_->detach(admin_.memory());
  data_.disconnect(*function_);
}

Result<std::unique_ptr<Nic>> Nic::create(NicOptions options, runtime::Poller& poller) {
  if ((options.mac[0] & 1) != 0) return fail(Errc::invalid_argument, "a multicast address for a network card");
  if (options.queue_pairs < 1 || options.queue_pairs > kMaxQueuePairs) {
    return fail(Errc::out_of_range, "queue pairs of an iavf: 1 to 16");
  }
  constexpr std::size_t kCursors = kMaxQueuePairs * (sizeof(intel::QueueState<intel::TxQueueConfig>) +
                                                     sizeof(intel::QueueState<intel::RxQueueConfig>));
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
  interrupts_.connect(function_->interrupts());
  function_->attach(admin_.memory());
  data_.connect(*function_);
  data_.set_link(identity_.link_up);
  forget_everything(true);
}

void Nic::forget_everything(bool whole) noexcept {
  function_->note_change();
  reset_timer_.disarm();
  reset_due_ns_ = 0;
  pump_timer_.disarm();
  data_.reset();
  static_cast<void>(alarm_.take());  // of queues that are no more
  alarm_timer_.disarm();
  interrupts_.reset();
  registers_.reset();
  virtchnl_.reset(whole);
  data_.set_station_address(virtchnl_.mac());
  publish_steering();
  nic_counters_.resets.add();
}

void Nic::reset(pci::ResetKind kind) noexcept {
  if (kind == pci::ResetKind::client_gone && std::exchange(is_leaving_, false)) {
    identity_.link_up = true;
    data_.set_link(true);
  }
  if (function_ != nullptr) forget_everything(true);
}

void Nic::bus_master_changed(bool enabled) noexcept { data_.set_dma(enabled); }

void Nic::publish_steering() noexcept {
  if (auto steering = data_.take_steering()) publish(std::move(steering));
}

std::vector<port::Port*> Nic::lanes() noexcept {
  std::vector<port::Port*> lanes{this};
  for (const auto& side : data_.sides())
    lanes.push_back(side.get());
  return lanes;
}

std::uint64_t Nic::interrupts_sent() const noexcept {
  std::uint64_t sum = nic_counters_.interrupts.get();
  for (const auto& side : data_.sides())
    sum += side->nic_counters().interrupts.get();
  return sum;
}

void Nic::pump() noexcept {
  if (is_paused_) return;  // resume() does
  const std::uint64_t messages = nic_counters_.messages.get();
  if (virtchnl_.pump()) pump_timer_.arm_after(0);
  if (nic_counters_.messages.get() != messages) function_->note_change();
  publish_steering();
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
  identity_.link_up = up;
  data_.set_link(up);
  virtchnl_.link_changed();
  pump();
}

bool Nic::leaving() noexcept {
  if (!identity_.link_up) return false;
  is_leaving_ = true;
  set_link(false);
  return true;
}

// What a stopped queue leads to closes the gates of other lanes: not in a round, in which others may be kept out.
void Nic::begin_round() noexcept {
  if (is_paused_) [[unlikely]]
    return;
  interrupts_.service();
  if (alarm_.take()) [[unlikely]]
    alarm_timer_.arm_after(0);
}

void Nic::end_round() noexcept {
  if (!is_paused_) data_.home().flush();
}

std::size_t Nic::take(std::span<packet::FrameView> into) noexcept {
  return !is_paused_ && identity_.link_up && function_->is_bus_master() ? data_.home().peek(into) : 0;
}

void Nic::finish(std::span<const port::FrameResult> results) noexcept { data_.home().complete(results.size()); }

port::Delivery Nic::deliver(std::span<const packet::FrameView> frames) noexcept {
  return is_ready() ? data_.home().deliver(frames) : port::Delivery{};
}

packet::Accepts Nic::accepts() const noexcept { return data_.home().accepts(); }

bool Nic::needs_polling() const noexcept {
  return !is_paused_ && options_.doorbell == Doorbell::poll && data_.home().is_any_enabled() &&
         function_->is_bus_master();
}

bool Nic::is_ready() const noexcept {
  return !is_paused_ && identity_.link_up && data_.home().can_receive() && function_->is_bus_master();
}

}  // namespace vmux::device::iavf
