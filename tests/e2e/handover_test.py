# SPDX-License-Identifier: BSD-3-Clause
"""Guests whose server is replaced under them: everything of it is destroyed and made anew, twenty times under traffic, and goes
on from what was saved. Neither Linux nor DPDK is to notice: no frame lost, no link lost, no reset, no line of the kernel's."""
import contextlib
import shutil
import signal
import subprocess
import threading

import pytest
from children import die_with_parent
from conftest import and_exhaustively, in_use
from harness import BIN, unnoticed
from harness.iavf import script
from harness.pmd import Loop, ends_well
from harness.traffic import BackgroundPing, give_address, ping, send_file, wait_for_peer
from harness.virtio_user import MACS, VirtioUserLoop
from harness.wire import ip_frame, udp_frame

HANDOVERS = 20
A, B = "10.77.2.1", "10.77.2.2"


class HandoverServer:
    """tests/handover's program; its ports are named by their place."""

    name = "handover-server"

    def __init__(self, directory, **models):
        self.models, self.directory, self.count, self.slowest_us = models, directory, 0, 0
        self.log_path = directory / "server.log"
        words = [f"{model}:{self.socket(name)}" for name, model in models.items()]
        self.process = subprocess.Popen([BIN.parent / "tests" / "handover-server", *words], stdout=subprocess.PIPE, text=True,
                                        stderr=self.log_path.open("w"), preexec_fn=die_with_parent)
        assert self.process.stdout.readline() == "ready\n", self.story()

    def socket(self, name):
        return self.directory / f"{name}.sock"

    def ctl(self, *_):
        """What Loop asks a daemon for."""
        return [{"name": name, "mac": f"52:54:00:00:01:{number:02x}"} for number, name in enumerate(self.models, 1)]

    def hand_over(self):
        self.process.send_signal(signal.SIGUSR1)
        line = self.process.stdout.readline()
        assert line.startswith(f"handed over {self.count + 1}: "), line + self.story()
        self.count += 1
        self.slowest_us = max(self.slowest_us, int(line.split()[-2]))

    @contextlib.contextmanager
    def handing_over(self):
        """Again and again beside what is done meanwhile."""
        is_over, trouble = threading.Event(), []

        def work():
            try:
                while not is_over.wait(0.05):
                    self.hand_over()
            except BaseException as error:  # noqa: BLE001  (told below, by the thread that runs the test)
                trouble.append(error)
        beside = threading.Thread(target=work)
        beside.start()
        try:
            yield
        finally:
            is_over.set()
            beside.join()
        assert not trouble, trouble

    def story(self):
        return self.log_path.read_text()[-4000:]

    def stop(self):
        self.process.terminate()
        return self.process.wait(30)


@contextlib.contextmanager
def serving(directory, **models):
    server = HandoverServer(directory, **models)
    try:
        with in_use(server):
            yield server
            print(f"{server.count} hand-overs, the slowest {server.slowest_us} us")
            assert server.stop() == 0, server.story()
    finally:
        server.process.kill()


def expect_nothing_noticed(server, a, b, cards):
    """Files both ways and a ping that goes on, while all of the server is replaced."""
    give_address(a, f"{A}/24", cards[a])
    give_address(b, f"{B}/24", cards[b])
    wait_for_peer(a, B)
    unnoticed.settle(cards)
    with unnoticed.nothing(cards):
        with server.handing_over():
            beside = BackgroundPing(a, B, count=100)
            while server.count < HANDOVERS:
                send_file(a, b, B, megabytes=2)
                send_file(b, a, A, megabytes=2)
            assert beside.lost() == 0
        assert ping(b, A).loss == 0


@pytest.mark.parametrize("any_kernel", ["6.1", "6.12", "7.2"])
def test_linux_notices_nothing(rig, tmp_path, any_kernel):
    """VM a with an e1000, VM b with an iavf."""
    with serving(tmp_path, a="e1000", b="iavf") as server:
        a = rig.guest("a", kernel=any_kernel, sockets=[server.socket("a")])
        b = rig.guest("b", kernel=any_kernel, sockets=[server.socket("b")])
        rig.boot(a, b)
        expect_nothing_noticed(server, a, b, {guest: unnoticed.card_of(guest, driver) for guest, driver in ((a, "e1000"), (b, "iavf"))})
        for guest in (a, b):
            rig.forget(guest)


@pytest.mark.parametrize("any_kernel", ["6.1", "6.12", "7.2"])
@pytest.mark.parametrize("packed", and_exhaustively(["on"], ["off"]))
def test_linux_with_virtio_notices_nothing(rig, tmp_path, any_kernel, packed):
    """VM a with QEMU's own card over vhost-user, VM b with one of ours. QEMU may not notice either: it would take the link down."""
    with serving(tmp_path, a="vhost-user", b="virtio-net") as server:
        a = rig.guest("a", kernel=any_kernel, qemu_args=[
            "-chardev", f"socket,id=char,path={server.socket('a')}", "-netdev", "vhost-user,id=net,chardev=char",
            "-device", f"virtio-net-pci,netdev=net,mac=52:54:00:00:01:01,packed={packed}"])
        b = rig.guest("b", kernel=any_kernel, sockets=[server.socket("b")])
        rig.boot(a, b)
        name = "until_true ls /sys/bus/virtio/drivers/virtio_net/*/net; basename /sys/bus/virtio/drivers/virtio_net/*/net/*"
        expect_nothing_noticed(server, a, b, {guest: script(guest, name).strip() for guest in (a, b)})
        for guest in (a, b):
            rig.forget(guest)


@pytest.mark.testpmd
@pytest.mark.skipif(shutil.which("dpdk-testpmd") is None, reason="testpmd is not installed (dpdk-dev)")
def test_dpdk_notices_nothing(tmp_path):
    with serving(tmp_path, near="iavf", far="iavf") as server:
        loop = Loop(server, tmp_path)
        try:
            number = 0
            with server.handing_over():
                while server.count < HANDOVERS:
                    frames = [ip_frame(loop.far_mac, loop.near_mac, b"%032d" % (number + i), ports=(4000 + i, 4001))
                              for i in range(64)]
                    number += len(frames)
                    arrived = loop.send(frames)
                    assert sorted(frame for _, frame in arrived) == sorted(frames)
            # The driver says of each port whether its link ever went.
            assert "link down" not in loop.text.lower() and "reset" not in loop.text[len(loop.greeting):].lower()
        except BaseException:
            print(loop.story())
            loop.kill()
            raise
        assert ends_well(loop), loop.story()


@pytest.mark.testpmd
@pytest.mark.skipif(shutil.which("dpdk-testpmd") is None, reason="testpmd is not installed (dpdk-dev)")
@pytest.mark.parametrize("how", ["packed_vq=0", "packed_vq=1", "packed_vq=0,server=1"])
def test_dpdk_virtio_user_notices_nothing(tmp_path, how):
    """With server=1 the front end listens, and hears of each connection."""
    model = "vhost-user-connect" if "server" in how else "vhost-user"
    with serving(tmp_path, near=model, far=model) as server:
        loop = VirtioUserLoop([server.socket(name) for name in MACS], tmp_path, how)
        try:
            number = 0
            with server.handing_over():
                while server.count < HANDOVERS:
                    frames = [udp_frame(MACS["far"], MACS["near"], b"%032d" % (number + i)) for i in range(64)]
                    number += len(frames)
                    assert loop.send(frames) == frames
            assert "link down" not in loop.text.lower() and "fail" not in loop.text[len(loop.greeting):].lower()
        except BaseException:
            print(loop.story())
            loop.kill()
            raise
        assert loop.stop() == 0, loop.story()
