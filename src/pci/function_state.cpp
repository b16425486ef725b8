// SPDX-License-Identifier: BSD-3-Clause
// A function as bytes: config space, interrupts, then what the model adds.
#include <algorithm>
#include <cstring>
#include <utility>

#include "pci/function_impl.hpp"
#include "vmux/base/assert.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"
#include "wire/pci.hpp"

namespace vmux::pci {
namespace {

/// Marks the state of a function that has not stopped, which only says whether the one that follows can be loaded.
struct Preview {
  static constexpr std::string_view kSection = "pci.preview";
  static constexpr std::uint16_t kVersion = 1;
  static void describe(auto&, auto&) {}
};

/// What must be the same at both ends: drivers have looked at it once and will not look again.
struct Identity {
  static constexpr std::string_view kSection = "pci.identity";
  static constexpr std::uint16_t kVersion = 1;
  std::uint16_t vendor_id = 0, device_id = 0, subsystem_vendor_id = 0, subsystem_id = 0;
  std::uint8_t revision_id = 0;
  std::array<std::uint64_t, 6> bar_sizes{};
  std::uint32_t msi_vectors = 0, msix_vectors = 0;
  std::uint32_t config_size = 0;

  static void describe(auto& fields, auto& self) {
    fields("vendor_id", self.vendor_id);
    fields("device_id", self.device_id);
    fields("subsystem_vendor_id", self.subsystem_vendor_id);
    fields("subsystem_id", self.subsystem_id);
    fields("revision_id", self.revision_id);
    fields("bar_sizes", self.bar_sizes);
    fields("msi_vectors", self.msi_vectors);
    fields("msix_vectors", self.msix_vectors);
    fields("config_size", self.config_size);
  }
  friend bool operator==(const Identity&, const Identity&) = default;
};

struct Config {
  static constexpr std::string_view kSection = "pci.config";
  static constexpr std::uint16_t kVersion = 1;
  std::vector<std::uint8_t> bytes;
  static void describe(auto& fields, auto& self) { fields.list("bytes", self.bytes, wire::pci::kExtendedConfigSize); }
};

/// 64 vectors to a word.
struct Vectors {
  static constexpr std::string_view kSection = "pci.vectors";
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
  std::uint64_t msi_pending = 0;
  std::vector<Entry> table;                           // of MSI-X, as the guest wrote it
  std::array<std::uint64_t, 32> masked{}, pending{};  // of MSI-X; masked: see MsixTable

  static void describe(auto& fields, auto& self) {
    fields("msi_pending", self.msi_pending);
    fields.list("table", self.table, 2048);
    fields("masked", self.masked);
    fields("pending", self.pending);
  }
};

Identity identity_of(const FunctionSpec& spec, std::size_t config_size) {
  Identity identity{.vendor_id = spec.vendor_id,
                    .device_id = spec.device_id,
                    .subsystem_vendor_id = spec.subsystem_vendor_id,
                    .subsystem_id = spec.subsystem_id,
                    .revision_id = spec.revision_id,
                    .config_size = static_cast<std::uint32_t>(config_size)};
  for (std::size_t i = 0; i < identity.bar_sizes.size(); ++i)
    identity.bar_sizes[i] = spec.bars[i] ? spec.bars[i]->size : 0;
  for (const Capability& each : spec.capabilities) {
    if (const auto* msi = std::get_if<Msi>(&each)) identity.msi_vectors = msi->vectors;
    if (const auto* msix = std::get_if<Msix>(&each)) identity.msix_vectors = msix->vectors;
  }
  return identity;
}

bool is_set(const std::array<std::uint64_t, 32>& words, std::uint32_t vector) noexcept {
  return (words[vector / 64] >> vector % 64 & 1) != 0;
}

}  // namespace

bool Function::is_savable() const noexcept { return impl_->device.savable() != nullptr; }
void Function::pause() noexcept { impl_->pause(); }
void Function::resume() noexcept { impl_->resume(); }

std::vector<std::byte> Function::save() const {
  state::Writer writer;
  impl_->save(writer);
  return std::move(writer).finish();
}

tl::expected<void, std::string> Function::load(std::span<const std::byte> image) {
  return impl_->load(image, /*takes_preview=*/false);
}

std::vector<std::byte> Function::save_running(Purpose purpose) {
  state::Writer writer;
  if (purpose == Purpose::preview) writer.add(Preview{});
  impl_->save_core(writer);
  if (impl_->is_paused) {
    impl_->device.savable()->save(writer);
  } else {
    impl_->device.savable()->save_running(writer);
  }
  return std::move(writer).finish();
}

bool Function::is_preview(std::span<const std::byte> image) noexcept {
  const auto reader = state::Reader::open(image);
  return reader && reader->has(Preview::kSection);
}

tl::expected<void, std::string> Function::try_load(std::span<const std::byte> preview) {
  auto loaded = impl_->load(preview, /*takes_preview=*/true);
  impl_->reset(ResetKind::client_request);
  return loaded;
}

tl::expected<std::vector<std::byte>, std::string> Function::save_state() {
  if (!is_savable()) return Endpoint::save_state();
  return save_running(Purpose::keeping);
}

// What is there is loaded again when the image cannot be: a model says what is wrong when half of it is in place.
tl::expected<void, RestoreProblem> Function::restore_state(std::span<const std::byte> image) {
  if (!is_savable()) return Endpoint::restore_state(image);
  const auto is_busy = [&](const char* why) {
    return tl::unexpected(RestoreProblem{"the client of " + name() + why, true});
  };
  if (impl_->is_attached && !impl_->is_paused) {
    return is_busy(" has not stopped the device, and its guest would see it change");
  }
  if (impl_->stream && impl_->stream->is_loading()) return is_busy(" is loading a state into the device itself");
  const bool was_paused = impl_->is_paused;
  impl_->pause();
  const auto before = save();
  auto loaded = load(image);
  if (!loaded) {
    const auto as_before = load(before);
    VMUX_ASSERT(as_before.has_value());
    if (!was_paused) impl_->resume();
    return tl::unexpected(RestoreProblem{std::move(loaded.error())});
  }
  note_change();
  return {};
}

Migratable* Function::migration() noexcept {
  if (!is_savable()) return impl_->device.migration();
  if (!impl_->stream) impl_->stream = std::make_unique<StateStream>(*this);
  return impl_->stream.get();
}

void Function::Impl::pause() noexcept {
  if (!std::exchange(is_paused, true)) device.savable()->pause();
}

void Function::Impl::resume() noexcept {
  if (std::exchange(is_paused, false)) device.savable()->resume();
}

void Function::Impl::forget_move() noexcept {
  stream.reset();
  resume();
}

void Function::Impl::save(state::Writer& into) const {
  save_core(into);
  device.savable()->save(into);
}

void Function::Impl::save_core(state::Writer& writer) const {
  writer.add(identity_of(spec, config.size()));
  Config saved_config;
  for (const std::byte each : config.bytes())
    saved_config.bytes.push_back(std::to_integer<std::uint8_t>(each));
  writer.add(saved_config);
  Vectors vectors;
  vectors.msi_pending = interrupts->pending_word(Irq::msi, 0);
  if (msix_table) {
    for (const auto& entry : msix_table->entries())
      vectors.table.push_back(
          {std::uint64_t{entry.address_high} << 32 | entry.address_low, entry.data, entry.control != 0});
  }
  for (std::uint32_t word = 0; word < vectors.masked.size(); ++word) {
    vectors.masked[word] = interrupts->table_mask_word(word * 64);
    vectors.pending[word] = interrupts->pending_word(Irq::msix, word * 64);
  }
  writer.add(vectors);
}

tl::expected<void, std::string> Function::Impl::load(std::span<const std::byte> image, bool takes_preview) {
  pause();
  reset(ResetKind::client_request);
  auto loaded = [&]() -> tl::expected<void, std::string> {
    auto reader = state::Reader::open(image);
    if (!reader) return tl::unexpected(reader.error());
    if (reader->has(Preview::kSection)) {
      Preview preview;
      if (!takes_preview) return tl::unexpected(std::string{"the saved state is a preview, whose state never came"});
      if (auto done = reader->load(preview); !done) return done;
    }
    if (auto done = load(*reader); !done) return done;
    return reader->finish();
  }();
  if (!loaded) reset(ResetKind::client_request);
  return loaded;
}

tl::expected<void, std::string> Function::Impl::load(state::Reader& reader) {
  Identity identity;
  Config saved_config;
  Vectors vectors;
  if (auto done = reader.load(identity); !done) return done;
  if (auto done = reader.load(saved_config); !done) return done;
  if (auto done = reader.load(vectors); !done) return done;
  if (identity != identity_of(spec, config.size())) {
    return tl::unexpected("the saved state is of another kind of device than " + spec.name);
  }
  if (saved_config.bytes.size() != config.size())
    return tl::unexpected(std::string{"the saved state has a config space cut short"});
  if (vectors.table.size() != (msix_table ? msix_table->entries().size() : 0)) {
    return tl::unexpected("the saved state has another number of MSI-X vectors than " + spec.name);
  }
  config.load(std::as_bytes(std::span{saved_config.bytes}));
  for (std::uint32_t i = 0; i < vectors.table.size(); ++i) {
    const auto& from = vectors.table[i];
    wire::pci::MsixEntry entry;
    entry.address_low = static_cast<std::uint32_t>(from.address);
    entry.address_high = static_cast<std::uint32_t>(from.address >> 32);
    entry.data = from.data;
    entry.control = from.is_masked ? 1 : 0;
    static_cast<void>(msix_table->write(i * sizeof entry, std::as_bytes(std::span{&entry, 1})));
    interrupts->set_msix_vector_mask(i, is_set(vectors.masked, i));
  }
  apply_interrupt_control();
  update_dma();
  if (auto done = device.savable()->load(reader); !done) return done;
  for (std::uint32_t i = 0; i < vectors.table.size(); ++i) {
    if (is_set(vectors.pending, i)) interrupts->set_pending(Irq::msix, i);
  }
  for (std::uint32_t i = 0; i < 32; ++i) {
    if ((vectors.msi_pending >> i & 1) != 0) interrupts->set_pending(Irq::msi, i);
  }
  return {};
}

}  // namespace vmux::pci
