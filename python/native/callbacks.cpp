// SPDX-License-Identifier: BSD-3-Clause
#include "callbacks.hpp"

#include <cstring>

namespace vmux::python {
namespace {

/// With the GIL, and errno as `act` left it: giving the GIL back may change it.
auto with_python(auto act) {
  int error = 0;
  const auto result = [&] {
    const py::gil_scoped_acquire locked;
    const auto value = act();
    error = errno;
    return value;
  }();
  errno = error;
  return result;
}

std::uint64_t start_of(const vfu_dma_info_t& info) { return reinterpret_cast<std::uintptr_t>(info.iova.iov_base); }

}  // namespace

int Callbacks::tell(vfu_ctx_t* ctx, const char* name, auto... arguments) {
  return with_python([&] { return context(ctx).call(name, py::make_tuple(arguments...)) ? 0 : -1; });
}

ssize_t Callbacks::ask(vfu_ctx_t* ctx, const char* name, char* into, std::size_t size, bool exactly,
                       auto... arguments) {
  return with_python([&]() -> ssize_t {
    const auto answer = context(ctx).call(name, py::make_tuple(arguments...));
    if (!answer) return -1;
    const std::string_view bytes = py::reinterpret_borrow<py::bytes>(*answer);  // the handlers' side has checked
    if (bytes.size() > size || (exactly && bytes.size() != size)) return errno = EIO, -1;
    std::memcpy(into, bytes.data(), bytes.size());
    return static_cast<ssize_t>(bytes.size());
  });
}

template <int Region>
ssize_t Callbacks::access(vfu_ctx_t* ctx, char* bytes, std::size_t count, loff_t at, bool is_write) {
  if (!is_write) return ask(ctx, "_read", bytes, count, true, Region, at, count);
  const int done = with_python(
      [&] { return context(ctx).call("_write", py::make_tuple(Region, at, py::bytes(bytes, count))) ? 0 : -1; });
  return done == 0 ? static_cast<ssize_t>(count) : -1;
}

template <int Kind>
void Callbacks::mask(vfu_ctx_t* ctx, std::uint32_t first, std::uint32_t count, bool is_masked) {
  tell(ctx, "_masked", Kind, first, count, is_masked);
}

vfu_region_access_cb_t* Callbacks::access_of(int region) {
  static constexpr vfu_region_access_cb_t* kEach[] = {access<0>, access<1>, access<2>, access<3>, access<4>,
                                                      access<5>, access<6>, access<7>, access<8>};
  if (region < 0 || region >= VFU_PCI_DEV_NUM_REGIONS) throw std::out_of_range("no such region");
  return kEach[region];
}

vfu_dev_irq_state_cb_t* Callbacks::mask_of(int kind) {
  static constexpr vfu_dev_irq_state_cb_t* kEach[] = {mask<0>, mask<1>, mask<2>, mask<3>, mask<4>};
  return kEach[kind];
}

void Callbacks::log(vfu_ctx_t* ctx, int level, const char* text) {
  if (ctx == nullptr || vfu_get_private(ctx) == nullptr) return;
  tell(ctx, "_log", level, text);
}

int Callbacks::reset(vfu_ctx_t* ctx, vfu_reset_type_t kind) { return tell(ctx, "_reset", static_cast<int>(kind)); }

int Callbacks::quiesce(vfu_ctx_t* ctx) { return tell(ctx, "_quiesce"); }

void Callbacks::mapped(vfu_ctx_t* ctx, vfu_dma_info_t* info) {
  with_python([&] {
    context(ctx).ranges_[start_of(*info)] = info->iova.iov_len;
    return context(ctx).call("_mapped", py::make_tuple(start_of(*info), info->iova.iov_len, info->vaddr != nullptr))
               ? 0
               : -1;
  });
}

void Callbacks::unmapped(vfu_ctx_t* ctx, vfu_dma_info_t* info) {
  with_python([&] {
    context(ctx).ranges_.erase(start_of(*info));
    return context(ctx).call("_unmapped", py::make_tuple(start_of(*info), info->iova.iov_len)) ? 0 : -1;
  });
}

int Callbacks::transition(vfu_ctx_t* ctx, vfu_migr_state_t state) {
  return tell(ctx, "_transition", static_cast<int>(state));
}

ssize_t Callbacks::saved(vfu_ctx_t* ctx, void* into, std::uint64_t count) {
  return ask(ctx, "_saved", static_cast<char*>(into), count, false, count);
}

ssize_t Callbacks::loaded(vfu_ctx_t* ctx, void* from, std::uint64_t count) {
  const int done = with_python([&] {
    return context(ctx).call("_loaded", py::make_tuple(py::bytes(static_cast<const char*>(from), count))) ? 0 : -1;
  });
  return done == 0 ? static_cast<ssize_t>(count) : -1;
}

const vfu_migration_callbacks_t Callbacks::kMigration = {VFU_MIGR_CALLBACKS_VERS, transition, saved, loaded};

}  // namespace vmux::python
