// SPDX-License-Identifier: BSD-3-Clause
// vmux-web: a page and metrics of a running vmux.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>

#include "app/vmux_web/daemon.hpp"
#include "app/vmux_web/http_server.hpp"
#include "app/vmux_web/options.hpp"
#include "base/text/printable.hpp"
#include "vmux/base/unique_fd.hpp"

namespace {

using vmux::app::WebOptions;

void say(const std::string& sentence) { std::fprintf(stderr, "vmux-web: %s\n", vmux::printable(sentence).c_str()); }

vmux::UniqueFd signals_to_stop() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return vmux::UniqueFd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
}

/// What nobody can see from outside is said at the start.
void warn_of(const WebOptions& options) {
  if (::geteuid() == 0) say("it runs as root, which it need not: a user of its own with the role read is enough");
  const auto* const tcp = std::get_if<vmux::app::TcpAddress>(&options.listen);
  if (tcp != nullptr && !tcp->host.starts_with("127.") && tcp->host != "::1")
    say("whoever reaches " + tcp->host + " may read: there is no TLS and no login here");
}

int serve(const WebOptions& options) {
  const vmux::UniqueFd signals = signals_to_stop();
  vmux::app::Daemon daemon{options.rpc, &say};
  const auto look = [](void* of, bool for_people) -> const vmux::app::Snapshot& {
    return static_cast<vmux::app::Daemon*>(of)->look(static_cast<vmux::app::Daemon::For>(for_people));
  };
  vmux::app::Site site{vmux::app::AllowedHosts{options.allowed_hosts}, look, &daemon};
  auto server = vmux::app::HttpServer::create(
      options.listen, [&site](const vmux::app::Request& request) { return site.answer(request); });
  if (!server) {
    say("cannot serve: " + server.error().text());
    return vmux::app::kFailure;
  }
  say("serves " + (*server)->where() + " of vmux at " + options.rpc);
  for (;;) {
    std::array<pollfd, 2> entries{{{(*server)->fd(), POLLIN, 0}, {signals.get(), POLLIN, 0}}};
    ::poll(entries.data(), entries.size(), (*server)->wait_ms());
    if ((entries[1].revents & POLLIN) != 0) return 0;
    (*server)->run_once();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = vmux::app::parse_web({argv + 1, argv + argc}, vmux::app::screen_of_stdout());
  if (!options) return vmux::app::leave("vmux-web", options.error());
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  warn_of(*options);
  return serve(*options);
}
