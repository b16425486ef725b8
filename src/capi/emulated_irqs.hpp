// SPDX-License-Identifier: BSD-3-Clause
// Interrupts as hardware has them, for programs that ask for it (vmux_emulate_irqs()): masks, pending bits, the table
// of MSI-X in its BAR, INTx as a level. The vectors and the table are those of this project's own devices
// (pci/interrupts).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "pci/interrupts/msix_table.hpp"
#include "vfio-user/libvfio-user.h"
#include "vmux/base/unique_fd.hpp"
#include "vmux/pci/interrupts.hpp"

namespace vmux::capi {

/// For the thread that serves the context, except trigger(), set_level() and is_pending().
class EmulatedIrqs {
 public:
  /// For `kinds`, VMUX_IRQ_*, of a device that is described: nullptr, and an errno that the log explains. Sets the
  /// counts of vectors, and takes pages of table and pending bits out of what clients may map.
  [[nodiscard]] static std::unique_ptr<EmulatedIrqs> create(vfu_ctx& context, std::uint32_t kinds);

  [[nodiscard]] bool serves(std::uint32_t kind) const noexcept { return kind < 32 && (kinds_ >> kind & 1) != 0; }
  /// Whether table or pending bits lie in this region.
  [[nodiscard]] bool is_in(std::uint32_t region) const noexcept {
    return serves(VFU_DEV_MSIX_IRQ) && (region == table_.region || region == pba_.region);
  }

  /// Any thread: 0, EINVAL (no such vector) or, when the client uses neither MSI-X nor MSI, nothing.
  [[nodiscard]] std::optional<int> trigger(std::uint32_t vector) noexcept;
  /// Any thread.
  void set_level(bool is_high) noexcept { interrupts_->set_level(is_high); }
  /// Any thread: nothing when there is no such vector.
  [[nodiscard]] std::optional<bool> is_pending(std::uint32_t kind, std::uint32_t vector) const noexcept;

  /// SET_IRQS of a kind that it serves: 0 or an errno. `flags` as in linux/vfio.h.
  [[nodiscard]] int configure(std::uint32_t kind, std::uint32_t flags, std::uint32_t start, std::uint32_t count,
                              std::span<const std::byte> booleans, std::span<UniqueFd> fds) noexcept;

  /// The part that an access to a region begins with.
  enum class Owner : std::uint8_t { program, table, pba };
  struct Part {
    Owner owner;
    std::uint64_t length;  ///< as far as the owner is the same, `most` at most
  };
  [[nodiscard]] Part part_at(std::uint32_t region, std::uint64_t offset, std::uint64_t most) const noexcept;
  /// Of a part that is not the program's.
  void read(Owner owner, std::uint64_t offset, std::span<std::byte> into) const noexcept;
  void write(Owner owner, std::uint64_t offset, std::span<const std::byte> from) noexcept;

  /// Configuration space shows what is pending now.
  void update_config(vfu_ctx& context) const noexcept;
  /// It was written: masks that lie there are in force.
  void config_written(vfu_ctx& context) noexcept;
  void reset(vfu_ctx& context, bool drop_sinks) noexcept;
  /// Masks, pending bits, the table and the level, as bytes; see vmux_save_irqs().
  [[nodiscard]] std::vector<std::byte> save(vfu_ctx& context) const;
  /// 0, or EINVAL for what is not of a device like this one, after which nothing has changed. Of a device that is new
  /// (`is_new`) nothing is reset before, so that what the client has masked stays so.
  [[nodiscard]] int load(vfu_ctx& context, std::span<const std::byte> image, bool is_new = false);
  /// Who listens, and what the client has masked.
  [[nodiscard]] pci::Interrupts& routing() noexcept { return *interrupts_; }
  /// Pending bits and the level, to see whether they have changed.
  [[nodiscard]] std::array<std::uint64_t, 34> pending() const noexcept;

 private:
  struct Place {
    std::uint32_t region = ~0u;
    std::uint64_t start = 0, size = 0;
  };
  EmulatedIrqs() = default;
  [[nodiscard]] bool add_intx(vfu_ctx& context, pci::FunctionSpec& spec);
  [[nodiscard]] bool add_msi(vfu_ctx& context, pci::FunctionSpec& spec);
  [[nodiscard]] bool add_msix(vfu_ctx& context, pci::FunctionSpec& spec);
  static void keep_from_clients(vfu_ctx& context, const Place& place);

  std::uint32_t kinds_ = 0;
  std::uint32_t counts_[VFU_DEV_NUM_IRQS]{};  // of what it serves
  std::size_t msi_at_ = 0, msix_at_ = 0;      // in configuration space; 0: not served
  std::unique_ptr<pci::Interrupts> interrupts_;
  std::optional<pci::MsixTable> msix_;
  Place table_, pba_;
};

}  // namespace vmux::capi
