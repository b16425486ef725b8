// SPDX-License-Identifier: BSD-3-Clause
// vmuxctl capture: frames from the daemon, through a socket, to a file of whoever calls.
#pragma once

#include <functional>
#include <string>

#include "app/vmuxctl/cli.hpp"
#include "vmux/base/unique_fd.hpp"

namespace vmux::app {

inline constexpr const char* kCapture = "capture.start";

/// Makes a call of the daemon over a connection of its own, for which it waits as the command line says. `file` goes
/// with it; -1: none does.
using AskWithFile =
    std::function<control::Outcome<control::Json>(const std::string& method, const control::Json& params, int file)>;

/// Starts a capture and writes what comes to `to` until it ends: by itself, or because this process is interrupted
/// (SIGINT, SIGTERM; a second one kills it), or because nobody reads `to` any more. The capture as it ended, with
/// "bytes". A problem: it could not be started, or `to` (by its `name`) could not be written. Changes what signals do.
[[nodiscard]] control::Outcome<control::Json> capture_to(int to, const std::string& name, const control::Json& params,
                                                         const AskWithFile& ask);

/// The whole command.
[[nodiscard]] Exit capture(const Call& call, const AskWithFile& ask);

/// "12 frames of vm0, 3 missed: its reader wanted no more"
[[nodiscard]] std::string text_of_capture(const control::Json& capture);
/// Whether it ended as whoever asked for it wanted.
[[nodiscard]] bool is_complete(const control::Json& capture);

}  // namespace vmux::app
