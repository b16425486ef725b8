// SPDX-License-Identifier: BSD-3-Clause
#include "preload/vfio/fd_table.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "vmux/base/unique_fd.hpp"

namespace vmux::preload {

FdTable& FdTable::instance() noexcept {
  static FdTable& table = *new FdTable;  // never destroyed: threads of the program may close descriptors until the end
  return table;
}

int FdTable::add(std::shared_ptr<Object> object, int flags) {
  constexpr int kept = O_NONBLOCK | O_APPEND;
  UniqueFd fd{memfd_create(object->kind(), MFD_ALLOW_SEALING | ((flags & O_CLOEXEC) != 0 ? MFD_CLOEXEC : 0))};
  struct stat status {};
  if (!fd || fstat(fd.get(), &status) != 0) return -errno;
  // A write that we do not see (of stdio, or without the C library) must not seem to work.
  (void)fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  if ((flags & kept) != 0) (void)fcntl(fd.get(), F_SETFL, flags & kept);
  auto file = std::make_shared<File>(File{std::move(object), status.st_dev, status.st_ino, flags & O_ACCMODE});
  const std::lock_guard lock{mutex_};
  mark(fd.get(), true);
  files_[fd.get()] = std::move(file);
  return fd.release();
}

std::shared_ptr<FdTable::File> FdTable::find_file(int fd) {
  if (!may_be_ours(fd)) return nullptr;
  std::shared_ptr<File> stale;  // released after the lock
  const std::lock_guard lock{mutex_};
  const auto entry = files_.find(fd);
  if (entry == files_.end()) return nullptr;
  if (still_leads_to(fd, *entry->second)) return entry->second;
  if (!is_borrowed()) stale = take(fd);
  return nullptr;
}

std::shared_ptr<Object> FdTable::adopt(int fd) {
  if (auto known = find(fd)) return known;
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) != 0) return nullptr;
  const std::lock_guard lock{mutex_};
  for (const auto& [number, file] : files_) {
    if (file->device != status.st_dev || file->inode != status.st_ino) continue;
    if (is_borrowed()) return file->object;
    const auto same = file;
    mark(fd, true);
    files_[fd] = same;
    return same->object;
  }
  return nullptr;
}

void FdTable::duplicated(int from, int to) {
  if (is_borrowed()) return;
  const std::lock_guard lock{mutex_};
  const auto entry = files_.find(from);
  if (entry == files_.end() || !still_leads_to(to, *entry->second)) return;
  const auto file = entry->second;
  mark(to, true);
  files_[to] = file;
}

void FdTable::closing(int fd) {
  if (!may_be_ours(fd) || is_borrowed()) return;
  std::shared_ptr<File> gone;
  const std::lock_guard lock{mutex_};
  gone = take(fd);
}

void FdTable::closing_range(unsigned first, unsigned last) {
  if (is_borrowed()) return;
  std::vector<std::shared_ptr<File>> gone;
  const std::lock_guard lock{mutex_};
  std::vector<int> numbers;
  for (const auto& [number, file] : files_) {
    if (static_cast<unsigned>(number) >= first && static_cast<unsigned>(number) <= last) numbers.push_back(number);
  }
  for (const int number : numbers)
    gone.push_back(take(number));
}

void FdTable::drop_closed() {
  if (is_borrowed()) return;
  std::vector<std::shared_ptr<File>> gone;
  const std::lock_guard lock{mutex_};
  std::vector<int> numbers;
  for (const auto& [number, file] : files_) {
    if (!still_leads_to(number, *file)) numbers.push_back(number);
  }
  for (const int number : numbers)
    gone.push_back(take(number));
}

void FdTable::hide(int fd) {
  struct stat status {};
  if (fd < 0 || static_cast<std::size_t>(fd) >= kQuick || fstat(fd, &status) != 0) return;
  const std::lock_guard lock{mutex_};
  hidden_files_[fd] = {nullptr, status.st_dev, status.st_ino, 0};
  hidden_[static_cast<std::size_t>(fd)].store(true, std::memory_order_release);
}

bool FdTable::is_hidden(int fd) {
  if (!may_be_hidden(fd)) return false;
  const std::lock_guard lock{mutex_};
  const auto entry = hidden_files_.find(fd);
  if (entry != hidden_files_.end() && still_leads_to(fd, entry->second)) return true;
  if (entry != hidden_files_.end() && !is_borrowed()) hidden_files_.erase(entry);
  if (!is_borrowed()) hidden_[static_cast<std::size_t>(fd)].store(false, std::memory_order_release);
  return false;
}

std::vector<unsigned> FdTable::hidden_between(unsigned first, unsigned last) {
  std::vector<unsigned> found;
  {
    const std::lock_guard lock{mutex_};
    for (const auto& [number, file] : hidden_files_) {
      if (static_cast<unsigned>(number) >= first && static_cast<unsigned>(number) <= last) {
        found.push_back(static_cast<unsigned>(number));
      }
    }
  }
  std::erase_if(found, [this](unsigned number) { return !is_hidden(static_cast<int>(number)); });
  return found;
}

std::size_t FdTable::size() {
  const std::lock_guard lock{mutex_};
  return files_.size();
}

bool FdTable::still_leads_to(int fd, const File& file) const noexcept {
  struct stat status {};
  return fstat(fd, &status) == 0 && status.st_dev == file.device && status.st_ino == file.inode;
}

void FdTable::mark(int fd, bool is_ours) noexcept {
  if (static_cast<std::size_t>(fd) < kQuick)
    quick_[static_cast<std::size_t>(fd)].store(is_ours, std::memory_order_release);
}

std::shared_ptr<FdTable::File> FdTable::take(int fd) {
  const auto entry = files_.find(fd);
  if (entry == files_.end()) return nullptr;
  auto file = std::move(entry->second);
  files_.erase(entry);
  mark(fd, false);
  return file;
}

}  // namespace vmux::preload
