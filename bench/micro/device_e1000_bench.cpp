// SPDX-License-Identifier: BSD-3-Clause
// What the e1000's rings cost per frame, alone: rounds of take + finish, and of deliver, on rings and buffers
// that are refilled as a driver would; and an access to a register. One core does both sides, so no line changes hands:
// real runs (vmux-bench nic) cost more.
#include <benchmark/benchmark.h>

#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "device/e1000/nic.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::device::e1000 {
namespace {

constexpr std::uint64_t kMemory = 16 << 20, kTxRing = 0x10000, kRxRing = 0x20000, kBuffers = 0x100000;
constexpr std::uint32_t kRing = 1024;
constexpr std::size_t kBurst = 32;

/// A driver that has all buffers in place and only writes descriptors and tails.
class Driver {
 public:
  explicit Driver(bool strips_crc)
      : poller_(std::move(*runtime::Poller::create())),
        nic_(std::move(*Nic::create({.mac = {2, 0, 0, 0, 0, 1}, .doorbell = Doorbell::trap}, *poller_))),
        fd_(std::move(*make_memfd("bench", kMemory))),
        memory_(std::move(*Mapping::create(fd_.get(), 0, kMemory, true))) {
    static_cast<void>(nic_->function().memory().map(
        {Iova{0}, ByteCount{kMemory}, memory::Access::read_write, std::move(*fd_.duplicate()), 0}));
    const std::array<std::byte, 2> command{std::byte{7}, std::byte{0}};
    static_cast<void>(nic_->function().write(pci::Region::config, RegionOffset{4}, command));
    for (std::uint64_t i = 0; i < kRing; ++i)
      put(kRxRing + i * 16, buffer(i));
    for (const std::uint32_t base : {0x2800u, 0x3800u}) {
      write(base, static_cast<std::uint32_t>(base == 0x2800 ? kRxRing : kTxRing));
      write(base + 8, kRing * 16);
    }
    write(0x100, 0x8002 | (strips_crc ? 1u << 26 : 0));
    write(0x400, 0xa);
  }
  void write(std::uint32_t offset, std::uint32_t value) {
    std::array<std::byte, 4> bytes;
    std::memcpy(bytes.data(), &value, sizeof value);
    static_cast<void>(nic_->function().write(pci::Region::bar0, RegionOffset{offset}, bytes));
  }
  [[nodiscard]] std::uint32_t read(std::uint32_t offset) {
    std::array<std::byte, 4> bytes{};
    static_cast<void>(nic_->function().read(pci::Region::bar0, RegionOffset{offset}, bytes));
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  void put(std::uint64_t at, std::uint64_t value) { std::memcpy(memory_.data() + at, &value, sizeof value); }
  [[nodiscard]] static std::uint64_t buffer(std::uint64_t index) { return kBuffers + index % kRing * 0x800; }
  [[nodiscard]] port::Port& port() { return nic_->port(); }

 private:
  std::unique_ptr<runtime::Poller> poller_;
  std::unique_ptr<Nic> nic_;
  UniqueFd fd_;
  Mapping memory_;
};

void tx_peek_complete(benchmark::State& state) {
  const auto size = static_cast<std::uint64_t>(state.range(0));
  Driver driver{true};
  std::array<packet::FrameView, kBurst> views;
  const std::array<port::FrameResult, kBurst> results{};
  std::uint64_t posted = 0, sum = 0;
  for ([[maybe_unused]] auto _ : state) {
    for (std::size_t i = 0; i < kBurst; ++i, ++posted) {
      driver.put(kTxRing + posted % kRing * 16, Driver::buffer(posted));
      driver.put(kTxRing + posted % kRing * 16 + 8, (0x0bull << 24) | size);  // EOP, IFCS, RS
    }
    driver.write(0x3818, static_cast<std::uint32_t>(posted % kRing));
    driver.port().begin_round();
    const std::size_t count = driver.port().take(views);
    for (std::size_t i = 0; i < count; ++i)
      sum += views[i].length;
    driver.port().finish(std::span{results}.first(count));
    driver.port().end_round();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(posted));
  if (sum != posted * size) state.SkipWithError("frames were lost");
}
BENCHMARK(tx_peek_complete)->Arg(64)->Arg(1514);

void rx_deliver_flush(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  Driver driver{state.range(1) != 0};
  std::vector<std::byte> frame(size, std::byte{0xff});  // to all, of a type that is none
  const packet::Slice payload = std::span{frame}.subspan(64);
  packet::FrameView view{.header = std::span{frame}.first(64), .payload = {}, .length = 0, .offload = {}};
  view.length = static_cast<std::uint32_t>(size);
  if (!payload.empty()) view.payload = std::span{&payload, 1};
  std::array<packet::FrameView, kBurst> views;
  views.fill(view);
  std::uint64_t received = 0, taken = 0;
  for ([[maybe_unused]] auto _ : state) {
    driver.write(0x2818, static_cast<std::uint32_t>((received + kRing - 1) % kRing));
    driver.port().begin_round();
    taken += driver.port().deliver(views).taken;
    driver.port().end_round();
    received += kBurst;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(received));
  if (taken != received) state.SkipWithError("frames were lost");
}
BENCHMARK(rx_deliver_flush)->ArgNames({"size", "secrc"})->Args({64, 1})->Args({1514, 1})->Args({1514, 0});

void register_read(benchmark::State& state) {
  Driver driver{true};
  std::uint32_t sum = 0;
  for ([[maybe_unused]] auto _ : state)
    sum += driver.read(0x8);  // STATUS
  benchmark::DoNotOptimize(sum);
}
BENCHMARK(register_read);

void register_write(benchmark::State& state) {
  Driver driver{true};
  for ([[maybe_unused]] auto _ : state)
    driver.write(0xd8, 0);  // IMC
}
BENCHMARK(register_write);

}  // namespace
}  // namespace vmux::device::e1000
