// SPDX-License-Identifier: BSD-3-Clause
// An accelerated device with a guest's driver on its one side and a function on the other; the test is the transport.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "fake_guest/virtio_ring.hpp"
#include "vdpa/accelerated_device.hpp"
#include "vdpa/test/fake_function.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/base/clock.hpp"
#include "vmux/base/mapping.hpp"

namespace vmux::vdpa::test {

constexpr std::uint64_t kMac = 1ull << 5, kStatus = 1ull << 16, kCtrlVq = 1ull << 17, kCtrlRx = 1ull << 18,
                        kMq = 1ull << 22, kCtrlMac = 1ull << 23, kMrgRxbuf = 1ull << 15, kIndirect = 1ull << 28,
                        kEventIdx = 1ull << 29, kVersion1 = 1ull << 32, kPlatform = 1ull << 33, kPacked = 1ull << 34,
                        kInOrder = 1ull << 35;

/// The device that stands in: uses what is available at once, in order, and fills what it may write.
class StandIn final : public virtio::Device {
 public:
  static constexpr std::uint8_t kFill = 0x55;
  explicit StandIn(unsigned pairs) : pairs_(pairs), queues_(2 * pairs) {}
  std::set<unsigned> running;
  int announced = 0;

  [[nodiscard]] std::uint16_t kind() const noexcept override { return 1; }
  [[nodiscard]] std::uint64_t features() const noexcept override {
    return kMac | kCtrlVq | kMq | kMrgRxbuf | kIndirect | kEventIdx | kPacked | kInOrder;
  }
  [[nodiscard]] unsigned queue_count() const noexcept override { return 2 * pairs_ + 1; }
  [[nodiscard]] std::uint16_t max_size(unsigned) const noexcept override { return 256; }
  [[nodiscard]] bool is_control(unsigned queue) const noexcept override { return queue == 2 * pairs_; }
  void connect(virtio::Signals& signals, memory::AddressSpace& space) override {
    signals_ = &signals;
    space_ = &space;
    for (auto& queue : queues_) {
      queue = std::make_unique<virtio::Queue>();
      space.attach(queue->memory());
    }
  }
  void disconnect() noexcept override {
    for (auto& queue : queues_)
      space_->detach(queue->memory());
  }
  void set_dma(bool) noexcept override {}
  [[nodiscard]] bool accept(std::uint64_t) noexcept override { return true; }
  void read_config(std::size_t, std::span<std::byte> into) const noexcept override {
    std::ranges::fill(into, std::byte{0});
  }
  void start_queue(unsigned queue, const virtio::QueueSetup& setup, const virtio::QueueState& state) noexcept override {
    running.insert(queue);
    queues_[queue]->start(setup, state);
  }
  virtio::QueueState stop_queue(unsigned queue) noexcept override {
    running.erase(queue);
    return queues_[queue]->stop();
  }
  [[nodiscard]] virtio::QueueState queue_state(unsigned queue) noexcept override { return queues_[queue]->state(); }
  void kicked(unsigned index) noexcept override {
    virtio::Queue& queue = *queues_[index];
    const std::vector<std::uint32_t> none(queue.ready(virtio::kMaxReady).size(), 0);
    if (queue.use(none) && queue.take_interrupt()) signals_->queue_used(index);
  }
  void reset(bool) noexcept override {}
  void announce(std::span<const std::uint8_t, 6>) noexcept override { ++announced; }
  void pause() noexcept override {}
  void resume() noexcept override {}
  void save(state::Writer&) const override {}
  [[nodiscard]] tl::expected<void, std::string> load(state::Reader&) override { return {}; }

 private:
  unsigned pairs_;
  std::vector<std::unique_ptr<virtio::Queue>> queues_;
  virtio::Signals* signals_ = nullptr;
  memory::AddressSpace* space_ = nullptr;
};

struct Signals final : virtio::Signals {
  std::vector<int> used = std::vector<int>(70), failed = std::vector<int>(70);
  int config = 0;
  std::vector<int> eventfds = std::vector<int>(70, -1);
  void queue_used(unsigned queue) noexcept override { ++used[queue]; }
  void queue_failed(unsigned queue) noexcept override { ++failed[queue]; }
  void config_changed() noexcept override { ++config; }
  [[nodiscard]] int eventfd(unsigned queue) const noexcept override { return eventfds[queue]; }
};

struct RigOptions {
  std::uint64_t function = kVersion1 | kPlatform | kCtrlVq | kCtrlMac | kMrgRxbuf;
  unsigned pairs = 1, vectors = 16;
  std::uint16_t function_ring = 8;
  bool is_disk = false, only_shadow = false, has_vm = true;
};

class AcceleratedRig {
 public:
  static constexpr std::uint64_t kBase = 0x1'0000'0000, kSize = 1 << 20, kBuffers = kBase + 0x8'0000;
  static constexpr std::uint16_t kRing = 8;
  static constexpr const char* kAddress = "0000:01:10.0";
  static constexpr MacAddress kStation{0x52, 0x54, 0, 1, 2, 3};

  explicit AcceleratedRig(RigOptions options = {}) : poller(std::move(*runtime::Poller::create())) {
    auto [at, is_new] = machine.cards.try_emplace(kAddress, options.is_disk ? 2u : 1u,
                                                  options.is_disk ? options.pairs : 2 * options.pairs + 1);
    card_ = &at->second;
    card_->offered = options.function;
    card_->vectors = options.vectors;
    card_->is_net = !options.is_disk;
    for (fake::Card::Queue& queue : card_->queues)
      queue.most = queue.size = options.function_ring;
    if (options.is_disk) card_->device_config[34] = std::byte(options.pairs);
    if (!options.is_disk && options.pairs > 1) card_->device_config[8] = std::byte(options.pairs);
    card_->device_config[6] = std::byte{1};  // link
    if (options.is_disk) card_->device_config[0] = std::byte{100};
    auto made =
        AcceleratedDevice::create({"vm0", kAddress, kStation, options.only_shadow}, *groups.get(7, *poller), *poller);
    VMUX_ASSERT(made.has_value());
    device = std::move(*made);
    if (!options.is_disk) {
      stand_in = std::make_unique<StandIn>(options.pairs);
      device->set_stand_in(*stand_in);
    }
    space = std::make_unique<memory::AddressSpace>();
    device->connect(signals, *space);
    for (auto& eventfd : eventfds)
      eventfd = std::move(*make_eventfd());
    for (unsigned i = 0; i < eventfds.size(); ++i)
      signals.eventfds[i] = eventfds[i].get();
    if (options.has_vm) boot();
  }
  ~AcceleratedRig() {
    device->disconnect();
    device.reset();
  }

  void boot() {
    device->set_dma(true);
    auto fd = make_memfd("vm", kSize);
    VMUX_ASSERT(fd.has_value());
    auto mapping = Mapping::create(fd->get(), 0, kSize, true);
    VMUX_ASSERT(mapping.has_value());
    memory = std::move(*mapping);
    VMUX_ASSERT(space->map({Iova{kBase}, ByteCount{kSize}, memory::Access::read_write, std::move(*fd), 0}));
  }
  /// Pinning is left for later, a piece each millisecond.
  void pin_slowly() { (*groups.get(7, *poller))->dma() = kvfio::DmaMap{{.answer_within_ns = 0}}; }
  void leave() {
    device->set_dma(false);
    device->reset(/*client_gone=*/true);
    space->unmap_all(nullptr);
  }

  /// A driver that has agreed upon these features; rings are empty.
  void accept(std::uint64_t features) {
    accepted = features;
    ASSERT_TRUE(device->accept(features));
  }
  static constexpr std::uint64_t ring_at(unsigned queue) { return kBase + 0x1000ull * queue; }
  virtio::QueueSetup setup(unsigned queue) const {
    virtio::QueueSetup made;
    made.descriptors = Iova{ring_at(queue)};
    made.driver = Iova{ring_at(queue) + 0x400};
    made.device = Iova{ring_at(queue) + 0x800};
    made.size = kRing;
    made.is_packed = (accepted & kPacked) != 0;
    made.has_event_idx = (accepted & kEventIdx) != 0;
    made.has_indirect = (accepted & kIndirect) != 0;
    return made;
  }
  fake_guest::VirtioRing& new_ring(unsigned queue) {
    std::memset(memory.data() + 0x1000ull * queue, 0, 0x1000);
    auto& ring = rings[queue];
    ring = std::make_unique<fake_guest::VirtioRing>(
        memory.bytes(), kBase,
        fake_guest::VirtioLayout{(accepted & kPacked) != 0, kRing, ring_at(queue), ring_at(queue) + 0x400,
                                 ring_at(queue) + 0x800});
    return *ring;
  }
  void start(unsigned queue, virtio::QueueState state = {}) { device->start_queue(queue, setup(queue), state); }
  /// Until it is served.
  void settle() {
    pump([this] { return device->mode() != Mode::stopped; });
  }
  template <class Done>
  void pump(Done done) {
    const std::uint64_t until = monotonic_ns() + 5'000'000'000;
    while (!done()) {
      ASSERT_LT(monotonic_ns(), until);
      poller->run_once(1'000'000);
    }
  }
  void pump() {
    for (int i = 0; i < 20; ++i)
      poller->run_once(0);
  }

  static std::uint64_t buffer(std::uint32_t token) { return kBuffers + 0x1000ull * token; }
  /// One buffer for the device to write to.
  void post(unsigned queue, std::uint32_t token) {
    rings[queue]->post({{buffer(token), 100, true}}, token);
    device->kicked(queue);
  }
  std::vector<std::uint32_t> taken(unsigned queue) {
    std::vector<std::uint32_t> tokens;
    while (const auto used = rings[queue]->take_used())
      tokens.push_back(used->token);
    return tokens;
  }
  [[nodiscard]] std::uint8_t byte_at(std::uint32_t token) const {
    return std::to_integer<std::uint8_t>(memory.data()[buffer(token) - kBase]);
  }
  fake::Card& card() { return *card_; }

  std::unique_ptr<runtime::Poller> poller;
  fake::Machine machine;
  kvfio::Groups groups{machine};
  std::unique_ptr<StandIn> stand_in;
  Signals signals;
  std::array<UniqueFd, 8> eventfds;
  std::unique_ptr<memory::AddressSpace> space;
  std::unique_ptr<AcceleratedDevice> device;
  Mapping memory;
  std::map<unsigned, std::unique_ptr<fake_guest::VirtioRing>> rings;
  std::uint64_t accepted = 0;

 private:
  fake::Card* card_ = nullptr;
};

}  // namespace vmux::vdpa::test
