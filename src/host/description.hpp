// SPDX-License-Identifier: BSD-3-Clause
// A host as a file: what `apply` makes it and `save` finds. docs/host.md has the format.
#pragma once

#include <cstdint>
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

enum class FileFormat : std::uint8_t { toml, yaml };
/// .yaml and .yml are YAML, everything else is TOML.
[[nodiscard]] FileFormat format_of(std::string_view path) noexcept;

/// A mistake is told with `name` and its line.
[[nodiscard]] Outcome<Description> parse_description(std::string_view text, const std::string& name, FileFormat format);
[[nodiscard]] std::string to_toml(const Description& description);
[[nodiscard]] std::string to_yaml(const Description& description);
inline constexpr std::string_view kSavedHeading =
    "# A host as vmuxctl host found it. `vmuxctl host apply FILE` makes it so again.\n";
/// As the file has it: auto, enable, disable.
[[nodiscard]] std::string_view link_name(VfLink link) noexcept;

[[nodiscard]] Outcome<> apply(Session& session, const Description& description);
/// What there is now: huge pages, network cards and what VFIO has, virtual functions, interrupts that this toolkit
/// placed, isolated CPUs.
[[nodiscard]] Outcome<Description> describe(Machine& machine, const Journal& journal);

}  // namespace vmux::host
