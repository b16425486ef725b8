// SPDX-License-Identifier: BSD-3-Clause
// Who listens to which interrupt, from a process to the next. The kernel has the eventfds and signals them whether
// there is a process or not.
#include <array>
#include <string>
#include <tuple>
#include <utility>

#include "base/logf.hpp"
#include "kvfio/irq_relay.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::kvfio {
namespace {

using pci::Irq;

constexpr std::size_t kMostVectors = 2048;  // [PCI] 6.8.2.3
constexpr std::array kMessages{Irq::msi, Irq::msix};

struct SavedRelay {
  static constexpr std::string_view kSection = "kvfio.interrupts";
  static constexpr std::uint16_t kVersion = 1;
  struct Vector {
    bool has_sink = false, has_parked = false;
    std::uint8_t masks = 0;
    static void describe(auto& fields, auto& self) {
      fields("has_sink", self.has_sink);
      fields("has_parked", self.has_parked);
      fields("masks", self.masks);
    }
  };
  /// Of INTx the kernel has all but that it is enabled.
  struct Kind {
    std::uint32_t enabled = 0;
    std::vector<Vector> vectors;
    static void describe(auto& fields, auto& self) {
      fields("enabled", self.enabled);
      fields.list("vectors", self.vectors, kMostVectors);
    }
  };
  std::array<Kind, 3> kinds;
  static void describe(auto& fields, auto& self) { fields("kinds", self.kinds); }
};

std::string name_of(Irq irq, std::size_t vector) {
  return state::fd_name(irq == Irq::msi ? "irq/msi" : "irq/msix", vector);
}
std::string parked_name(Irq irq, std::size_t vector) { return name_of(irq, vector) + "/parked"; }

}  // namespace

Result<void> IrqRelay::save(state::Writer& into, state::FdBag& fds) const {
  SavedRelay saved;
  for (std::size_t kind = 0; kind < groups_.size(); ++kind) {
    saved.kinds[kind].enabled = groups_[kind].enabled;
    for (const Vector& vector : groups_[kind].vectors)
      saved.kinds[kind].vectors.push_back(
          {static_cast<bool>(vector.sink), static_cast<bool>(vector.parked), vector.masks});
  }
  for (const Irq irq : kMessages) {
    const auto& vectors = group(irq).vectors;
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      if (vectors[i].sink) {
        if (auto done = fds.put_copy(name_of(irq, i), vectors[i].sink.get()); !done) return done;
      }
      if (!vectors[i].parked) continue;
      if (auto done = fds.put_copy(parked_name(irq, i), vectors[i].parked.get()); !done) return done;
    }
  }
  into.add(saved);
  return {};
}

tl::expected<void, std::string> IrqRelay::load(state::Reader& from, const state::FdBag& fds) {
  SavedRelay saved;
  if (auto done = from.load(saved); !done) return done;
  for (std::size_t kind = 0; kind < groups_.size(); ++kind) {
    if (saved.kinds[kind].vectors.size() != groups_[kind].vectors.size() ||
        saved.kinds[kind].enabled > groups_[kind].vectors.size()) {
      return tl::unexpected(std::string{"the saved state has another number of interrupt vectors than the device"});
    }
    groups_[kind].enabled = saved.kinds[kind].enabled;
  }
  for (const Irq irq : kMessages) {
    const auto& vectors = saved.kinds[static_cast<std::size_t>(irq)].vectors;
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      Vector& vector = group(irq).vectors[i];
      vector.masks = vectors[i].masks;
      for (const auto& [is_there, name, into] :
           {std::tuple{vectors[i].has_sink, name_of(irq, i), &vector.sink},
            std::tuple{vectors[i].has_parked, parked_name(irq, i), &vector.parked}}) {
        if (!is_there) continue;
        auto fd = fds.copy(name);
        if (!fd) return tl::unexpected(fd.error().text());
        *into = std::move(*fd);
      }
      if (vector.masks != 0 && i < saved.kinds[static_cast<std::size_t>(irq)].enabled && !vector.parked)
        return tl::unexpected(std::string{"the saved state has a masked vector that nobody keeps pending"});
    }
  }
  return {};
}

void IrqRelay::go_on() noexcept {
  for (const Irq irq : kMessages) {
    if (group(irq).enabled == 0) continue;
    if (auto applied = apply(irq, 0, group(irq).enabled); !applied)
      logf(LogLevel::warning, "interrupts may be lost: {}", applied.error().text());
    for (std::uint32_t i = 0; i < group(irq).enabled; ++i) {
      const Vector& vector = group(irq).vectors[i];
      if (!vector.sink) continue;
      if (vector.masks == 0) signal_peer_eventfd(vector.sink.get());
      if (vector.masks != 0) signal_eventfd(vector.parked.get());
    }
  }
}

}  // namespace vmux::kvfio
