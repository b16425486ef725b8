// SPDX-License-Identifier: BSD-3-Clause
// A hostile vhost-user front end: requests with any payload, flags and descriptors, in any order, over a real socket;
// behind it real queues, which are read and used whenever something is kicked.
//
// Input: with bit 0 of the first byte, a session begins as QEMU's does, with memory. Then messages: a control byte
// (bits 0-5 the request, bit 6: a size of its own follows, bit 7: more flags follow), a byte of descriptors (bits 0-1
// how many, bits 2-3 of which kind, bits 4-7 the payload's length in units of 8 bytes, 15: 264), and the payload.
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "fuzz/input.hpp"
#include "fuzz/socket.hpp"
#include "fuzz/steps.hpp"
#include "protocol/bytes.hpp"
#include "vhost_user/server.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/runtime/poller.hpp"

namespace {

using namespace vmux;
using protocol_test::Bytes;

constexpr unsigned kQueues = 5;
constexpr std::uint64_t kMemory = 1 << 20;

class Target final : public virtio::Device {
 public:
  std::uint16_t kind() const noexcept override { return 1; }
  std::uint64_t features() const noexcept override { return 0x5'3040'0008; }
  unsigned queue_count() const noexcept override { return kQueues; }
  std::uint16_t max_size(unsigned) const noexcept override { return 256; }
  bool is_control(unsigned) const noexcept override { return false; }
  void connect(virtio::Signals& signals, memory::AddressSpace& space) override {
    signals_ = &signals;
    for (auto& queue : queues_)
      space.attach(queue.memory());
  }
  void disconnect() noexcept override {}
  void set_dma(bool) noexcept override {}
  bool accept(std::uint64_t features) noexcept override { return (features & 8) == 0 || (features & 1 << 22) != 0; }
  void read_config(std::size_t, std::span<std::byte> into) const noexcept override {
    std::fill(into.begin(), into.end(), std::byte{5});
  }
  void start_queue(unsigned queue, const virtio::QueueSetup& setup, const virtio::QueueState& state) noexcept override {
    VMUX_ASSERT(queue < kQueues && !queues_[queue].is_started() && virtio::can_be(setup, state));
    queues_[queue].start(setup, state);
  }
  virtio::QueueState stop_queue(unsigned queue) noexcept override {
    VMUX_ASSERT(queues_[queue].is_started());
    return queues_[queue].stop();
  }
  virtio::QueueState queue_state(unsigned queue) noexcept override { return queues_[queue].state(); }
  void kicked(unsigned queue) noexcept override {
    auto& ring = queues_[queue];
    const auto chains = ring.ready(8);
    std::array<std::uint32_t, virtio::Queue::kMaxReady> written{};
    static_cast<void>(ring.use(std::span{written}.first(chains.size())));
    if (ring.take_interrupt()) signals_->queue_used(queue);
    static_cast<void>(ring.ask_for_kicks());
    if (ring.fault() != virtio::Fault::none) signals_->queue_failed(queue);
  }
  void reset(bool) noexcept override {
    for (auto& queue : queues_)
      VMUX_ASSERT(!queue.is_started());
  }
  [[nodiscard]] unsigned started() const noexcept {
    return static_cast<unsigned>(
        std::count_if(queues_.begin(), queues_.end(), [](const auto& queue) { return queue.is_started(); }));
  }
  void pause() noexcept override {}
  void resume() noexcept override {}
  void save(state::Writer&) const override {}
  tl::expected<void, std::string> load(state::Reader&) override { return {}; }

 private:
  virtio::Signals* signals_ = nullptr;
  std::array<virtio::Queue, kQueues> queues_;
};

struct World {
  World() {
    vhost_user::ServerOptions options;
    options.announce = [](const auto&) {};
    server = vhost_user::Server::create(*poller, *device, options).value();
    if (::ftruncate(file, kMemory) != 0) ::abort();
  }
  void settle() {
    for (int idle = 0, rounds = 0; idle < 2 && rounds < 1000; ++rounds)
      idle = poller->run_once() ? 0 : idle + 1;
  }
  int file = ::memfd_create("fuzz", MFD_CLOEXEC);
  int event = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  std::unique_ptr<Target> device = std::make_unique<Target>();
  std::unique_ptr<runtime::Poller> poller = runtime::Poller::create().value();
  std::unique_ptr<vhost_user::Server> server;
};

/// Whoever is asked says the same of which rings run, and without a front end there is neither a ring nor memory.
void check(const World& world) {
  VMUX_ASSERT(world.device->started() == world.server->agreement().running_rings);
  const bool is_alone = !world.server->stats().is_connected;
  VMUX_ASSERT(!is_alone || (world.device->started() == 0 && world.server->memory().size() == 0));
  if (fuzz::checks_each_step) ++fuzz::steps_checked;
}

void drop_replies(int socket) {
  std::array<char, 65536> sink;
  while (::recv(socket, sink.data(), sink.size(), MSG_DONTWAIT) > 0) {
  }
}

Bytes message(unsigned request, const Bytes& payload) {
  return Bytes{}.u32(request).u32(1).u32(payload.size()).append(payload);
}

void begin_as_qemu(const World& world, int socket) {
  const Bytes start = message(16, Bytes{}.u64(0x1a01f)).append(message(2, Bytes{}.u64(0x1'7000'0000)));
  fuzz::send_piece(socket, std::as_bytes(std::span{start}), {});
  const Bytes memory = message(5, Bytes{}.u32(1).u32(0).u64(0).u64(kMemory).u64(0x10000).u64(0));
  fuzz::send_piece(socket, std::as_bytes(std::span{memory}), std::span{&world.file, 1});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  if (size == 0) return 0;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return 0;
  // The session before has ended, but the server waits a little before it takes the next from its path: not from us.
  if (!world.server->adopt(UniqueFd{ends[0]})) ::abort();
  const UniqueFd front_end{ends[1]};
  fuzz::Input input{data, size};
  if ((input.u8() & 1) != 0) begin_as_qemu(world, front_end.get());
  while (!input.is_empty()) {
    const std::uint8_t control = input.u8(), how = input.u8();
    const std::size_t units = how >> 4;
    const auto payload = input.bytes(units == 15 ? 264 : units * 8);
    const std::uint32_t said = (control & 0x40) != 0 ? input.u16() : static_cast<std::uint32_t>(payload.size());
    const std::uint32_t flags = (control & 0x80) != 0 ? input.u8() : 9;
    Bytes bytes = Bytes{}.u32(control & 0x3f).u32(flags).u32(said);
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    const int file_first[] = {world.file, world.file, world.event};
    const int event_first[] = {world.event, world.file, world.event};
    const std::span<const int> fds{(how & 4) != 0 ? file_first : event_first, 3};
    fuzz::send_piece(front_end.get(), std::as_bytes(std::span{bytes}), fds.first(how & 3));
    if ((how & 8) != 0) signal_eventfd(world.event);
    world.settle();
    check(world);
    drop_replies(front_end.get());
  }
  ::shutdown(front_end.get(), SHUT_RDWR);
  world.settle();
  VMUX_ASSERT(!world.server->stats().is_connected);
  check(world);
  return 0;
}
