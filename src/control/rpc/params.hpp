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

#include "control/model/spec/option.hpp"
#include "control/model/spec/problem.hpp"
#include "control/model/spec/spec.hpp"

namespace vmux::control {

/// Members keep the order in which they were written, for people who read the output.
using Json = nlohmann::ordered_json;

/// One object of parameters, read member by member. The first problem is kept and told by finish(); until then getters
/// answer with nothing.
class Params {
 public:
  /// `object` must outlive the reader; null counts as an object without members.
  explicit Params(const Json& object);

  /// Of the option's form; a problem when it is missing and may not be.
  std::optional<Value> value(const OptionText& option);
  /// The same where it may always be missing.
  std::optional<Value> value_if_given(const OptionText& option);
  /// A parameter that the caller reads: finish() knows of it.
  void ask(const char* key) { asked_.emplace_back(key); }
  /// Whether it is there and null.
  [[nodiscard]] bool is_null(const char* key) const;
  std::optional<std::string> text(const char* key);
  std::optional<std::uint64_t> number(const char* key, std::uint64_t min, std::uint64_t max);
  std::optional<bool> flag(const char* key);
  std::optional<LogLevel> log_level(const char* key);
  std::optional<std::vector<unsigned>> cpus(const char* key);
  /// A name of a port, switch or uplink.
  std::optional<std::string> name(const char* key);
  /// The same, and a problem when it is missing.
  std::string required_name(const char* key);

  void reject(ProblemKind kind, std::string key, std::string text);
  /// The first problem so far.
  [[nodiscard]] Outcome<> problem() const;
  /// The first problem; a member that nobody asked for is one.
  [[nodiscard]] Outcome<> finish();

 private:
  const Json* take(const char* key);
  void expected(const char* key, std::string_view what, const Json& got);
  template <class T>
  std::optional<T> parsed(const char* key, Parsed<T> (*parse)(std::string_view));
  std::optional<Doorbell> doorbell(const char* key);
  std::optional<Link> link(const char* key);
  std::optional<std::uint64_t> mode(const char* key);
  std::optional<Account> account(const char* key, Parsed<Account> (*find)(std::string_view));

  const Json& object_;
  std::vector<std::string_view> asked_;
  std::optional<Problem> first_;
};

/// Whether a UNIX socket can have this path; `field` is who says so.
[[nodiscard]] Outcome<> check_socket_path(const char* field, const std::string& path);

/// {"name": NAME} and nothing else.
[[nodiscard]] Outcome<std::string> name_only(const Json& params);

/// A value as results have it, which is as it can be written.
[[nodiscard]] Json to_json(const OptionText& option, const Value& value);
/// A word of a command line as the parameter that it stands for: numbers and flags are what they look like, all else is
/// text and judged by whoever reads it.
[[nodiscard]] Json from_word(Form form, const std::string& written);

}  // namespace vmux::control
