// SPDX-License-Identifier: BSD-3-Clause
// What the tests of this room share: a model that writes down what it is told, and eventfds to listen on.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "vmux/base/le.hpp"
#include "vmux/pci/function.hpp"

namespace vmux::pci::test {

/// Remembers each callback as a word: "w0+4:4" is a write of 4 bytes at offset 4 of BAR 0. Reads answer with the
/// offset's bytes counting up.
class RecordingDevice final : public Device {
 public:
  void read_bar(Region bar, RegionOffset offset, std::span<std::byte> into) noexcept override {
    note('r', bar, offset, into.size());
    for (std::size_t i = 0; i < into.size(); ++i)
      into[i] = static_cast<std::byte>(offset.raw + i);
  }
  void write_bar(Region bar, RegionOffset offset, std::span<const std::byte> from) noexcept override {
    note('w', bar, offset, from.size());
  }
  void shared_written(Region bar, RegionOffset offset, std::size_t size) noexcept override {
    note('s', bar, offset, size);
  }
  void reset(ResetKind kind) noexcept override { log += "reset" + std::to_string(static_cast<int>(kind)) + " "; }
  void bus_master_changed(bool enabled) noexcept override { log += enabled ? "master " : "slave "; }
  void config_written(RegionOffset offset, std::span<const std::byte> bytes) noexcept override {
    note('c', Region::config, offset, bytes.size());
  }
  void attached(bool is_attached) noexcept override { log += is_attached ? "attached " : "detached "; }

  std::string log;

 private:
  void note(char what, Region region, RegionOffset offset, std::size_t size) {
    log += what + std::to_string(static_cast<unsigned>(region)) + "+" + std::to_string(offset.raw) + ":" +
           std::to_string(size) + " ";
  }
};

inline std::unique_ptr<Function> make(FunctionSpec spec, Device& device) {
  auto made = Function::create(std::move(spec), device);
  EXPECT_TRUE(made.has_value()) << (made ? "" : made.error().what);
  return made ? std::move(*made) : nullptr;
}

template <class T>
T get(Function& function, Region region, std::uint64_t offset) {
  Le<T> value;
  EXPECT_TRUE(function.read(region, RegionOffset{offset}, std::as_writable_bytes(std::span{&value, 1})));
  return value;
}
template <class T>
void put(Function& function, Region region, std::uint64_t offset, T value) {
  const Le<T> wire = value;
  EXPECT_TRUE(function.write(region, RegionOffset{offset}, std::as_bytes(std::span{&wire, 1})));
}
template <class T>
T config(Function& function, std::uint64_t offset) {
  return get<T>(function, Region::config, offset);
}
template <class T>
void set_config(Function& function, std::uint64_t offset, T value) {
  put<T>(function, Region::config, offset, value);
}
inline void set_bus_master(Function& function, bool enabled) {
  set_config<std::uint16_t>(function, 4, enabled ? 4 : 0);
}

/// An eventfd with one end here and one for the function.
class Event {
 public:
  Event() : fd_(std::move(*make_eventfd())) {}
  [[nodiscard]] UniqueFd sink() const { return std::move(*fd_.duplicate()); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  std::uint64_t signals() { return drain_eventfd(fd_.get()); }

 private:
  UniqueFd fd_;
};

inline Result<void> set_irqs(Interrupts& interrupts, Irq irq, IrqAction action, std::uint32_t start,
                             std::uint32_t count) {
  IrqRequest request;
  request.irq = irq;
  request.action = action;
  request.start = start;
  request.count = count;
  return interrupts.configure(request);
}
inline Result<void> set_irqs(Interrupts& interrupts, Irq irq, IrqAction action, std::uint32_t start,
                             const std::vector<std::uint8_t>& booleans) {
  IrqRequest request;
  request.irq = irq;
  request.action = action;
  request.data = IrqData::boolean;
  request.start = start;
  request.count = static_cast<std::uint32_t>(booleans.size());
  request.booleans = booleans;
  return interrupts.configure(request);
}
inline Result<void> set_sinks(Interrupts& interrupts, Irq irq, std::uint32_t start, std::uint32_t count,
                              std::vector<UniqueFd> sinks, IrqAction action = IrqAction::trigger) {
  IrqRequest request;
  request.irq = irq;
  request.action = action;
  request.data = IrqData::eventfd;
  request.start = start;
  request.count = count;
  request.eventfds = sinks;
  return interrupts.configure(request);
}
inline std::vector<UniqueFd> fds(const Event& event) {
  std::vector<UniqueFd> list;
  list.push_back(event.sink());
  return list;
}
inline std::vector<UniqueFd> fds(const Event& first, const Event& second) {
  auto list = fds(first);
  list.push_back(second.sink());
  return list;
}

}  // namespace vmux::pci::test
