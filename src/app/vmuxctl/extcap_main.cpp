// SPDX-License-Identifier: BSD-3-Clause
// vmux-extcap: a program for Wireshark's extcap directory.
#include "app/vmuxctl/capture/extcap.hpp"
#include "app/vmuxctl/reach.hpp"

int main(int argc, char** argv) {
  using vmux::control::Json;
  constexpr unsigned kTimeout_s = 5;  // Wireshark's user waits for the list
  const auto connect = [](const std::string& rpc) -> vmux::app::AskWithFile {
    return [rpc](const std::string& method, const Json& params, int file) -> vmux::control::Outcome<Json> {
      auto daemon = vmux::app::reach(rpc, kTimeout_s, 0);
      if (!daemon) return tl::unexpected<vmux::control::Problem>(daemon.error());
      return vmux::app::ask(*daemon, method, params, file);
    };
  };
  return vmux::app::leave("vmux-extcap", vmux::app::extcap({argv + 1, argv + argc}, connect));
}
