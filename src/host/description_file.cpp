// SPDX-License-Identifier: BSD-3-Clause
// The file format of a host's description: TOML by toml++.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>

#include "base/toml.hpp"
#include "host/description.hpp"

namespace vmux::host {
namespace {

/// What is wrong with a value, or nothing.
using Complaint = std::optional<std::string>;

/// One key that a table may have.
struct Key {
  const char* name;
  std::function<Complaint(const toml::node&)> take;
};

struct Source {
  const std::string& name;
  [[nodiscard]] tl::unexpected<Failure> wrong(const toml::node& node, const std::string& text) const {
    return refuse(Errc::invalid_argument, fmt::format("{}:{}: {}", name, node.source().begin.line, text));
  }
};

Outcome<> take_table(const Source& source, const toml::node& node, const char* what, const std::vector<Key>& keys) {
  const toml::table* const table = node.as_table();
  if (table == nullptr) return source.wrong(node, fmt::format("expected a table {}", what));
  for (const auto& [toml_key, value] : *table) {
    const std::string key{toml_key.str()};
    const auto found = std::find_if(keys.begin(), keys.end(), [&](const Key& each) { return key == each.name; });
    if (found == keys.end()) {
      std::vector<std::string> names;
      for (const Key& each : keys)
        names.emplace_back(each.name);
      return source.wrong(value,
                          fmt::format("{}: '{}' is not known here; known are: {}", what, key, fmt::join(names, ", ")));
    }
    if (const Complaint complaint = found->take(value))
      return source.wrong(value, fmt::format("{}: {}: expected {}", what, key, *complaint));
  }
  return {};
}

/// Calls `take` with each table of a list of tables; a key that is missing is an empty list.
Outcome<> take_list(const Source& source, const toml::table& root, const char* key,
                    const std::function<Outcome<>(const toml::node&)>& take) {
  const toml::node* const node = root.get(key);
  if (node == nullptr) return {};
  if (!node->is_array_of_tables()) return source.wrong(*node, fmt::format("expected [[{}]], a list of tables", key));
  for (const toml::node& element : *node->as_array()) {
    if (auto done = take(element); !done) return done;
  }
  return {};
}

Complaint take_text(const toml::node& node, std::string& into) {
  const auto* const text = node.as_string();
  if (text == nullptr || text->get().empty()) return "a text";
  into = text->get();
  return std::nullopt;
}

template <class Number, class Into>
Complaint take_number(const toml::node& node, Into& into, std::int64_t most) {
  const auto* const number = node.as_integer();
  if (number == nullptr || number->get() < 0 || number->get() > most) return fmt::format("a number from 0 to {}", most);
  into = static_cast<Number>(number->get());
  return std::nullopt;
}

template <class Into>
Complaint take_flag(const toml::node& node, Into& into) {
  if (!node.is_boolean()) return "true or false";
  into = node.as_boolean()->get();
  return std::nullopt;
}

template <class Into>
Complaint take_cpus(const toml::node& node, Into& into) {
  const auto* const text = node.as_string();
  const auto cpus = text == nullptr ? std::nullopt : parse_cpus(text->get());
  if (!cpus || cpus->empty()) return "a list of CPUs such as \"2,4-6\"";
  into = *cpus;
  return std::nullopt;
}

Complaint take_size(const toml::node& node, std::optional<std::uint64_t>& into) {
  const auto* const text = node.as_string();
  into = text == nullptr ? std::nullopt : parse_size_kib(text->get());
  return into ? Complaint{} : Complaint{"a size such as \"2M\" or \"1G\""};
}

Complaint take_mac(const toml::node& node, std::optional<std::string>& into) {
  const auto* const text = node.as_string();
  into = text == nullptr ? std::nullopt : parse_mac(text->get());
  return into ? Complaint{} : Complaint{"a unicast MAC address such as \"52:54:00:12:34:56\""};
}

constexpr std::array kLinkNames{"auto", "enable", "disable"};

Complaint take_link(const toml::node& node, std::optional<VfLink>& into) {
  const std::string text = node.value_or(std::string{});
  const auto found = std::find(kLinkNames.begin(), kLinkNames.end(), text);
  if (found == kLinkNames.end()) return "\"auto\", \"enable\" or \"disable\"";
  into = static_cast<VfLink>(found - kLinkNames.begin());
  return std::nullopt;
}

Outcome<> take_hugepages(const Source& source, const toml::node& node, Description& into) {
  HugepagesRequest request;
  const std::vector<Key> keys{
      {"count", [&](const toml::node& n) { return take_number<std::uint64_t>(n, request.count, 1 << 30); }},
      {"size", [&](const toml::node& n) { return take_size(n, request.size_kib); }},
      {"node", [&](const toml::node& n) { return take_number<unsigned>(n, request.node, 1023); }},
  };
  if (auto done = take_table(source, node, "[[hugepages]]", keys); !done) return done;
  if (node.as_table()->get("count") == nullptr) return source.wrong(node, "[[hugepages]]: count is required");
  into.hugepages.push_back(request);
  return {};
}

Outcome<> take_vf(const Source& source, const toml::node& node, NicWish& nic) {
  VfWish wish;
  std::optional<unsigned> index;
  VfSettings& settings = wish.settings;
  const std::vector<Key> keys{
      {"index", [&](const toml::node& n) { return take_number<unsigned>(n, index, 65535); }},
      {"mac", [&](const toml::node& n) { return take_mac(n, settings.mac); }},
      {"vlan", [&](const toml::node& n) { return take_number<std::uint16_t>(n, settings.vlan, 4094); }},
      {"qos", [&](const toml::node& n) { return take_number<std::uint8_t>(n, settings.qos, 7); }},
      {"trust", [&](const toml::node& n) { return take_flag(n, settings.is_trusted); }},
      {"spoofchk", [&](const toml::node& n) { return take_flag(n, settings.checks_spoofing); }},
      {"link", [&](const toml::node& n) { return take_link(n, settings.link); }},
      {"driver", [&](const toml::node& n) { return take_text(n, wish.driver); }},
  };
  if (auto done = take_table(source, node, "[[nic.vf]]", keys); !done) return done;
  if (!index) return source.wrong(node, "[[nic.vf]]: index is required");
  if (!nic.wishes.emplace(*index, wish).second)
    return source.wrong(node, fmt::format("[[nic.vf]]: index {} is here twice", *index));
  return {};
}

Outcome<> take_nic(const Source& source, const toml::node& node, Description& into) {
  NicWish wish;
  std::string vf_driver;
  const std::vector<Key> keys{
      {"device", [&](const toml::node& n) { return take_text(n, wish.device); }},
      {"driver", [&](const toml::node& n) { return take_text(n, wish.driver); }},
      {"vfs", [&](const toml::node& n) { return take_number<unsigned>(n, wish.vfs, 65535); }},
      {"vf_driver", [&](const toml::node& n) { return take_text(n, vf_driver); }},
      {"up", [&](const toml::node& n) { return take_flag(n, wish.brings_link_up); }},
      {"irq_cpus", [&](const toml::node& n) { return take_cpus(n, wish.irq_cpus); }},
      {"vf", [](const toml::node&) { return Complaint{}; }},
  };
  if (auto done = take_table(source, node, "[[nic]]", keys); !done) return done;
  if (wish.device.empty()) return source.wrong(node, "[[nic]]: device is required");
  const auto each = [&](const toml::node& vf) { return take_vf(source, vf, wish); };
  if (auto done = take_list(source, *node.as_table(), "vf", each); !done) return done;
  for (unsigned index = 0; !vf_driver.empty() && index < wish.vfs.value_or(0); ++index) {
    std::string& driver = wish.wishes[index].driver;
    if (driver.empty()) driver = vf_driver;
  }
  if (wish.vfs && !wish.wishes.empty() && wish.wishes.rbegin()->first >= *wish.vfs)
    return source.wrong(node, fmt::format("[[nic]]: with vfs = {} there is no virtual function {}", *wish.vfs,
                                          wish.wishes.rbegin()->first));
  const bool is_given_away = wish.driver == "vfio-pci" || wish.driver == "none";
  if (is_given_away && wish.vfs.value_or(0) > 0)
    return source.wrong(node, fmt::format("[[nic]]: with driver = \"{}\" it makes no virtual functions", wish.driver));
  into.nics.push_back(std::move(wish));
  return {};
}

Outcome<> take_cpus_table(const Source& source, const toml::table& root, Description& into) {
  const toml::node* const node = root.get("cpus");
  if (node == nullptr) return {};
  return take_table(source, *node, "[cpus]",
                    {{"isolated", [&](const toml::node& n) { return take_cpus(n, into.isolated); }}});
}

std::string vf_text(unsigned index, const VfWish& wish) {
  const VfSettings& settings = wish.settings;
  std::string out = fmt::format("\n  [[nic.vf]]\n  index = {}\n", index);
  if (settings.mac) out += fmt::format("  mac = \"{}\"\n", *settings.mac);
  if (settings.vlan) out += fmt::format("  vlan = {}\n", *settings.vlan);
  if (settings.qos) out += fmt::format("  qos = {}\n", *settings.qos);
  if (settings.is_trusted) out += fmt::format("  trust = {}\n", *settings.is_trusted);
  if (settings.checks_spoofing) out += fmt::format("  spoofchk = {}\n", *settings.checks_spoofing);
  if (settings.link) out += fmt::format("  link = \"{}\"\n", kLinkNames[static_cast<unsigned>(*settings.link)]);
  if (!wish.driver.empty()) out += fmt::format("  driver = \"{}\"\n", wish.driver);
  return out;
}

}  // namespace

Outcome<Description> parse_description(std::string_view text, const std::string& name) {
  toml::table root;
  try {
    root = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    return refuse(Errc::invalid_argument,
                  fmt::format("{}:{}: {}", name, error.source().begin.line, error.description()));
  }
  const Source source{name};
  Description description;
  const auto nothing = [](const toml::node&) { return Complaint{}; };
  if (auto done = take_table(source, root, "the file", {{"hugepages", nothing}, {"nic", nothing}, {"cpus", nothing}});
      !done)
    return tl::unexpected<Failure>(done.error());
  const auto pages = [&](const toml::node& node) { return take_hugepages(source, node, description); };
  const auto nic = [&](const toml::node& node) { return take_nic(source, node, description); };
  auto done = take_list(source, root, "hugepages", pages);
  if (done) done = take_list(source, root, "nic", nic);
  if (done) done = take_cpus_table(source, root, description);
  if (!done) return tl::unexpected<Failure>(done.error());
  return description;
}

std::string to_toml(const Description& description) {
  std::string out = "# A host as vmuxctl host found it. `vmuxctl host apply FILE` makes it so again.\n";
  for (const HugepagesRequest& each : description.hugepages) {
    out += fmt::format("\n[[hugepages]]\ncount = {}\n", each.count);
    if (each.size_kib) out += fmt::format("size = \"{}\"\n", size_text(*each.size_kib));
    if (each.node) out += fmt::format("node = {}\n", *each.node);
  }
  for (const NicWish& nic : description.nics) {
    out += fmt::format("\n[[nic]]\ndevice = \"{}\"\n", nic.device);
    if (!nic.driver.empty()) out += fmt::format("driver = \"{}\"\n", nic.driver);
    if (nic.vfs) out += fmt::format("vfs = {}\n", *nic.vfs);
    if (!nic.irq_cpus.empty()) out += fmt::format("irq_cpus = \"{}\"\n", to_text(nic.irq_cpus));
    for (const auto& [index, wish] : nic.wishes)
      out += vf_text(index, wish);
  }
  if (description.isolated) out += fmt::format("\n[cpus]\nisolated = \"{}\"\n", to_text(*description.isolated));
  return out;
}

}  // namespace vmux::host
