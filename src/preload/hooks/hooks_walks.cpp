// SPDX-License-Identifier: BSD-3-Clause
// ftw() and nftw() where a walk may come through our tree: the C library's own ones open directories by themselves. The
// rules are those of nftw(3) and of glibc's ftw.c.
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "preload/hooks/hooks.hpp"
#include "preload/hooks/walk_names.hpp"

namespace vmux::preload {
namespace {

using Callback = std::function<int(const char*, const struct stat*, int, FTW*)>;

class TreeWalk {
 public:
  TreeWalk(Callback callback, int flags) : callback_(std::move(callback)), flags_(flags) {}

  int run(const std::string& path) {
    const int before = (flags_ & FTW_CHDIR) != 0 ? ::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    // Where the program's directory changes, relative names are of the one that it began in.
    std::string start;
    if (before >= 0 && path.front() != '/') {
      char name[PATH_MAX];
      if (::getcwd(name, sizeof name) != nullptr) start = std::string{name} + '/';
    }
    start_ = start;
    struct stat status {};
    if (::lstat((start_ + path).c_str(), &status) != 0) return -1;
    device_ = status.st_dev;
    const std::size_t slash = path.find_last_of('/', path.find_last_not_of('/'));
    const int result = visit(path, slash == std::string::npos ? 0 : static_cast<int>(slash) + 1, 0);
    if (before >= 0) {
      const int error = errno;
      (void)::fchdir(before);
      ::close(before);
      errno = error;
    }
    const bool acts = (flags_ & FTW_ACTIONRETVAL) != 0;
    return acts && (result == FTW_SKIP_SUBTREE || result == FTW_SKIP_SIBLINGS) ? 0 : result;
  }

 private:
  int visit(const std::string& path, int base, int level) {
    struct stat status {};
    const int type = type_of(path, status);
    if (type < 0) return -1;
    if (type != FTW_D) return tell(path, status, type, base, level);
    if ((flags_ & FTW_MOUNT) != 0 && status.st_dev != device_ && !Target{(start_ + path).c_str()}.is_ours()) return 0;
    if ((flags_ & FTW_PHYS) == 0 && !seen_.emplace(status.st_dev, status.st_ino).second) return 0;
    const auto names = names_in(start_ + path);
    if (!names) return errno == EACCES ? tell(path, status, FTW_DNR, base, level) : -1;
    const bool is_first = (flags_ & FTW_DEPTH) == 0;
    int result = is_first ? tell(path, status, FTW_D, base, level) : 0;
    if ((flags_ & FTW_ACTIONRETVAL) != 0 && result == FTW_SKIP_SUBTREE) return 0;
    const std::string before = path.ends_with('/') ? path : path + '/';
    for (std::size_t i = 0; i < names->size() && result == 0; ++i) {
      result = visit(before + (*names)[i], static_cast<int>(before.size()), level + 1);
      if ((flags_ & FTW_ACTIONRETVAL) == 0) continue;
      if (result == FTW_SKIP_SUBTREE) result = 0;
      if (result == FTW_SKIP_SIBLINGS) break;
    }
    if ((flags_ & FTW_ACTIONRETVAL) != 0 && result == FTW_SKIP_SIBLINGS) result = 0;
    return result == 0 && !is_first ? tell(path, status, FTW_DP, base, level) : result;
  }

  /// -1 for an error that ends the walk.
  int type_of(const std::string& path, struct stat& status) const {
    const std::string where = start_ + path;
    const bool is_physical = (flags_ & FTW_PHYS) != 0;
    if ((is_physical ? ::lstat(where.c_str(), &status) : ::stat(where.c_str(), &status)) != 0) {
      if (errno != EACCES && errno != ENOENT) return -1;
      const bool is_link = !is_physical && ::lstat(where.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
      return is_link ? FTW_SLN : FTW_NS;
    }
    if (S_ISDIR(status.st_mode)) return FTW_D;
    return S_ISLNK(status.st_mode) ? FTW_SL : FTW_F;
  }

  int tell(const std::string& path, const struct stat& status, int type, int base, int level) {
    if ((flags_ & FTW_CHDIR) != 0) {
      const std::string directory = start_ + path.substr(0, static_cast<std::size_t>(base));
      if (::chdir(directory.empty() ? "." : directory.c_str()) != 0) return -1;
    }
    FTW where{base, level};
    return callback_(path.c_str(), &status, type, &where);
  }

  Callback callback_;
  int flags_;
  std::string start_;
  dev_t device_ = 0;
  std::set<std::pair<dev_t, ino_t>> seen_;
};

int walk(const char* path, Callback callback, int flags) { return TreeWalk{std::move(callback), flags}.run(path); }

/// What ftw() knows of types.
int old_type(int type) { return type == FTW_SL ? FTW_F : type == FTW_SLN ? FTW_NS : type; }

}  // namespace
}  // namespace vmux::preload

using namespace vmux::preload;

VMUX_HOOK int nftw(const char* path, __nftw_func_t callback, int descriptors, int flags) {
  if (!may_walk_into_ours(path)) return VMUX_REAL(nftw)(path, callback, descriptors, flags);
  return walk(path, callback, flags);
}
VMUX_HOOK int nftw64(const char* path, __nftw64_func_t callback, int descriptors, int flags) {
  return nftw(path, reinterpret_cast<__nftw_func_t>(callback), descriptors, flags);
}
VMUX_HOOK int ftw(const char* path, __ftw_func_t callback, int descriptors) {
  if (!may_walk_into_ours(path)) return VMUX_REAL(ftw)(path, callback, descriptors);
  const auto call = [callback](const char* name, const struct stat* status, int type, FTW*) {
    return callback(name, status, old_type(type));
  };
  return walk(path, call, 0);
}
VMUX_HOOK int ftw64(const char* path, __ftw64_func_t callback, int descriptors) {
  return ftw(path, reinterpret_cast<__ftw_func_t>(callback), descriptors);
}
