// SPDX-License-Identifier: BSD-3-Clause
// An iavf with a fake driver behind a switch: what a frame costs on its whole way to and from queues that are all on
// one poller, or spread over two; what an access to its registers and a message to its physical function cost.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "device/iavf/nic.hpp"
#include "fake_guest/iavf_guest.hpp"
#include "packet/test/test_frames.hpp"
#include "switch/switch.hpp"

namespace vmux::device::iavf {
namespace {

using fake_guest::IavfBody;
using fake_guest::IavfGuest;

constexpr MacAddress kStation{0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
constexpr unsigned kQueues = 4, kRing = 1024, kFlows = 8;
constexpr std::uint32_t kAddAddress = 10, kDelAddress = 11, kConfigLut = 24, kSetHena = 26;

/// Frames of a few flows to one station, as many as the switch asks for; takes and forgets what it gets.
class Peer final : public port::Port {
 public:
  explicit Peer(std::size_t size) {
    for (unsigned flow = 0; flow < kFlows; ++flow) {
      frames_.push_back(
          packet::test::whole_frame({.proto = packet::test::Proto::udp}, packet::test::pattern(size - 42, flow)));
      std::copy(kStation.begin(), kStation.end(), frames_.back().begin());
      frames_.back()[35] = static_cast<std::uint8_t>(flow);
      packet::test::set16(frames_.back(), 40, 0);  // no checksum
    }
  }
  std::size_t take(std::span<packet::FrameView> into) noexcept override {
    if (!sends_) return 0;
    for (std::size_t i = 0; i < into.size(); ++i) {
      const packet::Slice all = packet::test::slice(frames_[i % kFlows]);
      into[i] = {};
      into[i].header = all.first(std::min<std::size_t>(all.size(), 64));
      payloads_[i] = all.subspan(into[i].header.size());
      if (!payloads_[i].empty()) into[i].payload = std::span{&payloads_[i], 1};
      into[i].length = static_cast<std::uint32_t>(all.size());
    }
    return into.size();
  }
  void finish(std::span<const port::FrameResult>) noexcept override {}
  port::Delivery deliver(std::span<const packet::FrameView> frames) noexcept override {
    return {.taken = frames.size()};
  }
  [[nodiscard]] packet::Accepts accepts() const noexcept override { return {}; }
  [[nodiscard]] bool needs_polling() const noexcept override { return true; }
  [[nodiscard]] bool is_ready() const noexcept override { return true; }
  void set_sending(bool sends) noexcept { sends_ = sends; }

 private:
  std::vector<packet::test::Bytes> frames_;
  std::array<packet::Slice, port::kMaxBurst> payloads_;
  bool sends_ = false;
};

struct Setup {
  explicit Setup(bool is_spread, std::size_t size = 64) : peer(size) {
    NicOptions options{.name = "bench", .mac = kStation, .doorbell = Doorbell::poll, .queue_pairs = kQueues};
    if (is_spread) options.more_pollers = {other.get()};
    nic = *Nic::create(options, *home);
    guest = std::make_unique<IavfGuest>(nic->function());
    guest->bring_up({.queues = kQueues, .tx_descriptors = kRing, .rx_descriptors = kRing, .mapped_doorbells = true});
    for (unsigned queue = 0; queue < kQueues; ++queue)
      guest->arm(queue + 1, 0);
    IavfBody table = IavfBody{}.u16(1).u16(64);
    for (unsigned i = 0; i < 64; ++i)
      table.u8(static_cast<std::uint8_t>(i % kQueues));
    static_cast<void>(guest->call(kConfigLut, table.bytes()));
    static_cast<void>(guest->call(kSetHena, IavfBody{}.u64(~0ull).bytes()));
    std::vector<switching::Lane> lanes;
    for (port::Port* const lane : nic->lanes())
      lanes.push_back({*lane, lanes.empty() ? *home : *other});
    static_cast<void>(*sw->attach(lanes, {.name = "nic"}));
    static_cast<void>(*sw->attach(peer, *home, {.name = "peer"}));
    send_one();
    turn();
  }
  ~Setup() { sw.reset(); }
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;

  void turn() {
    home->run_once(0);
    other->run_once(0);
  }
  /// The card's station is heard, so that frames for it are not flooded.
  void send_one() {
    packet::test::Bytes frame(64);
    frame[0] = 2;
    std::copy(kStation.begin(), kStation.end(), frame.begin() + 6);
    guest->send_frame(std::as_bytes(std::span{frame}), 0);
  }
  /// Gives back what was received, as a driver does. Returns how many frames that were.
  std::uint64_t refill() {
    std::uint64_t frames = 0;
    for (unsigned queue = 0; queue < kQueues; ++queue) {
      std::uint32_t& next = next_[queue];
      const std::uint64_t before = frames;
      for (;; ++frames, next = (next + 1) % kRing) {
        const std::uint64_t at = IavfGuest::rx_ring(queue) + std::uint64_t{next} * 32;
        if ((fake_guest::load<std::uint64_t>(guest->memory(), at + 8) & 1) == 0) break;
        fake_guest::store(guest->memory(), at, kBuffers + (queue * kRing + next) % 1024 * 0x1000ull);
        fake_guest::store(guest->memory(), at + 8, std::uint64_t{0});
      }
      if (frames != before) guest->write_data_page(0x2000 + queue * 4, (next + kRing - 1) % kRing);
    }
    return frames;
  }

  static constexpr std::uint64_t kBuffers = 0x80'0000;
  std::unique_ptr<runtime::Poller> home = *runtime::Poller::create(), other = *runtime::Poller::create();
  std::unique_ptr<Nic> nic;
  std::unique_ptr<IavfGuest> guest;
  Peer peer;
  std::unique_ptr<switching::Switch> sw = *switching::Switch::create("sw");
  std::array<std::uint32_t, kQueues> next_{};
};

void to_guest(benchmark::State& state) {
  Setup setup{state.range(0) != 0};
  setup.peer.set_sending(true);
  std::uint64_t frames = 0;
  for ([[maybe_unused]] auto _ : state) {
    setup.turn();
    frames += setup.refill();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(frames));
}
BENCHMARK(to_guest)->ArgNames({"spread"})->Arg(0)->Arg(1);

void from_guest(benchmark::State& state) {
  Setup setup{state.range(0) != 0};
  const packet::test::Bytes frame = packet::test::whole_frame({.proto = packet::test::Proto::udp}, {});
  std::copy(frame.begin(), frame.end(), reinterpret_cast<std::uint8_t*>(setup.guest->memory().data() + 0x40'0000));
  std::uint64_t frames = 0;
  for ([[maybe_unused]] auto _ : state) {
    for (unsigned queue = 0; queue < kQueues; ++queue) {
      for (unsigned i = 0; i < 32; ++i, ++frames)
        setup.guest->queue_raw(queue, 0x40'0000, std::uint64_t{frame.size()} << 34 | (i == 31 ? 3u : 1u) << 4);
      setup.guest->ring_tx(queue);
    }
    setup.turn();
    setup.turn();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(frames));
}
BENCHMARK(from_guest)->ArgNames({"spread"})->Arg(0)->Arg(1);

void idle_round(benchmark::State& state) {
  Setup setup{state.range(0) != 0};
  for ([[maybe_unused]] auto _ : state)
    setup.turn();
}
BENCHMARK(idle_round)->ArgNames({"spread"})->Arg(0)->Arg(1);

void register_read(benchmark::State& state) {
  Setup setup{false};
  std::uint32_t sum = 0;
  for ([[maybe_unused]] auto _ : state)
    sum += setup.guest->read(0x8800);  // VFGEN_RSTAT
  benchmark::DoNotOptimize(sum);
}
BENCHMARK(register_read);

void register_write(benchmark::State& state) {
  Setup setup{false};
  for ([[maybe_unused]] auto _ : state)
    setup.guest->write(0x5000, 0);  // VFINT_ICR0_ENA1
}
BENCHMARK(register_write);

void address_message(benchmark::State& state) {
  Setup setup{state.range(0) != 0};
  const auto body = IavfBody{}.u16(1).u16(1).u8(0x52).u8(0x54).u8(0).u8(1).u8(2).u8(3).u8(0).u8(0).bytes();
  bool is_there = false;
  for ([[maybe_unused]] auto _ : state) {
    if (setup.guest->call(is_there ? kDelAddress : kAddAddress, body).status != 0) state.SkipWithError("refused");
    is_there = !is_there;
  }
}
BENCHMARK(address_message)->ArgNames({"spread"})->Arg(0)->Arg(1);

}  // namespace
}  // namespace vmux::device::iavf
