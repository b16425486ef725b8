// SPDX-License-Identifier: BSD-3-Clause
// How clients have mapped the files that they gave, as /proc/PID/maps (proc(5)) has it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/look/memory_map.hpp"

namespace vmux::control {

/// How a client has mapped a file that it gave.
enum class Sharing : unsigned char {
  unknown,   ///< its mappings cannot be read, or not in time; or the file is no memory
  shared,    ///< MAP_SHARED at least once
  private_,  ///< MAP_PRIVATE alone: what it writes is not in the file, and what we write it does not see
  none,      ///< it has not mapped it (any more)
};

/// What such a file says.
class Mappings {
 public:
  static constexpr std::size_t kMostBytes = 4 << 20;  ///< of a file; no kernel gives a VMM nearly as much by itself

  /// `is_whole`: there is no more of it than `text`.
  Mappings(std::string_view text, bool is_whole);
  [[nodiscard]] Sharing of(const MemoryFile& file) const;

 private:
  std::map<std::pair<std::uint64_t, std::uint64_t>, Sharing> files_;  // by device and inode
  Sharing of_others_;
};

/// The mappings of the clients of one call: each is read once. The kernel reads them under a lock of the client's,
/// which a client can hold for as long as it likes (a page fault that its own file system answers); so a thread aside
/// reads them, and who asks waits for it for a while only. There is one such thread at a time in the process: as long
/// as one waits, all others are unknown. Control thread.
class ClientMaps {
 public:
  static constexpr std::chrono::milliseconds kPatience{500};  ///< for all clients of a call

  /// `proc` is where that file system is.
  explicit ClientMaps(std::string proc = "/proc", std::chrono::milliseconds patience = kPatience);
  /// In the order of `files`; a client of 0 is nobody.
  [[nodiscard]] std::vector<Sharing> sharing_of(const std::vector<MemoryFile>& files, pid_t client);

 private:
  [[nodiscard]] const Mappings* of(pid_t client);

  const std::string proc_;
  const std::chrono::steady_clock::time_point until_;
  std::map<pid_t, std::shared_ptr<const Mappings>> known_;  // null: they cannot be told
};

}  // namespace vmux::control
