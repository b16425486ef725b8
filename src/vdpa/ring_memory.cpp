// SPDX-License-Identifier: BSD-3-Clause
#include "vdpa/ring_memory.hpp"

#include <algorithm>
#include <utility>

namespace vmux::vdpa {
namespace {

constexpr std::uint64_t kPage = 4096;

}  // namespace

Result<RingMemory> RingMemory::create(std::uint64_t size) {
  size = (size + kPage - 1) & ~(kPage - 1);
  auto file = make_memfd("vmux-vdpa-rings", size);
  if (!file) return tl::unexpected(file.error());
  auto mapping = Mapping::create(file->get(), 0, size, /*writable=*/true);
  if (!mapping) return tl::unexpected(mapping.error());
  RingMemory made;
  made.file_ = std::move(*file);
  made.memory_ = std::move(*mapping);
  return made;
}

std::optional<RingMemory::Part> RingMemory::take(std::uint64_t size) noexcept {
  size = (size + kPage - 1) & ~(kPage - 1);
  if (!place_ || !fits(used_, size, memory_.size())) return std::nullopt;
  const Part part{memory_.bytes().subspan(used_, size), Iova{place_->raw + used_}};
  std::ranges::fill(part.bytes, std::byte{0});
  used_ += size;
  return part;
}

}  // namespace vmux::vdpa
