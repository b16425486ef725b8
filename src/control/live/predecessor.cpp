// SPDX-License-Identifier: BSD-3-Clause
#include "control/live/predecessor.hpp"

#include <algorithm>

#include "control/model/spec/kinds.hpp"
#include "switch/switch.hpp"

namespace vmux::control {
namespace {

Json to_json(const std::map<std::string, FdNames>& all) {
  Json object = Json::object();
  for (const auto& [name, fds] : all)
    object[name] = fds;
  return object;
}

bool read(const Json& object, const char* key, std::map<std::string, FdNames>& into) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_object()) return false;
  for (const auto& [name, fds] : found->items()) {
    if (!fds.is_object()) return false;
    FdNames& names = into[name];
    for (const auto& [what, number] : fds.items()) {
      if (!number.is_number_integer()) return false;
      names[what] = number.get<int>();
    }
  }
  return true;
}

/// What older versions did not have.
bool read(const Json& all, Objects& into) {
  const Json marks = all.value("marks", Json::object()), stopped = all.value("stopped", Json::array());
  for (const auto& [name, mark] : marks.items()) {
    if (!mark.is_number_unsigned()) return false;
    into.marks[name] = mark.get<std::uint32_t>();
  }
  for (const Json& name : stopped) {
    if (!name.is_string()) return false;
    into.stopped.push_back(name.get<std::string>());
  }
  return true;
}

}  // namespace

std::string Objects::to_text() const {
  Json all{{"ports", to_json(ports)}, {"uplinks", to_json(uplinks)}, {"rpc", rpc}, {"steps", Json::array()}};
  all["marks"] = marks;
  all["stopped"] = stopped;
  for (const Step& step : steps)
    all["steps"].push_back(Json{{"method", step.method}, {"params", step.params}});
  return all.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

tl::expected<Objects, std::string> Objects::from_text(const std::string& text) {
  const auto bad = [] { return tl::unexpected(std::string{"the list of objects of the daemon before is damaged"}); };
  const Json all = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!all.is_object() || !all.contains("steps") || !all["steps"].is_array()) return bad();
  Objects objects;
  if (!read(all, "ports", objects.ports) || !read(all, "uplinks", objects.uplinks)) return bad();
  objects.rpc = all.value("rpc", -1);
  if (!read(all, objects)) return bad();
  for (const Json& step : all["steps"]) {
    if (!step.is_object() || !step.contains("method") || !step["method"].is_string() || !step.contains("params"))
      return bad();
    objects.steps.push_back({step["method"].get<std::string>(), step["params"], "the daemon before"});
  }
  return objects;
}

std::vector<Step> steps_of(const Inventory& inventory) {
  std::vector<Step> steps;
  for_each_kind([&]<class Spec>() {
    for (const Spec& spec : inventory.all<Spec>())
      steps.push_back({std::string{kind_of<Spec>().name} + ".add", control::to_json(spec), ""});
  });
  return steps;
}

tl::expected<std::unique_ptr<Predecessor>, std::string> Predecessor::read(const keeper::Lifeline& lifeline) {
  auto objects = Objects::from_text(lifeline.predecessor().text);
  if (!objects) return tl::unexpected(objects.error());
  return std::unique_ptr<Predecessor>(new Predecessor(lifeline, std::move(*objects)));
}

state::FdBag Predecessor::bag_of(const std::map<std::string, FdNames>& all, const std::string& name) const {
  state::FdBag bag;
  const auto found = all.find(name);
  if (found == all.end()) return bag;
  std::vector<int> numbers;
  for (const auto& [what, number] : found->second)
    numbers.push_back(number);
  auto fetched = lifeline_.fetch(numbers);
  if (!fetched) return bag;
  for (const auto& [what, number] : found->second) {
    if (const auto fd = fetched->find(number); fd != fetched->end()) {
      static_cast<void>(bag.put_copy(what, fd->second.get()));
    }
  }
  return bag;
}

std::uint32_t mark_after(std::uint32_t number, std::span<const std::uint32_t> shown) {
  std::uint32_t mark = number, most = 0;
  for (const std::uint32_t each : shown) {
    if (number == 0 || switching::port_of_mark(each) != number) continue;
    const std::uint32_t deaths = std::min(switching::suspicion_of(each) + 1, switching::kMostSuspicion);
    if (deaths <= most) continue;
    most = deaths;
    mark = number | deaths << switching::kMarkBits | (each & switching::kDeliveryMark);
  }
  return mark;
}

std::uint32_t Predecessor::mark_of(const std::string& port) const {
  const auto found = objects_.marks.find(port);
  return found == objects_.marks.end() ? 0 : mark_after(found->second, lifeline_.marks());
}

Result<UniqueFd> Predecessor::rpc_socket() const {
  auto fetched = lifeline_.fetch({objects_.rpc});
  if (!fetched) return tl::unexpected(fetched.error());
  if (fetched->empty()) return fail(Errc::not_found, "the RPC socket of the daemon before is gone");
  return std::move(fetched->begin()->second);
}

}  // namespace vmux::control
