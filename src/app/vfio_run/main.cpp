// SPDX-License-Identifier: BSD-3-Clause
// vmux-vfio-run: starts a VFIO program so that it finds vfio-user devices as if the kernel had them.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "app/console/understand.hpp"
#include "app/vfio_run/launch.hpp"
#include "base/text/printable.hpp"

namespace {

using vmux::app::Exit;
using vmux::app::LaunchOptions;

constexpr const char* kName = "vmux-vfio-run";

int refuse(int status, const std::string& sentence) {
  return vmux::app::leave(kName, {status, "", std::string{kName} + ": " + vmux::printable(sentence) + "\n"});
}

void declare(CLI::App& app, LaunchOptions& options) {
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
      "Exit status: that of the program; 2 for a usage error, 1 when it cannot work, 126 when the program cannot be "
      "run, 127 when there is none.");
}

tl::expected<LaunchOptions, Exit> parse(const std::vector<std::string>& arguments) {
  LaunchOptions options;
  CLI::App app{
      "Runs a program that uses VFIO with devices that are served over vfio-user:\n"
      "vmux-vfio-run --device BDF=SOCKET [OPTIONS] -- PROGRAM [ARGS...]",
      kName};
  declare(app, options);
  if (auto exit = vmux::app::parse(app, arguments, vmux::app::screen_of_stdout()))
    return tl::unexpected<Exit>(std::move(*exit));
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  auto written = parse({argv + 1, argv + argc});
  if (!written) return vmux::app::leave(kName, written.error());
  std::error_code ignored;
  const std::string bin = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  auto options = vmux::app::prepare(std::move(*written), bin);
  if (!options) return refuse(options.error().status, options.error().sentence);
  vmux::app::set_environment(*options);
  std::vector<char*> arguments;
  for (std::string& argument : options->command)
    arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  execvp(arguments.front(), arguments.data());
  const int error = errno;
  return refuse(error == ENOENT ? vmux::app::kNotFound : vmux::app::kCannotRun,
                options->command.front() + ": " + std::strerror(error));
}
