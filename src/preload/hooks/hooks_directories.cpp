// SPDX-License-Identifier: BSD-3-Clause
// Directories as the program reads them: entries of the generated tree have the types of what they stand for, and where
// the program is has the name that it gave.
#include <dirent.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "base/text/format.hpp"
#include "preload/hooks/hooks.hpp"
#include "preload/process/proc_files.hpp"

namespace vmux::preload {
namespace {

/// Streams of directories that are ours, with the names that the program knows them by.
class OpenDirectories {
 public:
  static OpenDirectories& instance() {
    static auto& directories = *new OpenDirectories;
    return directories;
  }
  void add(DIR* stream, std::string path) {
    const std::lock_guard lock{mutex_};
    paths_[stream] = std::move(path);
    is_empty_ = false;
  }
  void remove(DIR* stream) {
    const std::lock_guard lock{mutex_};
    paths_.erase(stream);
    is_empty_ = paths_.empty();
  }
  [[nodiscard]] bool is_empty() const { return is_empty_; }
  [[nodiscard]] std::string path_of(DIR* stream) {
    const std::lock_guard lock{mutex_};
    const auto found = paths_.find(stream);
    return found == paths_.end() ? std::string{} : found->second;
  }

 private:
  std::mutex mutex_;
  std::map<DIR*, std::string> paths_;
  std::atomic<bool> is_empty_ = true;
};

DIR* open_directory(const char* path) {
  const Target target{path};
  DIR* const stream = VMUX_REAL(opendir)(target.path());
  if (stream == nullptr || !target.is_ours()) return stream;
  const Inside inside;
  OpenDirectories::instance().add(stream, std::string{World::existing()->paths().conceal(target.path())});
  return stream;
}

/// In the tree all is files and links; sysfs and /dev tell the types of what is there.
template <class Entry>
Entry* with_type(DIR* stream, Entry* entry) {
  if (entry == nullptr || OpenDirectories::instance().is_empty() || Inside::is()) return entry;
  const std::string path = [&] {
    const Inside inside;
    return OpenDirectories::instance().path_of(stream);
  }();
  struct stat status {};
  const int before = errno;
  if (!path.empty() && ::lstat((path + '/' + entry->d_name).c_str(), &status) == 0) {
    entry->d_type = static_cast<unsigned char>(IFTODT(status.st_mode));
  }
  errno = before;
  return entry;
}

/// scandir() by the functions above.
int scan(const char* path, dirent*** names, int (*filter)(const dirent*),
         int (*compare)(const dirent**, const dirent**)) {
  DIR* const stream = ::opendir(path);
  if (stream == nullptr) return -1;
  dirent** found = nullptr;
  int count = 0;
  while (dirent* entry = ::readdir(stream)) {
    if (filter != nullptr && filter(entry) == 0) continue;
    auto* const more = static_cast<dirent**>(realloc(found, (static_cast<std::size_t>(count) + 1) * sizeof *found));
    auto* const copy = static_cast<dirent*>(malloc(entry->d_reclen));
    if (more != nullptr) found = more;
    if (more == nullptr || copy == nullptr) break;
    std::memcpy(copy, entry, entry->d_reclen);
    found[count++] = copy;
  }
  ::closedir(stream);
  if (compare != nullptr && count > 1) {
    qsort(found, static_cast<std::size_t>(count), sizeof *found,
          reinterpret_cast<int (*)(const void*, const void*)>(compare));
  }
  *names = found;
  return count;
}

/// The name that the program knows a directory by, in place.
char* shown(char* path) {
  const World* world = World::existing();
  if (path == nullptr || world == nullptr || Inside::is()) return path;
  const Inside inside;
  const std::string_view name = world->paths().conceal(path);
  std::memmove(path, name.data(), name.size() + 1);
  return path;
}

}  // namespace
}  // namespace vmux::preload

using namespace vmux::preload;

VMUX_HOOK DIR* opendir(const char* path) { return open_directory(path); }
VMUX_HOOK DIR* fdopendir(int fd) {
  DIR* const stream = VMUX_REAL(fdopendir)(fd);
  const World* world = World::existing();
  if (stream == nullptr || world == nullptr || Inside::is()) return stream;
  const Inside inside;
  const std::string real = read_proc_link(fmt::format("self/fd/{}", fd));
  const std::string_view name = world->paths().conceal(real);
  if (name.size() != real.size()) OpenDirectories::instance().add(stream, std::string{name});
  return stream;
}
VMUX_HOOK dirent* readdir(DIR* stream) { return with_type(stream, VMUX_REAL(readdir)(stream)); }
VMUX_HOOK dirent64* readdir64(DIR* stream) { return with_type(stream, VMUX_REAL(readdir64)(stream)); }
VMUX_HOOK int closedir(DIR* stream) {
  if (!OpenDirectories::instance().is_empty() && !Inside::is()) {
    const Inside inside;
    OpenDirectories::instance().remove(stream);
  }
  return VMUX_REAL(closedir)(stream);
}
VMUX_HOOK int scandir(const char* path, dirent*** names, int (*filter)(const dirent*),
                      int (*compare)(const dirent**, const dirent**)) {
  if (!Target{path}.is_ours()) return VMUX_REAL(scandir)(path, names, filter, compare);
  return scan(path, names, filter, compare);
}
VMUX_HOOK int scandir64(const char* path, dirent64*** names, int (*filter)(const dirent64*),
                        int (*compare)(const dirent64**, const dirent64**)) {
  return scandir(path, reinterpret_cast<dirent***>(names), reinterpret_cast<int (*)(const dirent*)>(filter),
                 reinterpret_cast<int (*)(const dirent**, const dirent**)>(compare));
}

VMUX_HOOK char* getcwd(char* into, size_t size) noexcept {
  if (into == nullptr || World::existing() == nullptr) return shown(VMUX_REAL(getcwd)(into, size));
  char whole[PATH_MAX];  // the name that is shown may fit where the other does not
  char* const name = size == 0 ? VMUX_REAL(getcwd)(into, size) : shown(VMUX_REAL(getcwd)(whole, sizeof whole));
  if (name == nullptr) return nullptr;
  const size_t needed = std::strlen(name) + 1;
  if (needed > size) {
    errno = ERANGE;
    return nullptr;
  }
  return static_cast<char*>(std::memcpy(into, name, needed));
}
VMUX_HOOK char* get_current_dir_name() noexcept { return shown(VMUX_REAL(get_current_dir_name)()); }

// With the functions above in the place of the C library's own, a pattern leads wherever a path does.
VMUX_HOOK int glob(const char* pattern, int flags, int (*on_error)(const char*, int), glob_t* found) noexcept {
  if (Inside::is() || settings().devices.empty() || (flags & GLOB_ALTDIRFUNC) != 0) {
    return VMUX_REAL(glob)(pattern, flags, on_error, found);
  }
  found->gl_opendir = [](const char* path) -> void* { return ::opendir(path); };
  found->gl_readdir = [](void* stream) -> dirent* { return ::readdir(static_cast<DIR*>(stream)); };
  found->gl_closedir = [](void* stream) { (void)::closedir(static_cast<DIR*>(stream)); };
  found->gl_stat = [](const char* path, struct stat* status) { return ::stat(path, status); };
  found->gl_lstat = [](const char* path, struct stat* status) { return ::lstat(path, status); };
  const int result = VMUX_REAL(glob)(pattern, flags | GLOB_ALTDIRFUNC, on_error, found);
  found->gl_flags &= ~GLOB_ALTDIRFUNC;
  return result;
}
VMUX_HOOK int glob64(const char* pattern, int flags, int (*on_error)(const char*, int), glob64_t* found) noexcept {
  return glob(pattern, flags, on_error, reinterpret_cast<glob_t*>(found));
}
