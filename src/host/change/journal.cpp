// SPDX-License-Identifier: BSD-3-Clause
#include "host/change/journal.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text/format.hpp"

namespace vmux::host {
namespace {

using Json = nlohmann::json;

constexpr int kVersion = 1;

std::optional<Entry> entry_of(const Json& line) {
  Entry entry;
  if (!line.is_object() || !line.contains("kind") || !line.contains("name") || !line.contains("was"))
    return std::nullopt;
  if (!line["kind"].is_string() || !line["name"].is_string() || !line["was"].is_object()) return std::nullopt;
  entry.resource = {line["kind"].get<std::string>(), line["name"].get<std::string>()};
  if (find_kind(entry.resource.kind) == nullptr) return std::nullopt;
  for (const auto& item : line["was"].items()) {
    if (!item.value().is_string()) return std::nullopt;
    entry.was[item.key()] = item.value().get<std::string>();
  }
  return entry;
}

std::optional<std::pair<std::string, PciAddress>> name_of(const Json& line) {
  if (!line.is_object() || !line.contains("interface") || !line.contains("function")) return std::nullopt;
  if (!line["interface"].is_string() || !line["function"].is_string()) return std::nullopt;
  const auto address = parse_pci_address(line["function"].get<std::string>());
  if (!address) return std::nullopt;
  return std::pair{line["interface"].get<std::string>(), *address};
}

std::string line_of(const Json& json) { return json.dump(-1, ' ', true, Json::error_handler_t::replace) + '\n'; }

}  // namespace

Outcome<Journal> Journal::load(Machine& machine, std::string path) {
  Journal journal{machine, std::move(path), machine.text("/proc/sys/kernel/random/boot_id")};
  if (!machine.exists(journal.path_)) return journal;
  const auto content = machine.read(journal.path_);
  if (!content) return refuse("read " + journal.path_, content.error());
  if (auto done = journal.parse(*content); !done) return tl::unexpected<Failure>(done.error());
  return journal;
}

Outcome<> Journal::parse(const std::string& content) {
  const std::vector<std::string> all = lines(content);
  const bool is_torn = !content.empty() && content.back() != '\n';
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Json line = Json::parse(all[i], nullptr, /*allow_exceptions=*/false);
    if (i == 0 && line.is_object() && line.value("journal", Json{}) == kVersion) {
      if (line.value("boot", Json{}) != boot_) return {};
      continue;
    }
    if (const auto called = i == 0 ? std::nullopt : name_of(line)) {
      names_.insert_or_assign(called->first, called->second);
      continue;
    }
    auto entry = i == 0 ? std::nullopt : entry_of(line);
    if (!entry && is_torn && i + 1 == all.size()) return {};
    if (!entry) {
      return refuse(Errc::invalid_argument,
                    fmt::format("{}:{}: this is no line of a journal of vmuxctl host; move the file away if what it "
                                "remembers is not needed",
                                path_, i + 1));
    }
    entries_.push_back(std::move(*entry));
  }
  return {};
}

const Entry* Journal::find(const Resource& resource) const noexcept {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.resource == resource; });
  return found == entries_.end() ? nullptr : &*found;
}

std::vector<Entry>::iterator place_for(std::vector<Entry>& entries, const Resource& resource) {
  const auto address = resource.kind == kLinkKind.name ? function_of(resource) : std::nullopt;
  return std::find_if(entries.begin(), entries.end(),
                      [&](const Entry& entry) { return address && entry.resource == driver_of(*address); });
}

Outcome<> Journal::add(Entry entry) {
  const auto place = entries_.insert(place_for(entries_, entry.resource), std::move(entry));
  auto done = save();
  if (!done) entries_.erase(place);
  return done;
}

Outcome<> Journal::keep_only(std::vector<Entry> entries) {
  entries_ = std::move(entries);
  return save();
}

std::optional<PciAddress> Journal::function_called(const std::string& name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? std::nullopt : std::optional{found->second};
}

Outcome<> Journal::learn_names(PciAddress function) {
  const std::map<std::string, PciAddress> before = names_;
  const auto found = function_at(*machine_, function);
  for (const Interface& interface : found ? found->interfaces : std::vector<Interface>{}) {
    if (interface.is_representor) continue;
    names_.insert_or_assign(interface.name, function);
    const auto link = machine_->network().link(interface.name);
    for (const std::string& name : link ? link->other_names : std::vector<std::string>{})
      names_.insert_or_assign(name, function);
  }
  if (names_ == before) return {};
  auto done = save();
  if (!done) names_ = before;
  return done;
}

Outcome<PciFunction> find_function(const Machine& machine, const Journal& journal, const std::string& name) {
  auto found = find_function(machine, name);
  const auto address = found || found.error().code != Errc::not_found ? std::nullopt : journal.function_called(name);
  if (address && function_at(machine, *address)) return *function_at(machine, *address);
  return found;
}

Outcome<> Journal::save() const {
  std::string content = line_of({{"journal", kVersion}, {"boot", boot_}});
  for (const Entry& entry : entries_)
    content += line_of({{"kind", entry.resource.kind}, {"name", entry.resource.name}, {"was", entry.was}});
  for (const auto& [name, function] : names_)
    content += line_of({{"interface", name}, {"function", function.text()}});
  if (auto done = machine_->replace(path_, content); !done)
    return refuse("write " + path_ + ", where changes are remembered", done.error());
  return {};
}

}  // namespace vmux::host
