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

enum class FileFormat : std::uint8_t { toml, yaml };

/// Where a table and its keys stand in their file; "" is the table itself.
using Lines = std::map<std::string, unsigned>;

struct HugepagesEntry : HugepagesRequest {
  Lines lines;
};

struct NicEntry {
  std::string device;  ///< PCI address or interface
  std::string driver;  ///< "" as it is
  std::optional<unsigned> vfs;
  std::map<unsigned, VfEntry> entries;
  bool brings_link_up = true;
  CpuSet irq_cpus;  ///< empty: as they are
  Lines lines;
  std::map<unsigned, Lines> vf_lines;  ///< by index
};

struct Description {
  std::vector<HugepagesEntry> hugepages;
  std::vector<NicEntry> nics;
  std::optional<CpuSet> isolated;  ///< advice only: this is the boot loader's to do
  std::string source;              ///< the file, for what is wrong with it; "" if it is none
  FileFormat format = FileFormat::toml;
};

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

/// A table or a list of tables as the notation writes it: "[[nic]]", "nic".
[[nodiscard]] std::string list_name(FileFormat format, const std::string& key);

/// All of it is rehearsed first, so that what can be known beforehand is refused before anything has changed, with its
/// place in the file.
[[nodiscard]] Outcome<> apply(Session& session, const Description& description);
/// What there is now: huge pages, network cards and what VFIO has, virtual functions, interrupts that this toolkit
/// placed, isolated CPUs.
[[nodiscard]] Outcome<Description> describe(Machine& machine, const Journal& journal);

}  // namespace vmux::host
