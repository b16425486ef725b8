// SPDX-License-Identifier: BSD-3-Clause
// Accesses to regions, and resets.
#include <algorithm>
#include <cerrno>

#include "capi/context.hpp"

namespace vmux::capi {
namespace {

namespace wire = wire::vfio_user;

bool is_saving(const vfu_ctx& context) noexcept {
  return context.migration && context.migration->state == pci::MigrationState::stop_copy;
}

/// 0 or an errno; all of `bytes` or nothing.
int access_program(vfu_ctx& context, std::uint32_t index, std::uint64_t offset, std::span<std::byte> bytes,
                   bool is_write) {
  const Region& region = context.regions[index];
  const bool is_config = index == VFU_PCI_DEV_CFG_REGION_IDX && (region.flags & VFU_REGION_FLAG_ALWAYS_CB) == 0;
  if (!is_config && region.access == nullptr) return EINVAL;
  auto* const at = reinterpret_cast<char*>(bytes.data());
  errno = 0;
  const ssize_t done = is_config ? access_config(context, at, bytes.size(), static_cast<std::size_t>(offset), is_write)
                                 : region.access(&context, at, bytes.size(), static_cast<loff_t>(offset), is_write);
  if (done < 0) return callback_error();
  return static_cast<std::size_t>(done) == bytes.size() ? 0 : EINVAL;
}

/// Of a region that has a table or pending bits in it: 0 or an errno, after the parts before.
int access_emulated(vfu_ctx& context, std::uint32_t index, std::uint64_t offset, std::span<std::byte> bytes,
                    bool is_write) {
  using Owner = EmulatedIrqs::Owner;
  EmulatedIrqs& emulated = *context.emulated;
  while (!bytes.empty()) {
    const auto part = emulated.part_at(index, offset, bytes.size());
    const auto now = bytes.first(static_cast<std::size_t>(part.length));
    if (part.owner != Owner::program) {
      if (is_write) {
        emulated.write(part.owner, offset, now);
      } else {
        emulated.read(part.owner, offset, now);
      }
    } else if (context.regions[index].access == nullptr) {
      if (!is_write) std::fill(now.begin(), now.end(), std::byte{0});
    } else if (const int error = access_program(context, index, offset, now, is_write); error != 0) {
      return error;
    }
    bytes = bytes.subspan(now.size());
    offset += now.size();
  }
  return 0;
}

int access(vfu_ctx& context, std::uint32_t index, std::uint64_t offset, std::span<std::byte> bytes, bool is_write) {
  const bool is_emulated = context.emulated != nullptr && context.emulated->is_in(index);
  return is_emulated ? access_emulated(context, index, offset, bytes, is_write)
                     : access_program(context, index, offset, bytes, is_write);
}

bool may_access(const vfu_ctx& context, std::uint32_t index, std::uint64_t offset, std::uint64_t count) noexcept {
  if (index >= VFU_PCI_DEV_NUM_REGIONS || is_saving(context)) return false;
  const std::uint64_t size = context.regions[index].size;
  return offset <= size && count <= size - offset;
}

}  // namespace

int callback_error() noexcept { return errno != 0 ? errno : EINVAL; }

int serve_region_access(vfu_ctx& context, Message& message, Reply& reply) {
  const auto asked = wire::peek<wire::RegionAccess>(message.payload);
  const bool is_write = message.header.command == static_cast<std::uint16_t>(wire::Command::region_write);
  if (!asked || asked->count > kMaxTransfer) return EINVAL;
  const std::uint32_t count = asked->count;
  if (is_write && message.payload.size() - sizeof *asked != count) return EINVAL;
  if (!may_access(context, asked->region, asked->offset, count)) return EINVAL;
  if (count == 0) return 0;
  reply.payload.resize(sizeof *asked + (is_write ? 0 : count));
  const auto room = wire::put(std::span{reply.payload}, *asked);
  const auto bytes = is_write ? std::span{message.payload}.subspan(sizeof *asked) : room;
  return access(context, asked->region, asked->offset, bytes, is_write);
}

// "REGION_WRITE_MULTI": the reply tells how many were done, when it was not all of them.
int serve_write_multi(vfu_ctx& context, Message& message, Reply& reply) {
  if (!context.write_multiple) return EINVAL;
  const auto count = wire::decode_write_multi(message.payload);
  if (!count) return EINVAL;
  wire::WriteMulti done;
  for (std::uint64_t i = 0; i < *count; ++i) {
    const auto one = wire::single_write(message.payload, i);
    if (!one || !may_access(context, one->region, one->offset, one->count)) {
      if (i == 0) return EINVAL;
      break;
    }
    std::byte bytes[8];
    std::copy(one->data.begin(), one->data.end(), bytes);
    const int error =
        one->count == 0 ? 0 : access(context, one->region, one->offset, std::span{bytes}.first(one->count), true);
    if (error != 0 && i == 0) return error;
    if (error != 0) break;
    done.wr_cnt = i + 1;
  }
  reply.payload.resize(sizeof done);
  wire::put(std::span{reply.payload}, done);
  return 0;
}

int reset_device(vfu_ctx& context, vfu_reset_type_t type) {
  if (context.emulated != nullptr) context.emulated->reset(context, /*drop_sinks=*/type == VFU_RESET_LOST_CONN);
  if (context.reset == nullptr) return 0;
  errno = 0;
  const int error = context.reset(&context, type) < 0 ? callback_error() : 0;
  context.watches.rebase();
  return error;
}

int serve_reset(vfu_ctx& context, Message&, Reply&) { return reset_device(context, VFU_RESET_DEVICE); }

}  // namespace vmux::capi
