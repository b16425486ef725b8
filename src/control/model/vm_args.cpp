// SPDX-License-Identifier: BSD-3-Clause
#include "control/model/vm_args.hpp"

#include <algorithm>

#include "base/text/format.hpp"
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

/// QEMU's cards have at least so many descriptors, and at most 1024.
unsigned ring_of(const VmPort& port) noexcept { return std::clamp(port.ring_size, 256u, 1024u); }

constexpr const char* kShared = "share=on is what lets vMux reach the guest's memory; without it frames do not flow";

constexpr const char* kMigration =
    "QEMU migrates and snapshots a VM without the state of this NIC, and does not say so: unplug it before, or use one "
    "of "
    "the other ways in docs/migration.md";

std::vector<std::string> qemu_memory(unsigned memory_mb) {
  return {fmt::format("-m {}", memory_mb),
          fmt::format("-object memory-backend-memfd,id=vmux-mem,size={}M,share=on", memory_mb),
          "-machine q35,memory-backend=vmux-mem"};
}

VmArgs for_qemu(const VmPort& port, unsigned memory_mb) {
  VmArgs args{qemu_memory(memory_mb), {"needs QEMU 10.1 or newer", kShared, kMigration}};
  args.lines.push_back(fmt::format("-device {}", shell_quote(qemu_device(port.socket))));
  return args;
}

/// In QEMU's own lists of options a comma is written twice.
std::string qemu_quote(const std::string& text) {
  std::string quoted;
  for (const char c : text)
    quoted += c == ',' ? std::string{",,"} : std::string{c};
  return quoted;
}

std::string qemu_options(const VmPort& port) {
  std::string text;
  for (const std::string& option : port.options)
    text += "," + option;
  return text;
}

// Two vectors for each pair, one for the configuration and one for the control queue.
VmArgs for_qemu_vhost(const VmPort& port, unsigned memory_mb) {
  VmArgs args{qemu_memory(memory_mb), {kShared}};
  args.lines.push_back(fmt::format(
      "-chardev {}", shell_quote(fmt::format("socket,id=vmux-{},path={},{}", port.name, qemu_quote(port.socket),
                                             port.connects ? "server=on,wait=off" : "reconnect-ms=100"))));
  if (port.is_disk) {
    args.lines.push_back(fmt::format("-device vhost-user-blk-pci,chardev=vmux-{},num-queues={},queue-size={}{}",
                                     port.name, port.queues, port.ring_size, qemu_options(port)));
  } else {
    args.lines.push_back(
        fmt::format("-netdev vhost-user,id=vmux-{0}-net,chardev=vmux-{0},queues={1}", port.name, port.queues));
    args.lines.push_back(fmt::format(
        "-device virtio-net-pci,netdev=vmux-{}-net,mac={},mq={},vectors={},rx_queue_size={}{}", port.name,
        to_text(port.mac), port.queues > 1 ? "on" : "off", 2 * port.queues + 2, ring_of(port), qemu_options(port)));
  }
  if (!port.connects) {
    args.notes.emplace_back("QEMU before 9.2 has reconnect=1 in place of reconnect-ms=100");
    args.notes.emplace_back("the port has to be there when QEMU starts; later it may go and come back");
  }
  return args;
}

VmArgs for_libvirt(const VmPort& port, unsigned memory_mb) {
  return {
      {"<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>",
       fmt::format("  <memory unit='MiB'>{}</memory>", memory_mb), "  <memoryBacking>", "    <source type='memfd'/>",
       "    <access mode='shared'/>", "  </memoryBacking>", "  <qemu:commandline>", "    <qemu:arg value='-device'/>",
       fmt::format("    <qemu:arg value='{}'/>", xml_quote(qemu_device(port.socket))), "  </qemu:commandline>",
       "</domain>"},
      {"needs QEMU 10.1 or newer behind libvirt",
       "merge these elements into the domain; the xmlns:qemu attribute is required",
       "libvirt's user and security driver must be allowed to connect to the socket: socket_group and socket_mode of "
       "the "
       "port (vmuxctl port add --socket-group kvm --socket-mode 0660)",
       kMigration}};
}

VmArgs for_libvirt_disk(const VmPort& port, unsigned memory_mb) {
  VmArgs args{
      {"<domain type='kvm'>", fmt::format("  <memory unit='MiB'>{}</memory>", memory_mb), "  <memoryBacking>",
       "    <source type='memfd'/>", "    <access mode='shared'/>", "  </memoryBacking>", "  <devices>",
       "    <disk type='vhostuser' device='disk'>",
       fmt::format("      <driver name='qemu' type='raw' queues='{}' queue_size='{}'/>", port.queues, port.ring_size),
       fmt::format("      <source type='unix' path='{}'>", xml_quote(port.socket)),
       "        <reconnect enabled='yes' timeout='1'/>", "      </source>", "      <target dev='vda' bus='virtio'/>",
       "    </disk>", "  </devices>", "</domain>"},
      {"merge these elements into the domain",
       "libvirt's user and security driver must be allowed to connect to the socket: socket_group and "
       "socket_mode of the port (vmuxctl port add --socket-group kvm --socket-mode 0660)"}};
  if (port.connects) args.notes.emplace_back("libvirt's disks connect: use a port without connect");
  return args;
}

VmArgs for_libvirt_vhost(const VmPort& port, unsigned memory_mb) {
  if (port.is_disk) return for_libvirt_disk(port, memory_mb);
  const std::string source = fmt::format("<source type='unix' path='{}' mode='{}'", xml_quote(port.socket),
                                         port.connects ? "server" : "client");
  VmArgs args{{"<domain type='kvm'>", fmt::format("  <memory unit='MiB'>{}</memory>", memory_mb), "  <memoryBacking>",
               "    <source type='memfd'/>", "    <access mode='shared'/>", "  </memoryBacking>", "  <devices>",
               "    <interface type='vhostuser'>", fmt::format("      <mac address='{}'/>", to_text(port.mac))},
              {"merge these elements into the domain",
               "libvirt's user and security driver must be allowed to connect to the socket: socket_group and "
               "socket_mode of the port (vmuxctl port add --socket-group kvm --socket-mode 0660)"}};
  if (port.connects) {
    args.lines.push_back("      " + source + "/>");
  } else {
    args.lines.push_back("      " + source + ">");
    args.lines.emplace_back("        <reconnect enabled='yes' timeout='1'/>");
    args.lines.emplace_back("      </source>");
  }
  args.lines.emplace_back("      <model type='virtio'/>");
  args.lines.push_back(fmt::format("      <driver queues='{}' rx_queue_size='{}'/>", port.queues, ring_of(port)));
  for (const char* const end : {"    </interface>", "  </devices>", "</domain>"})
    args.lines.emplace_back(end);
  return args;
}

VmArgs for_cloud_hypervisor(const VmPort& port, unsigned memory_mb) {
  return {{fmt::format("--memory size={}M,shared=on", memory_mb),
           fmt::format("--user-device {}", shell_quote("socket=" + port.socket))},
          {"shared=on is what lets vMux reach the guest's memory; without it frames do not flow"}};
}

VmArgs for_cloud_hypervisor_vhost(const VmPort& port, unsigned memory_mb) {
  if (port.is_disk) {
    return {{fmt::format("--memory size={}M,shared=on", memory_mb),
             fmt::format("--disk {}", shell_quote(fmt::format("vhost_user=true,socket={},num_queues={},queue_size={}",
                                                              port.socket, port.queues, port.ring_size)))},
            {kShared}};
  }
  return {{fmt::format("--memory size={}M,shared=on", memory_mb),
           fmt::format("--net {}", shell_quote(fmt::format(
                                       "vhost_user=true,socket={},mac={},num_queues={},vhost_mode={}", port.socket,
                                       to_text(port.mac), 2 * port.queues, port.connects ? "server" : "client")))},
          {"shared=on is what lets vMux reach the guest's memory; without it frames do not flow"}};
}

struct Lines {
  std::string_view vmm, transport;
  VmArgs (*make)(const VmPort& port, unsigned memory_mb);
};
constexpr Lines kLines[] = {
    {"qemu", "vfio-user", for_qemu},
    {"qemu", "vhost-user", for_qemu_vhost},
    {"libvirt", "vfio-user", for_libvirt},
    {"libvirt", "vhost-user", for_libvirt_vhost},
    {"cloud-hypervisor", "vfio-user", for_cloud_hypervisor},
    {"cloud-hypervisor", "vhost-user", for_cloud_hypervisor_vhost},
};

}  // namespace

Outcome<VmArgs> vm_args(std::string_view vmm, const VmPort& port, unsigned memory_mb) {
  bool is_known = false;
  for (const Lines& row : kLines) {
    if (row.vmm == vmm && row.transport == port.transport) return row.make(port, memory_mb);
    is_known |= row.vmm == vmm;
  }
  if (is_known) return refuse(ProblemKind::not_supported, "vmm", fmt::format("{} has no {}", vmm, port.transport));
  return refuse(ProblemKind::invalid, "vmm", fmt::format("expected {}, got '{}'", kVmms, vmm));
}

}  // namespace vmux::control
