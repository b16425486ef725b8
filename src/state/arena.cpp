// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/state/arena.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>

#include "vmux/base/assert.hpp"

namespace vmux::state {
namespace {

constexpr std::uint64_t kMagic = 0x0a31'6f6f'6e65'7241;  // "Arenoo1\n", lowest byte first
constexpr std::size_t kPage = 4096, kLine = 64;

struct Block {
  std::uint32_t tag, size;
};
/// What the memory begins with. Native byte order: it never leaves the machine.
struct Directory {
  std::uint64_t magic;
  std::uint32_t blocks, end;  // end: of what is used, in bytes
  Block block[Arena::kMaxBlocks];
};
constexpr std::size_t kFirst = (sizeof(Directory) + kLine - 1) / kLine * kLine;

Directory& directory_of(const Mapping& memory) noexcept { return *reinterpret_cast<Directory*>(memory.data()); }

}  // namespace

Result<Arena> Arena::create(std::size_t size) {
  size = (kFirst + size + kMaxBlocks * kLine + kPage - 1) / kPage * kPage;
  auto fd = make_memfd("vmux-cursors", size);
  if (!fd) return tl::unexpected(fd.error());
  auto memory = Mapping::create(fd->get(), 0, size, true);
  if (!memory) return tl::unexpected(memory.error());
  Directory& directory = directory_of(*memory);
  directory.magic = kMagic;
  directory.end = kFirst;
  return Arena{std::move(*fd), std::move(*memory)};
}

// Each on lines of its own: queues belong to different pollers.
void* Arena::place(std::uint32_t tag, std::size_t size) noexcept {
  Directory& directory = directory_of(memory_);
  VMUX_ASSERT(directory.blocks < kMaxBlocks && size <= memory_.size() - directory.end);
  directory.block[directory.blocks++] = {tag, static_cast<std::uint32_t>(size)};
  void* const at = memory_.data() + directory.end;
  directory.end += static_cast<std::uint32_t>((size + kLine - 1) / kLine * kLine);
  return at;
}

tl::expected<void, std::string> Arena::undo(int fd, std::uint64_t round) {
  const auto bad = [](const char* why) { return tl::unexpected(std::string{"the cursors "} + why); };
  struct stat status {};
  if (::fstat(fd, &status) != 0 || static_cast<std::uint64_t>(status.st_size) < kFirst) return bad("are cut short");
  const auto memory = Mapping::create(fd, 0, static_cast<std::uint64_t>(status.st_size), true);
  if (!memory) return bad("cannot be mapped");
  const Directory& directory = directory_of(*memory);
  if (directory.magic != kMagic || directory.blocks > kMaxBlocks) return bad("are none");
  std::size_t at = kFirst;
  std::span<std::byte> values[3];  // an undoable value, its log and its copy lie behind each other
  for (std::uint32_t i = 0; i < directory.blocks; ++i) {
    const Block& block = directory.block[i];
    if (block.size > memory->size() || at > memory->size() - block.size) return bad("are damaged");
    const std::size_t kind = (block.tag & kUndoTag) != 0 ? 1 : (block.tag & kWholeTag) != 0 ? 2 : 0;
    values[kind] = memory->bytes().subspan(at, block.size);
    at += (block.size + kLine - 1) / kLine * kLine;
    if (kind != 2) continue;
    if (values[1].size() != sizeof(UndoWords) || values[0].size() != values[2].size()) return bad("are damaged");
    UndoLog log{*reinterpret_cast<UndoWords*>(values[1].data()), values[0], values[2]};
    if (!log.undo(round)) return bad("have a log that cannot be");
  }
  return {};
}

tl::expected<void, std::string> Arena::take_over(UniqueFd fd) {
  const auto bad = [](const char* why) { return tl::unexpected(std::string{"the cursors "} + why); };
  struct stat status {};
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (::fstat(fd.get(), &status) != 0 || seals < 0 || (seals & F_SEAL_SHRINK) == 0) return bad("can be cut");
  if (static_cast<std::uint64_t>(status.st_size) != memory_.size()) return bad("are of another size");
  const auto other = Mapping::create(fd.get(), 0, memory_.size(), false);
  if (!other) return bad("cannot be mapped");
  // The other one may still change: what has been compared is what the own one holds, and that is what counts.
  if (std::memcmp(other->data(), memory_.data(), sizeof(Directory)) != 0) return bad("are of another kind of device");
  if (!memory_.replace(fd.get(), 0)) return bad("cannot be mapped");
  fd_ = std::move(fd);
  return {};
}

}  // namespace vmux::state
