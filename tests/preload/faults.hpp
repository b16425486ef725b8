// SPDX-License-Identifier: BSD-3-Clause
// Does an access fault? With a handler of the program, which jumps away as such handlers do.
#pragma once

#include <setjmp.h>
#include <signal.h>

#include <cstdint>

namespace vmux::tests {

class Faults {
 public:
  Faults() {
    struct sigaction wanted {};
    wanted.sa_handler = [](int number) { siglongjmp(place(), number); };
    wanted.sa_flags = static_cast<int>(SA_NODEFER);
    sigaction(SIGSEGV, &wanted, &segv_);
    sigaction(SIGBUS, &wanted, &bus_);
  }
  ~Faults() {
    sigaction(SIGSEGV, &segv_, nullptr);
    sigaction(SIGBUS, &bus_, nullptr);
  }
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;

  /// The signal that the access raises, or 0.
  [[nodiscard]] static int reading(const volatile void* at) {
    const int number = sigsetjmp(place(), 1);
    if (number == 0) (void)*static_cast<const volatile std::uint32_t*>(at);
    return number;
  }
  [[nodiscard]] static int writing(volatile void* at, std::uint32_t value = 0) {
    const int number = sigsetjmp(place(), 1);
    if (number == 0) *static_cast<volatile std::uint32_t*>(at) = value;
    return number;
  }

 private:
  static sigjmp_buf& place() {
    static thread_local sigjmp_buf buffer;
    return buffer;
  }
  struct sigaction segv_ {
  }, bus_{};
};

}  // namespace vmux::tests
