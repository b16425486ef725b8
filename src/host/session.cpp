// SPDX-License-Identifier: BSD-3-Clause
#include "host/session.hpp"

#include <algorithm>

#include "base/text/format.hpp"

namespace vmux::host {
namespace {

/// Whether a thing belongs to a virtual function that did not exist when `entries` began: it goes away with it.
bool is_made_since(const Machine& machine, const std::vector<Entry>& entries, const Resource& resource) {
  const auto address = function_of(resource);
  if (!address) return false;
  std::optional<PciAddress> physical = parse_pci_address(machine.link(kPciDevices + address->text() + "/physfn"));
  std::optional<std::uint64_t> index;
  if (resource.kind == "vf") {
    physical = address;
    index = parse_decimal(resource.name.substr(resource.name.find('/') + 1));
  } else if (physical) {
    const std::vector<PciAddress> all = virtual_functions(machine, *physical);
    index = static_cast<std::uint64_t>(std::find(all.begin(), all.end(), *address) - all.begin());
  }
  if (!physical || !index) return false;
  return std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) {
    return entry.resource == vfs_of(*physical) && parse_decimal(get(entry.was, "count")).value_or(0) <= *index;
  });
}

bool has_entry(const std::vector<Entry>& entries, const Resource& resource) {
  return std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.resource == resource; });
}

/// The entry about the driver whose return brings the thing back: an interface goes with its driver, and whether it was
/// up has to be known until then. nullptr if there is no such entry, or the thing is there.
const Entry* waits_for_driver(Machine& machine, const std::vector<Entry>& entries, const Entry& entry) {
  if (entry.resource.kind != kLinkKind.name) return nullptr;
  const auto now = kLinkKind.read(machine, entry.resource.name);
  const auto address = function_of(entry.resource);
  if (!now || *now || !address) return nullptr;
  const auto driver = std::find_if(entries.begin(), entries.end(),
                                   [&](const Entry& each) { return each.resource == driver_of(*address); });
  return driver == entries.end() ? nullptr : &*driver;
}

constexpr std::chrono::milliseconds kForAName{2'000};

std::string list_of(const std::vector<std::string>& parts) { return fmt::format("{}", fmt::join(parts, "; ")); }

/// Who holds the lock, as the file says.
std::string owner_of_lock(const Machine& machine, const std::string& path) {
  const std::string pid = machine.text(path);
  const std::string command = machine.text("/proc/" + pid + "/cmdline");
  if (!parse_decimal(pid) || command.empty()) return "another vmuxctl host";
  std::string words = command;
  std::replace(words.begin(), words.end(), '\0', ' ');
  return fmt::format("process {} ({})", pid, words);
}

/// One command changes a host at a time; the next waits a while for it.
Outcome<UniqueFd> lock(Machine& machine, const std::string& directory) {
  const std::string path = directory + "/host.lock";
  for (auto left = kTimeout;; left -= kBetweenTries) {
    auto locked = machine.lock(path);
    if (locked) return std::move(*locked);
    if (locked.error().code != Errc::busy) return refuse("lock " + directory, locked.error());
    const std::string owner = owner_of_lock(machine, path);
    if (left.count() <= 0)
      return refuse(Errc::busy, fmt::format("{} changes this host and is not done after {} s; try again then", owner,
                                            kTimeout.count() / 1000));
    machine.wait(owner + ", which changes this host", kBetweenTries);
  }
}

}  // namespace

Outcome<Session> Session::open(Machine& machine, const Options& options) {
  UniqueFd held;
  if (!options.is_rehearsal) {
    auto locked = lock(machine, options.state_directory);
    if (!locked) return tl::unexpected<Failure>(locked.error());
    held = std::move(*locked);
  }
  auto journal = Journal::load(machine, options.state_directory + "/host.journal");
  if (!journal) return tl::unexpected<Failure>(journal.error());
  return Session{machine, options, std::move(*journal), std::move(held)};
}

Session Session::rehearsal() {
  Options options = options_;
  options.is_rehearsal = true;
  return Session{machine(), std::move(options), journal_, UniqueFd{}};
}

Outcome<PciFunction> Session::find(const std::string& name) {
  auto function = find_function(machine(), journal_, name);
  if (!function) return function_to_come(name, function.error());
  if (const auto driver = rehearsed_.find(driver_of(function->address)); driver != rehearsed_.end()) {
    function->driver = get(driver->second, "driver");
    function->driver_override = get(driver->second, "override");
  }
  if (const auto vfs = rehearsed_.find(vfs_of(function->address)); vfs != rehearsed_.end())
    function->vfs = static_cast<unsigned>(parse_decimal(get(vfs->second, "count")).value_or(0));
  return function;
}

Outcome<PciFunction> Session::function_to_come(const std::string& name, const Failure& why_not) const {
  const auto address = parse_pci_address(name);
  for (const auto& [resource, state] : rehearsed_) {
    if (resource.kind != kVfsKind.name || !address) continue;
    const auto physical = function_at(hands_.machine(), *function_of(resource));
    const auto count = static_cast<unsigned>(parse_decimal(get(state, "count")).value_or(0));
    if (!physical) continue;
    const std::vector<PciAddress> all = expected_virtual_functions(hands_.machine(), physical->address, count);
    if (std::find(all.begin(), all.end(), *address) == all.end()) continue;
    PciFunction function{.address = *address, .class_code = physical->class_code};
    function.group = physical->group;
    function.physical = physical->address;
    return function;
  }
  return tl::unexpected<Failure>(why_not);
}

bool Session::has_rehearsed(PciAddress function) const {
  return std::any_of(rehearsed_.begin(), rehearsed_.end(),
                     [&](const auto& each) { return function_of(each.first) == function; });
}

Outcome<> Session::keep(const Resource& resource, const State& now) {
  if (options_.is_rehearsal) return {};
  if (!has_entry(undo_, resource) && !is_made_since(machine(), undo_, resource))
    undo_.insert(place_for(undo_, resource), {resource, now});
  if (resource.kind == kDriverKind.name) {
    if (auto done = journal_.learn_names(*function_of(resource)); !done) return done;
  }
  if (journal_.find(resource) != nullptr || is_made_since(machine(), journal_.entries(), resource)) return {};
  return journal_.add({resource, now});
}

Outcome<std::optional<State>> Session::state_of(const Resource& resource) {
  if (const auto found = rehearsed_.find(resource); found != rehearsed_.end()) return found->second;
  return find_kind(resource.kind)->read(machine(), resource.name);
}

Outcome<> Session::remember(const Resource& resource) {
  const auto now = state_of(resource);
  if (!now) return tl::unexpected<Failure>(now.error());
  return *now ? keep(resource, **now) : Outcome<>{};
}

Outcome<> Session::set(const Resource& resource, const State& wanted) {
  const Kind& kind = *find_kind(resource.kind);
  auto now = state_of(resource);
  if (!now) return tl::unexpected<Failure>(now.error());
  // In a rehearsal a thing may be one that an earlier step would have made.
  if (!*now && !options_.is_rehearsal)
    return refuse(Errc::not_found, fmt::format("there is no {} on this machine", resource.text()));
  const State from = now->value_or(State{});
  if (*now && has(from, wanted) && get(wanted, "driver") != kAny) return {};
  if (auto done = keep(resource, from); !done) return done;
  State to = from;
  for (const auto& [key, value] : wanted)
    to[key] = value;
  const std::size_t actions = hands_.actions().size();
  if (auto done = kind.write(hands_, resource.name, from, to); !done) return done;
  if (resource.kind == kDriverKind.name || wanted.count("count") != 0) claims_.clear();
  if (options_.is_rehearsal) {
    rehearsed_[resource] = to;
    return {};
  }
  now = kind.read(machine(), resource.name);
  if (!now) return tl::unexpected<Failure>(now.error());
  if (!*now || contradicts(**now, wanted)) {
    return refuse(Errc::system,
                  fmt::format("{} was set to {}, and then was {}: the kernel or another program changed it",
                              resource.text(), to_text(wanted), *now ? to_text(**now) : "gone"));
  }
  // Whatever the kernel chooses was there already.
  if (get(wanted, "driver") == kAny && **now == from) hands_.keep_actions(actions);
  return {};
}

Outcome<> Session::require_unused(const PciFunction& function, const std::string& doing) {
  if (options_.is_forced) return {};
  auto usage = usage_of(machine(), function);
  if (!usage) return tl::unexpected<Failure>(usage.error());
  if (!usage->users.empty())
    return refuse(Errc::busy, fmt::format("{} is in use, so {} is refused: {}; --force does it nevertheless",
                                          function.address.text(), doing, list_of(usage->users)));
  std::move(usage->claims.begin(), usage->claims.end(), std::back_inserter(claims_));
  return {};
}

void Session::note(std::string text) {
  if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) notes_.push_back(std::move(text));
}

Outcome<> Session::put_back(const Entry& entry) {
  const Kind& kind = *find_kind(entry.resource.kind);
  auto now = kind.read(machine(), entry.resource.name);
  // An interface that comes back with its driver has its name only when udev gave it.
  const auto address = entry.resource.kind == kLinkKind.name ? function_of(entry.resource) : std::nullopt;
  for (auto left = kForAName; address && now && !*now && left.count() > 0; left -= kBetweenTries) {
    if (options_.is_rehearsal || !serves_host(machine().link(kPciDevices + address->text() + "/driver"))) break;
    machine().wait("the name of " + entry.resource.text(), kBetweenTries);
    now = kind.read(machine(), entry.resource.name);
  }
  if (!now) return tl::unexpected<Failure>(now.error());
  if (!*now || has(**now, entry.was)) return {};
  const auto done = kind.write(hands_, entry.resource.name, **now, entry.was);
  claims_.clear();
  if (!done) return done;
  if (options_.is_rehearsal) return {};
  const auto after = kind.read(machine(), entry.resource.name);
  if (after && (!*after || !contradicts(**after, entry.was))) return {};
  return refuse(Errc::system, fmt::format("{} did not become {} again", entry.resource.text(), to_text(entry.was)));
}

Outcome<> Session::prune() {
  const auto is_as_it_was = [&](const Entry& entry) {
    const auto now = find_kind(entry.resource.kind)->read(machine(), entry.resource.name);
    return now && (!*now || has(**now, entry.was));
  };
  std::vector<Entry> kept;
  bool is_before_vfs = false;  // creating virtual functions anew resets what is about them, so their entries stay
  for (auto entry = journal_.entries().rbegin(); entry != journal_.entries().rend(); ++entry) {
    const Entry* const driver = waits_for_driver(machine(), journal_.entries(), *entry);
    if (is_as_it_was(driver != nullptr ? *driver : *entry) && !is_before_vfs) continue;
    is_before_vfs |= entry->resource.kind == kVfsKind.name;
    kept.push_back(*entry);
  }
  if (kept.size() == journal_.entries().size()) return {};
  std::reverse(kept.begin(), kept.end());
  return journal_.keep_only(std::move(kept));
}

Outcome<Report> Session::finish(const Outcome<>& done) {
  if (options_.is_rehearsal) {
    if (!done) return tl::unexpected<Failure>(done.error());
    return report();
  }
  if (done) {
    if (auto pruned = prune(); !pruned) return tl::unexpected<Failure>(pruned.error());
    return report();
  }
  Failure failure = done.error();
  std::vector<std::string> left;
  for (auto entry = undo_.rbegin(); entry != undo_.rend(); ++entry) {
    if (auto back = put_back(*entry); !back)
      left.push_back(fmt::format("{} ({})", entry->resource.text(), back.error().text));
  }
  if (!left.empty()) {
    failure.text +=
        "; what had been done before was undone, except: " + list_of(left) + "; `vmuxctl host restore` tries again";
  } else if (!undo_.empty()) {
    failure.text += "; what had been done before was undone, so nothing has changed";
  }
  if (auto pruned = prune(); !pruned) failure.text += "; " + pruned.error().text;
  return tl::unexpected<Failure>(std::move(failure));
}

Outcome<> Session::require_free_to_restore(const Entry& entry) {
  std::vector<PciAddress> concerned;
  const auto address = function_of(entry.resource);
  const bool takes_driver = entry.resource.kind == kDriverKind.name && address &&
                            machine().link(kPciDevices + address->text() + "/driver") != get(entry.was, "driver");
  if (takes_driver) concerned.push_back(*address);
  if (entry.resource.kind == kVfsKind.name && address) concerned = virtual_functions(machine(), *address);
  for (const PciAddress each : concerned) {
    const auto function = function_at(machine(), each);
    if (!function) continue;
    if (auto done = require_unused(*function, "restoring " + entry.resource.text()); !done) return done;
  }
  return {};
}

Outcome<Report> Session::restore(const std::vector<PciAddress>& only) {
  std::vector<Entry> entries = journal_.entries();
  std::vector<std::string> left;
  for (std::size_t i = entries.size(); i-- > 0;) {
    const Entry entry = entries[i];
    const auto address = function_of(entry.resource);
    if (!only.empty() && (!address || std::find(only.begin(), only.end(), *address) == only.end())) continue;
    const auto now = find_kind(entry.resource.kind)->read(machine(), entry.resource.name);
    const bool is_as_it_was = now && *now && has(**now, entry.was);
    if (waits_for_driver(machine(), entries, entry) != nullptr) continue;
    Outcome<> done = is_as_it_was ? Outcome<>{} : require_free_to_restore(entry);
    if (done) done = put_back(entry);
    if (!done) {
      left.push_back(fmt::format("{}: {}", entry.resource.text(), done.error().text));
      continue;
    }
    entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(i));
    if (options_.is_rehearsal) continue;
    if (auto saved = journal_.keep_only(entries); !saved) return tl::unexpected<Failure>(saved.error());
  }
  if (left.empty()) return report();
  return refuse(Errc::busy, "not everything could be restored, this is left: " + list_of(left));
}

}  // namespace vmux::host
