// SPDX-License-Identifier: BSD-3-Clause
// null: a PCI function that does nothing, in as few lines as the library needs.
#include <algorithm>
#include <cstdio>

#include "app/samples/parse.hpp"
#include "app/samples/serve.hpp"

namespace {

struct NullDevice final : vmux::pci::Device {
  void read_bar(vmux::pci::Region, vmux::RegionOffset, std::span<std::byte> into) noexcept override {
    std::fill(into.begin(), into.end(), std::byte{0});
  }
  void write_bar(vmux::pci::Region, vmux::RegionOffset, std::span<const std::byte>) noexcept override {}
  void reset(vmux::pci::ResetKind) noexcept override {}
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Serves a PCI function without regions, interrupts or abilities at a UNIX socket."};
  std::string path;
  bool is_verbose = false;
  app.add_option("SOCKET", path, "path of the socket")->required();
  app.add_flag("-v,--verbose", is_verbose, "print what clients do");
  if (const auto status = vmux::samples::parse(app, "null", argc, argv)) return *status;

  vmux::samples::log_to_stderr("null", is_verbose ? vmux::LogLevel::debug : vmux::LogLevel::warning);
  NullDevice device;
  vmux::pci::FunctionSpec spec;
  spec.name = "null";
  spec.vendor_id = 0x1234;  // nobody's: used by devices for tests
  spec.class_code = 0xff0000;
  const auto function = vmux::pci::Function::create(spec, device);
  if (!function) {
    std::fprintf(stderr, "null: %s\n", function.error().text().c_str());
    return 1;
  }
  return vmux::samples::serve(**function, path, false);
}
