// SPDX-License-Identifier: BSD-3-Clause
#include "control/live/rehearsal.hpp"

#include "base/text/format.hpp"
#include "control/config/configuration.hpp"
#include "control/live/predecessor.hpp"
#include "control/version.hpp"
#include "ipc/left_behind.hpp"

namespace vmux::control {
namespace {

/// The state of a port that runs changes while it is read: what is read twice in halves is not damage.
constexpr unsigned kTries = 5;

using Left = tl::expected<state::Suspended, std::string>;

/// By which transport a port was reached.
const TransportEntry* transport_of(const Catalogue& catalogue, const Objects& objects, const std::string& port) {
  for (const Step& step : objects.steps) {
    if (step.method == "port.add" && step.params.value("name", "") == port) {
      return catalogue.transport(step.params.value("transport", std::string{kVfioUser}));
    }
  }
  return nullptr;
}

Left look_at(const Catalogue& catalogue, const Predecessor& from, const std::string& port) {
  const TransportEntry* const transport = transport_of(catalogue, from.objects(), port);
  if (transport == nullptr || transport->look_at == nullptr) return tl::unexpected(std::string{"nobody can read it"});
  return transport->look_at(from.port(port), [&from](const std::vector<int>& numbers) { return from.fetch(numbers); });
}

std::string problem_with(const Catalogue& catalogue, const Predecessor& from, const std::string& name) {
  if (from.port(name).get("image") < 0) return "";  // it begins anew
  Left state = look_at(catalogue, from, name);
  for (unsigned tries = 1; tries < kTries && !state; ++tries)
    state = look_at(catalogue, from, name);
  return state ? "" : state.error();
}

}  // namespace

tl::expected<std::string, std::string> rehearse_take_over(const Catalogue& catalogue,
                                                          const keeper::Lifeline& lifeline) {
  if (!lifeline.has_predecessor()) return tl::unexpected(std::string{"there is no daemon to go on for"});
  auto from = Predecessor::read(lifeline);
  if (!from) return tl::unexpected(from.error());
  Configuration configuration;
  configuration.steps = (*from)->objects().steps;
  if (const auto made = rehearse(configuration, catalogue); !made) {
    return tl::unexpected(fmt::format("{} {}: {}", made.error().step->method,
                                      made.error().step->params.value("name", ""), text_of(made.error().problem)));
  }
  unsigned ports = 0, anew = 0;
  for (const auto& [name, fds] : (*from)->objects().ports) {
    if (std::string why = problem_with(catalogue, **from, name); !why.empty()) {
      return tl::unexpected(fmt::format("port {}: {}", name, why));
    }
    fds.empty() ? ++anew : ++ports;
  }
  return fmt::format("vmux {} would go on with {} ports and {} uplinks{}", version(), ports,
                     (*from)->objects().uplinks.size(),
                     anew == 0 ? "" : fmt::format("; {} ports cannot be handed over and begin anew", anew));
}

void end_all_sessions(const Catalogue& catalogue, const keeper::Lifeline& lifeline) {
  if (!lifeline.has_predecessor()) return;
  const auto from = Predecessor::read(lifeline);
  if (!from) return;
  for (const auto& [name, fds] : (*from)->objects().ports) {
    if (const auto left = look_at(catalogue, **from, name)) ipc::give_up(*left);
  }
}

}  // namespace vmux::control
