// SPDX-License-Identifier: BSD-3-Clause
// What the fake guests of all cards have: memory of their own that the card reaches, registers, interrupts as eventfds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "vmux/base/assert.hpp"
#include "vmux/base/mapping.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/pci/function.hpp"

namespace vmux::fake_guest {

using Bytes = std::vector<std::byte>;

/// Little endian, like the guests'.
template <class T>
T load(std::span<const std::byte> bytes, std::uint64_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}
template <class T>
void store(std::span<std::byte> bytes, std::uint64_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

class Guest {
 public:
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  // --- registers of BAR 0 ---
  [[nodiscard]] std::uint32_t read(std::uint32_t offset) {
    std::array<std::byte, 4> bytes{};
    VMUX_ASSERT(function_->read(pci::Region::bar0, RegionOffset{offset}, bytes).has_value());
    return load<std::uint32_t>(bytes, 0);
  }
  void write(std::uint32_t offset, std::uint32_t value) {
    std::array<std::byte, 4> bytes{};
    store(std::span{bytes}, 0, value);
    VMUX_ASSERT(function_->write(pci::Region::bar0, RegionOffset{offset}, bytes).has_value());
  }
  /// Memory and I/O space stay on.
  void set_bus_master(bool enabled) {
    const std::array<std::byte, 2> command{enabled ? std::byte{7} : std::byte{3}, std::byte{0}};
    VMUX_ASSERT(function_->write(pci::Region::config, RegionOffset{4}, command).has_value());
  }

  /// Gives this function the guest's memory and interrupts: as a VMM does with the card of a VM that has moved. The one
  /// before may be gone.
  void move_to(pci::Function& function) {
    function_ = &function;
    auto fd = memory_fd_.duplicate();
    VMUX_ASSERT(fd.has_value());
    memory::MapRequest request{Iova{0}, ByteCount{memory_.bytes().size()}, memory::Access::read_write, std::move(*fd),
                               0};
    VMUX_ASSERT(function_->memory().map(std::move(request)).has_value());
    connect_interrupts();
    const pci::RegionInfo bar = function.region(pci::Region::bar0);
    if (bar.fd < 0) return;
    auto mapping = Mapping::create(bar.fd, 0, bar.size, true);
    VMUX_ASSERT(mapping.has_value());
    bar0_ = std::move(*mapping);
  }

  /// This function has the guest's memory and interrupts already, from the one before, and its BAR is the one before's.
  void follow(pci::Function& function) noexcept { function_ = &function; }

  [[nodiscard]] std::span<std::byte> memory() noexcept { return memory_.bytes(); }
  /// Messages of this interrupt since the last call.
  [[nodiscard]] std::uint64_t interrupts(unsigned vector) { return drain_eventfd(interrupts_.at(vector).get()); }

 protected:
  /// Maps `size` bytes at address 0, connects all interrupts of this kind, and lets the card be a bus master.
  Guest(pci::Function& function, std::uint64_t size, pci::Irq kind) : kind_(kind) {
    auto fd = make_memfd("fake-guest", size);
    VMUX_ASSERT(fd.has_value());
    memory_fd_ = std::move(*fd);
    auto mapping = Mapping::create(memory_fd_.get(), 0, size, true);
    VMUX_ASSERT(mapping.has_value());
    memory_ = std::move(*mapping);
    for (std::uint32_t i = 0; i < function.interrupts().info(kind_).count; ++i) {
      auto event = make_eventfd();
      VMUX_ASSERT(event.has_value());
      interrupts_.push_back(std::move(*event));
    }
    move_to(function);
    set_bus_master(true);
  }
  ~Guest() {
    function_->client_gone([] {});
  }

  /// Of BAR 0 what is mapped, as the guest's own client has mapped it.
  [[nodiscard]] std::span<std::byte> bar0() const noexcept { return bar0_.bytes(); }

  pci::Function* function_ = nullptr;
  Mapping memory_;

 private:
  void connect_interrupts() {
    std::vector<UniqueFd> sinks;
    for (const UniqueFd& event : interrupts_) {
      auto sink = event.duplicate();
      VMUX_ASSERT(sink.has_value());
      sinks.push_back(std::move(*sink));
    }
    pci::IrqRequest irq{.irq = kind_,
                        .action = pci::IrqAction::trigger,
                        .data = pci::IrqData::eventfd,
                        .start = 0,
                        .count = static_cast<std::uint32_t>(interrupts_.size()),
                        .booleans = {},
                        .eventfds = sinks};
    VMUX_ASSERT(function_->interrupts().configure(irq).has_value());
  }

  const pci::Irq kind_;
  UniqueFd memory_fd_;
  Mapping bar0_;
  std::vector<UniqueFd> interrupts_;
};

}  // namespace vmux::fake_guest
