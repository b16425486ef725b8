// SPDX-License-Identifier: BSD-3-Clause
#include "keeper/segment.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace vmux::keeper {
namespace {

struct Layout {
  static constexpr std::uint64_t kMagic = 0x0a31'6e67'6953'6d56;  // "VmSign1\n", lowest byte first
  std::uint64_t magic;
  ThreadSigns threads[Segment::kThreads];
};

void make_robust(pthread_mutex_t& mutex) noexcept {
  pthread_mutexattr_t how;
  ::pthread_mutexattr_init(&how);
  ::pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
  ::pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
  ::pthread_mutex_init(&mutex, &how);
  ::pthread_mutexattr_destroy(&how);
}

}  // namespace

Result<Segment> Segment::create() {
  auto fd = make_memfd("vmux-signs", sizeof(Layout));
  if (!fd) return tl::unexpected(fd.error());
  auto memory = Mapping::create(fd->get(), 0, sizeof(Layout), true);
  if (!memory) return tl::unexpected(memory.error());
  auto& layout = *new (memory->data()) Layout{};
  layout.magic = Layout::kMagic;
  for (ThreadSigns& each : layout.threads)
    make_robust(each.alive);
  return Segment{std::move(*fd), std::move(*memory)};
}

Result<Segment> Segment::adopt(UniqueFd fd) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0 || static_cast<std::size_t>(status.st_size) < sizeof(Layout)) {
    return fail(Errc::invalid_argument, "the memory that a keeper shares is too short");
  }
  auto memory = Mapping::create(fd.get(), 0, sizeof(Layout), true);
  if (!memory) return tl::unexpected(memory.error());
  if (reinterpret_cast<const Layout*>(memory->data())->magic != Layout::kMagic) {
    return fail(Errc::invalid_argument, "the memory that a keeper shares is of another version");
  }
  return Segment{std::move(fd), std::move(*memory)};
}

ThreadSigns& Segment::thread(std::size_t index) const noexcept {
  return reinterpret_cast<Layout*>(memory_.data())->threads[index];
}

ThreadSigns* Segment::begin_thread(std::string_view name) noexcept {
  for (std::size_t i = 0; i < kThreads; ++i) {
    ThreadSigns& signs = thread(i);
    std::uint32_t free = 0;
    if (!signs.is_used.compare_exchange_strong(free, 1)) continue;
    const std::size_t length = std::min(name.size(), sizeof signs.name - 1);
    std::memcpy(signs.name, name.data(), length);
    signs.name[length] = '\0';
    ::pthread_mutex_lock(&signs.alive);
    return &signs;
  }
  return nullptr;
}

void Segment::end_thread(ThreadSigns& signs) noexcept {
  ::pthread_mutex_unlock(&signs.alive);
  signs.is_used.store(0);
}

bool Segment::is_alive() const noexcept {
  for (std::size_t i = 0; i < kThreads; ++i) {
    ThreadSigns& signs = thread(i);
    if (signs.is_used.load() == 0) continue;
    const int got = ::pthread_mutex_trylock(&signs.alive);
    if (got == EBUSY) return true;
    if (got == EOWNERDEAD) ::pthread_mutex_consistent(&signs.alive);
    if (got == 0 || got == EOWNERDEAD) ::pthread_mutex_unlock(&signs.alive);
  }
  return false;
}

std::vector<std::uint32_t> Segment::marks() const {
  std::vector<std::uint32_t> all;
  for (std::size_t i = 0; i < kThreads; ++i) {
    const ThreadSigns& signs = thread(i);
    const std::uint32_t mark = signs.life.burst.load(std::memory_order_relaxed);
    if (signs.is_used.load() != 0 && mark != 0 && std::ranges::find(all, mark) == all.end()) all.push_back(mark);
  }
  return all;
}

void Segment::wait_for_death() const noexcept {
  for (std::size_t i = 0; i < kThreads; ++i) {
    ThreadSigns& signs = thread(i);
    if (signs.is_used.load() == 0) continue;
    const int got = ::pthread_mutex_lock(&signs.alive);
    if (got == EOWNERDEAD) ::pthread_mutex_consistent(&signs.alive);
    if (got == 0 || got == EOWNERDEAD) ::pthread_mutex_unlock(&signs.alive);
  }
}

}  // namespace vmux::keeper
