// SPDX-License-Identifier: BSD-3-Clause
#include "app/bench/crowd_port.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <tuple>

#include "app/bench/e1000_registers.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::bench {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kTxRing = 0, kRxRing = kPage, kTxBuffers = 2 * kPage, kRxBuffers = 32 * kPage;
constexpr std::uint64_t kTxBuffer = 256;  // bytes
constexpr std::uint32_t kMask = CrowdPort::kDescriptors - 1;
constexpr std::uint64_t kCheck = 0x9e37'79b9'7f4a'7c15;  // what a number is multiplied with

/// IEEE 802.3, with an experimental ethertype (802 clause 9.2.4): nobody parses further.
struct Frame {
  std::array<std::uint8_t, 6> to, from;
  std::array<std::uint8_t, 2> type;
  std::array<std::uint8_t, 2> sender;
  Le<std::uint64_t> number, check;
  std::array<std::uint8_t, 28> padding;
};
static_assert(sizeof(Frame) == 60 && kTxBuffer >= sizeof(Frame));
static_assert(CrowdPort::kDescriptors * sizeof(RingDescriptor) == kPage);

std::array<std::uint8_t, 6> address_of(unsigned number) {
  return {0x02, 0, 0, 0, 0x36, static_cast<std::uint8_t>(number)};
}
std::array<std::uint8_t, 2> bytes_of(std::uint32_t number) {
  return {static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
}

}  // namespace

Result<std::unique_ptr<CrowdPort>> CrowdPort::create(const std::string& path, unsigned number, unsigned peer,
                                                     std::uint64_t memory) {
  auto client = vfio_user::Client::connect(path);
  if (!client) return tl::unexpected(client.error());
  std::unique_ptr<CrowdPort> port{new CrowdPort{std::move(*client)}};
  if (auto done = port->give_memory(std::max(memory / kPage * kPage, kRxBuffers + kDescriptors * kPage)); !done)
    return tl::unexpected(done.error());
  if (auto done = port->bring_up(number, peer); !done) return tl::unexpected(done.error());
  return port;
}

Result<void> CrowdPort::give_memory(std::uint64_t size) {
  auto fd = make_memfd("crowd", size);
  if (!fd) return tl::unexpected(fd.error());
  auto memory = Mapping::create(fd->get(), 0, size, true);
  if (!memory) return tl::unexpected(memory.error());
  memory_ = std::move(*memory);
  std::memset(memory_.data(), 0, size);  // a VM that has run for a while has touched all of it
  pages_ = (size - kRxBuffers) / kPage;
  return client_->dma_map(Iova{0}, ByteCount{size}, memory::Access::read_write, fd->get(), 0);
}

Result<void> CrowdPort::write(std::uint32_t at, std::uint32_t value) {
  const Le<std::uint32_t> raw = value;
  return client_->write(pci::Region::bar0, RegionOffset{at}, std::as_bytes(std::span{&raw, 1}));
}

Result<void> CrowdPort::bring_up(unsigned number, unsigned peer) {
  const Le<std::uint16_t> command = 0x0006;  // memory and bus master
  if (auto done = client_->write(pci::Region::config, RegionOffset{4}, std::as_bytes(std::span{&command, 1})); !done)
    return done;
  const auto region = client_->region_info(0);
  if (!region) return tl::unexpected(region.error());
  if (!region->mappable || !region->fd) return fail(Errc::not_supported, "the port maps no registers (doorbell=poll)");
  auto registers = Mapping::create(region->fd.get(), region->fd_offset, region->size, true);
  if (!registers) return tl::unexpected(registers.error());
  registers_ = std::move(*registers);
  bar_ = {registers_.data(), region->size};
  tx_ring_ = reinterpret_cast<RingDescriptor*>(memory_.data() + kTxRing);
  rx_ring_ = reinterpret_cast<RingDescriptor*>(memory_.data() + kRxRing);
  sender_ = peer;
  const Frame frame{address_of(peer), address_of(number), {0x88, 0xb5}, bytes_of(number), 0, 0, {}};
  for (std::uint32_t i = 0; i < kDescriptors; ++i) {
    const std::uint64_t buffer = kTxBuffers + i * kTxBuffer;
    std::memcpy(memory_.data() + buffer, &frame, sizeof frame);
    tx_ring_[i] = {.buffer = buffer,
                   .length = sizeof frame,
                   .command_or_checksum = kCommandEop | kCommandIfcs | kCommandRs,
                   .status = kStatusDone};
    rx_ring_[i] = {.buffer = next_buffer()};
  }
  for (const auto& [base, length, head, tail, ring] :
       {std::tuple{kRdbal, kRdlen, kRdh, kRdt, kRxRing}, std::tuple{kTdbal, kTdlen, kTdh, kTdt, kTxRing}}) {
    for (const auto& [at, value] :
         {std::pair{base, static_cast<std::uint32_t>(ring)}, std::pair{base + 4, 0u},
          std::pair{length, static_cast<std::uint32_t>(kPage)}, std::pair{head, 0u}, std::pair{tail, 0u}}) {
      if (auto done = write(at, value); !done) return done;
    }
  }
  for (const auto& [at, value] : {std::pair{kRctl, kRctlEnableOwnStripCrc}, std::pair{kTctl, kTctlEnablePad},
                                  std::pair{kRdt, kDescriptors - 1}}) {
    if (auto done = write(at, value); !done) return done;
  }
  return {};
}

std::uint64_t CrowdPort::next_buffer() noexcept {
  const std::uint64_t at = kRxBuffers + page_ * kPage;
  page_ = page_ + 1 == pages_ ? 0 : page_ + 1;
  return at;
}

void CrowdPort::send() noexcept {
  RingDescriptor& slot = tx_ring_[tx_next_];
  // One slot stays free: a ring whose tail is its head is empty (8254x 3.4).
  const RingDescriptor& next = tx_ring_[(tx_next_ + 1) & kMask];
  if ((__atomic_load_n(&slot.status, __ATOMIC_ACQUIRE) & __atomic_load_n(&next.status, __ATOMIC_ACQUIRE) &
       kStatusDone) == 0) {
    return;
  }
  auto& frame = *reinterpret_cast<Frame*>(memory_.data() + std::uint64_t{slot.buffer});
  frame.number = sent_;
  frame.check = sent_ * kCheck;
  ++sent_;
  slot.status = 0;
  tx_next_ = (tx_next_ + 1) & kMask;
  memory::store_release32(bar_, kTdt, tx_next_);
}

void CrowdPort::poison(Poison kind) noexcept {
  const std::uint8_t low = kind == Poison::when_taken ? 0xb6 : 0xb7;
  reinterpret_cast<Frame*>(memory_.data() + std::uint64_t{tx_ring_[tx_next_].buffer})->type = {0x88, low};
  send();
}

void CrowdPort::receive(std::uint64_t now_ns) noexcept {
  std::uint32_t count = 0;
  for (; count < kMask; ++count) {
    RingDescriptor& done = rx_ring_[rx_next_];
    if ((__atomic_load_n(&done.status, __ATOMIC_ACQUIRE) & kStatusDone) == 0) break;
    take(done, now_ns);
    done = {.buffer = next_buffer()};
    rx_next_ = (rx_next_ + 1) & kMask;
  }
  if (count != 0) memory::store_release32(bar_, kRdt, (rx_next_ - 1) & kMask);
}

void CrowdPort::take(const RingDescriptor& done, std::uint64_t now_ns) noexcept {
  Frame frame;
  std::memcpy(&frame, memory_.data() + std::uint64_t{done.buffer}, sizeof frame);
  const std::uint64_t number = frame.number;
  ++arrivals_.frames;
  arrivals_.longest_gap_ns = std::max(arrivals_.longest_gap_ns, now_ns - std::min(now_ns, arrivals_.last_ns));
  arrivals_.last_ns = now_ns;
  if (std::uint64_t{frame.check} != number * kCheck || frame.sender != bytes_of(sender_) ||
      std::uint16_t{done.length} < sizeof frame) {
    ++arrivals_.damaged;
    return;
  }
  if (!std::exchange(is_in_step_, true)) expected_ = number;
  if (number >= expected_) {
    arrivals_.lost += number - expected_;
    expected_ = number + 1;
  } else {
    ++(expected_ - number <= kMostTwice ? arrivals_.twice : arrivals_.reordered);
  }
}

void CrowdPort::begin_window(std::uint64_t now_ns) noexcept {
  const std::uint64_t frames = arrivals_.frames;
  arrivals_ = {};
  arrivals_.frames = frames;
  arrivals_.last_ns = now_ns;
}

}  // namespace vmux::bench
