// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux_web/metric_names.hpp"

#include <algorithm>
#include <array>

namespace vmux::app {
namespace {

constexpr std::string_view kDigits = "0123456789";

struct Unit {
  std::string_view unit, suffix, base;
  double scale;
};
constexpr auto kUnits = std::to_array<Unit>({
    {"nanoseconds", "_ns", "_seconds", 1e-9},
    {"microseconds", "_us", "_seconds", 1e-6},
});

const char* prefix_of(Counting who) noexcept {
  constexpr std::array kPrefixes{"vmux_port_", "vmux_poller_", "vmux_model_", "vmux_client_"};
  return kPrefixes[static_cast<std::size_t>(who)];
}

/// Letters, digits and underscores only.
std::string word(std::string_view text) {
  std::string out;
  for (const char each : text) {
    const bool is_good = (each >= 'a' && each <= 'z') || (each >= '0' && each <= '9');
    out += is_good ? each : each >= 'A' && each <= 'Z' ? static_cast<char>(each - 'A' + 'a') : '_';
  }
  return out;
}

/// "tx0" and "txN" of "tx0.frames": a direction, and the queue, if it names one.
struct Side {
  std::string_view direction, queue;
};
Side side_of(std::string_view first) noexcept {
  if (!first.starts_with("tx") && !first.starts_with("rx")) return {};
  const std::string_view queue = first.substr(2);
  if (queue != "N" && queue.find_first_not_of(kDigits) != std::string_view::npos) return {};
  return {first.substr(0, 2), queue};
}

/// "sent by the guest" of e1000, and of iavf what it says; for one model alone without its name.
std::string joined(const std::map<std::string, std::vector<std::string>>& meanings) {
  std::string out;
  for (const auto& [meaning, who] : meanings) {
    if (!out.empty()) out += "; ";
    out += meaning;
    if (meanings.size() == 1) continue;
    out += " (";
    for (std::size_t i = 0; i < who.size(); ++i)
      out += (i == 0 ? "" : ", ") + who[i];
    out += ")";
  }
  return out;
}

struct Owner {
  Counting who;
  std::string name;
};
Owner owner_of(const std::string& of) {
  const std::size_t blank = of.find(' ');
  const std::string name = blank == std::string::npos ? of : of.substr(blank + 1);
  if (of == "port") return {Counting::port, name};
  if (of == "poller") return {Counting::poller, name};
  return {of.starts_with("model ") ? Counting::model : Counting::client, name};
}

}  // namespace

MetricName metric_name(Counting who, std::string_view counter, std::string_view unit, std::string_view kind) {
  MetricName out;
  std::string prefix = prefix_of(who);
  if (who == Counting::port && counter.starts_with("drop_")) {
    out.labels.emplace_back("reason", std::string{counter.substr(5)});
    counter = "drops";
  }
  const std::size_t dot = counter.find('.');
  if (const Side side = dot == std::string_view::npos ? Side{} : side_of(counter.substr(0, dot));
      !side.direction.empty()) {
    out.labels.emplace_back("direction", std::string{side.direction});
    if (!side.queue.empty()) {
      out.labels.emplace_back("queue", std::string{side.queue});
      prefix = "vmux_queue_";
    }
    counter = counter.substr(dot + 1);
  }
  if (const std::size_t last = counter.rfind(".0x"); last != std::string_view::npos) {
    out.labels.emplace_back("number", std::string{counter.substr(last + 1)});
    counter = counter.substr(0, last);
  }
  std::string name = word(counter);
  for (const Unit& each : kUnits) {
    if (unit != each.unit || !name.ends_with(each.suffix)) continue;
    name.replace(name.size() - each.suffix.size(), each.suffix.size(), each.base);
    out.scale = each.scale;
  }
  out.family = prefix + name + (kind == "now" ? "" : "_total");
  return out;
}

CounterTexts::CounterTexts(const Json& counter_list) {
  std::map<std::string, std::map<std::string, std::vector<std::string>>> meanings;  // by family
  for (const Json& one : list_of(counter_list)) {
    const std::string of = text_of(one, "of"), name = text_of(one, "name");
    const Text text{text_of(one, "unit"), text_of(one, "kind")};
    texts_[{of, name}] = text;
    const Owner owner = owner_of(of);
    const MetricName metric = metric_name(owner.who, name, text.unit, text.kind);
    const std::string unit = metric.scale == 1 ? text.unit : "seconds";
    std::string meaning = unit + (unit.empty() ? "" : ", ") + text_of(one, "meaning");
    std::string who = owner.name;
    for (const auto& [label, value] : metric.labels) {
      if (label == "reason") who = value;
      if (label == "direction") who += ' ' + value;
    }
    meanings[metric.family][std::move(meaning)].push_back(std::move(who));
  }
  for (const auto& [family, of_family] : meanings)
    helps_[family] = joined(of_family);
}

CounterTexts::Text CounterTexts::find(const std::string& of, std::string_view counter) const {
  std::string name{counter};
  const std::size_t dot = counter.find('.');  // "tx0.frames" is known as "txN.frames"
  const Side side = dot == std::string_view::npos ? Side{} : side_of(counter.substr(0, dot));
  if (!side.queue.empty()) name = std::string{side.direction} + 'N' + std::string{counter.substr(dot)};
  const auto at = texts_.find({of, name});
  return at == texts_.end() ? Text{"", "total"} : at->second;
}

const std::string& CounterTexts::help(const std::string& family) const {
  static const std::string kUnknown = "a counter that the daemon does not explain";
  const auto at = helps_.find(family);
  return at == helps_.end() ? kUnknown : at->second;
}

std::string escaped_help(std::string_view text) {
  std::string out;
  for (const char each : text) {
    if (each == '\\') out += "\\\\";
    if (each == '\n') out += "\\n";
    if (each != '\\' && each != '\n') out += each;
  }
  return out;
}

}  // namespace vmux::app
