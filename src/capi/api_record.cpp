// SPDX-License-Identifier: BSD-3-Clause
// Survival of a crash, for programs that ask for it: the functions of vmux-extensions.h.
#include <algorithm>
#include <cerrno>

#include "capi/context.hpp"

using namespace vmux::capi;

namespace {

int failed(int error) noexcept { return errno = error, -1; }

}  // namespace

extern "C" {

int vmux_record(vfu_ctx_t* ctx, int files[VMUX_RECORD_FILES], vmux_keep_fd_cb_t* keep, vmux_drop_fd_cb_t* drop,
                void* arg) {
  if (ctx->is_realized || ctx->record != nullptr) return failed(EINVAL);
  if (ctx->link.is_pipe()) return failed(ENOTSUP);
  auto made = Record::create(*ctx, {keep, drop, arg});
  if (!made) return failed(made.error().as_errno());
  ctx->record = std::move(*made);
  ctx->link.record_in(*ctx->record);
  const auto numbers = ctx->record->files();
  std::copy(numbers.begin(), numbers.end(), files);
  return 0;
}

vfu_ctx_t* vmux_create_ctx_to_restore(const char* path, int flags, void* pvt) {
  if (path == nullptr || (flags & ~LIBVFIO_USER_FLAG_ATTACH_NB) != 0) return errno = EINVAL, nullptr;
  auto context = make_context(flags, pvt);
  context->link.wait_for_listener(path, (flags & LIBVFIO_USER_FLAG_ATTACH_NB) != 0);
  return context.release();
}

int vmux_restore(vfu_ctx_t* ctx, const int files[VMUX_RECORD_FILES], vmux_find_fd_cb_t* find, void* arg) {
  const bool is_fresh = ctx->is_realized && !ctx->is_negotiated && !ctx->link.has_client() && !ctx->link.is_pipe();
  if (!is_fresh || find == nullptr) return failed(EINVAL);
  const int error = restore(*ctx, std::span<const int, VMUX_RECORD_FILES>{files, VMUX_RECORD_FILES}, find, arg);
  return error == 0 ? 0 : failed(error);
}

uint64_t vmux_request_id(vfu_ctx_t* ctx) { return ctx->request; }

}  // extern "C"
