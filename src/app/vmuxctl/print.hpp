// SPDX-License-Identifier: BSD-3-Clause
// Results of calls, as people read them: a table of a list, or whole lines. Pure; a member that is missing prints as
// "-".
#pragma once

#include <string>

#include "app/vmuxctl/table.hpp"
#include "control/rpc/params.hpp"

namespace vmux::app {

[[nodiscard]] std::string print_port(const control::Json& port);
[[nodiscard]] Table table_of_ports(const control::Json& ports);
[[nodiscard]] std::string print_stats(const control::Json& stats);
[[nodiscard]] Table table_of_stats(const control::Json& stats);
[[nodiscard]] std::string print_switch(const control::Json& found);
[[nodiscard]] std::string print_switch_added(const control::Json& added);
[[nodiscard]] Table table_of_switches(const control::Json& switches);
[[nodiscard]] std::string print_uplink(const control::Json& uplink);
[[nodiscard]] std::string print_rule(const control::Json& rule);
[[nodiscard]] Table table_of_rules(const control::Json& rules);
[[nodiscard]] std::string print_rules_flushed(const control::Json& flushed);
[[nodiscard]] Table table_of_uplinks(const control::Json& uplinks);
[[nodiscard]] std::string print_changed(const control::Json& object);
[[nodiscard]] std::string print_schema(const control::Json& schema);
[[nodiscard]] std::string print_reload(const control::Json& report);
[[nodiscard]] std::string print_flushed(const control::Json& flushed);
[[nodiscard]] std::string print_removed(const control::Json& removed);
[[nodiscard]] std::string print_state_saved(const control::Json& saved);
[[nodiscard]] std::string print_restored(const control::Json& restored);
[[nodiscard]] std::string print_vm_args(const control::Json& args);
[[nodiscard]] Table table_of_pollers(const control::Json& pollers);
[[nodiscard]] Table table_of_models(const control::Json& models);
[[nodiscard]] Table table_of_backends(const control::Json& backends);
[[nodiscard]] Table table_of_counters(const control::Json& counters);
[[nodiscard]] Table table_of_captures(const control::Json& captures);
[[nodiscard]] std::string print_capture(const control::Json& capture);
[[nodiscard]] std::string print_dma(const control::Json& dma);
[[nodiscard]] std::string print_events(const control::Json& events);
[[nodiscard]] std::string print_log_level(const control::Json& level);
[[nodiscard]] std::string print_keeper(const control::Json& status);
[[nodiscard]] std::string print_drill(const control::Json& result);
[[nodiscard]] std::string print_rehearsal(const control::Json& result);
[[nodiscard]] std::string print_version(const control::Json& version);

}  // namespace vmux::app
