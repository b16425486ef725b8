// SPDX-License-Identifier: BSD-3-Clause
// vmux: network cards for virtual machines.
#include "app/vmux/run.hpp"

int main(int argc, char** argv) {
  return vmux::app::run_vmux({argv + 1, argv + argc}, vmux::control::builtin_catalogue());
}
