// SPDX-License-Identifier: BSD-3-Clause
#include "memory/sigbus.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <utility>

#include "vmux/base/assert.hpp"

namespace vmux::memory {
namespace {

/// One registered range. Writers own a slot from `is_taken` on; the handler reads it under the sequence (odd: being
/// written). The handler may follow `flag` of a slot that matches: the faulting access keeps that mapping alive.
struct Slot {
  std::atomic<bool> is_taken{false};
  std::atomic<std::uint32_t> sequence{0};
  std::atomic<std::uintptr_t> begin{0}, end{0};
  std::atomic<std::uint64_t> page_size{0};
  std::atomic<PoisonFlag*> flag{nullptr};

  void set(std::uintptr_t from, std::uintptr_t to, std::uint64_t page, PoisonFlag* poison) noexcept {
    sequence.fetch_add(1, std::memory_order_relaxed);
    // Release, each of them: whoever sees a new value must not see the even sequence from before it.
    begin.store(from, std::memory_order_release);
    end.store(to, std::memory_order_release);
    page_size.store(page, std::memory_order_release);
    flag.store(poison, std::memory_order_release);
    sequence.fetch_add(1, std::memory_order_release);
  }
};

struct Block {
  std::array<Slot, 128> slots;
  std::atomic<Block*> next{nullptr};
};

// Grows, never shrinks, and is never destroyed: the handler may run at any time until the process ends.
constinit Block g_first_block{};
struct sigaction g_previous {};

Slot* claim_slot() {
  for (Block* block = &g_first_block;; block = block->next.load(std::memory_order_acquire)) {
    for (Slot& slot : block->slots) {
      if (!slot.is_taken.load(std::memory_order_relaxed) && !slot.is_taken.exchange(true, std::memory_order_acq_rel)) {
        return &slot;
      }
    }
    if (block->next.load(std::memory_order_acquire) == nullptr) {
      auto fresh = std::make_unique<Block>();
      Block* expected = nullptr;
      if (block->next.compare_exchange_strong(expected, fresh.get(), std::memory_order_acq_rel)) {
        static_cast<void>(fresh.release());
      }
    }
  }
}

bool put_zero_pages(std::uintptr_t at, std::size_t size) noexcept {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  // Not through the library: ThreadSanitizer would take it for a write that races with the readers it saves.
  return ::syscall(SYS_mmap, at, size, PROT_READ | PROT_WRITE, kFlags, -1, 0) != -1;
}

/// The whole mapping at once: page by page, a client could make us split it until the process has no mappings left.
/// Only when the host refuses that much address space, the one page.
bool repair(const Slot& slot, std::uintptr_t address) noexcept {
  const std::uint32_t before = slot.sequence.load(std::memory_order_acquire);
  const std::uintptr_t begin = slot.begin.load(std::memory_order_relaxed);
  const std::uintptr_t end = slot.end.load(std::memory_order_relaxed);
  const std::uint64_t page_size = slot.page_size.load(std::memory_order_relaxed);
  PoisonFlag* const flag = slot.flag.load(std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_acquire);
  const bool is_stable = (before & 1) == 0 && slot.sequence.load(std::memory_order_relaxed) == before;
  if (!is_stable || address < begin || address >= end) return false;
  if (!put_zero_pages(begin, end - begin) && !put_zero_pages(address & ~(page_size - 1), page_size)) return false;
  flag->store(true, std::memory_order_release);
  return true;
}

bool repair(std::uintptr_t address) noexcept {
  for (Block* block = &g_first_block; block != nullptr; block = block->next.load(std::memory_order_acquire)) {
    for (const Slot& slot : block->slots) {
      if (repair(slot, address)) return true;
    }
  }
  return false;
}

void chain(int signal, siginfo_t* info, void* context) noexcept {
  if ((g_previous.sa_flags & SA_SIGINFO) != 0) {
    g_previous.sa_sigaction(signal, info, context);
    return;
  }
  if (g_previous.sa_handler != SIG_DFL && g_previous.sa_handler != SIG_IGN) {
    g_previous.sa_handler(signal);
    return;
  }
  // Nobody else wants it: the access is repeated (or the signal sent again) and ends the process as it would have.
  struct sigaction fallback {};
  fallback.sa_handler = SIG_DFL;
  ::sigaction(SIGBUS, &fallback, nullptr);
  if (info->si_code <= 0) ::raise(SIGBUS);
}

void on_bus_error(int signal, siginfo_t* info, void* context) noexcept {
  const int saved_errno = errno;
  // si_code <= 0: sent by a process; then si_addr means nothing.
  const bool is_ours = info->si_code > 0 && repair(reinterpret_cast<std::uintptr_t>(info->si_addr));
  if (!is_ours) chain(signal, info, context);
  errno = saved_errno;
}

void install_once() {
  static std::once_flag once;
  std::call_once(once, [] {
    // First learn what is there, so that the handler never runs without knowing whom to chain to.
    ::sigaction(SIGBUS, nullptr, &g_previous);
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
    VMUX_ASSERT(::sigaction(SIGBUS, &action, nullptr) == 0);
  });
}

}  // namespace

BusErrorGuard::BusErrorGuard(std::span<std::byte> range, std::uint64_t page_size, std::shared_ptr<PoisonFlag> flag)
    : flag_(std::move(flag)) {
  install_once();
  Slot* slot = claim_slot();
  const auto begin = reinterpret_cast<std::uintptr_t>(range.data());
  slot->set(begin, begin + range.size(), page_size, flag_.get());
  slot_ = slot;
}

BusErrorGuard::BusErrorGuard(BusErrorGuard&& other) noexcept
    : slot_(std::exchange(other.slot_, nullptr)), flag_(std::move(other.flag_)) {}

BusErrorGuard& BusErrorGuard::operator=(BusErrorGuard&& other) noexcept {
  if (this != &other) {
    release();
    slot_ = std::exchange(other.slot_, nullptr);
    flag_ = std::move(other.flag_);
  }
  return *this;
}

void BusErrorGuard::release() noexcept {
  if (slot_ == nullptr) return;
  auto* slot = static_cast<Slot*>(std::exchange(slot_, nullptr));
  slot->set(0, 0, 0, nullptr);
  slot->is_taken.store(false, std::memory_order_release);
  flag_.reset();
}

}  // namespace vmux::memory
