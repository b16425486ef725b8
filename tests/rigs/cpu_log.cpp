// SPDX-License-Identifier: BSD-3-Clause
#include "rigs/cpu_log.hpp"

#include <sys/mman.h>

#include <algorithm>

#include "vmux/base/assert.hpp"

namespace vmux::rigs {

CpuLog* CpuLog::current_ = nullptr;

CpuLog::CpuLog(std::span<std::byte> memory) : memory_(memory), written_(memory.size() / kPage) {
  VMUX_ASSERT(current_ == nullptr);
  current_ = this;
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  VMUX_ASSERT(::sigaction(SIGSEGV, &action, &before_) == 0);
  protect(0, written_.size(), PROT_READ);
}

CpuLog::~CpuLog() {
  protect(0, written_.size(), PROT_READ | PROT_WRITE);
  static_cast<void>(::sigaction(SIGSEGV, &before_, nullptr));
  current_ = nullptr;
}

void CpuLog::protect(std::size_t page, std::size_t pages, int how) noexcept {
  VMUX_ASSERT(::mprotect(memory_.data() + page * kPage, pages * kPage, how) == 0);
}

// A fault elsewhere is one: it comes again, and is whosever it was before.
void CpuLog::on_fault(int /*signal*/, siginfo_t* info, void* /*context*/) {
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  const auto base = reinterpret_cast<std::uintptr_t>(current_->memory_.data());
  if (at - base >= current_->memory_.size()) {
    static_cast<void>(::sigaction(SIGSEGV, &current_->before_, nullptr));
    return;
  }
  const std::size_t page = (at - base) / kPage;
  current_->written_[page] = 1;
  current_->protect(page, 1, PROT_READ | PROT_WRITE);
}

std::vector<bool> CpuLog::take() {
  protect(0, written_.size(), PROT_READ);
  const std::vector<bool> pages{written_.begin(), written_.end()};
  std::fill(written_.begin(), written_.end(), std::uint8_t{0});
  return pages;
}

}  // namespace vmux::rigs
