// SPDX-License-Identifier: BSD-3-Clause
// One command that changes the host: all of it, or none of it. Everything is remembered in the journal before it is
// changed; what fails is rolled back, and what cannot be rolled back is named.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "host/change/actuator.hpp"
#include "host/change/journal.hpp"
#include "host/change/resource.hpp"

namespace vmux::host {

struct Options {
  bool is_rehearsal = false;  ///< tell what would be done, change nothing
  bool is_forced = false;     ///< also what is in use
  std::string state_directory = "/var/lib/vmux";
};

struct Report {
  bool is_rehearsal = false;
  std::vector<std::string> actions;  ///< what was done, as commands; empty: everything was as wanted
  std::vector<std::string> notes;    ///< for the operator
};

class Session {
 public:
  [[nodiscard]] static Outcome<Session> open(Machine& machine, const Options& options);

  /// The same start, to be rehearsed only.
  [[nodiscard]] Session rehearsal();

  /// find_function(), and by names that interfaces had before this toolkit took their drivers away. In a rehearsal,
  /// with the driver and number of virtual functions that the steps before would have given it.
  [[nodiscard]] Outcome<PciFunction> find(const std::string& name);
  [[nodiscard]] Outcome<> require_driver(const std::string& name) { return hands_.require_driver(name); }
  /// Makes a thing have (at least) this state. Nothing happens if it has it.
  [[nodiscard]] Outcome<> set(const Resource& resource, const State& wanted);
  /// Puts a thing's state into the journal because what follows will change it.
  [[nodiscard]] Outcome<> remember(const Resource& resource);
  /// Refuses if somebody uses the function and the command is not forced. Nobody can claim its disks from then on until
  /// its driver was changed, or the session ends.
  [[nodiscard]] Outcome<> require_unused(const PciFunction& function, const std::string& doing);
  void note(std::string text);

  /// The end: keeps what was done, or rolls it back and adds to the failure what is left.
  [[nodiscard]] Outcome<Report> finish(const Outcome<>& done);
  /// Undoes what the journal has, of these functions only if some are named. What fails stays in the journal and is
  /// named.
  [[nodiscard]] Outcome<Report> restore(const std::vector<PciAddress>& only);
  /// Whether an earlier step of this rehearsal concerns the function.
  [[nodiscard]] bool has_rehearsed(PciAddress function) const;

  [[nodiscard]] Machine& machine() noexcept { return hands_.machine(); }
  [[nodiscard]] const Options& options() const noexcept { return options_; }
  [[nodiscard]] const Journal& journal() const noexcept { return journal_; }

 private:
  Session(Machine& machine, Options options, Journal journal, UniqueFd lock)
      : options_(std::move(options)),
        hands_(machine, options_.is_rehearsal),
        journal_(std::move(journal)),
        lock_(std::move(lock)) {}

  /// What a thing is now; in a rehearsal, what the steps before would have made it.
  [[nodiscard]] Outcome<std::optional<State>> state_of(const Resource& resource);
  /// One that a rehearsed step would have made.
  [[nodiscard]] Outcome<PciFunction> function_to_come(const std::string& name, const Failure& why_not) const;
  [[nodiscard]] Outcome<> keep(const Resource& resource, const State& now);
  [[nodiscard]] Outcome<> put_back(const Entry& entry);
  [[nodiscard]] Outcome<> require_free_to_restore(const Entry& entry);
  /// Drops entries that are as they were.
  [[nodiscard]] Outcome<> prune();
  [[nodiscard]] Report report() const { return {options_.is_rehearsal, hands_.actions(), notes_}; }

  Options options_;
  Actuator hands_;
  Journal journal_;
  UniqueFd lock_;
  std::vector<Entry> undo_;  ///< of this command; the journal has the origin, which may be older
  std::map<Resource, State> rehearsed_;
  std::vector<UniqueFd> claims_;  ///< disks
  std::vector<std::string> notes_;
};

}  // namespace vmux::host
