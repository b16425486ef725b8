// SPDX-License-Identifier: BSD-3-Clause
// What vmux-extensions.h has beyond libvfio-user.
#include <cerrno>
#include <cstring>

#include "capi/context.hpp"

using namespace vmux::capi;

namespace {

int failed(int error) noexcept { return errno = error, -1; }
int result(int error) noexcept { return error == 0 ? 0 : failed(error); }

}  // namespace

extern "C" {

int vmux_emulate_irqs(vfu_ctx_t* ctx, uint32_t kinds) {
  if (ctx->is_realized || (kinds & ~(VMUX_IRQ_INTX | VMUX_IRQ_MSI | VMUX_IRQ_MSIX)) != 0) return failed(EINVAL);
  ctx->emulated_kinds = kinds;
  return 0;
}

int vmux_set_intx(vfu_ctx_t* ctx, bool is_high) {
  if (ctx->emulated == nullptr || !ctx->emulated->serves(VFU_DEV_INTX_IRQ)) return failed(EINVAL);
  ctx->emulated->set_level(is_high);
  return 0;
}

int vmux_irq_is_pending(vfu_ctx_t* ctx, enum vfu_dev_irq_type type, uint32_t vector) {
  if (ctx->emulated == nullptr) return failed(EINVAL);
  const auto is_pending = ctx->emulated->is_pending(static_cast<uint32_t>(type), vector);
  if (!is_pending) return failed(EINVAL);
  return *is_pending ? 1 : 0;
}

ssize_t vmux_save_irqs(vfu_ctx_t* ctx, void* into, size_t size) {
  if (ctx->emulated == nullptr) return failed(EINVAL);
  const auto image = ctx->emulated->save(*ctx);
  if (into != nullptr && image.size() <= size) std::memcpy(into, image.data(), image.size());
  return static_cast<ssize_t>(image.size());
}

int vmux_load_irqs(vfu_ctx_t* ctx, const void* from, size_t size) {
  if (ctx->emulated == nullptr) return failed(EINVAL);
  return result(ctx->emulated->load(*ctx, {static_cast<const std::byte*>(from), size}));
}

int vmux_watch(vfu_ctx_t* ctx, int region_idx, uint64_t offset, uint32_t size, uint32_t flags, vmux_watch_cb_t* cb,
               void* arg) {
  return result(ctx->watches.add(*ctx, static_cast<uint32_t>(region_idx), offset, size, flags, cb, arg));
}

int vmux_unwatch(vfu_ctx_t* ctx, int region_idx, uint64_t offset) {
  return result(ctx->watches.remove(*ctx, static_cast<uint32_t>(region_idx), offset));
}

int vmux_watch_fd(vfu_ctx_t* ctx, int region_idx, uint64_t offset) {
  const int fd = ctx->watches.event_fd(static_cast<uint32_t>(region_idx), offset);
  return fd < 0 ? failed(ENOENT) : fd;
}

int vmux_poll_watches(vfu_ctx_t* ctx) { return ctx->watches.poll(*ctx); }

int vmux_guard_memory(vfu_ctx_t* ctx) {
  if (ctx->is_realized) return failed(EINVAL);
  ctx->guards_memory = true;
  return 0;
}

int vmux_setup_async_dma(vfu_ctx_t* ctx) {
  if (ctx->is_realized) return failed(EINVAL);
  const int error = ctx->link.async().open();
  return error != 0 ? failed(error) : ctx->link.async().fd();
}

int vmux_sgl_read_async(vfu_ctx_t* ctx, dma_sg_t* sgl, size_t cnt, void* data, vmux_dma_done_cb_t* done, void* arg) {
  return begin_transfer(*ctx, {sgl, cnt}, static_cast<std::byte*>(data), /*is_write=*/false, done, arg);
}

// Nothing is written to `data`: what a transfer of either kind has is one type.
int vmux_sgl_write_async(vfu_ctx_t* ctx, dma_sg_t* sgl, size_t cnt, const void* data, vmux_dma_done_cb_t* done,
                         void* arg) {
  auto* const bytes = const_cast<std::byte*>(static_cast<const std::byte*>(data));
  return begin_transfer(*ctx, {sgl, cnt}, bytes, /*is_write=*/true, done, arg);
}

}  // extern "C"
