// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/memory/address_space.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "memory/address_space_impl.hpp"

namespace vmux::memory {
namespace {

constexpr std::uint64_t kPage = 4096;
/// 16 TiB of guest memory in the log: 2 x 512 MiB of bitmaps at the very most, touched only where guests write.
constexpr std::uint64_t kMaxLoggedPages = 1ull << 32;

bool is_page_multiple(std::uint64_t value) noexcept { return value % kPage == 0; }

}  // namespace

void AddressSpace::Impl::publish(std::shared_ptr<const Table> next) {
  table = std::move(next);
  ++generation;
  for (GuestMemory* reader : readers)
    reader->adopt(table);
  // By index: an observer may call adopted() from inside, which runs callbacks that may attach and detach.
  const std::uint64_t published = generation;
  for (std::size_t i = 0; i < watchers.size() && generation == published; ++i) {
    watchers[i].observer->adopt(table, published);
  }
}

std::uint64_t AddressSpace::Impl::slowest() const noexcept {
  std::uint64_t slowest = generation;
  for (const Watcher& watcher : watchers)
    slowest = std::min(slowest, watcher.adopted);
  return slowest;
}

void AddressSpace::Impl::settle() {
  // One at a time: a callback may change the map and bring us here again.
  while (!waiting.empty() && waiting.front().generation <= slowest()) {
    const std::function<void()> quiet = std::move(waiting.front().quiet);
    waiting.pop_front();
    if (quiet) quiet();
  }
}

ByteCount AddressSpace::Impl::remove(std::uint64_t first, std::uint64_t last, std::function<void()> quiet) {
  std::vector<Table::Entry> removed;
  std::uint64_t gone = 0;
  auto next = table->without(first, last, removed);
  for (const Table::Entry& entry : removed) {
    gone += entry.window.size;
    if (entry.owner == nullptr) continue;
    files.release(*entry.owner->backing);
    if (entry.window.dirty != nullptr) logged_pages -= entry.window.size / kPage;
  }
  // Without a change it is as quiet as what was taken before.
  waiting.push_back({removed.empty() ? generation : generation + 1, std::move(quiet)});
  bytes -= gone;
  if (!removed.empty()) publish(std::move(next));
  settle();
  return ByteCount{gone};
}

bool AddressSpace::Impl::add_log(RangeOwner& owner, Window& window) {
  const std::uint64_t pages = window.size / kPage;
  if (pages > kMaxLoggedPages - logged_pages) return false;
  owner.dirty = DirtyBitmap::create(pages);
  if (owner.dirty == nullptr) return false;
  logged_pages += pages;
  window.dirty = owner.dirty->words();
  return true;
}

Result<Table::Entry> AddressSpace::Impl::make_entry(MapRequest request) {
  const Window window{request.start.raw, request.size.raw, nullptr, nullptr, request.access};
  if (!request.fd) return Table::Entry{window, nullptr};
  auto backing =
      files.acquire(std::move(request.fd), request.offset, window.size, allows(request.access, Access::write));
  if (!backing) return tl::unexpected(backing.error());
  return entry_in(std::move(*backing), window, request.offset);
}

Result<Table::Entry> AddressSpace::Impl::entry_in(std::shared_ptr<Backing> backing, const Window& window,
                                                  std::uint64_t offset) {
  Table::Entry entry{window, std::make_shared<RangeOwner>()};
  entry.window.host = backing->at(offset);
  entry.owner->backing = std::move(backing);
  if (is_logging && !add_log(*entry.owner, entry.window)) {
    files.release(*entry.owner->backing);
    return fail(Errc::no_space, "the dirty log is full");
  }
  return entry;
}

AddressSpace::AddressSpace() : impl_(std::make_unique<Impl>()) {}
AddressSpace::~AddressSpace() = default;

Result<void> AddressSpace::Impl::check(const Table& table, Iova start, ByteCount size, std::uint64_t offset) noexcept {
  if (size.raw == 0 || !is_page_multiple(start.raw) || !is_page_multiple(size.raw) || !is_page_multiple(offset)) {
    return fail(Errc::invalid_argument, "a range of guest memory is not made of whole pages");
  }
  if (!end_of(start, size)) return fail(Errc::invalid_argument, "a range of guest memory wraps");
  const Table::Entry* below = table.at_or_below(start.raw + (size.raw - 1));
  if (below != nullptr && below->window.start + (below->window.size - 1) >= start.raw) {
    return fail(Errc::already_exists, "a range of guest memory overlaps another");
  }
  return {};
}

Result<void> AddressSpace::map(MapRequest request) noexcept {
  if (auto ok = Impl::check(*impl_->table, request.start, request.size, request.offset); !ok) return ok;
  const std::uint64_t size = request.size.raw;
  auto entry = impl_->make_entry(std::move(request));
  if (!entry) return tl::unexpected(entry.error());
  impl_->count_added(size);
  impl_->publish(impl_->table->with(std::move(*entry)));
  return {};
}

Result<void> AddressSpace::can_unmap(Iova start, ByteCount size) const noexcept {
  if (size.raw == 0 || !is_page_multiple(start.raw) || !is_page_multiple(size.raw)) {
    return fail(Errc::invalid_argument, "a range of guest memory is not made of whole pages");
  }
  const std::uint64_t last = start.raw + (size.raw - 1);  // a range may end at 2^64 here
  if (last < start.raw) return fail(Errc::invalid_argument, "a range of guest memory wraps");
  const Table::Entry* at_end = impl_->table->at_or_below(last);
  const auto last_of = [](const Table::Entry& entry) { return entry.window.start + (entry.window.size - 1); };
  if (at_end == nullptr || last_of(*at_end) < start.raw) return {};
  const Table::Entry* at_start = impl_->table->at_or_below(start.raw);
  const bool cuts_first = at_start != nullptr && at_start->window.start < start.raw && last_of(*at_start) >= start.raw;
  if (cuts_first || last_of(*at_end) > last) {
    return fail(Errc::invalid_argument, "a range of guest memory would be cut in two");
  }
  return {};
}

Result<ByteCount> AddressSpace::unmap(Iova start, ByteCount size, std::function<void()> quiet) noexcept {
  if (auto can = can_unmap(start, size); !can) return tl::unexpected(can.error());
  return impl_->remove(start.raw, start.raw + (size.raw - 1), std::move(quiet));
}

ByteCount AddressSpace::unmap_all(std::function<void()> quiet) noexcept {
  impl_->files.clear();  // first: the files' counts need not follow the entries any more
  return impl_->remove(0, ~0ull, std::move(quiet));
}

void AddressSpace::keep_departed() noexcept { impl_->files.keep_departed(); }
void AddressSpace::forget_departed() noexcept { impl_->files.forget_departed(); }

std::size_t AddressSpace::size() const noexcept { return impl_->table->size(); }

Reach AddressSpace::reach() const noexcept { return {impl_->table->size(), impl_->bytes, impl_->bytes_peak}; }

bool AddressSpace::knows(Iova start, ByteCount size, Access access) const noexcept {
  std::uint64_t at = start.raw, left = size.raw;
  if (left != 0 && at + (left - 1) < at) return false;
  while (left != 0) {
    const Window* window = impl_->table->find(at);
    if (window == nullptr || !allows(window->access, access)) return false;
    const std::uint64_t step = std::min(left, window->size - (at - window->start));
    at += step;
    left -= step;
  }
  return true;
}

std::vector<Window> AddressSpace::windows() const {
  std::vector<Window> all;
  all.reserve(size());
  impl_->table->for_each([&all](const Table::Entry& entry) {
    all.push_back(entry.window);
    all.back().dirty = nullptr;
  });
  return all;
}

std::shared_ptr<const Table> AddressSpace::table() const noexcept { return impl_->table; }

void AddressSpace::attach(GuestMemory& reader) {
  impl_->readers.push_back(&reader);
  reader.adopt(impl_->table);
}

void AddressSpace::detach(GuestMemory& reader) noexcept {
  std::erase(impl_->readers, &reader);
  reader.adopt(nullptr);
}

void AddressSpace::attach(Observer& observer) {
  // It has seen no older table, so there is nothing of it to wait for.
  impl_->watchers.push_back({&observer, impl_->generation});
  observer.adopt(impl_->table, impl_->generation);
}

void AddressSpace::detach(Observer& observer) noexcept {
  std::erase_if(impl_->watchers, [&](const Impl::Watcher& watcher) { return watcher.observer == &observer; });
  impl_->settle();
}

void AddressSpace::adopted(Observer& observer, std::uint64_t generation) noexcept {
  for (Impl::Watcher& watcher : impl_->watchers) {
    if (watcher.observer == &observer) watcher.adopted = std::max(watcher.adopted, generation);
  }
  impl_->settle();
}

Result<void> AddressSpace::start_dirty_log() noexcept {
  if (impl_->is_logging) return fail(Errc::already_exists, "the dirty log runs already");
  bool is_complete = true;
  impl_->logged_pages = 0;
  auto next = impl_->table->transformed([&](Table::Entry& entry) {
    if (entry.owner == nullptr || !is_complete) return;
    // A new owner: the old table's readers may still hold the old one, which has no bitmap.
    auto owner = std::make_shared<RangeOwner>();
    owner->backing = entry.owner->backing;
    is_complete = impl_->add_log(*owner, entry.window);
    entry.owner = std::move(owner);
  });
  if (!is_complete) return fail(Errc::no_space, "not enough memory for the dirty log");
  impl_->is_logging = true;
  impl_->publish(std::move(next));
  impl_->settle();
  return {};
}

void AddressSpace::stop_dirty_log() noexcept {
  if (!impl_->is_logging) return;
  impl_->is_logging = false;
  impl_->logged_pages = 0;
  impl_->publish(impl_->table->transformed([](Table::Entry& entry) {
    if (entry.owner == nullptr) return;
    auto owner = std::make_shared<RangeOwner>();
    owner->backing = entry.owner->backing;
    entry.owner = std::move(owner);
    entry.window.dirty = nullptr;
  }));
  impl_->settle();
}

bool AddressSpace::is_logging() const noexcept { return impl_->is_logging; }

void AddressSpace::Impl::take_window(const Table::Entry& entry, std::uint64_t start, std::uint64_t last, unsigned shift,
                                     std::span<std::uint64_t> bitmap) noexcept {
  const std::uint64_t base = entry.window.start;
  const std::uint64_t first_page = (std::max(start, base) - base) / kPage;
  const std::uint64_t last_page = (std::min(last, base + (entry.window.size - 1)) - base) / kPage;
  const DirtyBitmap::Repeat repeat{
      .reports_kept = repeat_until != 0, .drops_kept = slowest() >= repeat_until, .keeps = !watchers.empty()};
  for (std::uint64_t word = first_page / 64; word <= last_page / 64; ++word) {
    std::uint64_t mask = ~0ull;
    if (word == first_page / 64) mask &= ~0ull << (first_page % 64);
    if (word == last_page / 64) mask &= ~0ull >> (63 - last_page % 64);
    std::uint64_t bits = entry.owner->dirty->take(word, mask, repeat);
    for (; bits != 0; bits &= bits - 1) {
      const std::uint64_t page = word * 64 + static_cast<unsigned>(std::countr_zero(bits));
      const std::uint64_t out = (base + page * kPage - start) >> shift;
      bitmap[out / 64] |= 1ull << (out % 64);
    }
  }
}

Result<void> AddressSpace::take_dirty(Iova start, ByteCount size, std::uint64_t page_size,
                                      std::span<std::uint64_t> bitmap) noexcept {
  if (!impl_->is_logging) return fail(Errc::invalid_argument, "the dirty log does not run");
  const bool is_sane = std::has_single_bit(page_size) && page_size >= kPage && size.raw != 0 &&
                       start.raw % page_size == 0 && size.raw % page_size == 0;
  if (!is_sane || start.raw + (size.raw - 1) < start.raw) {
    return fail(Errc::invalid_argument, "a dirty log is read in whole pages");
  }
  if ((size.raw / page_size + 63) / 64 > bitmap.size())
    return fail(Errc::out_of_range, "the dirty bitmap is too small");
  const std::uint64_t last = start.raw + (size.raw - 1);
  const auto shift = static_cast<unsigned>(std::countr_zero(page_size));
  impl_->table->for_each([&](const Table::Entry& entry) {
    const Window& window = entry.window;
    if (window.dirty == nullptr || window.start > last || window.start + (window.size - 1) < start.raw) return;
    impl_->take_window(entry, start.raw, last, shift, bitmap);
  });
  if (impl_->watchers.empty()) return {};
  // A reader of another thread marks what it borrows before it writes there. Once it has adopted a table again it has
  // written it, and whoever copies these pages from now on has all of it.
  impl_->publish(impl_->table);
  impl_->settle();
  if (impl_->slowest() < impl_->generation) impl_->repeat_until = impl_->generation;
  return {};
}

bool AddressSpace::is_poisoned() const noexcept { return impl_->files.is_poisoned(); }

}  // namespace vmux::memory
