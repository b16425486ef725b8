// SPDX-License-Identifier: BSD-3-Clause
// What Function is made of; function.cpp serves regions and clients, function_config.cpp what config writes mean,
// function_state.cpp is how it is saved and loaded, function_suspend.cpp how it goes on elsewhere.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "pci/bar.hpp"
#include "pci/config/config_space.hpp"
#include "pci/interrupts/msix_table.hpp"
#include "pci/state_stream.hpp"
#include "vmux/base/log.hpp"
#include "vmux/pci/function.hpp"

namespace vmux::pci {

struct Function::Impl {
  Impl(FunctionSpec description, Device& model, ConfigSpace built)
      : spec(std::move(description)), device(model), config(std::move(built)) {}

  FunctionSpec spec;
  Device& device;
  ConfigSpace config;
  std::array<Bar, 6> bars;
  std::vector<std::byte> rom;  // padded to the size of its BAR
  std::unique_ptr<Interrupts> interrupts;
  std::optional<MsixTable> msix_table;
  memory::AddressSpace space;
  std::vector<memory::GuestMemory*> readers;  // attached to `space` only while DMA is on
  memory::GuestMemory own_reader;             // for dma_read() and dma_write()
  bool is_dma_on = false;                     // bus master and D0
  bool is_paused = false;                     // nothing of the model's reaches guest or client
  bool is_attached = false;                   // a client is
  MessageDma* message_dma = nullptr;
  Recorder* recorder = nullptr;
  bool has_changed = true;              // since take_change()
  bool stays_paused = false;            // at go_on()
  bool awaits_go_on = false;            // adopted, and not let go yet
  bool was_taken_over = false;          // from one that died: at go_on(), too
  std::unique_ptr<StateStream> stream;  // of a model that is savable

  // function.cpp
  [[nodiscard]] std::uint64_t size_of(Region region) const noexcept;
  [[nodiscard]] Result<void> check(Region region, std::uint64_t offset, std::size_t size) const noexcept;
  void read_bar(Region region, std::uint64_t offset, std::span<std::byte> into) noexcept;
  void write_bar(Region region, std::uint64_t offset, std::span<const std::byte> from) noexcept;
  /// No more DMA, then no more interrupts: after that nothing of the model's reaches for what is taken away next.
  void silence(bool drop_sinks) noexcept;
  void reset(ResetKind kind) noexcept;
  [[nodiscard]] Result<void> check_dma(Iova at, std::size_t size, memory::Access access) const noexcept;

  // function_config.cpp
  void read_config(std::size_t at, std::span<std::byte> into) noexcept;
  void write_config(std::size_t at, std::span<const std::byte> from) noexcept;
  /// Follows the command register and the power state: readers, messages and the model learn of a change.
  void update_dma() noexcept;
  void apply_interrupt_control() noexcept;

  // function_state.cpp
  void save(state::Writer& into) const;
  void save_core(state::Writer& into) const;  // what is not the model's
  /// After a reset. On an error another one is due.
  [[nodiscard]] tl::expected<void, std::string> load(state::Reader& from);
  [[nodiscard]] tl::expected<void, std::string> load(std::span<const std::byte> image, bool takes_preview);
  void pause() noexcept;
  void resume() noexcept;
  /// A reset ends a migration that was under way: the device runs.
  void forget_move() noexcept;

  // function_suspend.cpp
  [[nodiscard]] Result<void> save_client(state::Writer& into, state::FdBag& fds) const;
  [[nodiscard]] StateStream::Saved move_under_way(bool was_paused) const;
  [[nodiscard]] tl::expected<void, std::string> take_over_arena(const state::FdBag& fds);
  [[nodiscard]] tl::expected<void, std::string> adopt(Function& self, state::Reader& from, const state::FdBag& fds);

 private:
  [[nodiscard]] std::uint16_t power_state() const noexcept;
  [[nodiscard]] bool starts_flr(std::size_t at, std::span<const std::byte> from) const noexcept;
  void ask_model(std::size_t at, std::size_t size) noexcept;
  void tell_model(std::size_t at, std::span<const std::byte> from) noexcept;
};

}  // namespace vmux::pci
