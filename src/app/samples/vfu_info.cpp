// SPDX-License-Identifier: BSD-3-Clause
// vfu-info: what a vfio-user server offers, in the manner of lspci.
#include "app/samples/vfu_info.hpp"

#include "app/number_option.hpp"
#include "app/output.hpp"
#include "app/samples/parse.hpp"

namespace {

int fail(const std::string& path, const vmux::Error& error, bool as_json) {
  const std::string text = path + ": " + error.text();
  return vmux::app::leave(
      "vfu-info", {1, as_json ? vmux::app::error_line("host", text) : "", "vfu-info: " + vmux::printable(text) + "\n"});
}

}  // namespace

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
  if (const auto status = vmux::samples::parse(app, "vfu-info", argc, argv)) return *status;

  vmux::vfio_user::ClientOptions options;
  options.twin_socket = true;  // to learn whether the server has it
  options.timeout_ns = timeout_ms * std::uint64_t{1'000'000};
  auto client = vmux::vfio_user::Client::connect(path, options);
  if (!client) return fail(path, client.error(), as_json);
  const auto device = vmux::samples::look_at(**client);
  if (!device) return fail(path, device.error(), as_json);
  if (as_json) {
    vmux::samples::print_json(*device);
  } else {
    vmux::samples::print_text(*device);
  }
  return vmux::app::finish("vfu-info", 0, stdout, stderr);
}
