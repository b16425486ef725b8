// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/state_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <utility>

#include "vmux/base/unique_fd.hpp"

namespace vmux::app {
namespace {

using control::Json;
using control::Outcome;
using control::refuse;

constexpr std::size_t kMostBytes = std::size_t{4} << 20;  // the daemon takes no more

tl::unexpected<control::Problem> failed(const std::string& doing) {
  return refuse("", doing, Error{Errc::system, "the file", errno});
}

Outcome<> write_all(int to, std::span<const char> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t sent = ::write(to, bytes.data(), bytes.size());
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return failed("write " + path);
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return {};
}

/// From where `from` stands to its end; `most` bytes.
Outcome<> copy(int from, int to, const std::string& path, std::size_t most) {
  std::array<char, std::size_t{64} << 10> buffer;
  for (std::size_t all = 0;;) {
    const ssize_t got = ::read(from, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read " + path);
    if (got == 0) return {};
    all += static_cast<std::size_t>(got);
    if (all > most) {
      return refuse(control::ProblemKind::host, "", path + " is larger than any saved state");
    }
    if (auto written = write_all(to, std::span{buffer}.first(static_cast<std::size_t>(got)), path); !written)
      return written;
  }
}

/// Beside `path` first, so that nobody ever finds half a state there, and an old one is lost only to a whole one. What
/// a guest had in its card is nobody else's business: mode 0600.
Outcome<> keep(const UniqueFd& memory, const std::string& path) {
  if (::lseek(memory.get(), 0, SEEK_SET) != 0) return failed("read the state");
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {  // a pipe, say
    const UniqueFd out{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
    return out ? copy(memory.get(), out.get(), path, kMostBytes) : failed("open " + path);
  }
  std::string beside = path + ".XXXXXX";
  const UniqueFd out{::mkostemp(beside.data(), O_CLOEXEC)};
  if (!out) return failed("make a file beside " + path);
  auto done = copy(memory.get(), out.get(), beside, kMostBytes);
  if (done && ::fsync(out.get()) != 0) done = failed("write " + beside);
  if (done && std::rename(beside.c_str(), path.c_str()) != 0) done = failed("replace " + path);
  if (!done) ::unlink(beside.c_str());
  return done;
}

}  // namespace

Outcome<Json> with_file(const Call& call, const std::function<Outcome<Json>(int file)>& ask) {
  if (call.command->file == FileUse::none) return ask(-1);
  const UniqueFd memory{::memfd_create("vmux-state", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (!memory) return failed("make room for the state");
  if (call.command->file == FileUse::is_input) {
    const UniqueFd in{::open(call.file.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!in) return failed("open " + call.file);
    if (auto done = copy(in.get(), memory.get(), call.file, kMostBytes); !done) return tl::unexpected(done.error());
  }
  auto result = ask(memory.get());
  if (!result) return result;
  if (call.command->file == FileUse::keeps_result) {
    if (auto done = keep(memory, call.file); !done) return tl::unexpected(done.error());
  }
  (*result)["file"] = call.file;
  return result;
}

}  // namespace vmux::app
