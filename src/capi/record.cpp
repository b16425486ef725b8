// SPDX-License-Identifier: BSD-3-Clause
#include "capi/record.hpp"

#include <algorithm>
#include <utility>

#include "capi/context.hpp"
#include "capi/saved_context.hpp"
#include "vmux/state/fd_bag.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::capi {
namespace {

constexpr std::size_t kLongestImage = std::size_t{16} << 20;  // pages that are never written take no memory
constexpr std::size_t kLongestStream = kMaxMessage + 4096;

std::uint32_t number_of(int fd) noexcept { return fd < 0 ? SavedContext::kNone : static_cast<std::uint32_t>(fd); }

std::vector<std::uint8_t> as_numbers(std::span<const std::byte> bytes) {
  const auto* const first = reinterpret_cast<const std::uint8_t*>(bytes.data());
  return {first, first + bytes.size()};
}

}  // namespace

Result<std::unique_ptr<Record>> Record::create(vfu_ctx& context, const Keeper& keeper) {
  auto slots = state::ControlSlots::create(kLongestImage);
  if (!slots) return tl::unexpected(slots.error());
  auto stream = ipc::StreamRecord::create(kLongestStream);
  if (!stream) return tl::unexpected(stream.error());
  auto twin = ipc::StreamRecord::create(kLongestStream);
  if (!twin) return tl::unexpected(twin.error());
  return std::unique_ptr<Record>(new Record(context, keeper, std::move(*slots), std::move(*stream), std::move(*twin)));
}

Record::Record(vfu_ctx& context, const Keeper& keeper, state::ControlSlots slots, ipc::StreamRecord stream,
               ipc::StreamRecord twin) noexcept
    : context_(context),
      keeper_(keeper),
      slots_(std::move(slots)),
      stream_(std::move(stream)),
      twin_(std::move(twin)) {}

Record::~Record() = default;

std::array<int, VMUX_RECORD_FILES> Record::files() const noexcept { return {slots_.fd(), stream_.fd(), twin_.fd()}; }

void Record::keep(int fd) {
  if (!kept_.insert(fd).second) return;
  is_settled_ = false;
  if (keeper_.keep != nullptr) keeper_.keep(&context_, keeper_.argument, fd);
}

void Record::lend(Message& message) {
  for (UniqueFd& fd : message.fds) {
    keep(fd.get());
    auto used = fd.duplicate();
    closing_.push_back(std::move(fd));
    message.lost_fds |= !used;
    if (used) fd = std::move(*used);
  }
}

void Record::settle() {
  if (is_settled_ && closing_.empty()) return;
  is_settled_ = true;
  std::set<int> waiting;
  if (!is_client_gone_) context_.link.for_each_waiting([&](int fd) { waiting.insert(fd); });
  for (auto each = kept_.begin(); each != kept_.end();) {
    if (needed_.contains(*each) || waiting.contains(*each)) {
      ++each;
      continue;
    }
    const int fd = *each;
    each = kept_.erase(each);
    if (keeper_.drop != nullptr) keeper_.drop(&context_, keeper_.argument, fd);
  }
  closing_.clear();
}

void Record::let_go_all() {
  needed_.clear();
  is_settled_ = false;
  settle();
}

std::string Record::listener_name(std::uint32_t kind, std::uint32_t vector) const {
  constexpr std::array<const char*, VFU_DEV_NUM_IRQS> kNames{"irq/intx", "irq/msi", "irq/msix", "err", "req"};
  const bool is_emulated = context_.emulated != nullptr && context_.emulated->serves(kind);
  // The others share one set of vectors: see Irqs.
  return state::fd_name(is_emulated || kind >= VFU_DEV_ERR_IRQ ? kNames[kind] : "vector", vector);
}

void Record::set_listeners(std::uint32_t kind, std::uint32_t start, std::vector<UniqueFd> fds) {
  for (UniqueFd& fd : fds)
    set_listener(listener_name(kind, start++), std::move(fd));
}

void Record::set_listener(const std::string& name, UniqueFd fd) {
  UniqueFd& place = listeners_[name];
  if (place) closing_.push_back(std::move(place));
  place = std::move(fd);
}

// Those whose vector has nobody any more, however that came about.
void Record::forget_listeners(const state::FdBag& routing) {
  std::set<std::string> there;
  routing.for_each([&](const std::string& name, int) { there.insert(name); });
  for (const std::uint32_t kind : {VFU_DEV_INTX_IRQ, VFU_DEV_ERR_IRQ, VFU_DEV_REQ_IRQ}) {
    const auto& counts = context_.irqs.counts;
    const std::uint32_t count =
        kind == VFU_DEV_INTX_IRQ ? *std::max_element(counts.begin(), counts.end()) : std::uint32_t{1};
    for (std::uint32_t vector = 0; vector < count; ++vector) {
      if (!context_.irqs.is_attached(kind, vector)) continue;
      there.insert(kind == VFU_DEV_INTX_IRQ ? state::fd_name("vector", vector) : listener_name(kind, vector));
    }
  }
  for (auto each = listeners_.begin(); each != listeners_.end();) {
    if (there.contains(each->first)) {
      ++each;
      continue;
    }
    closing_.push_back(std::move(each->second));
    each = listeners_.erase(each);
  }
}

std::span<const std::uint8_t> Record::config_now() const noexcept {
  return context_.config.bytes().first(context_.regions[VFU_PCI_DEV_CFG_REGION_IDX].size);
}

bool Record::is_different() const noexcept {
  if (is_changed_ || !std::ranges::equal(config_now(), config_)) return true;
  return context_.emulated != nullptr && context_.emulated->pending() != pending_;
}

void Record::fill(SavedContext& saved) const {
  const Link& link = context_.link;
  saved.description = description_of(context_);
  saved.listener = number_of(link.listener());
  if (!is_client_gone_) {
    saved.connection = number_of(link.connection());
    saved.twin = number_of(link.twin());
  }
  saved.has_client = link.can_be_left() && !is_client_gone_;
  saved.first_request = link.first_request(is_client_gone_);
  saved.config.assign(config_.begin(), config_.end());
  if (context_.emulated != nullptr) saved.irqs = as_numbers(context_.emulated->save(context_));
  if (!saved.has_client) return;
  saved.write_multiple = context_.write_multiple;
  saved.may_be_qemu = link.may_be_qemu();
  saved.max_transfer = context_.max_transfer;
  if (context_.migration) saved.migration = context_.migration->state;
  if (context_.dma != nullptr) {
    saved.log_page_size = context_.dma->log_page_size();
    context_.dma->for_each([&](const DmaMap::Range& range) {
      saved.ranges.push_back({range.start, range.size, range.offset, static_cast<std::uint8_t>(range.prot),
                              static_cast<std::uint8_t>(range.mode), number_of(range.fd)});
    });
  }
  for (const auto& [name, fd] : listeners_)
    saved.listeners.push_back({name, number_of(fd.get())});
  context_.watches.for_each_offered([&](std::uint32_t region, std::uint64_t offset, int fd) {
    saved.counted.push_back({region, offset, number_of(fd)});
  });
}

// What it names is kept before it counts.
void Record::keep_all(const SavedContext& saved) {
  needed_.clear();
  const auto need = [this](std::uint32_t number) {
    if (number != SavedContext::kNone) needed_.insert(static_cast<int>(number));
  };
  for (const std::uint32_t number : {saved.listener, saved.connection, saved.twin})
    need(number);
  for (const auto& range : saved.ranges)
    need(range.fd);
  for (const auto& listener : saved.listeners)
    need(listener.fd);
  for (const auto& counted : saved.counted)
    need(counted.fd);
  for (const int fd : needed_)
    keep(fd);
  is_settled_ = false;
}

std::uint64_t Record::write() {
  if (!is_different()) return slots_.sequence();
  config_.assign(config_now().begin(), config_now().end());
  state::Writer writer;
  auto routing = state::FdBag::of_numbers();
  bool is_whole = true;
  if (context_.emulated != nullptr) {
    pending_ = context_.emulated->pending();
    is_whole = context_.emulated->routing().save_routing(writer, routing).has_value();
  }
  forget_listeners(routing);
  SavedContext saved;
  fill(saved);
  is_whole &= saved.ranges.size() <= SavedContext::kMostRanges &&
              saved.listeners.size() <= SavedContext::kMostListeners && saved.counted.size() <= 4096;
  if (is_whole) {
    writer.add(saved);
    keep_all(saved);
    is_whole = slots_.write(std::move(writer).finish()).has_value();
  }
  is_changed_ = !is_whole;
  if (!is_whole) vfu_log(&context_, LOG_ERR, "the client would not survive the death of this process");
  return slots_.sequence();
}

void Record::forget_client() {
  is_client_gone_ = true;
  is_changed_ = true;
  static_cast<void>(write());
  settle();  // before the link closes them: the next descriptor may have the number of one of these
  is_client_gone_ = false;
  is_changed_ = true;  // with the next one
}

}  // namespace vmux::capi
