# SPDX-License-Identifier: BSD-3-Clause
"""Daemons that die under running VMs: with a keeper the next one goes on, and neither guests nor their VMMs notice."""
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from crowd import Crowd, ports_of
from harness import BIN, unnoticed
from harness.iavf import script
from harness.traffic import give_address, ping, send_file, wait_for_peer
from harness.virtio_user import MACS, VirtioUserLoop
from harness.vmm import ask_register, attach, read_register
from harness.vmux import Vmux, vhost_user_args, wait_until
from harness.wire import udp_frame

A, B = "10.77.3.1", "10.77.3.2"
E1000_STATUS, E1000_RAL = 0x8, 0x5400
MAC = "02:00:00:00:00:55"


class Kept(Vmux):
    """A daemon with a keeper; `process` is the keeper."""

    def __init__(self, directory, *flags, **options):
        super().__init__(directory, "--keeper", *flags, **options)

    def status(self):
        return self.ctl("keeper", "status")

    def status_if(self, is_right):
        """The status when it is right, once."""
        answer = self.ctl_run("--json", "keeper", "status")
        status = json.loads(answer.stdout) if answer.returncode == 0 else None
        return status if status and is_right(status) else None

    def next_daemon(self, before):
        """Waits for another than that of the status `before`; its status."""
        return wait_until(lambda: self.status_if(lambda now: now["active"] != before["active"]),
                          f"the next daemon; vmux said:\n{self.log()}", pause=0.01)

    def kill(self, how=signal.SIGKILL):
        before = self.status()
        os.kill(before["active"], how)
        return self.next_daemon(before)

    def upgrade(self, *options):
        self.ctl("upgrade", *options)
        return wait_until(lambda: self.status_if(lambda _: True), "the keeper, which goes on as another program itself, to be back")

    @contextlib.contextmanager
    def ended_by(self, one_end, count, pause):
        """`count` ends at random moments beside what is done meanwhile: a function that tells whether there are more to
        come. At the end the gaps in us, as the keeper saw them, are printed."""
        gaps, trouble = [], []

        def work():
            try:
                for _ in range(count):
                    time.sleep(random.uniform(*pause))
                    gaps.append(one_end()["last"]["gap_us"])
            except BaseException as error:  # noqa: BLE001  (told below, by the thread that runs the test)
                trouble.append(error)
        beside = threading.Thread(target=work)
        beside.start()
        try:
            yield beside.is_alive
        finally:
            beside.join()
        assert not trouble, trouble
        print(f"gaps in us: median {sorted(gaps)[len(gaps) // 2]}, longest {max(gaps)}")


@pytest.fixture
def kept(tmp_path):
    daemon = Kept(tmp_path / "vmux")
    try:
        yield daemon.start()
    finally:
        # All processes of this daemon have the path of its socket in their command lines, and nobody else has.
        subprocess.run(["pkill", "-9", "-f", str(daemon.rpc)], check=False)


# Of each kind of port: what `port add` is told, and what its guest finds the card by.
PORTS = {"e1000": (dict(model="e1000"), "card e1000"), "iavf": (dict(model="iavf"), "card iavf"),
         "e810": (dict(model="e810"), "card ice"),
         "vhost-user": (dict(model="virtio-net", options=("--transport", "vhost-user")),
                        "basename /sys/bus/virtio/drivers/virtio_net/*/net/*")}


def guest_at(rig, kept, name, kind, kernel):
    port = PORTS[kind][0]
    socket = kept.add_port(name, *port.get("options", ()), model=port["model"])
    if kind != "vhost-user":
        return rig.guest(name, kernel=kernel, sockets=[socket])
    return rig.guest(name, kernel=kernel, qemu_args=vhost_user_args(kept, name))


def two_guests(rig, kept, kernel, kinds):
    guests = [guest_at(rig, kept, name, kind, kernel) for name, kind in zip("ab", kinds)]
    rig.boot(*guests)
    cards = {guest: script(guest, f"until_true {PORTS[kind][1]}; {PORTS[kind][1]}").strip() for guest, kind in zip(guests, kinds)}
    for guest, address in zip(guests, (A, B)):
        give_address(guest, f"{address}/24", cards[guest])
    wait_for_peer(guests[0], B)
    unnoticed.settle(cards)
    return guests, cards


@pytest.mark.parametrize("how", ["SIGKILL", "upgrade"])
def test_guests_notice_nothing(rig, kept, how):
    """Files both ways: all payload right, no carrier change, no line of the kernel's. Five deaths within ten seconds would be too many: no four
    pauses are that short."""
    (a, b), cards = two_guests(rig, kept, "6.12", ("e1000", "iavf"))
    end, pause = (kept.kill, (2.6, 3.2)) if how == "SIGKILL" else (kept.upgrade, (0.1, 0.6))
    with unnoticed.nothing(cards):
        with kept.ended_by(end, 20, pause) as goes_on:
            while goes_on():
                send_file(a, b, B, megabytes=1)
                send_file(b, a, A, megabytes=1)
        assert ping(b, A).loss == 0
    rig.forget(a)
    rig.forget(b)


def test_other_ports_guests_notice_nothing(rig, kept):
    """A whole E810 with Linux's ice, and QEMU's own card over vhost-user: killed and replaced, a few times each."""
    (a, b), cards = two_guests(rig, kept, "6.12", ("e810", "vhost-user"))
    with unnoticed.nothing(cards):
        for end, count, pause in ((kept.kill, 3, (1.0, 3.0)), (kept.upgrade, 3, (0.1, 0.6))):
            with kept.ended_by(end, count, pause) as goes_on:
                while goes_on():
                    send_file(a, b, B, megabytes=1)
                    send_file(b, a, A, megabytes=1)
        assert ping(b, A).loss == 0
    stats = kept.stats("b")["client"]
    assert stats["connections"] == 1 and stats["errors"] == 0, stats
    for guest in (a, b):
        rig.forget(guest)


@pytest.mark.testpmd
@pytest.mark.skipif(shutil.which("dpdk-testpmd") is None, reason="testpmd is not installed (dpdk-dev)")
@pytest.mark.parametrize("how", ["packed_vq=1", "packed_vq=0,server=1"])
def test_dpdk_virtio_user_notices_nothing(tmp_path, kept, how):
    """Rings go on where they were: no frame is lost or out of order. What was under way may come twice. With server=1 the front
    end listens, and would hear of each connection."""
    sockets = []
    for name, mac in MACS.items():
        way = ["--connect", "true"] if "server" in how else []
        kept.ctl("port", "add", name, "--model", "virtio-net", "--transport", "vhost-user", "--mac", mac, "--socket", kept.socket(name), *way)
        sockets.append(kept.socket(name))
    loop = VirtioUserLoop(sockets, tmp_path, how)
    try:
        number = 0
        with kept.ended_by(kept.kill, 2, (0.5, 2.4)) as goes_on:
            while goes_on():
                frames = [udp_frame(MACS["far"], MACS["near"], b"%032d" % (number + i)) for i in range(256)]
                number += len(frames)
                arrived = loop.send(frames)
                assert list(dict.fromkeys(arrived)) == frames
                assert len(arrived) <= len(frames) + 2 * 32
        assert "link down" not in loop.text.lower() and "fail" not in loop.text[len(loop.greeting):].lower()
    except BaseException:
        print(loop.story())
        loop.kill()
        raise
    assert loop.stop() == 0, loop.story()
    assert {name: kept.stats(name)["client"]["connections"] for name in MACS} == dict.fromkeys(MACS, 1)


# --- without guests ---

@pytest.fixture
def attached(kept):
    """A VMM with an e1000; the card's address tells that it is the one that it was."""
    with attach(kept.add_port("vm0", "--mac", MAC)) as vmm:
        yield vmm


def is_served(vmm, number):
    assert read_register(vmm, number, E1000_RAL) == 0x00000002
    assert read_register(vmm, number + 1, E1000_STATUS) & 2, "the link"


def drill(kept):
    before = kept.status()
    kept.ctl("keeper", "take-over")
    return kept.next_daemon(before)


def as_another_program(kept):
    program = kept.directory / "another"
    shutil.copy(BIN / "vmux", program)
    return kept.upgrade("--binary", program)


ENDS = {"SIGKILL": lambda kept: kept.kill(), "SIGSEGV": lambda kept: kept.kill(signal.SIGSEGV),
        "SIGSTOP": lambda kept: kept.kill(signal.SIGSTOP), "drill": drill,
        "upgrade": lambda kept: kept.upgrade(), "another program": as_another_program}


@pytest.mark.parametrize("how", ENDS)
def test_a_vmm_keeps_its_card(kept, attached, how):
    is_served(attached, 10)
    ports = kept.ctl("port", "list")
    before = kept.status()
    after = ENDS[how](kept)
    assert after["active"] != before["active"]
    assert after["takeovers"] == 1
    is_served(attached, 20)
    assert [(port["name"], port["mac"], port["connected"]) for port in kept.ctl("port", "list")] == \
        [(port["name"], port["mac"], True) for port in ports]
    assert kept.stop() == 0, kept.log()


def test_requests_that_wait_while_nobody_serves_are_answered_once(kept, attached):
    before = kept.status()
    os.kill(before["active"], signal.SIGSTOP)
    for number in range(100, 120):
        ask_register(attached, number, E1000_RAL)
    os.kill(before["active"], signal.SIGKILL)
    kept.next_daemon(before)
    answers = b""
    while len(answers) < 20 * 36:
        answers += attached.recv(20 * 36)
    assert [int.from_bytes(answers[at:at + 2], "little") for at in range(0, len(answers), 36)] == list(range(100, 120))
    is_served(attached, 200)  # and nothing else was under way
    assert kept.stop() == 0, kept.log()


def test_what_was_added_and_changed_at_run_time_is_there_again(kept):
    kept.ctl("switch", "add", "br7", "--mac-age", "7")
    kept.add_port("vm1", "--switch", "br7", "--vlan", "70", model="iavf")
    kept.add_port("vm2", model="virtio-net")
    kept.ctl("port", "set", "vm1", "vlan=71")
    kept.remove_port("vm2")

    def written():
        return kept.ctl_run("config", "save", "-").stdout

    wanted = written()
    assert "vlan" in wanted and "br7" in wanted
    kept.kill()
    assert written() == wanted
    kept.upgrade()
    assert written() == wanted
    assert kept.stop() == 0, kept.log()


def test_a_daemon_outlives_its_keeper_and_is_found_by_the_next(kept, attached):
    before = kept.status()
    kept.process.kill()
    kept.process.wait()
    is_served(attached, 10)
    assert "the keeper" in kept.ctl_run("keeper", "status").stderr
    wait_until((kept.directory / "rpc.sock.keeper").exists, "the daemon to wait for a keeper")
    kept.start()
    status = wait_until(lambda: kept.status_if(lambda now: now["active"] == before["active"]), "the next keeper")
    assert status["keeper"] == kept.process.pid
    assert not (kept.directory / "rpc.sock.keeper").exists()
    kept.kill()
    is_served(attached, 20)
    assert kept.stop() == 0, kept.log()


def test_after_five_deaths_all_sessions_end_politely(kept, attached):
    for _ in range(4):
        kept.kill()
    last = kept.status()["active"]
    os.kill(last, signal.SIGSTOP)
    ask_register(attached, 1, E1000_RAL)  # what nobody has read would make a close a reset
    os.kill(last, signal.SIGKILL)
    while attached.recv(4096):
        pass
    assert kept.process.wait(60) == 1
    assert "nothing helps" in kept.log()


@pytest.mark.parametrize("what", ["a program that is none of ours", "a file that all may write", "a path that is not absolute"])
def test_an_upgrade_that_cannot_be_changes_nothing(kept, attached, what):
    before = kept.status()
    program = kept.directory / "other"
    shutil.copy("/bin/false" if what.endswith("ours") else BIN / "vmux", program)
    program.chmod(0o777 if what.endswith("write") else 0o755)
    done = kept.ctl_run("upgrade", "--binary", "vmux" if what.endswith("absolute") else program)
    assert done.returncode in (1, 2), done
    assert done.stderr.startswith("vmuxctl: ")
    assert kept.status()["active"] == before["active"]
    is_served(attached, 10)
    assert kept.stop() == 0, kept.log()


def add_crowd(kept, directory, count, switch, prefix=""):
    """Ports for a crowd on a switch of their own."""
    directory.mkdir(exist_ok=True)
    kept.ctl("switch", "add", switch)
    for name, options in ports_of(directory, count).items():
        kept.ctl("port", "add", prefix + name, "--model", "e1000", "--socket", options["socket"], "--mac", options["mac"], "--switch", switch,
                 *(["--doorbell", options["doorbell"]] if "doorbell" in options else []))


UNREADY = BIN.parent / "tests" / "vmux-unready"  # says that it could go on, and dies when it has to (tests/poison)


def test_an_upgrade_whose_program_dies_is_rolled_back(kept, attached):
    """The program before goes on, with all that it had: no frame is lost or comes twice, no register access is."""
    crowd_place = kept.directory / "crowd"
    add_crowd(kept, crowd_place, 2, "br1", prefix="crowd-")
    builds = {process["role"]: process["version"] for process in kept.ctl("version")["processes"]}
    with Crowd(BIN / "vmux-bench", crowd_place, 2, memory_mib=4) as crowd:
        crowd.begin()
        done = kept.ctl_run("upgrade", "--binary", UNREADY)
        time.sleep(0.1)
        seen = crowd.end()
    assert done.returncode == 3 and "rolled back" in done.stderr, done
    assert seen["all_heard"], seen
    assert not any(seen[what] for what in ("lost", "twice", "reordered", "damaged", "registers_wrong")), seen
    assert "rolled back" in kept.status()["upgrade"]
    assert {process["role"]: process["version"] for process in kept.ctl("version")["processes"]} == builds
    is_served(attached, 10)
    kept.upgrade()
    is_served(attached, 20)
    assert kept.stop() == 0, kept.log()


def test_each_process_says_what_it_runs(kept):
    def versions():
        return {process["role"]: (process["pid"], process["version"]) for process in kept.ctl("version")["processes"]}
    before = versions()
    status = kept.status()
    assert {role: pid for role, (pid, _) in before.items()} == {"keeper": status["keeper"], "daemon": status["active"], "twin": status["twin"]}
    assert len({version for _, version in before.values()}) == 1
    kept.upgrade("--binary", BIN.parent / "tests" / "vmux-poisoned")  # another build, whatever it does
    wait_until(lambda: versions()["keeper"][1] != before["keeper"][1], "the keeper to be the new one as well")
    after = versions()
    assert len({version for _, version in after.values()}) == 1
    assert after["keeper"][0] == before["keeper"][0] and after["daemon"][0] != before["daemon"][0]
    assert all(f"{role} {version} (process {pid})" in kept.ctl_run("version").stdout for role, (pid, version) in after.items())
    assert kept.stop() == 0, kept.log()


class ServiceManager:
    """The store of descriptors of systemd, as sd_notify(3) has it; at the next start it gives all of them."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.stored, self.heard = {}, time.monotonic()
        threading.Thread(target=self.listen, daemon=True).start()  # a queue of datagrams is short, and who sends may not wait

    def listen(self):
        while True:
            text, fds, _, _ = socket.recv_fds(self.socket, 4096, 8)
            lines = text.decode().split("\n")
            name = next((line[7:] for line in lines if line.startswith("FDNAME=")), None)
            if "FDSTOREREMOVE=1" in lines and name in self.stored:
                os.close(self.stored.pop(name))
            if "FDSTORE=1" in lines:
                self.stored[name], = fds
            self.heard = time.monotonic()

    def look(self):
        """What is stored, once nothing has come for a moment."""
        time.sleep(0.3)  # what has been sent may not have been read yet
        wait_until(lambda: time.monotonic() - self.heard > 0.3, "the service to be quiet")
        return self.stored

    def start(self, command, log):
        """The service, with what is stored from descriptor 3 on."""
        names, fds = list(self.stored), [os.dup(fd) for fd in self.stored.values()]

        def place():
            high = [os.dup2(fd, 100 + number) for number, fd in enumerate(fds)]
            for number, fd in enumerate(high):
                os.dup2(fd, 3 + number)
            os.closerange(3 + len(fds), 200)
        environment = {**os.environ, "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(names)}
        try:
            return subprocess.Popen(["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    env=environment, preexec_fn=place, close_fds=False)
        finally:
            for fd in fds:
                os.close(fd)


def test_the_service_managers_store_is_the_second_line(tmp_path, monkeypatch):
    """Keeper and daemon are killed at once. What leads to the daemon's descriptors is in the store, always the same few, and its VM keeps its card."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify.sock"))
    manager = ServiceManager(tmp_path / "notify.sock")
    kept = Kept(tmp_path / "vmux").start()
    try:
        names = sorted(manager.look())
        assert len(names) == 4, names
        with attach(kept.add_port("vm0", "--mac", MAC)) as vmm:
            is_served(vmm, 10)
            kept.kill()
            assert sorted(manager.look()) == names
            before = kept.status()
            for pid in (before["keeper"], before["active"]):
                os.kill(pid, signal.SIGKILL)
            kept.process.wait()
            with open(kept.log_path, "ab") as log:
                kept.process = manager.start([str(BIN / "vmux"), "--rpc", str(kept.rpc), *kept.flags], log)
            status = wait_until(lambda: kept.status_if(lambda now: now["active"] != before["active"]), f"the next daemon; vmux said:\n{kept.log()}")
            assert status["last"]["cause"] == "keeper and daemon died"
            is_served(vmm, 20)
        # One after the other: the daemon that waited for a keeper is dead, and what it listened with is open in its twin.
        manager.look()
        before = kept.status()
        kept.process.kill()
        kept.process.wait()
        wait_until((kept.directory / "rpc.sock.keeper").exists, "the daemon to wait for a keeper")
        os.kill(before["active"], signal.SIGKILL)
        with open(kept.log_path, "ab") as log:
            kept.process = manager.start([str(BIN / "vmux"), "--rpc", str(kept.rpc), *kept.flags], log)
        wait_until(lambda: kept.status_if(lambda now: now["active"] != before["active"]), "the next daemon")
        with attach(kept.socket("vm0")) as vmm:
            is_served(vmm, 5)
        # The keeper alone: the daemon lives, and nobody else goes on for it.
        manager.look()
        before = kept.status()
        kept.process.kill()
        kept.process.wait()
        with open(kept.log_path, "ab") as log:
            kept.process = manager.start([str(BIN / "vmux"), "--rpc", str(kept.rpc), *kept.flags], log)
        assert wait_until(lambda: kept.status_if(lambda now: now["keeper"] == kept.process.pid), "the next keeper")["active"] == before["active"]
        assert kept.stop() == 0, kept.log()
        assert not manager.look(), "what was stored leads nowhere any more"
    finally:
        subprocess.run(["pkill", "-9", "-f", str(kept.rpc)], check=False)


def test_guest_memory_and_records_are_in_no_core_dump(kept, attached):
    """Each shared mapping of the daemon is marked `dd`, which says that it is not dumped (proc(5), VmFlags)."""
    shown = []
    for line in open(f"/proc/{kept.status()['active']}/smaps", encoding="ascii"):
        if " /memfd:" in line:
            shown.append(line.split("/")[-1].strip())
        elif line.startswith("VmFlags:") and shown and isinstance(shown[-1], str):
            shown[-1] = (shown[-1], "dd" in line.split())
    assert len(shown) > 3 and all(is_left_out for _, is_left_out in shown), shown


def test_a_dry_run_only_tells(kept, attached):
    before = kept.status()
    assert "1 ports" in kept.ctl("upgrade", "--dry-run")["would"]
    assert kept.status()["active"] == before["active"]
    is_served(attached, 10)
    assert kept.stop() == 0, kept.log()


def test_a_daemon_without_a_keeper_says_what_is_missing(tmp_path):
    vmux = Vmux(tmp_path / "vmux").start()
    for words in (["keeper", "status"], ["keeper", "take-over"], ["upgrade"]):
        done = vmux.ctl_run(*words)
        assert done.returncode == 1 and "vmux --keeper" in done.stderr
    assert vmux.stop() == 0


def test_only_the_daemon_has_its_name(kept):
    """`kill -9 $(pidof vmux)` is to hit nobody else."""
    words = {}
    for pid in subprocess.run(["pgrep", "-f", str(kept.rpc)], capture_output=True, text=True, check=True).stdout.split():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            words[int(pid)] = file.read().split(b"\0")[0]
    assert [pid for pid, word in words.items() if os.path.basename(word) == b"vmux"] == [kept.status()["active"]]
    assert len(words) == 3  # keeper, daemon, twin
    assert kept.stop() == 0, kept.log()
