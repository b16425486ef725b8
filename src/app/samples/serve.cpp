// SPDX-License-Identifier: BSD-3-Clause
#include "app/samples/serve.hpp"

#include <csignal>
#include <cstdio>

#include "vmux/runtime/poller.hpp"
#include "vmux/vfio_user/server.hpp"

namespace vmux::samples {
namespace {

volatile std::sig_atomic_t g_asked_to_stop = 0;
const char* g_prefix = "";

constexpr std::uint64_t kLook_ns = 200'000'000;  // a signal that comes between two rounds is seen this late at most

int complain(const Error& error) {
  std::fprintf(stderr, "%s: %s\n", g_prefix, error.text().c_str());
  return 1;
}

}  // namespace

void log_to_stderr(const char* prefix, LogLevel level) {
  g_prefix = prefix;
  const LogSink sink = [](LogLevel, std::string_view line) {
    std::fprintf(stderr, "%s: %.*s\n", g_prefix, static_cast<int>(line.size()), line.data());
  };
  set_log_sink(sink, level);
}

int serve(pci::Function& function, const std::string& path, bool once) {
  struct sigaction action {};
  action.sa_handler = [](int) { g_asked_to_stop = 1; };
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);

  auto poller = runtime::Poller::create();
  if (!poller) return complain(poller.error());
  vfio_user::ServerOptions options;
  options.path = path;
  const auto server = vfio_user::Server::create(**poller, function, options);
  if (!server) return complain(server.error());
  while (g_asked_to_stop == 0) {
    (*poller)->run_once(kLook_ns);
    const auto stats = (*server)->stats();
    if (once && stats.connections != 0 && !stats.is_connected) break;
  }
  return 0;
}

}  // namespace vmux::samples
