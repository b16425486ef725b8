// SPDX-License-Identifier: BSD-3-Clause
// What things were before this toolkit first changed them: one file, which `restore` works off from its end. An entry
// is on the disk before its change is made, so whatever a crash leaves behind can be undone; undoing is setting a
// state, so doing it twice, or for a change that never happened, does no harm.
//
// The file is lines of JSON: {"journal": 1, "boot": ID}, then {"kind", "name", "was": {key: value}} in the order of the
// changes. Nothing that is changed here survives a reboot, so a file from another boot is about nothing and counts as
// empty.
#pragma once

#include <string>
#include <vector>

#include "host/resource.hpp"

namespace vmux::host {

struct Entry {
  Resource resource;
  State was;
};

class Journal {
 public:
  /// A file that does not exist is an empty journal. A last line that is torn was never followed by its change.
  [[nodiscard]] static Outcome<Journal> load(Machine& machine, std::string path);

  [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }
  [[nodiscard]] const Entry* find(const Resource& resource) const noexcept;
  /// Both return when the disk has it.
  [[nodiscard]] Outcome<> add(Entry entry);
  [[nodiscard]] Outcome<> keep_only(std::vector<Entry> entries);
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  Journal(Machine& machine, std::string path, std::string boot)
      : machine_(&machine), path_(std::move(path)), boot_(std::move(boot)) {}
  [[nodiscard]] Outcome<> parse(const std::string& content);
  [[nodiscard]] Outcome<> save() const;

  Machine* machine_;
  std::string path_, boot_;
  std::vector<Entry> entries_;
};

}  // namespace vmux::host
