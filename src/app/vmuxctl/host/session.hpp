// SPDX-License-Identifier: BSD-3-Clause
// One session of changes around a command, and what it did as JSON.
#pragma once

#include "app/vmuxctl/host/actions.hpp"
#include "app/vmuxctl/host/print.hpp"

namespace vmux::app {

/// By address or interface; also by one that went when its driver was taken away.
inline host::Outcome<host::PciFunction> find_function(host::Machine& machine, const HostArguments& arguments,
                                                      const std::string& name) {
  const auto journal = host::Journal::load(machine, arguments.options.state_directory + "/host.journal");
  return journal ? host::find_function(machine, *journal, name) : host::find_function(machine, name);
}

template <class Work>
host::Outcome<control::Json> in_session(host::Machine& machine, const HostArguments& arguments, Work work) {
  auto session = host::Session::open(machine, arguments.options);
  if (!session) return pass(session);
  const auto report = session->finish(work(*session));
  if (!report) return pass(report);
  return json_of(*report);
}

}  // namespace vmux::app
