// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/viommu_args.hpp"

#include <algorithm>

#include "base/text/format.hpp"

namespace vmux::control {
namespace {

struct Mode {
  std::string_view name;
  std::vector<std::string> guest;  // what the guest is told
};

const std::vector<Mode>& modes() {
  static const std::vector<Mode> all{
      {"none", {}},
      {"strict", {"guest's kernel command line: intel_iommu=on iommu.strict=1"}},
      {"shadow",
       {"guest's kernel command line: intel_iommu=on iommu.strict=1",
        "guest, as root, with guest/shadow built for its kernel: echo options vmux_shadow devices=VENDOR:DEVICE "
        ">/etc/modprobe.d/vmux-shadow.conf (lspci -n has the numbers)",
        "guest: the module has to be loaded before the NIC's driver: echo softdep DRIVER pre: vmux_shadow "
        ">>/etc/modprobe.d/vmux-shadow.conf, and update-initramfs -u"}},
      {"pt",
       {"guest's kernel command line: intel_iommu=on iommu=pt (all devices); for the NIC alone, with its driver "
        "unbound: echo identity >/sys/bus/pci/devices/ADDRESS/iommu_group/type"}}};
  return all;
}

/// Where a VMM has an IOMMU: what stands for it, and before which line.
struct Place {
  std::string_view vmm;
  std::string_view before;  // the beginning of a line
  std::vector<std::string> lines;
};

const std::vector<Place>& places() {
  // Without caching mode QEMU hears of no map, and gives up.
  static const std::vector<Place> all{{"qemu", "-device", {"-device intel-iommu,caching-mode=on"}},
                                      {"libvirt",
                                       "  <qemu:commandline>",
                                       {"  <devices>", "    <iommu model='intel'>", "      <driver caching_mode='on'/>",
                                        "    </iommu>", "  </devices>"}}};
  return all;
}

}  // namespace

Outcome<VmArgs> with_viommu(VmArgs args, std::string_view vmm, std::string_view transport, std::string_view mode) {
  const auto found = std::find_if(modes().begin(), modes().end(), [&](const Mode& each) { return each.name == mode; });
  if (found == modes().end())
    return refuse(ProblemKind::invalid, "viommu", fmt::format("expected {}, got '{}'", kViommus, mode));
  if (found->guest.empty()) return args;
  const auto place = std::find_if(places().begin(), places().end(), [&](const Place& each) { return each.vmm == vmm; });
  if (place == places().end() || transport != "vfio-user")
    return refuse(ProblemKind::not_supported, "viommu", fmt::format("{} has no IOMMU for {}", vmm, transport));
  const auto at = std::find_if(args.lines.begin(), args.lines.end(),
                               [&](const std::string& line) { return line.rfind(place->before, 0) == 0; });
  args.lines.insert(at, place->lines.begin(), place->lines.end());
  args.notes.emplace_back("the IOMMU stands before all devices that it is for");
  args.notes.insert(args.notes.end(), found->guest.begin(), found->guest.end());
  return args;
}

}  // namespace vmux::control
