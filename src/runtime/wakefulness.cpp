// SPDX-License-Identifier: BSD-3-Clause
#include "runtime/wakefulness.hpp"

#include <fcntl.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace vmux::runtime {
namespace {

constexpr std::int32_t kNoLatency = 0;
constexpr std::int32_t kDefault = -1;  // PM_QOS_DEFAULT_VALUE: no wish

}  // namespace

Wakefulness::Wakefulness(const std::string& device) : device_(::open(device.c_str(), O_WRONLY | O_CLOEXEC)) {}

void Wakefulness::hold() noexcept {
  if (is_held_ || !device_) return;
  ask(kNoLatency);
  is_held_ = true;
}

void Wakefulness::release() noexcept {
  if (!is_held_) return;
  ask(kDefault);
  is_held_ = false;
}

bool in_virtual_machine() noexcept {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & (1u << 31)) != 0;  // reserved for hypervisors to set
#else
  return false;
#endif
}

void Wakefulness::ask(std::int32_t latency_us) noexcept {
  // A kernel that refuses only leaves things as they were: nobody depends on it.
  if (::write(device_.get(), &latency_us, sizeof latency_us) < 0) device_ = UniqueFd{};
}

}  // namespace vmux::runtime
