// SPDX-License-Identifier: BSD-3-Clause
// What a server leaves when its process dies, and how it is read.
#include <algorithm>

#include "base/logf.hpp"
#include "vfio_user/saved_session.hpp"
#include "vfio_user/server_impl.hpp"
#include "vmux/state/arena.hpp"
#include "vmux/state/reader.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::vfio_user {
namespace {

constexpr std::size_t kLongestImage = std::size_t{64} << 20;  // pages that are never written take no memory

/// Of `fds`, in order, as save() would have them: one entry for each message.
void add_all(std::span<const StreamFds> fds, std::uint64_t begin, std::vector<SavedStream::WithFds>& into,
             const std::string& kind, std::map<std::string, int>& names) {
  unsigned next = 0;
  for (const StreamFds& each : fds) {
    const auto position = static_cast<std::uint32_t>(std::max(each.position, begin) - begin);
    if (into.empty() || into.back().position != position) into.push_back({position, 0, false});
    SavedStream::WithFds& message = into.back();
    message.lost |= each.lost != 0;
    for (std::uint32_t i = 0; i < each.count && message.fds < StreamFds::kMost; ++i, ++message.fds)
      names[state::fd_name(kind, next++)] = each.fds[i];
  }
}

std::vector<std::uint8_t> as_numbers(std::span<const std::byte> bytes) {
  const auto* const first = reinterpret_cast<const std::uint8_t*>(bytes.data());
  return {first, first + bytes.size()};
}

/// The image that belongs to what the stream says. A session begins with its image, and from then on each commit names
/// its own; one that ended is in no image any more, whatever its stream says.
Result<std::vector<std::byte>> image_for(const state::ControlSlots& slots, std::uint64_t wanted) {
  auto newest = slots.newest();
  if (!newest || wanted == 0 || wanted + 1 != slots.sequence()) return newest;
  auto reader = state::Reader::open(*newest);
  SavedServer server;
  const bool has_session = reader && reader->load(server) && server.has_session;
  return has_session ? slots.image(wanted) : std::move(newest);
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
  auto slots = state::ControlSlots::adopt(std::move(image));
  if (!slots) return tl::unexpected(slots.error().text());
  auto record = StreamRecord::open(std::move(stream));
  if (!record) return tl::unexpected(record.error());
  auto left = record->left(&Transport::owner_of_last_byte, longest_message(options));
  if (!left) return tl::unexpected(left.error());
  auto bytes = image_for(*slots, left->image);
  if (!bytes) return tl::unexpected(bytes.error().text());
  Server::LeftBehind behind;
  round = left->round;
  auto reader = state::Reader::open(*bytes);
  if (!reader) return tl::unexpected(reader.error());
  SavedServer server;
  state::FdNumbers numbers;
  if (auto done = reader->load(server); !done) return tl::unexpected(done.error());
  if (auto done = reader->load(numbers); !done) return tl::unexpected(done.error());
  std::map<std::string, int> names;
  for (const auto& [name, number] : numbers.entries)
    names[name] = static_cast<int>(number);
  state::Writer writer{std::move(*bytes)};
  if (server.has_session) {
    LeftStream saved;
    saved.stream.in = as_numbers(left->in);
    saved.stream.out = as_numbers(left->out);
    add_all(left->arrived, left->in_position, saved.stream.arrived, "connection/in", names);
    add_all(left->departing, left->out_position, saved.stream.departing, "connection/out", names);
    saved.deaths = behind.deaths = left->deaths;
    writer.add(saved);
  }
  behind.state.image = std::move(writer).finish();
  std::vector<int> wanted;
  for (const auto& [name, number] : names)
    wanted.push_back(number);
  auto found = fetch(wanted);
  if (!found) return tl::unexpected(found.error().text());
  for (const auto& [name, number] : names) {
    const auto fd = found->find(number);
    if (fd == found->end()) {
      logf(LogLevel::debug, "descriptor {}, {}, was closed before its process died", number, name);
      continue;  // whoever needs it says so
    }
    if (auto done = behind.state.fds.put_copy(name, fd->second.get()); !done)
      return tl::unexpected(done.error().text());
  }
  return behind;
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
