// SPDX-License-Identifier: BSD-3-Clause
#include "preload/process/maps.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/text/format.hpp"
#include "preload/process/proc_files.hpp"
#include "preload/vfio/fd_table.hpp"
#include "vmux/base/strong.hpp"

namespace vmux::preload {
namespace {

/// Takes a number up to `stop` (which is consumed too) off the front of `text`.
std::optional<std::uint64_t> take_number(std::string_view& text, char stop, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end == text.data() + text.size() || *end != stop) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return value;
}

/// /proc/self/maps, whole: it must be read in one go to be one picture.
std::string read_maps() {
  std::string text;
  const UniqueFd fd = open_proc("self/maps", O_RDONLY | O_CLOEXEC);
  if (!fd) return text;
  for (std::size_t used = 0;;) {
    text.resize(used + 65536);
    const ssize_t got = ::read(fd.get(), text.data() + used, text.size() - used);
    if (got <= 0) {
      text.resize(used);
      return text;
    }
    used += static_cast<std::size_t>(got);
  }
}

bool is_same_file(int fd, dev_t device, ino_t inode) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

bool allows(int fd, bool writable) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0) return false;
  return writable ? (flags & O_ACCMODE) == O_RDWR : (flags & O_ACCMODE) != O_WRONLY;
}

UniqueFd checked(UniqueFd fd, const Vma& vma) {
  if (fd && !is_same_file(fd.get(), vma.device, vma.inode)) fd.reset();
  return fd;
}

/// The program's own descriptor of the file: memfds and unlinked files can be found by nothing else without privileges.
UniqueFd among_open_files(const Vma& vma, bool writable) {
  UniqueFd found;
  UniqueFd listed = open_proc("self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* directory = listed ? ::fdopendir(listed.get()) : nullptr;
  if (directory == nullptr) return found;
  (void)listed.release();
  while (const dirent* entry = ::readdir(directory)) {
    int number = -1;
    const std::string_view name = entry->d_name;
    if (std::from_chars(name.data(), name.data() + name.size(), number).ec != std::errc{}) continue;
    if (!is_same_file(number, vma.device, vma.inode)) continue;
    const int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC;
    found = allows(number, writable) ? UniqueFd{::fcntl(number, F_DUPFD_CLOEXEC, 0)}
                                     : open_proc(fmt::format("self/fd/{}", number), flags);
    if (found) break;
  }
  ::closedir(directory);
  return found;
}

/// Pages behind the end of the file can be mapped, but there is no memory: pinning them is EFAULT.
bool is_backed(const Piece& piece) {
  constexpr std::uint64_t kPage = 4096;
  struct stat status {};
  if (!piece.file || ::fstat(piece.file->get(), &status) != 0 || !S_ISREG(status.st_mode)) return true;
  const auto pages = (static_cast<std::uint64_t>(status.st_size) + kPage - 1) / kPage;
  return fits(piece.offset, piece.size, pages * kPage);
}

}  // namespace

std::optional<Vma> parse_maps_line(std::string_view line) {
  // 7f0000000000-7f0000200000 rw-s 00000000 00:01 12345      /memfd:x (deleted)
  Vma vma;
  const auto start = take_number(line, '-', 16);
  if (!start) return std::nullopt;
  const auto end = take_number(line, ' ', 16);
  if (!end || line.size() < 5) return std::nullopt;
  vma.start = *start;
  vma.end = *end;
  vma.readable = line[0] == 'r';
  vma.writable = line[1] == 'w';
  vma.shared = line[3] == 's';
  line.remove_prefix(5);
  const auto offset = take_number(line, ' ', 16);
  if (!offset) return std::nullopt;
  const auto major_number = take_number(line, ':', 16);
  if (!major_number) return std::nullopt;
  const auto minor_number = take_number(line, ' ', 16);
  if (!minor_number) return std::nullopt;
  const auto inode = take_number(line, ' ', 10);
  if (!inode) return std::nullopt;
  vma.offset = *offset;
  vma.device = makedev(static_cast<unsigned>(*major_number), static_cast<unsigned>(*minor_number));
  vma.inode = *inode;
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  vma.path = line;
  return vma;
}

MemoryFinder::Found MemoryFinder::find(std::uint64_t vaddr, std::uint64_t size, bool writable) {
  Found found;
  const std::string maps = read_maps();
  std::string_view text = maps;
  std::uint64_t at = vaddr;
  const std::uint64_t end = vaddr + size;
  while (at < end && !text.empty()) {
    const std::size_t newline = text.find('\n');
    const std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    const auto vma = parse_maps_line(line);
    if (!vma || vma->end <= at) continue;
    if (vma->start > at || !vma->readable || (writable && !vma->writable)) break;
    const std::uint64_t length = std::min(vma->end, end) - at;
    Piece piece{at, length, vma->shared ? file_of(*vma, writable) : nullptr, vma->offset + (at - vma->start)};
    if (!found.pieces.empty()) {
      Piece& last = found.pieces.back();
      if (last.file == piece.file && (!piece.file || last.offset + last.size == piece.offset)) {
        last.size += length;
        at += length;
        continue;
      }
    }
    found.pieces.push_back(std::move(piece));
    at += length;
  }
  const bool is_there = at >= end && std::all_of(found.pieces.begin(), found.pieces.end(), is_backed);
  if (!is_there) found = {EFAULT, {}};
  return found;
}

std::shared_ptr<const UniqueFd> MemoryFinder::share(int fd, bool writable) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return nullptr;
  const Key key{{status.st_dev, status.st_ino}, writable};
  if (auto kept = files_[key].lock()) return kept;
  return keep(key, UniqueFd{::fcntl(fd, F_DUPFD_CLOEXEC, 0)});
}

std::shared_ptr<const UniqueFd> MemoryFinder::file_of(const Vma& vma, bool writable) {
  if (vma.inode == 0) return nullptr;
  const Key key{{vma.device, vma.inode}, writable};
  if (const auto entry = files_.find(key); entry != files_.end()) {
    if (auto kept = entry->second.lock()) return kept;
  }
  const int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK;
  UniqueFd fd = among_open_files(vma, writable);
  if (!fd && !vma.path.empty() && vma.path.front() == '/') fd = checked(UniqueFd{::open(vma.path.c_str(), flags)}, vma);
  // Needs CAP_CHECKPOINT_RESTORE: the only way to memory whose descriptors are all closed and whose name is gone.
  if (!fd) fd = checked(open_proc(fmt::format("self/map_files/{:x}-{:x}", vma.start, vma.end), flags), vma);
  return fd ? keep(key, std::move(fd)) : nullptr;
}

std::shared_ptr<const UniqueFd> MemoryFinder::keep(Key key, UniqueFd fd) {
  if (!fd) return nullptr;
  std::erase_if(files_, [](const auto& entry) { return entry.second.expired(); });
  auto kept = std::make_shared<const UniqueFd>(std::move(fd));
  FdTable::instance().hide(kept->get());
  files_[key] = kept;
  return kept;
}

}  // namespace vmux::preload
