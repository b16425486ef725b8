// SPDX-License-Identifier: BSD-3-Clause
// What the host toolkit found and did, as JSON for programs and as text for people.
#pragma once

#include <string>
#include <vector>

#include "app/vmuxctl/table.hpp"
#include "control/rpc/params.hpp"
#include "host/check/check.hpp"
#include "host/describe/description.hpp"
#include "host/look/function.hpp"
#include "host/session.hpp"

namespace vmux::app {

[[nodiscard]] control::Json json_of(const std::vector<host::Finding>& findings);
[[nodiscard]] Table table_of_findings(const control::Json& findings);

[[nodiscard]] control::Json json_of(const host::Machine& machine, const std::vector<host::PciFunction>& functions);
[[nodiscard]] Table table_of_functions(const control::Json& functions);

[[nodiscard]] control::Json json_of(const host::Report& report);
[[nodiscard]] std::string print_report(const control::Json& report);

[[nodiscard]] control::Json json_of(const host::Machine& machine, const host::PciFunction& physical,
                                    const std::vector<host::VfSettings>& settings);
[[nodiscard]] control::Json json_of(const host::Machine& machine, const std::vector<host::HugepagesInfo>& pages);
[[nodiscard]] control::Json json_of(const std::vector<host::IrqInfo>& irqs);
[[nodiscard]] Table table_of_vfs(const control::Json& vfs);
[[nodiscard]] Table table_of_hugepages(const control::Json& pages);
[[nodiscard]] Table table_of_irqs(const control::Json& irqs);

/// The description with the keys of its file, and as that file's text (`toml`).
[[nodiscard]] control::Json json_of(const host::Description& description);
[[nodiscard]] std::string print_saved(const control::Json& saved);

}  // namespace vmux::app
