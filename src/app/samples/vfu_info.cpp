// SPDX-License-Identifier: BSD-3-Clause
// vfu-info: what a vfio-user server offers, in the manner of lspci.
#include "app/samples/vfu_info.hpp"

#include <cstdio>

#include "app/number_option.hpp"
#include "app/output.hpp"
#include "app/samples/parse.hpp"
int main(int argc, char** argv) {
  CLI::App app{"Connects to a vfio-user server and prints its identity, regions, interrupts and capabilities."};
  std::string path;
  bool as_json = false;
  unsigned timeout_ms = 5000;
  app.add_option("SOCKET", path, "path of the server's socket")->required();
  app.add_flag("--json", as_json, "print one JSON object");
  app.add_option("--timeout", timeout_ms, "milliseconds to wait for an answer")
      ->capture_default_str()
      ->transform(vmux::app::number(1, 3'600'000));
  if (const auto status = vmux::samples::parse(app, argc, argv)) return *status;

  vmux::vfio_user::ClientOptions options;
  options.twin_socket = true;  // to learn whether the server has it
  options.timeout_ns = timeout_ms * std::uint64_t{1'000'000};
  auto client = vmux::vfio_user::Client::connect(path, options);
  if (!client) {
    std::fprintf(stderr, "vfu-info: %s: %s\n", path.c_str(), client.error().text().c_str());
    return 1;
  }
  const auto device = vmux::samples::look_at(**client);
  if (!device) {
    std::fprintf(stderr, "vfu-info: %s: %s\n", path.c_str(), device.error().text().c_str());
    return 1;
  }
  if (as_json) {
    vmux::samples::print_json(*device);
  } else {
    vmux::samples::print_text(*device);
  }
  return vmux::app::finish("vfu-info", 0, stdout, stderr);
}
