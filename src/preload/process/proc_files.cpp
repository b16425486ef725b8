// SPDX-License-Identifier: BSD-3-Clause
#include "preload/process/proc_files.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>
#include <climits>

#include "preload/vfio/fd_table.hpp"

namespace vmux::preload {
namespace {

// High up, where no program puts a descriptor by number. Whether it still is /proc is looked at before each use.
constexpr int kLeastNumber = 900;
std::atomic<int> kept = -1;

bool is_proc(int fd) noexcept {
  struct statfs status {};
  return fd >= 0 && fstatfs(fd, &status) == 0 && status.f_type == PROC_SUPER_MAGIC;
}

}  // namespace

void keep_proc() noexcept {
  if (is_proc(kept)) return;
  UniqueFd proc{::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!is_proc(proc.get())) return;
  const int high = ::fcntl(proc.get(), F_DUPFD_CLOEXEC, kLeastNumber);
  kept = high >= 0 ? high : proc.release();
  FdTable::instance().hide(kept);
}

UniqueFd open_proc(const std::string& name, int flags) noexcept {
  UniqueFd fd{::open(("/proc/" + name).c_str(), flags)};
  // "self" is whoever asks, also in a child of the process that kept it.
  if (!fd && is_proc(kept)) fd.reset(::openat(kept, name.c_str(), flags));
  return fd;
}

std::string read_proc_link(const std::string& name) {
  char target[PATH_MAX];
  ssize_t length = ::readlink(("/proc/" + name).c_str(), target, sizeof target);
  if (length < 0 && is_proc(kept)) length = ::readlinkat(kept, name.c_str(), target, sizeof target);
  return {target, static_cast<std::size_t>(length < 0 ? 0 : length)};
}

}  // namespace vmux::preload
