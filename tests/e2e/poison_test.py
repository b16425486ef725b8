# SPDX-License-Identifier: BSD-3-Clause
"""A message, or a burst of frames, that kills whoever takes it ends its own port: 35 neighbours with traffic lose nothing. The daemon is vmux-poisoned
(tests/poison), which dies of both where vmux does not."""
import contextlib
import subprocess
import time

import pytest
from crowd import Crowd
from harness import BIN
from harness.vmm import CONFIG_SPACE, attach, read_register, write_register
from harness.vmux import wait_until
from survival_test import Kept, add_crowd

PROGRAM = BIN.parent / "tests" / "vmux-poisoned"
NEIGHBOURS = 34  # in pairs, and one whose registers are read
VET, DEADLY = 0x38, 0xdead
MOST_TWICE = 32


@pytest.fixture
def poisoned(tmp_path):
    daemon = Kept(tmp_path / "vmux", wrap=lambda command: [str(PROGRAM), *command[1:]])
    try:
        yield daemon.start()
    finally:
        subprocess.run(["pkill", "-9", "-f", str(daemon.rpc)], check=False)


@contextlib.contextmanager
def neighbours(kept):
    """34 cards that send to each other, and one that is read: in all of it nobody loses anything, and two bursts a queue come twice at most."""
    add_crowd(kept, kept.directory / "crowd", NEIGHBOURS, "br1")
    with Crowd(BIN / "vmux-bench", kept.directory / "crowd", NEIGHBOURS, memory_mib=64) as crowd:
        crowd.begin()
        yield
        time.sleep(0.2)
        seen = crowd.end()
        assert seen["all_heard"], seen
        assert not seen["lost"] + seen["reordered"] + seen["damaged"] + seen["registers_wrong"], seen
        assert seen["twice"] <= 2 * MOST_TWICE * NEIGHBOURS, seen
        assert {kept.stats(f"vm{number}")["client"]["connections"] for number in range(NEIGHBOURS)} == {1}


def wait_for_the_third(kept, said):
    """Two daemons have died, the last of them perhaps before it was ready; the third says so, and goes on."""
    wait_until(lambda: kept.log_path.read_text().count(said) == 1, f"two deaths; vmux said:\n{kept.log()}", timeout=20)
    third = wait_until(lambda: kept.status_if(lambda now: now["active"]), "the third daemon")
    time.sleep(0.5)
    assert kept.status()["active"] == third["active"], kept.log()


def test_a_register_write_that_kills_ends_its_session_alone(poisoned):
    with neighbours(poisoned):
        with attach(poisoned.add_port("victim")) as vmm:
            write_register(vmm, 1, VET, 0x8100)
            with pytest.raises(AssertionError, match="hung up"):
                write_register(vmm, 2, VET, DEADLY)
            wait_for_the_third(poisoned, "2 processes in a row died of a message of its client")
        with attach(poisoned.socket("victim")) as vmm:  # whoever comes next is served
            read_register(vmm, 1, 0, CONFIG_SPACE)
    assert poisoned.stop() == 0, poisoned.log()


def test_a_burst_that_kills_as_it_is_delivered_stops_who_it_is_for(poisoned):
    """Its sender goes on: it is the receiver's buffers that the daemon touches there."""
    victims, said = poisoned.directory / "victims", "victim-vm1: 2 processes in a row died in the first burst of frames that they delivered to it"
    with neighbours(poisoned):
        add_crowd(poisoned, victims, 2, "br2", prefix="victim-")
        with Crowd(BIN / "vmux-bench", victims, 2, memory_mib=4) as crowd:
            crowd.poison("poison delivery")
            wait_for_the_third(poisoned, said)
            assert [poisoned.ctl("port", "show", f"victim-vm{number}")["link"] for number in (0, 1)] == ["up", "down"]
            told = [event["name"] for event in poisoned.ctl("events")["events"] if event["event"] == "device_fault"]
            assert told == ["victim-vm1"]
            crowd.process.kill()
    assert poisoned.stop() == 0, poisoned.log()


def test_a_burst_that_kills_stops_its_port_alone(poisoned):
    victims, said = poisoned.directory / "victims", "victim-vm0: 2 processes in a row died in the first burst"
    with neighbours(poisoned):
        add_crowd(poisoned, victims, 2, "br2", prefix="victim-")
        with Crowd(BIN / "vmux-bench", victims, 2, memory_mib=4) as crowd:
            crowd.poison()
            wait_for_the_third(poisoned, said)
            ports = {port["name"]: port for port in poisoned.ctl("port", "list")}
            assert ports["victim-vm0"]["connected"] and ports["victim-vm1"]["connected"]
            assert poisoned.ctl("port", "show", "victim-vm0")["link"] == "down"
            told = [event["name"] for event in poisoned.ctl("events")["events"] if event["event"] == "device_fault"]
            assert told == ["victim-vm0"]
            # It stays so from one daemon to the next, until somebody switches it on: the burst is still there.
            poisoned.upgrade()
            active = poisoned.status()["active"]
            time.sleep(0.5)
            assert poisoned.status()["active"] == active
            before = poisoned.status()["takeovers"]
            poisoned.ctl_run("port", "set", "victim-vm0", "link=up")  # the daemon may die before it answers
            wait_until(lambda: poisoned.status_if(lambda now: now["takeovers"] > before), "another death", timeout=20)
            wait_until(lambda: poisoned.ctl("port", "show", "victim-vm0")["link"] == "down", "the port to be stopped again", timeout=20)
            crowd.process.kill()
    assert poisoned.stop() == 0, poisoned.log()
