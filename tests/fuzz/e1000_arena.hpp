// SPDX-License-Identifier: BSD-3-Clause
// An e1000 in the hands of a guest that owns its memory and changes it at any moment. What both e1000 fuzzers share.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "device/e1000/nic.hpp"
#include "packet/transfer.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::fuzz {

class E1000Arena {
 public:
  static constexpr std::uint64_t kMemory = 1 << 20;      // at address 0, read and write
  static constexpr std::uint64_t kReadOnly = 0x40'0000;  // 64 KiB that the device may only read
  static constexpr std::uint64_t kReadOnlySize = 0x1'0000;

  explicit E1000Arena(device::e1000::Doorbell doorbell) {
    poller_ = std::move(*runtime::Poller::create());
    nic_ = std::move(*device::e1000::Nic::create({.mac = {2, 0, 0, 0, 0, 1}, .doorbell = doorbell}, *poller_));
    auto fd = make_memfd("fuzz", kMemory + kReadOnlySize);
    memory_ = std::move(*Mapping::create(fd->get(), 0, kMemory + kReadOnlySize, true));
    map(*fd, 0, kMemory / 2, 0, memory::Access::read_write);
    map(*fd, kMemory / 2, kMemory / 2, kMemory / 2, memory::Access::read_write);  // frames may span two windows
    map(*fd, kReadOnly, kReadOnlySize, kMemory, memory::Access::read);
  }

  void restart() {
    nic_->function().reset(pci::ResetKind::client_request);
    nic_->set_link(true);
    const std::array<std::byte, 2> command{std::byte{0x7}, std::byte{0}};
    static_cast<void>(nic_->function().write(pci::Region::config, RegionOffset{4}, command));
  }
  void write(std::uint32_t offset, std::uint32_t value, pci::Region bar = pci::Region::bar0) {
    std::array<std::byte, 4> bytes;
    std::memcpy(bytes.data(), &value, 4);
    static_cast<void>(nic_->function().write(bar, RegionOffset{offset}, bytes));
  }
  void read(std::uint32_t offset, std::size_t size, pci::Region bar = pci::Region::bar0) {
    std::array<std::byte, 64> bytes{};
    static_cast<void>(nic_->function().read(bar, RegionOffset{offset}, std::span{bytes}.first(size)));
  }
  void write_mapped(std::uint32_t offset, std::uint32_t value) {
    const auto shared = nic_->function().shared(pci::Region::bar0);
    if (!shared.empty()) memory::store_release32(shared, offset, value);
  }
  void fill(std::uint64_t at, const std::vector<std::uint8_t>& bytes) {
    at %= memory_.size();
    const std::size_t size = std::min<std::size_t>(bytes.size(), memory_.size() - at);
    if (size > 0) std::memcpy(memory_.data() + at, bytes.data(), size);
  }

  /// Takes a burst, scribbles over all the guest's memory, and checks that what was inspected cannot have changed.
  void take_burst(std::uint8_t scribble, std::size_t complete) {
    std::array<packet::FrameView, port::kMaxBurst> views;
    const std::size_t count = nic_->peek_burst(views);
    std::vector<std::vector<std::byte>> headers;
    for (std::size_t i = 0; i < count; ++i)
      headers.emplace_back(views[i].header.begin(), views[i].header.end());
    std::memset(memory_.data(), scribble, memory_.size());
    for (std::size_t i = 0; i < count; ++i) {
      check(views[i]);
      VMUX_ASSERT(std::equal(headers[i].begin(), headers[i].end(), views[i].header.begin()));
      finish(views[i]);
    }
    static_cast<void>(nic_->deliver(std::span{views}.first(count)));  // to itself: a cable with its ends joined
    nic_->complete(std::min(complete, count));
    nic_->flush();
  }

  void arrive(FuzzedDataProvider& input) {
    const auto bytes = input.ConsumeBytes<std::uint8_t>(input.ConsumeIntegralInRange<std::size_t>(0, 300));
    const std::size_t length = input.ConsumeIntegralInRange<std::size_t>(bytes.size(), 20'000);
    std::vector<std::byte> frame(length);
    if (!bytes.empty()) std::memcpy(frame.data(), bytes.data(), bytes.size());
    if (input.ConsumeBool() && length >= 6) std::memset(frame.data(), 0xff, 6);
    const std::size_t header = std::min<std::size_t>(length, packet::kHeaderRoom);
    const packet::Slice payload = std::span{frame}.subspan(header);
    packet::FrameView view{.header = std::span{frame}.first(header),
                           .payload = std::span{&payload, 1},
                           .length = static_cast<std::uint32_t>(length),
                           .offload = {}};
    view.offload.needs_checksum = input.ConsumeBool();
    view.offload.csum_start = input.ConsumeIntegralInRange<std::uint16_t>(0, 255);
    view.offload.csum_offset = input.ConsumeIntegralInRange<std::uint16_t>(0, 255);
    view.offload.has_vlan = input.ConsumeBool();
    view.offload.vlan_tci = input.ConsumeIntegral<std::uint16_t>();
    if (packet::is_consistent(view)) static_cast<void>(nic_->deliver(std::span{&view, 1}));
    if (input.ConsumeBool()) nic_->flush();
  }

  void run_timers() { poller_->run_once(0); }
  [[nodiscard]] device::e1000::Nic& nic() noexcept { return *nic_; }

 private:
  void map(const UniqueFd& fd, std::uint64_t at, std::uint64_t size, std::uint64_t offset, memory::Access access) {
    auto copy = fd.duplicate();
    memory::MapRequest request{Iova{at}, ByteCount{size}, access, std::move(*copy), offset};
    VMUX_ASSERT(nic_->function().memory().map(std::move(request)).has_value());
  }

  void check(const packet::FrameView& view) const {
    VMUX_ASSERT(packet::is_consistent(view));
    std::size_t bytes = view.header.size();
    for (const packet::Slice part : view.payload)
      bytes += part.size();
    VMUX_ASSERT(bytes == view.length);
    VMUX_ASSERT(view.header.size() >= std::min<std::size_t>(view.length, 64));
  }

  void finish(const packet::FrameView& view) {
    packet::Pieces pieces{view, packet::Accepts{.max_frame = 65'535 + 18}};
    std::uint32_t left = 64;  // enough pieces to see a fault, few enough to stay fast
    while (const packet::Piece* piece = pieces.next()) {
      if (left-- == 0) break;
      wire_.resize(piece->length);
      const std::span<std::byte> to{wire_};
      pieces.copy(std::span{&to, 1});
    }
  }

  std::unique_ptr<runtime::Poller> poller_;
  std::unique_ptr<device::e1000::Nic> nic_;
  Mapping memory_;
  std::vector<std::byte> wire_;
};

}  // namespace vmux::fuzz
