// SPDX-License-Identifier: BSD-3-Clause
#include "vdpa/function.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "vmux/base/clock.hpp"
#include "vmux/memory/ordered.hpp"
#include "wire/pci.hpp"
#include "wire/virtio.hpp"

namespace vmux::vdpa {
namespace {

namespace wp = wire::pci;
namespace wv = wire::virtio;
namespace common = wv::pci::common;
namespace status_bit = wv::status;
using pci::Region;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kResetWithin_ns = 3'000'000'000;  // a function of a smart NIC takes its time
constexpr auto kBetweenLooks = std::chrono::milliseconds{1};
constexpr unsigned kQuickLooks = 100;        // emulated ones, and most of silicon, are done by then
constexpr std::uint32_t kCommonNeeded = 56;  // [VIRTIO] 4.1.4.3: up to the addresses of a queue
constexpr unsigned kConfigTries = 100;       // a configuration that changes that often is none

/// Fields of more than a byte in the configuration of a kind (5.1.4, 5.2.4); those of 64 bits are read as two of 32. A
/// field is accessed with its own width (4.1.3.1).
struct Field {
  std::uint8_t offset, width;
};
constexpr auto kNetFields = std::to_array<Field>({{6, 2}, {8, 2}, {10, 2}, {12, 4}, {18, 2}, {20, 4}});
constexpr auto kBlkFields = std::to_array<Field>({{0, 4},
                                                  {4, 4},
                                                  {8, 4},
                                                  {12, 4},
                                                  {16, 2},
                                                  {20, 4},
                                                  {26, 2},
                                                  {28, 4},
                                                  {34, 2},
                                                  {36, 4},
                                                  {40, 4},
                                                  {44, 4},
                                                  {48, 4},
                                                  {52, 4}});

std::size_t width_at(std::uint16_t kind, std::size_t offset) noexcept {
  const std::span<const Field> fields = kind == wv::net::kDevice   ? std::span<const Field>{kNetFields}
                                        : kind == wv::blk::kDevice ? std::span<const Field>{kBlkFields}
                                                                   : std::span<const Field>{};
  const auto field = std::ranges::find_if(fields, [offset](const Field& each) { return each.offset == offset; });
  return field == fields.end() ? 1 : field->width;
}

template <class T>
T load(std::span<const std::byte> bytes, std::size_t at) noexcept {
  Le<T> value{};
  if (at <= bytes.size() && bytes.size() - at >= sizeof value) std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

}  // namespace

template <class T>
Result<T> Function::get(const Structure& from, std::uint64_t offset) noexcept {
  if (!fits(offset, sizeof(T), from.length))
    return fail(Errc::out_of_range, "a register that the function has not got");
  Le<T> value{};
  if (auto done = device_->read(from.at + offset, std::as_writable_bytes(std::span{&value, 1})); !done)
    return tl::unexpected(done.error());
  return T{value};
}

template <class T>
Result<void> Function::put(const Structure& into, std::uint64_t offset, T value) noexcept {
  if (!fits(offset, sizeof(T), into.length))
    return fail(Errc::out_of_range, "a register that the function has not got");
  const Le<T> wire = value;
  return device_->write(into.at + offset, std::as_bytes(std::span{&wire, 1}));
}

// [VIRTIO] 4.1.3.1: a driver writes 64-bit fields as two of 32.
Result<void> Function::put_address(std::uint64_t offset, Iova address) noexcept {
  if (auto done = put(*common_, offset, static_cast<std::uint32_t>(address.raw)); !done) return done;
  return put(*common_, offset + 4, static_cast<std::uint32_t>(address.raw >> 32));
}

Result<std::unique_ptr<Function>> Function::create(std::unique_ptr<kvfio::KernelDevice> device) {
  std::unique_ptr<Function> function{new Function(std::move(device))};
  if (auto found = function->find_structures(); !found) return tl::unexpected(found.error());
  // Its memory space may be off, and nothing of it answers then.
  if (auto done = function->set_bus_master(false); !done) return tl::unexpected(done.error());
  if (auto done = function->stop(); !done) return tl::unexpected(done.error());
  if (auto enabled = function->enable_vectors(); !enabled) return tl::unexpected(enabled.error());
  Structure& registers = *function->common_;
  for (std::uint32_t half = 0; half < 2; ++half) {
    if (auto done = function->put(registers, common::device_feature_select, half); !done)
      return tl::unexpected(done.error());
    const auto word = function->get<std::uint32_t>(registers, common::device_feature);
    if (!word) return tl::unexpected(word.error());
    function->features_ |= std::uint64_t{*word} << (32 * half);
  }
  if ((function->features_ & wv::feature::version_1) == 0) {
    return fail(Errc::not_supported, "a virtio function without VERSION_1");
  }
  const auto queues = function->get<std::uint16_t>(registers, common::num_queues);
  if (!queues) return tl::unexpected(queues.error());
  function->queues_ = std::min<unsigned>(*queues, kMostQueues);
  return function;
}

// --- where everything is ---

Result<void> Function::find_structures() {
  const kvfio::RegionFacts facts = device_->region(Region::config);
  if (facts.size < wp::kConfigSize) return fail(Errc::not_supported, "a device without PCI configuration space");
  config_at_ = facts.offset;
  std::array<std::byte, wp::kConfigSize> config{};
  if (auto got = device_->read(config_at_, config); !got) return got;
  const auto vendor = load<std::uint16_t>(config, offsetof(wp::Type0Header, vendor_id));
  const auto id = load<std::uint16_t>(config, offsetof(wp::Type0Header, device_id));
  if (vendor != wv::pci::kVendor) return fail(Errc::not_supported, "a device that is no virtio function");
  // 4.1.2.1: a transitional function has its kind in the subsystem's number.
  const bool is_modern = id >= wv::pci::kFirstDevice;
  kind_ = is_modern ? static_cast<std::uint16_t>(id - wv::pci::kFirstDevice)
                    : load<std::uint16_t>(config, offsetof(wp::Type0Header, subsystem_id));
  std::size_t at = std::to_integer<std::uint8_t>(config[offsetof(wp::Type0Header, capabilities)]) & 0xfcu;
  for (std::size_t seen = 0; at >= wp::kFirstCapability && seen < wp::kConfigSize / 4; ++seen) {
    if (std::to_integer<std::uint8_t>(config[at]) == static_cast<std::uint8_t>(wp::CapabilityId::vendor_specific)) {
      if (auto taken = take_structure(config, at); !taken) return taken;
    }
    at = std::to_integer<std::uint8_t>(config[at + 1]) & 0xfcu;
  }
  if (!common_ || !notify_) return fail(Errc::not_supported, "a virtio function of before version 1");
  if (common_->length < kCommonNeeded) return fail(Errc::not_supported, "a virtio function with too few registers");
  return {};
}

// The first of each type that can be used counts (4.1.4).
Result<void> Function::take_structure(std::span<const std::byte> config, std::size_t at) {
  namespace capability = wv::pci::capability;
  const auto type = load<std::uint8_t>(config, at + 3);
  const auto bar = load<std::uint8_t>(config, at + capability::bar);
  if (bar > 5) return {};  // reserved
  const kvfio::RegionFacts facts = device_->region(static_cast<Region>(bar));
  Structure found{.length = load<std::uint32_t>(config, at + capability::length),
                  .bar = bar,
                  .in_bar = load<std::uint32_t>(config, at + capability::offset)};
  if (found.length == 0 || !fits(found.in_bar, found.length, facts.size)) return {};
  found.at = facts.offset + found.in_bar;
  switch (static_cast<wv::pci::Structure>(type)) {
    case wv::pci::Structure::common:
      if (!common_) common_ = found;
      break;
    case wv::pci::Structure::notify:
      if (notify_) break;
      notify_ = found;
      notify_multiplier_ = load<std::uint32_t>(config, at + capability::data);
      break;
    case wv::pci::Structure::device:
      if (!config_) config_ = found;
      break;
    default:
      break;
  }
  return {};
}

// All at once: kernels before 6.5 add none to vectors that are enabled.
Result<void> Function::enable_vectors() {
  vectors_ = device_->irq(pci::Irq::msix).count;
  if (vectors_ == 0) return fail(Errc::not_supported, "a virtio function without MSI-X");
  vectors_ = std::min(vectors_, kMostQueues + 1);
  const std::vector<int> none(vectors_, -1);
  const kvfio::IrqCall call{pci::Irq::msix, pci::IrqAction::trigger, pci::IrqData::eventfd, 0, vectors_, none, {}};
  return device_->set_irqs(call);
}

Result<void> Function::listen(unsigned vector, int eventfd) noexcept {
  if (vector >= vectors_) return fail(Errc::out_of_range, "a vector that the function has not got");
  const kvfio::IrqCall call{
      pci::Irq::msix, pci::IrqAction::trigger, pci::IrqData::eventfd, vector, 1, {&eventfd, 1}, {}};
  return device_->set_irqs(call);
}

// --- its configuration ---

Result<void> Function::read_fields(std::size_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const std::size_t width = width_at(kind_, offset);
    const std::size_t step = width <= into.size() ? width : 1;
    if (auto done = device_->read(config_->at + offset, into.first(step)); !done) return done;
    into = into.subspan(step);
    offset += step;
  }
  return {};
}

// 4.1.3.1, 2.5.1: fields of several registers may change between two reads.
Result<void> Function::read_config(std::size_t offset, std::span<std::byte> into) {
  std::ranges::fill(into, std::byte{0});
  if (!config_ || offset >= config_->length) return {};
  const auto part = into.first(std::min<std::size_t>(into.size(), config_->length - offset));
  for (unsigned tries = 0; tries < kConfigTries; ++tries) {
    const auto before = get<std::uint8_t>(*common_, common::config_generation);
    if (!before) return tl::unexpected(before.error());
    if (auto done = read_fields(offset, part); !done) return done;
    const auto after = get<std::uint8_t>(*common_, common::config_generation);
    if (!after) return tl::unexpected(after.error());
    if (*before == *after) return {};
  }
  return fail(Errc::timed_out, "the function's configuration does not keep still");
}

Result<void> Function::write_config(std::size_t offset, std::span<const std::byte> from) {
  if (!config_) return fail(Errc::out_of_range, "a function without configuration");
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (auto done = put(*config_, offset + i, std::to_integer<std::uint8_t>(from[i])); !done) return done;
  }
  return {};
}

// --- its life ---

// "The driver SHOULD wait for ... device_status to read 0" (4.1.4.3.2).
Result<void> Function::reset() noexcept {
  if (auto done = put(*common_, common::device_status, std::uint8_t{0}); !done) return done;
  const std::uint64_t until = monotonic_ns() + kResetWithin_ns;
  for (unsigned looks = 0;; ++looks) {
    const auto status = get<std::uint8_t>(*common_, common::device_status);
    if (!status) return tl::unexpected(status.error());
    if (*status == 0) return {};
    if (*status == 0xff || monotonic_ns() >= until) return fail(Errc::timed_out, "the function does not reset itself");
    if (looks >= kQuickLooks) std::this_thread::sleep_for(kBetweenLooks);
  }
}

Result<void> Function::set_bus_master(bool is_on) noexcept {
  const std::uint64_t at = config_at_ + offsetof(wp::Type0Header, command);
  Le<std::uint16_t> command{};
  const auto bytes = std::as_writable_bytes(std::span{&command, 1});
  if (auto got = device_->read(at, bytes); !got) return got;
  // A PF's registers answer only while its memory space is on; VFIO keeps a VF's for it.
  auto wanted = static_cast<std::uint16_t>(wp::command::memory_space::set(std::uint16_t{command}, 1));
  wanted = static_cast<std::uint16_t>(wp::command::bus_master::set(wanted, is_on ? 1 : 0));
  command = wanted;
  if (auto put = device_->write(at, bytes); !put) return put;
  if (auto got = device_->read(at, bytes); !got) return got;
  if (wp::command::bus_master::is_set(std::uint16_t{command}) != is_on)
    return fail(Errc::system, "the function's bus mastering does not change");
  return {};
}

// A reset lets it finish what it is about. Where it does not come, what it thinks of its queues goes with one by the
// bus, and it has no way to memory meanwhile.
Result<void> Function::stop() noexcept {
  const auto gentle = reset();
  if (auto off = set_bus_master(false); !off) return off;
  if (gentle) return {};
  if (auto done = device_->reset(); !done) return done;
  if (auto off = set_bus_master(false); !off) return off;
  return reset();
}

Result<void> Function::negotiate(std::uint64_t features) {
  if (auto done = stop(); !done) return done;
  const auto set_status = [this](unsigned value) {
    return put(*common_, common::device_status, static_cast<std::uint8_t>(value));
  };
  unsigned status = status_bit::acknowledge;
  if (auto done = set_status(status); !done) return done;
  if (auto done = set_status(status |= status_bit::driver); !done) return done;
  for (std::uint32_t half = 0; half < 2; ++half) {
    if (auto done = put(*common_, common::driver_feature_select, half); !done) return done;
    const auto word = static_cast<std::uint32_t>(features >> (32 * half));
    if (auto done = put(*common_, common::driver_feature, word); !done) return done;
  }
  if (auto done = set_status(status |= status_bit::features_ok); !done) return done;
  const auto now = get<std::uint8_t>(*common_, common::device_status);
  if (!now) return tl::unexpected(now.error());
  if ((*now & status_bit::features_ok) == 0) return fail(Errc::not_supported, "the function refuses these features");
  return set_bus_master(true);
}

Result<std::uint16_t> Function::max_size(unsigned queue) {
  if (queue >= queues_) return std::uint16_t{0};
  if (auto done = put(*common_, common::queue_select, static_cast<std::uint16_t>(queue)); !done)
    return tl::unexpected(done.error());
  return get<std::uint16_t>(*common_, common::queue_size);
}

Result<void> Function::set_config_vector(std::uint16_t vector) {
  if (auto done = put(*common_, common::config_msix_vector, vector); !done) return done;
  const auto now = get<std::uint16_t>(*common_, common::config_msix_vector);
  if (!now) return tl::unexpected(now.error());
  if (*now != vector) return fail(Errc::no_space, "the function has no interrupt vector left");
  return {};
}

Result<void> Function::set_up(unsigned queue, const RingPlace& place, std::uint16_t vector) {
  const auto most = max_size(queue);  // selects it
  if (!most) return tl::unexpected(most.error());
  if (place.size > *most) return fail(Errc::out_of_range, "a ring longer than the function's");
  if (auto done = put(*common_, common::queue_size, place.size); !done) return done;
  if (auto done = put(*common_, common::queue_msix_vector, vector); !done) return done;
  const auto given = get<std::uint16_t>(*common_, common::queue_msix_vector);
  if (!given) return tl::unexpected(given.error());
  if (*given != vector) return fail(Errc::no_space, "the function has no interrupt vector left");
  if (auto done = put_address(common::queue_desc, place.descriptors); !done) return done;
  if (auto done = put_address(common::queue_driver, place.driver); !done) return done;
  if (auto done = put_address(common::queue_device, place.device); !done) return done;
  const auto notify_off = get<std::uint16_t>(*common_, common::queue_notify_off);
  if (!notify_off) return tl::unexpected(notify_off.error());
  if (auto done = find_bell(queue, *notify_off); !done) return done;
  return put(*common_, common::queue_enable, std::uint16_t{1});
}

Result<void> Function::drive() {
  return put(*common_, common::device_status,
             static_cast<std::uint8_t>(status_bit::acknowledge | status_bit::driver | status_bit::features_ok |
                                       status_bit::driver_ok));
}

std::optional<std::uint8_t> Function::status() noexcept {
  const auto now = get<std::uint8_t>(*common_, common::device_status);
  return now ? std::optional{*now} : std::nullopt;
}

// --- kicks ---

// 4.1.4.4. A page of doorbells is mapped where the kernel lets us: a kick is a store then, and no system call.
Result<void> Function::find_bell(unsigned queue, std::uint16_t notify_off) {
  const std::uint64_t offset = std::uint64_t{notify_off} * notify_multiplier_;
  if (!fits(offset, 2, notify_->length)) return fail(Errc::out_of_range, "a doorbell outside the function's region");
  Bell& bell = bells_[queue];
  bell = {notify_->at + offset, nullptr};
  const kvfio::RegionFacts facts = device_->region(static_cast<Region>(notify_->bar));
  const std::uint64_t in_bar = notify_->in_bar + offset, page = in_bar & ~(kPage - 1);
  const bool may_map = std::ranges::any_of(facts.mappable, [page](const pci::SharedArea& area) {
    return page >= area.offset && fits(page - area.offset, kPage, area.size);
  });
  if (!may_map || in_bar % 2 != 0) return {};
  const std::uint64_t at = facts.offset + page;
  auto known = std::ranges::find_if(bell_pages_, [at](const auto& each) { return each.first == at; });
  if (known == bell_pages_.end()) {
    auto mapping = Mapping::create(device_->fd(), at, kPage, /*writable=*/true);
    if (!mapping) return {};  // by message, then
    known = bell_pages_.emplace(bell_pages_.end(), at, std::move(*mapping));
  }
  bell.mapped = known->second.data() + (in_bar - page);
  return {};
}

void Function::kick(unsigned queue) noexcept {
  const Bell& bell = bells_[queue];
  memory::full_fence();  // what is made available is there before the function looks
  if (bell.mapped != nullptr) {
    return memory::store_release16({bell.mapped, 2}, 0, static_cast<std::uint16_t>(queue));
  }
  const Le<std::uint16_t> value = static_cast<std::uint16_t>(queue);
  static_cast<void>(device_->write(bell.at, std::as_bytes(std::span{&value, 1})));
}

}  // namespace vmux::vdpa
