// SPDX-License-Identifier: BSD-3-Clause
// vmux-bench: measures vMux beside a reference, in one run, and prints both sides and the ratio.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <map>
#include <vector>

#include "app/bench/benches.hpp"

namespace vmux::bench {
namespace {

using Run = Result<Report> (*)(const Options&);

int print(const Result<Report>& report, bool as_json) {
  if (!report) {
    fmt::print(stderr, "vmux-bench: {}\n", report.error().text());
    return 1;
  }
  std::fputs(as_json ? (report->to_json() + "\n").c_str() : report->to_table().c_str(), stdout);
  return 0;
}

/// The guests benchmark drives virtual machines of the lab, so it lives in the source tree beside it.
std::filesystem::path find_guests_script() {
  for (auto at = std::filesystem::read_symlink("/proc/self/exe").parent_path(); at != at.root_path();
       at = at.parent_path()) {
    if (auto script = at / "bench" / "guests"; std::filesystem::exists(script)) return script;
  }
  return {};
}

int run_guests(unsigned rounds, bool as_json) {
  const std::string script = find_guests_script();
  if (script.empty()) {
    fmt::print(stderr,
               "vmux-bench: 'guests' needs the source tree (bench/guests and lab/): run it from a build in there\n");
    return 1;
  }
  const std::string rounds_text = std::to_string(rounds);
  std::vector<const char*> argv{script.c_str(), "--rounds", rounds_text.c_str()};
  if (as_json) argv.push_back("--json");
  argv.push_back(nullptr);
  ::execv(script.c_str(), const_cast<char* const*>(argv.data()));
  fmt::print(stderr, "vmux-bench: cannot run {}: {}\n", script, std::strerror(errno));
  return 1;
}

int main_of(int argc, char** argv) {
  CLI::App app{"Measures vMux beside a reference, in one run on one machine, and prints both sides and the ratio.",
               "vmux-bench"};
  app.require_subcommand(1);
  bool as_json = false;
  unsigned rounds = 0;
  app.add_flag("--json", as_json, "print one JSON object instead of a table");
  app.add_option("--rounds", rounds, "interleaved rounds of each side (default: 7, guests: 3)")
      ->check(CLI::Range(1, 1000));
  app.fallthrough();
  const std::map<std::string, std::pair<Run, const char*>> in_process = {
      {"rtt", {run_rtt, "register read round trip, beside an AF_UNIX ping-pong of the same bytes"}},
      {"dma", {run_dma, "DMA map + unmap of 4 KiB windows of one file, beside the same ping-pong"}},
      {"forward",
       {run_forward, "frames between two e1000 ports through the switch, beside bare copies between their rings"}},
  };
  for (const auto& [name, bench] : in_process)
    app.add_subcommand(name, bench.second);
  app.add_subcommand("guests", "iperf3 and ping between two guests, beside the same guests on QEMU's own e1000");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const std::string name = app.get_subcommands().front()->get_name();
  if (name == "guests") return run_guests(rounds == 0 ? 3 : rounds, as_json);
  const bool show = ::isatty(STDERR_FILENO) == 1;
  Options options{.rounds = rounds == 0 ? 7 : rounds, .progress = [&](const std::string& what, unsigned round) {
                    if (show) fmt::print(stderr, "\r{} {}: round {} ...   ", name, what, round + 1);
                  }};
  const auto report = in_process.at(name).first(options);
  if (show) fmt::print(stderr, "\r\033[K");
  return print(report, as_json);
}

}  // namespace
}  // namespace vmux::bench

int main(int argc, char** argv) { return vmux::bench::main_of(argc, argv); }
