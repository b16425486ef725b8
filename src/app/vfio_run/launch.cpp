// SPDX-License-Identifier: BSD-3-Clause
#include "app/vfio_run/launch.hpp"

#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/format.hpp"
#include "preload/settings.hpp"

namespace vmux::app {
namespace {

std::string joined(const std::vector<std::string>& devices) { return fmt::format("{}", fmt::join(devices, ",")); }

bool is_socket(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

}  // namespace

std::string problem_with(const LaunchOptions& options) {
  for (const std::string& text : options.devices) {
    if (text.find(',') != std::string::npos) return fmt::format("--device {}: a comma cannot be part of it", text);
  }
  const auto devices = preload::parse_devices(joined(options.devices));
  if (!devices) return fmt::format("--device {}: {}", joined(options.devices), devices.error().what);
  for (const preload::DeviceSetting& device : *devices) {
    if (!is_socket(device.socket)) return fmt::format("{}: there is no socket", device.socket);
  }
  const std::string program = find_program(options.command.front());
  if (program.empty()) return fmt::format("{}: command not found", options.command.front());
  if (kind_of(program) == ProgramKind::static_elf) {
    return fmt::format("{} is linked statically: no library can be loaded in front of it", program);
  }
  return {};
}

std::string find_library(const std::string& bin) {
  for (const char* directory : {"/../lib", "/../" VMUX_LIBRARY_DIR}) {
    const std::string path = bin + directory + "/libvmux-vfio.so";
    if (char* real = realpath(path.c_str(), nullptr); real != nullptr) {
      std::string found{real};
      free(real);
      return found;
    }
  }
  return {};
}

void set_environment(const LaunchOptions& options, const std::string& library) {
  const auto set = [](const char* name, const std::string& value) { setenv(name, value.c_str(), 1); };
  set(preload::kEnvDevices, joined(options.devices));
  if (options.trace) set(preload::kEnvTrace, "1");
  if (options.share_anonymous) set(preload::kEnvShareAnonymous, "1");
  if (options.strict_mmap) set(preload::kEnvStrict, "1");
  if (options.whole_bars) set(preload::kEnvWholeBars, "1");
  const char* before = std::getenv("LD_PRELOAD");
  set("LD_PRELOAD", before == nullptr || *before == '\0' ? library : library + ":" + before);
}

ProgramKind kind_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Elf64_Ehdr header{};
  file.read(reinterpret_cast<char*>(&header), sizeof header);
  if (file.gcount() >= 2 && std::memcmp(&header, "#!", 2) == 0) return ProgramKind::script;
  if (!file || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64) {
    return ProgramKind::unknown;
  }
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment{};
    file.seekg(static_cast<std::streamoff>(header.e_phoff + i * sizeof segment));
    file.read(reinterpret_cast<char*>(&segment), sizeof segment);
    if (!file) return ProgramKind::unknown;
    if (segment.p_type == PT_INTERP) return ProgramKind::dynamic;
  }
  return ProgramKind::static_elf;
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return access(name.c_str(), X_OK) == 0 ? name : std::string{};
  const char* path = std::getenv("PATH");
  std::istringstream directories{path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path};
  for (std::string directory; std::getline(directories, directory, ':');) {
    const std::string candidate = (directory.empty() ? "." : directory) + "/" + name;
    struct stat status {};
    if (access(candidate.c_str(), X_OK) == 0 && stat(candidate.c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
      return candidate;
    }
  }
  return {};
}

}  // namespace vmux::app
