// SPDX-License-Identifier: BSD-3-Clause
// The life of a context, and its turns: vfu_create_ctx() to vfu_destroy_ctx().
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>

#include "capi/cancel.hpp"
#include "capi/context.hpp"

namespace vmux::capi {
namespace {

bool is_blocking(const vfu_ctx& context) noexcept { return (context.flags & LIBVFIO_USER_FLAG_ATTACH_NB) == 0; }
int failed(int error) noexcept { return errno = error, -1; }
int result(int error) noexcept { return error == 0 ? 0 : failed(error); }

void progress(vfu_ctx& context) { context.link.progress(&context, /*may_serve=*/context.pending == Pending::nothing); }

/// Serves, or begins to wait for the device. Returns how many requests were served, or -1 with errno.
int take(vfu_ctx& context, Message& message) {
  if (const int error = refusal(context, message); error != 0) {
    answer(context, message, {}, error);
    return 0;
  }
  if (needs_quiesce(context, message)) {
    const int error = ask_to_quiesce(context);
    if (error == EBUSY) {
      context.pending = Pending::message;
      context.pending_message = std::move(message);
      return failed(EBUSY);
    }
    if (error != 0) {
      answer(context, message, {}, error);
      return 0;
    }
  }
  serve(context, message);
  return 1;
}

/// What the client has sent, or, if it may not receive, what was received: how many requests were served, or -1 with
/// errno.
int run(vfu_ctx& context, bool may_receive) {
  const bool waits = is_blocking(context);
  int served = 0;
  for (;;) {
    if (!context.watches.empty() && (waits || served == 0)) context.watches.poll(context);
    if (context.link.async().has_work()) progress(context);
    const bool may_fail = waits || served == 0;  // else the next call does
    if (context.pending != Pending::nothing) return may_fail ? failed(EBUSY) : served;
    if (!context.is_negotiated) return may_fail ? failed(ENOTCONN) : served;
    if (context.dma != nullptr && context.dma->is_poisoned()) {
      vfu_log(&context, LOG_ERR, "the client has made its memory file shorter, and is let go");
      return lose_client(context);
    }
    Message& message = context.message;
    message.fds.clear();
    switch (context.link.read(message, may_receive)) {
      case Link::Got::message: {
        const int taken = take(context, message);
        if (taken > 0) served += taken;
        may_receive = waits;
        break;
      }
      case Link::Got::broken:
        answer(context, message, {}, EINVAL);  // and the next read says that the client is gone
        if (!waits) return served;
        break;
      case Link::Got::gone:
        return lose_client(context);
      case Link::Got::interrupted:
        return failed(EINTR);
      case Link::Got::nothing:
        if (!waits) return served;
    }
  }
}

/// Takes a client and agrees on the version with it: 0 or an errno.
int meet_client(vfu_ctx& context) {
  for (;;) {
    if (context.link.async().has_work()) progress(context);  // what the last client has left
    if (!context.link.has_client()) {
      if (const int error = context.link.accept(); error != 0) return error;
    }
    context.message.fds.clear();
    switch (context.link.read(context.message, /*may_receive=*/true)) {
      case Link::Got::message:
        return negotiate(context, context.message);
      case Link::Got::broken:
        static_cast<void>(context.link.reply(context.message.header, {}, EINVAL));
        return EINVAL;
      case Link::Got::gone:  // before it said its version: whoever looks for open sockets does that
        if (context.link.is_pipe()) return ENOMSG;
        context.link.drop_client();
        break;
      case Link::Got::interrupted:
        return EINTR;
      case Link::Got::nothing:
        if (!is_blocking(context)) return EAGAIN;  // it may take its time, and so may we
    }
  }
}

}  // namespace

std::unique_ptr<vfu_ctx> make_context(int flags, void* pvt) {
  auto context = std::make_unique<vfu_ctx>();
  context->flags = flags;
  context->pvt = pvt;
  context->irqs.counts[VFU_DEV_ERR_IRQ] = context->irqs.counts[VFU_DEV_REQ_IRQ] = 1;
  return context;
}

}  // namespace vmux::capi

using namespace vmux::capi;

extern "C" {

vfu_ctx_t* vfu_create_ctx(vfu_trans_t trans, const char* path, int flags, void* pvt, vfu_dev_type_t dev_type) {
  const auto refused = [](int error) -> vfu_ctx_t* { return errno = error, nullptr; };
  if ((flags & ~LIBVFIO_USER_FLAG_ATTACH_NB) != 0) return refused(EINVAL);
  if (trans != VFU_TRANS_SOCK && trans != VFU_TRANS_PIPE) return refused(ENOTSUP);
  int kind = 0;  // a C program can pass any number as an enumerator
  std::memcpy(&kind, &dev_type, sizeof kind);
  if (kind != VFU_DEV_TYPE_PCI) return refused(ENOTSUP);
  if (path == nullptr) return refused(EINVAL);
  auto context = make_context(flags, pvt);
  const int error = context->link.open(trans, path, !is_blocking(*context));
  return error != 0 ? refused(error) : context.release();
}

int vfu_realize_ctx(vfu_ctx_t* ctx) {
  if (ctx->is_realized) return 0;
  auto& config = ctx->regions[VFU_PCI_DEV_CFG_REGION_IDX];
  if (config.size == 0) {
    config.size = PCI_CFG_SPACE_SIZE;
    config.flags = VFU_REGION_FLAG_RW;
  }
  for (std::size_t i = 0; i < PCI_BARS_NR; ++i) {
    const int kind = ctx->regions[i].flags;
    auto& bar = ctx->config.header().bars[i];
    const bool is_upper_half = i % 2 == 1 && (ctx->regions[i - 1].flags & VFU_REGION_FLAG_64_BITS) != 0;
    // One that is absent reads as I/O: programs print it so.
    if ((kind & VFU_REGION_FLAG_MEM) == 0 && !is_upper_half) bar.io.region_type = 1;
    if ((kind & VFU_REGION_FLAG_64_BITS) != 0) bar.mem.locatable = PCI_BASE_ADDRESS_MEM_TYPE_LOCATABLE_64;
    if ((kind & VFU_REGION_FLAG_PREFETCH) != 0) bar.mem.prefetchable = 1;
  }
  if (ctx->emulated_kinds != 0) {
    ctx->emulated = EmulatedIrqs::create(*ctx, ctx->emulated_kinds);
    if (ctx->emulated == nullptr) return -1;
  }
  if (!ctx->irqs.realize()) return failed(ENOMEM);
  if (ctx->irqs.counts[VFU_DEV_INTX_IRQ] != 0) ctx->config.header().intr.ipin = 1;  // INTA#
  ctx->is_realized = true;
  prepare_memory(*ctx);
  if (ctx->record == nullptr) return 0;
  static_cast<void>(ctx->record->write());
  return 0;
}

int vfu_attach_ctx(vfu_ctx_t* ctx) {
  if (ctx->is_negotiated) {
    vfu_log(ctx, LOG_ERR, "a client is attached already");
    return failed(EINVAL);
  }
  const NoCancel guard{is_blocking(*ctx)};
  ctx->link.set_cancel_state(guard.before());
  const int error = meet_client(*ctx);
  ctx->is_negotiated = error == 0;
  if (error != 0 && error != EAGAIN && error != EINTR) ctx->link.drop_client();
  return result(error);
}

int vfu_get_poll_fd(vfu_ctx_t* ctx) { return ctx->link.poll_fd(); }

int vfu_run_ctx(vfu_ctx_t* ctx) {
  if (!ctx->is_realized) return failed(EINVAL);
  const NoCancel guard{is_blocking(*ctx)};
  ctx->link.set_cancel_state(guard.before());
  ctx->last_error = 0;
  const int served = run(*ctx, /*may_receive=*/true);
  if (served >= 0 && ctx->last_error != 0) errno = ctx->last_error;
  return served;
}

int vfu_device_quiesced(vfu_ctx_t* ctx, int quiesce_errno) {
  if (ctx->in_quiesce) {
    ctx->quiesced_inside = quiesce_errno;
    return 0;
  }
  if (ctx->quiesce == nullptr || ctx->pending == Pending::nothing) return failed(EINVAL);
  const Pending what = ctx->pending;
  auto message = std::move(ctx->pending_message);
  ctx->pending_message = {};
  // `pending` stays until all is done: a client that is lost meanwhile is forgotten without another question.
  if (what == Pending::message && quiesce_errno == 0) {
    serve(*ctx, message);
  } else if (what == Pending::message) {
    static_cast<void>(reset_device(*ctx, VFU_RESET_DEVICE));
    answer(*ctx, message, {}, quiesce_errno);
  } else if (quiesce_errno == 0) {
    forget_client(*ctx);
  }
  ctx->pending = Pending::nothing;
  // Nothing else would remind the program of what came with the request that waited.
  if (!is_blocking(*ctx) && ctx->is_negotiated && ctx->link.has_buffered()) static_cast<void>(run(*ctx, false));
  return 0;
}

void vfu_destroy_ctx(vfu_ctx_t* ctx) {
  if (ctx == nullptr) return;
  forget_client(*ctx);
  if (ctx->record != nullptr) ctx->record->let_go_all();
  delete ctx;
}

void* vfu_get_private(vfu_ctx_t* ctx) { return ctx->pvt; }

void vfu_log(vfu_ctx_t* ctx, int level, const char* fmt, ...) {
  if (ctx->log == nullptr || level > ctx->log_level || fmt == nullptr) return;
  const int error = errno;  // "%m", and the caller's
  char text[1024];
  va_list arguments;
  va_start(arguments, fmt);
  std::vsnprintf(text, sizeof text, fmt, arguments);
  va_end(arguments);
  ctx->log(ctx, level, text);
  errno = error;
}

int vfu_setup_log(vfu_ctx_t* ctx, vfu_log_fn_t* log, int level) {
  if (level < LOG_EMERG || level > LOG_DEBUG) return failed(EINVAL);
  ctx->log = log;
  ctx->log_level = level;
  return 0;
}

}  // extern "C"
