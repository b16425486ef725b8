// SPDX-License-Identifier: BSD-3-Clause
// For tests: a kernel with VFIO in memory. It writes down what it is told, keeps the rules that the real one keeps (one
// kind of interrupt at a time, no vector added to live ones, no overlapping maps), and signals like a device.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kvfio/kernel.hpp"
#include "vmux/base/le.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::kvfio::fake {

constexpr std::uint64_t kRegionStep = 1ull << 40;  // as vfio-pci spaces its regions

/// What a device is, and what became of it; outlives each opening of it.
struct Card {
  std::vector<std::byte> config = std::vector<std::byte>(256);
  std::vector<std::byte> bar0 = std::vector<std::byte>(0x4000);
  std::vector<pci::SharedArea> mappable{{0, 0x4000}};
  std::map<pci::Irq, pci::IrqInfo> irqs;
  std::map<pci::Irq, std::vector<int>> sinks;  // what the kernel would signal; -1: nothing
  bool is_resettable = true, is_present = true, is_answering = true;
  int opened = 0, closed = 0, resets = 0;
  std::string log;

  Card() {
    irqs[pci::Irq::intx] = {1, true, true, true, false};
    irqs[pci::Irq::msi] = {4, true, false, false, true};
    irqs[pci::Irq::msix] = {4, true, false, false, true};
    irqs[pci::Irq::err] = {1, true, false, false, true};
    irqs[pci::Irq::req] = {1, true, false, false, true};
  }
  template <class T>
  void set(std::size_t at, T value) {
    const Le<T> wire = value;
    std::copy_n(reinterpret_cast<const std::byte*>(&wire), sizeof wire,
                config.begin() + static_cast<std::ptrdiff_t>(at));
  }
  template <class T>
  [[nodiscard]] T get(std::size_t at) const {
    Le<T> wire{};
    std::copy_n(config.begin() + static_cast<std::ptrdiff_t>(at), sizeof wire, reinterpret_cast<std::byte*>(&wire));
    return wire;
  }
  /// The device interrupts. False when nobody listens.
  bool fire(pci::Irq irq, std::size_t vector = 0) {
    const auto& fds = sinks[irq];
    if (vector >= fds.size() || fds[vector] < 0) return false;
    signal_eventfd(fds[vector]);
    return true;
  }
};

class Device final : public KernelDevice {
 public:
  explicit Device(Card& card) : card_(card) { ++card.opened; }
  /// As another process opened it.
  Device(Card& card, UniqueFd fd) : card_(card), fd_(std::move(fd)) {}
  ~Device() override {
    ++card_.closed;
    if (!fd_) card_.sinks.clear();
  }
  [[nodiscard]] int fd() const noexcept override { return fd_ ? fd_.get() : 1000; }
  [[nodiscard]] bool is_resettable() const noexcept override { return card_.is_resettable; }
  [[nodiscard]] RegionFacts region(pci::Region region) const override {
    if (region == pci::Region::bar0) return {card_.bar0.size(), 0, true, true, card_.mappable};
    if (region == pci::Region::config) return {card_.config.size(), 7 * kRegionStep, true, true, {}};
    return {};
  }
  [[nodiscard]] pci::IrqInfo irq(pci::Irq irq) const override { return card_.irqs[irq]; }
  [[nodiscard]] Result<void> read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    if (!card_.is_answering) return fail(Errc::system, "no answer", EIO);
    auto& bytes = offset >= kRegionStep ? card_.config : card_.bar0;
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset % kRegionStep), into.size(), into.begin());
    return {};
  }
  [[nodiscard]] Result<void> write(std::uint64_t offset, std::span<const std::byte> from) noexcept override {
    if (!card_.is_answering) return fail(Errc::system, "no answer", EIO);
    auto& bytes = offset >= kRegionStep ? card_.config : card_.bar0;
    std::copy(from.begin(), from.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset % kRegionStep));
    card_.log += (offset >= kRegionStep ? "c" : "b") + std::to_string(offset % kRegionStep) + ":" +
                 std::to_string(from.size()) + " ";
    return {};
  }
  [[nodiscard]] Result<void> set_irqs(const IrqCall& call) noexcept override {
    auto& fds = card_.sinks[call.irq];
    const bool is_message = call.irq == pci::Irq::msi || call.irq == pci::Irq::msix;
    const bool is_off = call.data == pci::IrqData::none && call.action == pci::IrqAction::trigger && call.count == 0;
    card_.log += "irq" + std::to_string(static_cast<int>(call.irq));
    if (is_off) {
      card_.log += " off ";
      fds.clear();
      return {};
    }
    if (call.action != pci::IrqAction::trigger) {
      card_.log += call.action == pci::IrqAction::mask ? " mask " : " unmask ";
      return {};
    }
    card_.log += ":" + std::to_string(call.start) + "+" + std::to_string(call.count) + " ";
    for (const pci::Irq other : {pci::Irq::intx, pci::Irq::msi, pci::Irq::msix}) {
      const bool is_busy = call.irq <= pci::Irq::msix && other != call.irq && !card_.sinks[other].empty();
      if (is_busy) return fail(Errc::system, "another kind is enabled", EINVAL);
    }
    const std::size_t end = call.start + call.count;
    if (is_message && !fds.empty() && end > fds.size()) return fail(Errc::system, "no vector can be added", EINVAL);
    fds.resize(std::max(fds.size(), end), -1);
    std::copy(call.eventfds.begin(), call.eventfds.end(), fds.begin() + call.start);
    return {};
  }
  [[nodiscard]] Result<void> reset() noexcept override {
    ++card_.resets;
    return {};
  }

 private:
  Card& card_;
  UniqueFd fd_;
};

class TestKernel;

class Domain final : public KernelDomain {
 public:
  explicit Domain(TestKernel& kernel, bool is_adopted = false) : kernel_(kernel), is_adopted_(is_adopted) {}
  ~Domain() override;
  [[nodiscard]] Result<std::unique_ptr<KernelDevice>> open(const std::string& address) override;
  [[nodiscard]] Result<void> map(Iova start, ByteCount size, const std::byte* host, memory::Access) noexcept override;
  [[nodiscard]] Result<void> unmap(Iova start, ByteCount size) noexcept override;
  [[nodiscard]] Result<void> record(state::FdBag& into) const override;
  [[nodiscard]] Result<std::unique_ptr<KernelDevice>> adopt(const std::string& address, UniqueFd device) override;

 private:
  TestKernel& kernel_;
  bool is_adopted_;
};

class TestKernel final : public Kernel {
 public:
  [[nodiscard]] Result<std::unique_ptr<KernelDomain>> open_domain(unsigned) override {
    ++attempts;
    if (is_held) return fail(Errc::busy, "in use", EBUSY);
    ++domains;
    return std::make_unique<Domain>(*this);
  }
  [[nodiscard]] Result<std::unique_ptr<KernelDomain>> adopt_domain(unsigned, const state::FdBag& from) override {
    if (from.get("vfio/group") < 0) return fail(Errc::not_found, "a descriptor of the group");
    ++domains;
    return std::make_unique<Domain>(*this, true);
  }
  [[nodiscard]] bool can_adopt() const noexcept override { return is_new; }

  bool is_new = true;  // as Linux 6.0
  std::map<std::string, Card> cards;
  std::map<std::uint64_t, std::uint64_t> maps;  // first byte: size
  int domains = 0;                              // open now
  int attempts = 0, map_calls = 0, unmap_calls = 0;
  bool is_held = false;  // someone keeps a descriptor
  bool can_pin = true, can_unpin = true;
  std::optional<std::uint64_t> kept;  // a page that it does not unmap
  int pins_left = -1;                 // then can_pin ends; negative: never
};

inline Domain::~Domain() {
  --kernel_.domains;
  if (!is_adopted_) kernel_.maps.clear();
}
inline Result<std::unique_ptr<KernelDevice>> Domain::open(const std::string& address) {
  const auto card = kernel_.cards.find(address);
  if (card == kernel_.cards.end() || !card->second.is_present) return fail(Errc::system, "no such device", ENODEV);
  return std::make_unique<Device>(card->second);
}
inline Result<void> Domain::record(state::FdBag& into) const { return into.put("vfio/group", *make_eventfd()); }
inline Result<std::unique_ptr<KernelDevice>> Domain::adopt(const std::string& address, UniqueFd device) {
  return std::make_unique<Device>(kernel_.cards.at(address), std::move(device));
}
inline Result<void> Domain::map(Iova start, ByteCount size, const std::byte* host, memory::Access) noexcept {
  ++kernel_.map_calls;
  if (kernel_.pins_left == 0) kernel_.can_pin = false;
  if (kernel_.pins_left > 0) --kernel_.pins_left;
  if (!kernel_.can_pin) return fail(Errc::no_space, "memory cannot be pinned", ENOMEM);
  EXPECT_NE(host, nullptr);
  kernel_.maps[start.raw] = size.raw;
  return {};
}
inline Result<void> Domain::unmap(Iova start, ByteCount size) noexcept {
  ++kernel_.unmap_calls;
  const bool has_kept = kernel_.kept && *kernel_.kept - start.raw < size.raw;
  if (!kernel_.can_unpin || has_kept) return fail(Errc::system, "UNMAP_DMA", EFAULT);
  for (auto at = kernel_.maps.lower_bound(start.raw); at != kernel_.maps.end() && at->first - start.raw < size.raw;)
    at = kernel_.maps.erase(at);
  return {};
}

}  // namespace vmux::kvfio::fake
