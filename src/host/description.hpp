// SPDX-License-Identifier: BSD-3-Clause
// A host as a file: what `apply` makes it and `save` finds. docs/host.md has the format.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/operations.hpp"

namespace vmux::host {

struct NicWish {
  std::string device;  ///< PCI address or interface
  std::string driver;  ///< "" as it is
  std::optional<unsigned> vfs;
  std::map<unsigned, VfWish> wishes;
  bool brings_link_up = true;
  CpuSet irq_cpus;  ///< empty: as they are
};

struct Description {
  std::vector<HugepagesRequest> hugepages;
  std::vector<NicWish> nics;
  std::optional<CpuSet> isolated;  ///< advice only: this is the boot loader's to do
};

/// TOML. A mistake is told with `name` and its line.
[[nodiscard]] Outcome<Description> parse_description(std::string_view text, const std::string& name);
[[nodiscard]] std::string to_toml(const Description& description);

[[nodiscard]] Outcome<> apply(Session& session, const Description& description);
/// What there is now: huge pages, network cards and what VFIO has, virtual functions, interrupts that this toolkit
/// placed, isolated CPUs.
[[nodiscard]] Outcome<Description> describe(Machine& machine, const Journal& journal);

}  // namespace vmux::host
