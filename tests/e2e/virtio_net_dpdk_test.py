# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's own driver of virtio network cards, run by testpmd behind the interposer: rings, queues, offloads, at native speed."""
import shutil

import pytest
from harness.interposer import Testpmd

pytestmark = [
    pytest.mark.testpmd,
    pytest.mark.skipif(shutil.which("dpdk-testpmd") is None, reason="testpmd is not installed (dpdk-dev)"),
]
MANY = 100_000


@pytest.mark.parametrize("variant, doorbell", [("packed", "poll"), ("split", "poll"), ("packed", "trap")])
def test_frames_go_both_ways_for_long(rig, variant, doorbell):
    """Two ports of one program throw frames at each other through the switch, each by two queues, until the rings went round many times."""
    daemon = rig.vmux("--poller-spin-us", 500)
    for name in "ab":
        daemon.add_port(name, "--queues", "2", "--variant", variant, "--doorbell", doorbell, model="virtio-net")
    both = Testpmd("both", [daemon.socket("a"), daemon.socket("b")], eal=("--no-huge", "-m", "256"),
                   options=["--rxq=2", "--txq=2", "--total-num-mbufs=8192", "--rxd=256", "--txd=256"])
    try:
        assert "virtio" in both.run("show port info 0")
        both.run("set fwd io")
        both.run("start tx_first 2")
        for port in (0, 1):
            both.wait_for(lambda seen: min(seen["RX-packets"], seen["TX-packets"]) > MANY, f"{MANY} frames each way", port=port)
        both.run("stop")
        both.run("port stop all")
        both.run("port start all")
        before = both.statistics(0)["RX-packets"]
        both.run("start tx_first 2")
        both.wait_for(lambda seen: seen["RX-packets"] > before, "frames after the ports were started anew")
        both.run("stop")
        for name in "ab":
            model = daemon.stats(name)["model"]
            assert model["guest_fault"] == 0 and min(model["tx0.frames"], model["tx1.frames"]) > 0, model
    finally:
        assert both.stop() == 0, both.said()
