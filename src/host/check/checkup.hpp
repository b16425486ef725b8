// SPDX-License-Identifier: BSD-3-Clause
// What the checks of check_*.cpp share: facts that several ask for, and where they put what they find.
#pragma once

#include <string>
#include <vector>

#include "host/check/check.hpp"
#include "host/look/command_line.hpp"
#include "host/look/function.hpp"

namespace vmux::host {

struct Checkup {
  Machine& machine;
  const CheckRequest& request;
  std::optional<PciFunction> nic;  ///< request.nic
  std::vector<PciFunction> all;    ///< every PCI function
  CommandLine cmdline;             ///< of the kernel
  std::string cpuinfo;
  bool is_root = false;
  std::vector<Finding> findings;
  const char* check = "";  ///< the one that runs

  void good(std::string found, std::string mend = "") { add(Verdict::good, std::move(found), std::move(mend)); }
  void warn(std::string found, std::string mend) { add(Verdict::warn, std::move(found), std::move(mend)); }
  void bad(std::string found, std::string mend) { add(Verdict::bad, std::move(found), std::move(mend)); }
  void unknown(std::string found, std::string mend = "run it as root") {
    add(Verdict::unknown, std::move(found), std::move(mend));
  }
  void add(Verdict verdict, std::string found, std::string mend) {
    findings.push_back({check, verdict, std::move(found), std::move(mend)});
  }

  [[nodiscard]] bool has_cpu_flag(const char* flag) const;
  [[nodiscard]] bool is_amd() const;
  /// Runs below a hypervisor itself.
  [[nodiscard]] bool is_guest() const { return has_cpu_flag("hypervisor"); }
  /// How to get a parameter onto the kernel's command line of this distribution.
  [[nodiscard]] std::string add_parameter(const std::string& parameter) const;
  [[nodiscard]] bool has_module(const std::string& name) const { return machine.exists("/sys/module/" + name); }
  /// A module's parameter, "" if it is not loaded or has none.
  [[nodiscard]] std::string module_parameter(const std::string& module, const std::string& name) const {
    return machine.text("/sys/module/" + module + "/parameters/" + name);
  }
};

/// Kernels say Y and N, or 1 and 0.
[[nodiscard]] inline bool is_yes(const std::string& text) { return text == "Y" || text == "1"; }

// check_cpu.cpp
void check_virtualization(Checkup&);
void check_kvm(Checkup&);
void check_nested(Checkup&);
void check_isolation(Checkup&);
void check_idle_states(Checkup&);
void check_governor(Checkup&);
void check_smt(Checkup&);
// check_iommu.cpp
void check_iommu(Checkup&);
void check_iommu_mode(Checkup&);
void check_iommu_groups(Checkup&);
void check_interrupt_remapping(Checkup&);
void check_posted_interrupts(Checkup&);
void check_acs(Checkup&);
// check_memory.cpp
void check_hugepages(Checkup&);
void check_memlock(Checkup&);
void check_open_files(Checkup&);
// check_vfio.cpp
void check_vfio_modules(Checkup&);
void check_vfio_options(Checkup&);
void check_vfio_access(Checkup&);
void check_vmms(Checkup&);
// check_nic.cpp
void check_nic_place(Checkup&);
void check_nic_link(Checkup&);

}  // namespace vmux::host
