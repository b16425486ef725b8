// SPDX-License-Identifier: BSD-3-Clause
// What the system calls about addresses do where a BAR is mapped: as Linux does to vfio-pci's VMAs, which are shared,
// VM_IO, VM_PFNMAP, VM_DONTEXPAND and VM_DONTDUMP (mm/mprotect.c, mremap.c, madvise.c, mlock.c, msync.c). Ranges may
// hold memory of the program as well, to which the call goes as it is. Results are negated errnos.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmux::preload {

/// Is a BAR mapped in the range, or may it be? Cheap where none is.
[[nodiscard]] bool may_hold_bar(const void* address, std::size_t length) noexcept;

[[nodiscard]] long unmap_range(void* address, std::size_t length);
[[nodiscard]] long protect_range(void* address, std::size_t length, int protection);
/// The new address.
[[nodiscard]] long remap_range(void* from, std::size_t old_size, std::size_t new_size, int flags, void* to);
[[nodiscard]] long advise_range(void* address, std::size_t length, int advice);
[[nodiscard]] long sync_range(void* address, std::size_t length, int flags);

enum class Locking { lock, lock_on_fault, unlock };
[[nodiscard]] long lock_range(const void* address, std::size_t length, Locking how);

}  // namespace vmux::preload
