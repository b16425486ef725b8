// SPDX-License-Identifier: BSD-3-Clause
// Errors as values: what the host or a peer refused, with static text and the errno behind it.
#pragma once

#include <cerrno>
#include <string>
#include <tl/expected.hpp>

namespace vmux {

enum class Errc : unsigned char {
  invalid_argument,  ///< the caller's values make no sense together
  not_found,         ///< the named thing does not exist
  already_exists,    ///< the named thing exists, or a range overlaps another
  out_of_range,      ///< an offset, index or size beyond its limit
  not_supported,     ///< understood, and not offered
  permission,        ///< the host refused
  no_space,          ///< memory, descriptors or a table is full
  busy,              ///< in use by someone else, try again later
  disconnected,      ///< the peer is gone
  protocol,          ///< the peer broke the protocol
  timed_out,         ///< no answer within the limit
  system,            ///< a system call failed, see `sys`
};

/// A failure. `what` is static text: a noun phrase or clause that fits after "cannot ...: ". `sys` is an errno or 0.
struct Error {
  Errc code = Errc::system;
  const char* what = "";
  int sys = 0;

  /// The errno that best carries this error over a wire that knows errnos only; never 0.
  [[nodiscard]] int as_errno() const noexcept;
  /// One line for people: `what`, and the system's words for `sys` when set.
  [[nodiscard]] std::string text() const;
};

template <class T = void>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, const char* what, int sys = 0) noexcept {
  return tl::unexpected<Error>(Error{code, what, sys});
}
/// A failed system call: reads errno.
[[nodiscard]] inline tl::unexpected<Error> fail_errno(const char* what) noexcept {
  return tl::unexpected<Error>(Error{Errc::system, what, errno});
}

}  // namespace vmux
