// SPDX-License-Identifier: BSD-3-Clause
// vmux-vfio-run: starts a VFIO program so that it finds vfio-user devices as if the kernel had them.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "app/vfio_run/launch.hpp"

namespace {

constexpr int kUsage = 2, kCannotRun = 126;

int refuse(int status, const std::string& sentence) {
  std::fprintf(stderr, "vmux-vfio-run: %s\n", sentence.c_str());
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  vmux::app::LaunchOptions options;
  CLI::App app{
      "Runs a program that uses VFIO with devices that are served over vfio-user:\n"
      "vmux-vfio-run --device BDF=SOCKET [OPTIONS] -- PROGRAM [ARGS...]",
      "vmux-vfio-run"};
  app.add_option("-d,--device", options.devices, "PCI address, and the vfio-user socket behind it; repeat for more")
      ->required()
      ->take_all()
      ->expected(1)
      ->type_name("BDF=SOCKET");
  app.add_flag("--trace", options.trace, "print each VFIO call that is translated");
  app.add_flag("--share-anonymous", options.share_anonymous,
               "make big private mappings of the program shareable, so that devices reach them directly");
  app.add_flag("--strict-mmap", options.strict_mmap,
               "refuse to map registers that are not memory, instead of emulating each access");
  app.add_flag("--whole-bars", options.whole_bars, "do not tell which parts of a BAR are memory");
  app.add_option("--library", options.library, "libvmux-vfio.so to use")->type_name("FILE");
  app.add_option("command", options.command, "program and its arguments")->required()->take_all()->type_name("PROGRAM");
  app.positionals_at_end();
  app.prefix_command(false);
  app.footer(
      "Example: vmux-vfio-run -d 0000:40:00.0=/tmp/vm0.sock -- dpdk-testpmd -a 0000:40:00.0 -- -i\n"
      "Exit status: that of the program; 2 for a usage error, 1 when it cannot work, 126 when it cannot be run.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (const std::string problem = vmux::app::problem_with(options); !problem.empty()) return refuse(1, problem);
  std::error_code ignored;
  const std::string bin = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  const std::string library = options.library.empty() ? vmux::app::find_library(bin) : options.library;
  if (library.empty() || access(library.c_str(), R_OK) != 0) {
    return refuse(1, "libvmux-vfio.so is not there: name it with --library");
  }
  vmux::app::set_environment(options, library);
  std::vector<char*> arguments;
  for (std::string& argument : options.command)
    arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  execvp(arguments.front(), arguments.data());
  return refuse(kCannotRun, options.command.front() + ": " + std::strerror(errno));
}
