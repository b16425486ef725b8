// SPDX-License-Identifier: BSD-3-Clause
// What all hooks share: the C library's own functions, and a guard against meeting ourselves.
#pragma once

#include <dlfcn.h>
#include <sys/stat.h>

#include <cerrno>
#include <optional>
#include <string>

#include "preload/world.hpp"

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

/// While one lives on a thread, that thread's calls into the C library are our own and pass through every hook.
class Inside {
 public:
  Inside() noexcept { ++depth(); }
  ~Inside() { --depth(); }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  [[nodiscard]] static bool is() noexcept { return depth() != 0; }

 private:
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

/// Where a path of the program leads.
class Target {
 public:
  explicit Target(const char* path) : path_(path) {
    if (path == nullptr || Inside::is() || !Paths::may_concern(path)) return;
    const Inside inside;
    const int before = errno;
    look_up();
    errno = before;
  }
  [[nodiscard]] const char* path() const noexcept { return redirected_ ? redirected_->c_str() : path_; }
  [[nodiscard]] bool is_ours() const noexcept { return redirected_.has_value(); }
  [[nodiscard]] const std::optional<Node>& node() const noexcept { return node_; }

 private:
  void look_up();
  const char* path_;
  std::optional<std::string> redirected_;
  std::optional<Node> node_;
};

}  // namespace vmux::preload
