// SPDX-License-Identifier: BSD-3-Clause
// What ports do each second: port stats --watch, and top.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <thread>

#include "app/vmuxctl/local/commands.hpp"
#include "app/vmuxctl/print.hpp"
#include "base/text/format.hpp"
#include "base/text/text.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::app {
namespace {

using control::Json;
using Clock = std::chrono::steady_clock;

constexpr const char* kClear = "\x1b[H\x1b[J";  // cursor home, erase below (ECMA-48 8.3.21, 8.3.39)

struct Rate {
  const char* column;
  const char* counter;
  double factor;  ///< of the counter's unit
};
constexpr auto kRates = std::to_array<Rate>({
    {"rx_fps", "rx_frames", 1},
    {"rx_bps", "rx_bytes", 8},
    {"tx_fps", "tx_frames", 1},
    {"tx_bps", "tx_bytes", 8},
});

double number_of(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return value.is_number() ? value.get<double>() : 0;
}

double drops_of(const Json& counters) {
  double sum = 0;
  for (const auto& item : counters.items()) {
    if (item.key().rfind("drop_", 0) == 0 && item.value().is_number()) sum += item.value().get<double>();
  }
  return sum;
}

/// The drop reason that had most; "-" where nothing was dropped.
std::string worst_drop(const Json& before, const Json& now) {
  double most = 0;
  std::string name = "-";
  for (const auto& item : now.items()) {
    if (item.key().rfind("drop_", 0) != 0 || !item.value().is_number()) continue;
    const double more = item.value().get<double>() - number_of(before, item.key().c_str());
    if (more <= most) continue;
    most = more;
    name = item.key().substr(5);
  }
  return name;
}

std::uint64_t option_of(const Call& call, const char* name, std::uint64_t otherwise) {
  const auto found = call.local.find(name);
  return found == call.local.end() ? otherwise : parse_number(found->second, ~0ull).value_or(0);
}

/// Makes the call every `seconds`, and hands what came of two calls to `show` until that is false, or so often.
template <class Show>
Exit repeat(const Call& call, const AskAny& ask, Show&& show) {
  const std::uint64_t seconds = option_of(call, "--interval", 1), times = option_of(call, "--times", ~0ull);
  if (seconds < 1 || seconds > 3600) return usage_error("vmuxctl", "--interval: expected 1 to 3600", call.as_json);
  if (times < 1) return usage_error("vmuxctl", "--times: expected a number from 1", call.as_json);
  const auto look = [&]() -> control::Outcome<Json> {
    Json all = Json::array();
    for (std::size_t i = 0; i < std::max<std::size_t>(1, call.names.size()); ++i) {
      auto result = ask("port.stats", call.names.empty() ? Json::object() : Json{{"name", call.names[i]}});
      if (!result) return result;
      all.insert(all.end(), result->begin(), result->end());
    }
    return all;
  };
  auto before = look();
  auto then = Clock::now();
  for (std::uint64_t i = 0; before && i < times; ++i) {
    std::this_thread::sleep_until(then + std::chrono::seconds{seconds});
    auto now = look();
    if (!now) return explain(call, now.error());
    const auto at = Clock::now();
    const double passed = std::chrono::duration<double>(at - then).count();
    if (Exit exit = show(rates_of(*before, *now, passed)); exit.status != 0 || !exit.why.empty()) return exit;
    before = std::move(now);
    then = at;
  }
  return before ? Exit{} : explain(call, before.error());
}

const Exit kEnough{0, "", "", "nobody reads any more"};

}  // namespace

std::string short_number(double number) {
  constexpr std::array kUnits{"", "k", "M", "G", "T"};
  std::size_t unit = 0;
  while (number >= 999.5 && unit + 1 < kUnits.size()) {
    number /= 1000;
    ++unit;
  }
  return unit == 0       ? fmt::format("{:.0f}", number)
         : number < 9.95 ? fmt::format("{:.1f}{}", number, kUnits[unit])
                         : fmt::format("{:.0f}{}", number, kUnits[unit]);
}

Json rates_of(const Json& before, const Json& now, double seconds) {
  Json list = Json::array();
  for (const Json& port : now) {
    const auto old = std::find_if(before.begin(), before.end(),
                                  [&port](const Json& one) { return member(one, "name") == member(port, "name"); });
    const Json& counters = member(port, "counters");
    if (old == before.end() || !counters.is_object()) continue;
    const Json& were = member(*old, "counters");
    const auto each_second = [seconds](double was, double is) { return std::max(0.0, is - was) / seconds; };
    Json row{{"name", member(port, "name")}, {"connected", member(port, "connected")}};
    for (const Rate& rate : kRates)
      row[rate.column] =
          std::round(each_second(number_of(were, rate.counter), number_of(counters, rate.counter)) * rate.factor);
    row["drops"] = std::round(each_second(drops_of(were), drops_of(counters)));
    row["why"] = worst_drop(were, counters);
    list.push_back(std::move(row));
  }
  return list;
}

tl::expected<Json, std::string> sorted_rates(Json rates, const std::string& column) {
  std::vector<std::string> known{"name"};
  for (const Rate& rate : kRates)
    known.emplace_back(rate.column);
  known.insert(known.end(), {"drops", "fps", "bps"});
  if (std::find(known.begin(), known.end(), column) == known.end())
    return tl::unexpected<std::string>(fmt::format("expected one of {}, got '{}'", fmt::join(known, ", "), column));
  const auto key_of = [&column](const Json& row) {
    if (column == "fps" || column == "bps")
      return number_of(row, ("rx_" + column).c_str()) + number_of(row, ("tx_" + column).c_str());
    return number_of(row, column.c_str());
  };
  std::stable_sort(rates.begin(), rates.end(), [&](const Json& a, const Json& b) {
    return column == "name" ? text(a, "name") < text(b, "name") : key_of(a) > key_of(b);
  });
  return rates;
}

Table table_of_rates(const Json& rates) {
  Json rows = Json::array();
  for (const Json& rate : rates) {
    Json row = rate;
    for (const auto& item : rate.items()) {
      if (item.value().is_number()) row[item.key()] = short_number(item.value().get<double>());
    }
    rows.push_back(std::move(row));
  }
  return {std::move(rows), {"name", "connected", "rx_fps", "rx_bps", "tx_fps", "tx_bps", "drops", "why"}, ""};
}

Exit watch_ports(const Call& call, const AskAny& ask, const Out& out) {
  return repeat(call, ask, [&](const Json& rates) -> Exit {
    std::string lines;
    if (call.as_json) {
      lines = control::to_line(rates) + '\n';
    } else {
      const auto table = seen(table_of_rates(rates), call.view);
      if (!table) return usage_error("vmuxctl", table.error(), false);
      lines = render(*table, call.screen, call.view.has_headings) + '\n';
    }
    return out(lines) ? Exit{} : kEnough;
  });
}

Exit show_top(const Call& call, const AskAny& ask, const Out& out) {
  const auto column = call.local.find("--sort");
  const std::string sort = column == call.local.end() ? "bps" : column->second;
  if (const auto good = sorted_rates(Json::array(), sort); !good)
    return usage_error("vmuxctl", "--sort: " + good.error(), call.as_json);
  return repeat(call, ask, [&](const Json& rates) -> Exit {
    const Json sorted = sorted_rates(rates, sort).value_or(rates);
    if (call.as_json) return out(control::to_line(sorted) + '\n') ? Exit{} : kEnough;
    double frames = 0, bits = 0;
    for (const Json& row : sorted) {
      frames += number_of(row, "rx_fps");
      bits += number_of(row, "rx_bps");
    }
    Table table = table_of_rates(sorted);
    const std::size_t room = call.screen.height > 4 ? call.screen.height - 4 : ~std::size_t{0};
    const std::size_t all = table.rows.size();
    while (table.rows.size() > room)
      table.rows.erase(table.rows.size() - 1);
    std::string screen = call.screen.width > 0 ? kClear : "";
    screen +=
        fmt::format("vmux: {} ports, {} frames/s, {}bit/s, by {}{}\n\n", all, short_number(frames), short_number(bits),
                    sort, all > room ? fmt::format(", {} not shown", all - room) : std::string{});
    return out(screen + render(table, call.screen)) ? Exit{} : kEnough;
  });
}

}  // namespace vmux::app
