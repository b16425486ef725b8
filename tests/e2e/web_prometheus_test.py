# SPDX-License-Identifier: BSD-3-Clause
"""Debian's Prometheus beside a loaded vMux: the dashboard shows something in each of its figures, each alert fires and clears."""
import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from harness.vmm import attach, write_register
from harness.vmux import Vmux, wait_until
from harness.web import PROMETHEUS, PROMTOOL, Prometheus, Web

DIST = Path(__file__).resolve().parent.parent.parent / "dist"
ALERTS = (DIST / "prometheus/alerts.yml").read_text()
pytestmark = [pytest.mark.exhaustive,
              pytest.mark.skipif(not PROMETHEUS, reason="no Prometheus here: `make test-all` installs one, and so does `scripts/bootstrap --all`")]


def quickly(rules):
    """The same rules, that look at seconds instead of minutes."""
    rules = re.sub(r"\[\d+[mh]\]", "[5s]", rules)
    return re.sub(r"^( +for:) \d+m$", r"\1 0s", rules, flags=re.MULTILINE)


def add_load(stack):
    stack.vmux.ctl("uplink", "add", "gen", "--backend", "generator", "--device", "size=64")


def remove_load(stack):
    stack.vmux.ctl("uplink", "remove", "gen")


def bring_up(stack):
    """A driver that receives, and gives no buffers: its card's bus mastering, RCTL.EN and RCTL.BAM."""
    write_register(stack.vmm, 10, 4, 6, 7)
    write_register(stack.vmm, 11, 0x100, 0x8002)


def take_down(stack):
    write_register(stack.vmm, 12, 0x100, 0)


def break_queue(stack):
    """A transmit queue in memory that nobody has given. Anew each time: TCTL.EN stops it, and starts it."""
    for number, (offset, value) in enumerate(((0x400, 0), (0x3800, 0x1000), (0x3808, 4096), (0x3810, 0), (0x3818, 0), (0x400, 2), (0x3818, 1))):
        write_register(stack.vmm, 20 + number, offset, value)


def link(way):
    return lambda stack: subprocess.run(["ip", "link", "set", "webtap0", way], check=True, timeout=90)


def take_over(stack):
    stack.vmux.ctl("keeper", "take-over")
    wait_until(lambda: stack.vmux.ctl_run("version").returncode == 0, "the next daemon")


def nothing(stack):
    """The window of the rule passes."""


def restart_web(stack):
    stack.web.start_again()


# What makes each fire, and what makes it clear.
CASES = {
    "VmuxTookOver": (take_over, nothing),
    "VmuxPortNotReady": (take_down, bring_up),
    "VmuxUplinkDown": (link("down"), link("up")),
    "VmuxDrops": (add_load, remove_load),
    "VmuxPollerSaturated": (add_load, remove_load),
    "VmuxGuestFault": (break_queue, nothing),
    "VmuxDown": (lambda stack: stack.vmux.stop(), lambda stack: stack.vmux.start()),
    "VmuxWebDown": (lambda stack: stack.web.stop(), restart_web),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stack")
    vmux = Vmux(directory / "vmux", "--keeper").start()
    vmux.add_port("vm0")
    vmux.add_port("vm1", model="virtio-net")
    vmux.ctl("uplink", "add", "tap", "--backend", "tap", "--device", "webtap0")
    made = SimpleNamespace(vmux=vmux, web=Web(directory, vmux.rpc).start(), vmm=attach(vmux.socket("vm0")))
    made.web.start_again = lambda: restart_on(made.web)
    link("up")(made)
    bring_up(made)
    made.prometheus = Prometheus(directory, made.web, quickly(ALERTS))
    yield made
    made.prometheus.stop()
    made.web.stop()
    vmux.stop()


def restart_on(web):
    """On the port that it had, which Prometheus knows."""
    at = web.command.index("--listen") + 1
    web.command[at] = f"127.0.0.1:{web.port}"
    web.start()


def test_rules_and_configuration_are_good():
    for arguments in (["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"]):
        done = subprocess.run([PROMTOOL, *arguments], cwd=DIST / "prometheus", capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_figure_of_the_dashboard_shows_something(stack):
    dashboard = json.loads((DIST / "grafana/vmux.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(expressions) > 25
    add_load(stack)
    try:
        for expression in expressions:
            asked = expression.replace("$__rate_interval", "5s").replace("$instance", ".*").replace("$port", ".*")
            wait_until(lambda: stack.prometheus.query(asked), f"a result of {expression}", timeout=30)
    finally:
        remove_load(stack)


def test_each_alert_fires_and_clears(stack):
    assert set(re.findall(r"- alert: (\w+)", ALERTS)) == set(CASES)
    wait_until(lambda: not stack.prometheus.firing(), "all alerts to be quiet at first")
    for alert, (fire, clear) in CASES.items():
        fire(stack)
        wait_until(lambda: alert in stack.prometheus.firing(), f"{alert} to fire")
        clear(stack)
        wait_until(lambda: alert not in stack.prometheus.firing(), f"{alert} to clear")
