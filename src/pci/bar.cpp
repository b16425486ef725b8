// SPDX-License-Identifier: BSD-3-Clause
#include "pci/bar.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "vmux/base/strong.hpp"
#include "wire/pci.hpp"

namespace vmux::pci {
namespace {

constexpr std::uint64_t kPage = 4096;

bool starts_after(std::uint64_t offset, const Segment& segment) noexcept { return offset < segment.begin; }

template <class T>
void load_one(const std::byte* from, std::byte* to) noexcept {
  const T value = __atomic_load_n(reinterpret_cast<const T*>(from), __ATOMIC_ACQUIRE);
  std::memcpy(to, &value, sizeof value);
}

template <class T>
void store_one(std::byte* to, const std::byte* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  __atomic_store_n(reinterpret_cast<T*>(to), value, __ATOMIC_RELEASE);
}

}  // namespace

Result<Bar> Bar::create(const FunctionSpec& spec, unsigned index) {
  Bar bar;
  for (const Capability& capability : spec.capabilities) {
    const auto* msix = std::get_if<Msix>(&capability);
    if (msix == nullptr) continue;
    const bool has_table = msix->table_bar == static_cast<Region>(index);
    const bool has_pba = msix->pba_bar == static_cast<Region>(index);
    if (!has_table && !has_pba) continue;
    if (!spec.bars[index] || spec.bars[index]->kind == BarKind::io) {
      return fail(Errc::invalid_argument, "MSI-X structures need a memory BAR");
    }
    bar.size_ = spec.bars[index]->size;
    const std::uint64_t table_size = msix->vectors * sizeof(wire::pci::MsixEntry);
    const std::uint64_t pba_size = std::uint64_t{(msix->vectors + 63) / 64} * 8;
    if (has_table) {
      if (auto done = bar.reserve(msix->table_offset, table_size, Owner::msix_table); !done) {
        return tl::unexpected(done.error());
      }
    }
    if (has_pba) {
      if (auto done = bar.reserve(msix->pba_offset, pba_size, Owner::msix_pba); !done) {
        return tl::unexpected(done.error());
      }
    }
  }
  if (!spec.bars[index]) return bar;
  const BarSpec& described = *spec.bars[index];
  bar.size_ = described.size;
  if (!described.shared.empty()) {
    if (auto done = bar.share(described); !done) return tl::unexpected(done.error());
  }
  for (const IoEvent& event : described.io_events) {
    if (auto done = bar.check(event); !done) return tl::unexpected(done.error());
  }
  return bar;
}

Result<void> Bar::share(const BarSpec& described) {
  if (described.kind == BarKind::io) return fail(Errc::invalid_argument, "an I/O BAR cannot share memory");
  for (const SharedArea& area : described.shared) {
    if (area.size == 0 || area.offset % kPage != 0 || area.size % kPage != 0) {
      return fail(Errc::invalid_argument, "a shared area is not made of whole pages");
    }
    if (auto done = reserve(area.offset, area.size, Owner::shared); !done) return done;
  }
  auto fd = make_memfd("vmux-bar", size_);
  if (!fd) return tl::unexpected(fd.error());
  auto memory = Mapping::create(fd->get(), 0, size_, true);
  if (!memory) return tl::unexpected(memory.error());
  fd_ = std::move(*fd);
  memory_ = std::move(*memory);
  return {};
}

Result<void> Bar::share_with(UniqueFd fd) noexcept {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return fail_errno("cannot identify the memory of a BAR");
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  const bool stays = seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
  if (!stays || memory_.size() == 0 || static_cast<std::uint64_t>(status.st_size) != memory_.size()) {
    return fail(Errc::invalid_argument, "the memory of a BAR is of another size, or can be cut");
  }
  if (auto done = memory_.replace(fd.get(), 0); !done) return done;
  fd_ = std::move(fd);
  return {};
}

Result<void> Bar::check(const IoEvent& event) const {
  if (!std::has_single_bit(event.size) || event.size > 8 || event.offset % event.size != 0) {
    return fail(Errc::invalid_argument, "an I/O event is not for a naturally aligned write");
  }
  if (!fits(event.offset, event.size, size_)) return fail(Errc::out_of_range, "a part of a BAR lies beyond its end");
  const Segment around = segment(event.offset);
  if (around.owner != Owner::model || around.end - event.offset < event.size) {
    return fail(Errc::already_exists, "an I/O event is for a write that does not reach the model");
  }
  return {};
}

Result<void> Bar::reserve(std::uint64_t offset, std::uint64_t size, Owner owner) {
  if (!fits(offset, size, size_)) return fail(Errc::out_of_range, "a part of a BAR lies beyond its end");
  const auto next = std::upper_bound(segments_.begin(), segments_.end(), offset, starts_after);
  const bool hits_next = next != segments_.end() && next->begin < offset + size;
  const bool hits_previous = next != segments_.begin() && std::prev(next)->end > offset;
  if (hits_next || hits_previous) return fail(Errc::already_exists, "parts of a BAR overlap");
  segments_.insert(next, {offset, offset + size, owner});
  return {};
}

Segment Bar::segment(std::uint64_t offset) const noexcept {
  const auto next = std::upper_bound(segments_.begin(), segments_.end(), offset, starts_after);
  if (next != segments_.begin() && offset < std::prev(next)->end) return *std::prev(next);
  const std::uint64_t begin = next == segments_.begin() ? 0 : std::prev(next)->end;
  return {begin, next == segments_.end() ? size_ : next->begin, Owner::model};
}

std::size_t aligned_step(std::uint64_t offset, std::size_t left) noexcept {
  const std::size_t by_offset = std::size_t{1} << std::min(std::countr_zero(offset), 3);
  return std::min(by_offset, std::bit_floor(std::min<std::size_t>(left, 8)));
}

void read_shared(std::span<const std::byte> memory, std::uint64_t offset, std::span<std::byte> into) noexcept {
  while (!into.empty()) {
    const std::size_t step = aligned_step(offset, into.size());
    const std::byte* from = memory.data() + offset;
    if (step == 8) load_one<std::uint64_t>(from, into.data());
    if (step == 4) load_one<std::uint32_t>(from, into.data());
    if (step == 2) load_one<std::uint16_t>(from, into.data());
    if (step == 1) load_one<std::uint8_t>(from, into.data());
    into = into.subspan(step);
    offset += step;
  }
}

void write_shared(std::span<std::byte> memory, std::uint64_t offset, std::span<const std::byte> from) noexcept {
  while (!from.empty()) {
    const std::size_t step = aligned_step(offset, from.size());
    std::byte* to = memory.data() + offset;
    if (step == 8) store_one<std::uint64_t>(to, from.data());
    if (step == 4) store_one<std::uint32_t>(to, from.data());
    if (step == 2) store_one<std::uint16_t>(to, from.data());
    if (step == 1) store_one<std::uint8_t>(to, from.data());
    from = from.subspan(step);
    offset += step;
  }
}

}  // namespace vmux::pci
