// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/capture/capture.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include "app/vmuxctl/capture/compile.hpp"
#include "app/vmuxctl/print.hpp"
#include "base/text/format.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::app {
namespace {

using control::Json;
using control::Outcome;
using control::refuse;

tl::unexpected<control::Problem> failed(const std::string& doing) {
  return refuse("", doing, Error{Errc::system, "the file", errno});
}

// --- Ctrl-C: the daemon is told that it is enough, and what it has is still written ---

volatile std::sig_atomic_t reading = -1;  // a descriptor

void on_interrupt(int /*signal*/) {
  const int before = errno;
  if (reading >= 0) ::shutdown(reading, SHUT_WR);
  errno = before;
}

void catch_interrupts(int socket) {
  reading = socket;
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);  // a second one kills
  struct sigaction before {};
  for (const int one : {SIGINT, SIGTERM, SIGHUP}) {
    ::sigaction(one, nullptr, &before);
    if (one != SIGHUP || before.sa_handler != SIG_IGN) ::sigaction(one, &action, nullptr);  // nohup(1)
  }
  std::signal(SIGPIPE, SIG_IGN);
}

// --- frames ---

enum class Reader : bool { goes_on, is_gone };

Outcome<Reader> write_all(int to, std::span<const char> bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t sent = ::write(to, bytes.data(), bytes.size());
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EPIPE) return Reader::is_gone;
    if (sent < 0) return failed("write " + name);
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return Reader::goes_on;
}

struct Copied {
  std::uint64_t bytes = 0;
  bool reader_is_gone = false;
};

Outcome<Copied> copy_all(int from, int to, const std::string& name) {
  Copied copied;
  std::array<char, 65'536> buffer;
  for (;;) {
    const ssize_t got = ::read(from, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return copied;  // a daemon that died: what came is there
    const auto reader = write_all(to, std::span{buffer}.first(static_cast<std::size_t>(got)), name);
    if (!reader) return tl::unexpected(reader.error());
    copied.reader_is_gone = *reader == Reader::is_gone;
    if (copied.reader_is_gone) return copied;
    copied.bytes += static_cast<std::uint64_t>(got);
  }
}

/// Where frames go. What guests say is nobody else's business: mode 0600.
struct Sink {
  UniqueFd own;
  std::string name;
  bool is_new = false;  // a file that was not there before
  [[nodiscard]] int fd() const noexcept { return own ? own.get() : STDOUT_FILENO; }
};

tl::expected<Sink, Exit> sink_of(const Call& call) {
  const auto written = call.local.find("-w,--write");
  const std::string path = written == call.local.end() ? "" : written->second;
  if (path == "-" || (path.empty() && ::isatty(STDOUT_FILENO) == 0)) return Sink{{}, "standard output"};
  if (path.empty()) {
    return tl::unexpected<Exit>(usage_error(
        "vmuxctl", "-w FILE keeps the frames; `-w - | tshark -r -` shows them: a terminal would not like them",
        call.as_json));
  }
  const bool is_new = ::access(path.c_str(), F_OK) != 0;
  UniqueFd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
  if (!file) return tl::unexpected<Exit>(explain(call, failed("open " + path).value()));
  return Sink{std::move(file), path, is_new};
}

}  // namespace

std::string text_of_capture(const Json& capture) {
  const Json& missed = member(capture, "missed");
  return fmt::format("{} frames of {}, {} missed: {}", text(capture, "frames"), text(capture, "name"),
                     missed.is_number() ? text(missed) : "0", text(capture, "why"));
}

bool is_complete(const Json& capture) {
  const std::string end = text(capture, "end");
  return end == "count" || end == "reader" || end == "gone";
}

Outcome<Json> capture_to(int to, const std::string& name, const Json& params, const AskWithFile& ask) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return failed("make a way for the frames");
  UniqueFd here{ends[0]}, there{ends[1]};
  catch_interrupts(here.get());
  auto started = ask(kCapture, params, there.get());
  there.reset();
  if (!started) return started;
  struct stat status {};
  if (::fstat(to, &status) == 0 && S_ISREG(status.st_mode) && to != STDOUT_FILENO && ::ftruncate(to, 0) != 0)
    return failed("empty " + name);
  const auto copied = copy_all(here.get(), to, name);
  reading = -1;
  here.reset();
  if (!copied) return tl::unexpected(copied.error());
  auto ended = ask("capture.show", Json{{"capture", member(*started, "capture")}}, -1);
  // The next daemon may have another one of this number; ours has ended.
  if (!ended || (!copied->reader_is_gone && !member(*ended, "end").is_string())) {
    return refuse(
        control::ProblemKind::host, "",
        fmt::format("the daemon is gone, or goes on without this capture; what came until then is in {}", name));
  }
  if (copied->reader_is_gone) ended->update(Json{{"end", "gone"}, {"why", "nobody reads them any more"}});
  (*ended)["bytes"] = copied->bytes;
  return ended;
}

Exit capture(const Call& call, const AskWithFile& ask) {
  Json params = call.params;
  if (const auto filter = call.local.find("--filter"); filter != call.local.end()) {
    auto program = compile_filter(filter->second);
    if (!program) return usage_error("vmuxctl", "--filter: " + program.error(), call.as_json);
    params["filter"] = *program;
    params["filter_text"] = filter->second;
  }
  const auto sink = sink_of(call);
  if (!sink) return sink.error();
  if (::isatty(STDERR_FILENO) == 1)
    std::fprintf(stderr, "vmuxctl: capturing %s to %s; Ctrl-C ends it\n", printable(text(params, "name")).c_str(),
                 printable(sink->name).c_str());
  const auto ended = capture_to(sink->fd(), sink->name, params, ask);
  if (!ended) {
    if (struct stat file{}; sink->is_new && ::fstat(sink->fd(), &file) == 0 && file.st_size == 0)
      ::unlink(sink->name.c_str());
    return explain(call, ended.error());
  }
  const int status = is_complete(*ended) ? 0 : kFailure;
  const bool is_free = sink->fd() != STDOUT_FILENO;  // standard output may have the frames
  if (call.as_json && is_free) return {status, control::to_line(*ended) + '\n', ""};
  return {status, "", fmt::format("vmuxctl: {}\n", printable(text_of_capture(*ended)))};
}

}  // namespace vmux::app
