// SPDX-License-Identifier: BSD-3-Clause
// gpio-pci-idio-16: a digital I/O board for any VMM that speaks vfio-user.
#include <cstdio>

#include "app/samples/parse.hpp"
#include "app/samples/serve.hpp"
#include "device/gpio_idio16/device.hpp"

int main(int argc, char** argv) {
  CLI::App app{
      "Serves an ACCES PCI-IDIO-16 (16 outputs, 16 inputs) at a UNIX socket. Its inputs toggle after every third "
      "read."};
  std::string path;
  bool is_verbose = false, once = false, without_migration = false;
  app.add_option("SOCKET", path, "path of the socket")->required();
  app.add_flag("-v,--verbose", is_verbose, "print every access and event");
  app.add_flag("-R,--once", once, "end when the first client has gone");
  app.add_flag("-M,--no-migration", without_migration, "tell clients that the device does not migrate");
  if (const auto status = vmux::samples::parse(app, "gpio-pci-idio-16", argc, argv)) return *status;

  vmux::samples::log_to_stderr("gpio", is_verbose ? vmux::LogLevel::debug : vmux::LogLevel::warning);
  auto device = vmux::device::gpio_idio16::Device::create("gpio-pci-idio-16", !without_migration);
  if (!device) {
    std::fprintf(stderr, "gpio: %s\n", device.error().text().c_str());
    return 1;
  }
  if (is_verbose) {
    (*device)->set_watcher([](bool is_write, std::uint64_t offset, std::uint8_t value) {
      std::fprintf(stderr, "gpio: region2: %s %#x %s (%#llx:1)\n", is_write ? "wrote" : "read", value,
                   is_write ? "to" : "from", static_cast<unsigned long long>(offset));
    });
  }
  return vmux::samples::serve((*device)->function(), path, once);
}
