// SPDX-License-Identifier: BSD-3-Clause
#include "control/rpc/params.hpp"

#include <sys/un.h>

#include <algorithm>
#include <limits>

#include "base/format.hpp"
#include "base/words.hpp"

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

std::optional<MacAddress> Params::mac(const char* key) { return parsed(key, &parse_mac); }

std::optional<Doorbell> Params::doorbell(const char* key) {
  const auto written = text(key);
  if (!written) return std::nullopt;
  if (*written == "poll") return Doorbell::poll;
  if (*written == "trap") return Doorbell::trap;
  expected(key, "poll or trap", Json(*written));
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

SocketAccess Params::access(const AccessKeys& keys) {
  SocketAccess access;
  access.owner = account(keys.owner, &find_user);
  access.group = account(keys.group, &find_group);
  const Json* const mode = take(keys.mode);
  if (mode == nullptr) return access;
  const auto* const text = mode->get_ptr<const std::string*>();
  access.mode = text == nullptr ? std::nullopt : parse_mode(*text);
  if (!access.mode) expected(keys.mode, kModeRule, *mode);
  return access;
}

std::optional<Members> Params::members(const char* key) { return parsed(key, &parse_members); }

VlanSpec Params::vlan() {
  const auto access = number("vlan", 1, kMaxVlan);
  const Json* const trunk = take("trunk");
  const auto native = number("native", 1, kMaxVlan);
  VlanSpec spec;
  if (access && (trunk != nullptr || native)) {
    reject(ProblemKind::invalid, "vlan", "excludes trunk and native: a port is an access port or a trunk");
  }
  if (native && trunk == nullptr)
    reject(ProblemKind::invalid, "native", "goes with trunk only; an access port has vlan");
  if (access) {
    spec.mode = VlanSpec::Mode::access;
    spec.native = static_cast<std::uint16_t>(*access);
  }
  if (trunk == nullptr) return spec;
  spec.mode = VlanSpec::Mode::trunk;
  if (native) spec.native = static_cast<std::uint16_t>(*native);
  if (auto list = parsed("trunk", &parse_vlan_list)) spec.allowed = std::move(*list);
  return spec;
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

std::string Params::required_text(const char* key) {
  auto written = text(key);
  if (!written) reject(ProblemKind::invalid, key, "is missing");
  return written.value_or("");
}

const Json* Params::object(const char* key) {
  const Json* const value = take(key);
  if (value != nullptr && !value->is_object()) expected(key, "an object", *value);
  return value != nullptr && value->is_object() ? value : nullptr;
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
  if (first_) return tl::unexpected<Problem>(*first_);
  return {};
}

}  // namespace vmux::control
