# SPDX-License-Identifier: BSD-3-Clause
"""Two guests with E810 NICs, and what their tests ask of the driver."""
import base64
import re
from types import SimpleNamespace

from . import ddp
from .iavf import card as card_of
from .iavf import numbers, script
from .traffic import give_address, wait_for_peer

A, B = "10.77.2.1", "10.77.2.2"
# VM a's kernel: VM b's, and VM b's doorbells.
KERNELS = {"6.1": ("6.12", "poll"), "6.12": ("7.2", "trap"), "7.2": ("6.1", "poll")}
QUEUES = 4
PACKAGE = "/lib/firmware/intel/ice/ddp/ice.pkg"
COMPLAINT = re.compile(r"WARNING|BUG:|Call Trace|ice .*(fail|error|invalid|timeout|unable|cannot|not )", re.I)
KNOWN = re.compile("|".join((
    "FW logging is not supported in this NVM image|Unable to (turn off|unregister) FW logging",  # a newer firmware's
    "firmware: failed to load intel/ice|Direct firmware load for intel/ice|Fail during requesting FW: -2",
    "DDP package file was not found or could not be read. Entering Safe Mode",
    r"not enough device MSI-X vectors. wanted = \d+, available = 2",  # in safe mode the driver allows itself no more
    "RDMA is not supported on this device",
    "QinQ functionality cannot be enabled on this device",  # the firmware has single VLAN mode only
    "Failed to apply Tx scheduling configuration, err -EOPNOTSUPP",  # it cannot change the tree's layers
    "Error initializing DCB -95|DCB init failed")))  # it has no DCB


def boot_pair(rig, kernel):
    """VM a has four CPUs and as many queues; VM b, of another kernel, two."""
    kernel_b, doorbell = KERNELS[kernel]
    vmux = rig.vmux()
    a = rig.guest("a", kernel=kernel, cpus=QUEUES, sockets=[vmux.add_port("a", "--queues", QUEUES, model="e810")])
    b = rig.guest("b", kernel=kernel_b, cpus=2, sockets=[vmux.add_port("b", "--queues", "2", "--doorbell", doorbell, model="emulation")])
    rig.boot(a, b)
    return SimpleNamespace(rig=rig, vmux=vmux, a=a, b=b, kernel=kernel, is_full=False,
                           queues=2 if kernel == "7.2" else QUEUES)  # Linux 7 takes a queue for two CPUs


def card(guest):
    return card_of(guest, "ice")


def reload_driver(guest):
    script(guest, "modprobe -r ice; modprobe ice; until_true card ice")


def make_full(net):
    """Both drivers find a package from now on."""
    content = base64.b64encode(ddp.package()).decode()
    for guest in (net.a, net.b):
        guest.check(f"mkdir -p {PACKAGE.rsplit('/', 1)[0]} && echo {content} | base64 -d >{PACKAGE}")
        reload_driver(guest)
    net.is_full = True


def make_ready(net):
    """Both VMs up, addressed and in reach of each other."""
    for guest, address in ((net.a, A), (net.b, B)):
        name = script(guest, "card ice >/dev/null || { modprobe ice; until_true card ice; }; n=$(card ice) && until_true change_mtu $n 1500 && echo $n").strip()
        give_address(guest, f"{address}/24", name)
    wait_for_peer(net.a, B)


def statistics(guest):
    return numbers(guest.check(f"ethtool -S {card(guest)}"))


def frames_of_queues(guest, direction):
    """Frames that each queue of the driver moved so far."""
    found = statistics(guest)
    return [found.get(f"{direction}_queue_{queue}_packets", 0) for queue in range(QUEUES)]


def complaints(text):
    return [line for line in text.splitlines() if COMPLAINT.search(line) and not KNOWN.search(line)]


def assert_content(net):
    """Nobody complained: neither kernel, nor the model about what it was asked."""
    for guest in (net.a, net.b):
        bad = complaints(guest.check("dmesg"))
        assert not bad, "\n".join([guest.name, *bad])
    for name in ("a", "b"):
        model = net.vmux.stats(name)["model"]
        wrong = {key: value for key, value in model.items() if value and
                 key.split(".")[0] in ("unknown_command", "unknown_register", "admin_faults", "lost_events", "queue_refused", "guest_fault")}
        assert not wrong, wrong
