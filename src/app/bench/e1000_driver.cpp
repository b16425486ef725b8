// SPDX-License-Identifier: BSD-3-Clause
#include "app/bench/e1000_driver.hpp"

#include <algorithm>

#include "app/bench/e1000_registers.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::bench {
namespace {

constexpr std::uint64_t kTxRing = 0, kRxRing = 0x1'0000, kTxBuffers = 0x10'0000, kRxBuffers = 0x40'0000;
constexpr std::uint64_t kMemory = 0x80'0000, kBuffer = 2048;
constexpr std::uint32_t kBurst = 32;

}  // namespace

Result<std::unique_ptr<E1000Driver>> E1000Driver::create(pci::Function& function) {
  std::unique_ptr<E1000Driver> driver{new E1000Driver{function}};
  auto fd = make_memfd("bench-guest", kMemory);
  if (!fd) return tl::unexpected(fd.error());
  auto memory = Mapping::create(fd->get(), 0, kMemory, true);
  if (!memory) return tl::unexpected(memory.error());
  driver->memory_ = std::move(*memory);
  memory::MapRequest request{.size = ByteCount{kMemory}, .access = memory::Access::read_write, .fd = std::move(*fd)};
  if (auto ok = function.memory().map(std::move(request)); !ok) return tl::unexpected(ok.error());
  driver->registers_ = function.shared(pci::Region::bar0);
  if (driver->registers_.empty()) return fail(Errc::not_supported, "the card maps no registers");
  driver->bring_up();
  return driver;
}

void E1000Driver::write(std::uint32_t offset, std::uint32_t value) {
  const Le<std::uint32_t> raw = value;
  static_cast<void>(function_.write(pci::Region::bar0, RegionOffset{offset}, std::as_bytes(std::span{&raw, 1})));
}

void E1000Driver::bring_up() {
  const Le<std::uint16_t> memory_and_master = 0x0006;
  static_cast<void>(
      function_.write(pci::Region::config, RegionOffset{4}, std::as_bytes(std::span{&memory_and_master, 1})));
  tx_ring_ = reinterpret_cast<RingDescriptor*>(host(kTxRing));
  rx_ring_ = reinterpret_cast<RingDescriptor*>(host(kRxRing));
  for (std::uint32_t i = 0; i < kDescriptors; ++i) {
    tx_ring_[i] = {.buffer = kTxBuffers + i * kBuffer};
    rx_ring_[i] = {.buffer = kRxBuffers + i * kBuffer};
  }
  for (const auto& [base, length, head, tail, ring] :
       {std::tuple{kRdbal, kRdlen, kRdh, kRdt, kRxRing}, std::tuple{kTdbal, kTdlen, kTdh, kTdt, kTxRing}}) {
    write(base, static_cast<std::uint32_t>(ring));
    write(base + 4, 0);
    write(length, kDescriptors * sizeof(RingDescriptor));
    write(head, 0);
    write(tail, 0);
  }
  write(kRctl, kRctlEnablePromiscuousStripCrc);
  write(kTctl, kTctlEnablePad);
  write(kRdt, kDescriptors - 1);
}

void E1000Driver::load(std::span<const std::byte> frame) {
  for (std::uint32_t i = 0; i < kDescriptors; ++i) {
    std::copy(frame.begin(), frame.end(), host(kTxBuffers + i * kBuffer));
    tx_ring_[i].length = static_cast<std::uint16_t>(frame.size());
    // A driver asks for a report once a burst, not for every frame.
    const bool report = i % kBurst == kBurst - 1;
    tx_ring_[i].command_or_checksum = kCommandEop | kCommandIfcs | (report ? kCommandRs : std::uint8_t{0});
  }
}

std::uint32_t E1000Driver::tx_head() const noexcept { return memory::load_acquire32(registers_, kTdh); }
void E1000Driver::set_tx_head(std::uint32_t index) noexcept {
  memory::store_release32(registers_, kTdh, index & kMask);
}
std::uint32_t E1000Driver::tx_tail() const noexcept { return memory::load_acquire32(registers_, kTdt); }

std::uint32_t E1000Driver::send(std::uint32_t count) noexcept {
  const std::uint32_t free = (tx_head() - tx_next_ - 1) & kMask;
  count = std::min(count, free);
  if (count == 0) return 0;
  for (std::uint32_t i = 0; i < count; ++i)
    tx(tx_next_ + i).status = 0;
  tx_next_ = (tx_next_ + count) & kMask;
  memory::store_release32(registers_, kTdt, tx_next_);
  return count;
}

std::uint32_t E1000Driver::receive() noexcept {
  std::uint32_t count = 0;
  while (count < kMask) {
    RingDescriptor& done = rx(rx_next_ + count);
    if ((__atomic_load_n(&done.status, __ATOMIC_ACQUIRE) & kStatusDone) == 0) break;
    done.status = 0;
    ++count;
  }
  if (count == 0) return 0;
  rx_next_ = (rx_next_ + count) & kMask;
  memory::store_release32(registers_, kRdt, (rx_next_ - 1) & kMask);
  return count;
}

}  // namespace vmux::bench
