// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/params.hpp"

#include <sys/un.h>

#include <algorithm>
#include <limits>

#include "base/text/format.hpp"
#include "base/text/words.hpp"

namespace vmux::control {
namespace {

const Json kNothing = Json::object();

/// A value as it was written, cut to what fits in a message.
std::string quote(const Json& value) {
  std::string text =
      value.is_structured() ? value.type_name() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 80) text.replace(77, text.npos, "...");
  return text;
}

}  // namespace

Params::Params(const Json& object) : object_(object.is_null() ? kNothing : object) {
  if (!object_.is_object()) reject(ProblemKind::invalid, "", "expected an object of named parameters");
}

void Params::reject(ProblemKind kind, std::string key, std::string text) {
  if (!first_) first_ = Problem{kind, std::move(key), std::move(text)};
}

void Params::expected(const char* key, std::string_view what, const Json& got) {
  reject(ProblemKind::invalid, key, fmt::format("expected {}, got {}", what, quote(got)));
}

const Json* Params::take(const char* key) {
  asked_.emplace_back(key);
  if (!object_.is_object()) return nullptr;
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool Params::is_null(const char* key) const {
  const auto found = object_.is_object() ? object_.find(key) : object_.end();
  return found != object_.end() && found->is_null();
}

std::optional<std::string> Params::text(const char* key) {
  const Json* const value = take(key);
  if (value == nullptr) return std::nullopt;
  const auto* const text = value->get_ptr<const std::string*>();
  if (text == nullptr || text->empty() || text->find('\0') != std::string::npos) {
    expected(key, "text", *value);
    return std::nullopt;
  }
  return *text;
}

std::optional<std::uint64_t> Params::number(const char* key, std::uint64_t min, std::uint64_t max) {
  const Json* const value = take(key);
  if (value == nullptr) return std::nullopt;
  const bool is_natural =
      value->is_number_unsigned() || (value->is_number_integer() && value->get<std::int64_t>() >= 0);
  if (!is_natural || value->get<std::uint64_t>() < min || value->get<std::uint64_t>() > max) {
    expected(key, fmt::format("a number from {} to {}", min, max), *value);
    return std::nullopt;
  }
  return value->get<std::uint64_t>();
}

std::optional<bool> Params::flag(const char* key) {
  const Json* const value = take(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) {
    expected(key, "true or false", *value);
    return std::nullopt;
  }
  return value->get<bool>();
}

template <class T>
std::optional<T> Params::parsed(const char* key, Parsed<T> (*parse)(std::string_view)) {
  const auto written = text(key);
  if (!written) return std::nullopt;
  auto value = parse(*written);
  if (!value) {
    expected(key, value.error(), Json(*written));
    return std::nullopt;
  }
  return std::move(*value);
}

std::optional<Value> Params::value_if_given(const OptionText& option) {
  const char* const key = option.name;
  const auto as_value = [](auto value) { return value ? std::optional<Value>{std::move(*value)} : std::nullopt; };
  switch (option.form) {
    case Form::text:
    case Form::path:
      return as_value(text(key));
    case Form::name:
      return as_value(name(key));
    case Form::number:
      return as_value(number(key, option.min, option.max));
    case Form::flag:
      return as_value(flag(key));
    case Form::mac:
      return as_value(parsed(key, &parse_mac));
    case Form::doorbell:
      return as_value(doorbell(key));
    case Form::link:
      return as_value(link(key));
    case Form::user:
      return as_value(account(key, &find_user));
    case Form::group:
      return as_value(account(key, &find_group));
    case Form::mode:
      return as_value(mode(key));
    case Form::vlans:
      return as_value(parsed(key, &parse_vlan_list));
    case Form::static_macs:
      return as_value(parsed(key, &parse_static_macs));
    case Form::mirror:
      return as_value(parsed(key, &parse_mirror));
    case Form::limit:
      return as_value(parsed(key, &parse_limit));
    case Form::addresses:
      return as_value(parsed(key, &parse_addresses));
    case Form::mac_match:
      return as_value(parsed(key, &parse_mac_match));
    case Form::prefix:
      return as_value(parsed(key, &parse_prefix));
    case Form::l4_ports:
      return as_value(parsed(key, &parse_l4_ports));
    case Form::ethertype:
      return as_value(parsed(key, &parse_ethertype));
    case Form::protocol:
      return as_value(parsed(key, &parse_ip_protocol));
    case Form::rule_action:
      return as_value(parsed(key, &parse_rule_action));
    case Form::way:
      return as_value(parsed(key, &parse_rule_way));
    case Form::translations:
      return as_value(parsed(key, &parse_translations));
    case Form::services:
      return as_value(parsed(key, &parse_services));
    case Form::cpus:
      return as_value(cpus(key));
    case Form::members:
      return as_value(parsed(key, &parse_members));
    case Form::log_level:
      return as_value(log_level(key));
    case Form::calls:
      break;
  }
  return std::nullopt;
}

std::optional<Value> Params::value(const OptionText& option) {
  auto found = value_if_given(option);
  if (!found && option.fallback == nullptr) reject(ProblemKind::invalid, option.name, "is missing");
  return found;
}

std::optional<Doorbell> Params::doorbell(const char* key) {
  const auto written = text(key);
  if (!written) return std::nullopt;
  if (*written == "poll") return Doorbell::poll;
  if (*written == "trap") return Doorbell::trap;
  expected(key, "poll or trap", Json(*written));
  return std::nullopt;
}

std::optional<Link> Params::link(const char* key) {
  const auto written = text(key);
  if (!written) return std::nullopt;
  if (*written == "up") return Link::up;
  if (*written == "down") return Link::down;
  expected(key, "up or down", Json(*written));
  return std::nullopt;
}

std::optional<LogLevel> Params::log_level(const char* key) {
  const auto written = text(key);
  if (!written) return std::nullopt;
  const auto level = parse_log_level(*written);
  if (!level) expected(key, fmt::format("one of {}", kLogLevels), Json(*written));
  return level;
}

std::optional<std::vector<unsigned>> Params::cpus(const char* key) {
  const Json* const value = take(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return parsed(key, &parse_cpu_list);
  std::string list;  // [2, 4] reads as "2,4"
  for (const Json& cpu : value->is_array() ? *value : Json::array())
    list += (list.empty() ? "" : ",") + cpu.dump();
  auto numbers = parse_cpu_list(list);
  if (!numbers) {
    expected(key, numbers.error(), *value);
    return std::nullopt;
  }
  return std::move(*numbers);
}

std::optional<Account> Params::account(const char* key, Parsed<Account> (*find)(std::string_view)) {
  const Json* const value = take(key);
  if (value == nullptr) return std::nullopt;
  const auto* const text = value->get_ptr<const std::string*>();
  const std::string written = text != nullptr ? *text : value->is_number_integer() ? value->dump() : "";
  auto found = find(written);
  if (!found || written.empty() || written.find('\0') != std::string::npos) {
    expected(key, found ? "text" : found.error(), *value);
    return std::nullopt;
  }
  return std::move(*found);
}

std::optional<std::uint64_t> Params::mode(const char* key) {
  const Json* const value = take(key);
  if (value == nullptr) return std::nullopt;
  const auto* const text = value->get_ptr<const std::string*>();
  const auto mode = text == nullptr ? std::nullopt : parse_mode(*text);
  if (!mode) expected(key, kModeRule, *value);
  return mode;
}

std::optional<std::string> Params::name(const char* key) {
  auto written = text(key);
  if (written && !is_name(*written)) {
    expected(key, kNameRule, Json(*written));
    return std::nullopt;
  }
  return written;
}

std::string Params::required_name(const char* key) {
  auto written = name(key);
  if (!written) reject(ProblemKind::invalid, key, "is missing");
  return written.value_or("");
}

Outcome<> check_socket_path(const char* field, const std::string& path) {
  constexpr std::size_t kMost = sizeof(sockaddr_un::sun_path) - 1;  // unix(7)
  if (path.size() > kMost) {
    return refuse(ProblemKind::invalid, field,
                  fmt::format("expected a path of at most {} bytes, got {}", kMost, path.size()));
  }
  if (path.back() != '/') return {};
  return refuse(ProblemKind::invalid, field, fmt::format("expected the path of a file, got {}", path));
}

Outcome<> Params::problem() const {
  if (first_) return tl::unexpected<Problem>(*first_);
  return {};
}

Outcome<> Params::finish() {
  if (object_.is_object()) {
    for (const auto& member : object_.items()) {
      if (std::find(asked_.begin(), asked_.end(), member.key()) != asked_.end()) continue;
      std::string known = fmt::format("{}", fmt::join(asked_, ", "));
      reject(ProblemKind::invalid, member.key().substr(0, 80),
             asked_.empty() ? "is not a parameter here: there are none"
                            : fmt::format("is not a parameter here; there are: {}{}", known,
                                          did_you_mean(member.key(), {asked_.begin(), asked_.end()})));
    }
  }
  return problem();
}

Outcome<std::string> name_only(const Json& object) {
  Params params{object};
  std::string name = params.required_name("name");
  if (auto done = params.finish(); !done) return tl::unexpected<Problem>(done.error());
  return name;
}

namespace {

struct ToJson {
  Form form;
  Json operator()(std::uint64_t number) const {
    return form == Form::mode ? Json(mode_text(static_cast<unsigned>(number))) : Json(number);
  }
  Json operator()(const std::string& text) const { return text; }
  Json operator()(bool flag) const { return flag; }
  Json operator()(const Account& account) const { return account.name; }
  template <class T>
  Json operator()(const T& value) const {
    return to_text(value);
  }
};

}  // namespace

Json to_json(const OptionText& option, const Value& value) { return std::visit(ToJson{option.form}, value); }

Json from_word(Form form, const std::string& written) {
  if (form == Form::number) {
    if (const auto number = parse_number(written, ~0ull)) return *number;
  }
  if (form == Form::flag && (written == "true" || written == "false")) return written == "true";
  return written;
}

}  // namespace vmux::control
