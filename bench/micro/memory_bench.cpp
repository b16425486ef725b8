// SPDX-License-Identifier: BSD-3-Clause
// A guest's DMA map among 1 to 65,535 ranges: adding and removing one, and finding one that was not hit last.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <random>
#include <vector>

#include "vmux/memory/address_space.hpp"

namespace vmux::memory {
namespace {

constexpr std::uint64_t kPage = 4096, kStride = 2 * kPage;

/// A map of `count` ranges of one file, every second page, in ascending order or not.
class Map {
 public:
  explicit Map(std::uint64_t count) : count_(count) {
    auto file = make_memfd("bench-guest", kPage);
    if (!file) std::abort();
    file_ = std::move(*file);
    for (std::uint64_t i = 0; i < count; ++i)
      add(2 * i);
    space_.attach(reader_);
  }
  ~Map() { space_.detach(reader_); }
  Map(const Map&) = delete;
  Map& operator=(const Map&) = delete;

  void add(std::uint64_t page) {
    auto fd = file_.duplicate();
    if (!fd || !space_.map({Iova{page * kPage}, ByteCount{kPage}, Access::read_write, std::move(*fd), 0})) std::abort();
  }
  void remove(std::uint64_t page) {
    if (!space_.unmap(Iova{page * kPage}, ByteCount{kPage}, [] {})) std::abort();
  }
  /// Numbers of ranges, in no order.
  [[nodiscard]] std::vector<std::uint64_t> some() const {
    std::mt19937_64 random{1};
    std::vector<std::uint64_t> numbers(4096);
    for (auto& number : numbers)
      number = random() % count_;
    return numbers;
  }
  [[nodiscard]] GuestMemory& reader() noexcept { return reader_; }

 private:
  std::uint64_t count_;
  UniqueFd file_;
  AddressSpace space_;
  GuestMemory reader_;
};

void map_and_unmap(benchmark::State& state) {
  Map map{static_cast<std::uint64_t>(state.range(0))};
  const auto numbers = map.some();
  std::size_t next = 0;
  for ([[maybe_unused]] auto _ : state) {
    const std::uint64_t page = 2 * numbers[next++ % numbers.size()] + 1;
    map.add(page);
    map.remove(page);
  }
}
BENCHMARK(map_and_unmap)->Arg(1)->Arg(100)->Arg(1000)->Arg(10'000)->Arg(50'000)->Arg(65'535);

void find_another(benchmark::State& state) {
  Map map{static_cast<std::uint64_t>(state.range(0))};
  const auto numbers = map.some();
  std::size_t next = 0;
  for ([[maybe_unused]] auto _ : state) {
    benchmark::DoNotOptimize(map.reader().borrow(Iova{numbers[next++ % numbers.size()] * kStride}, ByteCount{64}));
  }
}
BENCHMARK(find_another)->Arg(1)->Arg(2)->Arg(10)->Arg(100)->Arg(1000)->Arg(10'000)->Arg(50'000);

}  // namespace
}  // namespace vmux::memory
