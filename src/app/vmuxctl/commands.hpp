// SPDX-License-Identifier: BSD-3-Clause
// The commands of vmuxctl as a table: what they are called, what they take, which method they call, how people see the
// result.
#pragma once

#include <span>
#include <string>

#include "app/vmuxctl/table.hpp"
#include "control/rpc/params.hpp"

namespace vmux::app {

enum class Take : unsigned char {
  text,
  number,
  flag,  ///< true or false
  path,
  yes,    ///< no value: true when given
  names,  ///< one or more; each makes a call of its own
};

struct Argument {
  const char* option;  ///< "--model", or "NAME" for one without dashes
  const char* param;   ///< its name in the call
  Take take;
  bool is_required;
  const char* type;  ///< in --help
  const char* help;
};

struct Command {
  const char* group;  ///< "port", or empty for a command of the first level
  const char* name;
  const char* method;
  std::span<const Argument> arguments;
  std::string (*print)(const control::Json& result);  ///< null: always a table
  Table (*table)(const control::Json& result);        ///< null: never one
  const char* help;
};

[[nodiscard]] std::span<const Command> commands() noexcept;

}  // namespace vmux::app
