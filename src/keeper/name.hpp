// SPDX-License-Identifier: BSD-3-Clause
// What a process is called: by `ps`, and by whoever kills daemons by name and must not hit those that keep them.
#pragma once

namespace vmux::keeper {

/// The name of the thread that calls, `name` (15 characters), and the first word of the command line, as much of `word`
/// as fits into the word that is there.
void show_name(const char* name, const char* word) noexcept;

}  // namespace vmux::keeper
