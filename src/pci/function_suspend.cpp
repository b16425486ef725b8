// SPDX-License-Identifier: BSD-3-Clause
// A function that goes on in another object, in front of the same client: what function_state.cpp saves, and all that
// the client has given.
#include <utility>

#include "pci/function_impl.hpp"
#include "vmux/state/fd_bag.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::pci {

Result<void> Function::suspend(state::Writer& into, state::FdBag& fds) {
  if (!is_savable()) return fail(Errc::not_supported, "the device cannot be handed over");
  const bool was_paused = impl_->is_paused;
  impl_->pause();
  const auto keep_fds = [&]() -> Result<void> {
    if (auto done = impl_->space.save(into, fds); !done) return done;
    if (auto done = impl_->interrupts->save_routing(into, fds); !done) return done;
    for (std::size_t i = 0; i < impl_->bars.size(); ++i) {
      if (impl_->bars[i].fd() < 0) continue;
      if (auto done = fds.put_copy(state::fd_name("bar", i), impl_->bars[i].fd()); !done) return done;
    }
    return {};
  };
  if (auto done = keep_fds(); !done) {
    if (!was_paused) impl_->resume();
    return done;
  }
  impl_->stays_paused = was_paused;
  impl_->save(into);
  StateStream::Saved moving{.is_paused = was_paused};
  if (impl_->stream) impl_->stream->keep(moving);
  into.add(moving);
  return {};
}

tl::expected<void, std::string> Function::adopt(state::Reader& from, const state::FdBag& fds, MessageDma* message_dma) {
  if (!is_savable()) return tl::unexpected(spec().name + " cannot take over from another device");
  impl_->pause();
  impl_->reset(ResetKind::client_request);
  if (auto adopted = impl_->adopt(*this, from, fds); !adopted) return adopted;
  impl_->message_dma = message_dma;
  impl_->device.attached(true);
  return {};
}

// Listeners come before anything is pending, so that nothing is told twice. Memory that guests have mapped comes last:
// what the model puts into its registers until then goes into the memory that is replaced.
tl::expected<void, std::string> Function::Impl::adopt(Function& self, state::Reader& from, const state::FdBag& fds) {
  StateStream::Saved moving;
  if (auto done = from.load(moving); !done) return done;
  if (auto done = space.load(from, fds); !done) return done;
  if (auto done = interrupts->load_routing(from, fds); !done) return done;
  if (auto done = load(from); !done) return done;
  for (std::size_t i = 0; i < bars.size(); ++i) {
    if (bars[i].fd() < 0) continue;
    auto fd = fds.copy(state::fd_name("bar", i));
    if (!fd) return tl::unexpected(fd.error().text());
    if (auto done = bars[i].share_with(std::move(*fd)); !done) return tl::unexpected(done.error().text());
  }
  if (moving.is_paused || moving.is_loading || !moving.image.empty()) {
    stream = std::make_unique<StateStream>(self);
    if (!stream->go_on(moving)) return tl::unexpected(std::string{"the saved migration goes on beyond its end"});
  }
  stays_paused = moving.is_paused;
  return {};
}

DmaClaim Function::claim_dma(bool is_write, Iova at, std::size_t size) {
  return is_savable() ? impl_->device.savable()->claim_dma(is_write, at, size) : DmaClaim{};
}

void Function::go_on() noexcept {
  if (!std::exchange(impl_->stays_paused, false)) impl_->resume();
}

}  // namespace vmux::pci
