// SPDX-License-Identifier: BSD-3-Clause
// From the command line to the environment of a program, and what can be said beforehand about why it would not work.
#pragma once

#include <string>
#include <vector>

#include "vmux/base/result.hpp"

namespace vmux::app {

struct LaunchOptions {
  std::vector<std::string> devices;  ///< "BDF=SOCKET"
  std::string library;               ///< empty: the one that belongs to this program
  bool trace = false, share_anonymous = false, strict_mmap = false, whole_bars = false;
  std::vector<std::string> command;
};

/// A sentence for people about what is wrong, or empty.
[[nodiscard]] std::string problem_with(const LaunchOptions& options);
/// Where libvmux-vfio.so is, seen from a program in `bin`; empty when it is not there.
[[nodiscard]] std::string find_library(const std::string& bin);
/// Sets the variables of the interposer and puts the library before LD_PRELOAD.
void set_environment(const LaunchOptions& options, const std::string& library);

/// What the start of a file tells about it.
enum class ProgramKind { dynamic, static_elf, script, unknown };
[[nodiscard]] ProgramKind kind_of(const std::string& path);
/// The file that execvp() would run, or empty.
[[nodiscard]] std::string find_program(const std::string& name);

}  // namespace vmux::app
