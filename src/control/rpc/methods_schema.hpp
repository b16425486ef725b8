// SPDX-License-Identifier: BSD-3-Clause
// The method rpc.schema.
#pragma once

#include "control/rpc/json_rpc.hpp"

namespace vmux::control {

/// Tells of those that there are when it is called. `methods` must outlive it.
void add_schema_method(Methods& methods);

}  // namespace vmux::control
