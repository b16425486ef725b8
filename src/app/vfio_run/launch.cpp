// SPDX-License-Identifier: BSD-3-Clause
#include "app/vfio_run/launch.hpp"

#include <elf.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/text/format.hpp"
#include "preload/process/settings.hpp"

namespace vmux::app {
namespace {

namespace fs = std::filesystem;

using Stop = tl::unexpected<Obstacle>;

Stop stop(int status, std::string sentence) { return Stop{Obstacle{status, std::move(sentence)}}; }

std::string joined(const std::vector<std::string>& devices) { return fmt::format("{}", fmt::join(devices, ",")); }

/// From where this program was started. Not normalized: x/.. is not this directory where x is a link.
std::string absolute(const std::string& path) {
  std::error_code error;
  const fs::path whole = fs::absolute(path, error);
  return error ? path : whole.string();
}

bool is_runnable(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && access(path.c_str(), X_OK) == 0;
}

/// Of whom the dynamic loader takes no library by environment (ld.so(8), secure-execution mode).
bool is_privileged(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return false;
  return ((status.st_mode & S_ISUID) != 0 && status.st_uid != getuid()) ||
         ((status.st_mode & S_ISGID) != 0 && status.st_gid != getgid()) ||
         (getuid() != 0 && getxattr(path.c_str(), "security.capability", nullptr, 0) > 0);
}

tl::expected<void, Obstacle> settle_devices(std::vector<std::string>& written) {
  for (std::string& text : written) {
    const std::size_t path = text.find('=') + 1;  // 0: there is no '=', which parse_devices() tells
    if (path != 0 && path < text.size()) text = text.substr(0, path) + absolute(text.substr(path));
    if (text.find(',') != std::string::npos)
      return stop(kBadUsage, fmt::format("--device {}: a comma cannot be part of it", text));
  }
  const auto devices = preload::parse_devices(joined(written));
  if (!devices) return stop(kBadUsage, fmt::format("--device {}: {}", joined(written), devices.error().what));
  for (const preload::DeviceSetting& device : *devices) {
    struct stat status {};
    if (device.socket.size() >= sizeof sockaddr_un{}.sun_path)
      return stop(kCannotWork, fmt::format("{}: the path of a socket has {} bytes at most, from the root on",
                                           device.socket, sizeof sockaddr_un{}.sun_path - 1));
    if (stat(device.socket.c_str(), &status) != 0)
      return stop(kCannotWork, fmt::format("{}: {}", device.socket, std::strerror(errno)));
    if (!S_ISSOCK(status.st_mode)) return stop(kCannotWork, fmt::format("{}: this is no socket", device.socket));
  }
  return {};
}

tl::expected<void, Obstacle> judge_program(const std::string& name) {
  const std::string program = find_program(name);
  if (program.empty()) return stop(kNotFound, fmt::format("{}: command not found", name));
  if (!is_runnable(program)) return stop(kCannotRun, fmt::format("{}: this is no program that may be run", program));
  const ProgramKind kind = kind_of(program);
  if (kind == ProgramKind::static_elf)
    return stop(kCannotWork, fmt::format("{} is linked statically: no library can be loaded in front of it", program));
  if (kind == ProgramKind::foreign_elf)
    return stop(kCannotWork,
                fmt::format("{} is a program of 32 bits: no library of 64 can be loaded in front of it", program));
  if (is_privileged(program))
    return stop(kCannotWork, fmt::format("{} has privileges of its own (set-user-ID, set-group-ID or capabilities): no "
                                         "library can be loaded in front of it",
                                         program));
  return {};
}

std::string find_library(const std::string& bin) {
  for (const char* directory : {"/../lib", "/../" VMUX_LIBRARY_DIR "/vmux"}) {
    std::error_code error;
    const fs::path found = fs::canonical(bin + directory + "/libvmux-vfio.so", error);
    if (!error) return found.string();
  }
  return {};
}

/// The interposer, of any version, has the name of its variable in it; so have programs, which are told apart by kind.
bool is_interposer(const std::string& path) {
  if (kind_of(path) != ProgramKind::static_elf) return false;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str().find(preload::kEnvDevices) != std::string::npos;
}

/// The loader says no more than a line about a library that it does not like, and starts the program without it.
tl::expected<void, Obstacle> settle_library(std::string& library, const std::string& bin) {
  const bool is_named = !library.empty();
  library = is_named ? absolute(library) : find_library(bin);
  if (library.empty()) return stop(kCannotWork, "libvmux-vfio.so is not there: name it with --library");
  if (access(library.c_str(), R_OK) != 0)
    return stop(kCannotWork, fmt::format("--library {}: {}", library, std::strerror(errno)));
  if (!is_interposer(library))
    return stop(kCannotWork, fmt::format("--library {}: this is no libvmux-vfio.so", library));
  if (library.find_first_of(": ") != std::string::npos)
    return stop(kCannotWork, fmt::format("--library {}: neither a blank nor a colon can be part of the path", library));
  return {};
}

}  // namespace

tl::expected<LaunchOptions, Obstacle> prepare(LaunchOptions options, const std::string& bin) {
  if (auto done = settle_devices(options.devices); !done) return Stop{done.error()};
  if (auto done = judge_program(options.command.front()); !done) return Stop{done.error()};
  if (auto done = settle_library(options.library, bin); !done) return Stop{done.error()};
  return options;
}

void set_environment(const LaunchOptions& options) {
  const auto set = [](const char* name, const std::string& value) { setenv(name, value.c_str(), 1); };
  set(preload::kEnvDevices, joined(options.devices));
  if (options.trace) set(preload::kEnvTrace, "1");
  if (options.share_anonymous) set(preload::kEnvShareAnonymous, "1");
  if (options.strict_mmap) set(preload::kEnvStrict, "1");
  if (options.whole_bars) set(preload::kEnvWholeBars, "1");
  const char* before = std::getenv("LD_PRELOAD");
  set("LD_PRELOAD", before == nullptr || *before == '\0' ? options.library : options.library + ":" + before);
}

ProgramKind kind_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Elf64_Ehdr header{};
  file.read(reinterpret_cast<char*>(&header), sizeof header);
  if (file.gcount() >= 2 && std::memcmp(&header, "#!", 2) == 0) return ProgramKind::script;
  if (file.gcount() <= EI_CLASS || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return ProgramKind::unknown;
  if (header.e_ident[EI_CLASS] == ELFCLASS32) return ProgramKind::foreign_elf;
  if (!file || header.e_ident[EI_CLASS] != ELFCLASS64) return ProgramKind::unknown;
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
  if (name.find('/') != std::string::npos) return access(name.c_str(), F_OK) == 0 ? name : std::string{};
  if (name.empty()) return {};
  const char* path = std::getenv("PATH");
  std::istringstream directories{path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path};
  std::string found;
  for (std::string directory; std::getline(directories, directory, ':');) {
    std::string candidate = (directory.empty() ? "." : directory) + "/" + name;
    if (is_runnable(candidate)) return candidate;
    if (found.empty() && access(candidate.c_str(), F_OK) == 0) found = candidate;
  }
  return found;
}

}  // namespace vmux::app
