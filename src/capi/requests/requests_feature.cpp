// SPDX-License-Identifier: BSD-3-Clause
// DEVICE_FEATURE: the states of a migration and the log of written pages; and the saved state as a stream.
#include <algorithm>
#include <array>
#include <cerrno>

#include "capi/context.hpp"
#include "vfio_user/migration.hpp"

namespace vmux::capi {
namespace {

namespace wire = wire::vfio_user;
namespace ff = wire::feature_flags;
using pci::MigrationState;

vfu_migr_state_t as_callback_state(MigrationState state) noexcept {
  switch (state) {
    case MigrationState::stop:
      return VFU_MIGR_STATE_STOP;
    case MigrationState::stop_copy:
      return VFU_MIGR_STATE_STOP_AND_COPY;
    case MigrationState::pre_copy:
      return VFU_MIGR_STATE_PRE_COPY;
    case MigrationState::resuming:
      return VFU_MIGR_STATE_RESUME;
    default:
      return VFU_MIGR_STATE_RUNNING;
  }
}

template <class T>
void answer(Reply& reply, const T& value) {
  const auto bytes = std::as_bytes(std::span{&value, 1});
  reply.payload.insert(reply.payload.end(), bytes.begin(), bytes.end());
}

int get_value(const wire::DeviceFeature& head, std::uint64_t value, Reply& reply) {
  const wire::FeatureMigration body{value};
  if (head.argsz < sizeof head + sizeof body) return EINVAL;
  answer(reply, wire::DeviceFeature{static_cast<std::uint32_t>(sizeof head + sizeof body), head.flags});
  answer(reply, body);
  return 0;
}

int get_migration(vfu_ctx&, const wire::DeviceFeature& head, std::span<const std::byte>, Reply& reply) {
  namespace mf = wire::migration_flags;
  return get_value(head, mf::kStopCopy | mf::kPreCopy, reply);
}
int get_state(vfu_ctx& context, const wire::DeviceFeature& head, std::span<const std::byte>, Reply& reply) {
  return get_value(head, static_cast<std::uint32_t>(context.migration->state), reply);
}

int set_state(vfu_ctx& context, const wire::DeviceFeature&, std::span<const std::byte> data, Reply&) {
  const auto asked = wire::peek<wire::FeatureDeviceState>(data);
  if (!asked || asked->device_state > static_cast<std::uint32_t>(MigrationState::pre_copy_p2p)) return EINVAL;
  const auto to = static_cast<MigrationState>(static_cast<std::uint32_t>(asked->device_state));
  Migration& migration = *context.migration;
  while (migration.state != to) {
    const auto next = vfio_user::next_on_way(migration.state, to, {.pre_copy = true});
    if (!next) return EINVAL;
    errno = 0;
    if (migration.callbacks.transition(&context, as_callback_state(*next)) != 0) return callback_error();
    migration.state = *next;
  }
  return 0;
}

int start_log(vfu_ctx& context, const wire::DeviceFeature&, std::span<const std::byte> data, Reply&) {
  const auto asked = wire::peek<wire::FeatureLoggingStart>(data);
  // All ranges are logged, whichever are named.
  return asked && context.dma != nullptr ? context.dma->start_log(asked->page_size) : EINVAL;
}
int stop_log(vfu_ctx& context, const wire::DeviceFeature&, std::span<const std::byte>, Reply&) {
  if (context.dma == nullptr) return EINVAL;
  context.dma->stop_log();
  return 0;
}
int report_log(vfu_ctx& context, const wire::DeviceFeature& head, std::span<const std::byte> data, Reply& reply) {
  const auto asked = wire::peek<wire::FeatureLoggingReport>(data);
  if (!asked || context.dma == nullptr) return EINVAL;
  const std::size_t size = bitmap_bytes(asked->length, asked->page_size);
  const std::size_t whole = sizeof head + sizeof *asked + size;
  if (size == 0 || head.argsz < whole || whole > kMaxTransfer) return EINVAL;
  std::vector<std::uint64_t> words(size / 8);
  if (const int error = context.dma->take_log(asked->iova, asked->length, asked->page_size, words); error != 0) {
    return error;
  }
  answer(reply, wire::DeviceFeature{static_cast<std::uint32_t>(whole), head.flags});
  answer(reply, *asked);
  const auto bits = std::as_bytes(std::span{words});
  reply.payload.insert(reply.payload.end(), bits.begin(), bits.end());
  return 0;
}

using Handler = int (*)(vfu_ctx&, const wire::DeviceFeature&, std::span<const std::byte> data, Reply&);
struct Row {
  wire::Feature feature;
  Handler get, set;
};
constexpr auto kFeatures = std::to_array<Row>({
    {wire::Feature::migration, get_migration, nullptr},
    {wire::Feature::mig_device_state, get_state, set_state},
    {wire::Feature::dma_logging_start, nullptr, start_log},
    {wire::Feature::dma_logging_stop, nullptr, stop_log},
    {wire::Feature::dma_logging_report, report_log, nullptr},
});

/// The head of a MIG_DATA message of at most what the client can take.
std::optional<wire::MigData> mig_data(const vfu_ctx& context, const Message& message) noexcept {
  auto asked = wire::peek<wire::MigData>(message.payload);
  const std::uint64_t limit = std::min<std::uint64_t>(context.max_transfer, kMaxTransfer);
  if (asked && (asked->size > limit || asked->argsz < sizeof *asked + asked->size)) asked.reset();
  return asked;
}

}  // namespace

int serve_feature(vfu_ctx& context, Message& message, Reply& reply) {
  const auto head = wire::peek<wire::DeviceFeature>(message.payload);
  if (!head || !context.migration) return EINVAL;
  const std::uint32_t wanted = head->flags & ~ff::kIndexMask;
  const auto row = std::find_if(kFeatures.begin(), kFeatures.end(), [&](const Row& one) {
    return static_cast<std::uint32_t>(one.feature) == (head->flags & ff::kIndexMask);
  });
  if (row == kFeatures.end()) return EINVAL;
  const std::uint32_t offered =
      ff::kProbe | (row->get != nullptr ? ff::kGet : 0u) | (row->set != nullptr ? ff::kSet : 0u);
  if ((wanted & ~offered) != 0) return EINVAL;
  const auto data = std::span<const std::byte>{message.payload}.subspan(sizeof *head);
  if (wanted == ff::kGet) return row->get(context, *head, data, reply);
  const bool is_probe = (wanted & ff::kProbe) != 0;
  if ((!is_probe && wanted != ff::kSet) || head->argsz < message.payload.size()) return EINVAL;
  const int error = is_probe ? 0 : row->set(context, *head, data, reply);
  if (error == 0) reply.payload = message.payload;
  return error;
}

int serve_mig_data_read(vfu_ctx& context, Message& message, Reply& reply) {
  const auto asked = mig_data(context, message);
  if (!asked || !context.migration) return EINVAL;
  const MigrationState state = context.migration->state;
  if (state != MigrationState::pre_copy && state != MigrationState::stop_copy) return EINVAL;
  wire::MigData head;
  reply.payload.resize(sizeof head + asked->size);
  errno = 0;
  const ssize_t got = context.migration->callbacks.read_data(&context, reply.payload.data() + sizeof head, asked->size);
  if (got < 0) return callback_error();
  if (static_cast<std::uint64_t>(got) > asked->size) return EINVAL;
  head.size = static_cast<std::uint32_t>(got);
  head.argsz = static_cast<std::uint32_t>(sizeof head + head.size);
  const auto room = wire::put(std::span{reply.payload}, head);
  // As long as was asked for, whatever there is: clients made of libvfio-user's own code take nothing shorter.
  std::ranges::fill(room.subspan(head.size), std::byte{0});
  return 0;
}

int serve_mig_data_write(vfu_ctx& context, Message& message, Reply&) {
  const auto asked = mig_data(context, message);
  if (!asked || !context.migration || context.migration->state != MigrationState::resuming) return EINVAL;
  if (message.payload.size() < sizeof *asked + asked->size) return EINVAL;
  errno = 0;
  const ssize_t taken =
      context.migration->callbacks.write_data(&context, message.payload.data() + sizeof *asked, asked->size);
  if (taken < 0) return callback_error();
  return static_cast<std::uint64_t>(taken) == asked->size ? 0 : EINVAL;
}

}  // namespace vmux::capi
