// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/spec/problem.hpp"

namespace vmux::control {

ProblemKind kind_of(Errc code) noexcept {
  switch (code) {
    case Errc::invalid_argument:
    case Errc::out_of_range:
      return ProblemKind::invalid;
    case Errc::not_found:
      return ProblemKind::not_found;
    case Errc::already_exists:
      return ProblemKind::already_exists;
    case Errc::not_supported:
      return ProblemKind::not_supported;
    case Errc::busy:
      return ProblemKind::busy;
    case Errc::permission:
    case Errc::no_space:
    case Errc::disconnected:
    case Errc::protocol:
    case Errc::timed_out:
    case Errc::system:
      return ProblemKind::host;
  }
  return ProblemKind::host;
}

tl::unexpected<Problem> refuse(std::string field, const std::string& doing, const Error& error) {
  return refuse(kind_of(error.code), std::move(field), "cannot " + doing + ": " + error.text());
}

std::string text_of(const Problem& problem) {
  return problem.field.empty() ? problem.text : problem.field + ": " + problem.text;
}

const char* name_of(ProblemKind kind) noexcept {
  switch (kind) {
    case ProblemKind::invalid:
      return "invalid";
    case ProblemKind::not_found:
      return "not_found";
    case ProblemKind::already_exists:
      return "already_exists";
    case ProblemKind::busy:
      return "busy";
    case ProblemKind::not_supported:
      return "not_supported";
    case ProblemKind::host:
      return "host";
    case ProblemKind::not_allowed:
      return "not_allowed";
    case ProblemKind::conflict:
      return "conflict";
  }
  return "host";
}

}  // namespace vmux::control
