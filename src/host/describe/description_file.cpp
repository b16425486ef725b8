// SPDX-License-Identifier: BSD-3-Clause
// A host's description as a file: which tables and keys it has, whichever the notation.

#include <algorithm>
#include <array>
#include <functional>

#include "base/text/format.hpp"
#include "base/text/words.hpp"
#include "host/describe/description.hpp"
#include "host/describe/description_tree.hpp"

namespace vmux::host {
namespace {

/// What is wrong with a value, or nothing.
using Complaint = std::optional<std::string>;

/// One key that a table may have.
struct Key {
  const char* name;
  std::function<Complaint(const Value&)> take;
};

struct Source {
  const std::string& name;
  FileFormat format;
  std::map<std::string, unsigned> mac_lines{};  ///< of all virtual functions
  [[nodiscard]] tl::unexpected<Failure> wrong(unsigned line, const std::string& text) const {
    return refuse(Errc::invalid_argument, fmt::format("{}:{}: {}", name, line, text));
  }
  [[nodiscard]] tl::unexpected<Failure> wrong(const Value& value, const std::string& text) const {
    return wrong(value.line, text);
  }
  /// As the notation writes it.
  [[nodiscard]] std::string table(const std::string& key) const {
    return format == FileFormat::toml ? "[" + key + "]" : key;
  }
  [[nodiscard]] std::string list(const std::string& key) const { return list_name(format, key); }
};

Lines lines_of(const Value& table) {
  Lines lines{{"", table.line}};
  for (std::size_t i = 0; i < table.keys.size(); ++i)
    lines[table.keys[i]] = table.key_lines[i];
  return lines;
}

Outcome<> take_table(const Source& source, const Value& node, const std::string& what, const std::vector<Key>& keys) {
  if (node.kind != Value::Kind::table) return source.wrong(node, fmt::format("expected a table {}", what));
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    const std::string& key = node.keys[i];
    const Value& value = node.list[i];
    const auto found = std::find_if(keys.begin(), keys.end(), [&](const Key& each) { return key == each.name; });
    if (found == keys.end()) {
      std::vector<std::string> names;
      for (const Key& each : keys)
        names.emplace_back(each.name);
      const std::string meant = did_you_mean(key, names);
      return source.wrong(node.key_lines[i],
                          fmt::format("{}: '{}' is not known here{}", what, key,
                                      meant.empty() ? fmt::format("; known are: {}", fmt::join(names, ", ")) : meant));
    }
    if (const Complaint complaint = found->take(value))
      return source.wrong(node.key_lines[i], fmt::format("{}: {}: expected {}", what, key, *complaint));
  }
  return {};
}

/// Calls `take` with each table of a list of tables; a key that is missing is an empty list.
Outcome<> take_list(const Source& source, const Value& root, const char* key,
                    const std::function<Outcome<>(const Value&)>& take) {
  const Value* const node = root.find(key);
  if (node == nullptr) return {};
  const bool is_list_of_tables =
      node->kind == Value::Kind::list && std::all_of(node->list.begin(), node->list.end(),
                                                     [](const Value& each) { return each.kind == Value::Kind::table; });
  if (!is_list_of_tables)
    return source.wrong(root.line_of(key), fmt::format("expected {}, a list of tables", source.list(key)));
  for (const Value& element : node->list) {
    if (auto done = take(element); !done) return done;
  }
  return {};
}

Complaint take_text(const Value& node, std::string& into) {
  // In YAML `no` is a text to some readers and a boolean to others, and `7` a number: quotes tell.
  if (!node.text || node.text->empty() || node.number || node.flag) return "a text (in quotes, if it is one)";
  into = *node.text;
  return std::nullopt;
}

template <class Number, class Into>
Complaint take_number(const Value& node, Into& into, std::int64_t most) {
  if (!node.number || *node.number < 0 || *node.number > most) return fmt::format("a number from 0 to {}", most);
  into = static_cast<Number>(*node.number);
  return std::nullopt;
}

template <class Into>
Complaint take_flag(const Value& node, Into& into) {
  if (!node.flag) return "true or false";
  into = *node.flag;
  return std::nullopt;
}

template <class Into>
Complaint take_cpus(const Value& node, Into& into) {
  const auto cpus = parse_cpu_list(node.text.value_or(""));
  if (!cpus) return cpus.error();
  into = CpuSet{cpus->begin(), cpus->end()};
  return std::nullopt;
}

Complaint take_size(const Value& node, std::optional<std::uint64_t>& into) {
  into = node.text ? parse_size_kib(*node.text) : std::nullopt;
  return into ? Complaint{} : Complaint{"a size such as \"2M\" or \"1G\""};
}

Complaint take_mac(const Value& node, std::optional<std::string>& into) {
  into = node.text ? parse_mac(*node.text) : std::nullopt;
  return into ? Complaint{} : Complaint{"a unicast MAC address such as \"52:54:00:12:34:56\""};
}

constexpr std::array<std::string_view, 3> kLinkNames{"auto", "enable", "disable"};

Complaint take_link(const Value& node, std::optional<VfLink>& into) {
  const auto found = std::find(kLinkNames.begin(), kLinkNames.end(), node.text.value_or(""));
  if (found == kLinkNames.end()) return "\"auto\", \"enable\" or \"disable\"";
  into = static_cast<VfLink>(found - kLinkNames.begin());
  return std::nullopt;
}

Outcome<> take_hugepages(const Source& source, const Value& node, Description& into) {
  HugepagesEntry request{{}, lines_of(node)};
  const std::vector<Key> keys{
      {"count", [&](const Value& n) { return take_number<std::uint64_t>(n, request.count, kMostHugepages); }},
      {"size", [&](const Value& n) { return take_size(n, request.size_kib); }},
      {"node", [&](const Value& n) { return take_number<unsigned>(n, request.node, kMostNode); }},
      {"mount", [&](const Value& n) { return take_flag(n, request.mounts); }},
  };
  if (auto done = take_table(source, node, source.list("hugepages"), keys); !done) return done;
  if (node.find("count") == nullptr) return source.wrong(node, source.list("hugepages") + ": count is required");
  into.hugepages.push_back(std::move(request));
  return {};
}

Outcome<> take_vf(Source& source, const Value& node, NicEntry& nic) {
  VfEntry entry;
  std::optional<unsigned> index;
  VfSettings& settings = entry.settings;
  const std::vector<Key> keys{
      {"index", [&](const Value& n) { return take_number<unsigned>(n, index, 65535); }},
      {"mac", [&](const Value& n) { return take_mac(n, settings.mac); }},
      {"vlan", [&](const Value& n) { return take_number<std::uint16_t>(n, settings.vlan, 4094); }},
      {"qos", [&](const Value& n) { return take_number<std::uint8_t>(n, settings.qos, 7); }},
      {"trust", [&](const Value& n) { return take_flag(n, settings.is_trusted); }},
      {"spoofchk", [&](const Value& n) { return take_flag(n, settings.checks_spoofing); }},
      {"link", [&](const Value& n) { return take_link(n, settings.link); }},
      {"driver", [&](const Value& n) { return take_text(n, entry.driver); }},
  };
  if (auto done = take_table(source, node, source.list("nic.vf"), keys); !done) return done;
  if (!index) return source.wrong(node, source.list("nic.vf") + ": index is required");
  if (!nic.entries.emplace(*index, entry).second)
    return source.wrong(node.line_of("index"),
                        fmt::format("{}: index {} is here twice", source.list("nic.vf"), *index));
  if (settings.qos && !settings.vlan)
    return source.wrong(node.line_of("qos"), source.list("nic.vf") + ": qos: a priority needs a vlan");
  nic.vf_lines[*index] = lines_of(node);
  if (!settings.mac) return {};
  const auto [other, is_new] = source.mac_lines.emplace(*settings.mac, node.line_of("mac"));
  if (!is_new)
    return source.wrong(node.line_of("mac"), fmt::format("{}: mac: {} is in line {} already", source.list("nic.vf"),
                                                         *settings.mac, other->second));
  return {};
}

/// What its keys say about each other, each alone being right.
Outcome<> require_sense(const Source& source, const Value& node, const NicEntry& entry, const std::string& vf_driver) {
  const auto wrong = [&](const char* key, const std::string& text) {
    return source.wrong(node.line_of(key), fmt::format("{}: {}: {}", source.list("nic"), key, text));
  };
  const bool is_given_away = entry.driver == "none" || (!entry.driver.empty() && !serves_host(entry.driver));
  if (is_given_away && entry.vfs.value_or(0) > 0)
    return wrong("vfs", fmt::format("with the driver {} it makes no virtual functions", entry.driver));
  if (is_given_away && !entry.entries.empty())
    return wrong("vf", fmt::format("with the driver {} it has no virtual functions", entry.driver));
  if (!vf_driver.empty() && entry.vfs.value_or(0) == 0)
    return wrong("vf_driver", entry.vfs ? "with vfs = 0 there is none to give to it"
                                        : "it goes with vfs, which says how many there shall be");
  if (node.find("up") != nullptr && !entry.vfs && entry.entries.empty())
    return wrong("up", "it is about the link of virtual functions, and there is no vfs and no vf here");
  if (entry.vfs && !entry.entries.empty() && entry.entries.rbegin()->first >= *entry.vfs)
    return source.wrong(entry.vf_lines.at(entry.entries.rbegin()->first).at("index"),
                        fmt::format("{}: with {} virtual functions there is no number {}", source.list("nic.vf"),
                                    *entry.vfs, entry.entries.rbegin()->first));
  return {};
}

Outcome<> take_nic(Source& source, const Value& node, Description& into) {
  NicEntry entry;
  std::string vf_driver;
  const std::vector<Key> keys{
      {"device", [&](const Value& n) { return take_text(n, entry.device); }},
      {"driver", [&](const Value& n) { return take_text(n, entry.driver); }},
      {"vfs", [&](const Value& n) { return take_number<unsigned>(n, entry.vfs, 65535); }},
      {"vf_driver", [&](const Value& n) { return take_text(n, vf_driver); }},
      {"up", [&](const Value& n) { return take_flag(n, entry.brings_link_up); }},
      {"irq_cpus", [&](const Value& n) { return take_cpus(n, entry.irq_cpus); }},
      {"vf", [](const Value&) { return Complaint{}; }},
  };
  if (auto done = take_table(source, node, source.list("nic"), keys); !done) return done;
  if (entry.device.empty()) return source.wrong(node, source.list("nic") + ": device is required");
  const auto each = [&](const Value& vf) { return take_vf(source, vf, entry); };
  if (auto done = take_list(source, node, "vf", each); !done) return done;
  entry.lines = lines_of(node);
  if (auto done = require_sense(source, node, entry, vf_driver); !done) return done;
  for (unsigned index = 0; !vf_driver.empty() && index < entry.vfs.value_or(0); ++index) {
    std::string& driver = entry.entries[index].driver;
    if (driver.empty()) driver = vf_driver;
  }
  into.nics.push_back(std::move(entry));
  return {};
}

Outcome<> take_cpus_table(const Source& source, const Value& root, Description& into) {
  const Value* const node = root.find("cpus");
  if (node == nullptr) return {};
  return take_table(source, *node, source.table("cpus"),
                    {{"isolated", [&](const Value& n) { return take_cpus(n, into.isolated); }}});
}

std::string vf_text(unsigned index, const VfEntry& entry) {
  const VfSettings& settings = entry.settings;
  std::string out = fmt::format("\n  [[nic.vf]]\n  index = {}\n", index);
  if (settings.mac) out += fmt::format("  mac = \"{}\"\n", *settings.mac);
  if (settings.vlan) out += fmt::format("  vlan = {}\n", *settings.vlan);
  if (settings.qos) out += fmt::format("  qos = {}\n", *settings.qos);
  if (settings.is_trusted) out += fmt::format("  trust = {}\n", *settings.is_trusted);
  if (settings.checks_spoofing) out += fmt::format("  spoofchk = {}\n", *settings.checks_spoofing);
  if (settings.link) out += fmt::format("  link = \"{}\"\n", link_name(*settings.link));
  if (!entry.driver.empty()) out += fmt::format("  driver = \"{}\"\n", entry.driver);
  return out;
}

}  // namespace

FileFormat format_of(std::string_view path) noexcept {
  const auto ends = [&](std::string_view with) {
    return path.size() >= with.size() && path.substr(path.size() - with.size()) == with;
  };
  return ends(".yaml") || ends(".yml") ? FileFormat::yaml : FileFormat::toml;
}

std::string list_name(FileFormat format, const std::string& key) {
  return format == FileFormat::toml ? "[[" + key + "]]" : key;
}

std::string_view link_name(VfLink link) noexcept { return kLinkNames[static_cast<unsigned>(link)]; }

Outcome<Description> parse_description(std::string_view text, const std::string& name, FileFormat format) {
  const auto read = format == FileFormat::yaml ? read_yaml(text, name) : read_toml(text, name);
  if (!read) return tl::unexpected<Failure>(read.error());
  const Value& root = *read;
  Source source{name, format};
  Description description;
  description.source = name;
  description.format = format;
  const auto nothing = [](const Value&) { return Complaint{}; };
  if (auto done = take_table(source, root, "the file", {{"hugepages", nothing}, {"nic", nothing}, {"cpus", nothing}});
      !done)
    return tl::unexpected<Failure>(done.error());
  const auto pages = [&](const Value& node) { return take_hugepages(source, node, description); };
  const auto nic = [&](const Value& node) { return take_nic(source, node, description); };
  auto done = take_list(source, root, "hugepages", pages);
  if (done) done = take_list(source, root, "nic", nic);
  if (done) done = take_cpus_table(source, root, description);
  if (!done) return tl::unexpected<Failure>(done.error());
  return description;
}

std::string to_toml(const Description& description) {
  std::string out{kSavedHeading};
  for (const HugepagesEntry& each : description.hugepages) {
    out += fmt::format("\n[[hugepages]]\ncount = {}\n", each.count);
    if (each.size_kib) out += fmt::format("size = \"{}\"\n", size_text(*each.size_kib));
    if (each.node) out += fmt::format("node = {}\n", *each.node);
    if (each.mounts) out += "mount = true\n";
  }
  for (const NicEntry& nic : description.nics) {
    out += fmt::format("\n[[nic]]\ndevice = \"{}\"\n", nic.device);
    if (!nic.driver.empty()) out += fmt::format("driver = \"{}\"\n", nic.driver);
    if (nic.vfs) out += fmt::format("vfs = {}\n", *nic.vfs);
    if (!nic.irq_cpus.empty()) out += fmt::format("irq_cpus = \"{}\"\n", to_text(nic.irq_cpus));
    for (const auto& [index, entry] : nic.entries)
      out += vf_text(index, entry);
  }
  if (description.isolated) out += fmt::format("\n[cpus]\nisolated = \"{}\"\n", to_text(*description.isolated));
  return out;
}

}  // namespace vmux::host
