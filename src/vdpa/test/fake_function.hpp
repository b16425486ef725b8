// SPDX-License-Identifier: BSD-3-Clause
// For tests: a machine with an IOMMU and virtio functions in it, behind the same seam as the kernel's VFIO. A second
// reading of [VIRTIO] 4.1, from the device's side; nothing of src/vdpa or src/virtio is used. A function reaches only
// what is mapped, and only while it may master the bus.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kvfio/kernel.hpp"
#include "vmux/base/le.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::vdpa::fake {

constexpr std::uint64_t kConfigAt = 7ull << 40;  // as vfio-pci spaces its regions
constexpr unsigned kCommon = 0x0000, kNotify = 0x3000, kDevice = 0x2000, kMultiplier = 4;

/// What an IOMMU knows.
struct Iommu {
  struct Range {
    std::uint64_t size;
    std::byte* host;
  };
  std::map<std::uint64_t, Range> ranges;
  int faults = 0;  // accesses that it refused
  bool can_pin = true;

  std::byte* at(std::uint64_t address, std::uint64_t size) {
    auto next = ranges.upper_bound(address);
    if (next != ranges.begin()) {
      const auto& [start, range] = *std::prev(next);
      if (address - start < range.size && size <= range.size - (address - start)) return range.host + (address - start);
    }
    ++faults;
    return nullptr;
  }
};

struct Piece {
  std::uint64_t at;
  std::uint32_t length;
  bool is_writable;
};
/// A chain that the function has taken and not used yet.
struct Taken {
  std::uint16_t head = 0;
  std::vector<Piece> pieces;
};

/// A card, which outlives each opening of it.
class Card {
 public:
  struct Queue {
    std::uint16_t most = 8, size = 8, vector = 0xffff, enabled = 0;
    std::uint64_t descriptors = 0, driver = 0, device = 0;
    std::uint16_t next = 0, used = 0;
    std::deque<Taken> taken;
    int kicks = 0;
  };

  explicit Card(unsigned kind, unsigned queue_count) : queues(queue_count) {
    config.fill(std::byte{0});
    device_config.fill(std::byte{0});
    put16(0, 0x1af4);
    put16(2, 0x1040 + kind);
    put16(6, 0x10);
    config[0x34] = std::byte{0x40};
    capability(0x40, 0x58, 1, kCommon, 64, 0);
    capability(0x58, 0x70, 2, kNotify, 0x1000, kMultiplier);
    capability(0x70, 0x00, 4, kDevice, 0x100, 0);
  }

  // --- what it is ---
  std::array<std::byte, 256> config;
  std::array<std::byte, 256> device_config;
  std::uint64_t offered = 1ull << 32 | 1ull << 33;
  unsigned vectors = 16;
  std::vector<Queue> queues;
  bool is_net = false;

  // --- how it misbehaves ---
  bool refuses_features = false, keeps_status = false, keeps_bus_master = false, is_answering = true;
  bool is_present = true, answers_commands = true, fails_at_once = false;

  // --- what became of it ---
  std::uint64_t accepted = 0;
  std::uint8_t status = 0, generation = 0;
  std::uint16_t config_vector = 0xffff;
  std::vector<int> sinks;  // by vector
  int err = -1, req = -1;
  int opened = 0, closed = 0, bus_resets = 0, resets = 0;
  std::vector<std::vector<std::uint8_t>> commands;  // of the control queue
  Iommu* iommu = nullptr;
  std::function<void()> on_generation;  // when it is read

  [[nodiscard]] bool masters_bus() const { return (std::to_integer<unsigned>(config[4]) & 4) != 0; }
  [[nodiscard]] bool is_live() const { return masters_bus() && (status & 4) != 0; }
  void put16(unsigned at, unsigned value) {
    config[at] = std::byte(value & 0xff);
    config[at + 1] = std::byte(value >> 8);
  }
  void capability(unsigned at, unsigned next, unsigned type, std::uint32_t offset, std::uint32_t length,
                  std::uint32_t data) {
    config[at] = std::byte{9};
    config[at + 1] = std::byte(next);
    config[at + 2] = std::byte{20};
    config[at + 3] = std::byte(type);
    config[at + 4] = std::byte{0};
    for (unsigned i = 0; i < 4; ++i) {
      config[at + 8 + i] = std::byte(offset >> 8 * i & 0xff);
      config[at + 12 + i] = std::byte(length >> 8 * i & 0xff);
      config[at + 16 + i] = std::byte(data >> 8 * i & 0xff);
    }
  }

  // --- the device's side of its queues ---

  template <class T>
  std::optional<T> load(std::uint64_t at) {
    const std::byte* const from = masters_bus() ? iommu->at(at, sizeof(T)) : nullptr;
    if (from == nullptr) return std::nullopt;
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  template <class T>
  bool store(std::uint64_t at, T value) {
    std::byte* const to = masters_bus() ? iommu->at(at, sizeof(T)) : nullptr;
    if (to != nullptr) std::memcpy(to, &value, sizeof value);
    return to != nullptr;
  }
  /// Takes what is available; how many chains it has then.
  std::size_t fetch(unsigned index) {
    Queue& queue = queues[index];
    if (!is_live() || queue.enabled == 0) return 0;
    const auto available = load<std::uint16_t>(queue.driver + 2);
    if (!available) return queue.taken.size();
    for (; queue.next != *available; ++queue.next) {
      Taken taken;
      taken.head = load<std::uint16_t>(queue.driver + 4 + 2 * (queue.next % queue.size)).value();
      std::uint16_t at = taken.head;
      for (unsigned seen = 0; seen < queue.size; ++seen) {
        const std::uint64_t entry = queue.descriptors + 16ull * at;
        const auto flags = load<std::uint16_t>(entry + 12).value();
        taken.pieces.push_back(
            {load<std::uint64_t>(entry).value(), load<std::uint32_t>(entry + 8).value(), (flags & 2) != 0});
        if ((flags & 1) == 0) break;
        at = load<std::uint16_t>(entry + 14).value();
      }
      queue.taken.push_back(std::move(taken));
    }
    return queue.taken.size();
  }
  /// Is done with the chain at `place` among those that it has: fills what it may write with `fill`.
  void complete(unsigned index, std::size_t place, std::uint8_t fill) {
    Queue& queue = queues[index];
    const Taken taken = queue.taken.at(place);
    queue.taken.erase(queue.taken.begin() + static_cast<std::ptrdiff_t>(place));
    std::uint32_t written = 0;
    for (const Piece& piece : taken.pieces) {
      if (!piece.is_writable) continue;
      std::byte* const to = masters_bus() ? iommu->at(piece.at, piece.length) : nullptr;
      if (to != nullptr) std::memset(to, fill, piece.length);
      written += piece.length;
    }
    use(index, taken.head, written);
  }
  void use(unsigned index, std::uint32_t head, std::uint32_t written) {
    Queue& queue = queues[index];
    const std::uint64_t entry = queue.device + 4 + 8ull * (queue.used % queue.size);
    store(entry, head);
    store(entry + 4, written);
    ++queue.used;
    store(queue.device + 2, queue.used);
    interrupt(queue.vector);
  }
  /// All that is available, in order.
  std::size_t serve(unsigned index, std::uint8_t fill = 0xaa) {
    const std::size_t count = fetch(index);
    for (std::size_t i = 0; i < count; ++i)
      complete(index, 0, fill);
    return count;
  }
  void interrupt(std::uint16_t vector) {
    if (vector < sinks.size() && sinks[vector] >= 0) signal_eventfd(sinks[vector]);
  }
  void config_interrupt() { interrupt(config_vector); }

  // --- registers ---

  std::uint64_t read_common(unsigned at, unsigned size) {
    Queue& queue = queues[std::min<std::size_t>(select_, queues.size() - 1)];
    const bool has_queue = select_ < queues.size();
    switch (at) {
      case 4:
        return static_cast<std::uint32_t>(feature_select_ < 2 ? offered >> (32 * feature_select_) : 0);
      case 16:
        return config_vector;
      case 18:
        return queues.size();
      case 20:
        return status;
      case 21:
        if (on_generation) on_generation();
        return generation;
      case 24:
        return has_queue ? queue.size : 0;
      case 26:
        return queue.vector;
      case 28:
        return queue.enabled;
      case 30:
        return select_;
      default:
        ADD_FAILURE() << "a register is read that no driver needs: " << at << ", " << size;
        return 0;
    }
  }
  void write_common(unsigned at, std::uint64_t value) {
    Queue& queue = queues[std::min<std::size_t>(select_, queues.size() - 1)];
    switch (at) {
      case 0:
        feature_select_ = static_cast<unsigned>(value);
        return;
      case 8:
        driver_select_ = static_cast<unsigned>(value);
        return;
      case 12:
        accepted &= ~(0xffffffffull << (32 * driver_select_));
        accepted |= value << (32 * driver_select_);
        return;
      case 16:
        config_vector = static_cast<std::uint16_t>(value < vectors ? value : 0xffff);
        return;
      case 20:
        return write_status(static_cast<std::uint8_t>(value));
      case 22:
        select_ = static_cast<unsigned>(value);
        return;
      case 24:
        queue.size = static_cast<std::uint16_t>(value);
        return;
      case 26:
        queue.vector = static_cast<std::uint16_t>(value < vectors ? value : 0xffff);
        return;
      case 28:
        EXPECT_EQ(value, 1u);
        EXPECT_EQ(status & 4, 0) << "a queue is enabled behind DRIVER_OK";
        queue.enabled = 1;
        return;
      default:
        break;
    }
    const unsigned field = at & ~4u;
    std::uint64_t* const address = field == 32   ? &queue.descriptors
                                   : field == 40 ? &queue.driver
                                   : field == 48 ? &queue.device
                                                 : nullptr;
    ASSERT_NE(address, nullptr) << at;
    const unsigned shift = (at & 4) != 0 ? 32 : 0;
    *address = (*address & ~(0xffffffffull << shift)) | value << shift;
  }
  void write_status(std::uint8_t value) {
    if (value == 0) {
      ++resets;
      if (keeps_status) return;
      forget();
      return;
    }
    status = value;
    if (fails_at_once && (value & 4) != 0) status |= 64;
    if (refuses_features) status &= static_cast<std::uint8_t>(~8u);
  }
  void forget() {
    status = 0;
    accepted = 0;
    config_vector = 0xffff;
    for (Queue& queue : queues)
      queue = {.most = queue.most, .size = queue.most, .kicks = queue.kicks};
  }
  void kick(unsigned index) {
    ASSERT_LT(index, queues.size());
    ++queues[index].kicks;
    if (!is_net || index + 1 != queues.size() || !answers_commands) return;
    fetch(index);
    while (!queues[index].taken.empty()) {
      const Piece question = queues[index].taken.front().pieces.at(0);
      std::vector<std::uint8_t> bytes(question.length);
      std::memcpy(bytes.data(), iommu->at(question.at, question.length), question.length);
      commands.push_back(bytes);
      complete(index, 0, 0);
    }
  }

 private:
  unsigned feature_select_ = 0, driver_select_ = 0, select_ = 0;
};

class OpenDevice final : public kvfio::KernelDevice {
 public:
  explicit OpenDevice(Card& card) : card_(card) {
    ++card.opened;
    clear_bus_master();
  }
  // The kernel takes it off the bus and resets it.
  ~OpenDevice() override {
    ++card_.closed;
    card_.sinks.clear();
    card_.err = card_.req = -1;
    clear_bus_master();
    card_.forget();
  }
  [[nodiscard]] int fd() const noexcept override { return -1; }
  [[nodiscard]] bool is_resettable() const noexcept override { return true; }
  [[nodiscard]] kvfio::RegionFacts region(pci::Region region) const override {
    if (region == pci::Region::bar0) return {0x4000, 0, true, true, {}};
    if (region == pci::Region::config) return {256, kConfigAt, true, true, {}};
    return {};
  }
  [[nodiscard]] pci::IrqInfo irq(pci::Irq irq) const override {
    if (irq == pci::Irq::msix) return {card_.vectors, true, false, false, true};
    if (irq == pci::Irq::err || irq == pci::Irq::req) return {1, true, false, false, true};
    return {};
  }
  [[nodiscard]] Result<void> read(std::uint64_t offset, std::span<std::byte> into) noexcept override {
    if (!card_.is_answering) return fail(Errc::system, "no answer", EIO);
    if (offset >= kConfigAt) {
      std::memcpy(into.data(), card_.config.data() + (offset - kConfigAt), into.size());
    } else if (offset >= kDevice) {
      std::memcpy(into.data(), card_.device_config.data() + (offset - kDevice), into.size());
    } else {
      EXPECT_TRUE(has_memory_space());
      const std::uint64_t value = card_.read_common(static_cast<unsigned>(offset), static_cast<unsigned>(into.size()));
      std::memcpy(into.data(), &value, into.size());
    }
    return {};
  }
  [[nodiscard]] Result<void> write(std::uint64_t offset, std::span<const std::byte> from) noexcept override {
    if (!card_.is_answering) return fail(Errc::system, "no answer", EIO);
    std::uint64_t value = 0;
    std::memcpy(&value, from.data(), std::min<std::size_t>(from.size(), 8));
    if (offset >= kConfigAt) {
      const bool was_master = card_.masters_bus();
      std::memcpy(card_.config.data() + (offset - kConfigAt), from.data(), from.size());
      if (was_master && card_.keeps_bus_master) card_.config[4] |= std::byte{4};
    } else if (offset >= kNotify) {
      EXPECT_EQ((offset - kNotify) / kMultiplier, value);
      card_.kick(static_cast<unsigned>(value));
    } else if (offset >= kDevice) {
      std::memcpy(card_.device_config.data() + (offset - kDevice), from.data(), from.size());
    } else {
      card_.write_common(static_cast<unsigned>(offset), value);
    }
    return {};
  }
  [[nodiscard]] Result<void> set_irqs(const kvfio::IrqCall& call) noexcept override {
    if (call.irq == pci::Irq::err) card_.err = call.eventfds[0];
    if (call.irq == pci::Irq::req) card_.req = call.eventfds[0];
    if (call.irq != pci::Irq::msix) return {};
    EXPECT_LE(call.start + call.count, card_.vectors);
    if (card_.sinks.empty()) {
      EXPECT_EQ(call.start, 0u) << "vectors are added to live ones";
      card_.sinks.assign(call.count, -1);
    }
    std::copy(call.eventfds.begin(), call.eventfds.end(), card_.sinks.begin() + call.start);
    return {};
  }
  [[nodiscard]] Result<void> reset() noexcept override {
    ++card_.bus_resets;
    clear_bus_master();
    card_.keeps_status = false;
    card_.forget();
    return {};
  }

 private:
  void clear_bus_master() { card_.config[4] &= std::byte{0xfb}; }
  [[nodiscard]] bool has_memory_space() const { return (std::to_integer<unsigned>(card_.config[4]) & 2) != 0; }
  Card& card_;
};

/// One IOMMU domain for all: a test has one VM.
class Machine final : public kvfio::Kernel {
 public:
  std::map<std::string, Card> cards;
  Iommu iommu;
  int domains = 0;

  [[nodiscard]] Result<std::unique_ptr<kvfio::KernelDomain>> open_domain(unsigned) override {
    ++domains;
    return std::make_unique<Domain>(*this);
  }
  // A function is set up anew by whoever goes on with its VM's rings: nothing of a domain is handed on.
  [[nodiscard]] Result<std::unique_ptr<kvfio::KernelDomain>> adopt_domain(unsigned, const state::FdBag&) override {
    return fail(Errc::not_supported, "domains are not handed on");
  }
  [[nodiscard]] bool can_adopt() const noexcept override { return false; }

 private:
  class Domain final : public kvfio::KernelDomain {
   public:
    explicit Domain(Machine& machine) : machine_(machine) {}
    ~Domain() override {
      --machine_.domains;
      machine_.iommu.ranges.clear();
    }
    [[nodiscard]] Result<std::unique_ptr<kvfio::KernelDevice>> open(const std::string& address) override {
      const auto card = machine_.cards.find(address);
      if (card == machine_.cards.end() || !card->second.is_present) return fail(Errc::system, "no such device", ENODEV);
      card->second.iommu = &machine_.iommu;
      return std::make_unique<OpenDevice>(card->second);
    }
    [[nodiscard]] Result<void> map(Iova start, ByteCount size, const std::byte* host,
                                   memory::Access) noexcept override {
      if (!machine_.iommu.can_pin) return fail(Errc::no_space, "memory cannot be pinned", ENOMEM);
      machine_.iommu.ranges[start.raw] = {size.raw, const_cast<std::byte*>(host)};
      return {};
    }
    [[nodiscard]] Result<void> unmap(Iova start, ByteCount size) noexcept override {
      auto& ranges = machine_.iommu.ranges;
      for (auto at = ranges.lower_bound(start.raw); at != ranges.end() && at->first - start.raw < size.raw;)
        at = ranges.erase(at);
      return {};
    }
    [[nodiscard]] Result<void> record(state::FdBag&) const override {
      return fail(Errc::not_supported, "domains are not handed on");
    }
    [[nodiscard]] Result<std::unique_ptr<kvfio::KernelDevice>> adopt(const std::string&, UniqueFd) override {
      return fail(Errc::not_supported, "devices are not handed on");
    }

   private:
    Machine& machine_;
  };
};

}  // namespace vmux::vdpa::fake
