// SPDX-License-Identifier: BSD-3-Clause
// What things were before this toolkit first changed them: one file, which `restore` works off from its end. An entry
// is on the disk before its change is made, so whatever a crash leaves behind can be undone; undoing is setting a
// state, so doing it twice, or for a change that never happened, does no harm.
//
// Names of interfaces that went with their drivers are remembered too, so that a command can be repeated as it was
// written; these stay when there is nothing left to undo.
//
// The file is lines of JSON: {"journal": 1, "boot": ID}, then {"kind", "name", "was": {key: value}} in the order of the
// changes, and {"interface": NAME, "function": ADDRESS}. Nothing that is changed here survives a reboot, so a file from
// another boot is about nothing and counts as empty.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "host/change/resource.hpp"

namespace vmux::host {

struct Entry {
  Resource resource;
  State was;
};

/// Where an entry belongs: at the end, but what is about an interface before the driver that it comes back with, as
/// they are undone from the end.
[[nodiscard]] std::vector<Entry>::iterator place_for(std::vector<Entry>& entries, const Resource& resource);

class Journal {
 public:
  /// A file that does not exist is an empty journal. A last line that is torn was never followed by its change.
  [[nodiscard]] static Outcome<Journal> load(Machine& machine, std::string path);

  [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }
  [[nodiscard]] const Entry* find(const Resource& resource) const noexcept;
  /// Both return when the disk has it.
  [[nodiscard]] Outcome<> add(Entry entry);
  [[nodiscard]] Outcome<> keep_only(std::vector<Entry> entries);
  /// The function whose interface was called so; nullopt if nobody remembers.
  [[nodiscard]] std::optional<PciAddress> function_called(const std::string& name) const;
  /// Remembers the names that the function's interfaces have now. Returns when the disk has them.
  [[nodiscard]] Outcome<> learn_names(PciAddress function);
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  Journal(Machine& machine, std::string path, std::string boot)
      : machine_(&machine), path_(std::move(path)), boot_(std::move(boot)) {}
  [[nodiscard]] Outcome<> parse(const std::string& content);
  [[nodiscard]] Outcome<> save() const;

  Machine* machine_;
  std::string path_, boot_;
  std::vector<Entry> entries_;
  std::map<std::string, PciAddress> names_;
};

/// find_function(machine, name), and by names of interfaces that the journal remembers.
[[nodiscard]] Outcome<PciFunction> find_function(const Machine& machine, const Journal& journal,
                                                 const std::string& name);

}  // namespace vmux::host
