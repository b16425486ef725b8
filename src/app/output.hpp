// SPDX-License-Identifier: BSD-3-Clause
// The last step of every program: did what it has to say arrive? A description that is cut off by a full disk must not
// count as saved, and stdio tells of that when it empties its buffer, if anybody asks.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace vmux::app {

/// The exit status: the one given, or, where `out` did not take everything (a full disk, a closed pipe), one that is
/// not 0 and a sentence on `err`.
[[nodiscard]] inline int finish(const char* program, int status, std::FILE* out, std::FILE* err) {
  const bool was_good = std::ferror(out) == 0;
  errno = was_good ? 0 : EIO;
  if (std::fflush(out) == 0 && was_good) return status;
  std::fprintf(err, "%s: cannot write the output: %s\n", program, std::strerror(errno));
  return status == 0 ? 1 : status;
}

/// Writes all of `text`, and the same.
[[nodiscard]] inline int print_and_finish(const char* program, const char* text, int status, std::FILE* out,
                                          std::FILE* err) {
  errno = 0;
  if (std::fputs(text, out) >= 0) return finish(program, status, out, err);
  std::fprintf(err, "%s: cannot write the output: %s\n", program, std::strerror(errno));
  return status == 0 ? 1 : status;
}

}  // namespace vmux::app
