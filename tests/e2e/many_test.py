# SPDX-License-Identifier: BSD-3-Clause
"""A daemon with 36 attached VMMs, of all models: it starts, stops, starts again, dies and is upgraded."""
import contextlib
import os
import random
import signal
import time

import pytest
from crowd import Crowd, ports_of
from harness import BIN
from harness.vmm import CONFIG_SPACE, attach, read_register, write_register
from harness.vmux import Vmux, wait_until
from survival_test import kept  # noqa: F401  (a fixture)

MODELS = ("e1000", "iavf", "e810", "virtio-net")
COUNT = 36
INTERRUPT_LINE = 0x3c


def descriptors(pid, most=None):
    """How many a process holds, once they are no more than `most`: vmuxctl's connection is closed a moment after it has gone."""
    return wait_until(lambda: (count := len(os.listdir(f"/proc/{pid}/fd"))) <= (most or count) and count, f"no more than {most} descriptors")


def described(directory):
    """A configuration of 36 ports, on three switches; its file and the ports' sockets."""
    sockets = [directory / f"vm{index}.sock" for index in range(COUNT)]
    tables = [f'[[switch]]\nname = "br{number}"\n' for number in range(3)]
    tables += [f'[[port]]\nname = "vm{index}"\nmodel = "{MODELS[index % 4]}"\nswitch = "br{index % 3}"\nsocket = "{socket}"\n'
               for index, socket in enumerate(sockets)]
    file = directory / "vmux.toml"
    file.write_text("\n".join(tables))
    return file, sockets


@contextlib.contextmanager
def attached(sockets):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(attach(path)) for path in sockets]


def identities(vmms, number):
    """Vendor and device of each card."""
    return [read_register(vmm, number + index, 0, CONFIG_SPACE) for index, vmm in enumerate(vmms)]


def marks(vmms, number):
    """Of each card the byte in which a guest notes its interrupt (PCI 3.0, 6.2.4), and which means nothing to the card."""
    return [read_register(vmm, number + index, INTERRUPT_LINE, CONFIG_SPACE) & 0xff for index, vmm in enumerate(vmms)]


def hung_up(vmm):
    """Waits for the end of the stream; what came before it."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while part := vmm.recv(4096):
            said += part
    return said


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stop", "kill"])
def test_it_starts_and_stops_again_and_again(tmp_path, end):
    """Each time all are taken back by a daemon that holds as much as the one before: no socket of a dead one is in the way."""
    file, sockets = described(tmp_path)
    vmux = Vmux(tmp_path, "--config", file, "--pollers", "2")
    held, seen = [], []
    for number in range(3):
        vmux.start()
        with attached(sockets) as vmms:
            seen.append(identities(vmms, 100 * number))
            assert all(port["connected"] for port in vmux.ctl("port", "list"))
            held.append(descriptors(vmux.process.pid))
            vmux.process.send_signal(end)
            assert [hung_up(vmm) for vmm in vmms] == [b""] * COUNT
            assert vmux.process.wait(60) == (0 if end == signal.SIGTERM else -signal.SIGKILL), vmux.log()
        if end == signal.SIGTERM:
            assert not [path for path in (*sockets, vmux.rpc) if path.exists()]
    assert seen[0] == seen[1] == seen[2] and len(set(seen[0])) == len(MODELS)


def test_it_dies_and_is_upgraded_under_them(kept):  # noqa: F811
    """None is hung up on, each card is the one that it was, and what is held does not grow from one daemon to the next."""
    sockets = [kept.add_port(f"vm{index}", "--mac", f"02:00:00:00:36:{index:02x}", model=MODELS[index % len(MODELS)]) for index in range(COUNT)]
    with attached(sockets) as vmms:
        for index, vmm in enumerate(vmms):
            write_register(vmm, index, INTERRUPT_LINE, index, CONFIG_SPACE)
        before = identities(vmms, 100)
        macs = [port["mac"] for port in kept.ctl("port", "list")]
        held = {}
        for number, end in enumerate((kept.kill, kept.upgrade) * 2):
            end()
            assert identities(vmms, 1000 * number + 200) == before
            assert marks(vmms, 1000 * number + 300) == list(range(COUNT))
            held[end] = descriptors(kept.status()["active"], held.get(end))
        ports = kept.ctl("port", "list")
        assert [port["mac"] for port in ports] == macs and all(port["connected"] for port in ports)
    assert kept.stop() == 0, kept.log()


MOST_TWICE = 32  # frames of a queue whose daemon died: a burst


@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.exhaustive)])
def test_all_have_traffic_while_it_dies_and_is_upgraded(kept, rounds):  # noqa: F811
    """At random moments. By their numbers no frame is lost, damaged or out of order; of a death each queue may send one burst twice, and nobody anything
    when it is upgraded. A register that forgets what is read is read beside that."""
    for name, options in ports_of(kept.directory, COUNT).items():
        kept.add_port(name, "--mac", options["mac"], *(["--doorbell", options["doorbell"]] if "doorbell" in options else []))
    gaps = {"SIGKILL": [], "upgrade": []}
    with Crowd(BIN / "vmux-bench", kept.directory, COUNT, memory_mib=64) as crowd:
        for _ in range(rounds):
            # Kills are 2.5 s apart at least, or they would be five in ten seconds.
            for how, end, pause in (("SIGKILL", kept.kill, (1.3, 1.5)), ("upgrade", kept.upgrade, (1.2, 1.4))):
                crowd.begin()
                time.sleep(random.uniform(0, 0.01))
                end()
                time.sleep(0.1)
                seen = crowd.end()
                gaps[how].append(max(seen["gaps_us"]))
                assert seen["all_heard"], seen
                assert {key: seen[key] for key in ("lost", "reordered", "damaged", "registers_wrong")} == \
                    {"lost": 0, "reordered": 0, "damaged": 0, "registers_wrong": 0}, (how, seen)
                assert seen["twice"] <= (MOST_TWICE * COUNT if how == "SIGKILL" else 0), (how, seen)
                time.sleep(random.uniform(*pause))
        assert {kept.stats(f"vm{number}")["client"]["connections"] for number in range(COUNT)} == {1}
    for how, seen in gaps.items():
        print(f"{how}: longest silence of {COUNT} ports in us: median {sorted(seen)[len(seen) // 2]}, longest {max(seen)}")
    assert kept.stop() == 0, kept.log()
