# SPDX-License-Identifier: BSD-3-Clause
"""Two guests with iavf NICs, and what their tests ask of the driver."""
import re
from types import SimpleNamespace

from .traffic import give_address, wait_for_peer

A, B, B_E1000 = "10.77.1.1", "10.77.1.2", "10.77.1.3"
# VM a's kernel: VM b's, the daemon's pollers, and VM b's doorbells. Every way of serving queues meets every test in a full run.
KERNELS = {"6.1": ("7.2", 1, "poll"), "6.12": ("6.1", 2, "poll"), "7.2": ("6.12", 1, "trap")}
# Linux 6.1's driver waits for its reset task with the lock that the task waits for (rtnl): -L, -G and a new MTU take five
# seconds each there, are "busy" then, and are done all the same.
KNOWN_COMPLAINT = re.compile(r"iavf.*waiting for reset")
COMPLAINT = re.compile(r"WARNING|BUG:|Call Trace|iavf.*(fail|error|invalid|timeout|Unable)", re.I)
# Of a reset that the driver has not asked for (marker reset_behind_the_driver), the one thing that it may complain about. Its way to
# send finds ATQH at 0, walks from where it had cleaned up to through the slot that it is about to use, and wipes that slot's "do
# not wait"; so it waits a quarter of a second for a queue that is gone, or reads all ones while sysfs has the registers off. Since
# Linux 7 it says so of this one message; it does the same with all, and on the part as well, whose FLR clears ATQH too.
RESET_COMPLAINT = re.compile(r"iavf \S+ Unable to send ADD_ETH_ADDR message to PF, error -(110|5)$")

# Shell functions for loops that run inside the guest, where a round costs no round trip to the host, and where a shell does without
# other programs what it can: starting one takes an emulated guest ten milliseconds.
SHELL = r"""
card() {  # card DRIVER: its interface; names go by the order in which drivers are loaded
  for i in /sys/bus/pci/drivers/$1/*/net/*; do test -e $i && echo ${i##*/} && return 0; done
  return 1
}
seconds() { read now rest </proc/uptime; echo ${now%.*}; }
until_true() {  # until_true COMMAND...: a tenth of a second between two tries; none begins after two minutes
  "$@" >/dev/null 2>&1 && return 0
  end=$(($(seconds) + 120))
  until "$@" >/dev/null 2>&1; do test $(seconds) -lt $end || { echo "never: $*"; return 1; }; sleep 0.1; done
}
has_link() { read carrier </sys/class/net/$1/carrier && test $carrier = 1; }
has_mtu() { read mtu </sys/class/net/$1/mtu && test $mtu = $2; }
change_mtu() { has_mtu $1 $2 || ip link set $1 mtu $2; has_mtu $1 $2; }
has_channels() { ethtool -l $1 | grep Combined | tail -n 1 | grep -qw $2; }
change_channels() { ethtool -L $1 combined $2; has_channels $1 $2; }
answers() { ping -c 1 -i 0.2 -w 3 -q $1; }  # asks again and again, and takes a late answer
"""


def boot_pair(rig, kernel):
    """VM a has four CPUs and as many queues; VM b, of another kernel, two and an e1000 beside its iavf."""
    kernel_b, pollers, doorbell = KERNELS[kernel]
    vmux = rig.vmux("--pollers", pollers)
    a = rig.guest("a", kernel=kernel, cpus=4, sockets=[vmux.add_port("a", "--queues", "4", "--poller", 0, model="iavf")])
    b = rig.guest("b", kernel=kernel_b, cpus=2,
                  sockets=[vmux.add_port("b", "--queues", "2", "--poller", pollers - 1, "--doorbell", doorbell, model="iavf"), vmux.add_port("e")])
    rig.boot(a, b)
    b.check("echo 1 >/proc/sys/net/ipv4/conf/all/arp_filter")  # each address answers on its own card
    return SimpleNamespace(rig=rig, vmux=vmux, a=a, b=b, kernel=kernel, pollers=pollers, doorbell=doorbell)


def make_ready(net):
    """Both VMs up, addressed and in reach of each other, whatever the test before did to them."""
    for guest, address in ((net.a, A), (net.b, B)):
        name = script(guest, "dmesg -c >/dev/null; card iavf >/dev/null || { modprobe -r iavf; modprobe iavf; until_true card iavf; }; "
                             "n=$(card iavf) && until_true change_mtu $n 1500 && echo $n").strip()
        give_address(guest, f"{address}/24", name)
    wait_for_peer(net.a, B)


def script(guest, text, timeout=240):
    """Runs a script that has SHELL's functions; its output."""
    return guest.check(SHELL + text, timeout=timeout)


def card(guest, driver="iavf"):
    return script(guest, f"card {driver}").strip()


def set_mtu(guest, mtu):
    """The driver resets its function for this, and says "busy" when that takes it more than a few seconds."""
    script(guest, f"until_true change_mtu $(card iavf) {mtu}")


def set_address(guest, mac):
    """As set_mtu(): Linux 7's driver is "busy" while any message of its own is under way."""
    name = card(guest)
    script(guest, f"has_address() {{ grep -qx {mac} /sys/class/net/{name}/address; }}\n"
                  f"change_address() {{ has_address || ip link set {name} address {mac}; has_address; }}\nuntil_true change_address")


def set_channels(guest, channels):
    """As set_mtu()."""
    name = card(guest)
    script(guest, f"has_channels {name} {channels} || until_true change_channels {name} {channels} && until_true has_link {name}")


def numbers(text):
    """The lines "name: number" of an ethtool report."""
    return {key.strip(): int(value) for key, value in re.findall(r"^\s*([^:\n]+):\s*(\d+)\s*$", text, re.M)}


def statistics(guest):
    return numbers(guest.check(f"ethtool -S {card(guest)}"))


def frames_of_queues(guest, direction):
    """Frames that each queue of the driver moved so far."""
    found = statistics(guest)
    return [found[f"{direction}-{queue}.packets"] for queue in range(4) if f"{direction}-{queue}.packets" in found]


def features(guest, name):
    """Features that can be changed: their names, as in `ethtool -k`, and whether they are on."""
    lines = guest.check(f"ethtool -k {name}").splitlines()[1:]
    return {line.split(":")[0].strip(): " on" in line for line in lines if "[fixed]" not in line}


def complaints(text, known=(KNOWN_COMPLAINT,)):
    """Lines of a kernel's log that should not be there."""
    return [line for line in text.splitlines() if COMPLAINT.search(line) and not any(one.search(line) for one in known)]


def assert_content(net, was_reset=False):
    """Nobody complained: neither kernel, nor the model about what it was asked. Only VM a is ever reset behind its driver."""
    for guest in (net.a, net.b):
        known = (KNOWN_COMPLAINT, RESET_COMPLAINT) if was_reset and guest is net.a else (KNOWN_COMPLAINT,)
        bad = complaints(guest.check("dmesg"), known)
        assert not bad, "\n".join([guest.name, *bad])
    for name in ("a", "b"):
        model = net.vmux.stats(name)["model"]
        assert (model["refused"], model["admin_faults"], model["lost_replies"], model["guest_fault"]) == (0, 0, 0, 0), model
