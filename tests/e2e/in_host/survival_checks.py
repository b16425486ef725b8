# SPDX-License-Identifier: BSD-3-Clause
"""Daemons that die, and that are replaced, under physical functions: the device goes on, and its driver hears nothing of it."""
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from driver_checks import Pmd
from harness.vmux import Vmux
from memory_checks import RING, send_frame, wire  # noqa: F401  (a fixture)
from rig import CTRL, E1000E, PF, STATUS, VF0, VF1, VF_EIAM, VF_EICR, VF_EICS, VF_EIMS, interface, model, sh, vu, wait_until

PORTS = {"vf0": VF0, "vf1": VF1, "card": E1000E}


class Kept(Vmux):
    """With a keeper, which is `process`."""

    def status_if(self, is_right):
        said = self.ctl_run("--json", "keeper", "status")
        status = json.loads(said.stdout) if said.returncode == 0 else None
        return status if status and is_right(status) else None

    def ends(self, how):
        """The daemon dies, or makes room; the next one's status."""
        before = self.ctl("keeper", "status")
        if how == "upgrade":
            self.ctl("upgrade")
        else:
            os.kill(before["active"], signal.SIGKILL)
        return wait_until(lambda: self.status_if(lambda now: now["active"] != before["active"]), f"the next daemon:\n{self.log()}")


@pytest.fixture
def kept(daemon, tmp_path):
    """Has the cards that the other checks' daemon gives up meanwhile."""
    for name in PORTS:
        daemon.remove_port(name)
    made = Kept(tmp_path / "kept", "--keeper").start()
    try:
        for name, address in PORTS.items():
            made.add_port(name, "--device", address, model="passthrough")
        yield made
    finally:
        subprocess.run(["pkill", "-9", "-f", str(made.rpc)], check=False)
        for name, address in PORTS.items():
            wait_until(lambda: daemon.ctl_run("port", "add", name, "--model", "passthrough", "--device", address,
                                              "--socket", daemon.socket(name)).returncode == 0, f"{name} to be free")


@contextlib.contextmanager
def pinged(address):
    """Every 50 ms until the end; none may be lost."""
    sh(f"ip neigh flush dev {interface(PF)}")
    sh(f"ping -c 1 -w 60 {address}")
    process = subprocess.Popen(["ping", "-i", "0.05", address], stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[0]
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) (?:packets )?received", said).groups())
    assert sent > 20 and received >= sent - 1, said  # the last may be under way


def test_a_driver_goes_on_while_its_daemons_die_and_are_replaced(kept, tmp_path):
    Path("/proc/sys/vm/nr_hugepages").write_text("96")
    driver = Pmd("one", kept.socket("vf0"), tmp_path)
    try:
        before = kept.stats("vf0")
        pages = before["model"]["dma.pages_pinned"]
        assert pages > 0, driver.text()
        with pinged("10.9.0.2"):
            for how in ("SIGKILL", "upgrade", "SIGKILL"):
                kept.ends(how)
                assert model(kept, "vf0")["dma.pages_pinned"] == pages
                time.sleep(3)
            # Nobody serves: the keeper stands still, and the daemon is dead.
            status = kept.ctl("keeper", "status")
            kept.process.send_signal(signal.SIGSTOP)
            os.kill(status["active"], signal.SIGKILL)
            time.sleep(3)
            kept.process.send_signal(signal.SIGCONT)
            wait_until(lambda: kept.status_if(lambda now: now["active"] != status["active"]), "the next daemon")
        after = kept.stats("vf0")
        assert after["client"]["connections"] == before["client"]["connections"] and after["model"]["resets"] == 0, after
    except BaseException:
        driver.kill()  # or nobody else gets its card
        raise
    assert driver.quit() == 0
    wait_until(lambda: model(kept, "vf0")["dma.pages_pinned"] == 0, "the memory to be let go of")
    with vu.Vmm(kept.socket("vf1")) as vmm:  # nobody had it meanwhile
        vmm.enable()
    assert kept.stop() == 0, kept.log()


def test_interrupts_go_on_while_nobody_serves(kept):
    with vu.Vmm(kept.socket("vf0")) as vmm:
        vmm.enable()
        sink = vmm.listen(vu.MSIX, start=0)
        vmm.write32(vu.BAR0, VF_EIAM, 0)
        vmm.write32(vu.BAR0, VF_EIMS, 7)
        start, memory = vmm.map_bar(vu.BAR0)
        registers = memoryview(memory).cast("I")
        before = kept.ctl("keeper", "status")
        kept.process.send_signal(signal.SIGSTOP)
        os.kill(before["active"], signal.SIGKILL)
        time.sleep(0.5)
        registers[(VF_EICR - start) // 4] = 7  # what is pending already is not raised again
        registers[(VF_EICS - start) // 4] = 1
        heard = vu.heard(sink, 10)
        registers.release()
        memory.close()
        assert heard >= 1
        kept.process.send_signal(signal.SIGCONT)
        wait_until(lambda: kept.status_if(lambda now: now["active"] != before["active"]), "the next daemon")
        assert vu.heard(sink) >= 1, "one may have been lost"
        vmm.write32(vu.BAR0, VF_EIMS, 7)
        vmm.write32(vu.BAR0, VF_EICR, 7)
        vmm.write32(vu.BAR0, VF_EICS, 1)
        assert vu.heard(sink, 10) >= 1
    assert kept.stop() == 0, kept.log()


def test_memory_that_the_next_daemon_unmaps_is_out_of_reach(kept, wire):  # noqa: F811
    base = 0x1_0000_0000 - 0x200000
    with vu.Vmm(kept.socket("card")) as card:
        card.enable()
        _, memory = card.give_memory(1 << 20, iova=base)
        kept.ends("SIGKILL")
        card.write32(vu.BAR0, CTRL, card.read32(vu.BAR0, CTRL) | 1 << 6)
        wait_until(lambda: card.read32(vu.BAR0, STATUS) & 2, "link")
        send_frame(card, memory, b"from before the death" + bytes(40), base=base)
        assert wire.recv(2048)[14:35] == b"from before the death"
        kept.ends("SIGKILL")
        card.dma_unmap(base, 1 << 20)
        assert model(kept, "card")["dma.pages_pinned"] == 0
        memory[RING + 12] = 0
        send_frame(card, memory, b"nobody gets this" + bytes(40), base=base)
        wire.settimeout(0.5)
        with pytest.raises(TimeoutError):
            wire.recv(2048)
        assert memory[RING + 12] & 1 == 0
    assert kept.stop() == 0, kept.log()
