// SPDX-License-Identifier: BSD-3-Clause
#include "ipc/left_behind.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <span>

#include "base/logf.hpp"
#include "ipc/connection.hpp"
#include "vmux/state/control_slots.hpp"
#include "vmux/state/writer.hpp"

namespace vmux::ipc {
namespace {

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
Result<std::vector<std::byte>> image_for(const state::ControlSlots& slots, std::uint64_t wanted,
                                         bool (*has_session)(state::Reader&)) {
  auto newest = slots.newest();
  if (!newest || wanted == 0 || wanted + 1 != slots.sequence()) return newest;
  auto reader = state::Reader::open(*newest);
  return reader && has_session(*reader) ? slots.image(wanted) : std::move(newest);
}

/// The descriptors of these names; those that are not open any more are missing.
Result<state::FdBag> bag_of(const std::map<std::string, int>& names, const Fetch& fetch) {
  std::vector<int> wanted;
  wanted.reserve(names.size());
  for (const auto& [name, number] : names)
    wanted.push_back(number);
  auto found = fetch(wanted);
  if (!found) return tl::unexpected(found.error());
  state::FdBag bag;
  for (const auto& [name, number] : names) {
    const auto fd = found->find(number);
    if (fd == found->end()) {
      logf(LogLevel::debug, "descriptor {}, {}, was closed before its process died", number, name);
      continue;  // whoever needs it says so
    }
    if (auto done = bag.put_copy(name, fd->second.get()); !done) return tl::unexpected(done.error());
  }
  return bag;
}

}  // namespace

tl::expected<LeftBehind, std::string> left_behind(UniqueFd image, UniqueFd stream, const Protocol& protocol,
                                                  const Fetch& fetch) {
  auto slots = state::ControlSlots::adopt(std::move(image));
  if (!slots) return tl::unexpected(slots.error().text());
  auto record = StreamRecord::open(std::move(stream));
  if (!record) return tl::unexpected(record.error());
  auto left = record->left(protocol.owner_of, protocol.longest_message);
  if (!left) return tl::unexpected(left.error());
  auto bytes = image_for(*slots, left->image, protocol.has_session);
  if (!bytes) return tl::unexpected(bytes.error().text());
  auto reader = state::Reader::open(*bytes);
  if (!reader) return tl::unexpected(reader.error());
  const bool has_session = protocol.has_session(*reader);
  state::FdNumbers numbers;
  if (auto done = reader->load(numbers); !done) return tl::unexpected(done.error());
  std::map<std::string, int> names;
  for (const auto& [name, number] : numbers.entries)
    names[name] = static_cast<int>(number);
  LeftBehind behind;
  behind.round = left->round;
  state::Writer writer{std::move(*bytes)};
  if (has_session) {
    LeftStream saved;
    saved.stream.in = as_numbers(left->in);
    saved.stream.out = as_numbers(left->out);
    add_all(left->arrived, left->in_position, saved.stream.arrived, "connection/in", names);
    add_all(left->departing, left->out_position, saved.stream.departing, "connection/out", names);
    saved.deaths = behind.deaths = left->deaths;
    writer.add(saved);
  }
  behind.state.image = std::move(writer).finish();
  auto bag = bag_of(names, fetch);
  if (!bag) return tl::unexpected(bag.error().text());
  behind.state.fds = std::move(*bag);
  return behind;
}

bool keep_numbers(std::vector<UniqueFd>& fds, std::vector<UniqueFd>& kept) {
  bool has_all = true;
  for (UniqueFd& fd : fds) {
    auto used = fd.duplicate();
    kept.push_back(std::move(fd));
    if (used) fd = std::move(*used);
    has_all &= used.has_value();
  }
  return has_all;
}

void give_up(const state::Suspended& from) noexcept {
  for (const char* const name : {"connection", "twin"}) {
    if (auto socket = from.fds.copy(name)) Connection{std::move(*socket)}.hang_up();
  }
  // Others may have duplicates of it. Whoever is to listen at its path finds nobody who does.
  if (auto listener = from.fds.copy("listener")) ::shutdown(listener->get(), SHUT_RDWR);
}

}  // namespace vmux::ipc
