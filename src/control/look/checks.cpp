// SPDX-License-Identifier: BSD-3-Clause
#include "control/look/checks.hpp"

#include <algorithm>
#include <array>

#include "base/text/format.hpp"

namespace vmux::control {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

std::string with_name(std::string text, const std::string& name) {
  constexpr std::string_view kName = "NAME";
  for (std::size_t at = 0; (at = text.find(kName, at)) != std::string::npos; at += name.size())
    text.replace(at, kName.size(), name);
  return text;
}

/// Of a counter that should stand still.
Found risen(const Counts& counts, const char* counter, const char* sentence) {
  const std::uint64_t rise = counts.rise(counter);
  if (rise == 0) return std::nullopt;
  return fmt::format("{} {}", rise, sentence);
}

/// A client whose device could be used, as far as the client goes.
bool has_driver_trouble(const PortFacts& port) {
  return port.is_connected && !port.is_ready && port.spec.link != Link::down;
}

bool is_alive(const PortFacts& port) { return port.is_connected && port.config && !port.config->is_all_ones; }

// --- the way to the VM ---

Found no_client(const Facts&, const PortFacts& port) {
  if (port.is_connected) return std::nullopt;
  return fmt::format("no VM is attached to {}", port.spec.socket);
}

Found wrong_protocol(const Facts&, const PortFacts& port) {
  // One that came long ago says nothing of the client that is there now.
  const bool is_now = port.is_connected ? port.transport.rise("strangers") != 0 : port.transport.get("strangers") != 0;
  if (!is_now || port.is_ready) return std::nullopt;
  const bool is_vfio_user = port.spec.transport == "vfio-user";
  return fmt::format("what connects to {} speaks {}, and the port is served over {}", port.spec.socket,
                     is_vfio_user ? "vhost-user" : "vfio-user", port.spec.transport.value_or(""));
}

Found few_rings(const Facts&, const PortFacts& port) {
  const auto rings = port.transport.get("rings");
  if (!port.is_ready || port.transport.now.find("rings") == port.transport.now.end() || rings >= 2u * port.queues)
    return std::nullopt;
  return fmt::format("{} of its {} queue pairs are used", rings / 2, port.queues);
}

Found requests_refused(const Facts&, const PortFacts& port) {
  return risen(port.transport, "errors", "requests of its client were answered with an error just now");
}

// --- the function ---

Found reads_all_ones(const Facts&, const PortFacts& port) {
  if (!port.config || !port.config->is_all_ones) return std::nullopt;
  return "its configuration space reads as ones: the function does not answer";
}

Found reads_unanswered(const Facts&, const PortFacts& port) {
  return risen(port.model, "unanswered", "accesses of the VM read as ones, or went nowhere, just now");
}

Found device_errors(const Facts&, const PortFacts& port) {
  if (port.model.get("errors") == 0) return std::nullopt;
  return fmt::format("it has reported {} fatal errors", port.model.get("errors"));
}

Found power_saving(const Facts&, const PortFacts& port) {
  if (!is_alive(port) || port.config->power_state == 0) return std::nullopt;
  return fmt::format("the guest has put it to sleep: power state D{}", port.config->power_state);
}

Found bus_master_off(const Facts&, const PortFacts& port) {
  if (!is_alive(port) || port.config->is_bus_master || port.config->power_state != 0) return std::nullopt;
  return "bus mastering is off: it may not reach the guest's memory";
}

Found group_mates(const Facts&, const PortFacts& port) {
  if (!port.function || port.function->group_mates.empty()) return std::nullopt;
  return fmt::format("its IOMMU group has other functions: {}", fmt::join(port.function->group_mates, ", "));
}

Found pages_waiting(const Facts&, const PortFacts& port) {
  const std::uint64_t pages = port.model.get("dma.pages_waiting");
  if (pages == 0) return std::nullopt;
  return fmt::format("{} MiB of the VM's memory wait to be pinned", pages * 4096 / kMiB);
}

Found pages_stuck(const Facts&, const PortFacts& port) {
  const std::uint64_t pages = port.model.get("dma.pages_stuck");
  if (pages == 0) return std::nullopt;
  return fmt::format("{} pages stay in the IOMMU, as the kernel refused to unmap them", pages);
}

// --- the guest's driver ---

Found link_down(const Facts&, const PortFacts& port) {
  if (port.spec.link != Link::down) return std::nullopt;
  return "its link is down, as an operator wants it";
}

Found driver_down(const Facts&, const PortFacts& port) {
  const bool explains_itself = is_alive(port) && (port.config->power_state != 0 || !port.config->is_bus_master);
  if (!has_driver_trouble(port) || explains_itself) return std::nullopt;
  return "a VM is attached, and the guest's driver is not up";
}

Found queue_stopped(const Facts&, const PortFacts& port) {
  if (port.faults == 0) return std::nullopt;
  return fmt::format("a queue stopped for what the guest gave it, {} times since the port is there", port.faults);
}

Found ring_empty(const Facts&, const PortFacts& port) {
  if (port.counters.rise("drop_no_room") == 0 || port.counters.rise("tx_frames") != 0) return std::nullopt;
  return fmt::format("all {} frames for it were lost: the guest gives it no buffers",
                     port.counters.rise("drop_no_room"));
}

Found slow_refill(const Facts&, const PortFacts& port) {
  const std::uint64_t lost = port.counters.rise("drop_no_room"), taken = port.counters.rise("tx_frames");
  if (lost == 0 || taken == 0) return std::nullopt;
  return fmt::format("{} of {} frames for it were lost: the guest gives it buffers too slowly", lost, lost + taken);
}

// --- its memory ---

Found memory_private(const Facts&, const PortFacts& port) {
  if (port.memory.private_bytes == 0) return std::nullopt;
  return fmt::format("{} MiB of its VM's memory are private to process {}: what the card writes the guest never sees",
                     port.memory.private_bytes / kMiB, port.client);
}

Found memory_by_message(const Facts&, const PortFacts& port) {
  const MemoryFacts& memory = port.memory;
  if (memory.by_message == 0 || memory.by_message <= memory.mapped) return std::nullopt;
  return fmt::format("{} MiB of its VM's memory came without a descriptor: the card cannot reach it{}",
                     memory.by_message / kMiB, port.function ? "" : ", or by messages only");
}

Found small_pages(const Facts&, const PortFacts& port) {
  constexpr std::uint64_t kWorthIt = 64 * kMiB;
  if (port.memory.small_pages < kWorthIt) return std::nullopt;
  return fmt::format("{} MiB of its VM's memory are in pages of 4 KiB", port.memory.small_pages / kMiB);
}

Found wrong_node(const Facts& facts, const PortFacts& port) {
  for (const PollerFacts& poller : facts.pollers) {
    const bool is_its = std::find(port.pollers.begin(), port.pollers.end(), poller.number) != port.pollers.end();
    if (is_its && poller.node && port.memory.node && *poller.node != *port.memory.node)
      return fmt::format("poller {} runs on memory node {}, and the VM's memory is on node {}", poller.number,
                         *poller.node, *port.memory.node);
  }
  if (port.function && port.function->node && port.memory.node && *port.function->node != *port.memory.node)
    return fmt::format("the function is on memory node {}, and the VM's memory on node {}", *port.function->node,
                       *port.memory.node);
  return std::nullopt;
}

// --- what costs time or frames ---

Found limited_in(const Facts&, const PortFacts& port) {
  return risen(port.counters, "rx_held", "times just now its limit_in made it wait with frames that it has");
}
Found limited_out(const Facts&, const PortFacts& port) {
  return risen(port.counters, "drop_limited", "frames for it were dropped just now, beyond its limit_out");
}
Found ruled_out(const Facts&, const PortFacts& port) {
  return risen(port.counters, "drop_rule", "frames of it or for it were dropped just now by rules of its switch");
}
Found storm(const Facts&, const PortFacts& port) {
  return risen(port.counters, "drop_storm", "frames that it sent to all were dropped just now, beyond its limit_flood");
}
Found isolated(const Facts&, const PortFacts& port) {
  return risen(port.counters, "drop_isolated", "frames of others in its isolation group were kept from it just now");
}
Found spoofed(const Facts&, const PortFacts& port) {
  return risen(port.counters, "drop_spoofed", "frames were dropped just now that it sent as somebody else");
}
Found too_long(const Facts&, const PortFacts& port) {
  return risen(port.counters, "drop_too_long", "frames for it were dropped just now: longer than it takes");
}
Found filtered(const Facts&, const PortFacts& port) {
  constexpr std::uint64_t kMany = 10;
  const std::uint64_t dropped = port.counters.rise("drop_filtered"), sent = port.counters.rise("rx_frames");
  if (dropped < kMany || dropped < sent / 2) return std::nullopt;
  return fmt::format("{} of the {} frames that it sent just now are not for this network", dropped, sent);
}

Found doorbell_trapped(const Facts&, const PortFacts& port) {
  if (port.spec.doorbell != Doorbell::trap || port.default_doorbell != Doorbell::poll) return std::nullopt;
  return "its doorbells trap (doorbell = trap): each is a message and two wake-ups";
}

Found many_messages(const Facts& facts, const PortFacts& port) {
  constexpr double kMany = 2000, kLeastSeconds = 0.2;
  const auto requests = static_cast<double>(port.transport.rise("requests"));
  if (facts.seconds < kLeastSeconds || requests / facts.seconds < kMany) return std::nullopt;
  return fmt::format("{:.0f} register accesses a second come as messages", requests / facts.seconds);
}

template <class Facts1>
Found cut_in_software(const Facts&, const Facts1& one) {
  return risen(one.counters, "tx_cut", "super-frames for it were cut in software just now");
}

Found ring_full(const Facts&, const PortFacts& port) {
  return risen(port.counters, "drop_ring_full",
               "frames that it sent were lost on their way to another poller just now");
}

// --- uplinks, pollers, the daemon ---

Found uplink_down(const Facts&, const UplinkFacts& uplink) {
  if (uplink.is_ready) return std::nullopt;
  return fmt::format("{} is down", uplink.spec.device.value_or(uplink.spec.backend));
}

Found uplink_slow(const Facts&, const UplinkFacts& uplink) {
  return risen(uplink.counters, "drop_no_room", "frames for it were lost just now: it does not take them fast enough");
}

Found uplink_limited(const Facts&, const UplinkFacts& uplink) {
  const std::uint64_t held = uplink.counters.rise("rx_held"), dropped = uplink.counters.rise("drop_limited");
  if (held == 0 && dropped == 0) return std::nullopt;
  return fmt::format("its limits held it {} times and dropped {} frames just now", held, dropped);
}

Found no_hugepages(const Facts& facts, const UplinkFacts& uplink) {
  if (uplink.spec.backend != "dpdk" || facts.has_hugepages) return std::nullopt;
  return "DPDK runs without hugepages: this machine has set none aside";
}

Found poller_saturated(const Facts& facts, const PollerFacts& poller) {
  constexpr double kFull = 0.95, kLeastSeconds = 0.2;
  const double rounds = static_cast<double>(poller.now.rounds - poller.before.rounds),
               busy = static_cast<double>(poller.now.busy_rounds - poller.before.busy_rounds);
  const bool has_slept = poller.now.sleeps != poller.before.sleeps;
  if (facts.seconds < kLeastSeconds || rounds < 1 || has_slept || busy < kFull * rounds) return std::nullopt;
  return fmt::format("it found work in {:.0f} % of its rounds, and never slept", 100 * busy / rounds);
}

Found few_descriptors(const Facts& facts) {
  if (facts.most_descriptors == 0 || facts.descriptors * 10 < facts.most_descriptors * 9) return std::nullopt;
  return fmt::format("{} of {} file descriptors are open", facts.descriptors, facts.most_descriptors);
}

constexpr auto kNote = Severity::note, kWarning = Severity::warning, kProblem = Severity::problem;

const std::vector<Check>& table() {
  static const std::vector<Check> kTable{
      {{"no_client", kNote, "no VMM is connected to the port's socket", "vmuxctl vm-args NAME says how to attach a VM"},
       no_client},
      {{"wrong_protocol", kProblem, "a client connected that speaks vhost-user to a port of vfio-user, or the reverse",
        "the VMM's line is one of another kind of port: vmuxctl vm-args NAME has the right one"},
       wrong_protocol},
      {{"few_rings", kNote, "a vhost-user front end runs fewer queues than the port has",
        "give the VMM queues=N as vmuxctl vm-args NAME has it, and the guest: ethtool -L DEVICE combined N"},
       few_rings},
      {{"requests_refused", kWarning, "requests of the client are refused while somebody looks",
        "the daemon's log has the requests; vmuxctl trace NAME shows them as they come"},
       requests_refused},
      {{"reads_all_ones", kProblem, "the vendor ID of the function reads as ffff",
        "the device is gone, hung, or in D3cold: look at the host's kernel log, and at lspci -vv; a reset of the slot "
        "or "
        "of the machine brings it back"},
       reads_all_ones},
      {{"reads_unanswered", kProblem, "accesses to a physical function fail while somebody looks",
        "the guest uses the device while it is in reset or in D3, or it is broken: vmuxctl trace NAME shows where"},
       reads_unanswered},
      {{"device_errors", kProblem, "a physical function reported a fatal error (AER)",
        "the host's kernel log says which; the VM has to be started anew"},
       device_errors},
      {{"power_saving", kWarning, "the guest has put the function into D1, D2 or D3",
        "no driver uses it, or the guest suspends it: bring the driver up, or write on to power/control in the guest's "
        "sysfs"},
       power_saving},
      {{"bus_master_off", kWarning, "bit 2 of the function's command register is 0 while a VM is attached",
        "no driver has enabled the device: load the guest's driver, and look at its kernel log"},
       bus_master_off},
      {{"group_mates", kNote, "the IOMMU group of a physical function has other functions, bridges not counted",
        "all of the group belong to one VM, or to nobody: what one of them does the IOMMU cannot keep from the others"},
       group_mates},
      {{"pages_waiting", kWarning, "memory of the VM is still to be pinned for a physical function",
        "wait: the VM runs meanwhile; hugepages make it faster by hundreds of times"},
       pages_waiting},
      {{"pages_stuck", kProblem, "the kernel refused to unmap memory from the IOMMU",
        "the function is given to no other VM before the daemon is started anew; the host's kernel log says more"},
       pages_stuck},
      {{"link_down", kNote, "the port is set to link = down", "vmuxctl port set NAME link=up"}, link_down},
      {{"driver_down", kWarning, "a VM is attached, its function may master the bus, and its driver is not up",
        "in the guest: ip link set DEVICE up, and look at dmesg; while it boots this is as it should be"},
       driver_down},
      {{"queue_stopped", kWarning, "a queue has stopped for a bad descriptor or an address that is not the guest's",
        "the daemon's log says which queue and why; the guest's driver begins anew when its interface is set down and "
        "up"},
       queue_stopped},
      {{"ring_empty", kWarning, "frames for the port find no buffers, and none gets through",
        "the guest's driver gives no receive buffers: it hangs, is out of memory, or is stopped; look at its dmesg"},
       ring_empty},
      {{"slow_refill", kWarning, "frames for the port find no buffers, and others get through",
        "the guest is too slow, or its ring too short: ethtool -G DEVICE rx N, more queues, or another CPU for it"},
       slow_refill},
      {{"memory_private", kProblem, "the client has mapped its memory file MAP_PRIVATE",
        "start the VM with memory that is shared: share=on, as vmuxctl vm-args NAME has it"},
       memory_private},
      {{"memory_by_message", kProblem, "most of the VM's memory came without a file descriptor",
        "start the VM with memory of a file: memory-backend-memfd,share=on, as vmuxctl vm-args NAME has it"},
       memory_by_message},
      {{"small_pages", kNote, "64 MiB or more of the VM's memory are not in hugepages",
        "memory-backend-memfd,hugetlb=on,share=on makes copies, and pinning for a physical function, faster: vmuxctl "
        "host hugepages N"},
       small_pages},
      {{"wrong_node", kWarning, "a poller, or a physical function, is on another memory node than the VM's memory",
        "move the port to a poller of that node (vmuxctl port set NAME poller=N), or the VM's memory (numactl)"},
       wrong_node},
      {{"limited_in", kNote, "the port's limit_in makes it wait while somebody looks",
        "vmuxctl port set NAME limit_in=... if that is not what it should be"},
       limited_in},
      {{"limited_out", kNote, "frames are dropped for the port's limit_out while somebody looks",
        "vmuxctl port set NAME limit_out=... if that is not what it should be"},
       limited_out},
      {{"spoofed", kWarning, "anti_spoof drops frames of the port while somebody looks",
        "the guest uses another address than the port has: vmuxctl port show NAME; vmuxctl capture NAME --dropped"},
       spoofed},
      {{"ruled_out", kNote, "rules drop frames of the port, or for it, while somebody looks",
        "which rules match: vmuxctl rule list; which frames: vmuxctl capture NAME --dropped"},
       ruled_out},
      {{"storm", kNote, "limit_flood drops frames that the port sends to all, while somebody looks",
        "more than it should be: a loop in the guest's bridge, or a limit that is too low: vmuxctl port set NAME "
        "limit_flood=..."},
       storm},
      {{"isolated", kNote, "the port's isolation keeps frames of its group from it, while somebody looks",
        "vmuxctl port show NAME: isolation; which frames: vmuxctl capture NAME --dropped"},
       isolated},
      {{"too_long", kWarning, "frames for the port are dropped as too long while somebody looks",
        "the MTUs of this network differ: vmuxctl port show NAME, and ip link in the guests"},
       too_long},
      {{"filtered", kWarning, "more than half of what the port sends is dropped by VLAN rules and filters",
        "the guest tags frames otherwise than the port's vlan, trunk and native say: vmuxctl capture NAME --dropped"},
       filtered},
      {{"doorbell_trapped", kNote, "the port is set to doorbell = trap, and its model would poll",
        "leave doorbell out of its settings: the poller then looks at the memory that the guest writes"},
       doorbell_trapped},
      {{"many_messages", kWarning, "2000 requests a second or more come from the client",
        "the VMM does not map the card's doorbells, or the guest uses INTx, around which QEMU takes mappings away: "
        "vmuxctl trace NAME shows which registers they are"},
       many_messages},
      {{"cut_in_software", kNote, "super-frames for the port are cut into frames in software while somebody looks",
        "its driver does not take them: a model with large receive (virtio-net), or an MTU that is the same on both "
        "sides, avoids it"},
       cut_in_software<PortFacts>},
      {{"ring_full", kWarning, "frames of the port are lost between two pollers while somebody looks",
        "the poller that they are for does not keep up: vmuxctl pollers; spread ports over more of them"},
       ring_full},
      {{"uplink_down", kProblem, "the uplink's interface or link is down",
        "ip link set DEVICE up, or plug the cable in"},
       uplink_down},
      {{"uplink_slow", kWarning, "frames for the uplink find no room while somebody looks",
        "the wire, or the host's network stack, is slower than the VMs send; look at NAME in vmuxctl uplink list"},
       uplink_slow},
      {{"uplink_limited", kNote, "the uplink's limits hold or drop frames while somebody looks",
        "vmuxctl uplink set NAME limit_in=... limit_out=... if that is not what it should be"},
       uplink_limited},
      {{"uplink_cut_in_software", kNote, "super-frames for the uplink are cut in software while somebody looks",
        "the device has no segmentation offload that can be used: another device, or driver, avoids it"},
       cut_in_software<UplinkFacts>},
      {{"no_hugepages", kNote, "a DPDK uplink runs without hugepages", "vmuxctl host hugepages N, and start vmux anew"},
       no_hugepages},
      {{"poller_saturated", kWarning, "the poller found work in 95 % of its rounds or more, and never slept",
        "give the daemon more pollers, and move ports there: vmuxctl port set PORT poller=N; vmuxctl top shows which "
        "are "
        "busy"},
       poller_saturated},
      {{"few_descriptors", kWarning, "nine of ten file descriptors that the daemon may have are open",
        "raise LimitNOFILE= of its unit, or ulimit -n: a port takes up to some dozens"},
       few_descriptors},
  };
  return kTable;
}

struct Examination {
  const Facts& facts;
  std::vector<Finding>& findings;
  const CheckText& text;

  void note(const char* kind, const std::string& name, Found found) const {
    if (found) findings.push_back({&text, kind, name, std::move(*found), with_name(text.advice, name)});
  }
  void operator()(CheckPort find) const {
    for (const PortFacts& port : facts.ports)
      note("port", port.spec.name, find(facts, port));
  }
  void operator()(CheckUplink find) const {
    for (const UplinkFacts& uplink : facts.uplinks)
      note("uplink", uplink.spec.name, find(facts, uplink));
  }
  void operator()(CheckPoller find) const {
    for (const PollerFacts& poller : facts.pollers)
      note("poller", std::to_string(poller.number), find(facts, poller));
  }
  void operator()(CheckDaemon find) const { note("daemon", "", find(facts)); }
};

}  // namespace

const char* to_text(Severity severity) noexcept {
  constexpr std::array kTexts{"note", "warning", "problem"};
  return kTexts[static_cast<std::size_t>(severity)];
}

std::span<const Check> checks() noexcept { return table(); }

std::vector<Finding> examine(const Facts& facts) {
  std::vector<Finding> findings;
  for (const Check& check : checks())
    std::visit(Examination{facts, findings, check.text}, check.find);
  std::stable_sort(findings.begin(), findings.end(), [](const Finding& a, const Finding& b) {
    return static_cast<int>(a.check->severity) > static_cast<int>(b.check->severity);
  });
  return findings;
}

}  // namespace vmux::control
