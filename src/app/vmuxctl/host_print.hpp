// SPDX-License-Identifier: BSD-3-Clause
// What the host toolkit found and did, as JSON for programs and as text for people.
#pragma once

#include <string>
#include <vector>

#include "control/params.hpp"
#include "host/check.hpp"
#include "host/function.hpp"
#include "host/session.hpp"

namespace vmux::app {

[[nodiscard]] control::Json json_of(const std::vector<host::Finding>& findings);
[[nodiscard]] std::string print_findings(const control::Json& findings);

[[nodiscard]] control::Json json_of(const host::Machine& machine, const std::vector<host::PciFunction>& functions);
[[nodiscard]] std::string print_functions(const control::Json& functions);

[[nodiscard]] control::Json json_of(const host::Report& report);
[[nodiscard]] std::string print_report(const control::Json& report);

}  // namespace vmux::app
