// SPDX-License-Identifier: BSD-3-Clause
// What a client asks before it uses the device, and its interrupts. Answers are those of libvfio-user, also where the
// kernel's VFIO and this project's own server (vfio_user/session) have others.
#include <algorithm>
#include <cerrno>
#include <limits>

#include "capi/context.hpp"

namespace vmux::capi {
namespace {

namespace wire = wire::vfio_user;

template <class T>
void answer(Reply& reply, const T& value) {
  const auto bytes = std::as_bytes(std::span{&value, 1});
  reply.payload.insert(reply.payload.end(), bytes.begin(), bytes.end());
}

/// The request of type T when it is whole and its argsz is that of one.
template <class T>
std::optional<T> sized_request(const Message& message) noexcept {
  auto asked = wire::peek<T>(message.payload);
  if (asked && asked->argsz < sizeof(T)) asked.reset();
  return asked;
}

/// The number of a descriptor in the reply; the same one is sent once.
std::uint32_t number_of(std::vector<int>& fds, int fd) {
  if (fd < 0) return std::numeric_limits<std::uint32_t>::max();
  const auto found = std::find(fds.begin(), fds.end(), fd);
  const auto number = static_cast<std::uint32_t>(found - fds.begin());
  if (found == fds.end()) fds.push_back(fd);
  return number;
}

vfio_user_sub_region_ioeventfd_t describe(const IoEventFd& event, std::vector<int>& fds) {
  vfio_user_sub_region_ioeventfd_t part{};
  part.gpa_offset = event.offset;
  part.size = event.size;
  part.fd_index = number_of(fds, event.fd);
  part.type = event.shadow_fd < 0 ? VFIO_USER_IO_FD_TYPE_IOEVENTFD : VFIO_USER_IO_FD_TYPE_IOEVENTFD_SHADOW;
  part.flags = event.flags;
  if (event.shadow_fd >= 0) part.shadow_mem_fd_index = number_of(fds, event.shadow_fd);
  part.shadow_offset = event.shadow_offset;
  part.datamatch = event.datamatch;
  return part;
}

/// 0 when the request makes sense for the device as it is described.
int check(const vfu_ctx& context, const wire::SetIrqs& asked, const Message& message) noexcept {
  namespace sf = wire::set_irqs_flags;
  const std::uint32_t action = asked.flags & sf::kActionMask, data = asked.flags & sf::kDataMask;
  const std::uint64_t start = asked.start, count = asked.count;
  const auto is_one = [](std::uint32_t bits) { return bits != 0 && (bits & (bits - 1)) == 0; };
  if (asked.index >= VFU_DEV_NUM_IRQS || !is_one(action) || !is_one(data)) return EINVAL;
  if (data == sf::kDataBool && message.payload.size() - sizeof asked != count) return EINVAL;
  const std::uint32_t vectors = context.irqs.counts[asked.index];
  if (start >= vectors || start + count > vectors) return EINVAL;
  if (count != 0 && !context.irqs.has(asked.index, static_cast<std::uint32_t>(start + count - 1))) return EINVAL;
  const bool is_single = asked.index == VFU_DEV_ERR_IRQ || asked.index == VFU_DEV_REQ_IRQ;
  if (is_single && (action != sf::kTrigger || count > 1)) return EINVAL;
  if (count == 0 && (start != 0 || action != sf::kTrigger || data != sf::kDataNone)) return EINVAL;
  const bool may_have_fds = data == sf::kDataEventfd && message.fds.size() == count;
  return message.fds.empty() || may_have_fds ? 0 : EINVAL;
}

}  // namespace

int serve_get_info(vfu_ctx&, Message& message, Reply& reply) {
  if (!sized_request<wire::DeviceInfo>(message)) return EINVAL;
  answer(reply, wire::DeviceInfo{sizeof(wire::DeviceInfo), wire::device_flags::kReset | wire::device_flags::kPci,
                                 VFU_PCI_DEV_NUM_REGIONS, VFU_DEV_NUM_IRQS});
  return 0;
}

int serve_get_region_info(vfu_ctx& context, Message& message, Reply& reply) {
  namespace rf = wire::region_flags;
  const auto asked = sized_request<wire::RegionInfo>(message);
  if (!asked || asked->index >= VFU_PCI_DEV_NUM_REGIONS) return EINVAL;
  const Region& region = context.regions[asked->index];
  const std::size_t areas = region.size == 0 ? 0 : region.areas.size();
  const std::size_t whole =
      sizeof(wire::RegionInfo) + (areas != 0 ? sizeof(wire::SparseCap) + areas * sizeof(wire::SparseArea) : 0);
  const bool has_room = areas != 0 && asked->argsz >= whole;

  wire::RegionInfo info;
  info.argsz = static_cast<std::uint32_t>(whole);
  info.index = asked->index;
  info.size = region.size;
  info.offset = region.offset;
  info.flags = ((region.flags & VFU_REGION_FLAG_READ) != 0 ? rf::kRead : 0u) |
               ((region.flags & VFU_REGION_FLAG_WRITE) != 0 ? rf::kWrite : 0u) | (region.fd >= 0 ? rf::kMmap : 0u) |
               (has_room ? rf::kCaps : 0u);
  if (has_room) info.cap_offset = sizeof info;
  answer(reply, info);
  if (has_room) {
    answer(reply, wire::SparseCap{{wire::kCapSparseMmap, 1, 0}, static_cast<std::uint32_t>(areas), 0});
    for (const iovec& area : region.areas)
      answer(reply, wire::SparseArea{reinterpret_cast<std::uint64_t>(area.iov_base), area.iov_len});
    reply.fds.push_back(region.fd);
  }
  return 0;
}

int serve_get_region_io_fds(vfu_ctx& context, Message& message, Reply& reply) {
  const auto asked = sized_request<wire::RegionIoFds>(message);
  if (!asked || asked->argsz > kMaxTransfer || asked->flags != 0 || asked->count != 0) return EINVAL;
  if (asked->index >= VFU_PCI_DEV_NUM_REGIONS) return EINVAL;
  const Region& region = context.regions[asked->index];
  if (region.flags == 0) return EINVAL;
  wire::RegionIoFds head;
  head.index = asked->index;
  head.count = static_cast<std::uint32_t>(region.io_events.size());
  head.argsz = static_cast<std::uint32_t>(sizeof head + region.io_events.size() * sizeof(union sub_region));
  answer(reply, head);
  if (asked->argsz < head.argsz) return 0;
  for (const IoEventFd& event : region.io_events)
    answer(reply, describe(event, reply.fds));
  if (reply.fds.size() > kMaxFds) return E2BIG;
  context.watches.set_offered(asked->index);
  return 0;
}

int serve_get_irq_info(vfu_ctx& context, Message& message, Reply& reply) {
  const auto asked = sized_request<wire::IrqInfo>(message);
  if (!asked || asked->index >= VFU_DEV_NUM_IRQS) return EINVAL;
  const bool is_level = asked->index == VFU_DEV_INTX_IRQ && context.emulated && context.emulated->serves(asked->index);
  const std::uint32_t flags =
      wire::irq_flags::kEventfd | (is_level ? wire::irq_flags::kMaskable | wire::irq_flags::kAutomasked : 0);
  answer(reply, wire::IrqInfo{sizeof(wire::IrqInfo), flags, asked->index, context.irqs.counts[asked->index]});
  return 0;
}

namespace {

int set_irqs(vfu_ctx& context, Message& message) {
  namespace sf = wire::set_irqs_flags;
  const auto asked = sized_request<wire::SetIrqs>(message);
  if (!asked) return EINVAL;
  if (const int error = check(context, *asked, message); error != 0) return error;
  const std::uint32_t kind = asked->index, start = asked->start, data = asked->flags & sf::kDataMask;
  const bool is_emulated = context.emulated != nullptr && context.emulated->serves(kind);
  if (is_emulated) {
    const auto booleans = std::span<const std::byte>{message.payload}.subspan(sizeof *asked);
    const int error = context.emulated->configure(kind, asked->flags, start, asked->count, booleans, message.fds);
    if (error != 0) return error;
  }
  if ((asked->flags & sf::kTrigger) == 0) {
    auto* const changed = context.irqs.state_callbacks[kind];
    if (changed != nullptr) changed(&context, start, asked->count, (asked->flags & sf::kMask) != 0);
    return 0;
  }
  if (is_emulated) return 0;
  const bool is_all = asked->count == 0;
  const std::uint32_t end = is_all ? context.irqs.counts[kind] : start + asked->count;
  const bool is_detach = is_all || (data == sf::kDataEventfd && message.fds.empty());
  for (std::uint32_t vector = start; vector < end; ++vector) {
    int error = 0;
    if (is_detach) {
      context.irqs.detach(kind, vector);
    } else if (data == sf::kDataEventfd) {
      error = context.irqs.attach(kind, vector, std::move(message.fds[vector - start]));
    } else if (data == sf::kDataNone || message.payload[sizeof *asked + vector - start] == std::byte{1}) {
      error = context.irqs.signal(kind, vector);
    }
    if (error != 0) return error;
  }
  return 0;
}

}  // namespace

int serve_set_irqs(vfu_ctx& context, Message& message, Reply&) {
  if (context.record == nullptr || message.fds.empty()) return set_irqs(context, message);
  std::vector<UniqueFd> copies;
  for (const UniqueFd& fd : message.fds) {
    auto copy = fd.duplicate();
    if (!copy) return copy.error().as_errno();
    copies.push_back(std::move(*copy));
  }
  const int error = set_irqs(context, message);
  const auto asked = sized_request<wire::SetIrqs>(message);
  const bool listens = asked && (asked->flags & wire::set_irqs_flags::kTrigger) != 0;
  if (error == 0 && listens) context.record->set_listeners(asked->index, asked->start, std::move(copies));
  return error;
}

}  // namespace vmux::capi
