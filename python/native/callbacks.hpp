// SPDX-License-Identifier: BSD-3-Clause
// The functions that the library calls. They take the GIL, and leave errno as the handler meant it.
#pragma once

#include "context.hpp"

namespace vmux::python {

struct Callbacks {
  /// The library does not say which region an access is for, so each has a function of its own.
  static vfu_region_access_cb_t* access_of(int region);
  static vfu_dev_irq_state_cb_t* mask_of(int kind);
  static void log(vfu_ctx_t* ctx, int level, const char* text);
  static int reset(vfu_ctx_t* ctx, vfu_reset_type_t kind);
  static int quiesce(vfu_ctx_t* ctx);
  static void mapped(vfu_ctx_t* ctx, vfu_dma_info_t* info);
  static void unmapped(vfu_ctx_t* ctx, vfu_dma_info_t* info);
  static const vfu_migration_callbacks_t kMigration;

 private:
  static Context& context(vfu_ctx_t* ctx) { return *static_cast<Context*>(vfu_get_private(ctx)); }
  /// 0, or -1 with errno.
  static int tell(vfu_ctx_t* ctx, const char* name, auto... arguments);
  /// Fills `into` with what the method returns, at most that much: how many bytes, or -1.
  static ssize_t ask(vfu_ctx_t* ctx, const char* name, char* into, std::size_t size, bool exactly, auto... arguments);
  template <int Region>
  static ssize_t access(vfu_ctx_t* ctx, char* bytes, std::size_t count, loff_t at, bool is_write);
  template <int Kind>
  static void mask(vfu_ctx_t* ctx, std::uint32_t first, std::uint32_t count, bool is_masked);
  static int transition(vfu_ctx_t* ctx, vfu_migr_state_t state);
  static ssize_t saved(vfu_ctx_t* ctx, void* into, std::uint64_t count);
  static ssize_t loaded(vfu_ctx_t* ctx, void* from, std::uint64_t count);
};

}  // namespace vmux::python
