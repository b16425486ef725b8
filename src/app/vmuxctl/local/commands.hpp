// SPDX-License-Identifier: BSD-3-Clause
// Commands that are more than one call: they read and write files of whoever calls, or go on until they are stopped.
#pragma once

#include <string>
#include <vector>

#include "app/vmuxctl/cli.hpp"

namespace vmux::app {

/// The running set as a configuration file, to FILE or the daemon's own; "-": to standard output.
[[nodiscard]] Exit save_configuration(const Call& call, const AskAny& ask, const Out& out);
/// What reading FILE, or the daemon's own, would change.
[[nodiscard]] Exit compare_configuration(const Call& call, const AskAny& ask, const Out& out);
/// Several changes from a file of calls, all or none.
[[nodiscard]] Exit make_batch(const Call& call, const AskAny& ask, const Out& out);
/// Counters of ports every so often, with what happened each second.
[[nodiscard]] Exit watch_ports(const Call& call, const AskAny& ask, const Out& out);
/// The same on a whole screen, the busiest first.
[[nodiscard]] Exit show_top(const Call& call, const AskAny& ask, const Out& out);
/// What is wrong with ports, uplinks and pollers, and what to do about it; status 1 when there is more than notes.
[[nodiscard]] Exit examine(const Call& call, const AskAny& ask, const Out& out);
/// What passes between a VM and its card, until it is stopped.
[[nodiscard]] Exit trace_port(const Call& call, const AskAny& ask, const Out& out);
/// Writes what somebody else needs who is to find out what is wrong to FILE, or to a new one here; "-": to standard
/// output.
[[nodiscard]] Exit write_bug_report(const Call& call, const AskAny& ask, const Out& out);
/// What the daemon says for it.
[[nodiscard]] control::Json bug_report(const AskAny& ask);
/// A record of trace.read as a line.
[[nodiscard]] std::string line_of_trace(const control::Json& record);
/// What a shell needs to complete command lines; asks no daemon.
[[nodiscard]] Exit print_completion(const Call& call, const AskAny& ask, const Out& out);

/// vfe-vhostd's commands for virtual functions and for their owners: an object with `errno` and `errstr`, as JSON.
[[nodiscard]] Exit manage_vf(const Call& call, const AskAny& ask, const Out& out);
[[nodiscard]] Exit manage_pf(const Call& call, const AskAny& ask, const Out& out);
/// The object; null: nothing was asked for. `sys`: where the kernel's file system is.
[[nodiscard]] control::Json vf_answer(const Call& call, const AskAny& ask, const std::string& sys);
[[nodiscard]] control::Json mgmtpf_answer(const Call& call, const AskAny& ask, const std::string& sys);
inline constexpr const char *kVfAdd = "-a,--add", *kVfRemove = "-r,--remove", *kVfList = "-l,--list",
                            *kVfInfo = "-i,--info", *kVfDebug = "-d,--debug", *kVfSocket = "-v,--vhost-socket",
                            *kVfUuid = "-u,--uuid", *kVfOperation = "-o,--operation";

/// Completion for "bash", "zsh" or "fish", made of the table of commands; empty for others.
[[nodiscard]] std::string completion_for(const std::string& shell);

/// What happened between two results of port.stats, each second: "rx_frames" and others a second instead of sums, for
/// ports that are in both. `seconds` is above 0.
[[nodiscard]] control::Json rates_of(const control::Json& before, const control::Json& now, double seconds);
/// A table of rates that is 80 columns wide at most as long as names have up to 16 characters.
[[nodiscard]] Table table_of_rates(const control::Json& rates);
/// By one of its columns, the largest number or the first name on top; a sentence if there is none of that name.
[[nodiscard]] tl::expected<control::Json, std::string> sorted_rates(control::Json rates, const std::string& column);
/// A number of 4 digits at most, with k, M, G or T: "12.3k".
[[nodiscard]] std::string short_number(double number);

}  // namespace vmux::app
