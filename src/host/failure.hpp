// SPDX-License-Identifier: BSD-3-Clause
// What could not be done, as a sentence for the operator: this room's failures name devices, files and the command that
// helps, so static text does not do.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "vmux/base/result.hpp"

namespace vmux::host {

struct Failure {
  Errc code = Errc::invalid_argument;
  std::string text;  ///< one sentence (or more) without a full stop at its end
};

template <class T = void>
using Outcome = tl::expected<T, Failure>;

[[nodiscard]] inline tl::unexpected<Failure> refuse(Errc code, std::string text) {
  return tl::unexpected<Failure>(Failure{code, std::move(text)});
}

/// An Error from below with what was being done: "cannot write 4 to /sys/...: Device or resource busy". What root alone
/// may do says so.
[[nodiscard]] tl::unexpected<Failure> refuse(const std::string& doing, const Error& error);

}  // namespace vmux::host
