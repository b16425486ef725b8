// SPDX-License-Identifier: BSD-3-Clause
// How a fake guest reaches its card: the function itself, or what is between them, as a client.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "vmux/base/assert.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/pci/function.hpp"

namespace vmux::fake_guest {

class Way {
 public:
  virtual ~Way() = default;
  virtual void read(pci::Region region, std::uint64_t at, std::span<std::byte> into) = 0;
  virtual void write(pci::Region region, std::uint64_t at, std::span<const std::byte> from) = 0;
  /// All of the guest's memory, at address 0.
  virtual void give_memory(UniqueFd file, std::uint64_t size) = 0;
  [[nodiscard]] virtual std::uint32_t count_of(pci::Irq kind) = 0;
  /// All of a kind, or none.
  virtual void give_interrupts(pci::Irq kind, std::vector<UniqueFd> sinks) = 0;
  /// What of BAR 0 is memory; empty when nothing is.
  [[nodiscard]] virtual Mapping map_bar0() = 0;
  virtual void leave() noexcept = 0;
};

class DirectWay final : public Way {
 public:
  explicit DirectWay(pci::Function& function) noexcept : function_(function) {}
  void read(pci::Region region, std::uint64_t at, std::span<std::byte> into) override {
    VMUX_ASSERT(function_.read(region, RegionOffset{at}, into).has_value());
  }
  void write(pci::Region region, std::uint64_t at, std::span<const std::byte> from) override {
    VMUX_ASSERT(function_.write(region, RegionOffset{at}, from).has_value());
  }
  void give_memory(UniqueFd file, std::uint64_t size) override {
    memory::MapRequest request{Iova{0}, ByteCount{size}, memory::Access::read_write, std::move(file), 0};
    VMUX_ASSERT(function_.memory().map(std::move(request)).has_value());
  }
  std::uint32_t count_of(pci::Irq kind) override { return function_.interrupts().info(kind).count; }
  void give_interrupts(pci::Irq kind, std::vector<UniqueFd> sinks) override {
    pci::IrqRequest irq{.irq = kind,
                        .action = pci::IrqAction::trigger,
                        .data = pci::IrqData::eventfd,
                        .start = 0,
                        .count = static_cast<std::uint32_t>(sinks.size()),
                        .booleans = {},
                        .eventfds = sinks};
    VMUX_ASSERT(function_.interrupts().configure(irq).has_value());
  }
  Mapping map_bar0() override {
    const pci::RegionInfo bar = function_.region(pci::Region::bar0);
    if (bar.fd < 0) return {};
    auto mapping = Mapping::create(bar.fd, 0, bar.size, true);
    VMUX_ASSERT(mapping.has_value());
    return std::move(*mapping);
  }
  void leave() noexcept override {
    function_.client_gone([] {});
  }

 private:
  pci::Function& function_;
};

/// What a guest is made with: its card, or a way to one.
struct Card {
  Card(pci::Function& function) : way(std::make_unique<DirectWay>(function)) {}  // NOLINT: a card is a function
  Card(std::unique_ptr<Way> other) noexcept : way(std::move(other)) {}           // NOLINT
  std::unique_ptr<Way> way;
};

}  // namespace vmux::fake_guest
