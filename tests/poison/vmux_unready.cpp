// SPDX-License-Identifier: BSD-3-Clause
// vmux-unready: a new version with a bug that nobody can foresee. It says that it could go on with another's ports, and
// dies when it has to.
#include <cstdlib>
#include <utility>
#include <vector>

#include "app/vmux/run.hpp"

namespace {

using namespace vmux;

control::MakeFrontend make_frontend = nullptr;

Result<std::unique_ptr<control::Frontend>> make_none(const control::FrontendRequest& request, control::Device& device,
                                                     runtime::Poller& poller) {
  if (request.left != nullptr) std::_Exit(9);
  return make_frontend(request, device, poller);
}

}  // namespace

int main(int argc, char** argv) {
  control::Catalogue catalogue = control::builtin_catalogue();
  std::vector<control::TransportEntry> transports{catalogue.transports.begin(), catalogue.transports.end()};
  for (control::TransportEntry& each : transports) {
    if (each.name == control::kVfioUser) make_frontend = std::exchange(each.make, make_none);
  }
  catalogue.transports = transports;
  return app::run_vmux({argv + 1, argv + argc}, catalogue);
}
