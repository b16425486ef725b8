// SPDX-License-Identifier: BSD-3-Clause
#include "control/live/rehearsal.hpp"

#include "base/text/format.hpp"
#include "control/config/configuration.hpp"
#include "control/live/predecessor.hpp"
#include "control/version.hpp"
#include "vmux/vfio_user/server.hpp"

namespace vmux::control {
namespace {

/// The state of a port that runs changes while it is read: what is read twice in halves is not damage.
constexpr unsigned kTries = 5;

using Left = tl::expected<vfio_user::Server::LeftBehind, std::string>;

Left look_at(const Predecessor& from, const state::FdBag& left) {
  auto image = left.copy("image"), stream = left.copy("stream");
  if (!image || !stream) return tl::unexpected(std::string{"its descriptors are missing"});
  const auto fetch = [&from](const std::vector<int>& numbers) { return from.fetch(numbers); };
  return vfio_user::Server::look_at(std::move(*image), std::move(*stream), {}, fetch);
}

std::string problem_with(const Predecessor& from, const std::string& name) {
  const state::FdBag left = from.port(name);
  if (left.get("image") < 0) return "";  // it begins anew
  Left state = look_at(from, left);
  for (unsigned tries = 1; tries < kTries && !state; ++tries)
    state = look_at(from, left);
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
    if (std::string why = problem_with(**from, name); !why.empty()) {
      return tl::unexpected(fmt::format("port {}: {}", name, why));
    }
    fds.empty() ? ++anew : ++ports;
  }
  return fmt::format("vmux {} would go on with {} ports and {} uplinks{}", version(), ports,
                     (*from)->objects().uplinks.size(),
                     anew == 0 ? "" : fmt::format("; {} ports cannot be handed over and begin anew", anew));
}

void end_all_sessions(const keeper::Lifeline& lifeline) {
  if (!lifeline.has_predecessor()) return;
  const auto from = Predecessor::read(lifeline);
  if (!from) return;
  for (const auto& [name, fds] : (*from)->objects().ports) {
    if (auto left = look_at(**from, (*from)->port(name))) vfio_user::Server::give_up(std::move(left->state));
  }
}

}  // namespace vmux::control
