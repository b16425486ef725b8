// SPDX-License-Identifier: BSD-3-Clause
// stat() and its family. Our character devices are ordinary files in the tree; here they become what they stand for.
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "preload/hooks/hooks.hpp"
#include "preload/vfio/fd_table.hpp"

namespace vmux::preload {
namespace {

dev_t number_of(const Node& node) {
  switch (node.kind) {
    case Node::Kind::container:
      return makedev(kMiscMajor, kVfioMinor);
    case Node::Kind::iommufd:
      return makedev(kMiscMajor, kIommuMinor);
    case Node::Kind::group:
      return makedev(kGroupMajor, node.number);
    case Node::Kind::cdev:
      return makedev(kCdevMajor, node.number);
  }
  return 0;
}

/// Number 0: a file without a name (a device that its group opened), which the kernel shows without a type.
mode_t mode_of(dev_t number) { return (number == 0 ? 0 : S_IFCHR) | 0600; }

template <class Stat>
void show_device(Stat& status, dev_t number) {
  status.st_mode = mode_of(number);
  status.st_rdev = number;
  status.st_size = 0;
  status.st_blocks = 0;
}

template <class Stat, class Real>
int stat_path(const char* path, Stat* status, Real real, int directory = AT_FDCWD) {
  const Target target{path, directory};
  const int result = real(target.path());
  if (result == 0 && target.node()) show_device(*status, number_of(*target.node()));
  if (result == 0 && target.file() && !S_ISLNK(status->st_mode)) show_device(*status, target.file()->device_number());
  return result;
}

/// Device number of a descriptor of ours.
std::optional<dev_t> number_of_fd(int fd) {
  if (Inside::is() || !FdTable::instance().may_be_ours(fd)) return std::nullopt;
  const Inside inside;
  const auto object = FdTable::instance().find(fd);
  return object ? std::optional{object->device_number()} : std::nullopt;
}

template <class Stat, class Real>
int stat_fd(int fd, Stat* status, Real real) {
  const int result = real();
  if (result != 0) return result;
  if (const auto number = number_of_fd(fd)) show_device(*status, *number);
  return result;
}

/// fstatat() and statx() of the descriptor itself.
bool is_of_fd(const char* path, int flags) {
  return (flags & AT_EMPTY_PATH) != 0 && (path == nullptr || *path == '\0');
}

}  // namespace
}  // namespace vmux::preload

using namespace vmux::preload;

VMUX_HOOK int stat(const char* path, struct stat* status) noexcept {
  return stat_path(path, status, [&](const char* real) { return VMUX_REAL(stat)(real, status); });
}
VMUX_HOOK int stat64(const char* path, struct stat64* status) noexcept {
  return stat_path(path, status, [&](const char* real) { return VMUX_REAL(stat64)(real, status); });
}
VMUX_HOOK int lstat(const char* path, struct stat* status) noexcept {
  return stat_path(path, status, [&](const char* real) { return VMUX_REAL(lstat)(real, status); });
}
VMUX_HOOK int lstat64(const char* path, struct stat64* status) noexcept {
  return stat_path(path, status, [&](const char* real) { return VMUX_REAL(lstat64)(real, status); });
}
VMUX_HOOK int fstat(int fd, struct stat* status) noexcept {
  return stat_fd(fd, status, [&] { return VMUX_REAL(fstat)(fd, status); });
}
VMUX_HOOK int fstat64(int fd, struct stat64* status) noexcept {
  return stat_fd(fd, status, [&] { return VMUX_REAL(fstat64)(fd, status); });
}
VMUX_HOOK int fstatat(int directory, const char* path, struct stat* status, int flags) noexcept {
  const auto real = [&](const char* where) { return VMUX_REAL(fstatat)(directory, where, status, flags); };
  if (is_of_fd(path, flags)) return stat_fd(directory, status, [&] { return real(path); });
  return stat_path(path, status, real, directory);
}
VMUX_HOOK int fstatat64(int directory, const char* path, struct stat64* status, int flags) noexcept {
  const auto real = [&](const char* where) { return VMUX_REAL(fstatat64)(directory, where, status, flags); };
  if (is_of_fd(path, flags)) return stat_fd(directory, status, [&] { return real(path); });
  return stat_path(path, status, real, directory);
}
VMUX_HOOK int statx(int directory, const char* path, int flags, unsigned mask, struct statx* status) noexcept {
  const Target target{path, directory};
  const int result = VMUX_REAL(statx)(directory, target.path(), flags, mask, status);
  if (result != 0) return result;
  std::optional<dev_t> number;
  if (is_of_fd(path, flags)) number = number_of_fd(directory);
  if (target.node()) number = number_of(*target.node());
  if (target.file() && !S_ISLNK(status->stx_mode)) number = target.file()->device_number();
  if (!number) return result;
  status->stx_mode = static_cast<decltype(status->stx_mode)>(mode_of(*number));
  status->stx_rdev_major = major(*number);
  status->stx_rdev_minor = minor(*number);
  status->stx_size = status->stx_blocks = 0;
  return result;
}

// Programs built against a C library before 2.33 call these; the first argument is the version of the struct.
VMUX_HOOK int __xstat(int version, const char* path, struct stat* status) {
  using Function = int (*)(int, const char*, struct stat*);
  return stat_path(path, status,
                   [&](const char* real) { return VMUX_REAL_AS(__xstat, Function)(version, real, status); });
}
VMUX_HOOK int __xstat64(int version, const char* path, struct stat64* status) {
  using Function = int (*)(int, const char*, struct stat64*);
  return stat_path(path, status,
                   [&](const char* real) { return VMUX_REAL_AS(__xstat64, Function)(version, real, status); });
}
VMUX_HOOK int __lxstat(int version, const char* path, struct stat* status) {
  using Function = int (*)(int, const char*, struct stat*);
  return stat_path(path, status,
                   [&](const char* real) { return VMUX_REAL_AS(__lxstat, Function)(version, real, status); });
}
VMUX_HOOK int __lxstat64(int version, const char* path, struct stat64* status) {
  using Function = int (*)(int, const char*, struct stat64*);
  return stat_path(path, status,
                   [&](const char* real) { return VMUX_REAL_AS(__lxstat64, Function)(version, real, status); });
}
VMUX_HOOK int __fxstat(int version, int fd, struct stat* status) {
  using Function = int (*)(int, int, struct stat*);
  return stat_fd(fd, status, [&] { return VMUX_REAL_AS(__fxstat, Function)(version, fd, status); });
}
VMUX_HOOK int __fxstat64(int version, int fd, struct stat64* status) {
  using Function = int (*)(int, int, struct stat64*);
  return stat_fd(fd, status, [&] { return VMUX_REAL_AS(__fxstat64, Function)(version, fd, status); });
}
