// SPDX-License-Identifier: BSD-3-Clause
#include "preload/mmio/mmio_trap.hpp"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "preload/mmio/bar_maps.hpp"
#include "preload/mmio/mmio_decode.hpp"
#include "preload/process/trace.hpp"

namespace vmux::preload {
namespace {

std::atomic<bool> is_installed = false;
struct sigaction program_action {};  // BarMaps::mutex(), which the handler takes as well

struct Hit {
  std::shared_ptr<Device> device;
  unsigned region = 0;
  std::uint64_t offset = 0;
  int protection = 0;
};
Hit find(std::uint64_t address) {
  BarMaps& maps = BarMaps::instance();
  const std::lock_guard lock{maps.mutex()};
  const auto entry = maps.find(address);
  if (entry == maps.end()) return {};
  const BarMapping& mapping = entry->second;
  return {mapping.device, mapping.region, mapping.offset + (address - entry->first), mapping.protection};
}

#if defined(__x86_64__)
/// Would the kernel let this access pass? As the x86 has it, what can be written or executed can be read. A page that
/// is not mapped at all (taken away behind our back, or not given to a forked child) is SEGV_MAPERR.
bool is_allowed(const siginfo_t& info, const ucontext_t& context, int protection) {
  constexpr greg_t write = 2, fetch = 16;  // page fault error code
  const greg_t error = context.uc_mcontext.gregs[REG_ERR];
  if (info.si_code != SEGV_ACCERR || (error & fetch) != 0) return false;
  return (error & write) != 0 ? (protection & PROT_WRITE) != 0 : protection != PROT_NONE;
}

// The machine's numbering of general registers, in ucontext's.
constexpr int kRegister[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

bool run_load(const Hit& hit, const MmioAccess& access, std::span<std::byte> bytes) {
  for (std::size_t done = 0; done < bytes.size(); done += 8) {
    const auto part = bytes.subspan(done, std::min<std::size_t>(8, bytes.size() - done));
    // A device that is gone reads as all ones, as on a bus.
    if (!hit.device->load(hit.region, hit.offset + done, part)) std::memset(part.data(), 0xff, part.size());
  }
  return access.size != 0;
}

void run_store(const Hit& hit, std::span<const std::byte> bytes) {
  for (std::size_t done = 0; done < bytes.size(); done += 8) {
    const auto part = bytes.subspan(done, std::min<std::size_t>(8, bytes.size() - done));
    (void)hit.device->store(hit.region, hit.offset + done, part);  // as on a bus: nobody answers
  }
}

bool emulate(const Hit& hit, ucontext_t& context) {
  auto* registers = context.uc_mcontext.gregs;
  std::array<std::uint8_t, 15> code{};
  const auto* at = reinterpret_cast<const std::uint8_t*>(registers[REG_RIP]);
  // The instruction may end right before an unmapped page.
  std::size_t length = code.size();
  while (length > 0 && !copy_in(code.data(), at, length))
    --length;
  const auto access = decode_mmio({code.data(), length});
  if (!access) {
    say("{}: an instruction that is not a plain move reaches a register by mapping: {:02x}", hit.device->name(),
        fmt::join(code.begin(), code.begin() + static_cast<std::ptrdiff_t>(length), " "));
    return false;
  }
  std::array<std::byte, 16> buffer{};
  const std::span bytes{buffer.data(), access->size};
  auto& general = registers[kRegister[access->reg]];
  auto* vector = context.uc_mcontext.fpregs == nullptr ? nullptr : &context.uc_mcontext.fpregs->_xmm[access->reg];
  switch (access->kind) {
    case MmioAccess::Kind::load: {
      std::uint64_t loaded = 0;
      run_load(hit, *access, bytes);
      std::memcpy(&loaded, buffer.data(), access->size);
      general = static_cast<greg_t>(register_after_load(*access, static_cast<std::uint64_t>(general), loaded));
      break;
    }
    case MmioAccess::Kind::store: {
      const std::uint64_t value = static_cast<std::uint64_t>(general) >> (access->high_byte ? 8 : 0);
      std::memcpy(buffer.data(), &value, sizeof value);
      run_store(hit, bytes);
      break;
    }
    case MmioAccess::Kind::store_value:
      std::memcpy(buffer.data(), &access->value, sizeof access->value);
      run_store(hit, bytes);
      break;
    case MmioAccess::Kind::load_vector:
      if (vector == nullptr) return false;
      run_load(hit, *access, bytes);
      std::memcpy(vector, buffer.data(), buffer.size());
      break;
    case MmioAccess::Kind::store_vector:
      if (vector == nullptr) return false;
      std::memcpy(buffer.data(), vector, buffer.size());
      run_store(hit, bytes);
      break;
  }
  registers[REG_RIP] += access->length;
  return true;
}
#else
bool is_allowed(const siginfo_t&, const ucontext_t&, int) { return false; }
bool emulate(const Hit&, ucontext_t&) { return false; }
#endif

/// What the program wants to be done with a fault now.
struct sigaction take_program_action() {
  const std::lock_guard lock{BarMaps::instance().mutex()};
  const struct sigaction action = program_action;
  if ((action.sa_flags & static_cast<int>(SA_RESETHAND)) != 0) program_action.sa_handler = SIG_DFL;
  return action;
}

/// A fault that is not ours: what the program asked for, or the end that it would have met without us.
void pass_on(int number, siginfo_t* info, void* context) {
  const struct sigaction action = take_program_action();
  if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN) {
    // As the kernel would have set it; it restores the old one when we return. SIGSEGV is not blocked: the handler may
    // reach registers too.
    sigset_t mask;
    sigorset(&mask, &static_cast<const ucontext_t*>(context)->uc_sigmask, &action.sa_mask);
    pthread_sigmask(SIG_SETMASK, &mask, nullptr);
    if ((action.sa_flags & SA_SIGINFO) != 0) {
      action.sa_sigaction(number, info, context);
    } else {
      action.sa_handler(number);
    }
    return;
  }
  struct sigaction ordinary {};
  ordinary.sa_handler = SIG_DFL;
  is_installed = false;
  sigaction(SIGSEGV, &ordinary, nullptr);  // the instruction runs again, and the kernel ends the program
}

/// True when the fault was an access to a register, which is done now. Nothing is kept: a handler of the program may
/// jump away for good.
bool access_register(const siginfo_t& info, ucontext_t& context) {
  const Hit hit = find(reinterpret_cast<std::uint64_t>(info.si_addr));
  return hit.device && is_allowed(info, context, hit.protection) && emulate(hit, context);
}

void on_fault(int number, siginfo_t* info, void* context) {
  const int before = errno;
  if (!access_register(*info, *static_cast<ucontext_t*>(context))) pass_on(number, info, context);
  errno = before;
}

}  // namespace

void trap_faults() {
  if (is_installed) return;
  struct sigaction ours {};
  ours.sa_sigaction = on_fault;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigfillset(&ours.sa_mask);  // no handler of the program interrupts an access, which holds the device's lock
  for (const int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT})
    sigdelset(&ours.sa_mask, fault);
  sigaction(SIGSEGV, &ours, &program_action);
  is_installed = true;
}

bool keep_segv_action(const struct sigaction* wanted, struct sigaction* before) noexcept {
  if (!is_installed) return false;
  const std::lock_guard lock{BarMaps::instance().mutex()};
  if (before != nullptr) *before = program_action;
  if (wanted != nullptr) program_action = *wanted;
  sigdelset(&program_action.sa_mask, SIGSEGV);
  return true;
}

}  // namespace vmux::preload
