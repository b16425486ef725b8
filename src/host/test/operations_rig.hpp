// SPDX-License-Identifier: BSD-3-Clause
// For tests of what sets something on a machine: a good one, on which an operation runs as a command would run it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "host/fake_machine.hpp"
#include "host/operations.hpp"

namespace vmux::host::test {

inline constexpr const char* kPfPath = "/sys/bus/pci/devices/0000:01:00.0/";

class Operations : public testing::Test {
 protected:
  Operations() {
    fake::make_good_host(machine_);
    machine_.add_driver("igbvf");
  }
  template <class Work>
  Outcome<Report> run(Work work, const Options& options = {}) {
    auto session = Session::open(machine_, options);
    if (!session) return tl::unexpected<Failure>(session.error());
    return session->finish(work(*session));
  }
  Outcome<Report> vfs(const VfsRequest& request, const Options& options = {}) {
    return run([&](Session& session) { return set_vfs(session, request); }, options);
  }
  Outcome<Report> pages(const HugepagesRequest& request) {
    return run([&](Session& session) { return set_hugepages(session, request); });
  }
  Outcome<Report> restore() { return Session::open(machine_, {})->restore({}); }
  std::vector<Entry> journal() { return Journal::load(machine_, "/var/lib/vmux/host.journal")->entries(); }
  std::string driver(const char* name) { return machine_.link(std::string{kPciDevices} + name + "/driver"); }
  std::string count() { return machine_.text(std::string{kPfPath} + "sriov_numvfs"); }
  std::string pages_of(unsigned node) {
    return machine_.text("/sys/devices/system/node/node" + std::to_string(node) +
                         "/hugepages/hugepages-2048kB/nr_hugepages");
  }
  const VfSettings& vf(unsigned index) { return machine_.net.all_vfs["ens1"][index]; }

  fake::FakeMachine machine_;
};

}  // namespace vmux::host::test
