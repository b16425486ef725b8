// SPDX-License-Identifier: BSD-3-Clause
// What a server of one client has left when its process dies, and how another process reads it: an image of its control
// state, and its stream as the record has it. Both name descriptors by the numbers that they had.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/stream_record.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/state/fd_bag.hpp"
#include "vmux/state/reader.hpp"

namespace vmux::ipc {

/// Bytes under way on one socket. Positions are from the first byte of their queue.
struct SavedStream {
  static constexpr std::size_t kMostBytes = std::size_t{96} << 20;  ///< beyond the longest message of any client
  static constexpr std::size_t kMostMessages = 4096;                ///< with descriptors

  struct WithFds {
    std::uint32_t position = 0;
    std::uint8_t fds = 0;
    bool lost = false;  ///< the kernel could not give us all
    static void describe(auto& fields, auto& self) {
      fields("position", self.position);
      fields("fds", self.fds);
      fields("lost", self.lost);
    }
  };
  std::vector<std::uint8_t> in, out;
  std::vector<WithFds> arrived, departing;
  std::uint32_t deaths = 0;  // not saved: of whoever takes over from a process that died (StreamRecord::Left)
  static void describe(auto& fields, auto& self) {
    fields.list("in", self.in, kMostBytes);
    fields.list("out", self.out, kMostBytes);
    fields.list("arrived", self.arrived, kMostMessages);
    fields.list("departing", self.departing, kMostMessages);
  }
};

/// In an image, in place of the stream that it has: of a process that has died, what its record says. Descriptors are
/// named as those of a stream `connection`.
struct LeftStream {
  static constexpr std::string_view kSection = "ipc.stream";
  static constexpr std::uint16_t kVersion = 1;
  SavedStream stream;
  std::uint32_t deaths = 0;
  static void describe(auto& fields, auto& self) {
    fields("stream", self.stream);
    fields("deaths", self.deaths);
  }
};

/// How a protocol's messages follow each other, and how its images say that there is a client.
struct Protocol {
  StreamRecord::OwnerOf owner_of = nullptr;
  std::size_t longest_message = 0;
  bool (*has_session)(state::Reader& image) = nullptr;
};

struct LeftBehind {
  static constexpr std::uint32_t kMostDeaths = 2;  ///< whoever finds so many serves that message to nobody any more
  state::Suspended state;                          ///< with a LeftStream, if there is a client
  std::uint32_t deaths = 0;  ///< how many processes in a row died of the message that is to be served next
  std::uint64_t round = 0;   ///< what carries this number was not committed: see state::Arena::undo()
};

/// Descriptors of the dead process by their numbers, as far as they are open there.
using Fetch = std::function<Result<std::map<int, UniqueFd>>(const std::vector<int>& numbers)>;

/// `image` are control slots (state/control_slots.hpp), whose newest image has a section of the numbers of its
/// descriptors (state::FdNumbers); `stream` is a StreamRecord. Nothing is changed. The error is for people.
[[nodiscard]] tl::expected<LeftBehind, std::string> left_behind(UniqueFd image, UniqueFd stream,
                                                                const Protocol& protocol, const Fetch& fetch);

/// Of a message that may have to be served again: its descriptors go to `kept`, where whoever serves it again finds
/// them under their numbers, whatever becomes of the ones like them that take their place. False: the kernel had not
/// enough.
[[nodiscard]] bool keep_numbers(std::vector<UniqueFd>& fds, std::vector<UniqueFd>& kept);

/// Nobody goes on: clients read the end of their streams, and nobody is let in any more. Of sockets named `connection`,
/// `twin` and `listener`.
void give_up(const state::Suspended& from) noexcept;

}  // namespace vmux::ipc
