// SPDX-License-Identifier: BSD-3-Clause
// What the fake guests of all cards have: memory of their own that the card reaches, registers, interrupts as eventfds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "fake_guest/way.hpp"
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
    way_->read(pci::Region::bar0, offset, bytes);
    return load<std::uint32_t>(bytes, 0);
  }
  void write(std::uint32_t offset, std::uint32_t value) {
    std::array<std::byte, 4> bytes{};
    store(std::span{bytes}, 0, value);
    way_->write(pci::Region::bar0, offset, bytes);
  }
  /// Memory and I/O space stay on.
  void set_bus_master(bool enabled) {
    const std::array<std::byte, 2> command{enabled ? std::byte{7} : std::byte{3}, std::byte{0}};
    way_->write(pci::Region::config, 4, command);
  }

  /// Gives this card the guest's memory and interrupts: as a VMM does with the card of a VM that has moved. The one
  /// before may be gone.
  void move_to(Card card) {
    way_ = std::move(card.way);
    auto fd = memory_fd_.duplicate();
    VMUX_ASSERT(fd.has_value());
    way_->give_memory(std::move(*fd), memory_.bytes().size());
    connect_interrupts();
    if (Mapping bar0 = way_->map_bar0(); !bar0.bytes().empty()) bar0_ = std::move(bar0);
  }
  /// The same with other memory, which has what the guest's has: at the same place in this process.
  void move_to(Card card, UniqueFd memory) {
    VMUX_ASSERT(memory_.replace(memory.get(), 0).has_value());
    memory_fd_ = std::move(memory);
    move_to(std::move(card));
  }

  /// This function has the guest's memory and interrupts already, from the one before, and its BAR is the one before's.
  void follow(pci::Function& function) { way_ = std::make_unique<DirectWay>(function); }

  [[nodiscard]] std::span<std::byte> memory() noexcept { return memory_.bytes(); }
  /// Messages of this interrupt since the last call.
  [[nodiscard]] std::uint64_t interrupts(unsigned vector) { return drain_eventfd(interrupts_.at(vector).get()); }

 protected:
  /// Maps `size` bytes at address 0, connects all interrupts of this kind, and lets the card be a bus master.
  Guest(Card card, std::uint64_t size, pci::Irq kind) : kind_(kind) {
    auto fd = make_memfd("fake-guest", size);
    VMUX_ASSERT(fd.has_value());
    memory_fd_ = std::move(*fd);
    auto mapping = Mapping::create(memory_fd_.get(), 0, size, true);
    VMUX_ASSERT(mapping.has_value());
    memory_ = std::move(*mapping);
    for (std::uint32_t i = card.way->count_of(kind_); i > 0; --i) {
      auto event = make_eventfd();
      VMUX_ASSERT(event.has_value());
      interrupts_.push_back(std::move(*event));
    }
    move_to(std::move(card));
    set_bus_master(true);
  }
  ~Guest() { way_->leave(); }

  /// Of BAR 0 what is mapped, as the guest's own client has mapped it.
  [[nodiscard]] std::span<std::byte> bar0() const noexcept { return bar0_.bytes(); }

  std::unique_ptr<Way> way_;
  Mapping memory_;

 private:
  void connect_interrupts() {
    std::vector<UniqueFd> sinks;
    for (const UniqueFd& event : interrupts_) {
      auto sink = event.duplicate();
      VMUX_ASSERT(sink.has_value());
      sinks.push_back(std::move(*sink));
    }
    way_->give_interrupts(kind_, std::move(sinks));
  }

  const pci::Irq kind_;
  UniqueFd memory_fd_;
  Mapping bar0_;
  std::vector<UniqueFd> interrupts_;
};

}  // namespace vmux::fake_guest
