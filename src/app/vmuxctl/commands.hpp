// SPDX-License-Identifier: BSD-3-Clause
// The commands of vmuxctl as a table: what they are called, what they take, which method they call, how people see the
// result.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "app/vmuxctl/table.hpp"
#include "control/model/spec/option.hpp"
#include "control/rpc/params.hpp"

namespace vmux::app {

struct Call;
struct Exit;

/// Makes a call of the daemon.
using AskAny = std::function<control::Outcome<control::Json>(const std::string& method, const control::Json& params)>;
/// Prints what comes as it comes; false: nobody reads any more.
using Out = std::function<bool(const std::string& lines)>;

enum class Take : unsigned char {
  value,     ///< of its form
  yes,       ///< no value: true when given
  names,     ///< one or more; each makes a call of its own
  follow,    ///< no value, and no parameter: the call is made again and again
  file,      ///< a path, and no parameter: Command::file says what for
  local,     ///< a value for vmuxctl itself, and no parameter
  settings,  ///< one or more of KEY=VALUE, of the options of a kind; KEY= for what holds when it is left out
};

/// What a command does with a file of the caller's, which the daemon is not told of.
enum class FileUse : unsigned char { none, keeps_result, is_input };

struct Argument {
  std::string option;  ///< "--model", or "NAME" for one without dashes
  std::string param;   ///< its name in the call
  Take take = Take::value;
  bool is_required = false;
  std::string type;  ///< in --help
  std::string help;
  control::Form form = control::Form::text;
  std::vector<const control::OptionText*> keys = {};  ///< of settings
};

struct Command {
  std::string group;  ///< "port", or empty for a command of the first level
  std::string name;
  std::string method;
  std::vector<Argument> arguments;
  std::string (*print)(const control::Json& result);  ///< null: always a table
  Table (*table)(const control::Json& result);        ///< null: never one
  std::string help;
  FileUse file = FileUse::none;
  /// Of a command that is more than one call; null: `method` is called, and the result printed.
  Exit (*run)(const Call& call, const AskAny& ask, const Out& out) = nullptr;
  /// Given, and only then, `run` is what it says: "--watch". Empty: always.
  std::string run_when = {};
};

/// Those of each kind of object first, whose arguments are the options of its kind (control/model/spec/kinds.hpp).
[[nodiscard]] std::span<const Command> commands() noexcept;

}  // namespace vmux::app
