// SPDX-License-Identifier: BSD-3-Clause
// Glue: owns the parts, is the pci::Device.
#include <utility>

#include "device/e810/nic.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::device::e810 {
namespace {

// A reset of the device: as long as it takes, GLGEN_RSTAT shows it. Drivers look every 100 ms or so.
constexpr std::uint64_t kCoreResetTakes = 1'000'000;  // ns
// MSI-X vectors beside those of the queues: other causes, Flow Director, and what Linux keeps in reserve.
constexpr unsigned kMoreVectors = 8;
static_assert(kMaxQueuePairs + kMoreVectors <= kMaxVectors);

// In the arena; those of queues are in queues/data_path.hpp.
constexpr std::uint32_t kRegistersTag = 1, kDoorbellsTag = 2, kCommandTag = 0x10;
using DoorbellPages = std::array<std::byte, std::size_t{2} * kPage>;

std::uint64_t serial_of(const MacAddress& mac) noexcept {  // as the parts have it: ff-ff in the middle of the address
  std::uint64_t serial = 0;
  for (const unsigned byte :
       {0u + mac[0], 0u + mac[1], 0u + mac[2], 0xffu, 0xffu, 0u + mac[3], 0u + mac[4], 0u + mac[5]})
    serial = serial << 8 | byte;
  return serial;
}

pci::FunctionSpec spec_of(const NicOptions& options) {
  pci::FunctionSpec spec;
  spec.name = options.name;
  spec.vendor_id = 0x8086;
  spec.device_id = 0x1592;  // E810-C for QSFP
  spec.subsystem_vendor_id = 0x8086;
  spec.subsystem_id = 0x0001;
  spec.revision_id = 0x02;
  spec.class_code = 0x020000;
  pci::BarSpec registers{pci::BarKind::memory64, true, kBarSize, {}};
  if (options.doorbell == Doorbell::poll) registers.shared = {{reg::QRX_TAIL, kPage}, {reg::QTX_COMM_DBELL, kPage}};
  spec.bars[0] = registers;
  spec.bars[3] = pci::BarSpec{pci::BarKind::memory64, true, kMsixBarSize, {}};
  pci::Msix msix;
  msix.vectors = options.queue_pairs + kMoreVectors;
  msix.table_bar = pci::Region::bar3;
  msix.pba_bar = pci::Region::bar3;
  msix.pba_offset = kMsixPba;
  spec.capabilities = {pci::PowerManagement{}, msix, pci::Express{}, pci::DeviceSerialNumber{serial_of(options.mac)}};
  return spec;
}

}  // namespace

wire::ice::Status NobodyThere::execute(Command& command) noexcept {
  const std::uint16_t opcode = command.descriptor.opcode;
  const bool is_message = opcode == wire::ice::op::send_to_pf || opcode == wire::ice::op::send_to_vf;
  if (opcode == wire::ice::op::queue_shutdown) return wire::ice::Status::ok;
  return is_message ? wire::ice::Status::no_entry : wire::ice::Status::not_implemented;
}

Nic::Nic(NicOptions options, runtime::Poller& poller, state::Arena arena)
    : options_(std::move(options)),
      identity_{options_.mac, options_.queue_pairs, options_.queue_pairs + kMoreVectors, options_.link_up},
      arena_(std::move(arena)),
      placed_(arena_.place_undoable<RegisterFile>(kRegistersTag)),
      registers_(placed_.first, placed_.second),
      interrupts_(registers_, nic_counters_, poller),
      admin_queue_(registers_, nic_counters_, arena_.place<ControlQueue::Kept>(kCommandTag), options_.name.c_str(),
                   kFirmwareSend, kFirmwareReceive),
      mailbox_(registers_, nic_counters_, arena_.place<ControlQueue::Kept>(kCommandTag + 1), options_.name.c_str(),
               kMailboxSend, kMailboxReceive),
      sideband_(registers_, nic_counters_, arena_.place<ControlQueue::Kept>(kCommandTag + 2), options_.name.c_str(),
                kSidebandSend, kSidebandReceive),
      alarm_(poller, [this] { queue_stopped(); }),
      data_(registers_, interrupts_, nic_counters_, alarm_, arena_, options_.name.c_str(), options_.queue_pairs + 2),
      firmware_(registers_, nic_counters_, interrupts_, data_, admin_queue_, identity_),
      port_(data_, interrupts_, alarm_, options_.doorbell == Doorbell::poll),
      reset_timer_(poller, [this] { function_->in_round([this] { end_core_reset(); }); }),
      serve_timer_(poller, [this] { serve_all(); }) {}

Nic::~Nic() {
  if (function_ == nullptr) return;
  for (ControlQueue* const queue : {&admin_queue_, &mailbox_, &sideband_})
    function_->detach(queue->memory());
  data_.disconnect(*function_);
}

Result<std::unique_ptr<Nic>> Nic::create(NicOptions options, runtime::Poller& poller) {
  if (is_multicast(options.mac)) return fail(Errc::invalid_argument, "a multicast address for a network card");
  if (options.queue_pairs < 1 || options.queue_pairs > kMaxQueuePairs) {
    return fail(Errc::out_of_range, "queue pairs of an E810: 1 to 64");
  }
  auto arena = state::Arena::create(2 * sizeof(RegisterFile) + sizeof(state::UndoWords) + sizeof(DoorbellPages) +
                                    3 * sizeof(ControlQueue::Kept) + (options.queue_pairs + 2) * QueuePair::kCursors);
  if (!arena) return tl::unexpected(arena.error());
  std::unique_ptr<Nic> nic{new Nic(std::move(options), poller, std::move(*arena))};
  auto function = pci::Function::create(spec_of(nic->options_), *nic);
  if (!function) return tl::unexpected<Error>(function.error());
  nic->connect(std::move(*function));
  return nic;
}

void Nic::connect(std::unique_ptr<pci::Function> function) noexcept {
  function_ = std::move(function);
  const std::span<std::byte> bar = function_->shared(pci::Region::bar0);
  if (bar.empty()) {
    const std::span<std::byte> own{arena_.place<DoorbellPages>(kDoorbellsTag)};
    registers_.place_doorbells(own.first(kPage), own.last(kPage));
  } else {
    registers_.place_doorbells(bar.subspan(reg::QRX_TAIL, kPage), bar.subspan(reg::QTX_COMM_DBELL, kPage));
  }
  interrupts_.connect(function_->interrupts());
  for (ControlQueue* const queue : {&admin_queue_, &mailbox_, &sideband_})
    function_->attach(queue->memory());
  for (ControlQueue* const queue : {&admin_queue_, &mailbox_, &sideband_})
    queue->set_traced(*function_);
  data_.connect(*function_);
  forget(ClearedBy::core_reset);
}

/// What the driver has set up is gone; after a reset of the device, what it has downloaded as well.
void Nic::forget(ClearedBy kind) noexcept {
  function_->note_change();
  data_.reset();
  alarm_.silence();  // of queues that are no more
  serve_timer_.disarm();
  for (ControlQueue* const queue : {&admin_queue_, &mailbox_, &sideband_})
    queue->forget_kept();
  interrupts_.reset();
  registers_.reset(kind);
  const std::uint32_t last = options_.queue_pairs + 1, valid = 1u << 31;
  registers_.set(reg::PFLAN_RX_QALLOC, valid | last << 16);
  registers_.set(reg::PFLAN_TX_QALLOC, valid | last << 16);
  firmware_.reset(kind);
  link_may_have_changed();
  nic_counters_.resets.add();
}

void Nic::reset(pci::ResetKind kind) noexcept {
  if (kind == pci::ResetKind::client_gone && std::exchange(is_leaving_, false)) identity_.link_up = true;
  if (function_ == nullptr) return;
  reset_timer_.disarm();
  reset_due_ns_ = 0;
  registers_.set(reg::GLGEN_RSTAT, 0);
  forget(ClearedBy::core_reset);
}

/// The driver hears of it (its own function is not the only one that may have asked), and the device is as after its
/// start when GLGEN_RSTAT says that it is over.
void Nic::begin_core_reset(std::uint32_t trigger) noexcept {
  std::uint32_t status = registers_.get(reg::GLGEN_RSTAT);
  const bool is_global = rtrig::globr::is_set(trigger);
  status = rstat::devstate::set(status, rstat::kInReset);
  status = rstat::reset_type::set(status, is_global ? rstat::kGlobal : rstat::kCore);
  if (is_global) {
    status = rstat::globrcnt::set(status, rstat::globrcnt::get(status) + 1);
  } else {
    status = rstat::corercnt::set(status, rstat::corercnt::get(status) + 1);
  }
  registers_.set(reg::GLGEN_RSTAT, status);
  registers_.set(reg::GLNVM_ULD, 0);
  function_->note_change();
  data_.reset();
  interrupts_.raise_other(oicr::GRST);
  set_reset_due(monotonic_ns() + kCoreResetTakes);
}

// That there was a reset stays to be seen, for the driver's interrupt may come after it.
void Nic::end_core_reset() noexcept {
  reset_due_ns_ = 0;
  const std::uint32_t status = registers_.get(reg::GLGEN_RSTAT), causes = registers_.get(reg::PFINT_OICR);
  forget(ClearedBy::core_reset);
  registers_.set(reg::GLGEN_RSTAT, rstat::devstate::set(status, 0));
  registers_.set(reg::PFINT_OICR, causes & oicr::GRST);
}

/// As the part reports a driver that does what makes no sense: the queue stands still until it is made anew.
void Nic::queue_stopped() noexcept {
  if (is_paused_) return;  // resume() raises the alarm once more
  constexpr std::uint32_t kValid = 1u << 31;
  for (unsigned queue = 0; queue < data_.queues(); ++queue) {
    if (data_.tx(queue).is_enabled() && data_.tx(queue).is_stopped()) {
      registers_.set(reg::GL_MDET_TX_TCLAN, kValid | queue);
      registers_.set(reg::PF_MDET_TX_TCLAN, 1);
    }
    if (data_.rx(queue).is_enabled() && data_.rx(queue).is_stopped()) {
      registers_.set(reg::GL_MDET_RX, kValid | queue);
      registers_.set(reg::PF_MDET_RX, 1);
    }
  }
  interrupts_.raise_other(oicr::MAL_DETECT | oicr::INTEVENT);
}

void Nic::set_link(bool up) noexcept {
  function_->in_round([this, up] {
    function_->note_change();
    const bool was_up = firmware_.is_link_up();
    identity_.link_up = up;
    link_may_have_changed();
    if (firmware_.is_link_up() != was_up) firmware_.link_changed();
  });
}

void Nic::set_mac(const MacAddress& mac) noexcept {
  function_->in_round([this, &mac] {
    function_->note_change();
    options_.mac = identity_.mac = mac;
    firmware_.set_mac(mac);
  });
}

bool Nic::leaving() noexcept {
  if (!identity_.link_up) return false;
  is_leaving_ = true;
  set_link(false);
  return true;
}

}  // namespace vmux::device::e810
