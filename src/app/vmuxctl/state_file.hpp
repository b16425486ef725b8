// SPDX-License-Identifier: BSD-3-Clause
// Files of whoever calls vmuxctl. The daemon neither opens one nor waits for one: it gets memory, which is filled from
// the file before, or written to it afterwards.
#pragma once

#include <functional>

#include "app/vmuxctl/cli.hpp"

namespace vmux::app {

/// Makes the call with the memory that goes with it (-1: none does), and adds the file's name to the result.
[[nodiscard]] control::Outcome<control::Json> with_file(
    const Call& call, const std::function<control::Outcome<control::Json>(int file)>& ask);

}  // namespace vmux::app
