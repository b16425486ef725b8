// SPDX-License-Identifier: BSD-3-Clause
// Functions that take a path: redirected into the generated tree, or opening one of our character devices.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <charconv>
#include <climits>
#include <cstdarg>
#include <cstring>

#include "base/text/format.hpp"
#include "preload/hooks/hooks.hpp"
#include "preload/process/proc_files.hpp"
#include "preload/vfio/fd_table.hpp"

namespace vmux::preload {

void Target::look_up(const std::string& path) {
  World* world = World::get_for(path);
  if (world == nullptr) return;
  const std::string walked = walk(*world, path);
  redirected_ = world->paths().redirect(walked);
  if (redirected_) node_ = world->paths().node(walked);
}

void Target::look_up_descriptor(std::string_view path) {
  const std::string own = fmt::format("/proc/{}/fd/", ::getpid());
  int fd = -1;
  for (const std::string_view prefix : {std::string_view{"/proc/self/fd/"}, std::string_view{"/proc/thread-self/fd/"},
                                        std::string_view{"/dev/fd/"}, std::string_view{own}}) {
    if (!path.starts_with(prefix)) continue;
    const std::string_view number = path.substr(prefix.size());
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), fd);
    if (error == std::errc{} && end == number.data() + number.size()) file_ = FdTable::instance().find(fd);
  }
}

/// From a directory of the machine above ours, or one of our tree.
void Target::look_up_from(int directory) {
  const std::string base = read_proc_link(directory == AT_FDCWD ? "self/cwd" : fmt::format("self/fd/{}", directory));
  if (base.empty()) return;
  // What the program calls a directory of the tree.
  const World* world = World::existing();
  const std::string shown{world == nullptr ? std::string_view{base} : world->paths().conceal(base)};
  const auto whole = join_paths(shown, path_);
  if (Paths::may_concern(whole)) look_up(whole);
}

/// `path` without its "..", as the kernel walks it: what they leave depends on links, ours and the machine's. Empty
/// when the way is not there.
std::string Target::walk(const World& world, const std::string& path) {
  constexpr int kMostLinks = 40;
  if (path.find("/..") == std::string::npos) return path;
  std::string done, rest = path;
  for (int links = 0; links < kMostLinks && (rest + '/').find("/../") != std::string::npos;) {
    rest.erase(0, std::min(rest.find_first_not_of('/'), rest.size()));
    const std::string part = rest.substr(0, rest.find('/'));
    rest.erase(0, part.size());
    if (part == "..") done.erase(std::min(done.rfind('/'), done.size()));
    if (part == ".." || part == "." || part.empty()) continue;
    const std::string next = done + '/' + part, real = world.paths().redirect(next).value_or(next);
    struct stat status {};
    char target[PATH_MAX];
    if (::lstat(real.c_str(), &status) != 0) return {};
    if (!S_ISLNK(status.st_mode)) {
      if (!S_ISDIR(status.st_mode)) return next + "/.";  // ENOTDIR, by the name of a directory
      done = next;
      continue;
    }
    const ssize_t length = ::readlink(real.c_str(), target, sizeof target);
    if (length <= 0) return {};
    ++links;
    if (*target == '/') done.clear();
    rest = '/' + std::string{target, static_cast<std::size_t>(length)} + rest;
  }
  return done + rest;
}

namespace {

constexpr bool takes_mode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

template <class Real>
int open_with(int directory, const char* path, int flags, Real real) {
  const Target target{path, directory};
  const bool is_device = target.node() || target.file();
  if (!is_device || (flags & O_PATH) != 0) return real(target.path());
  const Inside inside;
  const auto node = target.file() ? node_of(target.file()->device_number()) : target.node();
  return returned(node ? World::existing()->open(*node, flags) : -ENXIO);  // a file without a name is not opened again
}

/// What a link of /proc to a descriptor of ours says.
std::string name_of(const Object& object) {
  const auto node = node_of(object.device_number());
  if (!node) return fmt::format("anon_inode:[{}]", object.kind());
  switch (node->kind) {
    case Node::Kind::container:
      return "/dev/vfio/vfio";
    case Node::Kind::iommufd:
      return "/dev/iommu";
    case Node::Kind::group:
      return fmt::format("/dev/vfio/{}", node->number);
    case Node::Kind::cdev:
      return fmt::format("/dev/vfio/devices/vfio{}", node->number);
  }
  return {};
}

/// readlink() of the program, of what `real(path)` does.
template <class Real>
ssize_t read_link(const char* path, int directory, char* into, size_t size, Real real) {
  const Target target{path, directory};
  if (!target.file()) return real(target.path());
  const Inside inside;
  return static_cast<ssize_t>(name_of(*target.file()).copy(into, size));
}

/// What fopen() opens a file with.
int flags_of(const char* mode) {
  int flags = *mode == 'r' ? O_RDONLY : O_WRONLY | O_CREAT | (*mode == 'w' ? O_TRUNC : O_APPEND);
  for (const char* more = mode + 1; *more != '\0' && *more != ','; ++more) {
    if (*more == '+') flags = (flags & ~O_ACCMODE) | O_RDWR;
    if (*more == 'e') flags |= O_CLOEXEC;
    if (*more == 'x') flags |= O_EXCL;
  }
  return flags;
}

/// A stream of a device is there for its descriptor: what stdio reads and writes by itself does not reach us.
template <class Real>
FILE* open_stream(const char* path, const char* mode, Real real) {
  const Target target{path};
  if (!target.node()) return real(target.path());
  const Inside inside;
  const int fd = returned(World::existing()->open(*target.node(), flags_of(mode)));
  return fd < 0 ? nullptr : ::fdopen(fd, mode);
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

using vmux::preload::open_stream;
using vmux::preload::open_with;
using vmux::preload::read_link;
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

VMUX_HOOK FILE* fopen(const char* path, const char* mode) {
  return open_stream(path, mode, [&](const char* real) { return VMUX_REAL(fopen)(real, mode); });
}
VMUX_HOOK FILE* fopen64(const char* path, const char* mode) {
  return open_stream(path, mode, [&](const char* real) { return VMUX_REAL(fopen64)(real, mode); });
}
VMUX_HOOK FILE* freopen(const char* path, const char* mode, FILE* stream) {
  return VMUX_REAL(freopen)(Target{path}.path(), mode, stream);
}
VMUX_HOOK FILE* freopen64(const char* path, const char* mode, FILE* stream) {
  return VMUX_REAL(freopen64)(Target{path}.path(), mode, stream);
}
// The C library closes the descriptor by itself.
VMUX_HOOK int fclose(FILE* stream) {
  const int fd = vmux::preload::Inside::is() || stream == nullptr ? -1 : fileno(stream);
  if (vmux::preload::FdTable::instance().may_be_ours(fd)) {
    const vmux::preload::Inside inside;
    vmux::preload::FdTable::instance().closing(fd);
  }
  return VMUX_REAL(fclose)(stream);
}
VMUX_HOOK int creat(const char* path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
VMUX_HOOK int creat64(const char* path, mode_t mode) { return creat(path, mode); }
VMUX_HOOK int chroot(const char* path) noexcept {
  if (!vmux::preload::Inside::is() && !vmux::preload::settings().devices.empty()) {
    const vmux::preload::Inside inside;
    vmux::preload::keep_proc();
  }
  return VMUX_REAL(chroot)(Target{path}.path());
}
VMUX_HOOK int chdir(const char* path) noexcept { return VMUX_REAL(chdir)(Target{path}.path()); }
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
  return read_link(path, AT_FDCWD, into, size, [&](const char* real) { return VMUX_REAL(readlink)(real, into, size); });
}
VMUX_HOOK ssize_t readlinkat(int directory, const char* path, char* into, size_t size) noexcept {
  return read_link(path, directory, into, size,
                   [&](const char* real) { return VMUX_REAL(readlinkat)(directory, real, into, size); });
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
