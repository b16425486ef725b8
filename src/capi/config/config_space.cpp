// SPDX-License-Identifier: BSD-3-Clause
// What a guest reads and writes in configuration space: PCI Local Bus 3.0, 6.1 and 6.2.
#include "capi/config/config_space.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "capi/context.hpp"

namespace vmux::capi {
namespace {

template <class T>
T load(std::span<const std::uint8_t> from) noexcept {
  T value;
  std::memcpy(&value, from.data(), sizeof value);
  return value;
}

int ignore(vfu_ctx&, std::size_t, std::span<const std::uint8_t>) { return 0; }

int store(vfu_ctx& context, std::size_t at, std::span<const std::uint8_t> value) {
  std::copy(value.begin(), value.end(), context.config.bytes().begin() + static_cast<std::ptrdiff_t>(at));
  return 0;
}

// Bits that nobody knows are an error, after what is known was taken: callers of this interface see it so.
int write_command(vfu_ctx& context, std::size_t, std::span<const std::uint8_t> value) {
  constexpr std::uint16_t kWritable = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_SERR |
                                      PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_INVALIDATE;
  const auto written = load<std::uint16_t>(value);
  vfu_pci_hdr_cmd_t& command = context.config.header().cmd;
  command.raw = static_cast<std::uint16_t>((command.raw & ~kWritable) | (written & kWritable));
  if ((written & ~(kWritable | PCI_COMMAND_VGA_PALETTE)) == 0) return 0;
  vfu_log(&context, LOG_ERR, "write of unknown bits to the command register: %#x", written);
  return EINVAL;
}

/// The bits of a BAR that are its address, and those that tell its kind. The second half of one of 64 bits has the
/// upper address, and no kind.
int write_bar(vfu_ctx& context, std::size_t at, std::span<const std::uint8_t> value) {
  const std::size_t index = (at - PCI_BASE_ADDRESS_0) / 4;
  const Region* region = &context.regions[index];
  std::uint64_t size = region->size;
  std::uint32_t kind = (region->flags & VFU_REGION_FLAG_MEM) != 0
                           ? ~static_cast<std::uint32_t>(PCI_BASE_ADDRESS_MEM_MASK)
                           : ~static_cast<std::uint32_t>(PCI_BASE_ADDRESS_IO_MASK);
  if (index % 2 == 1 && (context.regions[index - 1].flags & VFU_REGION_FLAG_64_BITS) != 0) {
    const std::uint64_t whole = context.regions[index - 1].size;
    // Below 4 GiB all of the upper half is address.
    size = whole > UINT32_MAX ? whole >> 32 : (whole != 0 ? 1 : 0);
    kind = 0;
  }
  const auto address = static_cast<std::uint32_t>(size == 0 ? 0 : ~(size - 1));
  vfu_bar_t& bar = context.config.header().bars[index];
  bar.raw = (load<std::uint32_t>(value) & address) | (bar.raw & kind);
  return 0;
}

// There is none. To size it, to switch it off and to clear it is all the same, and no error; byte by byte as well.
int write_expansion_rom(vfu_ctx& context, std::size_t, std::span<const std::uint8_t> value) {
  constexpr std::uint32_t kSizings[] = {static_cast<std::uint32_t>(PCI_ROM_ADDRESS_MASK), ~0u,
                                        ~static_cast<std::uint32_t>(PCI_ROM_ADDRESS_ENABLE)};
  const auto written = load<std::uint32_t>(value);
  if (written == 0) context.config.header().erom = 0;
  const bool is_known = std::any_of(std::begin(kSizings), std::end(kSizings), [&](std::uint32_t sizing) {
    for (unsigned bit = 0; bit < 32; bit += 8) {
      const std::uint32_t byte = written >> bit & 0xff;
      if (byte != 0 && byte != (sizing >> bit & 0xff)) return false;
    }
    return true;
  });
  return is_known ? 0 : EINVAL;
}

struct Register {
  std::uint8_t at, size;
  int (*write)(vfu_ctx& context, std::size_t at, std::span<const std::uint8_t> value);
};
// What may be written. What is missing is an error; "writes to read-only registers are ignored" where guests do it.
constexpr auto kRegisters = std::to_array<Register>({
    {PCI_COMMAND, 2, write_command},
    {PCI_STATUS, 2, ignore},
    {PCI_REVISION_ID, 1, ignore},
    {PCI_CLASS_PROG, 3, ignore},
    {PCI_CACHE_LINE_SIZE, 1, store},
    {PCI_LATENCY_TIMER, 1, store},
    {PCI_BASE_ADDRESS_0, 4, write_bar},
    {PCI_BASE_ADDRESS_1, 4, write_bar},
    {PCI_BASE_ADDRESS_2, 4, write_bar},
    {PCI_BASE_ADDRESS_3, 4, write_bar},
    {PCI_BASE_ADDRESS_4, 4, write_bar},
    {PCI_BASE_ADDRESS_5, 4, write_bar},
    {PCI_ROM_ADDRESS, 4, write_expansion_rom},
    {PCI_INTERRUPT_LINE, 1, store},
    {PCI_INTERRUPT_PIN, 1, ignore},
    {PCI_MIN_GNT, 1, ignore},
    {PCI_MAX_LAT, 1, ignore},
});

/// A write to the header at `at`: how many bytes were taken, or -1. One of a part of a register changes only its own
/// bytes.
ssize_t write_header(vfu_ctx& context, std::span<const std::uint8_t> from, std::size_t at) {
  const auto found = std::find_if(kRegisters.begin(), kRegisters.end(),
                                  [&](const Register& r) { return at >= r.at && at < r.at + std::size_t{r.size}; });
  if (found == kRegisters.end()) return errno = EINVAL, -1;
  std::array<std::uint8_t, 4> value{};
  std::copy_n(context.config.bytes().begin() + found->at, found->size, value.begin());
  const std::size_t into = at - found->at, count = std::min<std::size_t>(from.size(), found->size - into);
  std::copy_n(from.begin(), count, value.begin() + static_cast<std::ptrdiff_t>(into));
  if (const int error = found->write(context, found->at, std::span{value}.first(found->size)); error != 0) {
    return errno = error, -1;
  }
  return static_cast<ssize_t>(count);
}

/// What is neither in the header nor in a capability that the library serves.
ssize_t access_by_callback(vfu_ctx& context, char* bytes, std::size_t count, std::size_t at, bool is_write) {
  if (auto* const access = context.regions[VFU_PCI_DEV_CFG_REGION_IDX].access; access != nullptr) {
    return access(&context, bytes, count, static_cast<loff_t>(at), is_write);
  }
  if (is_write) {
    vfu_log(&context, LOG_ERR, "no callback for a write of %zu bytes to configuration space at %#zx", count, at);
    return errno = EINVAL, -1;
  }
  std::memcpy(bytes, context.config.bytes().data() + at, count);
  return static_cast<ssize_t>(count);
}

ssize_t access_capability(vfu_ctx& context, const Capability& what, char* bytes, std::size_t count, std::size_t at,
                          bool is_write) {
  if (is_write && (what.flags & VFU_CAP_FLAG_READONLY) != 0) return errno = EPERM, -1;
  if ((what.flags & VFU_CAP_FLAG_CALLBACK) != 0) return access_by_callback(context, bytes, count, at, is_write);
  if (!is_write) {
    std::memcpy(bytes, context.config.bytes().data() + at, count);
    return static_cast<ssize_t>(count);
  }
  const int error = write_capability(context, what, at, {reinterpret_cast<const std::uint8_t*>(bytes), count});
  if (error != 0) return errno = error, -1;
  return static_cast<ssize_t>(count);
}

/// The first part of an access that one of the above serves by itself.
ssize_t access_part(vfu_ctx& context, char* bytes, std::size_t count, std::size_t at, bool is_write) {
  if (at < PCI_STD_HEADER_SIZEOF) {
    if (is_write) return write_header(context, {reinterpret_cast<const std::uint8_t*>(bytes), count}, at);
    count = std::min(count, PCI_STD_HEADER_SIZEOF - at);
    std::memcpy(bytes, context.config.bytes().data() + at, count);
    return static_cast<ssize_t>(count);
  }
  const Capability* const next = context.config.first_in(at, count);
  if (next == nullptr) return access_by_callback(context, bytes, count, at, is_write);
  if (at < next->at) return access_by_callback(context, bytes, next->at - at, at, is_write);
  return access_capability(context, *next, bytes, std::min(count, next->at + next->size - at), at, is_write);
}

ssize_t access_parts(vfu_ctx& context, char* bytes, std::size_t count, std::size_t at, bool is_write) {
  std::size_t done = 0;
  while (done < count) {
    const ssize_t part = access_part(context, bytes + done, count - done, at + done, is_write);
    if (part < 0) return part;
    if (part == 0 || static_cast<std::size_t>(part) > count - done) return errno = EINVAL, -1;
    done += static_cast<std::size_t>(part);
  }
  return static_cast<ssize_t>(done);
}

}  // namespace

ssize_t access_config(vfu_ctx& context, char* bytes, std::size_t count, std::size_t at, bool is_write) {
  if (context.emulated != nullptr && !is_write) context.emulated->update_config(context);
  const ssize_t done = access_parts(context, bytes, count, at, is_write);
  if (context.emulated != nullptr && is_write) {
    const int error = errno;
    context.emulated->config_written(context);  // also when only the first part of it was taken
    errno = error;
  }
  return done;
}

int ConfigSpace::init(vfu_pci_type_t type, int header_type, std::size_t& size) noexcept {
  if (type < VFU_PCI_TYPE_CONVENTIONAL || type > VFU_PCI_TYPE_EXPRESS) return EINVAL;
  if (header_type != PCI_HEADER_TYPE_NORMAL) return EINVAL;
  if (is_initialised_) return EEXIST;
  is_initialised_ = true;
  may_extend_ = type == VFU_PCI_TYPE_PCI_X_2 || type == VFU_PCI_TYPE_EXPRESS;
  size = may_extend_ ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE;
  return 0;
}

}  // namespace vmux::capi
