// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmux_web/options.hpp"

#include <arpa/inet.h>

#include <CLI/CLI.hpp>
#include <array>

#include "app/console/understand.hpp"
#include "app/vmux_web/host_check.hpp"
#include "base/text/text.hpp"
#include "control/rpc/rpc_client.hpp"
#include "control/version.hpp"

namespace vmux::app {
namespace {

constexpr const char* kName = "vmux-web";
constexpr const char* kDefaultListen = "127.0.0.1:9640";
constexpr const char* kFormsOfListen =
    "an address in digits with a port, such as 127.0.0.1:9640 or [::1]:9640, or unix:PATH";
constexpr std::size_t kLongestPath = 107;  // sockaddr_un

bool is_wildcard(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

/// A name without a port, as requests are to have it.
tl::expected<std::string, std::string> parse_allowed(const std::string& written) {
  const auto host = host_of(written);
  if (!host || host->size() != written.size()) return tl::unexpected<std::string>("a host name without a port");
  return *host;
}

struct Written {
  std::string rpc = control::default_rpc_path(), listen = kDefaultListen, mode = "0660";
  std::vector<std::string> hosts;
};

void declare(CLI::App& app, Written& into) {
  app.add_option("-r,--rpc", into.rpc,
                 "RPC socket of the daemon that is shown (default: VMUX_RPC, or where vmux has it)")
      ->type_name("SOCKET");
  app.add_option("-l,--listen", into.listen,
                 std::string{"where to serve: "} + kFormsOfListen + " (default: " + kDefaultListen + ")")
      ->type_name("ADDRESS");
  app.add_option("--socket-mode", into.mode, "who may connect to unix:PATH (default: 0660)")->type_name("MODE");
  app.add_option(
         "--allow-host", into.hosts,
         "a name by which browsers may come, beside localhost; repeat for more. A reverse proxy passes on its own")
      ->take_all()
      ->expected(1)
      ->type_name("NAME");
  app.set_version_flag("-V,--version", std::string{"vmux-web "} + control::version());
  app.footer(
      "Metrics for Prometheus are at /metrics, the page is at /. There is no TLS and no login here: see vmux-web(8).\n"
      "Exit status: 0 after a clean stop, 1 when it cannot serve, 2 for a usage error.");
}

tl::unexpected<Exit> wrong(const std::string& option, const std::string& expected, const std::string& got) {
  return tl::unexpected<Exit>(usage_error(kName, option + ": expected " + expected + ", got '" + got + "'", false));
}

}  // namespace

tl::expected<ListenAt, std::string> parse_listen(const std::string& written) {
  if (written.starts_with("unix:")) {
    const std::string path = written.substr(5);
    if (path.empty() || path.size() > kLongestPath)
      return tl::unexpected<std::string>("unix: and a path of 1 to 107 bytes");
    return ListenAt{SocketPath{.path = path}};
  }
  const std::size_t colon = written.rfind(':');
  if (colon == std::string::npos) return tl::unexpected<std::string>(kFormsOfListen);
  TcpAddress address{.host = written.substr(0, colon)};
  const auto port = parse_number(std::string_view{written}.substr(colon + 1), 65'535);
  address.is_ipv6 = address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']';
  if (address.is_ipv6) address.host = address.host.substr(1, address.host.size() - 2);
  in6_addr parsed{};
  if (!port || ::inet_pton(address.is_ipv6 ? AF_INET6 : AF_INET, address.host.c_str(), &parsed) != 1)
    return tl::unexpected<std::string>(kFormsOfListen);
  // As browsers write it, however the option does: [::1], and not [0:0::1].
  std::array<char, INET6_ADDRSTRLEN> text{};
  address.host = ::inet_ntop(address.is_ipv6 ? AF_INET6 : AF_INET, &parsed, text.data(), text.size());
  address.port = static_cast<std::uint16_t>(*port);
  return ListenAt{std::move(address)};
}

tl::expected<WebOptions, Exit> parse_web(const std::vector<std::string>& arguments, const Screen& screen) {
  Written written;
  CLI::App app{"Shows a running vmux: a page for people, metrics for Prometheus. It only reads.", kName};
  declare(app, written);
  if (auto exit = parse(app, arguments, screen)) return tl::unexpected<Exit>(std::move(*exit));
  WebOptions options{.rpc = written.rpc};
  auto listen = parse_listen(written.listen);
  if (!listen) return wrong("--listen", listen.error(), written.listen);
  options.listen = std::move(*listen);
  const auto mode = parse_mode(written.mode);
  if (!mode) return wrong("--socket-mode", "octal digits up to 0777", written.mode);
  if (auto* const path = std::get_if<SocketPath>(&options.listen)) path->mode = *mode;
  for (const std::string& each : written.hosts) {
    auto host = parse_allowed(each);
    if (!host) return wrong("--allow-host", host.error(), each);
    options.allowed_hosts.push_back(std::move(*host));
  }
  // Nobody's name can be made to lead here under an address.
  const auto* const address = std::get_if<TcpAddress>(&options.listen);
  if (address != nullptr && !is_wildcard(address->host))
    options.allowed_hosts.push_back(address->is_ipv6 ? '[' + address->host + ']' : address->host);
  return options;
}

}  // namespace vmux::app
