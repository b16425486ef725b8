// SPDX-License-Identifier: BSD-3-Clause
// Which descriptors of the process are ours. Each object gets a real kernel descriptor (an empty memfd), so numbers,
// dup(), close() and fork() are the kernel's business; an entry counts only while the number still leads to that
// memfd's inode, so that a close() we did not see does no harm.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "preload/vfio/object.hpp"

namespace vmux::preload {

class FdTable {
 public:
  /// The process's table.
  [[nodiscard]] static FdTable& instance() noexcept;

  /// What one open() of the program made, shared by its duplicates.
  struct File {
    std::shared_ptr<Object> object;
    dev_t device = 0;
    ino_t inode = 0;
    int access = 0;  ///< O_RDONLY, O_WRONLY or O_RDWR
  };

  /// A new descriptor for `object`, opened with the flags of open(), or a negated errno.
  [[nodiscard]] int add(std::shared_ptr<Object> object, int flags);
  /// One load for descriptors that are not ours.
  [[nodiscard]] bool may_be_ours(int fd) const noexcept {
    return fd >= 0 && (static_cast<std::size_t>(fd) >= kQuick ||
                       quick_[static_cast<std::size_t>(fd)].load(std::memory_order_acquire));
  }
  /// What is behind `fd`, or nullptr.
  [[nodiscard]] std::shared_ptr<File> find_file(int fd);
  [[nodiscard]] std::shared_ptr<Object> find(int fd) {
    const auto file = find_file(fd);
    return file ? file->object : nullptr;
  }
  /// The same for a number that came to the process in a way that we did not see (a socket, a raw system call).
  [[nodiscard]] std::shared_ptr<Object> adopt(int fd);

  void duplicated(int from, int to);
  /// Called before the kernel closes or replaces it.
  void closing(int fd);
  void closing_range(unsigned first, unsigned last);
  /// Forgets what was closed behind our back.
  void drop_closed();
  [[nodiscard]] std::size_t size();

  /// A descriptor that the program knows nothing of (a connection, a lock) and that must outlive it closing all others.
  void hide(int fd);
  /// We close it ourselves: the number may be the program's next.
  void reveal(int fd) noexcept {
    if (may_be_hidden(fd)) hidden_[static_cast<std::size_t>(fd)].store(false, std::memory_order_release);
  }
  [[nodiscard]] bool may_be_hidden(int fd) const noexcept {
    return fd >= 0 && static_cast<std::size_t>(fd) < kQuick &&
           hidden_[static_cast<std::size_t>(fd)].load(std::memory_order_acquire);
  }
  [[nodiscard]] bool is_hidden(int fd);
  /// In a range, in order.
  [[nodiscard]] std::vector<unsigned> hidden_between(unsigned first, unsigned last);

  [[nodiscard]] std::mutex& mutex() noexcept { return mutex_; }
  /// In the child of a fork(), which has a table of its own.
  void forked() noexcept { owner_ = ::getpid(); }

 private:
  static constexpr std::size_t kQuick = 65536;
  using Files = std::unordered_map<int, std::shared_ptr<File>>;

  /// True in the child of a vfork(): it closes descriptors of its own, but this table is its parent's memory.
  [[nodiscard]] bool is_borrowed() const noexcept { return ::getpid() != owner_; }
  [[nodiscard]] bool still_leads_to(int fd, const File& file) const noexcept;
  void mark(int fd, bool is_ours) noexcept;
  [[nodiscard]] std::shared_ptr<File> take(int fd);

  std::mutex mutex_;  // innermost: nothing else is locked while it is held
  Files files_;
  pid_t owner_ = ::getpid();
  std::atomic<bool> quick_[kQuick]{}, hidden_[kQuick]{};
  std::map<int, File> hidden_files_;  // to be known again: a number that was closed meanwhile is the program's
};

}  // namespace vmux::preload
