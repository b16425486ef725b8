// SPDX-License-Identifier: BSD-3-Clause
// Who decides at which of its stops a server that is followed by ptrace() dies.
#pragma once

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace vmux::survival {

/// Says when the server that is followed dies.
class Killer {
 public:
  virtual ~Killer() = default;
  /// The process `pid`, the `number`th of this run, is traced and has stopped; it is to be let go, or killed. True: it
  /// goes on to the next stop. False: no stop is wanted any more.
  virtual bool lets_live(pid_t pid) = 0;
  [[nodiscard]] virtual int request() const { return PTRACE_SYSCALL; }
};

/// Nobody dies; it is noted which stops there are.
class Nobody final : public Killer {
 public:
  /// A system call, on entry or on return.
  struct Stop {
    std::uint64_t call = 0;
    bool is_entry = false;
    friend auto operator<=>(const Stop&, const Stop&) = default;
  };
  bool lets_live(pid_t pid) override {
    __ptrace_syscall_info info{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info);
    const bool is_entry = info.op == PTRACE_SYSCALL_INFO_ENTRY;
    if (is_entry) last_call_ = info.entry.nr;
    stops_.push_back({last_call_, is_entry});
    return true;
  }
  [[nodiscard]] unsigned stops() const noexcept { return static_cast<unsigned>(stops_.size()); }
  /// Every `step`th, and the first and the last of each kind: there is none that nobody dies at.
  [[nodiscard]] std::set<unsigned> chosen(unsigned step) const {
    std::set<unsigned> all;
    std::map<Stop, std::pair<unsigned, unsigned>> of_kind;
    for (unsigned nth = 1; nth < stops(); ++nth) {
      if (nth % step == 1 || step == 1) all.insert(nth);
      of_kind.try_emplace(stops_[nth - 1], nth, nth).first->second.second = nth;
    }
    for (const auto& [stop, first_and_last] : of_kind)
      all.insert({first_and_last.first, first_and_last.second});
    return all;
  }
  /// The steps of the journal that a system call is a part of: a request is read, its image written, its answer sent.
  [[nodiscard]] bool has_all_steps() const {
    std::set<std::uint64_t> calls;
    for (const Stop& stop : stops_)
      calls.insert(stop.call);
    return calls.contains(SYS_recvmmsg) && calls.contains(SYS_pwritev) && calls.contains(SYS_sendmmsg);
  }

 private:
  std::vector<Stop> stops_;
  std::uint64_t last_call_ = 0;
};

/// The one that comes to stop `nth` dies there.
class AtStop final : public Killer {
 public:
  explicit AtStop(unsigned nth) : left_(nth) {}
  bool lets_live(pid_t) override { return left_ == 0 || --left_ > 0; }

 private:
  unsigned left_;
};

/// The one that comes to stop `nth` dies `steps` instructions behind it.
class BehindStop final : public Killer {
 public:
  BehindStop(unsigned nth, unsigned steps) : left_(nth), steps_(steps) {}
  bool lets_live(pid_t) override {
    if (left_ > 0) {
      --left_;
      return true;
    }
    if (steps_ == 0) return true;
    return --steps_ > 0;
  }
  [[nodiscard]] int request() const override { return left_ == 0 && steps_ > 0 ? PTRACE_SINGLESTEP : PTRACE_SYSCALL; }

 private:
  unsigned left_, steps_;
};

/// Each dies, after some number of stops that is another each time: many before they serve.
class AgainAndAgain final : public Killer {
 public:
  AgainAndAgain(unsigned seed, unsigned longest) : random_(seed), longest_(longest), left_(next()) {}
  bool lets_live(pid_t) override {
    if (--left_ > 0) return true;
    left_ = next();
    return false;
  }

 private:
  [[nodiscard]] unsigned next() { return 1 + static_cast<unsigned>(random_()) % longest_; }
  std::mt19937 random_;
  unsigned longest_, left_;
};

}  // namespace vmux::survival
