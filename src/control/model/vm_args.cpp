// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/vm_args.hpp"

#include <algorithm>

#include "base/format.hpp"
#include "control/rpc/json_rpc.hpp"

namespace vmux::control {
namespace {

/// For a POSIX shell: as it is when nothing in it is special, else in single quotes.
std::string shell_quote(const std::string& text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+=:,@%";
  if (text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string quoted = "'";
  for (const char c : text)
    quoted += c == '\'' ? std::string{"'\\''"} : std::string{c};
  return quoted + "'";
}

/// For an XML attribute in single quotes.
std::string xml_quote(const std::string& text) {
  std::string quoted;
  for (const char c : text) {
    switch (c) {
      case '&':
        quoted += "&amp;";
        break;
      case '<':
        quoted += "&lt;";
        break;
      case '\'':
        quoted += "&apos;";
        break;
      default:
        quoted += c;
    }
  }
  return quoted;
}

std::string qemu_device(const std::string& socket) {
  return to_line(Json{{"driver", "vfio-user-pci"}, {"socket", {{"type", "unix"}, {"path", socket}}}});
}

VmArgs for_qemu(const std::string& socket, unsigned memory_mb) {
  return {{fmt::format("-m {}", memory_mb),
           fmt::format("-object memory-backend-memfd,id=vmux-mem,size={}M,share=on", memory_mb),
           "-machine q35,memory-backend=vmux-mem", fmt::format("-device {}", shell_quote(qemu_device(socket)))},
          {"needs QEMU 10.1 or newer",
           "share=on is what lets vMux reach the guest's memory; without it frames do not flow"}};
}

VmArgs for_libvirt(const std::string& socket, unsigned memory_mb) {
  return {
      {"<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>",
       fmt::format("  <memory unit='MiB'>{}</memory>", memory_mb), "  <memoryBacking>", "    <source type='memfd'/>",
       "    <access mode='shared'/>", "  </memoryBacking>", "  <qemu:commandline>", "    <qemu:arg value='-device'/>",
       fmt::format("    <qemu:arg value='{}'/>", xml_quote(qemu_device(socket))), "  </qemu:commandline>", "</domain>"},
      {"needs QEMU 10.1 or newer behind libvirt",
       "merge these elements into the domain; the xmlns:qemu attribute is required",
       "libvirt's user and security driver must be allowed to connect to the socket: socket_group and socket_mode of "
       "the "
       "port (vmuxctl port add --socket-group kvm --socket-mode 0660)"}};
}

VmArgs for_cloud_hypervisor(const std::string& socket, unsigned memory_mb) {
  return {{fmt::format("--memory size={}M,shared=on", memory_mb),
           fmt::format("--user-device {}", shell_quote("socket=" + socket))},
          {"shared=on is what lets vMux reach the guest's memory; without it frames do not flow"}};
}

struct Lines {
  std::string_view vmm, transport;
  VmArgs (*make)(const std::string& socket, unsigned memory_mb);
};
constexpr Lines kLines[] = {
    {"qemu", "vfio-user", for_qemu},
    {"libvirt", "vfio-user", for_libvirt},
    {"cloud-hypervisor", "vfio-user", for_cloud_hypervisor},
};

}  // namespace

Outcome<VmArgs> vm_args(std::string_view vmm, std::string_view transport, const std::string& socket,
                        unsigned memory_mb) {
  bool is_known = false;
  for (const Lines& row : kLines) {
    if (row.vmm == vmm && row.transport == transport) return row.make(socket, memory_mb);
    is_known |= row.vmm == vmm;
  }
  if (is_known) return refuse(ProblemKind::not_supported, "vmm", fmt::format("{} has no {}", vmm, transport));
  return refuse(ProblemKind::invalid, "vmm", fmt::format("expected {}, got '{}'", kVmms, vmm));
}

}  // namespace vmux::control
