// SPDX-License-Identifier: BSD-3-Clause
// A function that goes on in another object, in front of the same client: what function_state.cpp saves, and all that
// the client has given.
#include <algorithm>
#include <utility>

#include "base/logf.hpp"
#include "pci/function_impl.hpp"
#include "vmux/state/arena.hpp"
#include "vmux/state/fd_bag.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/undo_log.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::pci {

Result<void> Function::Impl::save_client(state::Writer& into, state::FdBag& fds) const {
  if (auto done = space.save(into, fds); !done) return done;
  if (auto done = interrupts->save_routing(into, fds); !done) return done;
  for (std::size_t i = 0; i < bars.size(); ++i) {
    if (bars[i].fd() < 0) continue;
    if (auto done = fds.put_copy(state::fd_name("bar", i), bars[i].fd()); !done) return done;
  }
  return {};
}

Result<void> Function::suspend(state::Writer& into, state::FdBag& fds) {
  if (!is_savable()) return fail(Errc::not_supported, "the device cannot be handed over");
  const bool was_paused = impl_->is_paused;
  impl_->pause();
  if (auto done = impl_->save_client(into, fds); !done) {
    if (!was_paused) impl_->resume();
    return done;
  }
  impl_->stays_paused = was_paused;
  impl_->save(into);
  into.add(impl_->move_under_way(was_paused));
  return {};
}

StateStream::Saved Function::Impl::move_under_way(bool was_paused) const {
  StateStream::Saved moving{.is_paused = was_paused};
  if (stream) stream->keep(moving);
  return moving;
}

bool Function::can_record() const noexcept { return is_savable() && impl_->device.savable()->arena() != nullptr; }

Result<void> Function::record(state::Writer& into, state::FdBag& fds) {
  if (!can_record()) return fail(Errc::not_supported, "the device keeps no cursors that outlive it");
  impl_->space.keep_departed();
  if (auto done = impl_->save_client(into, fds); !done) return done;
  if (auto done = fds.put_copy("cursors", impl_->device.savable()->arena()->fd()); !done) return done;
  impl_->save_core(into);
  if (impl_->is_paused) {
    impl_->device.savable()->save(into);
  } else {
    impl_->device.savable()->save_running(into);
  }
  // Before go_on() the device is paused for us: that is nothing that the next one should keep.
  into.add(impl_->move_under_way(impl_->awaits_go_on ? impl_->stays_paused : impl_->is_paused));
  return {};
}

void Function::note_change() noexcept { impl_->has_changed = true; }

bool Function::take_change() noexcept { return std::exchange(impl_->has_changed, false); }

void Function::record_kept() noexcept { impl_->space.forget_departed(); }

void Function::begin_requests(std::uint64_t round) noexcept {
  if (state::UndoLog* const undo = is_savable() ? impl_->device.savable()->undo_log() : nullptr) undo->begin(round);
}

void Function::end_requests() noexcept {
  if (state::UndoLog* const undo = is_savable() ? impl_->device.savable()->undo_log() : nullptr) undo->end();
}

void Function::set_recorder(Recorder* recorder) noexcept { impl_->recorder = recorder; }

bool Function::is_recorded() const noexcept { return impl_->recorder != nullptr; }

void Function::in_round(const std::function<void()>& work) {
  impl_->recorder == nullptr ? work() : impl_->recorder->run(work);
}

tl::expected<void, std::string> Function::Impl::take_over_arena(const state::FdBag& fds) {
  auto cursors = fds.copy("cursors");
  state::Arena* const arena = device.savable()->arena();
  if (!cursors || arena == nullptr) return {};
  if (auto done = arena->take_over(std::move(*cursors)); !done) return done;
  was_taken_over = true;
  // INTx masks itself with each signal, and its client has unmasked it since then, or is about to: one signal too many
  // does no harm.
  interrupts->unmask_intx();
  return device.savable()->arena_taken_over();
}

tl::expected<void, std::string> Function::adopt(state::Reader& from, const state::FdBag& fds, MessageDma* message_dma) {
  if (!is_savable()) return tl::unexpected(spec().name + " cannot take over from another device");
  impl_->pause();
  impl_->awaits_go_on = true;
  impl_->reset(ResetKind::client_request);
  if (auto adopted = impl_->adopt(*this, from, fds); !adopted) return adopted;
  impl_->message_dma = message_dma;
  impl_->is_attached = true;
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
  if (auto done = take_over_arena(fds); !done) return done;
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

// An interrupt may have been due that nobody tells any more. Drivers look, and find nothing, or what they waited for.
void Function::go_on() noexcept {
  impl_->awaits_go_on = false;
  if (!std::exchange(impl_->stays_paused, false)) impl_->resume();
  if (!std::exchange(impl_->was_taken_over, false)) return;
  const std::uint32_t count =
      std::max(impl_->interrupts->info(Irq::msi).count, impl_->interrupts->info(Irq::msix).count);
  for (std::uint32_t i = 0; i < count; ++i)
    static_cast<void>(impl_->interrupts->trigger(i));
}

}  // namespace vmux::pci
