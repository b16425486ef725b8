// SPDX-License-Identifier: BSD-3-Clause
// What the one copy costs: plain, with a checksum on the way, and cut from a super-frame. Reference: memcpy.
#include <benchmark/benchmark.h>

#include <array>
#include <cstring>
#include <vector>

#include "packet/sum/checksum.hpp"
#include "packet/test/test_frames.hpp"
#include "packet/transfer.hpp"

namespace vmux::packet {
namespace {

void memcpy_alone(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  std::vector<std::byte> from(size), to(size);
  for ([[maybe_unused]] auto _ : state) {
    std::memcpy(to.data(), from.data(), size);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(memcpy_alone)->Arg(64)->Arg(256)->Arg(1500)->Arg(9000);

void copy_with_checksum(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  std::vector<std::byte> from(size), to(size);
  for ([[maybe_unused]] auto _ : state) {
    Checksum sum;
    sum.copy(to, from);
    benchmark::DoNotOptimize(sum.finish());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(copy_with_checksum)->Arg(64)->Arg(256)->Arg(1500)->Arg(9000);

void deliver_plain(benchmark::State& state) {
  const test::Bytes frame = test::pattern(static_cast<std::size_t>(state.range(0)));
  const test::View v{frame, kHeaderRoom, {65536}};
  std::vector<std::byte> room(frame.size());
  const std::span<std::byte> to[] = {room};
  for ([[maybe_unused]] auto _ : state) {
    Pieces pieces{v.view, {.max_frame = 65536}};
    while (pieces.next() != nullptr)
      pieces.copy(to);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(deliver_plain)->Arg(60)->Arg(1514);

void deliver_finishing_checksum(benchmark::State& state) {
  const test::Bytes frame = test::whole_frame({}, test::pattern(static_cast<std::size_t>(state.range(0))));
  test::View v{frame, kHeaderRoom, {65536}};
  v.view.offload = {.needs_checksum = true, .csum_start = 34, .csum_offset = 16};
  std::vector<std::byte> room(frame.size());
  const std::span<std::byte> to[] = {room};
  for ([[maybe_unused]] auto _ : state) {
    Pieces pieces{v.view, {.max_frame = 65536}};
    while (pieces.next() != nullptr)
      pieces.copy(to);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(deliver_finishing_checksum)->Arg(0)->Arg(1448);

void deliver_cut(benchmark::State& state) {
  const test::Bytes frame = test::whole_frame({}, test::pattern(64000));
  test::View v{frame, kHeaderRoom, {4096}};
  v.view.offload = {.needs_checksum = true,
                    .gso = Gso::tcp4,
                    .csum_start = 34,
                    .csum_offset = 16,
                    .header_length = 66,
                    .gso_size = 1448};
  std::array<std::byte, 2048> room;
  const std::span<std::byte> to[] = {room};
  std::int64_t count = 0;
  for ([[maybe_unused]] auto _ : state) {
    Pieces pieces{v.view, {.max_frame = 1518}};
    for (; pieces.next() != nullptr; ++count)
      pieces.copy(to);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(count);
}
BENCHMARK(deliver_cut);

}  // namespace
}  // namespace vmux::packet
