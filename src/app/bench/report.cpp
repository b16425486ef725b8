// SPDX-License-Identifier: BSD-3-Clause
#include "app/bench/report.hpp"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/text/format.hpp"

namespace vmux::bench {
namespace {

std::string cpu_model() {
  std::ifstream info{"/proc/cpuinfo"};
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string kernel_release() {
  utsname name{};
  return ::uname(&name) == 0 ? name.release : "unknown";
}

/// Of each round, in ascending order.
std::vector<double> ratios_of(const Row& row) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(row.ours.size(), row.reference.size()); ++i)
    ratios.push_back(row.reference[i] == 0 ? 0 : row.ours[i] / row.reference[i]);
  std::sort(ratios.begin(), ratios.end());
  return ratios;
}

/// The middle half.
std::string spread(const std::vector<double>& sorted) {
  if (sorted.empty()) return "-";
  return fmt::format("{:.2f}..{:.2f}", sorted[sorted.size() / 4], sorted[(sorted.size() - 1) - sorted.size() / 4]);
}

/// Of what has nothing beside it: null.
nlohmann::json or_null(const std::vector<double>& samples) {
  return samples.empty() ? nlohmann::json{} : nlohmann::json(median(samples));
}

}  // namespace

double median(std::vector<double> samples) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  const std::size_t middle = samples.size() / 2;
  return samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
}

std::string Report::to_json() const {
  auto results = nlohmann::json::array();
  for (const Row& row : rows) {
    results.push_back({{"name", row.name},
                       {"bytes", row.bytes},
                       {"direction", row.direction},
                       {"unit", row.unit},
                       {"ours", median(row.ours)},
                       {"reference", or_null(row.reference)},
                       {"ratio", or_null(ratios_of(row))},
                       {"rounds", row.ours.size()}});
  }
  const nlohmann::json report = {
      {"benchmark", benchmark},
      {"machine", {{"cpu", cpu_model()}, {"cpus", ::sysconf(_SC_NPROCESSORS_ONLN)}, {"kernel", kernel_release()}}},
      {"ours", ours},
      {"reference", reference},
      {"results", results}};
  return report.dump(2);
}

std::string Report::to_table() const {
  std::string text = fmt::format("{}: {} CPUs, {}, Linux {}\n  ours:      {}\n  reference: {}\n\n", benchmark,
                                 ::sysconf(_SC_NPROCESSORS_ONLN), cpu_model(), kernel_release(), ours, reference);
  text += fmt::format("{:<24} {:>6} {:<16} {:>13} {:>13} {:>7}  {:<9} {:<9} {}\n", "what", "bytes", "direction", "ours",
                      "reference", "ratio", "goal", "unit", "ratios of the middle half of rounds");
  for (const Row& row : rows) {
    const auto ratios = ratios_of(row);
    text += fmt::format("{:<24} {:>6} {:<16} {:>13.0f} {:>13.0f} {:>7.3f}  {:<9} {:<9} {} ({} rounds)\n", row.name,
                        row.bytes, row.direction, median(row.ours), median(row.reference), median(ratios), row.goal,
                        row.unit, spread(ratios), row.ours.size());
  }
  return text;
}

}  // namespace vmux::bench
