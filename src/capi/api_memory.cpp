// SPDX-License-Identifier: BSD-3-Clause
// Guest memory: vfu_setup_device_dma() and the scatter-gather lists.
#include <algorithm>
#include <cerrno>
#include <limits>

#include "capi/context.hpp"

namespace vmux::capi {
namespace {

int failed(int error) noexcept { return errno = error, -1; }

// Until March 2026 this function had no `max_regions`, and SPDK and QEMU are built with headers of then: what is in its
// place is a callback, and no count is that high.
constexpr std::size_t kAddress = std::size_t{1} << 32;

/// vfu_sgl_read() and vfu_sgl_write().
int transfer(vfu_ctx& context, dma_sg* pieces, std::size_t count, std::byte* data, int flags, bool is_write) {
  if ((flags & ~VFU_SGL_DIRECT_ACCESS) != 0 || context.dma == nullptr) return failed(EINVAL);
  if (count != 1) return failed(ENOTSUP);
  const dma_sg& piece = *pieces;
  if (is_write && !piece.writeable) return failed(EPERM);
  int error = -1;
  if ((flags & VFU_SGL_DIRECT_ACCESS) != 0) {
    error = is_write ? context.dma->write(piece, data) : context.dma->read(piece, data);
  }
  if (error < 0)
    error = context.dma->check(piece);
  else
    return error == 0 ? 0 : failed(error);
  if (error == 0 && piece.length != 0) {
    const auto address = reinterpret_cast<std::uint64_t>(piece.dma_addr) + piece.offset;
    error = context.link.dma_transfer(is_write, address, {data, piece.length});
  }
  return error == 0 ? 0 : failed(error);
}

}  // namespace
}  // namespace vmux::capi

using namespace vmux::capi;

extern "C" {

size_t dma_sg_size(void) { return sizeof(dma_sg); }

int vfu_setup_device_dma(vfu_ctx_t* ctx, size_t max_regions, vfu_dma_register_cb_t* dma_register,
                         vfu_dma_unregister_cb_t* dma_unregister) {
  if (max_regions >= kAddress) {
    dma_unregister = reinterpret_cast<vfu_dma_unregister_cb_t*>(dma_register);
    dma_register = reinterpret_cast<vfu_dma_register_cb_t*>(max_regions);
    max_regions = LIBVFIO_USER_MAX_DMA_REGIONS;
  }
  remove_all_memory(*ctx);
  ctx->dma = std::make_unique<DmaMap>(max_regions);
  if (ctx->is_realized) prepare_memory(*ctx);
  ctx->dma_register = dma_register;
  ctx->dma_unregister = dma_unregister;
  return 0;
}

int vfu_addr_to_sgl(vfu_ctx_t* ctx, vfu_dma_addr_t dma_addr, size_t len, dma_sg_t* sgl, size_t max_nr_sgs, int prot) {
  if (ctx->dma == nullptr) return failed(EINVAL);
  const std::size_t room = std::min<std::size_t>(max_nr_sgs, std::numeric_limits<int>::max());
  return ctx->dma->translate(reinterpret_cast<std::uint64_t>(dma_addr), len, {sgl, room}, prot);
}

bool vfu_sg_is_mappable(vfu_ctx_t* ctx, dma_sg_t* sg) { return ctx->dma != nullptr && ctx->dma->is_mappable(*sg); }

int vfu_sgl_get(vfu_ctx_t* ctx, dma_sg_t* sgl, struct iovec* iov, size_t cnt, int flags) {
  if (flags != 0 || ctx->dma == nullptr || ctx->dma_unregister == nullptr) return failed(EINVAL);
  for (std::size_t i = 0; i < cnt; ++i) {
    if (const int error = ctx->dma->locate(sgl[i], iov[i]); error != 0) return failed(error);
  }
  return 0;
}

void vfu_sgl_mark_dirty(vfu_ctx_t* ctx, dma_sg_t* sgl, size_t cnt) {
  if (ctx->dma == nullptr) return;
  for (std::size_t i = 0; i < cnt; ++i)
    ctx->dma->mark_dirty(sgl[i]);
}

void vfu_sgl_put(vfu_ctx_t* ctx, dma_sg_t* sgl, struct iovec* /*iov*/, size_t cnt) {
  vfu_sgl_mark_dirty(ctx, sgl, cnt);
}

int vfu_sgl_read(vfu_ctx_t* ctx, dma_sg_t* sg, size_t sg_cnt, void* data, int flags) {
  return transfer(*ctx, sg, sg_cnt, static_cast<std::byte*>(data), flags, /*is_write=*/false);
}

int vfu_sgl_write(vfu_ctx_t* ctx, dma_sg_t* sg, size_t sg_cnt, void* data, int flags) {
  return transfer(*ctx, sg, sg_cnt, static_cast<std::byte*>(data), flags, /*is_write=*/true);
}

}  // extern "C"
