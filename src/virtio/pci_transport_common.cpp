// SPDX-License-Identifier: BSD-3-Clause
// The common configuration structure ([VIRTIO] 4.1.4.3), and how it is saved and loaded.
#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "base/text/format.hpp"
#include "virtio/pci_transport.hpp"
#include "vmux/memory/ordered.hpp"

namespace vmux::virtio {
namespace {

namespace wv = wire::virtio;
namespace common = wv::pci::common;

template <class T>
void put(std::span<std::byte> into, std::uint32_t at, T value) noexcept {
  const Le<T> wire{value};
  std::memcpy(into.data() + at, &wire, sizeof wire);
}

std::uint32_t word_of(std::uint64_t features, std::uint32_t select) noexcept {
  return select < 2 ? static_cast<std::uint32_t>(features >> (32 * select)) : 0;
}

}  // namespace

std::uint64_t PciTransport::offered() const noexcept { return device_.features() | wv::feature::version_1; }

bool PciTransport::is_running() const noexcept {
  constexpr std::uint8_t kReady = wv::status::features_ok | wv::status::driver_ok;
  return (registers_.status & kReady) == kReady;
}

std::array<std::byte, common::end> PciTransport::common_registers() const noexcept {
  std::array<std::byte, common::end> made{};
  put(made, common::device_feature_select, registers_.device_feature_select);
  put(made, common::device_feature, word_of(offered(), registers_.device_feature_select));
  put(made, common::driver_feature_select, registers_.driver_feature_select);
  put(made, common::driver_feature, word_of(registers_.driver_features, registers_.driver_feature_select));
  put(made, common::config_msix_vector, static_cast<std::uint16_t>(vector_of(kMaxQueues)));
  put(made, common::num_queues, static_cast<std::uint16_t>(count_));
  put(made, common::device_status, registers_.status);
  put(made, common::config_generation, registers_.generation);
  put(made, common::queue_select, registers_.queue_select);
  if (is_selected()) show_queue(made);
  return made;
}

void PciTransport::show_queue(std::span<std::byte> into) const noexcept {
  const unsigned number = registers_.queue_select;
  const QueueRegisters& queue = queues_[number];
  put(into, common::queue_size, queue.size);
  put(into, common::queue_msix_vector, static_cast<std::uint16_t>(vector_of(number)));
  put(into, common::queue_enable, static_cast<std::uint16_t>(queue.is_enabled ? 1 : 0));
  put(into, common::queue_notify_off, static_cast<std::uint16_t>(device_.is_control(number) ? data_pages() : number));
  put(into, common::queue_desc, queue.descriptors.raw);
  put(into, common::queue_driver, queue.driver.raw);
  put(into, common::queue_device, queue.device.raw);
  put(into, common::queue_notif_config_data, static_cast<std::uint16_t>(number));
}

// Registers that a driver writes; a wider access writes all that it covers.
void PciTransport::write_common(std::uint32_t at, std::span<const std::byte> from) noexcept {
  struct Row {
    std::uint32_t at, size;
    void (*write)(PciTransport&, std::uint32_t);
  };
  using Self = PciTransport;
  using OfQueue = QueueRegisters;
  static constexpr Row kRows[] = {
      {common::device_feature_select, 4,
       [](Self& self, std::uint32_t v) { self.registers_.device_feature_select = v; }},
      {common::driver_feature_select, 4,
       [](Self& self, std::uint32_t v) { self.registers_.driver_feature_select = v; }},
      {common::driver_feature, 4, [](Self& self, std::uint32_t v) { self.write_driver_features(v); }},
      {common::config_msix_vector, 2,
       [](Self& self, std::uint32_t v) { self.set_vector(kMaxQueues, self.valid_vector(v)); }},
      {common::device_status, 1, [](Self& self, std::uint32_t v) { self.write_status(static_cast<std::uint8_t>(v)); }},
      {common::queue_select, 2,
       [](Self& self, std::uint32_t v) { self.registers_.queue_select = static_cast<std::uint16_t>(v); }},
      {common::queue_size, 2, [](Self& self, std::uint32_t v) { self.write_size(v); }},
      {common::queue_msix_vector, 2,
       [](Self& self, std::uint32_t v) {
         if (self.is_selected()) self.set_vector(self.registers_.queue_select, self.valid_vector(v));
       }},
      {common::queue_enable, 2,
       [](Self& self, std::uint32_t v) {
         if (v == 1) self.enable_queue();
       }},
      {common::queue_desc, 4, [](Self& self, std::uint32_t v) { self.write_address(&OfQueue::descriptors, false, v); }},
      {common::queue_desc + 4, 4,
       [](Self& self, std::uint32_t v) { self.write_address(&OfQueue::descriptors, true, v); }},
      {common::queue_driver, 4, [](Self& self, std::uint32_t v) { self.write_address(&OfQueue::driver, false, v); }},
      {common::queue_driver + 4, 4, [](Self& self, std::uint32_t v) { self.write_address(&OfQueue::driver, true, v); }},
      {common::queue_device, 4, [](Self& self, std::uint32_t v) { self.write_address(&OfQueue::device, false, v); }},
      {common::queue_device + 4, 4, [](Self& self, std::uint32_t v) { self.write_address(&OfQueue::device, true, v); }},
      {common::queue_reset, 2,
       [](Self& self, std::uint32_t v) {
         if (v == 1) self.reset_queue();
       }},
  };
  function_->note_change();
  for (const Row& row : kRows) {
    if (row.at < at || row.at + row.size > at + from.size()) continue;
    Le<std::uint32_t> value;
    std::memcpy(&value, from.data() + (row.at - at), row.size);
    row.write(*this, value);
  }
}

void PciTransport::write_driver_features(std::uint32_t value) noexcept {
  const std::uint32_t select = registers_.driver_feature_select;
  if (select > 1 || (registers_.status & wv::status::features_ok) != 0) return;
  const unsigned shift = 32 * select;
  registers_.driver_features &= ~(std::uint64_t{0xffff'ffff} << shift);
  registers_.driver_features |= std::uint64_t{value} << shift;
}

bool PciTransport::are_features_fine() noexcept {
  const std::uint64_t wanted = registers_.driver_features;
  if ((wanted & ~offered()) != 0 || !has(wv::feature::version_1)) return false;
  if (!device_.accept(wanted)) return false;
  offer_sizes();
  return true;
}

// 3.1.1: bits are set one after the other; only a reset clears them.
void PciTransport::write_status(std::uint8_t value) noexcept {
  namespace status = wv::status;
  if (value == 0) return forget_driver(false);
  const bool was_running = is_running();
  const bool asks = (value & status::features_ok) != 0 && (registers_.status & status::features_ok) == 0;
  if (asks && !are_features_fine()) value = static_cast<std::uint8_t>(value & ~status::features_ok);
  registers_.status = static_cast<std::uint8_t>(registers_.status | value);
  if (was_running || !is_running()) return;
  for (unsigned queue = 0; queue < count_; ++queue) {
    if (queues_[queue].is_enabled) start(queue, {});
  }
}

void PciTransport::write_size(std::uint32_t value) noexcept {
  if (!is_selected() || queues_[registers_.queue_select].is_enabled) return;
  const bool has_right_size = has(wv::feature::ring_packed) || std::has_single_bit(value);
  const std::uint16_t most = device_.max_size(registers_.queue_select);
  if (value > 0 && value <= most && has_right_size)
    queues_[registers_.queue_select].size = static_cast<std::uint16_t>(value);
}

void PciTransport::write_address(Iova QueueRegisters::*address, bool is_high, std::uint32_t value) noexcept {
  if (!is_selected() || queues_[registers_.queue_select].is_enabled) return;
  std::uint64_t& raw = (queues_[registers_.queue_select].*address).raw;
  raw = is_high ? (raw & 0xffff'ffff) | std::uint64_t{value} << 32 : (raw & ~std::uint64_t{0xffff'ffff}) | value;
}

std::uint32_t PciTransport::valid_vector(std::uint32_t value) const noexcept {
  return value <= count_ ? value : wv::pci::kNoVector;
}

QueueSetup PciTransport::setup_of(const QueueRegisters& registers) const noexcept {
  return {.descriptors = registers.descriptors,
          .driver = registers.driver,
          .device = registers.device,
          .size = registers.size,
          .is_packed = has(wv::feature::ring_packed),
          .has_event_idx = has(wv::feature::event_idx),
          .has_indirect = has(wv::feature::indirect_desc)};
}

void PciTransport::enable_queue() noexcept {
  if (!is_selected() || (registers_.status & wv::status::features_ok) == 0) return;
  QueueRegisters& queue = queues_[registers_.queue_select];
  if (queue.is_enabled || !can_be(setup_of(queue))) return;
  queue.is_enabled = true;
  if (is_running()) start(registers_.queue_select, {});
}

// 2.6.1: when the write is answered it is done, so both registers read 0.
void PciTransport::reset_queue() noexcept {
  if (!is_selected() || !has(wv::feature::ring_reset)) return;
  QueueRegisters& queue = queues_[registers_.queue_select];
  if (queue.is_enabled && is_running()) static_cast<void>(device_.stop_queue(registers_.queue_select));
  queue = {.size = device_.max_size(registers_.queue_select)};
}

void PciTransport::start(unsigned queue, const QueueState& state) noexcept {
  device_.start_queue(queue, setup_of(queues_[queue]), state);
}

void PciTransport::offer_sizes() noexcept {
  for (unsigned queue = 0; queue < count_; ++queue) {
    if (!queues_[queue].is_enabled) queues_[queue].size = device_.max_size(queue);
  }
}

void PciTransport::forget_driver(bool client_gone) noexcept {
  device_.reset(client_gone);
  registers_ = {};
  queues_ = {};
  for (unsigned slot = 0; slot < vectors_.size(); ++slot)
    set_vector(slot, wv::pci::kNoVector);
  offer_sizes();
  static_cast<void>(read_isr());
}

// --- saved state ---

struct PciTransport::SavedState {
  static constexpr std::string_view kSection = "virtio.pci";
  static constexpr std::uint16_t kVersion = 1;

  struct Queue {
    QueueRegisters registers;
    std::uint32_t vector = wv::pci::kNoVector;
    QueueState state;  // of one that runs
    static void describe(auto& fields, auto& self) {
      fields("queue.size", self.registers.size);
      fields("queue.is_enabled", self.registers.is_enabled);
      fields("queue.descriptors", self.registers.descriptors);
      fields("queue.driver", self.registers.driver);
      fields("queue.device", self.registers.device);
      fields("queue.vector", self.vector);
      fields("queue.state", self.state);
    }
  };
  Registers registers;
  std::uint32_t config_vector = wv::pci::kNoVector, isr = 0;
  Window window;
  std::vector<Queue> queues;

  static void describe(auto& fields, auto& self) {
    fields("device_feature_select", self.registers.device_feature_select);
    fields("driver_feature_select", self.registers.driver_feature_select);
    fields("driver_features", self.registers.driver_features);
    fields("queue_select", self.registers.queue_select);
    fields("status", self.registers.status);
    fields("generation", self.registers.generation);
    fields("config_vector", self.config_vector);
    fields("isr", self.isr);
    fields("window.bar", self.window.bar);
    fields("window.offset", self.window.offset);
    fields("window.length", self.window.length);
    fields.list("queues", self.queues, kMaxQueues);
  }
};

void PciTransport::save(state::Writer& into) const {
  SavedState saved{.registers = registers_, .config_vector = vector_of(kMaxQueues), .isr = isr_, .window = window()};
  for (unsigned queue = 0; queue < count_; ++queue) {
    const bool runs = is_running() && queues_[queue].is_enabled;
    saved.queues.push_back({queues_[queue], vector_of(queue), runs ? device_.queue_state(queue) : QueueState{}});
  }
  into.add(saved);
  device_.save(into);
}

tl::expected<void, std::string> PciTransport::load(state::Reader& from) {
  SavedState saved;
  if (auto read = from.load(saved); !read) return read;
  const auto refuse = [](const char* why) { return tl::unexpected(fmt::format("{} {}", SavedState::kSection, why)); };
  if (const char* const problem = problem_of(saved)) return refuse(problem);
  if ((saved.registers.status & wv::status::features_ok) != 0 && !device_.accept(saved.registers.driver_features)) {
    return refuse("has features that do not go together");
  }
  for (unsigned queue = 0; queue < count_; ++queue) {
    const std::uint16_t size = saved.queues[queue].registers.size, most = device_.max_size(queue);
    if (size > most || (size == 0 && most != 0)) {
      return refuse("has a queue of a size that there cannot be");
    }
  }
  restore(saved);
  return device_.load(from);
}

const char* PciTransport::problem_of(const SavedState& saved) const noexcept {
  namespace status = wv::status;
  if (saved.queues.size() != count_) return "has another number of queues";
  const std::uint64_t features = saved.registers.driver_features;
  const std::uint8_t reached = saved.registers.status;
  const bool is_agreed = (reached & status::features_ok) != 0;
  if (is_agreed && ((features & ~offered()) != 0 || (features & wv::feature::version_1) == 0)) {
    return "has features that are not offered";
  }
  const auto is_vector = [this](std::uint32_t vector) { return vector == valid_vector(vector); };
  if (!is_vector(saved.config_vector) || saved.isr > (wv::pci::kIsrQueue | wv::pci::kIsrConfig)) {
    return "has an interrupt that there is not";
  }
  for (const SavedState::Queue& queue : saved.queues) {
    if (!is_vector(queue.vector)) return "has an interrupt that there is not";
    if (!queue.registers.is_enabled) continue;
    QueueSetup setup = setup_of(queue.registers);
    setup.is_packed = (features & wv::feature::ring_packed) != 0;
    if (!is_agreed || !can_be(setup) || !can_be(setup, queue.state)) return "has a queue that there cannot be";
  }
  return nullptr;
}

void PciTransport::restore(const SavedState& saved) noexcept {
  registers_ = saved.registers;
  set_vector(kMaxQueues, saved.config_vector);
  set_window(saved.window);
  memory::store_release32(std::as_writable_bytes(std::span{&isr_, 1}), 0, saved.isr);
  for (unsigned queue = 0; queue < count_; ++queue) {
    queues_[queue] = saved.queues[queue].registers;
    set_vector(queue, saved.queues[queue].vector);
    if (is_running() && queues_[queue].is_enabled) start(queue, saved.queues[queue].state);
  }
}

}  // namespace vmux::virtio
