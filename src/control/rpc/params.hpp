// SPDX-License-Identifier: BSD-3-Clause
// Reads the parameters of a call out of JSON, strictly: a wrong type, an odd value or an unknown name is a problem that
// names the parameter and what was expected.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/model/problem.hpp"
#include "control/model/spec.hpp"

namespace vmux::control {

/// Members keep the order in which they were written, for people who read the output.
using Json = nlohmann::ordered_json;

/// What says who may connect to a socket.
struct AccessKeys {
  const char *owner, *group, *mode;
};
inline constexpr AccessKeys kPortAccess{"socket_owner", "socket_group", "socket_mode"};
inline constexpr AccessKeys kRpcAccess{"rpc_owner", "rpc_group", "rpc_mode"};

/// One object of parameters, read member by member. The first problem is kept and told by finish(); until then getters
/// answer with nothing.
class Params {
 public:
  /// `object` must outlive the reader; null counts as an object without members.
  explicit Params(const Json& object);

  std::optional<std::string> text(const char* key);
  std::optional<std::uint64_t> number(const char* key, std::uint64_t min, std::uint64_t max);
  std::optional<bool> flag(const char* key);
  std::optional<MacAddress> mac(const char* key);
  std::optional<Doorbell> doorbell(const char* key);
  std::optional<LogLevel> log_level(const char* key);
  std::optional<std::vector<unsigned>> cpus(const char* key);
  SocketAccess access(const AccessKeys& keys);
  std::optional<Members> members(const char* key);
  /// `vlan`, `trunk` and `native`, which exclude each other in part.
  VlanSpec vlan();
  /// A name of a port, switch or uplink.
  std::optional<std::string> name(const char* key);
  /// The same, and a problem when it is missing.
  std::string required_name(const char* key);
  std::string required_text(const char* key);
  /// A member that is an object itself, or nullptr.
  const Json* object(const char* key);

  void reject(ProblemKind kind, std::string key, std::string text);
  /// The first problem; a member that nobody asked for is one.
  [[nodiscard]] Outcome<> finish();

 private:
  const Json* take(const char* key);
  void expected(const char* key, std::string_view what, const Json& got);
  template <class T>
  std::optional<T> parsed(const char* key, Parsed<T> (*parse)(std::string_view));
  std::optional<Account> account(const char* key, Parsed<Account> (*find)(std::string_view));

  const Json& object_;
  std::vector<std::string_view> asked_;
  std::optional<Problem> first_;
};

/// Whether a UNIX socket can have this path; `field` is who says so.
[[nodiscard]] Outcome<> check_socket_path(const char* field, const std::string& path);

[[nodiscard]] Outcome<SwitchSpec> switch_spec(const Json& params);
[[nodiscard]] Outcome<UplinkSpec> uplink_spec(const Json& params);
[[nodiscard]] Outcome<PortSpec> port_spec(const Json& params);
/// {"name": NAME} and nothing else.
[[nodiscard]] Outcome<std::string> name_only(const Json& params);
/// The same with one more member, which says whether it is no problem that the thing is there already, or that it is
/// not ("may_exist" of what is added, "if_exists" of what is removed).
[[nodiscard]] Outcome<SwitchSpec> switch_spec(const Json& params, bool& may_exist);
[[nodiscard]] Outcome<UplinkSpec> uplink_spec(const Json& params, bool& may_exist);
[[nodiscard]] Outcome<PortSpec> port_spec(const Json& params, bool& may_exist);
[[nodiscard]] Outcome<std::string> name_only(const Json& params, bool& if_exists);

/// The same members that the readers above take, with what was left out left out.
[[nodiscard]] Json to_json(const SwitchSpec& spec);
[[nodiscard]] Json to_json(const UplinkSpec& spec);
[[nodiscard]] Json to_json(const PortSpec& spec);
void add_vlan(Json& object, const VlanSpec& vlan);
void add_access(Json& object, const SocketAccess& access, const AccessKeys& keys);

}  // namespace vmux::control
