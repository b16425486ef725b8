// SPDX-License-Identifier: BSD-3-Clause
// The description of a device: regions, interrupts, configuration space, callbacks.
#include <cerrno>

#include "capi/context.hpp"

namespace vmux::capi {
namespace {

int failed(int error) noexcept { return errno = error, -1; }

bool is_bar(int index) noexcept { return index <= VFU_PCI_DEV_BAR5_REGION_IDX; }

// PCI Local Bus 3.0, 6.2.5.1: powers of two, and a 64-bit BAR takes two registers.
bool is_bar_possible(const vfu_ctx& context, int index, std::size_t size, int flags) noexcept {
  const std::size_t smallest = (flags & VFU_REGION_FLAG_MEM) != 0 ? 16 : 4;
  if (size != 0 && ((size & (size - 1)) != 0 || size < smallest)) return false;
  const bool is_wide = (flags & VFU_REGION_FLAG_64_BITS) != 0;
  const auto at = static_cast<std::size_t>(index);
  if (index % 2 == 1) return !is_wide && (context.regions[at - 1].flags & VFU_REGION_FLAG_64_BITS) == 0;
  return !is_wide || context.regions[at + 1].size == 0;
}

bool are_areas_inside(std::span<const iovec> areas, std::size_t size) noexcept {
  for (const iovec& area : areas) {
    const auto start = reinterpret_cast<std::uint64_t>(area.iov_base);
    if (start > size || area.iov_len > size - start) return false;
  }
  return true;
}

}  // namespace
}  // namespace vmux::capi

using namespace vmux::capi;

extern "C" {

int vfu_setup_region(vfu_ctx_t* ctx, int index, size_t size, vfu_region_access_cb_t* access, int flags,
                     struct iovec* areas, uint32_t count, int fd, uint64_t offset) {
  if (index < 0 || index >= VFU_PCI_DEV_NUM_REGIONS) return failed(EINVAL);
  if ((flags & ~VFU_REGION_FLAG_MASK) != 0 || (flags & VFU_REGION_FLAG_RW) == 0) return failed(EINVAL);
  if ((flags & VFU_REGION_FLAG_ALWAYS_CB) != 0 && access == nullptr) return failed(EINVAL);
  if ((areas == nullptr) != (count == 0) || (areas != nullptr && fd < 0)) return failed(EINVAL);
  if (is_bar(index) && !is_bar_possible(*ctx, index, size, flags)) {
    vfu_log(ctx, LOG_ERR, "BAR%d cannot have %zu bytes: no power of two, too few, or no room for a 64-bit BAR", index,
            size);
    return failed(EINVAL);
  }
  const bool is_config = index == VFU_PCI_DEV_CFG_REGION_IDX;
  const bool is_plain = (flags & VFU_REGION_FLAG_RW) == VFU_REGION_FLAG_RW && (flags & VFU_REGION_FLAG_MEM) == 0;
  if (is_config && !is_plain) return failed(EINVAL);
  const std::span<const iovec> given{areas, count};
  if (!are_areas_inside(given, size)) return failed(EINVAL);
  const auto number = static_cast<std::uint32_t>(index);
  if (ctx->emulated != nullptr && ctx->emulated->is_in(number)) return failed(EINVAL);
  if (ctx->watches.is_in(number)) return failed(EBUSY);

  auto& region = ctx->regions[static_cast<std::size_t>(index)];
  // That of configuration space is known from vfu_pci_init() on, and never more than there is.
  if (!is_config) {
    region.size = size;
  } else if (!ctx->config.is_initialised()) {
    region.size = size > PCI_CFG_SPACE_SIZE ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE;
  }
  region.flags = flags;
  region.access = access;
  region.fd = fd;
  region.offset = offset;
  region.areas.assign(given.begin(), given.end());
  if (fd >= 0 && given.empty()) region.areas.push_back({nullptr, size});
  return 0;
}

int vfu_create_ioeventfd(vfu_ctx_t* ctx, uint32_t index, int fd, size_t offset, uint32_t size, uint32_t flags,
                         uint64_t datamatch, int shadow_fd, size_t shadow_offset) {
  if (index >= VFU_PCI_DEV_NUM_REGIONS) return failed(EINVAL);
  auto& region = ctx->regions[index];
  if (offset > region.size || size > region.size - offset) return failed(EINVAL);
  region.io_events.insert(region.io_events.begin(),
                          IoEventFd{fd, offset, size, flags, datamatch, shadow_fd, shadow_offset});
  return 0;
}

int vfu_setup_device_reset_cb(vfu_ctx_t* ctx, vfu_reset_cb_t* reset) {
  ctx->reset = reset;
  return 0;
}

void vfu_setup_device_quiesce_cb(vfu_ctx_t* ctx, vfu_device_quiesce_cb_t* quiesce) { ctx->quiesce = quiesce; }

int vfu_setup_device_nr_irqs(vfu_ctx_t* ctx, enum vfu_dev_irq_type type, uint32_t count) {
  if (static_cast<unsigned>(type) >= VFU_DEV_NUM_IRQS) return failed(EINVAL);
  ctx->irqs.counts[type] = count;
  return 0;
}

int vfu_setup_irq_state_callback(vfu_ctx_t* ctx, enum vfu_dev_irq_type type, vfu_dev_irq_state_cb_t* cb) {
  if (static_cast<unsigned>(type) >= VFU_DEV_NUM_IRQS) return failed(EINVAL);
  ctx->irqs.state_callbacks[type] = cb;
  return 0;
}

int vfu_irq_trigger(vfu_ctx_t* ctx, uint32_t subindex) {
  const auto emulated = ctx->emulated != nullptr ? ctx->emulated->trigger(subindex) : std::nullopt;
  const int error = emulated ? *emulated : ctx->irqs.trigger(subindex);
  return error == 0 ? 0 : failed(error);
}

int vfu_setup_device_migration_callbacks(vfu_ctx_t* ctx, const vfu_migration_callbacks_t* callbacks) {
  const bool is_whole =
      callbacks->transition != nullptr && callbacks->read_data != nullptr && callbacks->write_data != nullptr;
  if (callbacks->version != VFU_MIGR_CALLBACKS_VERS || !is_whole) {
    vfu_log(ctx, LOG_ERR, "migration callbacks of version %d, or not all of them", callbacks->version);
    return failed(EINVAL);
  }
  ctx->migration.emplace(Migration{*callbacks});
  return 0;
}

int vfu_pci_init(vfu_ctx_t* ctx, vfu_pci_type_t pci_type, int hdr_type, int /*revision*/) {
  auto& region = ctx->regions[VFU_PCI_DEV_CFG_REGION_IDX];
  std::size_t size = region.size;
  if (const int error = ctx->config.init(pci_type, hdr_type, size); error != 0) return failed(error);
  region.size = size;
  region.flags |= VFU_REGION_FLAG_RW;
  return 0;
}

void vfu_pci_set_id(vfu_ctx_t* ctx, uint16_t vid, uint16_t did, uint16_t ssvid, uint16_t ssid) {
  auto& header = ctx->config.header();
  header.id.vid = vid;
  header.id.did = did;
  header.ss.vid = ssvid;
  header.ss.sid = ssid;
}

void vfu_pci_set_class(vfu_ctx_t* ctx, uint8_t base, uint8_t sub, uint8_t pi) {
  auto& header = ctx->config.header();
  header.cc.bcc = base;
  header.cc.scc = sub;
  header.cc.pi = pi;
}

vfu_pci_config_space_t* vfu_pci_get_config_space(vfu_ctx_t* ctx) { return ctx->config.raw(); }

ssize_t vfu_pci_add_capability(vfu_ctx_t* ctx, size_t pos, int flags, void* data) {
  const auto& region = ctx->regions[VFU_PCI_DEV_CFG_REGION_IDX];
  if ((flags & VFU_CAP_FLAG_CALLBACK) != 0 && region.access == nullptr) return failed(EINVAL);
  const int error = ctx->config.add(pos, flags, static_cast<const std::uint8_t*>(data), region.size);
  if (error == 0) return static_cast<ssize_t>(pos);
  vfu_log(ctx, LOG_ERR, "cannot add the capability at %#zx", pos);
  return failed(error);
}

size_t vfu_pci_find_next_capability(vfu_ctx_t* ctx, bool extended, size_t pos, int cap_id) {
  return ctx->config.find(extended, pos, cap_id, ctx->regions[VFU_PCI_DEV_CFG_REGION_IDX].size);
}

size_t vfu_pci_find_capability(vfu_ctx_t* ctx, bool extended, int cap_id) {
  return vfu_pci_find_next_capability(ctx, extended, 0, cap_id);
}

}  // extern "C"
