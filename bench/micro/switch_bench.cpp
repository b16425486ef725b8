// SPDX-License-Identifier: BSD-3-Clause
// What a frame costs in the switch alone (ports that do nothing), with the given number of attached ports, one active.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "switch/copies/tap.hpp"
#include "switch/switch.hpp"

namespace vmux::switching {
namespace {

/// Sends as many frames as it is asked for, once it was told to, and takes all.
class IdlePort final : public port::Port {
 public:
  std::size_t take(std::span<packet::FrameView> into) noexcept override {
    if (!sends_) return 0;
    for (std::size_t i = 0; i < into.size(); ++i) {
      into[i].header = frames_[i];
      into[i].payload = {};
      into[i].length = 64;
      into[i].offload = {};
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

  /// Frame i of each burst goes to station `to` + i modulo `others`, from a station that is chosen alike.
  void send(std::uint8_t to, std::uint8_t from, std::size_t others = 1) {
    sends_ = true;
    for (std::size_t i = 0; i < frames_.size(); ++i) {
      frames_[i][0] = frames_[i][6] = std::byte{2};
      frames_[i][5] = static_cast<std::byte>(to + i % others);
      frames_[i][11] = static_cast<std::byte>(from + i % others);
      frames_[i][12] = std::byte{0x88};
    }
  }
  /// UDP over IPv4 from one station to another, so many flows in each burst.
  void send_flows(std::uint8_t to, std::uint8_t from, std::size_t flows) {
    send(to, from);
    for (std::size_t i = 0; i < frames_.size(); ++i) {
      auto& frame = frames_[i];
      frame[12] = std::byte{0x08};
      frame[14] = std::byte{0x45};
      frame[23] = std::byte{17};
      frame[28] = static_cast<std::byte>(i % flows);
    }
  }
  void send_to_all() {
    send(0xff, 1);
    for (auto& frame : frames_)
      std::fill_n(frame.begin(), 6, std::byte{0xff});
  }
  void stop() { sends_ = false; }

 private:
  std::array<std::array<std::byte, 64>, port::kMaxBurst> frames_{};
  bool sends_ = false;
};

/// Ports on one poller, or the second of them on another.
struct Setup {
  explicit Setup(std::int64_t count, bool crosses = false) {
    for (std::int64_t i = 0; i < count; ++i) {
      ports.push_back(std::make_unique<IdlePort>());
      static_cast<void>(*sw->attach(*ports.back(), crosses && i == 1 ? *other : *poller, {.name = std::to_string(i)}));
    }
  }
  /// So that the stations of a port are known.
  void hear(std::size_t port, std::uint8_t station, std::size_t others = 1) {
    ports[port]->send(200, station, others);
    turn();
    ports[port]->stop();
    turn();
  }
  void turn() {
    poller->run_once(0);
    if (ports.size() == 2) other->run_once(0);
  }
  [[nodiscard]] std::int64_t sent() const { return static_cast<std::int64_t>(ports[0]->counters().rx_frames.get()); }
  void run(benchmark::State& state) {
    const std::int64_t before = sent();
    for ([[maybe_unused]] auto _ : state)
      turn();
    state.SetItemsProcessed(sent() - before);
  }

  std::unique_ptr<runtime::Poller> poller = *runtime::Poller::create(), other = *runtime::Poller::create();
  std::vector<std::unique_ptr<IdlePort>> ports;
  std::unique_ptr<Switch> sw = *Switch::create("sw");
};

void forward(benchmark::State& state) {
  Setup setup{state.range(0)};
  setup.hear(1, 2);
  setup.ports[0]->send(2, 1);
  setup.run(state);
}
BENCHMARK(forward)->Arg(2)->Arg(64);

/// Neighbours in a burst have nothing in common.
void forward_unlike(benchmark::State& state) {
  Setup setup{3};
  setup.hear(1, 100, 8);
  setup.ports[0]->send(100, 10, 8);
  setup.run(state);
}
BENCHMARK(forward_unlike);

void flood(benchmark::State& state) {
  Setup setup{state.range(0)};
  setup.ports[0]->send_to_all();
  setup.run(state);
}
BENCHMARK(flood)->Arg(8);

void cross(benchmark::State& state) {
  Setup setup{2, true};
  setup.hear(1, 2);
  setup.ports[0]->send(2, 1);
  setup.run(state);
}
BENCHMARK(cross);

/// Each frame has a copy on the same poller.
void mirror(benchmark::State& state) {
  Setup setup{3};
  setup.hear(1, 2);
  const auto ports = setup.sw->ports();
  static_cast<void>(setup.sw->set_mirror(ports[0].id, Mirror{ports[2].id}));
  setup.ports[0]->send(2, 1);
  setup.run(state);
}
BENCHMARK(mirror);

/// Each frame is seen by a capture, whose ring is emptied in between; with a filter of three steps that lets none pass.
void capture(benchmark::State& state) {
  Setup setup{2};
  setup.hear(1, 2);
  CaptureRules rules;
  if (state.range(0) != 0) {
    rules.filter = *packet::Filter::create(
        std::vector<packet::FilterInstruction>{{0x28, 0, 0, 12}, {0x15, 0, 0, 0x0800}, {0x06, 0, 0, 0}});
  }
  Tap tap{rules};
  setup.sw->set_capture(0, {setup.sw->ports()[0].id}, {{setup.poller.get(), &tap}});
  setup.ports[0]->send(2, 1);
  const std::int64_t before = setup.sent();
  for ([[maybe_unused]] auto _ : state) {
    setup.turn();
    while (tap.ring().front().data() != nullptr)
      tap.ring().pop();
  }
  state.SetItemsProcessed(setup.sent() - before);
  setup.sw->set_capture(0, {}, {});
}
BENCHMARK(capture)->ArgNames({"filtered"})->Arg(0)->Arg(1);

/// Each frame is looked up among 1,000 rules with 40 masks, none of which matches: one flow, and one after the other of
/// 32. What a new one costs depends on a seed: vmux-bench rules.
void rules(benchmark::State& state) {
  Setup setup{2};
  setup.hear(1, 2);
  std::vector<Rule> all(1000);
  for (std::size_t i = 0; i < all.size(); ++i) {
    Rule& rule = all[i];
    rule.name = std::to_string(i);
    rule.match.mask.source_ip = {0xff, static_cast<std::uint8_t>(i % 40 + 1), 0xff};
    rule.match.value.source_ip = {0xff, 0, static_cast<std::uint8_t>(i / 40)};
    rule.match.mask.destination_port = {};
    rule.match.destination_port = L4Ports{99, 99};
  }
  static_cast<void>(setup.sw->set_rules(all));
  setup.ports[0]->send_flows(2, 1, static_cast<std::size_t>(state.range(0)));
  const std::int64_t before = setup.sent();
  for ([[maybe_unused]] auto _ : state)
    setup.turn();
  state.SetItemsProcessed(setup.sent() - before);
}
BENCHMARK(rules)->ArgNames({"flows"})->Arg(1)->Arg(32);

}  // namespace
}  // namespace vmux::switching
