// SPDX-License-Identifier: BSD-3-Clause
// What went wrong, as a sentence for the user. The rooms below return Error; here it becomes text.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "vmux/base/result.hpp"

namespace vmux::control {

enum class ProblemKind : unsigned char {
  invalid,         ///< the values asked for make no sense
  not_found,       ///< the named thing does not exist
  already_exists,  ///< the name, socket, address or device is taken
  busy,            ///< in use; remove its users first, or try again
  not_supported,   ///< known, and not built yet
  host,            ///< the machine refused (file, device, memory)
  not_allowed,     ///< the caller's role does not reach so far
  conflict,        ///< somebody else has changed it since
};

struct Problem {
  ProblemKind kind = ProblemKind::invalid;
  std::string field;  ///< the parameter at fault ("socket"), or empty
  std::string text;   ///< one sentence without a full stop, which follows "field: " or stands alone
};

template <class T = void>
using Outcome = tl::expected<T, Problem>;

[[nodiscard]] inline tl::unexpected<Problem> refuse(ProblemKind kind, std::string field, std::string text) {
  return tl::unexpected<Problem>(Problem{kind, std::move(field), std::move(text)});
}

/// An Error from below with what was being done: "cannot listen on /run/x.sock: Permission denied".
[[nodiscard]] tl::unexpected<Problem> refuse(std::string field, const std::string& doing, const Error& error);

[[nodiscard]] ProblemKind kind_of(Errc code) noexcept;
/// "field: text", or the text alone.
[[nodiscard]] std::string text_of(const Problem& problem);
/// The name of a kind as programs see it ("not_found").
[[nodiscard]] const char* name_of(ProblemKind kind) noexcept;

}  // namespace vmux::control
