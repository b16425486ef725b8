// SPDX-License-Identifier: BSD-3-Clause
// TOML to JSON, and from there on the way of every other call.

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/text/format.hpp"
#include "base/text/toml.hpp"
#include "control/config/configuration.hpp"
#include "control/model/spec/kinds.hpp"

namespace vmux::control {
namespace {

Json to_json(const toml::node& node);

bool is_mode_key(std::string_view key) {
  std::vector<KindText> tables = object_kinds();
  for (KindText& table : setting_tables())
    tables.push_back(std::move(table));
  return std::any_of(tables.begin(), tables.end(), [key](const KindText& table) {
    return std::any_of(table.options.begin(), table.options.end(),
                       [key](const OptionText* option) { return option->form == Form::mode && key == option->name; });
  });
}

Json to_json(const toml::table& table) {
  Json object = Json::object();
  for (const auto& [key, value] : table) {
    const auto* number = value.as_integer();
    const bool is_octal =
        number != nullptr && (number->flags() & toml::value_flags::format_as_octal) != toml::value_flags::none;
    // A mode is text elsewhere, so that nobody has to guess what 660 means. TOML's 0o660 leaves no doubt.
    const bool is_mode = is_octal && is_mode_key(key.str());
    object[std::string{key.str()}] = is_mode ? Json(fmt::format("0o{:o}", number->get())) : to_json(value);
  }
  return object;
}

Json to_json(const toml::node& node) {
  if (const auto* table = node.as_table()) return to_json(*table);
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  Json list = Json::array();  // dates and times become an empty list: no parameter takes one
  if (const auto* array = node.as_array()) {
    for (const toml::node& element : *array)
      list.push_back(to_json(element));
  }
  return list;
}

struct Reader {
  const std::string& name;
  Configuration& into;

  [[nodiscard]] std::string where(const toml::source_region& source) const {
    return fmt::format("{}:{}:{}", name, source.begin.line, source.begin.column);
  }
  /// A problem with a table, where the key at fault stands, if it does.
  [[nodiscard]] tl::unexpected<Problem> wrong(const toml::node& node, const char* table, const Problem& problem) const {
    toml::source_region at = node.source();
    if (const toml::table* const members = node.as_table()) {
      for (const auto& [key, value] : *members) {
        if (key.str() == problem.field) at = key.source();
      }
    }
    return refuse(problem.kind, "", fmt::format("{}: {}: {}", where(at), table, text_of(problem)));
  }

  Outcome<> values(const toml::table& root) const;
  Outcome<> steps(const toml::table& root, const std::string& kind) const;
  Outcome<> all(const toml::table& root) const;
};

Outcome<> Reader::values(const toml::table& root) const {
  if (const auto* node = root.get("daemon")) {
    if (auto done = apply_daemon(to_json(*node), into.daemon); !done) return wrong(*node, "[daemon]", done.error());
  }
  const auto* const node = root.get("pollers");
  if (node == nullptr) return {};
  if (auto done = apply_pollers(to_json(*node), into.daemon.pollers); !done) {
    return wrong(*node, "[pollers]", done.error());
  }
  DaemonSpec alone = into.daemon;  // flags may still change it: what is settled here is only looked at
  if (auto done = settle(alone); !done) return wrong(*node, "[pollers]", done.error());
  return {};
}

Outcome<> Reader::steps(const toml::table& root, const std::string& kind) const {
  const toml::node* const node = root.get(kind);
  if (node == nullptr) return {};
  if (!node->is_array_of_tables()) {
    return refuse(ProblemKind::invalid, "",
                  fmt::format("{}: expected [[{}]], a list of tables", where(node->source()), kind));
  }
  for (const toml::node& element : *node->as_array()) {
    const auto place = [&](const toml::source_region& at) { return fmt::format("{}: [[{}]]", where(at), kind); };
    Step& step = into.steps.emplace_back(Step{kind + ".add", to_json(element), place(element.source())});
    for (const auto& [member, value] : *element.as_table())
      step.where_keys.emplace_back(member.str(), place(member.source()));
  }
  return {};
}

Outcome<> Reader::all(const toml::table& root) const {
  const std::vector<KindText> kinds = object_kinds();
  std::vector<std::string_view> known;
  for (const KindText& table : setting_tables())
    known.emplace_back(table.name);
  for (const KindText& kind : kinds)
    known.emplace_back(kind.name);
  for (const auto& [key, value] : root) {
    if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
    return refuse(ProblemKind::invalid, "",
                  fmt::format("{}: '{}' is not known here; known are: {}", where(key.source()), key.str(),
                              fmt::join(known, ", ")));
  }
  if (auto done = values(root); !done) return done;
  for (const KindText& kind : kinds) {
    if (auto done = steps(root, kind.name); !done) return done;
  }
  return {};
}

}  // namespace

Outcome<> parse_configuration(std::string_view text, const std::string& name, Configuration& into) {
  if (const auto line = stray_character(text)) {
    return refuse(ProblemKind::invalid, "", fmt::format("{}:{}: {}", name, *line, kStrayCharacter));
  }
  try {
    return Reader{name, into}.all(toml::parse(text, name));
  } catch (const toml::parse_error& error) {
    return refuse(
        ProblemKind::invalid, "",
        fmt::format("{}:{}:{}: {}", name, error.source().begin.line, error.source().begin.column, error.description()));
  }
}

Outcome<> load_configuration(const std::string& path, Configuration& into) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return refuse("", "read " + path, Error{Errc::system, "the file", EISDIR});
  }
  std::ifstream file{path, std::ios::binary};
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file) return refuse("", "read " + path, Error{Errc::system, "the file", errno});
  return parse_configuration(text.str(), path, into);
}

}  // namespace vmux::control
