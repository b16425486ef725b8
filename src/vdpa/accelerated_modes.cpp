// SPDX-License-Identifier: BSD-3-Clause
// Who serves the queues, and how that changes. A queue has one owner at a time: it stands still, and is counted from
// there, before another has it.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "base/logf.hpp"
#include "vdpa/accelerated_device.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::vdpa {
namespace {

namespace ring = wire::virtio::feature;
namespace net = wire::virtio::net;
namespace blk = wire::virtio::blk;
namespace status_bit = wire::virtio::status;

// A front end tells of one ring after the other.
constexpr std::uint64_t kSettle_ns = 2'000'000;
constexpr std::uint64_t kPinning_ns = 1'000'000;
constexpr std::uint64_t kPinningBehind_ns = 10'000'000;  // while software serves
constexpr std::uint64_t kHealth_ns = 1'000'000'000;
constexpr std::uint64_t kFirstRetry_ns = 1'000'000'000, kLastRetry_ns = 60'000'000'000;
constexpr unsigned kHealthyLooks = 10;  // then a failure is a new one
// A disk's requests are few, and one that is done need not be done again.
constexpr std::uint64_t kDrainWithin_ns = 1'000'000'000;
constexpr auto kBetweenLooks = std::chrono::microseconds{100};
constexpr std::uint64_t kOfRings = ring::indirect_desc | ring::event_idx | ring::in_order;
constexpr char kPinning[] = "the VM's memory is being pinned";

/// A broadcast that moves a station in every switch's table: RFC 903, as QEMU and Linux send it.
std::array<std::byte, 60> rarp_of(std::span<const std::uint8_t, 6> station) {
  constexpr std::array<std::uint8_t, 10> kHead{0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};
  std::array<std::byte, 60> frame{};
  std::memset(frame.data(), 0xff, 6);
  std::memcpy(frame.data() + 6, station.data(), 6);
  std::memcpy(frame.data() + 12, kHead.data(), kHead.size());
  std::memcpy(frame.data() + 22, station.data(), 6);
  std::memcpy(frame.data() + 32, station.data(), 6);
  return frame;
}

}  // namespace

unsigned AcceleratedDevice::vector_of(unsigned queue) const noexcept {
  const auto vectors = static_cast<unsigned>(vectors_.size());
  return vectors == 1 ? 0 : 1 + queue % (vectors - 1);
}

// --- beginning ---

bool AcceleratedDevice::may_run() const noexcept { return is_dma_on_ && !is_paused_ && is_anything_wanted(); }

// What no other try changes. Empty: there is none.
const char* AcceleratedDevice::obstacle_to_function() const noexcept {
  if (!is_cable_in_) return "the cable is out";
  // 5.1.6.1: without either a frame's header is two bytes shorter than the one that the function uses.
  if (is_net() && (accepted_ & (ring::version_1 | net::feature::mrg_rxbuf)) == 0)
    return "the guest's driver is a legacy one";
  return "";
}

void AcceleratedDevice::settle() noexcept {
  if (may_run() && mode_ != Mode::software) settle_.arm_after(kSettle_ns);
}

void AcceleratedDevice::bring_up() noexcept {
  if (!may_run() || mode_ == Mode::software || is_on_function()) return;
  if (const char* const obstacle = obstacle_to_function(); *obstacle != '\0') {
    reason_ = obstacle;
    return start_in_software();
  }
  const auto started = start_on_function();
  if (started) {
    if (!is_on_function()) return;  // it has failed again, and that is dealt with
    retry_.disarm();
    healthy_ = 0;
    health_.arm_after(kHealth_ns);
    counters_.starts.add();
    if (mode_ == Mode::direct) counters_.direct.add();
    logf(LogLevel::info, "{}: {} serves its queues ({}{}{})", options_.name, options_.address, text_of(mode_),
         reason_.empty() ? "" : ": ", reason_);
    for (unsigned queue = 0; queue < lanes_.size(); ++queue) {
      if (!lanes_[queue]->is_wanted) continue;
      // What the guest has told somebody else of, and what it was not told.
      mode_ == Mode::direct ? function_->kick(queue) : relay(queue);
      if (signals_ != nullptr) signals_->queue_used(queue);
    }
    if (const auto station = std::exchange(unannounced_, std::nullopt)) announce(*station);
    return;
  }
  if (mode_ == Mode::software) return;  // that is dealt with
  mode_ = Mode::waiting;
  if (started.error().code == Errc::busy && started.error().what == kPinning) {
    reason_ = kPinning;
    settle_.arm_after(kPinning_ns);
    return;
  }
  reason_ = started.error().text();
  logf(LogLevel::error, "{}: {} does not serve its queues: {}", options_.name, options_.address, reason_);
  stop_function();
  stand_in_and_retry();
}

// Chosen anew at each start. Empty: there is none.
const char* AcceleratedDevice::obstacle_to_direct() const noexcept {
  if (options_.only_shadow) return "asked for";
  if (is_logged_) return "writes are logged, as when the VM is migrated";
  if ((accepted_ & ring::ring_packed) != 0) return "packed rings";
  if ((accepted_ & kOfRings & ~facts_.features) != 0) return "the function lacks a feature of the guest's rings";
  if (!is_net() && (accepted_ & ring::in_order) == 0) return "a disk whose requests may overtake each other";
  for (unsigned queue = 0; queue < lanes_.size(); ++queue) {
    const Lane& lane = *lanes_[queue];
    if (!lane.is_wanted) continue;
    if (!(lane.state == virtio::QueueState{})) return "a ring does not begin at 0, and a function has no other start";
    if (lane.setup.size > facts_.sizes[queue]) return "a ring is longer than the function's";
    if (queue + 1 >= vectors_.size()) return "the function has fewer vectors than the guest queues";
  }
  return "";
}

std::uint64_t AcceleratedDevice::features_for_function(bool is_direct) const noexcept {
  std::uint64_t wanted = (accepted_ & ~(kOfRings | ring::ring_packed)) & facts_.features;
  if (is_direct) wanted |= accepted_ & kOfRings;
  if (is_net()) {
    // What the VMM does for its guest the function is not asked for; what we tell it by its control queue, it is.
    wanted &= ~(net::feature::guest_announce | net::feature::status | net::feature::mtu);
    wanted |= facts_.features & (net::feature::ctrl_vq | net::feature::ctrl_rx | net::feature::ctrl_mac_addr |
                                 net::feature::mq | net::feature::status);
    if ((wanted & net::feature::ctrl_vq) == 0)
      wanted &= ~(net::feature::ctrl_rx | net::feature::ctrl_mac_addr | net::feature::mq);
  }
  // Without ACCESS_PLATFORM a function that is emulated would reach past the IOMMU.
  return wanted | (facts_.features & (ring::version_1 | ring::access_platform | ring::order_platform));
}

Result<void> AcceleratedDevice::start_on_function() {
  if (!function_) {
    if (auto came = group_->client_came(*this); !came) return came;
    if (!function_) return vmux::fail(Errc::disconnected, "the function is gone");
  }
  if (auto followed = follow_memory(); !followed) return followed;
  if (group_->dma().has_backlog()) return vmux::fail(Errc::busy, kPinning);
  if (auto placed = place_rings(); !placed) return placed;
  reason_ = obstacle_to_direct();
  const bool is_direct = reason_.empty();
  if (auto done = function_->negotiate(features_for_function(is_direct)); !done) return done;
  static_cast<void>(function_->set_config_vector(0));  // without one, the look every second has to do
  rings_.free_all();
  announcement_.reset();
  for (unsigned queue = 0; queue < lanes_.size(); ++queue) {
    if (!lanes_[queue]->is_wanted) continue;
    if (auto done = set_up_queue(queue, is_direct); !done) return done;
  }
  const bool has_control = is_net() && (facts_.features & net::feature::ctrl_vq) != 0;
  if (has_control) {
    if (auto done = set_up_control(); !done) return done;
  }
  if (auto done = function_->drive(); !done) return done;
  mode_ = is_direct ? Mode::direct : Mode::shadow;
  if (has_control) configure_card();
  // It has nothing of ours left to reach, and a guest's descriptors are looked at by nobody. An answer that has not
  // come has to find its place.
  if (is_direct && !(has_control && control_.is_silent())) unplace_rings();
  if (!is_on_function()) return {};
  if (writeback_) {
    const std::byte mode{*writeback_};
    if (!function_->write_config(offsetof(blk::Config, writeback), {&mode, 1}))
      return vmux::fail(Errc::system, "its cache mode cannot be set");
  }
  look_at_config();
  return {};
}

Result<void> AcceleratedDevice::set_up_queue(unsigned queue, bool is_direct) {
  Lane& lane = *lanes_[queue];
  const unsigned vector = vector_of(queue);
  if (is_direct) {
    lane.direct.start(lane.setup, (accepted_ & ring::in_order) != 0);
    if (auto done = function_->listen(vector, signals_->eventfd(queue)); !done) return done;
    const RingPlace place{lane.setup.descriptors, lane.setup.driver, lane.setup.device, lane.setup.size};
    return function_->set_up(queue, place, static_cast<std::uint16_t>(vector));
  }
  const std::uint16_t size = std::min(facts_.sizes[queue], kMostShadowed);
  const auto memory = rings_.take(DriverRing::bytes_of(size));
  if (!memory) return vmux::fail(Errc::no_space, "no memory for rings");
  lane.shadow.ring().start(*memory, size);
  lane.shadow.start(lane.setup, lane.state, is_logged_);
  if (auto done = function_->listen(vector, vectors_[vector].eventfd.get()); !done) return done;
  return function_->set_up(queue, lane.shadow.ring().place(), static_cast<std::uint16_t>(vector));
}

// 5.1.2: behind the pairs that it has, or behind the first where nobody has agreed upon more.
Result<void> AcceleratedDevice::set_up_control() {
  const unsigned queue = facts_.control_queue;
  const auto most = function_->max_size(queue);
  if (!most) return tl::unexpected(most.error());
  std::uint16_t size = ControlCommands::kMost;
  while (size > *most)
    size /= 2;
  if (size < ControlCommands::kLeast)
    return vmux::fail(Errc::not_supported, "a control queue without room for a command");
  const auto memory = rings_.take(ControlCommands::bytes());
  if (!memory) return vmux::fail(Errc::no_space, "no memory for rings");
  control_.start(*memory, *function_, queue, size);
  return function_->set_up(queue, control_.ring().place(), Function::kNoVector);
}

// A card that takes no address of ours may still take all frames. What it refuses is told, and no reason to do without.
void AcceleratedDevice::configure_card() {
  unsigned pairs = 1;
  for (unsigned queue = 0; queue < lanes_.size(); ++queue) {
    if (lanes_[queue]->is_wanted) pairs = std::max(pairs, queue / 2 + 1);
  }
  const auto warn = [this](const char* what, const Result<void>& done) {
    if (!done) logf(LogLevel::warning, "{}: {} {}: {}", options_.name, options_.address, what, done.error().text());
  };
  if ((facts_.features & net::feature::mq) != 0) {
    warn("uses its first pair of queues alone", control_.set_pairs(static_cast<std::uint16_t>(pairs)));
  }
  Result<void> addressed = vmux::fail(Errc::not_supported, "it takes no address");
  if ((facts_.features & net::feature::ctrl_mac_addr) != 0) addressed = control_.set_mac(options_.mac);
  if (!addressed && (facts_.features & net::feature::ctrl_rx) != 0) addressed = control_.set_promiscuous(true);
  warn("may not take frames for the port's address", addressed);
}

void AcceleratedDevice::set_cable(bool is_in) noexcept {
  if (std::exchange(is_cable_in_, is_in) == is_in) return;
  halt();
  settle();
}

void AcceleratedDevice::start_in_software() noexcept {
  if (software_ == nullptr || !is_anything_wanted()) return;
  mode_ = Mode::software;
  counters_.stand_ins.add();
  logf(LogLevel::warning, "{}: software serves its queues meanwhile", options_.name);
  for (unsigned queue = 0; queue < lanes_.size(); ++queue) {
    const Lane& lane = *lanes_[queue];
    if (!lane.is_wanted) continue;
    software_->start_queue(queue, lane.setup, lane.state);
    software_->kicked(queue);
    if (signals_ != nullptr) signals_->queue_used(queue);
  }
  if (const auto station = std::exchange(unannounced_, std::nullopt)) software_->announce(*station);
}

// --- the end ---

void AcceleratedDevice::stop_function() noexcept {
  if (!function_) return;
  const auto stopped = function_->stop();
  if (stopped) return;
  logf(LogLevel::error, "{}: {} does not stop, and is given back to the kernel: {}", options_.name, options_.address,
       stopped.error().text());
  give_up_function();
}

// Whoever served the queues touches nothing of theirs any more, and each knows where it stands.
void AcceleratedDevice::halt() noexcept {
  settle_.disarm();
  health_.disarm();
  const Mode before = std::exchange(mode_, Mode::stopped);
  if (before == Mode::software) {
    for (unsigned queue = 0; queue < lanes_.size(); ++queue) {
      if (lanes_[queue]->is_wanted) lanes_[queue]->state = software_->stop_queue(queue);
    }
  }
  if (before != Mode::direct && before != Mode::shadow) return;
  if (before == Mode::direct && !is_net()) {
    const std::uint64_t until = monotonic_ns() + kDrainWithin_ns;
    const auto has_drained = [](const auto& lane) { return !lane->is_wanted || lane->direct.is_drained(); };
    while (!std::ranges::all_of(lanes_, has_drained) && monotonic_ns() < until)
      std::this_thread::sleep_for(kBetweenLooks);
  }
  stop_function();
  for (unsigned queue = 0; queue < lanes_.size(); ++queue) {
    Lane& lane = *lanes_[queue];
    if (!lane.is_wanted) continue;
    if (before == Mode::shadow) {
      if (lane.shadow.collect() && signals_ != nullptr) signals_->queue_used(queue);
      lane.state = lane.shadow.stop();
      continue;
    }
    if (const auto state = lane.direct.state()) {
      lane.state = *state;
      continue;
    }
    // Behind all that was made available: whoever goes on takes nothing again that may have been used.
    lane.state = lane.direct.end().value_or(lane.state);
    lane.has_lost_order = true;
    lane.is_wanted = false;
    counters_.lost_order.add();
    if (signals_ != nullptr) signals_->queue_failed(queue);
    logf(LogLevel::error,
         "{}: {} has used chains of queue {} in another order than the guest's: the queue stands still until the "
         "guest's driver is started anew",
         options_.name, options_.address, queue);
  }
}

void AcceleratedDevice::fail(const char* why) noexcept {
  if (!is_on_function()) return;
  counters_.failures.add();
  logf(LogLevel::error, "{}: {} has failed: {}", options_.name, options_.address, why);
  halt();
  reason_ = why;
  stand_in_and_retry();
}

// The function is away, or none to rely on: software serves, if there is one, until it is tried again.
void AcceleratedDevice::stand_in_and_retry() noexcept {
  if (mode_ != Mode::software) {
    mode_ = Mode::waiting;
    start_in_software();
  }
  retry_.arm_after(pause_ns_ = std::clamp(pause_ns_ * 2, kFirstRetry_ns, kLastRetry_ns));
}

// Whether it can be had is found out while software goes on.
void AcceleratedDevice::retry() noexcept {
  if (!may_run() || is_on_function() || *obstacle_to_function() != '\0') return;
  bool is_there = function_ != nullptr;
  if (!is_there) is_there = group_->client_came(*this).has_value() && function_ != nullptr;
  if (is_there && follow_memory() && group_->dma().has_backlog()) return retry_.arm_after(kPinningBehind_ns);
  is_there = is_there && function_ != nullptr;
  if (is_there && function_->negotiate(features_for_function(false)) && function_->stop()) {
    halt();
    return bring_up();
  }
  stand_in_and_retry();
}

// --- while it runs ---

void AcceleratedDevice::check_health() noexcept {
  if (!is_on_function()) return;
  const auto status = function_->status();
  if (!status || *status == 0xff) return fail("it does not answer");
  if ((*status & status_bit::needs_reset) != 0) return fail("it asks for a reset");
  if ((*status & status_bit::driver_ok) == 0) return fail("it has stopped by itself");
  if (++healthy_ >= kHealthyLooks) pause_ns_ = 0;
  for (const auto& lane : lanes_) {
    if (mode_ == Mode::direct && lane->is_wanted) lane->direct.look();
  }
  health_.arm_after(kHealth_ns);
}

void AcceleratedDevice::relay(unsigned queue) noexcept {
  Lane& lane = *lanes_[queue];
  if (lane.shadow.forward()) {
    counters_.kicks.add();
    function_->kick(queue);
  }
  const virtio::Fault fault = lane.shadow.fault();
  if (fault == virtio::Fault::none || std::exchange(lane.is_fault_told, true)) return;
  if (signals_ != nullptr) signals_->queue_failed(queue);
  if (complaints_.allow()) {
    logf(LogLevel::warning, "{}: queue {} stands still: {}", options_.name, queue, virtio::text_of(fault));
  }
}

void AcceleratedDevice::completed(unsigned queue) noexcept {
  Lane& lane = *lanes_[queue];
  if (!lane.is_wanted || mode_ != Mode::shadow) return;
  if (lane.shadow.collect() && signals_ != nullptr) {
    counters_.interrupts.add();
    signals_->queue_used(queue);
  }
  if (lane.shadow.is_broken()) return fail("it uses chains that it was not given");
  relay(queue);
}

void AcceleratedDevice::on_vector(unsigned vector) noexcept {
  if (!is_on_function()) return;
  if (vector == 0) look_at_config();
  for (unsigned queue = 0; queue < lanes_.size() && mode_ == Mode::shadow; ++queue) {
    if (vector_of(queue) == vector) completed(queue);
  }
}

void AcceleratedDevice::look_at_config() noexcept {
  const auto status = function_->status();
  if (status && *status != 0xff && (*status & status_bit::needs_reset) != 0) return fail("it asks for a reset");
  if (is_net()) {
    std::array<std::byte, sizeof(net::Config)> raw{};
    if ((facts_.features & net::feature::status) == 0 || !function_->read_config(0, raw)) return;
    net::Config config;
    std::memcpy(&config, raw.data(), sizeof config);
    const bool is_up = (std::uint16_t{config.status} & net::kLinkUp) != 0;
    if (std::exchange(is_link_up_, is_up) != is_up) {
      logf(LogLevel::info, "{}: the link of {} is {}", options_.name, options_.address, is_up ? "up" : "down");
    }
    return;
  }
  Facts now = facts_;
  if (!function_->read_config(0, now.disk)) return;
  fit_disk(now);
  auto& disk = now.disk;
  constexpr std::size_t kWriteback = offsetof(blk::Config, writeback);
  disk[kWriteback] = facts_.disk[kWriteback];  // what the guest has asked for, or nobody
  if (disk == facts_.disk) return;
  facts_.disk = disk;
  logf(LogLevel::info, "{}: the configuration of {} has changed, as with its size", options_.name, options_.address);
  if (signals_ != nullptr) signals_->config_changed();
}

// The guest announces itself where it can. In direct mode its rings are no place for a frame of ours; but those begin
// at 0, with a driver that has just come up.
void AcceleratedDevice::announce(std::span<const std::uint8_t, 6> station) noexcept {
  if (mode_ == Mode::software) return software_->announce(station);
  if ((mode_ == Mode::stopped || mode_ == Mode::waiting) &&
      is_anything_wanted()) {  // its queues are about to be served
    unannounced_.emplace();
    std::ranges::copy(station, unannounced_->begin());
    return;
  }
  if (mode_ != Mode::shadow || lanes_.size() < 2 || !lanes_[1]->is_wanted) return;
  const auto frame = rarp_of(station);
  const std::uint64_t size = sizeof(net::Header) + frame.size();
  if (!announcement_) announcement_ = rings_.take(size);
  if (!announcement_) return;
  std::memcpy(announcement_->bytes.data() + sizeof(net::Header), frame.data(), frame.size());
  ShadowQueue& queue = lanes_[1]->shadow;
  if (!queue.post_own({announcement_->at, static_cast<std::uint32_t>(size)})) return;
  queue.ring().publish();
  function_->kick(1);
}

}  // namespace vmux::vdpa
