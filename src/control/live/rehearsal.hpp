// SPDX-License-Identifier: BSD-3-Clause
// Whether this program could go on with what a daemon that runs has: asked before an upgrade stops anything.
#pragma once

#include <string>

#include "control/model/catalogue.hpp"
#include "keeper/lifeline.hpp"

namespace vmux::control {

/// What would be carried over, in a sentence; or, as an error, what could not be and why. Nothing is changed, and
/// nobody notices.
[[nodiscard]] tl::expected<std::string, std::string> rehearse_take_over(const Catalogue& catalogue,
                                                                        const keeper::Lifeline& lifeline);

/// Of a daemon that is gone, with nobody to go on: clients read the end of their streams, and no reset, of which some
/// VMMs die.
void end_all_sessions(const Catalogue& catalogue, const keeper::Lifeline& lifeline);

}  // namespace vmux::control
