// SPDX-License-Identifier: BSD-3-Clause
// What a keeper is made of: keeper.cpp has what happens when, keeper_process.cpp the processes.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "keeper/keeper.hpp"
#include "keeper/messages.hpp"
#include "keeper/segment.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/state/control_slots.hpp"

namespace vmux::keeper {

inline constexpr std::size_t kLongestObjects = std::size_t{16} << 20;  // bytes of JSON

/// Sees the end of a daemon's threads. It waits where nothing can wake it, so it is left alone when its daemon outlives
/// the keeper.
class DeathWatch {
 public:
  explicit DeathWatch(const Segment& segment);
  ~DeathWatch();
  DeathWatch(const DeathWatch&) = delete;
  DeathWatch& operator=(const DeathWatch&) = delete;
  /// Readable when all of them have ended.
  [[nodiscard]] int fd() const noexcept { return event_->get(); }

 private:
  std::shared_ptr<UniqueFd> event_;
  std::thread thread_;
};

/// A daemon that was started here: active, on standby, or to be upgraded to.
struct Child {
  Child(pid_t started, std::uint32_t number, Segment memory)
      : pid(started), epoch(number), segment(std::move(memory)) {}

  pid_t pid;
  std::uint32_t epoch;
  Segment segment;
  UniqueFd pidfd, channel, twin;
  std::unique_ptr<DeathWatch> watch;
  std::uint64_t go_ns = 0;  // when it was told to begin
  std::string version;
  std::uint32_t twin_pid = 0;
  bool is_ready = false, is_stopping = false, is_dead = false;
  bool is_ours = true;  // started by this process; else another keeper's

  /// The name of a thread that has not got on for `limit_ns`, or empty.
  [[nodiscard]] std::string hung_thread(std::uint64_t now, std::uint64_t limit_ns);

 private:
  struct Seen {
    std::uint64_t rounds = 0, since_ns = 0;
  };
  std::vector<Seen> seen_ = std::vector<Seen>(Segment::kThreads);
  std::uint64_t stopped_since_ns_ = 0;
};

class Keeper {
 public:
  explicit Keeper(KeeperOptions options);
  [[nodiscard]] int run();

 private:
  struct Upgrade {
    enum class Stage : std::uint8_t { none, checking, freezing, going_over };
    Stage stage = Stage::none;
    std::shared_ptr<UniqueFd> executable;
    std::string name, outcome;
    std::uint64_t due_ns = 0;
    bool is_rehearsal = false;
  };
  struct TakeOver {
    std::string cause;
    std::uint64_t gap_ns = 0;
    std::uint32_t epoch = 0;
    pid_t pid = 0;
  };

  // keeper.cpp
  [[nodiscard]] bool begin();
  void remember_before();
  void wait_once();
  void take_signals();
  void take_messages(Child& child);
  void take(Child& child, Message message);
  void became_ready(Child& child);
  void start_standby();
  void died(std::unique_ptr<Child>& slot);
  void note_death(const Child& child);
  void look_after();
  void send_go(Child& child);
  void begin_upgrade(Child& child, Message message);
  void candidate_answered(Child& child, const Message& message);
  void refuse_upgrade(const std::string& why);
  // keeper_store.cpp: the service manager's store
  [[nodiscard]] bool take_stored();
  [[nodiscard]] bool begin_with_stored();
  void store_active() const;
  void forget_stored() const;
  // keeper_process.cpp
  /// The daemon of a keeper before this one, if one waits; nullptr. `is_sure`: there is one, which may not wait yet.
  [[nodiscard]] std::unique_ptr<Child> find_waiting(bool is_sure);
  /// Goes on as the program that the daemon was upgraded to: the same process, which that daemon finds again.
  void replace_self();
  [[nodiscard]] std::unique_ptr<Child> spawn(const std::shared_ptr<UniqueFd>& executable, const char* name);
  void end(std::unique_ptr<Child>& slot);
  [[nodiscard]] static int exit_code_of(const Child& child) noexcept;
  void bury();
  [[nodiscard]] std::string status() const;

  KeeperOptions options_;
  UniqueFd signals_;
  std::shared_ptr<UniqueFd> executable_, old_executable_;  // held open: a package may replace the file
  std::optional<state::ControlSlots> slots_;               // the objects, from daemon to daemon
  std::unique_ptr<Child> active_, standby_, candidate_;
  std::vector<std::pair<std::uint32_t, UniqueFd>> before_;  // epochs of those that died, and their twins' sockets
  std::vector<pid_t> dead_;                                 // whose end the kernel has yet to tell
  std::vector<std::uint64_t> deaths_;                       // when, of late
  std::optional<int> exit_code_;
  /// Of the daemon of a keeper that is dead, as the service manager has kept it.
  struct Stored {
    std::uint32_t epoch;
    pid_t pid;
    state::ControlSlots slots;
    UniqueFd twin;
    Segment segment;
  };
  std::optional<Stored> stored_;
  Upgrade upgrade_;
  TakeOver last_;
  std::string cause_;                 // of the death that is being dealt with
  std::vector<std::uint32_t> marks_;  // what the one that died was about to touch
  std::uint64_t died_ns_ = 0;         // 0: nobody has, or the next one serves
  std::uint64_t looked_ns_ = 0;
  std::uint32_t last_epoch_ = 0;
  unsigned takeovers_ = 0;
  bool must_replace_self_ = false;
  bool has_been_ready_ = false, is_stopping_ = false, is_giving_up_ = false;
};

}  // namespace vmux::keeper
