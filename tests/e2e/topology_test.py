# SPDX-License-Identifier: BSD-3-Clause
"""What a guest makes of two ports of one switch: a bond that fails over, a bridge that finds the loop.

One VM has both, of either model, in network namespaces of their own, and a lone NIC in a third: only the switch joins them.
"""
from types import SimpleNamespace

import pytest
from conftest import Rig, and_exhaustively
from harness.stations import sh
from harness.vmux import wait_until

TAP, HOST = "vmuxtopo0", "10.62.0.1"
NICS = {"e1000": ("e0", "e1"), "iavf": ("v0", "v1")}  # by model: ports, and interfaces in the namespace of the model's name
LONE, LONE_ADDRESS, PAIR_ADDRESS = "lone", "10.62.0.3", "10.62.0.2"
MACS = {name: f"52:54:00:66:00:{number:02x}" for number, name in enumerate(("e0", "e1", "v0", "v1", LONE), 1)}


@pytest.fixture(scope="module")
def vm(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp("topology"))
    vmux = rig.vmux()
    vmux.ctl("uplink", "add", "host", "--backend", "tap", "--device", TAP)
    sh(f"ip addr add {HOST}/24 dev {TAP}; ip link set {TAP} up")
    models = {name: model for model, names in NICS.items() for name in names} | {LONE: "e1000"}
    guest = rig.guest("topology", kernel="6.12", cpus=2, sockets=[vmux.add_port(name, "--mac", MACS[name], model=model)
                                                                  for name, model in models.items()])
    rig.boot(guest)
    places = " ".join(f"{MACS[name]}={name}={LONE if name == LONE else model}" for name, model in models.items())
    guest.check(f"""modprobe -a bonding bridge
        for place in {places}; do
          mac=${{place%%=*}} rest=${{place#*=}}; name=${{rest%=*}} space=${{rest#*=}}
          until file=$(grep -lx $mac /sys/class/net/*/address); do sleep 0.1; done
          card=${{file%/address}}; card=${{card##*/}}
          ip netns list | grep -qw $space || {{ ip netns add $space; ip netns exec $space sysctl -qw net.ipv6.conf.default.disable_ipv6=1; }}
          ip link set $card down; ip link set $card netns $space name $name || exit 1
        done
        ip -n {LONE} addr add {LONE_ADDRESS}/24 dev {LONE}; ip -n {LONE} link set {LONE} up""")
    yield SimpleNamespace(vmux=vmux, guest=guest)
    rig.close()


def inside(vm, space, commands, timeout=120):
    """Lines of `ip`, in a namespace."""
    return vm.guest.check(f"ip -n {space} -batch - <<END\n{commands}\nEND", timeout)


def answers(vm, space, address, seconds):
    """From the guest; asks five times a second."""
    return vm.guest.run(f"ip netns exec {space} ping -q -c 1 -i 0.2 -w {seconds} {address}").status == 0


def host_reaches(seconds=60):  # a station that is forgotten by age alone is away for 300
    """The bond's address; without a word from the bond before, but for the gratuitous ARP of its failover."""
    sh(f"ping -q -c 1 -i 0.2 -w {seconds} {PAIR_ADDRESS}")


def port_of(vm, mac):
    return {entry["mac"]: entry["port"] for entry in vm.vmux.ctl("switch", "show", "default")["mac_table"]}.get(mac)


@pytest.fixture
def bond(vm, request):
    """An active-backup bond of a model's two NICs, with the first in use."""
    model = request.param
    first, second = NICS[model]
    inside(vm, model, f"link add bond0 type bond mode active-backup miimon 50\nlink set {first} master bond0\nlink set {second} master bond0\n"
                      f"addr add {PAIR_ADDRESS}/24 dev bond0\nlink set bond0 up")
    yield SimpleNamespace(model=model, first=first, second=second, mac=MACS[first])
    vm.guest.run(f"ip -n {model} link del bond0; ip -n {model} link set {first} down; ip -n {model} link set {second} down")


def use(vm, bond, name):
    """Makes a NIC the one in use, once its link is up."""
    vm.guest.check(f"""n=0; until ip netns exec {bond.model} sh -c 'echo {name} >/sys/class/net/bond0/bonding/active_slave' 2>/dev/null &&
        ip -n {bond.model} -d link show bond0 | grep -q 'active_slave {name} '; do n=$((n+1)); test $n -lt 100 || exit 1; sleep 0.1; done""")


@pytest.mark.parametrize("bond", NICS, indirect=True)
def test_bond_fails_over_and_back(vm, bond):
    use(vm, bond, bond.first)
    assert answers(vm, bond.model, HOST, 60)
    for name in (bond.second, bond.first):
        use(vm, bond, name)
        host_reaches()
        assert port_of(vm, bond.mac) == name
        assert answers(vm, bond.model, LONE_ADDRESS, 60)


@pytest.mark.parametrize("bond", and_exhaustively(["iavf"], ["e1000"]), indirect=True)
def test_bond_goes_on_when_the_link_in_use_goes_down(vm, bond):
    use(vm, bond, bond.first)
    host_reaches()
    inside(vm, bond.model, f"link set {bond.first} down")
    host_reaches()
    assert port_of(vm, bond.mac) == bond.second
    assert answers(vm, bond.model, HOST, 60)


@pytest.fixture
def bridge(vm, request):
    """A bridge of a model's two NICs that speaks spanning tree, as quickly as it may."""
    model = request.param
    first, second = NICS[model]
    inside(vm, model, f"link add br0 type bridge stp_state 1 forward_delay 200 hello_time 100\nlink set {first} master br0\n"
                      f"link set {second} master br0\nlink set {first} up\nlink set {second} up\nlink set br0 up")
    yield SimpleNamespace(model=model, names=(first, second))
    vm.guest.check(f"ip -n {model} link del br0; ip -n {model} link set {first} down; ip -n {model} link set {second} down")


@pytest.mark.parametrize("bridge", and_exhaustively(["e1000"], ["iavf"]), indirect=True)
def test_bridge_of_two_ports_finds_the_loop_and_nobody_sees_a_storm(vm, bridge):
    def states():
        shown = vm.guest.check(f"bridge -n {bridge.model} link show")
        return {name: next((word for word in ("forwarding", "blocking") if f"state {word}" in line), "")
                for name in bridge.names for line in shown.splitlines() if f" {name}:" in line}

    # The delay of forwarding is two seconds in each of listening and learning.
    wait_until(lambda: sorted(states().values()) == ["blocking", "forwarding"], "one port to block and one to forward", timeout=120, pause=0.5)
    assert answers(vm, LONE, HOST, 60)
    before = [vm.vmux.stats(name)["counters"]["rx_frames"] for name in bridge.names]
    # What everyone hears would go round for ever, and so would all that follows.
    vm.guest.run(f"ip netns exec {LONE} ping -q -b -c 5 -i 0.2 -W 1 10.62.0.255")
    shown = vm.guest.run(f"ip netns exec {LONE} ping -q -c 20 -i 0.1 -w 30 {HOST}").output
    after = [vm.vmux.stats(name)["counters"]["rx_frames"] for name in bridge.names]
    assert "20 received" in shown, shown
    assert all(late - early < 1000 for early, late in zip(before, after)), (before, after)


@pytest.mark.parametrize("bond", and_exhaustively(["e1000"], ["iavf"]), indirect=True)
def test_bond_goes_on_when_a_port_is_removed(vm, bond):
    """Its link goes down first. The last of this VM's tests: it has the dead card for the rest of its life."""
    use(vm, bond, bond.second)
    host_reaches()
    vm.vmux.remove_port(bond.second)
    host_reaches()
    assert port_of(vm, bond.mac) == bond.first
    assert answers(vm, bond.model, HOST, 60)
