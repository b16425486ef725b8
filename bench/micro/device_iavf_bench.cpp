// SPDX-License-Identifier: BSD-3-Clause
// What the iavf queues cost per frame, alone: transmit peek + complete, receive steer + deliver + flush, on rings and
// buffers that are refilled as a driver would. One core does both sides, so no line changes hands: real runs
// (vmux-bench nic) cost more.
#include <benchmark/benchmark.h>

#include <x86intrin.h>

#include <array>
#include <memory>
#include <vector>

#include "intel/rx.hpp"
#include "intel/test/queues.hpp"
#include "intel/tx.hpp"
#include "packet/test/test_frames.hpp"

namespace vmux::intel {
namespace {

constexpr std::uint16_t kRing = 1024;
constexpr std::size_t kBurst = 32;
constexpr std::uint64_t kMbuf = 2304, kMbufs = 8192;  // as a pool of DPDK's lies in memory

std::uint64_t mbuf(std::uint64_t index) { return test::kBuffers + index % kMbufs * kMbuf + 128; }

/// A frame of this size: UDP over IPv4, with its checksum or from a generator that leaves none.
test::Bytes frame_of(std::size_t size, bool summed = false) {
  test::Bytes frame = packet::test::whole_frame({.proto = packet::test::Proto::udp}, packet::test::pattern(size - 42));
  if (!summed) packet::test::set16(frame, 40, 0);
  return frame;
}

void count_cycles(benchmark::State& state, std::uint64_t from, std::uint64_t frames) {
  state.SetItemsProcessed(static_cast<std::int64_t>(frames));
  state.counters["tsc/frame"] = static_cast<double>(__rdtsc() - from) / static_cast<double>(frames);
}

void tx_peek_complete(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  test::Memory memory{32 << 20};
  TxQueue queue{"bench", 0};
  memory.space().attach(queue.memory());
  queue.configure({.ring = Iova{test::kTxRing}, .length = kRing});
  queue.enable();
  const test::Bytes frame = frame_of(size);
  for (std::uint64_t i = 0; i < kMbufs; ++i)
    memory.put(mbuf(i), frame);
  const VlanOffload vlan{};
  std::array<packet::FrameView, kBurst> views;
  std::uint64_t posted = 0, sum = 0;
  const std::uint64_t begin = __rdtsc();
  for ([[maybe_unused]] auto _ : state) {
    for (std::size_t i = 0; i < kBurst; ++i, ++posted) {  // DPDK asks for a report every 32 descriptors
      const std::uint64_t at = test::kTxRing + posted % kRing * 16;
      memory.put64(at, mbuf(posted));
      memory.put64(at + 8, test::data_word(test::kEop | (i + 1 == kBurst ? test::kRs : 0), size));
    }
    const std::size_t count = queue.peek(views, static_cast<std::uint32_t>(posted % kRing), vlan);
    for (std::size_t i = 0; i < count; ++i)
      sum += views[i].length;
    benchmark::DoNotOptimize(queue.complete(count));
  }
  count_cycles(state, begin, posted);
  if (sum != posted * size) state.SkipWithError("frames were lost");
  memory.space().detach(queue.memory());
}
BENCHMARK(tx_peek_complete)->Arg(64)->Arg(1514);

void enable(RxQueue& queue, test::Memory& memory) {
  memory.space().attach(queue.memory());
  queue.configure({.ring = Iova{test::kRxRing},
                   .length = kRing,
                   .buffer_size = 2048,
                   .max_frame = 9728,
                   .rxdid = rxdid::comms_ovs});
  queue.enable();
}

void rx_steer_deliver_flush(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  test::Memory memory{32 << 20};
  auto rules = std::make_unique<RxRules>();
  rules->filters.unicast_promisc = true;
  rules->rss.enabled = state.range(1) != 0;
  rules->rss.hena = kHashedPackets;
  rules->rss.key.fill(0x6d);
  rules->prepare_hash();
  RxQueue queue{"bench", 0};
  enable(queue, memory);
  const test::Bytes bytes = frame_of(size, state.range(2) != 0);
  std::vector<std::unique_ptr<packet::test::View>> views;
  std::array<packet::FrameView, kBurst> frames;
  std::vector<test::Bytes> copies(kBurst, bytes);
  for (std::size_t i = 0; i < kBurst; ++i) {
    views.push_back(std::make_unique<packet::test::View>(copies[i], 128, std::initializer_list<std::size_t>{65536}));
    frames[i] = views[i]->view;
  }
  std::array<RxInfo, kBurst> infos;
  const packet::Accepts takes = accepts(*rules, 9728);
  std::uint64_t done = 0, taken = 0;
  for (std::uint64_t i = 0; i < kRing; ++i)
    memory.put64(test::kRxRing + i * 32, mbuf(i));
  const std::uint64_t begin = __rdtsc();
  for ([[maybe_unused]] auto _ : state) {
    const auto tail = static_cast<std::uint32_t>((done + kRing - 1) % kRing);
    steer(*rules, frames, infos);
    taken += queue.deliver(frames, infos, takes, tail);
    benchmark::DoNotOptimize(queue.flush());
    for (std::size_t i = 0; i < kBurst; ++i, ++done)
      memory.put64(test::kRxRing + done % kRing * 32, mbuf(done + kRing));
  }
  count_cycles(state, begin, done);
  if (taken != done) state.SkipWithError("frames were lost");
  memory.space().detach(queue.memory());
}
BENCHMARK(rx_steer_deliver_flush)
    ->ArgNames({"bytes", "rss", "summed"})
    ->Args({64, 0, 0})
    ->Args({64, 0, 1})
    ->Args({64, 1, 0})
    ->Args({1514, 0, 0})
    ->Args({1514, 0, 1});

/// From as many frames as a usual burst or two has (they are in the cache) into the buffers of one ring, which go
/// round, as an application beside vMux and a driver have them.
void rx_hot_frames(benchmark::State& state) {
  constexpr std::size_t kFrames = 64, kSize = 1514;
  test::Memory memory{32 << 20};
  auto rules = std::make_unique<RxRules>();
  rules->filters.unicast_promisc = true;
  RxQueue queue{"bench", 0};
  enable(queue, memory);
  const std::vector<test::Bytes> bytes(kFrames, frame_of(kSize, true));
  std::vector<std::unique_ptr<packet::test::View>> views;
  std::vector<packet::FrameView> frames;
  for (const test::Bytes& each : bytes) {
    views.push_back(std::make_unique<packet::test::View>(each, 64, std::initializer_list<std::size_t>{65536}));
    frames.push_back(views.back()->view);
    frames.back().offload.checksum_verified = state.range(0) == 0;
  }
  std::array<RxInfo, kBurst> infos;
  const packet::Accepts takes = accepts(*rules, 9728);
  std::uint64_t done = 0, taken = 0;
  for (std::uint64_t i = 0; i < kRing; ++i)
    memory.put64(test::kRxRing + i * 32, mbuf(i));
  const std::uint64_t begin = __rdtsc();
  for ([[maybe_unused]] auto _ : state) {
    const auto burst = std::span{frames}.subspan(done % kFrames, kBurst);
    steer(*rules, burst, infos);
    taken += queue.deliver(burst, infos, takes, static_cast<std::uint32_t>((done + kRing - 1) % kRing));
    benchmark::DoNotOptimize(queue.flush());
    for (std::size_t i = 0; i < kBurst; ++i, ++done)
      memory.put64(test::kRxRing + done % kRing * 32, mbuf(done % kRing));
  }
  count_cycles(state, begin, done);
  if (taken != done) state.SkipWithError("frames were lost");
  memory.space().detach(queue.memory());
}
BENCHMARK(rx_hot_frames)->ArgNames({"to_verify"})->Arg(0)->Arg(1);

/// What a copy of the same bytes into the same buffers costs, and nothing else.
void copy_alone(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  test::Memory memory{32 << 20};
  const std::vector<test::Bytes> frames(kBurst, frame_of(size));
  std::uint64_t done = 0;
  const std::uint64_t begin = __rdtsc();
  for ([[maybe_unused]] auto _ : state) {
    for (std::size_t i = 0; i < kBurst; ++i, ++done)
      memory.put(mbuf(done), frames[i]);
  }
  count_cycles(state, begin, done);
}
BENCHMARK(copy_alone)->Arg(64)->Arg(1514);

}  // namespace
}  // namespace vmux::intel
