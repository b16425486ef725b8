// SPDX-License-Identifier: BSD-3-Clause
// What a second processor does meanwhile: a guest that changes its memory under its reader, another poller with its
// lane.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

namespace vmux::fuzz {

/// Runs a function again and again on a thread of its own, from begin() to end(). The thread lives on in between: to
/// make one for each input would cost more than the input.
class Beside {
 public:
  Beside() : thread_([this] { run(); }) {}
  ~Beside() {
    end();
    set(State::leaving);
    thread_.join();
  }
  Beside(const Beside&) = delete;
  Beside& operator=(const Beside&) = delete;

  /// Returns when `step` has run at least once.
  void begin(std::function<void()> step) {
    end();
    step_ = std::move(step);
    set(State::starting);
    state_.wait(State::starting);
  }
  /// When it returns, the function does not run any more.
  void end() noexcept {
    if (state_.load() == State::resting) return;
    set(State::stopping);
    state_.wait(State::stopping);
  }

 private:
  enum class State : std::uint8_t { resting, starting, running, stopping, leaving };

  void set(State state) noexcept {
    state_.store(state);
    state_.notify_all();
  }
  void run() {
    for (;;) {
      state_.wait(State::resting);
      if (state_.load() == State::leaving) return;
      step_();
      set(State::running);
      while (state_.load() == State::running)
        step_();
      set(State::resting);
    }
  }

  std::atomic<State> state_{State::resting};
  std::function<void()> step_;
  std::thread thread_;  // last: it uses the others
};

/// Eight bytes of guest memory that flip between what stands there and something else: whoever reads them twice and
/// trusts the first look is found out.
struct Flip {
  std::byte* at = nullptr;
  std::uint64_t values[2]{};
};

class Scribbler {
 public:
  /// Adds a place to be flipped; those beyond `memory` are moved into it.
  void add(std::span<std::byte> memory, std::uint64_t offset, std::uint64_t other) {
    beside_.end();  // the list is the thread's while it runs
    Flip flip;
    flip.at = memory.data() + (offset % (memory.size() - 8));
    std::memcpy(flip.values, flip.at, 8);
    flip.values[1] = other;
    flips_.push_back(flip);
  }
  void begin() {
    if (flips_.empty()) return;
    beside_.begin([this] {
      for (const Flip& flip : flips_)
        std::memcpy(flip.at, &flip.values[turn_ & 1], 8);
      ++turn_;
    });
  }
  void end() {
    beside_.end();
    flips_.clear();
  }

 private:
  std::vector<Flip> flips_;
  unsigned turn_ = 0;
  Beside beside_;
};

}  // namespace vmux::fuzz
