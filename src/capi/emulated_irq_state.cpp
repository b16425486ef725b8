// SPDX-License-Identifier: BSD-3-Clause
// Emulated interrupts as bytes, for a program's own migration stream.
#include <array>
#include <cerrno>
#include <cstddef>
#include <string_view>

#include "capi/context.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"
#include "wire/pci.hpp"

namespace vmux::capi {
namespace {

/// What a guest could tell the difference by. Who listens is not in it: a client says so to each process anew.
struct SavedIrqs {
  static constexpr std::string_view kSection = "capi.irqs";
  static constexpr std::uint16_t kVersion = 1;
  struct Entry {
    std::uint64_t address = 0;
    std::uint32_t data = 0;
    bool is_masked = true;
    static void describe(auto& fields, auto& self) {
      fields("address", self.address);
      fields("data", self.data);
      fields("is_masked", self.is_masked);
    }
  };
  std::uint32_t kinds = 0, msi_vectors = 0;
  bool intx_level = false, msi_enable = false, msix_enable = false, msix_mask = false;
  std::uint8_t msi_multiple = 0;
  std::uint32_t msi_mask = 0;
  std::uint64_t msi_pending = 0;
  std::vector<Entry> table;                           // of MSI-X: as many as there are vectors
  std::array<std::uint64_t, 32> masked{}, pending{};  // of MSI-X; masked: see MsixTable

  static void describe(auto& fields, auto& self) {
    fields("kinds", self.kinds);
    fields("msi_vectors", self.msi_vectors);
    fields("intx_level", self.intx_level);
    fields("msi_enable", self.msi_enable);
    fields("msix_enable", self.msix_enable);
    fields("msix_mask", self.msix_mask);
    fields("msi_multiple", self.msi_multiple);
    fields("msi_mask", self.msi_mask);
    fields("msi_pending", self.msi_pending);
    fields.list("table", self.table, 2048);
    fields("masked", self.masked);
    fields("pending", self.pending);
  }
};

bool is_set(std::span<const std::uint64_t> words, std::uint32_t bit) noexcept {
  return (words[bit / 64] >> bit % 64 & 1) != 0;
}

}  // namespace

std::vector<std::byte> EmulatedIrqs::save(vfu_ctx& context) const {
  SavedIrqs saved;
  saved.kinds = kinds_;
  saved.msi_vectors = counts_[VFU_DEV_MSI_IRQ];
  saved.intx_level = interrupts_->intx_level();
  if (msi_at_ != 0) {
    const msicap& msi = *context.config.capability_at<msicap>(msi_at_);
    saved.msi_enable = msi.mc.msie != 0;
    saved.msi_multiple = static_cast<std::uint8_t>(msi.mc.mme);
    saved.msi_mask = msi.mc.pvm != 0 ? msi.mmask : 0;
    saved.msi_pending = interrupts_->pending_word(pci::Irq::msi, 0);
  }
  if (msix_at_ != 0) {
    const mxc control = context.config.capability_at<msixcap>(msix_at_)->mxc;
    saved.msix_enable = control.mxe != 0;
    saved.msix_mask = control.fm != 0;
    for (const auto& entry : msix_->entries())
      saved.table.push_back(
          {std::uint64_t{entry.address_high} << 32 | entry.address_low, entry.data, entry.control != 0});
    for (std::uint32_t word = 0; word < saved.masked.size(); ++word) {
      saved.masked[word] = interrupts_->table_mask_word(word * 64);
      saved.pending[word] = interrupts_->pending_word(pci::Irq::msix, word * 64);
    }
  }
  state::Writer writer;
  writer.add(saved);
  return std::move(writer).finish();
}

std::array<std::uint64_t, 34> EmulatedIrqs::pending() const noexcept {
  std::array<std::uint64_t, 34> words{};
  const std::uint32_t count = (counts_[VFU_DEV_MSIX_IRQ] + 63) / 64;
  for (std::uint32_t word = 0; word < count; ++word)
    words[word] = interrupts_->pending_word(pci::Irq::msix, word * 64);
  if (msi_at_ != 0) words[32] = interrupts_->pending_word(pci::Irq::msi, 0);
  words[33] = interrupts_->intx_level() ? 1 : 0;
  return words;
}

int EmulatedIrqs::load(vfu_ctx& context, std::span<const std::byte> image, bool is_new) {
  SavedIrqs saved;
  auto reader = state::Reader::open(image);
  if (!reader || !reader->load(saved) || !reader->finish()) return EINVAL;
  const std::size_t vectors = msix_ ? msix_->entries().size() : 0;
  if (saved.kinds != kinds_ || saved.msi_vectors != counts_[VFU_DEV_MSI_IRQ] || saved.table.size() != vectors)
    return EINVAL;
  if (msi_at_ != 0 && saved.msi_multiple > context.config.capability_at<msicap>(msi_at_)->mc.mmc) return EINVAL;
  if (!is_new) reset(context, /*drop_sinks=*/false);
  if (msi_at_ != 0) {
    msicap& msi = *context.config.capability_at<msicap>(msi_at_);
    msi.mc.msie = saved.msi_enable ? 1 : 0;
    msi.mc.mme = saved.msi_multiple & 7u;
    if (msi.mc.pvm != 0) msi.mmask = saved.msi_mask;
  }
  if (msix_at_ != 0) {
    mxc& control = context.config.capability_at<msixcap>(msix_at_)->mxc;
    control.mxe = saved.msix_enable ? 1 : 0;
    control.fm = saved.msix_mask ? 1 : 0;
  }
  config_written(context);
  for (std::uint32_t i = 0; i < vectors; ++i) {
    wire::pci::MsixEntry entry;
    entry.address_low = static_cast<std::uint32_t>(saved.table[i].address);
    entry.address_high = static_cast<std::uint32_t>(saved.table[i].address >> 32);
    entry.data = saved.table[i].data;
    entry.control = saved.table[i].is_masked ? 1 : 0;
    static_cast<void>(msix_->write(i * sizeof entry, std::as_bytes(std::span{&entry, 1})));
    interrupts_->set_msix_vector_mask(i, is_set(saved.masked, i));
    if (is_set(saved.pending, i)) interrupts_->set_pending(pci::Irq::msix, i);
  }
  for (std::uint32_t i = 0; i < counts_[VFU_DEV_MSI_IRQ]; ++i) {
    if ((saved.msi_pending >> i & 1) != 0) interrupts_->set_pending(pci::Irq::msi, i);
  }
  interrupts_->set_level(saved.intx_level);
  return 0;
}

}  // namespace vmux::capi
