// SPDX-License-Identifier: BSD-3-Clause
// fts(3) where a walk may come through our tree. The rules are those of the manual page; directories are never changed
// to, so that fts_accpath is fts_path.
#include <fts.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "preload/hooks/hooks.hpp"
#include "preload/hooks/walk_names.hpp"

namespace vmux::preload {
namespace {

using Compare = int (*)(const FTSENT**, const FTSENT**);

/// One entry as the program sees it, whose name goes on behind its struct, and what it needs.
struct Entry {
  std::string path;
  struct stat status {};
  FTSENT shown{};  // last

  static Entry* make(const std::string& path, std::string_view name, FTSENT* parent, short level) {
    void* const room = ::calloc(1, sizeof(Entry) + name.size() + 1);
    if (room == nullptr) return nullptr;
    auto* const entry = new (room) Entry;
    entry->path = path;
    FTSENT& shown = entry->shown;
    shown.fts_path = shown.fts_accpath = entry->path.data();
    shown.fts_pathlen = static_cast<unsigned short>(path.size());
    shown.fts_namelen = static_cast<unsigned short>(name.size());
    std::memcpy(shown.fts_name, name.data(), name.size());
    shown.fts_parent = parent;
    shown.fts_level = level;
    shown.fts_statp = &entry->status;
    shown.fts_instr = kNoInstruction;
    return entry;
  }
  static Entry& of(FTSENT& shown) {
    return *reinterpret_cast<Entry*>(reinterpret_cast<char*>(&shown) - offsetof(Entry, shown));
  }
  static void free(FTSENT* shown) {
    if (shown == nullptr) return;
    Entry& entry = of(*shown);
    entry.~Entry();
    ::free(&entry);
  }
  static constexpr unsigned short kNoInstruction = 3;  // FTS_NOINSTR, which is fts.c's own
};

class Fts {
 public:
  explicit Fts(int options, Compare compare) : options_(options), compare_(compare) {
    handle_.fts_options = options;
    top_ = Entry::make("", "", nullptr, FTS_ROOTPARENTLEVEL);
  }
  ~Fts() {
    free_list(next_list_);
    free_list(children_);
    while (current_ != nullptr && current_ != &top_->shown) {  // its list, and those that it is in
      FTSENT* const up = current_->fts_parent;
      free_list(current_);
      current_ = up;
    }
    Entry::free(&top_->shown);
  }
  Fts(const Fts&) = delete;
  Fts& operator=(const Fts&) = delete;

  FTS* handle() noexcept { return &handle_; }

  bool add_roots(char* const* paths) {
    std::vector<FTSENT*> roots;
    for (; *paths != nullptr; ++paths) {
      const std::string path = *paths;
      if (path.empty()) return errno = ENOENT, false;
      const std::size_t slash = path.find_last_of('/');
      const bool has_name = slash != std::string::npos && slash + 1 < path.size();
      Entry* const entry = Entry::make(path, has_name ? path.substr(slash + 1) : path, &top_->shown, FTS_ROOTLEVEL);
      entry->shown.fts_info = look(entry->shown, (options_ & FTS_COMFOLLOW) != 0);
      roots.push_back(&entry->shown);
    }
    next_list_ = linked(roots);
    return true;
  }

  FTSENT* read() {
    if (at_end_) return nullptr;
    if (current_ == nullptr) return arrive(std::exchange(next_list_, nullptr));
    FTSENT* const entry = current_;
    const auto wanted = std::exchange(entry->fts_instr, Entry::kNoInstruction);
    if (wanted == FTS_AGAIN) return entry->fts_info = look(*entry, false), entry;
    if (wanted == FTS_FOLLOW && (entry->fts_info == FTS_SL || entry->fts_info == FTS_SLNONE)) {
      return entry->fts_info = look(*entry, true), entry;
    }
    if (entry->fts_info == FTS_D) {
      if (wanted == FTS_SKIP || is_elsewhere(*entry)) {
        free_list(std::exchange(children_, nullptr));
        return entry->fts_info = FTS_DP, entry;
      }
      FTSENT* const first = children_ != nullptr ? std::exchange(children_, nullptr) : list(*entry);
      if (first != nullptr) return arrive(first);
      if (entry->fts_info == FTS_D) entry->fts_info = FTS_DP;
      return entry;
    }
    return leave(entry);
  }

  FTSENT* children(int instruction) {
    errno = 0;
    if (at_end_ || (instruction != 0 && instruction != FTS_NAMEONLY)) return nullptr;
    if (current_ == nullptr) return next_list_;
    if (current_->fts_info != FTS_D) return nullptr;
    free_list(std::exchange(children_, nullptr));
    return children_ = list(*current_);
  }

 private:
  /// The next one of its list, or up.
  FTSENT* leave(FTSENT* entry) {
    FTSENT* const next = entry->fts_link;
    FTSENT* const up = entry->fts_parent;
    Entry::free(entry);
    current_ = nullptr;
    if (next != nullptr) return arrive(next);
    current_ = up;
    if (up->fts_level == FTS_ROOTPARENTLEVEL) {
      at_end_ = true;
      errno = 0;
      return nullptr;
    }
    if (up->fts_errno != 0) up->fts_info = FTS_ERR;
    if (up->fts_info == FTS_D) up->fts_info = FTS_DP;
    return up;
  }
  FTSENT* arrive(FTSENT* entry) {
    while (entry != nullptr && entry->fts_instr == FTS_SKIP) {
      FTSENT* const next = entry->fts_link;
      if (next == nullptr) return leave(entry);
      Entry::free(entry);
      entry = next;
    }
    if (entry == nullptr) return at_end_ = true, nullptr;
    if (entry->fts_instr == FTS_FOLLOW) {
      entry->fts_instr = Entry::kNoInstruction;
      entry->fts_info = look(*entry, true);
    }
    if (entry->fts_level == FTS_ROOTLEVEL) device_ = entry->fts_dev;
    return current_ = entry;
  }
  bool is_elsewhere(const FTSENT& entry) const {
    return (options_ & FTS_XDEV) != 0 && entry.fts_dev != device_ && !Target{entry.fts_path}.is_ours();
  }

  /// fts_stat()
  unsigned short look(FTSENT& entry, bool follows) const {
    struct stat& status = *entry.fts_statp;
    entry.fts_errno = 0;
    if ((options_ & FTS_LOGICAL) != 0 || follows) {
      if (::stat(entry.fts_path, &status) != 0) {
        const int error = errno;
        if (::lstat(entry.fts_path, &status) == 0) return errno = 0, FTS_SLNONE;
        return fail(entry, error);
      }
    } else if (::lstat(entry.fts_path, &status) != 0) {
      return fail(entry, errno);
    }
    entry.fts_dev = status.st_dev;
    entry.fts_ino = status.st_ino;
    entry.fts_nlink = status.st_nlink;
    if (S_ISLNK(status.st_mode)) return FTS_SL;
    if (S_ISREG(status.st_mode)) return FTS_F;
    if (!S_ISDIR(status.st_mode)) return FTS_DEFAULT;
    for (FTSENT* above = entry.fts_parent; above != nullptr && above->fts_level >= FTS_ROOTLEVEL;
         above = above->fts_parent) {
      if (above->fts_ino != entry.fts_ino || above->fts_dev != entry.fts_dev) continue;
      entry.fts_cycle = above;
      return FTS_DC;
    }
    return FTS_D;
  }
  static unsigned short fail(FTSENT& entry, int error) {
    entry.fts_errno = error;
    *entry.fts_statp = {};
    return FTS_NS;
  }

  /// What is in a directory, in order; nullptr for none, and for an error, which the entry then tells.
  FTSENT* list(FTSENT& directory) const {
    const auto names = names_in(directory.fts_path);
    if (!names) {
      directory.fts_info = FTS_DNR;
      directory.fts_errno = errno;
      return nullptr;
    }
    const std::string path = directory.fts_path, before = path.ends_with('/') ? path : path + '/';
    std::vector<FTSENT*> found;
    for (const std::string& name : *names) {
      Entry* const entry = Entry::make(before + name, name, &directory, static_cast<short>(directory.fts_level + 1));
      entry->shown.fts_info = look(entry->shown, false);
      found.push_back(&entry->shown);
    }
    return linked(found);
  }
  FTSENT* linked(std::vector<FTSENT*>& entries) const {
    if (compare_ != nullptr) {
      std::stable_sort(entries.begin(), entries.end(),
                       [this](const FTSENT* one, const FTSENT* other) { return compare_(&one, &other) < 0; });
    }
    for (std::size_t i = 0; i + 1 < entries.size(); ++i)
      entries[i]->fts_link = entries[i + 1];
    return entries.empty() ? nullptr : entries.front();
  }
  static void free_list(FTSENT* entry) {
    while (entry != nullptr)
      Entry::free(std::exchange(entry, entry->fts_link));
  }

  FTS handle_{};  // what the program holds; nothing of it is used
  int options_;
  Compare compare_;
  Entry* top_ = nullptr;
  FTSENT* current_ = nullptr;
  FTSENT* next_list_ = nullptr;  // the roots, before the first read
  FTSENT* children_ = nullptr;   // asked for by fts_children()
  dev_t device_ = 0;
  bool at_end_ = false;
};

/// Walks that are ours, by their handles.
class Walks {
 public:
  static Walks& instance() {
    static auto& walks = *new Walks;
    return walks;
  }
  FTS* add(std::unique_ptr<Fts> walk) {
    const std::lock_guard lock{mutex_};
    FTS* const handle = walk->handle();
    walks_.emplace(handle, std::move(walk));
    return handle;
  }
  Fts* find(FTS* handle) {
    const std::lock_guard lock{mutex_};
    const auto found = walks_.find(handle);
    return found == walks_.end() ? nullptr : found->second.get();
  }
  std::unique_ptr<Fts> take(FTS* handle) {
    const std::lock_guard lock{mutex_};
    const auto found = walks_.find(handle);
    if (found == walks_.end()) return nullptr;
    auto walk = std::move(found->second);
    walks_.erase(found);
    return walk;
  }

 private:
  std::mutex mutex_;
  std::map<FTS*, std::unique_ptr<Fts>> walks_;
};

}  // namespace
}  // namespace vmux::preload

using namespace vmux::preload;

VMUX_HOOK FTS* fts_open(char* const* paths, int options, int (*compare)(const FTSENT**, const FTSENT**)) {
  char* const* first = paths;
  while (*first != nullptr && !may_walk_into_ours(*first))
    ++first;
  const bool is_legal = (options & ~FTS_OPTIONMASK) == 0 && (options & (FTS_LOGICAL | FTS_PHYSICAL)) != 0;
  if (*first == nullptr || !is_legal) return VMUX_REAL(fts_open)(paths, options, compare);
  auto walk = std::make_unique<Fts>(options, compare);
  return walk->add_roots(paths) ? Walks::instance().add(std::move(walk)) : nullptr;
}
VMUX_HOOK FTSENT* fts_read(FTS* handle) {
  Fts* const walk = Walks::instance().find(handle);
  return walk == nullptr ? VMUX_REAL(fts_read)(handle) : walk->read();
}
VMUX_HOOK FTSENT* fts_children(FTS* handle, int instruction) {
  Fts* const walk = Walks::instance().find(handle);
  return walk == nullptr ? VMUX_REAL(fts_children)(handle, instruction) : walk->children(instruction);
}
VMUX_HOOK int fts_set(FTS* handle, FTSENT* entry, int instruction) noexcept {
  if (Walks::instance().find(handle) == nullptr) return VMUX_REAL(fts_set)(handle, entry, instruction);
  if (instruction < 0 || instruction > FTS_SKIP) {
    errno = EINVAL;
    return 1;
  }
  entry->fts_instr = static_cast<unsigned short>(instruction == 0 ? 3 : instruction);
  return 0;
}
VMUX_HOOK int fts_close(FTS* handle) { return Walks::instance().take(handle) ? 0 : VMUX_REAL(fts_close)(handle); }
// The same on machines whose off_t has 64 bits.
VMUX_HOOK FTS64* fts64_open(char* const* paths, int options, int (*compare)(const FTSENT64**, const FTSENT64**)) {
  return reinterpret_cast<FTS64*>(
      fts_open(paths, options, reinterpret_cast<int (*)(const FTSENT**, const FTSENT**)>(compare)));
}
VMUX_HOOK FTSENT64* fts64_read(FTS64* handle) {
  return reinterpret_cast<FTSENT64*>(fts_read(reinterpret_cast<FTS*>(handle)));
}
VMUX_HOOK FTSENT64* fts64_children(FTS64* handle, int instruction) {
  return reinterpret_cast<FTSENT64*>(fts_children(reinterpret_cast<FTS*>(handle), instruction));
}
VMUX_HOOK int fts64_set(FTS64* handle, FTSENT64* entry, int instruction) noexcept {
  return fts_set(reinterpret_cast<FTS*>(handle), reinterpret_cast<FTSENT*>(entry), instruction);
}
VMUX_HOOK int fts64_close(FTS64* handle) { return fts_close(reinterpret_cast<FTS*>(handle)); }
