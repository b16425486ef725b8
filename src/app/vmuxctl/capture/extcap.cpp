// SPDX-License-Identifier: BSD-3-Clause
#include "app/vmuxctl/capture/extcap.hpp"

#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <cerrno>

#include "app/vmuxctl/capture/compile.hpp"
#include "app/vmuxctl/print.hpp"
#include "base/text/format.hpp"
#include "control/rpc/rpc_client.hpp"
#include "control/version.hpp"

namespace vmux::app {
namespace {

using control::Json;

constexpr const char* kPrefix = "vmux-";  // of interfaces, so that they are not taken for the host's

/// As the command line has it.
struct Asked {
  bool interfaces = false, dlts = false, config = false, capture = false, dropped = false;
  std::string version, interface, fifo, filter, direction = "both", rpc, reload;
  std::uint64_t snaplen = 128;
};

/// In braces: a brace of a name would end it.
std::string safe(const std::string& text) {
  std::string out;
  for (const char c : printable(text))
    out += c == '{' || c == '}' ? '_' : c;
  return out;
}

/// Where no daemon answers there are none; Wireshark starts all the same.
std::string interfaces(const AskWithFile& ask) {
  std::string out = fmt::format("extcap {{version={}}}{{display=vMux}}\n", control::version());
  std::vector<std::string> known;
  for (const char* const kind : {"port", "uplink", "switch"}) {
    const auto all = ask(fmt::format("{}.list", kind), Json::object(), -1);
    if (!all || !all->is_array()) return out;
    for (const Json& one : *all) {
      const std::string name = safe(text(one, "name"));
      const std::string_view what{kind};
      const bool is_physical = what == "port" && !member(one, "switch").is_string();  // no frame comes by
      if (is_physical || std::find(known.begin(), known.end(), name) != known.end()) continue;
      known.push_back(name);
      const std::string on = what == "switch" ? "" : " on switch " + safe(text(one, "switch"));
      out += fmt::format("interface {{value={}{}}}{{display=vMux {} {}{}}}\n", kPrefix, name, kind, name, on);
    }
  }
  return out;
}

std::string config(const Asked& asked) {
  return fmt::format(
      "arg {{number=0}}{{call=--snaplen}}{{display=Bytes of each frame}}{{type=unsigned}}{{range=0,262144}}"
      "{{default=128}}{{tooltip=0: whole frames; more than 128 takes the role admin}}\n"
      "arg {{number=1}}{{call=--direction}}{{display=Direction}}{{type=selector}}"
      "{{tooltip=in: what the port sends; out: what it gets}}\n"
      "value {{arg=1}}{{value=both}}{{display=in and out}}{{default=true}}\n"
      "value {{arg=1}}{{value=in}}{{display=in}}{{default=false}}\n"
      "value {{arg=1}}{{value=out}}{{display=out}}{{default=false}}\n"
      "arg {{number=2}}{{call=--dropped}}{{display=Dropped frames only}}{{type=boolflag}}{{default=false}}"
      "{{tooltip=Each has the reason as its comment}}\n"
      "arg {{number=3}}{{call=--rpc}}{{display=RPC socket}}{{type=string}}{{default={}}}{{tooltip=Of the daemon}}\n",
      safe(asked.rpc));
}

Exit capture(const Asked& asked, const AskWithFile& ask) {
  Json params{{"name", asked.interface}, {"snaplen", asked.snaplen}, {"direction", asked.direction}};
  if (asked.dropped) params["dropped"] = true;
  if (!asked.filter.empty()) {
    const auto program = compile_filter(asked.filter);
    if (!program) return {kFailure, "", program.error() + '\n'};
    params["filter"] = *program;
    params["filter_text"] = asked.filter;
  }
  const UniqueFd fifo{::open(asked.fifo.c_str(), O_WRONLY | O_CLOEXEC)};
  if (!fifo) return {kFailure, "", fmt::format("cannot open {}: {}\n", printable(asked.fifo), std::strerror(errno))};
  const auto ended = capture_to(fifo.get(), asked.fifo, params, ask);
  if (!ended) return {kFailure, "", printable(control::text_of(ended.error())) + '\n'};
  return is_complete(*ended) ? Exit{} : Exit{kFailure, "", printable(text_of_capture(*ended)) + '\n'};
}

void declare(CLI::App& app, Asked& asked) {
  app.add_flag("--extcap-interfaces", asked.interfaces, "list ports, uplinks and switches");
  app.add_option("--extcap-version", asked.version, "Wireshark's");
  app.add_option("--extcap-interface", asked.interface, "one of them");
  app.add_flag("--extcap-dlts", asked.dlts, "list link types of an interface");
  app.add_flag("--extcap-config", asked.config, "list options of an interface");
  app.add_option("--extcap-reload-option", asked.reload, "list values of an option");
  app.add_option("--extcap-capture-filter", asked.filter, "a filter, as pcap-filter(7) has it");
  app.add_flag("--capture", asked.capture, "capture to --fifo");
  app.add_option("--fifo", asked.fifo, "where frames go");
  app.add_option("--snaplen", asked.snaplen, "bytes of each frame (default 128; 0: all)");
  app.add_option("--direction", asked.direction, "in, out or both (default)");
  app.add_flag("--dropped", asked.dropped, "only frames that were dropped");
  app.add_option("--rpc", asked.rpc, "RPC socket of the daemon (default $VMUX_RPC or /run/vmux/vmux.sock)");
}

Exit answer(Asked asked, const Connect& connect) {
  if (asked.rpc.empty()) asked.rpc = control::default_rpc_path();
  if (asked.interfaces) return {0, interfaces(connect(asked.rpc)), ""};
  if (asked.interface.rfind(kPrefix, 0) != 0)
    return {kUsageError, "", "vmux-extcap is for Wireshark: see vmux-extcap --help, and docs/capture.md\n"};
  asked.interface.erase(0, std::string_view{kPrefix}.size());
  if (asked.dlts) return {0, "dlt {number=1}{name=EN10MB}{display=Ethernet}\n", ""};
  if (asked.config) return {0, config(asked), ""};
  if (asked.capture) return capture(asked, connect(asked.rpc));
  // Is it a filter? What is printed says why not.
  const auto program = compile_filter(asked.filter);
  return {0, program ? "" : program.error() + '\n', ""};
}

}  // namespace

Exit extcap(const std::vector<std::string>& arguments, const Connect& connect) {
  Asked asked;
  CLI::App app{"vmux-extcap - ports of a running vmux as interfaces of Wireshark", "vmux-extcap"};
  app.set_version_flag("-V,--version", fmt::format("vmux-extcap {}", control::version()));
  declare(app, asked);
  try {
    app.parse(std::vector<std::string>{arguments.rbegin(), arguments.rend()});
  } catch (const CLI::Success&) {
    const bool is_version = std::find(arguments.begin(), arguments.end(), "--help") == arguments.end() &&
                            std::find(arguments.begin(), arguments.end(), "-h") == arguments.end();
    return {0, is_version ? app.version() + '\n' : app.help(), ""};
  } catch (const CLI::ParseError& error) {
    return {kUsageError, "", fmt::format("vmux-extcap: {}\n", printable(error.what()))};
  }
  return answer(std::move(asked), connect);
}

}  // namespace vmux::app
