// SPDX-License-Identifier: BSD-3-Clause
// What all hooks share: the C library's own functions, and a guard against meeting ourselves.
#pragma once

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "preload/process/settings.hpp"
#include "preload/tree/world.hpp"

/// Marks a function of the C library that we stand in front of.
#define VMUX_HOOK extern "C" __attribute__((visibility("default")))
/// The C library's own one.
#define VMUX_REAL(name)                                                                          \
  ([]() noexcept {                                                                               \
    static const auto function = reinterpret_cast<decltype(&::name)>(::dlsym(RTLD_NEXT, #name)); \
    return function;                                                                             \
  }())
/// The same for a function that no header declares.
#define VMUX_REAL_AS(name, ...)                                                            \
  ([]() noexcept {                                                                         \
    static const auto function = reinterpret_cast<__VA_ARGS__>(::dlsym(RTLD_NEXT, #name)); \
    return function;                                                                       \
  }())

namespace vmux::preload {

/// The C library's syscall(). Not by VMUX_REAL: where two threads meet at what that keeps, the C++ library waits by
/// syscall(), which is ours.
[[nodiscard]] inline auto real_syscall() noexcept {
  static constinit std::atomic<decltype(&::syscall)> function = nullptr;
  auto found = function.load(std::memory_order_relaxed);
  if (found == nullptr) {
    found = reinterpret_cast<decltype(&::syscall)>(::dlsym(RTLD_NEXT, "syscall"));
    function.store(found, std::memory_order_relaxed);
  }
  return found;
}

/// While one lives on a thread, that thread's calls into the C library are our own and pass through every hook. Signals
/// wait meanwhile, as they do while the kernel is in a driver: a handler of the program may use a device, and must not
/// find our locks held by the thread that it interrupted. Faults do not wait, nor does what the C library sends itself.
class Inside {
 public:
  Inside() noexcept {
    if (depth()++ == 0) set_mask(held_back(), before_);
  }
  ~Inside() {
    std::uint64_t ignored = 0;
    if (--depth() == 0) set_mask(before_, ignored);
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  [[nodiscard]] static bool is() noexcept { return depth() != 0; }

 private:
  static constexpr std::uint64_t held_back() noexcept {
    // Faults; and 32 and 33, which are nptl's SIGCANCEL and SIGSETXID.
    std::uint64_t mask = ~std::uint64_t{0};
    for (const int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT, 32, 33}) {
      mask &= ~(std::uint64_t{1} << (number - 1));
    }
    return mask;
  }
  static void set_mask(std::uint64_t wanted, std::uint64_t& before) noexcept {
    const int error = errno;
    (void)real_syscall()(SYS_rt_sigprocmask, SIG_SETMASK, &wanted, &before, sizeof wanted);
    errno = error;
  }
  std::uint64_t before_ = 0;

  static int& depth() noexcept {
    static thread_local int value __attribute__((tls_model("initial-exec"))) = 0;
    return value;
  }
};

/// A negated errno as the C library returns it.
template <class T = int>
[[nodiscard]] inline T returned(long result) noexcept {
  if (result >= 0) return static_cast<T>(result);
  errno = static_cast<int>(-result);
  return static_cast<T>(-1);
}

/// Where a path of the program leads; one that does not begin at the root begins at a directory.
class Target {
 public:
  explicit Target(const char* path, int directory = AT_FDCWD) : path_(path) {
    if (path == nullptr || *path == '\0' || Inside::is()) return;
    if (may_name_descriptor(path)) {
      const Inside inside;
      look_up_descriptor(path);
      if (file_) return;
    }
    const bool is_relative = *path != '/';
    if (is_relative ? settings().devices.empty() : !Paths::may_concern(path)) return;
    const Inside inside;
    const int before = errno;
    is_relative ? look_up_from(directory) : look_up(path);
    errno = before;
  }
  [[nodiscard]] const char* path() const noexcept { return redirected_ ? redirected_->c_str() : path_; }
  [[nodiscard]] bool is_ours() const noexcept { return redirected_.has_value(); }
  [[nodiscard]] const std::optional<Node>& node() const noexcept { return node_; }
  /// What is behind a descriptor of ours that the path names (/proc/self/fd/N).
  [[nodiscard]] const std::shared_ptr<Object>& file() const noexcept { return file_; }

 private:
  static bool may_name_descriptor(const char* path) noexcept {
    const std::string_view text = path;
    return (text.starts_with("/proc/") || text.starts_with("/dev/fd/")) && World::existing() != nullptr;
  }
  void look_up_descriptor(std::string_view path);
  void look_up(const std::string& path);
  void look_up_from(int directory);
  static std::string walk(const World& world, const std::string& path);
  const char* path_;
  std::optional<std::string> redirected_;
  std::optional<Node> node_;
  std::shared_ptr<Object> file_;
};

}  // namespace vmux::preload
