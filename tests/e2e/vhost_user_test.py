# SPDX-License-Identifier: BSD-3-Clause
"""virtio-net over vhost-user: a stock guest whose card is QEMU's, and DPDK's virtio-user, beside VMs whose cards are vMux's own."""
import contextlib
import re
import shutil
from types import SimpleNamespace

import pytest
from conftest import Rig, in_use
from harness.iavf import script
from harness.traffic import give_address, iperf, ping, protocol_errors, send_file, tcp_both_ways, wait_for_peer
from harness.virtio_user import MACS, VirtioUserLoop
from harness.vmux import Vmux, vhost_user_args, wait_until
from harness.wire import udp_frame

A, B = "10.77.2.1", "10.77.2.2"
PAIRS = 2
COMPLAINT = re.compile(r"WARNING|BUG:|Call Trace|virtio.*(fail|error|invalid|timeout|broken)", re.I)


def add_ports(vmux):
    """`a` is QEMU's virtio-net-pci, at whose other end is `b`, which vMux makes in full; the sockets' words for both VMs."""
    vmux.add_port("a", "--transport", "vhost-user", "--queues", PAIRS, "--mac", "02:00:00:00:77:01", model="virtio-net")
    return vmux.add_port("b", "--mac", "02:00:00:00:77:02", model="virtio-net")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp("vhost"))
    vmux = rig.vmux()
    socket_b = add_ports(vmux)
    a = rig.guest("a", kernel="6.12", cpus=PAIRS, qemu_args=vhost_user_args(vmux, "a"))
    b = rig.guest("b", kernel="6.1", sockets=[socket_b])
    rig.boot(a, b)
    yield SimpleNamespace(rig=rig, vmux=vmux, a=a, b=b)
    rig.close()


def card(guest):
    return script(guest, "until_true ls /sys/bus/virtio/drivers/virtio_net/*/net; basename /sys/bus/virtio/drivers/virtio_net/*/net/*").strip()


@pytest.fixture
def pair(net):
    """Both VMs addressed and in reach of each other; afterwards neither kernel may have complained."""
    for guest, address in ((net.a, A), (net.b, B)):
        give_address(guest, f"{address}/24", card(guest))
    wait_for_peer(net.a, B)
    yield net
    for guest in (net.a, net.b):
        said = guest.check("dmesg -c")
        assert not COMPLAINT.search(said), f"{guest.name}: {said}"


def test_frames_arrive_whole(pair):
    for size in (0, 1472, 20000):
        assert ping(pair.a, B, count=3, size=size).loss == 0, size
    send_file(pair.a, pair.b, B, megabytes=4)
    send_file(pair.b, pair.a, A, megabytes=4)
    for guest in (pair.a, pair.b):
        assert set(protocol_errors(guest).values()) == {0}, protocol_errors(guest)


def test_the_daemon_tells_how_the_port_is_reached(pair):
    shown = pair.vmux.ctl("port", "show", "a")
    assert shown["transport"] == "vhost-user" and shown["connected"], shown
    client = pair.vmux.stats("a")["client"]
    assert client["rings"] == 2 * PAIRS and client["dma_ranges"] > 0 and client["errors"] == 0, client


def test_queues_come_and_go(pair):
    """ethtool -L: QEMU stops all rings, and starts those that are wanted."""
    name = card(pair.a)
    try:
        for channels in (1, PAIRS):
            pair.a.check(f"ethtool -L {name} combined {channels}")
            wait_until(lambda: pair.vmux.stats("a")["client"]["rings"] == 2 * channels, f"{channels} pairs of rings to run")
            tcp_both_ways(pair.a, pair.b, B, streams=4)
        then = pair.vmux.stats("a")["model"]
        iperf(pair.a, pair.b, B, options="-R -P 16")
        now = pair.vmux.stats("a")["model"]
        used = [now[f"rx{queue}.frames"] - then[f"rx{queue}.frames"] > 10 for queue in range(PAIRS)]
        assert all(used), (then, now)
    finally:
        pair.a.run(f"ethtool -L {name} combined {PAIRS}")


def test_a_driver_that_is_loaded_anew(pair):
    connections = pair.vmux.stats("a")["client"]["connections"]
    for _ in range(2):
        pair.a.check("modprobe -r virtio_net")
        wait_until(lambda: pair.vmux.stats("a")["client"]["rings"] == 0, "rings to have stopped")
        pair.a.check("modprobe virtio_net")
        give_address(pair.a, f"{A}/24", card(pair.a))
        wait_for_peer(pair.a, B)
    assert pair.vmux.stats("a")["client"]["connections"] == connections
    send_file(pair.a, pair.b, B, megabytes=1)


def test_a_vm_that_stands_still_for_a_while(pair):
    """stop and cont: QEMU takes the rings' places down and says them again."""
    before = pair.vmux.stats("a")["client"]["connections"]
    for _ in range(3):
        pair.a.qmp("stop")
        wait_until(lambda: pair.vmux.stats("a")["client"]["rings"] == 0, "rings to have stopped")
        pair.a.qmp("cont")
    wait_for_peer(pair.a, B)
    send_file(pair.b, pair.a, A, megabytes=1)
    assert pair.vmux.stats("a")["client"]["connections"] == before


def test_a_daemon_that_is_started_anew(pair):
    """QEMU takes the link down, connects when the socket is there again, and the guest's rings go on."""
    name = card(pair.a)
    assert pair.vmux.stop() == 0
    wait_until(lambda: pair.a.run(f"grep -q 0 /sys/class/net/{name}/carrier").status == 0, "the guest to lose its link")
    pair.vmux.start()
    add_ports(pair.vmux)
    wait_until(lambda: pair.a.run(f"grep -q 1 /sys/class/net/{name}/carrier").status == 0, "the guest to have its link back")
    wait_until(lambda: pair.vmux.is_connected("a") and pair.vmux.stats("a")["client"]["rings"] == 2 * PAIRS, "rings to run again")
    # VM b's card went with the daemon: its QEMU does not connect again.
    pair.rig.forget(pair.b)
    pair.b = pair.rig.guest("b", kernel="6.1", sockets=[pair.vmux.socket("b")])
    pair.rig.boot(pair.b)
    give_address(pair.b, f"{B}/24", card(pair.b))
    wait_for_peer(pair.a, B)
    send_file(pair.a, pair.b, B, megabytes=1)


# --- DPDK's virtio-user ---

@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    made = Vmux(tmp_path_factory.mktemp("virtio-user"), "--poller-spin-us", 500).start()
    for name, mac in MACS.items():
        made.add_port(name, "--transport", "vhost-user", "--queues", 1, "--mac", mac, model="virtio-net")
    with in_use(made):
        yield made
    assert made.is_alive(), made.log()
    assert made.stop() == 0, made.log()


@contextlib.contextmanager
def looped(sockets, directory, how):
    made = VirtioUserLoop(sockets, directory, how)
    try:
        with in_use(made):
            yield made
    except BaseException:
        made.kill()
        raise
    assert made.stop() == 0, made.story()


needs_testpmd = pytest.mark.skipif(shutil.which("dpdk-testpmd") is None, reason="testpmd is not installed (dpdk-dev)")


def expect_all(loop):
    """As many frames at a time as find room in a ring of 256, whoever has to wait for a processor: so none may be lost."""
    for start in range(0, 1000, 200):
        frames = [udp_frame(MACS["far"], MACS["near"], bytes([number % 256]) * (18 + number % 1400)) for number in range(start, start + 200)]
        assert loop.send(frames) == frames


@pytest.mark.testpmd
@needs_testpmd
@pytest.mark.parametrize("how", ["packed_vq=0", "packed_vq=1", "packed_vq=0,mrg_rxbuf=0,in_order=0", "packed_vq=1,in_order=0,vectorized=1"])
def test_virtio_user(daemon, tmp_path, how):
    with looped([daemon.socket(name) for name in MACS], tmp_path, how) as loop:
        expect_all(loop)
    for name in MACS:
        assert daemon.stats(name)["client"]["errors"] == 0, daemon.stats(name)


@pytest.mark.testpmd
@needs_testpmd
def test_virtio_user_that_listens(daemon, tmp_path):
    """vMux connects, and does so again to the next one that listens there."""
    daemon.ctl("switch", "add", "listening")
    sockets = [tmp_path / name for name in MACS]
    for path, mac in zip(sockets, MACS.values()):
        daemon.ctl("port", "add", f"listening-{path.name}", "--model", "virtio-net", "--transport", "vhost-user", "--queues", 1, "--connect", "true", "--socket", path,
                   "--mac", mac, "--switch", "listening")
    for _ in range(2):
        with looped(sockets, tmp_path, "server=1") as loop:
            expect_all(loop)
    assert daemon.stats("listening-near")["client"]["connections"] == 2
