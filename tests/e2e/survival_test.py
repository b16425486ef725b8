# SPDX-License-Identifier: BSD-3-Clause
"""Daemons that die under running VMs: with a keeper the next one goes on, and neither guests nor their VMMs notice."""
import contextlib
import os
import random
import signal
import subprocess
import threading
import time

import pytest
from harness.iavf import script
from harness.traffic import BackgroundPing, give_address, ping, send_file, wait_for_peer
from harness.vmux import Vmux, wait_until

A, B = "10.77.3.1", "10.77.3.2"


class Kept(Vmux):
    """A daemon with a keeper; `process` is the keeper."""

    def __init__(self, directory, *flags):
        super().__init__(directory, "--keeper", *flags)

    def status(self):
        return self.ctl("keeper", "status")

    def pid(self):
        return self.status()["active"]

    def next_daemon(self, before):
        """Waits for one that has taken over more often than `before`; its status."""
        def done():
            answer = self.ctl_run("--json", "keeper", "status")
            status = __import__("json").loads(answer.stdout) if answer.returncode == 0 else None
            return status if status and status["takeovers"] > before else None
        return wait_until(done, f"the next daemon; vmux said:\n{self.log()}", pause=0.01)

    def kill(self, how=signal.SIGKILL):
        status = self.status()
        os.kill(status["active"], how)
        return self.next_daemon(status["takeovers"])

    @contextlib.contextmanager
    def dying(self, count, how=None, pause=(2.3, 3.0)):
        """`count` deaths at random moments beside what is done meanwhile; the gaps in us, as the keeper saw them."""
        gaps, trouble = [], []

        def work():
            try:
                for _ in range(count):
                    time.sleep(random.uniform(*pause))
                    status = self.kill() if how is None else how()
                    gaps.append(status["last"]["gap_us"])
            except BaseException as error:  # noqa: BLE001  (told below, by the thread that runs the test)
                trouble.append(error)
        beside = threading.Thread(target=work)
        beside.start()
        try:
            yield gaps
        finally:
            beside.join()
        assert not trouble, trouble

    def upgrade(self):
        self.ctl("upgrade")
        return self.status()


@pytest.fixture
def kept(tmp_path):
    daemon = Kept(tmp_path / "vmux")
    try:
        yield daemon.start()
        assert daemon.stop() == 0, daemon.log()
    finally:
        if daemon.is_alive():
            subprocess.run(["kill", "-9", *subprocess.run(["pgrep", "-g", str(os.getpgid(daemon.process.pid))],
                                                          capture_output=True, text=True).stdout.split()], check=False)


def carrier_changes(guest, interface):
    return guest.check(f"cat /sys/class/net/{interface}/carrier_changes").strip()


def two_guests(rig, kept, kernel):
    sockets = {name: kept.add_port(name, model=model) for name, model in (("a", "e1000"), ("b", "iavf"))}
    guests = [rig.guest(name, kernel=kernel, sockets=[socket]) for name, socket in sockets.items()]
    rig.boot(*guests)
    cards = {guest: script(guest, f"until_true card {driver}; card {driver}").strip() for guest, driver in zip(guests, ("e1000", "iavf"))}
    for guest, address in zip(guests, (A, B)):
        give_address(guest, f"{address}/24", cards[guest])
    wait_for_peer(guests[0], B)
    for guest, card in cards.items():  # the last that Linux says of a link that has come up, up to a second later
        script(guest, f"has_address() {{ ip -6 addr show dev {card} | grep -q fe80; }}; until_true has_address")
    return guests, cards


@pytest.mark.parametrize("how", ["SIGKILL", "upgrade"])
def test_guests_notice_nothing(rig, kept, how):
    """Files both ways and a ping that goes on: all payload right, no carrier change, no line of the kernel's."""
    (a, b), cards = two_guests(rig, kept, "6.12")
    changes = {guest: carrier_changes(guest, card) for guest, card in cards.items()}
    for guest in cards:
        guest.check("dmesg -c >/dev/null")
    with kept.dying(20, how=kept.upgrade if how == "upgrade" else None, pause=(0.1, 0.6) if how == "upgrade" else (2.3, 3.0)) as gaps:
        while len(gaps) < 20:
            send_file(a, b, B, megabytes=1)
            send_file(b, a, A, megabytes=1)
    print(f"gaps in us: median {sorted(gaps)[len(gaps) // 2]}, longest {max(gaps)}")
    assert ping(b, A).loss == 0
    for guest, card in cards.items():
        assert carrier_changes(guest, card) == changes[guest]
        assert guest.check("dmesg") == ""
    rig.forget(a)
    rig.forget(b)
