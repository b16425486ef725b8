// SPDX-License-Identifier: BSD-3-Clause
// What a server leaves when its process dies, and how it is read.
#include "base/logf.hpp"
#include "vfio_user/saved_session.hpp"
#include "vfio_user/server_impl.hpp"
#include "vmux/state/arena.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::vfio_user {
namespace {

constexpr std::size_t kLongestImage = std::size_t{64} << 20;  // pages that are never written take no memory

bool has_session(state::Reader& image) {
  SavedServer server;
  return image.load(server) && server.has_session;
}

}  // namespace

Result<void> Server::Impl::make_record() {
  if (!options.keeps_record) return {};
  auto made = state::ControlSlots::create(kLongestImage);
  if (!made) return tl::unexpected(made.error());
  auto stream = StreamRecord::create(longest_stream(options));
  if (!stream) return tl::unexpected(stream.error());
  slots.emplace(std::move(*made));
  stream_record.emplace(std::move(*stream));
  return {};
}

Result<std::vector<std::byte>> Server::Impl::image() const {
  state::Writer writer;
  auto fds = state::FdBag::of_numbers();
  writer.add(SavedServer{session != nullptr, listener.has_value(), counters.connections.get(), counters.requests.get(),
                         counters.errors.get(), counters.dma_maps.get(), counters.dma_unmaps.get()});
  if (listener) {
    if (auto done = fds.put_copy("listener", listener->fd()); !done) return tl::unexpected(done.error());
  }
  if (session) {
    if (auto done = session->save(writer, fds, /*with_stream=*/false); !done) return tl::unexpected(done.error());
    if (session->is_negotiated()) {
      if (auto done = endpoint.record(writer, fds); !done) return tl::unexpected(done.error());
    }
  }
  writer.add(state::numbers_of(fds), state::Presence::optional);
  return std::move(writer).finish();
}

std::uint64_t Server::Impl::keep(bool session_has_changed) noexcept {
  if (!endpoint.take_change() && !session_has_changed && !is_image_behind) return slots->sequence();
  auto now = image();
  auto written = now ? slots->write(*now) : tl::unexpected<Error>(now.error());
  is_image_behind = !written;
  if (!written && record_complaints.allow()) {
    logf(LogLevel::error, "{}: it would not survive the death of this process: {}", endpoint.name(),
         written.error().text());
  }
  return slots->sequence();
}

void Server::Impl::kept() noexcept {
  if (!is_image_behind) endpoint.record_kept();
}

void Server::Impl::keep_all() noexcept {
  if (!is_recorded()) return;
  if (session) return session->commit();
  keep(true);
  kept();
}

namespace {

tl::expected<Server::LeftBehind, std::string> read_record(UniqueFd image, UniqueFd stream, const ServerOptions& options,
                                                          const Server::Fetch& fetch, std::uint64_t& round) {
  auto left = ipc::left_behind(std::move(image), std::move(stream),
                               {&Transport::owner_of_last_byte, longest_message(options), &has_session}, fetch);
  if (!left) return tl::unexpected(left.error());
  round = left->round;
  return Server::LeftBehind{std::move(left->state), left->deaths};
}

}  // namespace

tl::expected<Server::LeftBehind, std::string> Server::look_at(UniqueFd image, UniqueFd stream,
                                                              const ServerOptions& options, const Fetch& fetch) {
  std::uint64_t round = 0;
  return read_record(std::move(image), std::move(stream), options, fetch, round);
}

tl::expected<Server::LeftBehind, std::string> Server::left_behind(UniqueFd image, UniqueFd stream,
                                                                  const ServerOptions& options, const Fetch& fetch) {
  std::uint64_t round = 0;
  auto behind = read_record(std::move(image), std::move(stream), options, fetch, round);
  const int cursors = behind ? behind->state.fds.get("cursors") : -1;
  if (cursors < 0) return behind;
  if (auto undone = state::Arena::undo(cursors, round); !undone) return tl::unexpected(undone.error());
  return behind;
}

}  // namespace vmux::vfio_user
