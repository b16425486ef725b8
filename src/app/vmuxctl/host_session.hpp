// SPDX-License-Identifier: BSD-3-Clause
// One session of changes around a command, and what it did as JSON.
#pragma once

#include "app/vmuxctl/host_actions.hpp"
#include "app/vmuxctl/host_print.hpp"

namespace vmux::app {

template <class Work>
host::Outcome<control::Json> in_session(host::Machine& machine, const HostArguments& arguments, Work work) {
  auto session = host::Session::open(machine, arguments.options);
  if (!session) return pass(session);
  const auto report = session->finish(work(*session));
  if (!report) return pass(report);
  return json_of(*report);
}

}  // namespace vmux::app
