# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's net_ice on our E810: stock, native, behind the interposer, without a package (safe-mode-support=1)."""
import contextlib
import shutil
import struct

import pytest
from conftest import in_use
from harness.pmd import QUEUES, Loop
from harness.vmux import Vmux
from harness.wire import ip_frame, mac_bytes

pytestmark = [
    pytest.mark.testpmd,
    pytest.mark.skipif(shutil.which("dpdk-testpmd") is None, reason="testpmd is not installed (dpdk-dev)"),
]

SOMEONE, NOBODY = "02:00:00:00:00:55", "02:00:00:00:00:99"
PATHS = [(64, "scalar"), (128, "sse"), (256, "avx2")]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    made = Vmux(tmp_path_factory.mktemp("e810-dpdk"), "--poller-spin-us", 500).start()
    for name in ("near", "far"):
        made.add_port(name, "--queues", QUEUES, model="e810")
    with in_use(made):
        yield made
    assert made.is_alive(), made.log()
    assert made.stop() == 0, made.log()


@contextlib.contextmanager
def started(daemon, directory, **how):
    made = Loop(daemon, directory, **how)
    try:
        with in_use(made):
            yield made
    except BaseException:
        made.kill()
        raise
    assert made.stop() == 0, made.story()


@pytest.mark.parametrize("bits", [bits for bits, _ in PATHS], ids=[name for _, name in PATHS])
def test_safe_mode(daemon, tmp_path, bits):
    """Each way through the rings: frames arrive whole and in order, and nobody else's do; link, address and statistics."""
    with started(daemon, tmp_path, devargs=",safe-mode-support=1", eal=(f"--force-max-simd-bitwidth={bits}",)) as loop:
        text = loop.run(f"show port info {loop.far}")
        for line in ("Driver name: net_ice", "Link status: up", "Link speed: 100 Gbps", f"MAC address: {loop.far_mac.upper()}"):
            assert line in text, text
        loop.run(f"set promisc {loop.far} off")
        before = {name: daemon.stats(name)["model"] for name in ("near", "far")}
        ours = [ip_frame(loop.far_mac, SOMEONE, struct.pack("!H", number) * (number * 14 + 1), ports=(number, 80)) for number in range(50)]
        others = [ip_frame(NOBODY, SOMEONE, b"for nobody", ports=(number, 80)) for number in range(10)]
        got = loop.send(ours[:25] + others + ours[25:], arriving=len(ours))
        assert [frame for _, frame in got] == [frame.ljust(60, b"\0") for frame in ours]  # as short as frames can be
        assert {(record.source, mac_bytes(record.destination)) for record, _ in got} == {(SOMEONE, mac_bytes(loop.far_mac))}
        assert loop.statistics(loop.far)["RX-packets"] == len(ours)
    after = {name: daemon.stats(name)["model"] for name in ("near", "far")}
    assert after["near"]["tx1.frames"] - before["near"]["tx1.frames"] == len(ours) + len(others)  # net_ice keeps queue 0 for itself
    assert after["far"]["rx1.frames"] - before["far"]["rx1.frames"] == len(ours)
    for model in after.values():
        wrong = {key: value for key, value in model.items() if value and key.split(".")[0] in
                 ("unknown_command", "unknown_register", "admin_faults", "lost_events", "queue_refused", "guest_fault")}
        assert not wrong, wrong
