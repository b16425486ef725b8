// SPDX-License-Identifier: BSD-3-Clause
// JSON-RPC 2.0: a line of text in, a line of text out. No I/O.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "control/model/spec/problem.hpp"
#include "control/rpc/params.hpp"
#include "control/rpc/roles.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::control {

/// Error codes: the specification's, section 5.1, and ours from its range for servers.
namespace rpc_code {
inline constexpr int parse_error = -32700;
inline constexpr int invalid_request = -32600;
inline constexpr int method_not_found = -32601;
inline constexpr int invalid_params = -32602;
inline constexpr int internal_error = -32603;
inline constexpr int not_found = -32001;
inline constexpr int already_exists = -32002;
inline constexpr int busy = -32003;
inline constexpr int not_supported = -32004;
inline constexpr int host = -32005;
inline constexpr int not_allowed = -32006;
inline constexpr int conflict = -32007;
}  // namespace rpc_code

/// Largest request line, newline not counted.
inline constexpr std::size_t kMaxRequest = 262'144;

class Methods;

/// The least role that may call a method; some only look without parameters, and change something with any.
struct Access {
  Role least = Role::admin;
  Role with_parameters = least;
  Role (*by_parameters)(const Methods& methods, const Json& params) = nullptr;  ///< if it depends on what they are
};

/// What the answer to a call waits for.
struct Wait {
  std::uint64_t ns = 0;           ///< at most; 0: for nothing
  std::function<bool()> is_over;  ///< asked by the server's poller in its rounds; whoever ends a wait wakes it
};

/// The methods a server answers to.
class Methods {
 public:
  using Handler = std::function<Outcome<Json>(const Json& params)>;
  /// `file` came with the request's line; none: nothing did.
  using FileHandler = std::function<Outcome<Json>(const Json& params, UniqueFd file)>;
  /// Gives one that came, the oldest first.
  using TakeFile = std::function<UniqueFd()>;
  using WaitFor = std::function<Wait(const Json& params)>;

  /// `wait_for`: what a call with these parameters waits for, if its caller may wait; null: no call waits.
  void add(std::string name, Handler handler, Access access = {}, WaitFor wait_for = nullptr) {
    methods_[std::move(name)] = {std::move(handler), access, std::move(wait_for), nullptr};
  }
  /// A method that is called with a file.
  void add_with_file(std::string name, FileHandler handler, Access access) {
    methods_[std::move(name)] = {nullptr, access, nullptr, std::move(handler)};
  }
  [[nodiscard]] bool has(const std::string& name) const { return methods_.find(name) != methods_.end(); }
  /// The least role for a call of a method that there is.
  [[nodiscard]] Role role_for(const std::string& name, const Json& params) const;
  [[nodiscard]] std::vector<std::string> names() const;
  /// Calls by name; a handler that throws is our defect and becomes a problem of kind host.
  [[nodiscard]] Outcome<Json> call(const std::string& name, const Json& params,
                                   const TakeFile& take_file = nullptr) const;
  /// The same for somebody else, whose user `on_caller` is told; until it returns, for calls in it, too.
  [[nodiscard]] Outcome<Json> call_for(std::optional<std::uint32_t> uid, const std::string& name, const Json& params,
                                       const TakeFile& take_file) const;
  /// Is told for whom calls are made; nullopt: nobody else any more.
  using OnCaller = std::function<void(std::optional<std::uint32_t> uid)>;
  void set_on_caller(OnCaller on_caller) { on_caller_ = std::move(on_caller); }
  /// What a call of a method that there is waits for.
  [[nodiscard]] Wait wait_of(const std::string& name, const Json& params) const;

 private:
  struct Method {
    Handler handler;
    Access access;
    WaitFor wait_for;
    FileHandler file_handler;  // in place of handler
  };
  std::map<std::string, Method> methods_;
  OnCaller on_caller_;
};

/// Who asks, and who is told of the calls that were made or refused (`needed`: what the call takes).
struct Asker {
  Role role = Role::admin;
  std::function<void(const std::string& method, const Json& params, Role needed, const Outcome<Json>& result)> on_call;
  Wait* wait = nullptr;  ///< where an answer may wait: set to what for, and then there is none yet
  Methods::TakeFile take_file;
  std::optional<std::uint32_t> uid = {};  ///< its user, if the kernel says
};

/// Answers one line: a request, a notification or a batch. Empty when there is nothing to say; else without newline.
[[nodiscard]] std::string answer(std::string_view line, const Methods& methods, const Asker& asker = {});
/// What is said to a line that is longer than kMaxRequest.
[[nodiscard]] std::string answer_too_long();
/// The last words to a client, which answer no request of it.
[[nodiscard]] std::string farewell(std::string why);

/// True when brackets nest deeper than those of any request or answer of ours: copying and freeing such a value
/// recurses.
[[nodiscard]] bool is_too_deep(std::string_view text) noexcept;

[[nodiscard]] int code_of(ProblemKind kind) noexcept;
/// The error object of a response, back to a problem.
[[nodiscard]] Problem problem_of(const Json& error);

/// One line of ASCII, so that nothing in it moves the cursor of a terminal: other characters are escaped as JSON has
/// it, and bytes that are not UTF-8 (a path may have them) are replaced.
[[nodiscard]] std::string to_line(const Json& json);

}  // namespace vmux::control
