// SPDX-License-Identifier: BSD-3-Clause
#include "app/bench/report.hpp"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

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

double ratio_of(const Row& row) {
  const double reference = median(row.reference);
  return reference == 0 ? 0 : median(row.ours) / reference;
}

std::string spread(const std::vector<double>& samples) {
  const auto [low, high] = std::minmax_element(samples.begin(), samples.end());
  return fmt::format("{:.0f}..{:.0f}", *low, *high);
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
                       {"reference", median(row.reference)},
                       {"ratio", ratio_of(row)},
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
                      "reference", "ratio", "goal", "unit", "ours, lowest..highest round");
  for (const Row& row : rows) {
    text += fmt::format("{:<24} {:>6} {:<16} {:>13.0f} {:>13.0f} {:>7.3f}  {:<9} {:<9} {} ({} rounds)\n", row.name,
                        row.bytes, row.direction, median(row.ours), median(row.reference), ratio_of(row), row.goal,
                        row.unit, spread(row.ours), row.ours.size());
  }
  return text;
}

}  // namespace vmux::bench
