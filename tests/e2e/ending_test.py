# SPDX-License-Identifier: BSD-3-Clause
"""vMux goes, or takes a port away, while a VM uses it: QEMU lives, and the guest knows that its link is down."""
from types import SimpleNamespace

import pytest
from conftest import Rig, rounds
from guest import Guest, GuestError
from harness.vmux import wait_until

ROUNDS = 10  # of each way to end, and a fifth of them in `make test`
READS = 20  # answered in a round before the end: the guest is at it
# A request that waits when the stream ends is not woken: QEMU waits for its time-out, with the whole VM.
TIMEOUT_MS = 300


class ImpatientGuest(Guest):
    @staticmethod
    def device(path, identity):
        return {**Guest.device(path, identity), "x-msg-timeout": TIMEOUT_MS}


@pytest.fixture(scope="module")
def vm(tmp_path_factory, request):
    """One VM with a card for each round: two of each daemon's, the first of which is removed and the second goes with it."""
    rig = Rig(tmp_path_factory.mktemp("ending"))
    count = rounds(request.config, ROUNDS)
    models = ["e1000"] * count + ["iavf"]
    daemons = [rig.vmux(name=f"vmux{number}") for number in range(len(models))]
    sockets = [daemon.add_port(port, model=model) for daemon, model in zip(daemons, models) for port in ("removed", "stopped")]
    guest = ImpatientGuest("vm", cpus=2, memory=384, sockets=sockets)
    rig.adopt(guest)
    rig.boot(guest)
    interfaces = wait_until(lambda: cards_of(guest, "e1000", 2 * count), "the e1000 driver") + wait_until(lambda: cards_of(guest, "iavf", 2), "the iavf driver")
    guest.check("; ".join(f"ip link set {interface} up" for interface in interfaces))
    yield SimpleNamespace(rig=rig, daemons=daemons, guest=guest, interfaces=interfaces)
    rig.close()


def cards_of(guest, driver, count):
    """The interfaces of a driver in the order of their slots, once there are so many."""
    found = guest.check(f"modprobe {driver}; cd /sys/bus/pci/drivers/{driver}; for i in */net/*; do test ! -e $i || echo ${{i##*/}}; done").split()
    return found if len(found) == count else None


def has_carrier(vm, interface):
    return vm.guest.run(f"cat /sys/class/net/{interface}/carrier").output.strip() == "1"


def end_under_reads(vm, daemon, port, interface, end):
    """Ends the session of `port` by `end` while the guest reads its card's registers."""
    wait_until(lambda: has_carrier(vm, interface), f"{interface} to have a carrier")
    readers = [vm.guest.spawn(f"while :; do ethtool -d {interface} >/dev/null; ethtool -S {interface} >/dev/null; done") for _ in range(2)]
    before = daemon.stats(port)["client"]["requests"]
    wait_until(lambda: daemon.stats(port)["client"]["requests"] > before + READS, "the guest to read registers", pause=0.01)
    end()
    try:
        wait_until(lambda: not has_carrier(vm, interface), f"{interface} to lose its carrier")
        assert vm.guest.qmp("query-status")["running"]
    except GuestError:
        pytest.fail(f"QEMU is gone with {port} of {daemon.directory.name}:\n{vm.guest.story()}")
    for reader in readers:
        reader.kill("KILL")


def test_vm_lives_when_a_port_is_removed_and_when_vmux_stops(vm):
    *daemons, _ = list(vm.daemons)
    for daemon, first, second in zip(daemons, vm.interfaces[::2], vm.interfaces[1::2]):
        end_under_reads(vm, daemon, "removed", first, lambda: daemon.remove_port("removed"))
        end_under_reads(vm, daemon, "stopped", second, lambda: stop(vm, daemon))


def stop(vm, daemon):
    assert daemon.stop() == 0, daemon.log()
    vm.rig.disown(daemon)


def test_a_guest_of_an_iavf_sees_its_link_go(vm):
    daemon = vm.daemons[-1]
    for interface, end in zip(vm.interfaces[-2:], (lambda: daemon.remove_port("removed"), lambda: stop(vm, daemon))):
        wait_until(lambda: has_carrier(vm, interface), f"{interface} to have a carrier")
        end()
        wait_until(lambda: not has_carrier(vm, interface), f"{interface} to lose its carrier")
        assert vm.guest.qmp("query-status")["running"]
