// SPDX-License-Identifier: BSD-3-Clause
#include "capi/watches.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "capi/context.hpp"

namespace vmux::capi {
namespace {

std::uint64_t page_size() noexcept { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

bool is_mappable(const Region& region, std::uint64_t offset, std::uint32_t size) noexcept {
  return std::any_of(region.areas.begin(), region.areas.end(), [&](const iovec& area) {
    const auto start = reinterpret_cast<std::uint64_t>(area.iov_base);
    return offset >= start && offset - start < area.iov_len && size <= area.iov_len - (offset - start);
  });
}

/// One load of a word that others write at any time; `at` is aligned.
template <class T>
std::uint64_t load_word(const std::byte* at) noexcept {
  return __atomic_load_n(reinterpret_cast<const T*>(at), __ATOMIC_ACQUIRE);
}

}  // namespace

std::uint64_t Watches::load(const Watch& watch) noexcept {
  switch (watch.size) {
    case 1:
      return load_word<std::uint8_t>(watch.at);
    case 2:
      return load_word<std::uint16_t>(watch.at);
    case 4:
      return load_word<std::uint32_t>(watch.at);
    default:
      return load_word<std::uint64_t>(watch.at);
  }
}

const Watches::Watch* Watches::find(std::uint32_t region, std::uint64_t offset) const noexcept {
  const auto found = std::find_if(watches_.begin(), watches_.end(), [&](const Watch& each) {
    return each.callback != nullptr && each.region == region && each.offset == offset;
  });
  return found == watches_.end() ? nullptr : &*found;
}

bool Watches::is_in(std::uint32_t region) const noexcept {
  return std::any_of(watches_.begin(), watches_.end(),
                     [&](const Watch& each) { return each.callback != nullptr && each.region == region; });
}

int Watches::event_fd(std::uint32_t region, std::uint64_t offset) const noexcept {
  const Watch* const found = find(region, offset);
  return found == nullptr ? -1 : found->event.get();
}

// Words of one page share its mapping: a device may have a hundred doorbells in one.
std::shared_ptr<Mapping> Watches::map_page(vfu_ctx& context, std::uint32_t region, std::uint64_t page, int& error) {
  for (const Watch& each : watches_) {
    if (each.region == region && each.offset / page_size() * page_size() == page) return each.page;
  }
  const Region& from = context.regions[region];
  auto made = Mapping::create(from.fd, from.offset + page, page_size(), /*writable=*/false);
  if (!made) {
    error = made.error().as_errno();
    return nullptr;
  }
  return std::make_shared<Mapping>(std::move(*made));
}

int Watches::add(vfu_ctx& context, std::uint32_t region, std::uint64_t offset, std::uint32_t size, std::uint32_t flags,
                 vmux_watch_cb_t* callback, void* argument) {
  if (callback == nullptr || (flags & ~(VMUX_WATCH_IOEVENTFD | VMUX_WATCH_SHADOW)) != 0) return EINVAL;
  if (flags == VMUX_WATCH_SHADOW || region >= VFU_PCI_DEV_NUM_REGIONS) return EINVAL;
  if ((size != 1 && size != 2 && size != 4 && size != 8) || offset % size != 0) return EINVAL;
  Region& in = context.regions[region];
  struct stat status {};
  if (in.fd < 0 || in.offset % page_size() != 0 || !is_mappable(in, offset, size)) return EINVAL;
  if (::fstat(in.fd, &status) != 0) return errno;
  if (in.offset + offset + size > static_cast<std::uint64_t>(status.st_size)) return EINVAL;
  if (find(region, offset) != nullptr) return EEXIST;

  Watch made{region, size, offset, callback, argument, {}, nullptr, 0, {}, false, false};
  int error = 0;
  made.page = map_page(context, region, offset / page_size() * page_size(), error);
  if (made.page == nullptr) return error;
  made.at = made.page->data() + offset % page_size();
  made.last = load(made);
  if ((flags & VMUX_WATCH_IOEVENTFD) != 0) {
    auto event = make_eventfd();
    if (!event) return event.error().as_errno();
    made.event = std::move(*event);
    const bool has_shadow = (flags & VMUX_WATCH_SHADOW) != 0;
    in.io_events.insert(in.io_events.begin(), IoEventFd{made.event.get(), offset, size, 0, 0, has_shadow ? in.fd : -1,
                                                        has_shadow ? in.offset + offset : 0});
  }
  watches_.push_back(std::move(made));
  return 0;
}

int Watches::remove(vfu_ctx& context, std::uint32_t region, std::uint64_t offset) noexcept {
  auto* const found = const_cast<Watch*>(find(region, offset));
  if (found == nullptr) return ENOENT;
  if (found->event) {
    std::erase_if(context.regions[region].io_events,
                  [&](const IoEventFd& event) { return event.fd == found->event.get(); });
  }
  found->callback = nullptr;
  found->event.reset();
  if (is_polling_) {
    has_removed_ = true;
  } else {
    erase_removed();
  }
  return 0;
}

/// Also where a callback throws, or its thread is cancelled there.
struct Watches::Polling {
  explicit Polling(Watches& of) noexcept : all(of) { all.is_polling_ = true; }
  ~Polling() {
    all.is_polling_ = false;
    if (std::exchange(all.has_removed_, false)) all.erase_removed();
  }
  Polling(const Polling&) = delete;
  Polling& operator=(const Polling&) = delete;
  Watches& all;
};

void Watches::erase_removed() noexcept {
  std::erase_if(watches_, [](const Watch& each) { return each.callback == nullptr; });
}

int Watches::poll(vfu_ctx& context) {
  if (is_polling_) return 0;
  const Polling guard{*this};
  int calls = 0;
  for (std::size_t i = 0; i < watches_.size(); ++i) {  // by number: callbacks add words, and remove them
    Watch& watch = watches_[i];
    if (watch.callback == nullptr) continue;
    // The count first: what was counted is in memory, where the client's kernel stores it.
    const std::uint64_t writes = watch.is_offered ? drain_peer_eventfd(watch.event.get()) : 0;
    const std::uint64_t value = load(watch);
    if (writes == 0 && value == watch.last && !watch.is_untold) continue;
    watch.is_untold = false;
    watch.last = value;
    watch.callback(&context, watch.argument, value, writes);
    ++calls;
  }
  return calls;
}

void Watches::rebase() noexcept {
  for (Watch& watch : watches_)
    watch.last = load(watch);
}

void Watches::set_offered(std::uint32_t region) noexcept {
  for (Watch& watch : watches_)
    watch.is_offered |= watch.region == region && watch.event;
}

bool Watches::set_offered(std::uint32_t region, std::uint64_t offset, const UniqueFd& fd) noexcept {
  auto* const found = const_cast<Watch*>(find(region, offset));
  if (found == nullptr || !found->event) return false;
  found->is_offered = true;
  return ::dup3(fd.get(), found->event.get(), O_CLOEXEC) >= 0;
}

void Watches::tell_all() noexcept {
  for (Watch& watch : watches_)
    watch.is_untold = true;
}

// It may have kept the eventfd, and signal what the next client did not write: so the next one gets another.
void Watches::forget_client() noexcept {
  for (Watch& watch : watches_) {
    if (!watch.is_offered) continue;
    watch.is_offered = false;
    // Its number is what programs and the list of ioeventfds have.
    if (auto made = make_eventfd()) static_cast<void>(::dup3(made->get(), watch.event.get(), O_CLOEXEC));
  }
}

}  // namespace vmux::capi
