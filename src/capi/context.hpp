// SPDX-License-Identifier: BSD-3-Clause
// What a vfu_ctx_t is: the description of a device, its callbacks, and where its client stands.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "capi/config/config_space.hpp"
#include "capi/dma_map.hpp"
#include "capi/emulated_irqs.hpp"
#include "capi/irqs.hpp"
#include "capi/link.hpp"
#include "capi/record.hpp"
#include "capi/watches.hpp"
#include "vfio-user/libvfio-user.h"
#include "vmux/pci/device.hpp"

namespace vmux::capi {

struct IoEventFd {
  int fd;
  std::uint64_t offset;
  std::uint32_t size, flags;
  std::uint64_t datamatch;
  int shadow_fd;
  std::uint64_t shadow_offset;
};

struct Region {
  std::uint64_t size = 0;
  int flags = 0;  // VFU_REGION_FLAG_*
  vfu_region_access_cb_t* access = nullptr;
  std::vector<iovec> areas;
  int fd = -1;  // the caller's
  std::uint64_t offset = 0;
  std::vector<IoEventFd> io_events;  // newest first
};

struct Migration {
  vfu_migration_callbacks_t callbacks;
  pci::MigrationState state = pci::MigrationState::running;
};

/// What waits for vfu_device_quiesced().
enum class Pending : std::uint8_t { nothing, message, lost_client };

}  // namespace vmux::capi

struct vfu_ctx {
  int flags = 0;
  void* pvt = nullptr;
  bool is_realized = false;
  vfu_log_fn_t* log = nullptr;
  int log_level = LOG_ERR;

  std::unique_ptr<vmux::capi::Record> record;  // of a program that asked for it; the rest refers to it
  vmux::capi::Link link;
  bool is_negotiated = false;
  bool write_multiple = false;
  std::uint64_t max_transfer = vmux::capi::kMaxTransfer;  // of the client

  std::array<vmux::capi::Region, VFU_PCI_DEV_NUM_REGIONS> regions;
  vmux::capi::ConfigSpace config;
  vmux::capi::Irqs irqs;
  std::uint32_t emulated_kinds = 0;                    // VMUX_IRQ_*
  std::unique_ptr<vmux::capi::EmulatedIrqs> emulated;  // realized, and any
  vmux::capi::Watches watches;
  std::unique_ptr<vmux::capi::DmaMap> dma;
  bool guards_memory = false;  // see vmux_guard_memory()
  vfu_dma_register_cb_t* dma_register = nullptr;
  vfu_dma_unregister_cb_t* dma_unregister = nullptr;
  vfu_reset_cb_t* reset = nullptr;
  vfu_device_quiesce_cb_t* quiesce = nullptr;
  std::optional<vmux::capi::Migration> migration;

  vmux::capi::Pending pending = vmux::capi::Pending::nothing;
  vmux::capi::Message pending_message;
  bool in_quiesce = false;             // its callback runs
  std::optional<int> quiesced_inside;  // what vfu_device_quiesced() was told meanwhile
  vmux::capi::Message message;         // the one that is served; its buffer is used again
  std::uint64_t request = 0;           // its number: see vmux_request_id()
  int last_error = 0;                  // of the last request: errno after vfu_run_ctx()
};

namespace vmux::capi {

/// One that has no way to a client yet.
[[nodiscard]] std::unique_ptr<vfu_ctx> make_context(int flags, void* pvt);

/// What a callback that returned an error left in errno; EINVAL if that is nothing.
[[nodiscard]] int callback_error() noexcept;

// requests*.cpp: each answers one kind of request with 0 or an errno
int serve_dma_map(vfu_ctx& context, Message& message, Reply& reply);
int serve_dma_unmap(vfu_ctx& context, Message& message, Reply& reply);
int serve_get_info(vfu_ctx& context, Message& message, Reply& reply);
int serve_get_region_info(vfu_ctx& context, Message& message, Reply& reply);
int serve_get_region_io_fds(vfu_ctx& context, Message& message, Reply& reply);
int serve_get_irq_info(vfu_ctx& context, Message& message, Reply& reply);
int serve_set_irqs(vfu_ctx& context, Message& message, Reply& reply);
int serve_region_access(vfu_ctx& context, Message& message, Reply& reply);
int serve_write_multi(vfu_ctx& context, Message& message, Reply& reply);
int serve_reset(vfu_ctx& context, Message& message, Reply& reply);
int serve_feature(vfu_ctx& context, Message& message, Reply& reply);
int serve_mig_data_read(vfu_ctx& context, Message& message, Reply& reply);
int serve_mig_data_write(vfu_ctx& context, Message& message, Reply& reply);

/// The map is as the program has described the device, once that is realized.
void prepare_memory(vfu_ctx& context);
/// Takes all memory back, with its callbacks.
void remove_all_memory(vfu_ctx& context);
/// Calls the reset callback, if there is one: 0 or its errno.
int reset_device(vfu_ctx& context, vfu_reset_type_t type);

// negotiation.cpp
/// VERSION: 0 or an errno; then the client has been answered either way, unless it is gone.
int negotiate(vfu_ctx& context, const Message& message);

// serve.cpp
/// One request, its answer included. False: the client is gone, and lose_client() was called.
bool serve(vfu_ctx& context, Message& message);
bool answer(vfu_ctx& context, const Message& message, const Reply& reply, int error);
/// The client is gone: -1 with errno EBUSY while the device has to quiesce, or ENOTCONN.
int lose_client(vfu_ctx& context);
/// As the device has quiesced, or need not.
void forget_client(vfu_ctx& context);
/// Asks the device to quiesce: 0, EBUSY (it will tell), or why it cannot.
int ask_to_quiesce(vfu_ctx& context);
[[nodiscard]] bool needs_quiesce(const vfu_ctx& context, const Message& message) noexcept;
/// Why a message is not served at all: 0 or an errno.
[[nodiscard]] int refusal(vfu_ctx& context, const Message& message) noexcept;

}  // namespace vmux::capi
