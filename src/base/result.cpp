// SPDX-License-Identifier: BSD-3-Clause
#include "vmux/base/result.hpp"

#include <cstring>

namespace vmux {

int Error::as_errno() const noexcept {
  if (sys > 0) return sys;
  switch (code) {
    case Errc::invalid_argument:
      return EINVAL;
    case Errc::not_found:
      return ENOENT;
    case Errc::already_exists:
      return EEXIST;
    case Errc::out_of_range:
      return EINVAL;
    case Errc::not_supported:
      return ENOTSUP;
    case Errc::permission:
      return EACCES;
    case Errc::no_space:
      return ENOSPC;
    case Errc::busy:
      return EBUSY;
    case Errc::disconnected:
      return ECONNRESET;
    case Errc::protocol:
      return EPROTO;
    case Errc::timed_out:
      return ETIMEDOUT;
    case Errc::system:
      return EIO;
  }
  return EIO;
}

std::string Error::text() const {
  std::string line = what;
  if (sys == 0) return line;
  char words[128];
  return line + ": " + ::strerror_r(sys, words, sizeof words);  // GNU's, which returns the text
}

}  // namespace vmux
