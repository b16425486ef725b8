// SPDX-License-Identifier: BSD-3-Clause
// The DMA map as saved state: ranges in a section, their files as descriptors.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "memory/address_space_impl.hpp"
#include "vmux/state/fd_bag.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::memory {
namespace {

constexpr std::size_t kMaxRanges = 1 << 20;

struct SavedMap {
  static constexpr std::string_view kSection = "memory.map";
  static constexpr std::uint16_t kVersion = 1;
  struct Range {
    std::uint64_t start = 0, size = 0, offset = 0;
    Access access = Access::none;
    std::uint32_t file = 0;  // of `ram/N` N + 1, or 0: reached by message only
    static void describe(auto& fields, auto& self) {
      fields("start", self.start);
      fields("size", self.size);
      fields("offset", self.offset);
      fields.one_of("access", self.access, Access::read_write);
      fields("file", self.file);
    }
  };
  std::vector<Range> ranges;
  bool is_logging = false;
  static void describe(auto& fields, auto& self) {
    fields.list("ranges", self.ranges, kMaxRanges);
    fields("is_logging", self.is_logging);
  }
};

/// Files of a saved map while it is loaded: each is opened, and mapped, when its first range comes.
class SavedFiles {
 public:
  SavedFiles(BackingFiles& files, const state::FdBag& fds) noexcept : files_(files), fds_(fds) {}

  [[nodiscard]] Result<std::shared_ptr<Backing>> acquire(const SavedMap::Range& range) {
    const std::size_t index = range.file - 1;
    if (index >= state::FdBag::kMaxFds) return fail(Errc::out_of_range, "a descriptor of the saved state is missing");
    if (index >= mapped_.size()) mapped_.resize(index + 1);
    auto& [backing, size] = mapped_[index];
    const bool needs_write = allows(range.access, Access::write);
    if (backing != nullptr && fits(range.offset, range.size, size) &&
        files_.acquire_more(*backing, range.offset, range.size, needs_write)) {
      return backing;
    }
    auto fd = fds_.copy(state::fd_name("ram", index));
    if (!fd) return tl::unexpected(fd.error());
    struct stat status {};
    if (::fstat(fd->get(), &status) != 0) return fail_errno("cannot identify a memory file");
    auto made = files_.acquire(std::move(*fd), range.offset, range.size, needs_write);
    if (made) mapped_[index] = {*made, static_cast<std::uint64_t>(status.st_size)};
    return made;
  }

 private:
  struct Mapped {
    std::shared_ptr<Backing> backing;
    std::uint64_t size = 0;  // bytes of the file
  };
  BackingFiles& files_;
  const state::FdBag& fds_;
  std::vector<Mapped> mapped_;
};

}  // namespace

Result<void> AddressSpace::save(state::Writer& into, state::FdBag& fds) const {
  SavedMap saved;
  saved.is_logging = impl_->is_logging;
  std::vector<const Backing*> files;  // a handful
  Result<void> done;
  impl_->table->for_each([&](const Table::Entry& entry) {
    const Window& window = entry.window;
    auto& range = saved.ranges.emplace_back(SavedMap::Range{window.start, window.size, 0, window.access, 0});
    if (entry.owner == nullptr || !done) return;
    const Backing& backing = *entry.owner->backing;
    range.offset = backing.offset_of(window.host);
    const auto known = std::find(files.rbegin(), files.rend(), &backing);
    range.file = static_cast<std::uint32_t>(files.rend() - known);
    if (known != files.rend()) return;
    done = fds.put_copy(state::fd_name("ram", files.size()), backing.fd());
    files.push_back(&backing);
    range.file = static_cast<std::uint32_t>(files.size());
  });
  if (!done) return done;
  if (saved.ranges.size() > kMaxRanges) return fail(Errc::no_space, "too many ranges of guest memory to save");
  into.add(saved);
  return {};
}

tl::expected<void, std::string> AddressSpace::load(state::Reader& from, const state::FdBag& fds) {
  SavedMap saved;
  if (auto done = from.load(saved); !done) return done;
  stop_dirty_log();
  unmap_all([] {});
  SavedFiles files{impl_->files, fds};
  auto table = impl_->table;
  std::uint64_t bytes = 0;
  for (const SavedMap::Range& range : saved.ranges) {
    const Window window{range.start, range.size, nullptr, nullptr, range.access};
    auto entry = [&]() -> Result<Table::Entry> {
      if (auto ok = Impl::check(*table, Iova{range.start}, ByteCount{range.size}, range.offset); !ok) {
        return tl::unexpected(ok.error());
      }
      if (range.file == 0) return Table::Entry{window, nullptr};
      auto backing = files.acquire(range);
      if (!backing) return tl::unexpected(backing.error());
      return impl_->entry_in(std::move(*backing), window, range.offset);
    }();
    if (!entry) {
      impl_->files.clear();
      return tl::unexpected("the saved state's section 'memory.map': " + entry.error().text());
    }
    table = table->with(std::move(*entry));
    bytes += range.size;
  }
  impl_->count_added(bytes);
  impl_->publish(std::move(table));  // once: each time costs readers on other threads a wait
  impl_->settle();
  if (!saved.is_logging) return {};
  if (auto started = start_dirty_log(); !started) return tl::unexpected(started.error().text());
  impl_->table->for_each([](const Table::Entry& entry) {
    if (entry.window.dirty != nullptr) mark_dirty(entry.window, 0, entry.window.size);
  });
  return {};
}

}  // namespace vmux::memory
