// SPDX-License-Identifier: BSD-3-Clause
// Memory that a daemon and its keeper share: by it the keeper sees at once that a thread has died, or stands still.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "vmux/base/mapping.hpp"
#include "vmux/base/result.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::keeper {

/// One thread of the daemon. The kernel lets go of a robust mutex when its owner exits, before the process's memory is
/// taken down, which with gigabytes of guest memory takes a tenth of a second and more. A thread that has let go runs
/// no instruction any more.
struct ThreadSigns {
  pthread_mutex_t alive;
  std::atomic<std::uint32_t> is_used;    ///< a thread has the mutex
  std::atomic<std::uint32_t> may_block;  ///< it calls into the host: standing still is no sign
  char name[16];
  runtime::LifeSign life;
};

class Segment {
 public:
  static constexpr std::size_t kThreads = 128;

  [[nodiscard]] static Result<Segment> create();
  [[nodiscard]] static Result<Segment> adopt(UniqueFd fd);
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// 0 is the control thread.
  [[nodiscard]] ThreadSigns& thread(std::size_t index) const noexcept;

  // --- the daemon's side ---
  /// On a thread that begins: from here on its death is seen. Nothing when there are too many.
  [[nodiscard]] ThreadSigns* begin_thread(std::string_view name) noexcept;
  /// On the same thread, which ends in peace.
  static void end_thread(ThreadSigns& signs) noexcept;

  // --- the keeper's side ---
  /// Waits until every thread that was alive has let go. Not before the control thread has begun.
  void wait_for_death() const noexcept;
  /// Whether any thread has not let go. Not before the control thread has begun.
  [[nodiscard]] bool is_alive() const noexcept;
  /// Of a process that is dead: what its threads were about to touch (runtime::LifeSign::burst), each once.
  [[nodiscard]] std::vector<std::uint32_t> marks() const;

 private:
  Segment(UniqueFd fd, Mapping memory) noexcept : fd_(std::move(fd)), memory_(std::move(memory)) {}
  UniqueFd fd_;
  Mapping memory_;
};

}  // namespace vmux::keeper
