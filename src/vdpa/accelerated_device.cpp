// SPDX-License-Identifier: BSD-3-Clause
// What a transport sees. Who serves the queues: accelerated_modes.cpp; what the function reaches:
// accelerated_memory.cpp.
#include "vdpa/accelerated_device.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/logf.hpp"

namespace vmux::vdpa {
namespace {

namespace ring = wire::virtio::feature;
namespace net = wire::virtio::net;
namespace blk = wire::virtio::blk;

// Whoever serves a queue has to know these, as they decide what is in a buffer.
constexpr std::uint64_t kNetShared = net::feature::csum | net::feature::guest_csum | net::feature::guest_tso4 |
                                     net::feature::guest_tso6 | net::feature::guest_ecn | net::feature::guest_ufo |
                                     net::feature::host_tso4 | net::feature::host_tso6 | net::feature::host_ecn |
                                     net::feature::host_ufo | net::feature::guest_uso4 | net::feature::guest_uso6 |
                                     net::feature::host_uso | net::feature::mrg_rxbuf;
constexpr std::uint64_t kDisk = blk::feature::size_max | blk::feature::seg_max | blk::feature::geometry |
                                blk::feature::ro | blk::feature::blk_size | blk::feature::flush |
                                blk::feature::topology | blk::feature::config_wce | blk::feature::mq |
                                blk::feature::discard | blk::feature::write_zeroes;
// Rings of these kinds are shadowed, whatever the function has.
constexpr std::uint64_t kShadowed = ring::indirect_desc | ring::event_idx | ring::ring_packed | ring::in_order;

}  // namespace

const char* text_of(Mode mode) noexcept {
  switch (mode) {
    case Mode::stopped:
      return "stopped";
    case Mode::waiting:
      return "waiting";
    case Mode::direct:
      return "direct";
    case Mode::shadow:
      return "shadow";
    case Mode::software:
      return "software";
  }
  return "?";
}

AcceleratedDevice::AcceleratedDevice(AcceleratedOptions options, std::shared_ptr<kvfio::Group> group,
                                     runtime::Poller& poller)
    : options_(std::move(options)),
      group_(std::move(group)),
      poller_(poller),
      settle_(poller, [this] { bring_up(); }),
      health_(poller, [this] { check_health(); }),
      retry_(poller, [this] { retry(); }) {}

Result<std::unique_ptr<AcceleratedDevice>> AcceleratedDevice::create(AcceleratedOptions options,
                                                                     std::shared_ptr<kvfio::Group> group,
                                                                     runtime::Poller& poller) {
  std::unique_ptr<AcceleratedDevice> device{new AcceleratedDevice(std::move(options), std::move(group), poller)};
  if (auto joined = device->group_->join(*device); !joined) {
    device->group_.reset();
    return tl::unexpected(joined.error());
  }
  const Facts& facts = device->facts_;
  std::uint64_t room = ControlCommands::bytes() + 2 * 4096;
  for (unsigned queue = 0; queue < facts.queues; ++queue)
    room += DriverRing::bytes_of(facts.sizes[queue]) + 4096;
  auto rings = RingMemory::create(room);
  if (!rings) return tl::unexpected(rings.error());
  device->rings_ = std::move(*rings);
  return device;
}

AcceleratedDevice::~AcceleratedDevice() {
  halt();
  if (space_ != nullptr) disconnect();
  if (group_) group_->leave(*this);
}

std::uint64_t AcceleratedDevice::shadowed_chains() const noexcept {
  std::uint64_t chains = 0;
  for (const auto& lane : lanes_)
    chains += lane->shadow.chains();
  return chains;
}

bool AcceleratedDevice::is_anything_wanted() const noexcept {
  return std::ranges::any_of(lanes_, [](const auto& lane) { return lane->is_wanted; });
}

// --- what there is ---

// The same however often the function comes and goes: a front end whose guest has accepted a feature wants it again.
std::uint64_t AcceleratedDevice::features() const noexcept {
  if (!is_net()) return (facts_.features & kDisk) | kShadowed;
  const std::uint64_t stand_in = software_ == nullptr ? 0 : software_->features();
  return stand_in & (facts_.features | ~kNetShared);
}

unsigned AcceleratedDevice::queue_count() const noexcept {
  return is_net() && software_ != nullptr ? software_->queue_count() : facts_.queues;
}

std::uint16_t AcceleratedDevice::max_size(unsigned queue) const noexcept {
  if (is_net() && software_ != nullptr) return software_->max_size(queue);
  return queue < facts_.queues ? facts_.sizes[queue] : std::uint16_t{0};
}

bool AcceleratedDevice::is_control(unsigned queue) const noexcept {
  return is_net() && software_ != nullptr && software_->is_control(queue);
}

void AcceleratedDevice::read_config(std::size_t offset, std::span<std::byte> into) const noexcept {
  if (software_ != nullptr) return software_->read_config(offset, into);
  std::ranges::fill(into, std::byte{0});
  if (offset >= facts_.disk.size()) return;
  const std::size_t part = std::min(into.size(), facts_.disk.size() - offset);
  std::memcpy(into.data(), facts_.disk.data() + offset, part);
}

// Of a disk's the cache mode is the only field that a driver writes (5.2.5.2).
void AcceleratedDevice::write_config(std::size_t offset, std::span<const std::byte> from) noexcept {
  constexpr std::size_t kWriteback = offsetof(blk::Config, writeback);
  const bool has_it = (accepted_ & blk::feature::config_wce) != 0;
  if (is_net() || !has_it || offset > kWriteback || kWriteback - offset >= from.size()) return;
  writeback_ = std::to_integer<std::uint8_t>(from[kWriteback - offset]) != 0 ? 1 : 0;
  facts_.disk[kWriteback] = std::byte{*writeback_};
  if (is_on_function() && !function_->write_config(kWriteback, {&facts_.disk[kWriteback], 1})) {
    fail("its cache mode cannot be set");
  }
}

// --- its driver ---

void AcceleratedDevice::connect(virtio::Signals& signals, memory::AddressSpace& space) {
  signals_ = &signals;
  space_ = &space;
  if (software_ != nullptr) software_->connect(signals, space);
  while (lanes_.size() < queue_count())
    lanes_.push_back(std::make_unique<Lane>());
  for (const auto& lane : lanes_) {
    space.attach(lane->direct.ring_memory());
    space.attach(lane->shadow.ring_memory());
    space.attach(lane->shadow.buffer_memory());
  }
  space.attach(*this);
}

void AcceleratedDevice::disconnect() noexcept {
  set_dma(false);
  space_->detach(*this);
  for (const auto& lane : lanes_) {
    space_->detach(lane->direct.ring_memory());
    space_->detach(lane->shadow.ring_memory());
    space_->detach(lane->shadow.buffer_memory());
  }
  if (software_ != nullptr) software_->disconnect();
  signals_ = nullptr;
  space_ = nullptr;
}

// A client comes with its first leave to reach for memory. Its function is opened anew between two of them.
void AcceleratedDevice::set_dma(bool enabled) noexcept {
  if (enabled == is_dma_on_) return;
  if (!enabled) halt();
  is_dma_on_ = enabled;
  if (software_ != nullptr) software_->set_dma(enabled);
  if (!enabled) return;
  if (!std::exchange(has_client_, true)) {
    if (auto came = group_->client_came(*this); !came) {
      logf(LogLevel::warning, "{}: {} cannot be had: {}", options_.name, options_.address, came.error().text());
    }
  }
  settle();
}

bool AcceleratedDevice::accept(std::uint64_t features) noexcept {
  if (software_ != nullptr && !software_->accept(features)) return false;
  accepted_ = features;
  return true;
}

void AcceleratedDevice::start_queue(unsigned queue, const virtio::QueueSetup& setup,
                                    const virtio::QueueState& state) noexcept {
  if (queue >= lanes_.size() || is_control(queue)) return;
  Lane& lane = *lanes_[queue];
  const bool is_fresh = state == virtio::QueueState{};
  if (is_fresh) lane.has_lost_order = false;
  if (lane.has_lost_order) {
    signals_->queue_failed(queue);
    return;  // what it holds may be used already: only a driver that begins anew says what is whose
  }
  if (mode_ != Mode::software) halt();
  lane.is_wanted = true;
  lane.setup = setup;
  lane.state = state;
  lane.is_fault_told = false;
  if (mode_ == Mode::software) return software_->start_queue(queue, setup, state);
  settle();
}

virtio::QueueState AcceleratedDevice::stop_queue(unsigned queue) noexcept {
  if (queue >= lanes_.size()) return {};
  Lane& lane = *lanes_[queue];
  if (!lane.is_wanted) return lane.state;  // one that has lost its order stands behind all that it was given
  if (mode_ == Mode::software) {
    lane.state = software_->stop_queue(queue);
  } else {
    halt();
  }
  lane.is_wanted = false;
  if (!is_anything_wanted()) {
    halt();  // nothing is left of software's either
    mode_ = Mode::stopped;
  }
  settle();
  return lane.state;
}

virtio::QueueState AcceleratedDevice::queue_state(unsigned queue) noexcept {
  if (queue >= lanes_.size()) return {};
  Lane& lane = *lanes_[queue];
  if (!lane.is_wanted) return lane.state;
  if (mode_ == Mode::software) return software_->queue_state(queue);
  if (mode_ == Mode::shadow) return lane.shadow.state();
  if (mode_ == Mode::direct) return lane.direct.state().value_or(lane.state);
  return lane.state;
}

void AcceleratedDevice::kicked(unsigned queue) noexcept {
  if (queue >= lanes_.size() || !lanes_[queue]->is_wanted) return;
  if (mode_ == Mode::software) return software_->kicked(queue);
  if (mode_ == Mode::shadow) return relay(queue);
  if (mode_ != Mode::direct) return;
  counters_.kicks.add();
  function_->kick(queue);
}

void AcceleratedDevice::call_changed(unsigned queue) noexcept {
  if (mode_ != Mode::direct || queue >= lanes_.size() || !lanes_[queue]->is_wanted) return;
  if (auto done = function_->listen(vector_of(queue), signals_->eventfd(queue)); !done) {
    fail("an interrupt of it does not reach the guest");
  }
}

void AcceleratedDevice::reset(bool client_gone) noexcept {
  halt();
  for (const auto& lane : lanes_) {
    lane->is_wanted = lane->is_fault_told = false;
    // A front end that comes back goes on with the same rings.
    if (!client_gone) lane->has_lost_order = false;
    lane->state = {};
  }
  accepted_ = 0;
  writeback_.reset();
  facts_.disk[offsetof(blk::Config, writeback)] = facts_.writeback;
  unannounced_.reset();
  mode_ = Mode::stopped;
  reason_.clear();
  if (software_ != nullptr) software_->reset(client_gone);
  if (!client_gone || !std::exchange(has_client_, false)) return;
  retry_.disarm();
  pause_ns_ = 0;
  mapped_.clear();  // all of it goes with the client, and the rings with it
  rings_.set_place(std::nullopt);
  announcement_.reset();
  group_->client_went(*this, /*is_lost=*/function_ == nullptr, [] {});
}

// --- another object ---

void AcceleratedDevice::pause() noexcept {
  halt();
  is_paused_ = true;
  if (software_ != nullptr) software_->pause();
}

void AcceleratedDevice::resume() noexcept {
  is_paused_ = false;
  if (software_ != nullptr) software_->resume();
  settle();
}

// Queues and features are the transport's to save; a function cannot be saved, and starts anew where they stand.
void AcceleratedDevice::save(state::Writer& into) const {
  if (software_ != nullptr) software_->save(into);
}

tl::expected<void, std::string> AcceleratedDevice::load(state::Reader& from) {
  return software_ != nullptr ? software_->load(from) : tl::expected<void, std::string>{};
}

}  // namespace vmux::vdpa
