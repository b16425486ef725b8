// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux_web/daemon.hpp"

#include <chrono>
#include <utility>

#include "vmux/base/clock.hpp"

namespace vmux::app {
namespace {

using control::Outcome;
using control::Problem;

std::uint64_t unix_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

}  // namespace

Outcome<> Daemon::ask_for(Json& into, const char* method, const Json& params) {
  auto answer = client_->call(method, params);
  if (!answer) return tl::unexpected<Problem>(answer.error());
  into = std::move(*answer);
  return {};
}

// One that is refused or fails is done without: if the connection has gone, the next call finds out.
void Daemon::ask_if_there(Json& into, const char* method) {
  if (methods_.count(method) != 0) static_cast<void>(ask_for(into, method));
}

Outcome<> Daemon::connect() {
  auto client = control::RpcClient::connect(rpc_, kTimeout_s);
  if (!client) return tl::unexpected<Problem>(client.error());
  client_.emplace(std::move(*client));
  methods_.clear();
  events_ = Json::array();
  next_event_ = 0;
  Json methods;
  if (auto done = ask_for(methods, "rpc.methods"); !done) return done;
  for (const Json& method : list_of(methods)) {
    if (method.is_string()) methods_.insert(method.get<std::string>());
  }
  return ask_for(counters_, "counter.list");
}

// One that was removed since the list was made is not there.
Outcome<> Daemon::ask_for_switches(Json& into) {
  Json list;
  if (auto done = ask_for(list, "switch.list"); !done) return done;
  into = Json::array();
  for (const Json& one : list_of(list)) {
    Json shown;
    auto done = ask_for(shown, "switch.show", Json{{"name", text_of(one, "name")}});
    if (!done && done.error().kind == control::ProblemKind::not_found) continue;
    if (!done) return done;
    into.push_back(std::move(shown));
  }
  return {};
}

// An answer has as many as fit into one: the rest comes with the next calls.
Outcome<> Daemon::ask_for_events() {
  constexpr int kMostCalls = 8;
  bool has_more = true;
  for (int i = 0; has_more && i < kMostCalls; ++i) {
    Json answer;
    if (auto done = ask_for(answer, "events", Json{{"since", next_event_}}); !done) return done;
    const Json& news = list_of(member(answer, "events"));
    for (const Json& event : news)
      events_.push_back(event);
    const Json& next = member(answer, "next");
    has_more = !news.empty() && next.is_number_unsigned();
    if (has_more) next_event_ = next.get<std::uint64_t>();
  }
  if (events_.size() > kEventsKept)
    events_.erase(events_.begin(), events_.end() - static_cast<std::ptrdiff_t>(kEventsKept));
  return {};
}

Outcome<Snapshot> Daemon::ask() {
  Snapshot now;
  const std::uint64_t begun = monotonic_ns();
  // First one that must be there: with a daemon that does not answer nobody waits for what need not.
  if (auto done = ask_for(now.version, "version"); !done) return tl::unexpected<Problem>(done.error());
  ask_if_there(now.keeper, "keeper.status");
  const std::pair<Json*, const char*> wanted[] = {{&now.pollers, "poller.list"},
                                                  {&now.ports, "port.list"},
                                                  {&now.stats, "port.stats"},
                                                  {&now.uplinks, "uplink.list"}};
  for (const auto& [into, method] : wanted) {
    if (auto done = ask_for(*into, method); !done) return tl::unexpected<Problem>(done.error());
  }
  if (auto done = ask_for_switches(now.switches); !done) return tl::unexpected<Problem>(done.error());
  if (auto done = ask_for_events(); !done) return tl::unexpected<Problem>(done.error());
  now.is_up = true;
  now.counters = counters_;
  now.events = events_;
  now.took_ns = monotonic_ns() - begun;
  return now;
}

const Snapshot& Daemon::look(For whom) {
  look_again();
  if (methods_.count("doctor") == 0) findings_.forget();
  if (whom == For::people && last_.is_up && methods_.count("doctor") != 0) findings_.ask();
  last_.findings = findings_.last();
  return last_;
}

// A connection of before may have ended with its daemon, or for somebody else's: that alone tells nothing.
void Daemon::look_again() {
  if (looked_ns_ != 0 && monotonic_ns() - looked_ns_ < fresh_for_ns_) return;
  Outcome<Snapshot> now = control::refuse(control::ProblemKind::host, "", "not connected");
  if (client_) now = ask();
  if (!now) {
    client_.reset();
    auto connected = connect();
    now = connected ? ask() : tl::unexpected<Problem>(connected.error());
  }
  if (!now) client_.reset();
  const bool was_up = last_.is_up, is_first = looked_ns_ == 0;
  const std::string was_wrong = std::exchange(last_, now ? std::move(*now) : Snapshot{}).why;
  if (!last_.is_up) last_.why = control::text_of(now.error());
  last_.unix_ms = unix_ms();
  looked_ns_ = monotonic_ns();
  if (last_.is_up && !was_up) told_("vmux " + text_of(last_.version, "version") + " answers at " + rpc_);
  if (!last_.is_up && (was_up || is_first || was_wrong != last_.why)) told_(last_.why);
}

}  // namespace vmux::app
