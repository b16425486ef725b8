// SPDX-License-Identifier: BSD-3-Clause
// Counters as Prometheus names them (prometheus.io/docs/practices/naming): `_total` behind what only goes up, base
// units, what tells apart as labels and not in the name.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/vmux_web/snapshot.hpp"

namespace vmux::app {

/// Who counts: what a family's name begins with behind "vmux_".
enum class Counting : unsigned char { port, poller, model, client };

/// Where a counter goes.
struct MetricName {
  std::string family;                                       ///< "vmux_queue_frames_total"
  std::vector<std::pair<std::string, std::string>> labels;  ///< {"direction", "tx"}, {"queue", "0"}
  double scale = 1;                                         ///< what a value is multiplied with: 1e-9 for nanoseconds
};

/// `drop_no_room` of a port is vmux_port_drops_total{reason="no_room"}; `tx.frames` of a model is
/// vmux_model_frames_total{direction="tx"}, and `tx0.frames` vmux_queue_frames_total{direction="tx",queue="0"}. A
/// number that a guest has chosen is no name: `unknown_command.0x1f` is
/// vmux_model_unknown_command_total{number="0x1f"}. `unit` and `kind` as counter.list has them.
[[nodiscard]] MetricName metric_name(Counting who, std::string_view counter, std::string_view unit,
                                     std::string_view kind);

/// What counter.list tells of counters.
class CounterTexts {
 public:
  explicit CounterTexts(const Json& counter_list);
  struct Text {
    std::string unit, kind;
  };
  /// `of`: "port", "poller", "model NAME", "transport NAME". Of a counter that is not known: a total without a unit.
  [[nodiscard]] Text find(const std::string& of, std::string_view counter) const;
  /// What a family's counters mean, those of several models beside each other: one line.
  [[nodiscard]] const std::string& help(const std::string& family) const;

 private:
  std::map<std::pair<std::string, std::string>, Text> texts_;
  std::map<std::string, std::string> helps_;  // by family
};

/// A line of the exposition format's HELP: a backslash and a line feed are escaped (prometheus-cpp leaves that to us).
[[nodiscard]] std::string escaped_help(std::string_view text);

}  // namespace vmux::app
