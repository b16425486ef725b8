// SPDX-License-Identifier: BSD-3-Clause
#include "control/config/saved.hpp"

#include <algorithm>
#include <filesystem>

#include "base/text/format.hpp"
#include "control/model/spec/kinds.hpp"

namespace vmux::control {
namespace {

/// A basic string (TOML 1.0): what JSON escapes is escaped in the same way, and DEL too.
std::string quoted(const std::string& text) {
  std::string out;
  for (const char c : Json(text).dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace))
    c == '\x7f' ? out += "\\u007f" : out += c;
  return out;
}

std::string in_toml(const Json& value) {
  return value.is_string() ? quoted(value.get_ref<const std::string&>()) : value.dump();
}

/// A file is read by a daemon that was started elsewhere.
template <class Spec>
Json value_of(const Option<Spec>& option, const Value& value) {
  Json written = to_json(option.text, value);
  if (option.text.form != Form::path) return written;
  std::error_code error;
  const auto path = std::filesystem::absolute(written.get<std::string>(), error);
  return error ? written : Json(path.lexically_normal().string());
}

/// Every key, those that are not set behind a #.
template <class Spec>
void add_table(std::string& out, const char* name, std::span<const Option<Spec>> options, const Spec& spec) {
  out += fmt::format("\n[{}]\n", name);
  for (const Option<Spec>& option : options) {
    const auto value = option.get(spec);
    out += fmt::format("{}{} = {}  # {}\n", value ? "" : "#", option.text.name,
                       value ? in_toml(value_of(option, *value)) : "", help_of(option.text));
  }
}

/// What is its default anyway says nothing.
template <ObjectSpec Spec>
void add_object(std::string& out, const Spec& spec) {
  out += fmt::format("\n[[{}]]\n", kind_of<Spec>().name);
  for (const Option<Spec>& option : kind_of<Spec>().options) {
    const auto value = option.get(spec);
    if (!value) continue;
    const Json written = value_of(option, *value);
    const std::string plain = written.is_string() ? written.get<std::string>() : written.dump();
    if (option.text.fallback == nullptr || plain != option.text.fallback)
      out += fmt::format("{} = {}\n", option.text.name, in_toml(written));
  }
}

template <ObjectSpec Spec>
void add_objects(std::string& out, const Inventory& inventory) {
  const Kind<Spec>& kind = kind_of<Spec>();
  out += fmt::format("\n# Of each [[{}]], {}:\n", kind.name, kind.what);
  for (const Option<Spec>& option : kind.options) {
    const bool is_required = option.text.fallback == nullptr;
    out += fmt::format("#   {}: {}{}\n", option.text.name, help_of(option.text), is_required ? " (required)" : "");
  }
  for (const Spec& spec : inventory.all<Spec>()) {
    if constexpr (std::is_same_v<Spec, SwitchSpec>) {  // the one that is there anyway
      if (differing_options(spec, SwitchSpec{.name = kDefaultSwitch}).empty()) continue;
    }
    add_object(out, spec);
  }
}

}  // namespace

std::string to_toml(const DaemonSpec& daemon, const Inventory& inventory) {
  std::string out =
      "# vmux.toml(5), as `vmuxctl config save` wrote it. Keys behind # are not set; what holds then is in "
      "parentheses.\n";
  add_table(out, "daemon", daemon_options(), daemon);
  add_table(out, "pollers", poller_options(), daemon.pollers);
  for_each_kind([&]<class Spec>() { add_objects<Spec>(out, inventory); });
  return out;
}

}  // namespace vmux::control
