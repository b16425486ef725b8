// SPDX-License-Identifier: BSD-3-Clause
// SIGSEGV, which the emulation of trapping registers needs: the program's own action is kept behind ours, and no thread
// of the program ever blocks the signal. (A fault whose signal is blocked ends the process.)
#include <pthread.h>
#include <signal.h>

#include "preload/hooks/hooks.hpp"
#include "preload/mmio/mmio_trap.hpp"

namespace vmux::preload {
namespace {

bool may_trap() { return can_trap() && !Inside::is() && !settings().devices.empty(); }

/// `real(set)` with a set that leaves SIGSEGV alone.
template <class Real>
int change_mask(int how, const sigset_t* set, Real real) {
  if (set == nullptr || how == SIG_UNBLOCK || !may_trap()) return real(set);
  sigset_t without = *set;
  sigdelset(&without, SIGSEGV);
  return real(&without);
}

/// Whoever started the program may have blocked it.
__attribute__((constructor)) void unblock() {
  if (!may_trap()) return;
  sigset_t segv;
  sigemptyset(&segv);
  sigaddset(&segv, SIGSEGV);
  (void)VMUX_REAL(pthread_sigmask)(SIG_UNBLOCK, &segv, nullptr);
}

}  // namespace
}  // namespace vmux::preload

using namespace vmux::preload;

VMUX_HOOK int sigaction(int number, const struct sigaction* wanted, struct sigaction* before) noexcept {
  if (number == SIGSEGV && !Inside::is() && keep_segv_action(wanted, before)) return 0;
  if (wanted == nullptr || !may_trap()) return VMUX_REAL(sigaction)(number, wanted, before);
  struct sigaction without = *wanted;
  sigdelset(&without.sa_mask, SIGSEGV);
  return VMUX_REAL(sigaction)(number, &without, before);
}
VMUX_HOOK sighandler_t signal(int number, sighandler_t handler) noexcept {
  struct sigaction wanted {
  }, before{};
  wanted.sa_handler = handler;
  wanted.sa_flags = SA_RESTART;
  if (number == SIGSEGV && !Inside::is() && keep_segv_action(&wanted, &before)) return before.sa_handler;
  return VMUX_REAL(signal)(number, handler);
}
VMUX_HOOK int pthread_sigmask(int how, const sigset_t* set, sigset_t* before) noexcept {
  return change_mask(how, set, [&](const sigset_t* given) { return VMUX_REAL(pthread_sigmask)(how, given, before); });
}
VMUX_HOOK int sigprocmask(int how, const sigset_t* set, sigset_t* before) noexcept {
  return change_mask(how, set, [&](const sigset_t* given) { return VMUX_REAL(sigprocmask)(how, given, before); });
}
