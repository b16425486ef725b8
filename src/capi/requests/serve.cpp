// SPDX-License-Identifier: BSD-3-Clause
// Requests in order, each by one handler that a table names; what waits for the device; what happens as a client goes.
#include <array>
#include <cerrno>
#include <cstring>

#include "capi/context.hpp"

namespace vmux::capi {
namespace {

namespace wire = wire::vfio_user;
using pci::MigrationState;
using wire::Command;

using Handler = int (*)(vfu_ctx&, Message&, Reply&);
struct Row {
  Command command;
  Handler serve;
  bool while_stopped;  ///< also in the migration states stop and stop_copy
};
constexpr auto kRows = std::to_array<Row>({
    {Command::dma_map, serve_dma_map, false},
    {Command::dma_unmap, serve_dma_unmap, false},
    {Command::get_info, serve_get_info, false},
    {Command::get_region_info, serve_get_region_info, false},
    {Command::get_region_io_fds, serve_get_region_io_fds, false},
    {Command::get_irq_info, serve_get_irq_info, false},
    {Command::set_irqs, serve_set_irqs, false},
    {Command::region_read, serve_region_access, true},
    {Command::region_write, serve_region_access, true},
    {Command::reset, serve_reset, false},
    {Command::region_write_multi, serve_write_multi, true},
    {Command::device_feature, serve_feature, true},
    {Command::mig_data_read, serve_mig_data_read, true},
    {Command::mig_data_write, serve_mig_data_write, false},
});

const Row* find(std::uint16_t command) noexcept {
  for (const Row& row : kRows) {
    if (static_cast<std::uint16_t>(row.command) == command) return &row;
  }
  return nullptr;
}

bool is_stopped(const vfu_ctx& context) noexcept {
  return context.migration &&
         (context.migration->state == MigrationState::stop || context.migration->state == MigrationState::stop_copy);
}

/// What a record cannot see by comparing.
bool may_change_image(const vfu_ctx& context, const Row* row) noexcept {
  if (row == nullptr) return false;
  switch (row->command) {
    case Command::region_write:
    case Command::region_write_multi:
      return context.emulated != nullptr;  // the table of MSI-X
    case Command::get_info:
    case Command::get_region_info:
    case Command::get_irq_info:
    case Command::region_read:
    case Command::mig_data_read:
    case Command::mig_data_write:
      return false;
    default:
      return true;
  }
}

/// A guest asks for a function level reset there.
bool is_device_control(const vfu_ctx& context, const Message& message) noexcept {
  const auto access = wire::peek<wire::RegionAccess>(message.payload);
  const std::size_t at = context.config.device_control();
  return access && at != 0 && access->region == VFU_PCI_DEV_CFG_REGION_IDX && access->offset == at;
}

}  // namespace

int refusal(vfu_ctx& context, const Message& message) noexcept {
  const std::uint16_t command = message.header.command;
  if ((message.header.flags & wire::header_flags::kTypeMask) != wire::header_flags::kCommand) return EINVAL;
  const Row* const row = find(command);
  if (row == nullptr || (message.payload.empty() && row->command != Command::reset)) return EINVAL;
  if (message.lost_fds) return EMFILE;
  if (!row->while_stopped && is_stopped(context)) {
    vfu_log(&context, LOG_ERR, "command %u while the device is stopped", command);
    return EINVAL;
  }
  return 0;
}

bool needs_quiesce(const vfu_ctx& context, const Message& message) noexcept {
  if (context.quiesce == nullptr) return false;
  switch (static_cast<Command>(static_cast<std::uint16_t>(message.header.command))) {
    case Command::dma_map:
    case Command::dma_unmap:
      return context.dma != nullptr;
    case Command::reset:
      return true;
    case Command::region_write:
      return is_device_control(context, message);
    case Command::device_feature: {
      namespace ff = wire::feature_flags;
      const auto head = wire::peek<wire::DeviceFeature>(message.payload);
      return head && (head->flags & (ff::kSet | ff::kProbe)) == ff::kSet;
    }
    default:
      return false;
  }
}

int ask_to_quiesce(vfu_ctx& context) {
  context.in_quiesce = true;
  context.quiesced_inside.reset();
  errno = 0;
  const bool is_quiet = context.quiesce(&context) >= 0;
  const int error = is_quiet ? 0 : callback_error();
  context.in_quiesce = false;
  return error == EBUSY && context.quiesced_inside ? *context.quiesced_inside : error;
}

bool serve(vfu_ctx& context, Message& message) {
  Reply reply;
  const Row* const row = find(message.header.command);
  context.request = message.request;
  const int error = row == nullptr ? EINVAL : row->serve(context, message, reply);
  context.request = 0;
  if (context.record != nullptr && may_change_image(context, row)) context.record->set_changed();
  return answer(context, message, reply, error);
}

bool answer(vfu_ctx& context, const Message& message, const Reply& reply, int error) {
  context.last_error = error;
  if (error != 0) {
    if (context.record != nullptr) context.record->set_changed();  // half of it may be done
    vfu_log(&context, LOG_ERR, "command %u failed: %s", static_cast<unsigned>(message.header.command),
            std::strerror(error));
  }
  if ((message.header.flags & wire::header_flags::kNoReply) != 0) {
    context.link.commit();
    if (context.record != nullptr) context.record->settle();
    return true;
  }
  if (context.link.reply(message.header, reply, error)) return true;
  lose_client(context);
  return false;
}

void forget_client(vfu_ctx& context) {
  context.link.hang_up();
  context.link.end_async(&context);
  remove_all_memory(context);
  static_cast<void>(reset_device(context, VFU_RESET_LOST_CONN));
  context.irqs.detach_all();
  context.watches.forget_client();
  if (context.record != nullptr) context.record->forget_client();
  context.link.drop_client();
  context.is_negotiated = context.write_multiple = false;
  // The next client's device runs, wherever this one's migration was.
  if (context.migration) context.migration->state = MigrationState::running;
}

int lose_client(vfu_ctx& context) {
  context.link.hang_up();  // first: what the device waits for would keep it from quiescing
  context.link.end_async(&context);
  if (context.quiesce != nullptr && context.pending == Pending::nothing) {
    const int error = ask_to_quiesce(context);
    if (error == EBUSY) context.pending = Pending::lost_client;
    if (error != 0) return errno = error, -1;
  }
  forget_client(context);
  return errno = ENOTCONN, -1;
}

}  // namespace vmux::capi
