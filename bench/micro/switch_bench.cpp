// SPDX-License-Identifier: BSD-3-Clause
// What a frame costs in the switch alone (ports that do nothing), with the given number of attached ports, one active.
#include <benchmark/benchmark.h>

#include <array>
#include <memory>
#include <vector>

#include "switch/switch.hpp"

namespace vmux::switching {
namespace {

class IdlePort final : public port::Port {
 public:
  std::size_t peek_burst(std::span<packet::FrameView> into) noexcept override {
    if (!sends_) return 0;
    for (packet::FrameView& view : into) {
      view.header = frame_;
      view.payload = {};
      view.length = 64;
      view.offload = {};
    }
    return into.size();
  }
  void complete(std::size_t) noexcept override {}
  std::size_t deliver(std::span<const packet::FrameView> frames) noexcept override { return frames.size(); }
  void flush() noexcept override {}
  [[nodiscard]] packet::Accepts accepts() const noexcept override { return {}; }
  [[nodiscard]] bool needs_polling() const noexcept override { return true; }
  [[nodiscard]] bool is_ready() const noexcept override { return true; }

  void send(std::uint8_t to, std::uint8_t from) {
    sends_ = true;
    frame_[0] = frame_[6] = std::byte{2};
    frame_[5] = std::byte{to};
    frame_[11] = std::byte{from};
    frame_[12] = std::byte{0x88};
  }
  void stop() { sends_ = false; }

 private:
  std::array<std::byte, 64> frame_{};
  bool sends_ = false;
};

void forward(benchmark::State& state) {
  const auto poller = *runtime::Poller::create();
  std::vector<std::unique_ptr<IdlePort>> ports;
  const auto sw = *Switch::create("sw");
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    ports.push_back(std::make_unique<IdlePort>());
    static_cast<void>(*sw->attach(*ports.back(), *poller, {.name = std::to_string(i)}));
  }
  ports[1]->send(9, 2);  // heard once
  poller->run_once(0);
  ports[1]->stop();
  ports[0]->send(2, 1);
  const std::uint64_t before = ports[0]->counters().rx_frames.get();
  for ([[maybe_unused]] auto _ : state)
    poller->run_once(0);
  state.SetItemsProcessed(static_cast<std::int64_t>(ports[0]->counters().rx_frames.get() - before));
}
BENCHMARK(forward)->Arg(2)->Arg(64);

}  // namespace
}  // namespace vmux::switching
