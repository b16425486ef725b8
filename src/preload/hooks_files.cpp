// SPDX-License-Identifier: BSD-3-Clause
// Functions that take a path: redirected into the generated tree, or opening one of our character devices.
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <climits>
#include <cstdarg>
#include <cstring>

#include "base/format.hpp"
#include "preload/hooks.hpp"

namespace vmux::preload {

void Target::look_up(const std::string& path) {
  World* world = World::get_for(path);
  if (world == nullptr) return;
  redirected_ = world->paths().redirect(path);
  if (redirected_) node_ = world->paths().node(path);
}

/// From a directory of the machine above ours; one in our own tree leads to the right place by itself.
void Target::look_up_from(int directory) {
  char base[PATH_MAX];
  const std::string link =
      directory == AT_FDCWD ? std::string{"/proc/self/cwd"} : fmt::format("/proc/self/fd/{}", directory);
  const ssize_t length = ::readlink(link.c_str(), base, sizeof base);
  if (length <= 0) return;
  const auto whole = join_paths({base, static_cast<std::size_t>(length)}, path_);
  if (Paths::may_concern(whole)) look_up(whole);
}

namespace {

constexpr bool takes_mode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

template <class Real>
int open_with(int directory, const char* path, int flags, Real real) {
  const Target target{path, directory};
  if (!target.node() || (flags & O_PATH) != 0) return real(target.path());
  const Inside inside;
  return returned(World::existing()->open(*target.node(), flags));
}

/// The last argument of open(), if it is there.
#define VMUX_MODE(flags)         \
  mode_t mode = 0;               \
  if (takes_mode(flags)) {       \
    va_list rest;                \
    va_start(rest, flags);       \
    mode = va_arg(rest, mode_t); \
    va_end(rest);                \
  }

}  // namespace
}  // namespace vmux::preload

using vmux::preload::open_with;
using vmux::preload::takes_mode;
using vmux::preload::Target;
using vmux::preload::World;

VMUX_HOOK int open(const char* path, int flags, ...) {
  VMUX_MODE(flags)
  return open_with(AT_FDCWD, path, flags, [&](const char* real) { return VMUX_REAL(open)(real, flags, mode); });
}
VMUX_HOOK int open64(const char* path, int flags, ...) {
  VMUX_MODE(flags)
  return open_with(AT_FDCWD, path, flags, [&](const char* real) { return VMUX_REAL(open64)(real, flags, mode); });
}
VMUX_HOOK int openat(int directory, const char* path, int flags, ...) {
  VMUX_MODE(flags)
  return open_with(directory, path, flags,
                   [&](const char* real) { return VMUX_REAL(openat)(directory, real, flags, mode); });
}
VMUX_HOOK int openat64(int directory, const char* path, int flags, ...) {
  VMUX_MODE(flags)
  return open_with(directory, path, flags,
                   [&](const char* real) { return VMUX_REAL(openat64)(directory, real, flags, mode); });
}
// What -D_FORTIFY_SOURCE makes of open() without a mode.
VMUX_HOOK int __open_2(const char* path, int flags) { return open(path, flags); }
VMUX_HOOK int __open64_2(const char* path, int flags) { return open64(path, flags); }
VMUX_HOOK int __openat_2(int directory, const char* path, int flags) { return openat(directory, path, flags); }
VMUX_HOOK int __openat64_2(int directory, const char* path, int flags) { return openat64(directory, path, flags); }

VMUX_HOOK FILE* fopen(const char* path, const char* mode) { return VMUX_REAL(fopen)(Target{path}.path(), mode); }
VMUX_HOOK FILE* fopen64(const char* path, const char* mode) { return VMUX_REAL(fopen64)(Target{path}.path(), mode); }
VMUX_HOOK DIR* opendir(const char* path) { return VMUX_REAL(opendir)(Target{path}.path()); }
VMUX_HOOK int chdir(const char* path) noexcept { return VMUX_REAL(chdir)(Target{path}.path()); }
VMUX_HOOK int scandir(const char* path, dirent*** names, int (*filter)(const dirent*),
                      int (*compare)(const dirent**, const dirent**)) {
  return VMUX_REAL(scandir)(Target{path}.path(), names, filter, compare);
}
VMUX_HOOK int scandir64(const char* path, dirent64*** names, int (*filter)(const dirent64*),
                        int (*compare)(const dirent64**, const dirent64**)) {
  return VMUX_REAL(scandir64)(Target{path}.path(), names, filter, compare);
}

VMUX_HOOK int access(const char* path, int mode) noexcept { return VMUX_REAL(access)(Target{path}.path(), mode); }
VMUX_HOOK int eaccess(const char* path, int mode) noexcept { return VMUX_REAL(eaccess)(Target{path}.path(), mode); }
VMUX_HOOK int euidaccess(const char* path, int mode) noexcept {
  return VMUX_REAL(euidaccess)(Target{path}.path(), mode);
}
VMUX_HOOK int faccessat(int directory, const char* path, int mode, int flags) noexcept {
  return VMUX_REAL(faccessat)(directory, Target{path, directory}.path(), mode, flags);
}

VMUX_HOOK ssize_t getxattr(const char* path, const char* name, void* value, size_t size) noexcept {
  return VMUX_REAL(getxattr)(Target{path}.path(), name, value, size);
}
VMUX_HOOK ssize_t lgetxattr(const char* path, const char* name, void* value, size_t size) noexcept {
  return VMUX_REAL(lgetxattr)(Target{path}.path(), name, value, size);
}

VMUX_HOOK ssize_t readlink(const char* path, char* into, size_t size) noexcept {
  return VMUX_REAL(readlink)(Target{path}.path(), into, size);
}
VMUX_HOOK ssize_t readlinkat(int directory, const char* path, char* into, size_t size) noexcept {
  return VMUX_REAL(readlinkat)(directory, Target{path, directory}.path(), into, size);
}
VMUX_HOOK ssize_t __readlink_chk(const char* path, char* into, size_t size, size_t room) {
  using Function = ssize_t (*)(const char*, char*, size_t, size_t);
  return VMUX_REAL_AS(__readlink_chk, Function)(Target{path}.path(), into, size, room);
}
VMUX_HOOK ssize_t __readlinkat_chk(int directory, const char* path, char* into, size_t size, size_t room) {
  using Function = ssize_t (*)(int, const char*, char*, size_t, size_t);
  return VMUX_REAL_AS(__readlinkat_chk, Function)(directory, Target{path, directory}.path(), into, size, room);
}

VMUX_HOOK char* realpath(const char* path, char* into) noexcept {
  const Target target{path};
  if (!target.is_ours()) return VMUX_REAL(realpath)(path, into);
  char* real = VMUX_REAL(realpath)(target.path(), nullptr);
  if (real == nullptr) return nullptr;
  // The end of the same string, so that it fits wherever the whole fits.
  const std::string_view shown = World::existing()->paths().conceal(real);
  char* result = into != nullptr ? into : real;
  std::memmove(result, shown.data(), shown.size() + 1);
  if (into != nullptr) free(real);
  return result;
}
VMUX_HOOK char* __realpath_chk(const char* path, char* into, size_t) { return realpath(path, into); }
VMUX_HOOK char* canonicalize_file_name(const char* path) noexcept { return realpath(path, nullptr); }

VMUX_HOOK int glob(const char* pattern, int flags, int (*on_error)(const char*, int), glob_t* found) noexcept {
  const Target target{pattern};
  const size_t before = target.is_ours() && (flags & GLOB_APPEND) != 0 ? found->gl_pathc : 0;
  const int result = VMUX_REAL(glob)(target.path(), flags, on_error, found);
  if (result != 0 || !target.is_ours()) return result;
  const size_t first = before + ((flags & GLOB_DOOFFS) != 0 ? found->gl_offs : 0);
  for (size_t i = first; found->gl_pathv[i] != nullptr; ++i) {
    const std::string_view shown = World::existing()->paths().conceal(found->gl_pathv[i]);
    std::memmove(found->gl_pathv[i], shown.data(), shown.size() + 1);
  }
  return result;
}
