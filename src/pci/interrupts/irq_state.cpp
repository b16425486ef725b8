// SPDX-License-Identifier: BSD-3-Clause
// Who listens to which interrupt, as saved state. It is loaded as a client would set it up: by requests.
#include <array>
#include <bit>
#include <vector>

#include "pci/interrupts/interrupts_impl.hpp"
#include "vmux/state/fd_bag.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::pci {
namespace {

constexpr std::string_view kUnmask = "irq/intx/unmask";

/// Of INTx, ERR and REQ the first vector counts, and no mask of the latter two.
struct SavedRouting {
  static constexpr std::string_view kSection = "pci.routing";
  static constexpr std::uint16_t kVersion = 1;
  struct Kind {
    bool is_enabled = false;                         // of MSI and MSI-X: set up, be it without a sink
    std::vector<std::uint64_t> has_sink, is_masked;  // bit per vector, as far as any is set; masked by the client
    static void describe(auto& fields, auto& self) {
      fields("is_enabled", self.is_enabled);
      fields.list("has_sink", self.has_sink, 2048 / 64);
      fields.list("is_masked", self.is_masked, 2048 / 64);
    }
  };
  std::array<Kind, kIrqCount> kinds;
  bool has_unmask = false;  // an eventfd by which INTx is unmasked
  static void describe(auto& fields, auto& self) {
    fields("kinds", self.kinds);
    fields("has_unmask", self.has_unmask);
  }
};

using Words = std::vector<std::uint64_t>;

void set_bit(Words& words, std::uint32_t bit) {
  if (words.size() <= bit / 64) words.resize(bit / 64 + 1);
  words[bit / 64] |= 1ull << bit % 64;
}
bool bit_of(const Words& words, std::uint32_t bit) noexcept {
  return bit / 64 < words.size() && (words[bit / 64] >> bit % 64 & 1) != 0;
}

/// Behind the last that is set.
std::uint32_t end_of(const Words& words) noexcept {
  for (std::size_t i = words.size(); i > 0; --i) {
    if (words[i - 1] != 0)
      return static_cast<std::uint32_t>(i * 64) - static_cast<std::uint32_t>(std::countl_zero(words[i - 1]));
  }
  return 0;
}

constexpr std::array<std::string_view, kIrqCount> kNames{"irq/intx", "irq/msi", "irq/msix", "irq/err", "irq/req"};
std::string name_of(std::size_t kind, std::uint32_t vector) { return state::fd_name(kNames[kind], vector); }

Result<void> keep(const IrqSink& sink, std::size_t kind, std::uint32_t vector, SavedRouting& into, state::FdBag& fds) {
  if (!sink.has_listener()) return {};
  set_bit(into.kinds[kind].has_sink, vector);
  return fds.put_copy(name_of(kind, vector), sink.fd());
}

Result<void> set_up(Interrupts& interrupts, Irq irq, const SavedRouting::Kind& saved, const state::FdBag& fds) {
  const std::uint32_t count = interrupts.info(irq).count;
  if (end_of(saved.has_sink) > count || end_of(saved.is_masked) > count) {
    return fail(Errc::out_of_range, "a vector that the device does not have");
  }
  std::vector<UniqueFd> sinks(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!bit_of(saved.has_sink, i)) continue;
    auto sink = fds.copy(name_of(static_cast<std::size_t>(irq), i));
    if (!sink) return tl::unexpected(sink.error());
    sinks[i] = std::move(*sink);
  }
  if (count != 0 && (saved.is_enabled || end_of(saved.has_sink) != 0)) {
    const IrqRequest attach{irq, IrqAction::trigger, IrqData::eventfd, 0, count, {}, sinks};
    if (auto done = interrupts.configure(attach); !done) return done;
  }
  for (std::uint32_t i = 0; i < end_of(saved.is_masked); ++i) {
    if (!bit_of(saved.is_masked, i)) continue;
    const IrqRequest mask{irq, IrqAction::mask, IrqData::none, i, 1, {}, {}};
    if (auto done = interrupts.configure(mask); !done) return done;
  }
  return {};
}

}  // namespace

Result<void> Interrupts::save_routing(state::Writer& into, state::FdBag& fds) const {
  SavedRouting saved;
  for (const Irq irq : {Irq::msi, Irq::msix}) {
    const auto kind = static_cast<std::size_t>(irq);
    const MessageGroup& group = impl_->group(irq);
    saved.kinds[kind].is_enabled = group.is_enabled.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < group.count; ++i) {
      const MessageVector& vector = group.vectors[i];
      if (auto kept = keep(vector.sink(), kind, i, saved, fds); !kept) return kept;
      if (vector.is_masked(MessageVector::by_client)) set_bit(saved.kinds[kind].is_masked, i);
    }
  }
  const IrqSink* const singles[] = {&impl_->intx.sink(), nullptr, nullptr, &impl_->error_sink, &impl_->request_sink};
  for (std::size_t kind = 0; kind < kIrqCount; ++kind) {
    if (singles[kind] == nullptr) continue;
    if (auto kept = keep(*singles[kind], kind, 0, saved, fds); !kept) return kept;
  }
  if (impl_->intx.is_masked()) set_bit(saved.kinds[0].is_masked, 0);
  saved.has_unmask = static_cast<bool>(impl_->unmask_fd);
  if (saved.has_unmask) {
    if (auto kept = fds.put_copy(std::string{kUnmask}, impl_->unmask_fd.get()); !kept) return kept;
  }
  into.add(saved);
  return {};
}

tl::expected<void, std::string> Interrupts::load_routing(state::Reader& from, const state::FdBag& fds) {
  SavedRouting saved;
  if (auto done = from.load(saved); !done) return done;
  const auto apply = [&]() -> Result<void> {
    for (std::size_t kind = 0; kind < kIrqCount; ++kind) {
      if (auto done = set_up(*this, static_cast<Irq>(kind), saved.kinds[kind], fds); !done) return done;
    }
    if (!saved.has_unmask) return {};
    auto unmask = fds.copy(kUnmask);
    if (!unmask) return tl::unexpected(unmask.error());
    return configure({Irq::intx, IrqAction::unmask, IrqData::eventfd, 0, 1, {}, {&*unmask, 1}});
  };
  if (auto done = apply(); !done) {
    return tl::unexpected("the saved state's section 'pci.routing': " + done.error().text());
  }
  return {};
}

}  // namespace vmux::pci
