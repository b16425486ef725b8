// SPDX-License-Identifier: BSD-3-Clause
// From the command line to the environment of a program, and what can be said beforehand about why it would not work.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <vector>

namespace vmux::app {

struct LaunchOptions {
  std::vector<std::string> devices;  ///< "BDF=SOCKET"
  std::string library;               ///< empty: the one that belongs to this program
  bool trace = false, share_anonymous = false, strict_mmap = false, whole_bars = false;
  std::vector<std::string> command;
};

/// Why a program is not started: a sentence for people, and the exit status.
struct Obstacle {
  int status = 0;
  std::string sentence;
};
/// Where the program is at fault they are those of shells (POSIX.1-2017, Shell and Utilities, 2.8.2).
inline constexpr int kCannotWork = 1, kBadUsage = 2, kCannotRun = 126, kNotFound = 127;

/// The same options with absolute paths, so that they mean the same wherever the program goes, and with the library's:
/// seen from a program in the directory `bin`, if none is named.
[[nodiscard]] tl::expected<LaunchOptions, Obstacle> prepare(LaunchOptions options, const std::string& bin);
/// Sets the variables of the interposer and puts the library before LD_PRELOAD.
void set_environment(const LaunchOptions& options);

/// What the start of a file tells about it. A static one may be a shared library, too.
enum class ProgramKind { dynamic, static_elf, foreign_elf, script, unknown };
[[nodiscard]] ProgramKind kind_of(const std::string& path);
/// The file that execvp() would run, or one of that name that it would not, or nothing.
[[nodiscard]] std::string find_program(const std::string& name);

}  // namespace vmux::app
