// SPDX-License-Identifier: BSD-3-Clause
// A NIC in the hands of a guest that owns its memory and changes it at any moment. What the fuzzers of all models
// share.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "fuzz/beside.hpp"
#include "fuzz/steps.hpp"
#include "packet/transfer.hpp"
#include "port/port.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/memory/ordered.hpp"
#include "vmux/pci/function.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::fuzz {

/// Takes a frame as a receiver without any offload does, whole or in pieces.
class Receiver {
 public:
  void take(const packet::FrameView& view) {
    check(view);
    packet::Pieces pieces{view, packet::Accepts{.max_frame = 65'535 + 18}};
    std::uint32_t left = 64;  // enough pieces to see a fault, few enough to stay fast
    while (const packet::Piece* piece = pieces.next()) {
      if (left-- == 0) break;
      wire_.resize(piece->length);
      const std::span<std::byte> to{wire_};
      pieces.copy(std::span{&to, 1});
    }
  }

 private:
  static void check(const packet::FrameView& view) {
    VMUX_ASSERT(packet::is_consistent(view));
    VMUX_ASSERT(view.header.size() >= std::min<std::size_t>(view.length, 64));
  }
  std::vector<std::byte> wire_;
};

/// `Nic` is a model's: a pci::Device and a port::Port.
template <class Nic>
class NicArena {
 public:
  static constexpr std::uint64_t kMemory = 1 << 20;      // at address 0, read and write
  static constexpr std::uint64_t kReadOnly = 0x40'0000;  // 64 KiB that the device may only read
  static constexpr std::uint64_t kReadOnlySize = 0x1'0000;
  static constexpr std::size_t kWindows = 3;

  /// `make` gives the NIC, for the home poller that it is called with.
  template <class Make>
  explicit NicArena(Make make)
      : poller_(std::move(*runtime::Poller::create())),
        make_([this, make] { return std::move(*make(*poller_)); }),
        nic_(make_()),
        fd_(std::move(*make_memfd("fuzz", kMemory + kReadOnlySize))) {
    memory_ = std::move(*Mapping::create(fd_.get(), 0, kMemory + kReadOnlySize, true));
    map_all();
  }

  /// As for a new client; all memory is zero.
  void restart() {
    scribbler_.end();
    std::memset(memory_.data(), 0, memory_.size());
    if (nic_->function().memory().size() != kWindows) map_all();
    nic_->function().reset(pci::ResetKind::client_request);
    nic_->set_link(true);
    set_command(0x7);
  }
  void set_command(std::uint8_t value) {  // PCI 3.0 6.2.2
    const std::array<std::byte, 2> command{std::byte{value}, std::byte{0}};
    static_cast<void>(nic_->function().write(pci::Region::config, RegionOffset{4}, command));
  }
  void map_all() {
    unmap_all();
    map(0, kMemory / 2, 0, memory::Access::read_write);
    map(kMemory / 2, kMemory / 2, kMemory / 2, memory::Access::read_write);  // frames may span two windows
    map(kReadOnly, kReadOnlySize, kMemory, memory::Access::read);
  }
  /// Nobody may touch the memory from here on.
  void unmap_all() {
    bool is_quiet = false;
    nic_->function().memory().unmap_all([&is_quiet] { is_quiet = true; });
    VMUX_ASSERT(is_quiet);
  }
  void unmap_half(bool second) {
    static_cast<void>(nic_->function().memory().unmap(Iova{second ? kMemory / 2 : 0}, ByteCount{kMemory / 2}, [] {}));
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
  void fill(std::uint64_t at, std::span<const std::uint8_t> bytes) {
    at %= memory_.size();
    const std::size_t size = std::min<std::size_t>(bytes.size(), memory_.size() - at);
    if (size > 0) std::memcpy(memory_.data() + at, bytes.data(), size);
  }

  /// From now on to the next restart(), eight bytes flip beside everything else.
  void flip(std::uint64_t at, std::uint64_t other) { scribbler_.add(memory_.bytes(), at, other); }
  void begin_flipping() { scribbler_.begin(); }
  void end_flipping() { scribbler_.end(); }

  /// Takes a burst from `from`, overwrites all the guest's memory if told to, checks that what was inspected cannot
  /// have changed, and has it arrive at `to`: a cable with its ends joined.
  void take_burst(port::Port& from, port::Port& to, std::optional<std::uint8_t> fill_with, std::size_t complete) {
    std::array<packet::FrameView, port::kMaxBurst> views;
    from.begin_round();
    if (&to != &from) to.begin_round();
    const std::size_t count = from.take(views);
    std::vector<std::vector<std::byte>> headers;
    for (std::size_t i = 0; i < count; ++i)
      headers.emplace_back(views[i].header.begin(), views[i].header.end());
    if (fill_with) std::memset(memory_.data(), *fill_with, memory_.size());
    for (std::size_t i = 0; i < count; ++i) {
      receiver_.take(views[i]);
      VMUX_ASSERT(std::equal(headers[i].begin(), headers[i].end(), views[i].header.begin()));
    }
    static_cast<void>(to.deliver(std::span{views}.first(count)));
    const std::array<port::FrameResult, port::kMaxBurst> results{};
    from.finish(std::span{results}.first(std::min(complete, count)));
    from.end_round();
    if (&to != &from) to.end_round();
  }

  static constexpr std::size_t kEthernetHeader = 14;  // bytes: a switch lets nothing shorter pass
  struct Arriving {
    std::span<const std::uint8_t> bytes;  // the first; zeroes follow
    std::size_t length = 0;
    packet::Offload offload;
    bool is_for_all = false;
  };
  void arrive(port::Port& to, const Arriving& what) {
    std::vector<std::byte> frame(std::max(what.length, what.bytes.size()));
    if (!what.bytes.empty()) std::memcpy(frame.data(), what.bytes.data(), what.bytes.size());
    if (what.is_for_all && frame.size() >= 6) std::memset(frame.data(), 0xff, 6);
    const std::size_t header = std::min<std::size_t>(frame.size(), packet::kHeaderRoom);
    const packet::Slice payload = std::span{frame}.subspan(header);
    const packet::FrameView view{.header = std::span{frame}.first(header),
                                 .payload = std::span{&payload, 1},
                                 .length = static_cast<std::uint32_t>(frame.size()),
                                 .offload = what.offload};
    to.begin_round();
    if (header >= kEthernetHeader && packet::is_consistent(view)) static_cast<void>(to.deliver(std::span{&view, 1}));
    to.end_round();
  }

  void run_timers() { poller_->run_once(0); }
  /// After each step of an input: what the card is goes into another one, and comes out of that as the same bytes.
  void step_done() {
    if (!checks_each_step) return;
    ++steps_checked;
    pci::Function& function = nic_->function();
    function.pause();
    const auto saved = function.save();
    const auto other = make_();
    other->set_link(nic_->is_link_up());
    const auto loaded = other->function().load(saved);
    VMUX_ASSERT(loaded.has_value());
    VMUX_ASSERT(other->function().save() == saved);
    function.resume();
  }
  [[nodiscard]] Nic& nic() noexcept { return *nic_; }

 private:
  void map(std::uint64_t at, std::uint64_t size, std::uint64_t offset, memory::Access access) {
    memory::MapRequest request{Iova{at}, ByteCount{size}, access, std::move(*fd_.duplicate()), offset};
    VMUX_ASSERT(nic_->function().memory().map(std::move(request)).has_value());
  }

  std::unique_ptr<runtime::Poller> poller_;
  std::function<std::unique_ptr<Nic>()> make_;
  std::unique_ptr<Nic> nic_;
  UniqueFd fd_;
  Mapping memory_;
  Receiver receiver_;
  Scribbler scribbler_;  // ends before the memory goes
};

}  // namespace vmux::fuzz
