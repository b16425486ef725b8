// SPDX-License-Identifier: BSD-3-Clause
// For the tests that replay the seeds: what is checked after each step of an input, and is too slow for fuzzing.
#pragma once

namespace vmux::fuzz {

inline bool checks_each_step = false;
inline unsigned steps_checked = 0;

}  // namespace vmux::fuzz
