// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/state/control_slots.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "base/crc.hpp"
#include "vmux/base/le.hpp"
#include "vmux/state/format.hpp"

namespace vmux::state {
namespace {

constexpr std::size_t kPage = 4096;

/// What a slot begins with; the image follows.
struct SlotHeader {
  static constexpr std::uint64_t kMagic = 0x0a31'746f'6c53'7356;  // "VsSlot1\n", lowest byte first
  Le<std::uint64_t> magic, sequence;
  Le<std::uint32_t> size;
  Le<std::uint32_t> crc;  // CRC32c of the sequence, the size and the image
};
static_assert(sizeof(SlotHeader) == 24);

std::uint32_t crc_of(const SlotHeader& header, std::span<const std::byte> image) noexcept {
  Crc32c crc;
  crc.add(std::as_bytes(std::span{&header.sequence, 1}));
  crc.add(std::as_bytes(std::span{&header.size, 1}));
  crc.add(image);
  return crc.finish();
}

}  // namespace

Result<ControlSlots> ControlSlots::create(std::size_t longest_image) {
  if (longest_image > kMaxImage) return fail(Errc::out_of_range, "a saved state larger than any");
  const std::size_t room = (sizeof(SlotHeader) + longest_image + kPage - 1) / kPage * kPage;
  auto fd = make_memfd("vmux-control", 2 * room);  // pages that are never written take no memory
  if (!fd) return tl::unexpected(fd.error());
  return ControlSlots{std::move(*fd), room};
}

Result<ControlSlots> ControlSlots::adopt(UniqueFd fd) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return fail_errno("cannot identify the slots of a saved state");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size == 0 || size % (2 * kPage) != 0 || size > 2 * (kMaxImage + kPage)) {
    return fail(Errc::invalid_argument, "the slots of a saved state have a size that there is not");
  }
  ControlSlots slots{std::move(fd), size / 2};
  slots.sequence_ = std::max(slots.read(0).sequence, slots.read(1).sequence);
  return slots;
}

Result<void> ControlSlots::write(std::span<const std::byte> image) {
  if (image.size() > room_ - sizeof(SlotHeader)) return fail(Errc::no_space, "a saved state longer than its slot");
  SlotHeader header;
  header.magic = SlotHeader::kMagic;
  header.sequence = sequence_ + 1;
  header.size = static_cast<std::uint32_t>(image.size());
  header.crc = crc_of(header, image);
  const iovec parts[] = {{&header, sizeof header}, {const_cast<std::byte*>(image.data()), image.size()}};
  const auto at = static_cast<off_t>((sequence_ + 1) % 2 * room_);
  const ssize_t written = ::pwritev(fd_.get(), parts, 2, at);
  if (written != static_cast<ssize_t>(sizeof header + image.size())) return fail_errno("cannot keep a saved state");
  ++sequence_;
  return {};
}

ControlSlots::Found ControlSlots::read(unsigned slot) const {
  SlotHeader header;
  const auto at = static_cast<off_t>(slot * room_);
  if (::pread(fd_.get(), &header, sizeof header, at) != ssize_t{sizeof header}) return {};
  if (header.magic != SlotHeader::kMagic || header.size > room_ - sizeof header || header.sequence % 2 != slot)
    return {};
  Found found{header.sequence, std::vector<std::byte>(header.size)};
  const ssize_t got = ::pread(fd_.get(), found.image.data(), found.image.size(), at + ssize_t{sizeof header});
  if (got != static_cast<ssize_t>(found.image.size()) || crc_of(header, found.image) != header.crc) return {};
  return found;
}

Result<std::vector<std::byte>> ControlSlots::image(std::uint64_t sequence) const {
  Found found = read(sequence % 2);
  if (sequence == 0 || found.sequence != sequence) return fail(Errc::not_found, "a saved state is not whole any more");
  return std::move(found.image);
}

Result<std::vector<std::byte>> ControlSlots::newest() const {
  Found first = read(0), second = read(1);
  Found& newest = first.sequence > second.sequence ? first : second;
  if (newest.sequence == 0) return fail(Errc::not_found, "no saved state is whole");
  return std::move(newest.image);
}

}  // namespace vmux::state
