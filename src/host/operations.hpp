// SPDX-License-Identifier: BSD-3-Clause
// The commands of the toolkit that change a host. Each is steps of one Session, which finishes or undoes them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "host/session.hpp"

namespace vmux::host {

struct BindRequest {
  std::string function;             ///< PCI address or interface
  std::string driver = "vfio-pci";  ///< "none": no driver at all
  bool with_group = false;          ///< and the rest of its IOMMU group
};
[[nodiscard]] Outcome<> bind(Session& session, const BindRequest& request);
/// Back to the driver that it had before bind, or, if nobody remembers, to the one that the kernel chooses.
[[nodiscard]] Outcome<> unbind(Session& session, const std::string& function);

/// Refuses unless it can be a driver of PCI functions here; "none" and "" always can.
[[nodiscard]] Outcome<> require_driver(Session& session, const std::string& driver);

/// What shall be about one virtual function; a member without a value stays as it is.
struct VfEntry {
  VfSettings settings;
  std::string driver;  ///< "none", or "" for what the kernel chooses
};

struct VfsRequest {
  std::string physical;
  std::optional<unsigned> count;        ///< as many as there are, if it is not given
  std::map<unsigned, VfEntry> entries;  ///< by index
  bool brings_link_up = true;           ///< without it no virtual function has a link
};
[[nodiscard]] Outcome<> set_vfs(Session& session, const VfsRequest& request);
/// What each virtual function has now, by index; empty where the driver does not tell.
[[nodiscard]] Outcome<std::vector<VfSettings>> vf_settings(Machine& machine, const PciFunction& physical);

inline constexpr std::uint64_t kMostHugepages = 1 << 30;
inline constexpr unsigned kMostNode = 1023;  // CONFIG_NODES_SHIFT is 10 at most
struct HugepagesRequest {
  std::uint64_t count = 0;                ///< on the node, or spread over all of them
  std::optional<std::uint64_t> size_kib;  ///< the kernel's default, if it is not given
  std::optional<unsigned> node;
  bool mounts = false;  ///< and makes sure that pages of this size are mounted somewhere
};
[[nodiscard]] Outcome<> set_hugepages(Session& session, const HugepagesRequest& request);
/// What of the machine it is about; empty if there are no such pages.
[[nodiscard]] std::vector<Resource> hugepage_pools(const Machine& machine, const HugepagesRequest& request);

struct HugepagesInfo {
  std::optional<unsigned> node;
  std::uint64_t size_kib = 0;
  std::uint64_t total = 0;  ///< set aside
  std::uint64_t free = 0;   ///< of all that there are
  std::uint64_t surplus =
      0;  ///< beyond those that are set aside: they go when the programs that have them give them back
};
/// Mounts pages of this size (or the default's) at /dev/hugepagesSIZE, unless they are mounted anywhere.
[[nodiscard]] Outcome<> mount_hugepages(Session& session, std::optional<std::uint64_t> size_kib);
[[nodiscard]] std::vector<HugepagesInfo> hugepages(const Machine& machine);

struct IrqRequest {
  std::string function;
  CpuSet cpus;
  bool is_together = false;  ///< every interrupt may go to all of them; else one CPU each, in turn
};
[[nodiscard]] Outcome<> set_irqs(Session& session, const IrqRequest& request);
/// Where they were before set_irqs.
[[nodiscard]] Outcome<> put_irqs_back(Session& session, const std::string& function);

struct IrqInfo {
  unsigned irq = 0;
  std::string name;  ///< who asked for it ("ens1-rx-0"), "" if nobody did
  std::string cpus, effective;
};
[[nodiscard]] std::vector<IrqInfo> irqs(const Machine& machine, const PciFunction& function);

}  // namespace vmux::host
