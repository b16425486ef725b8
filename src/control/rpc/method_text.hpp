// SPDX-License-Identifier: BSD-3-Clause
// What people and programs are told of each method: rpc.schema, the help and the completion of vmuxctl, and the
// reference page come from here. No handler: those are in methods*.cpp, and a test holds the two together.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "control/model/spec/option.hpp"
#include "control/rpc/params.hpp"

namespace vmux::control {

struct MethodText {
  std::string name;
  std::string help;                ///< what it does, half a sentence
  std::vector<OptionText> params;  ///< by name
  std::string result;              ///< what it answers with, in words
};

/// In the order of their names.
[[nodiscard]] std::span<const MethodText> method_texts();
/// nullptr: there is none of that name.
[[nodiscard]] const MethodText* find_method(std::string_view name);
/// Of a method that there is; of a parameter that it has.
[[nodiscard]] const OptionText& find_param(std::string_view method, std::string_view param);

/// A value of an option as JSON Schema (draft 2020-12) has it, with what holds when it is left out in words.
[[nodiscard]] Json schema_of(const OptionText& option);

}  // namespace vmux::control
