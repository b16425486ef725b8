# SPDX-License-Identifier: BSD-3-Clause
"""Guests boot once for all tests that can share them; whatever is in use when a test fails tells its story."""
import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import BIN  # noqa: E402  (found through the line above)
from harness import iavf as iavf_harness  # noqa: E402
from harness.traffic import give_address, wait_for_peer  # noqa: E402
from harness.vmux import Vmux  # noqa: E402
from guest import Guest, GuestError, start_all  # noqa: E402  (in lab/, put on the path by harness)

_in_use = []


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for thing in _in_use:
            report.sections.append((getattr(thing, "name", "vmux"), thing.story()))


@contextlib.contextmanager
def in_use(thing):
    """Its story() is told when a test fails meanwhile."""
    _in_use.append(thing)
    try:
        yield thing
    finally:
        _in_use.remove(thing)


class TellsFailuresAtOnce:
    """A run of many minutes that is cut off has told all that it knew."""

    def __init__(self, terminal):
        self._terminal = terminal

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self._terminal.write_line("")
            self._terminal.write_line(report.longreprtext)


@pytest.hookimpl(trylast=True)  # after the terminal has come
def pytest_configure(config):
    if terminal := config.pluginmanager.get_plugin("terminalreporter"):
        config.pluginmanager.register(TellsFailuresAtOnce(terminal))


@pytest.fixture
def public():
    """A directory that every user may enter, as /run/vmux is."""
    path = Path(tempfile.mkdtemp(prefix="vmux-public-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


USUAL_KERNEL = "6.12"
OF_A_KERNEL = ("iavf_net", "e810_net", "virtio_net", "any_kernel")  # fixtures and parameters whose value is one


def pytest_addoption(parser):
    parser.addoption("--every-kernel", action="store_true",
                     help="all of a NIC's tests with each kernel of the lab, not only those marked every_kernel; all rounds of loops; what is marked exhaustive")


def pytest_collection_modifyitems(config, items):
    """A life of a NIC takes minutes: all of it is lived with one kernel, and with the others what is marked."""
    def is_wanted(item):
        params = item.callspec.params if hasattr(item, "callspec") else {}
        if item.get_closest_marker("exhaustive") and not config.getoption("--every-kernel"):
            return False
        kernel = next((params[name] for name in OF_A_KERNEL if name in params), None)
        if kernel is None:
            return True
        if item.get_closest_marker("two_pollers") and iavf_harness.KERNELS[kernel][1] < 2:
            return False
        return kernel == USUAL_KERNEL or config.getoption("--every-kernel") or item.get_closest_marker("every_kernel")

    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item)])
    items[:] = [item for item in items if is_wanted(item)]


def and_exhaustively(usual, more):
    """Values for parametrize(): `make test` goes through the usual ones, `make test-all` through all."""
    return [*usual, *(pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.exhaustive) for value in more)]


def rounds(config, count):
    """Of a loop that is to find what only many rounds show: a fifth of them where each run counts, all of them with --every-kernel."""
    return count if config.getoption("--every-kernel") else max(1, count // 5)


@pytest.fixture(scope="session", autouse=True)
def built():
    for program in ("vmux", "vmuxctl"):
        if not os.access(BIN / program, os.X_OK):
            pytest.exit(f"{BIN / program} is missing: run make build", returncode=1)


class Rig:
    """A daemon and its guests, all of which end with it."""

    def __init__(self, directory):
        self.directory = directory
        self.daemons, self.guests = [], []

    def vmux(self, *flags, name="vmux"):
        daemon = Vmux(self.directory / name, *flags)
        _in_use.append(daemon)
        self.daemons.append(daemon)
        return daemon.start()

    def guest(self, name, **options):
        """A guest that is not started yet."""
        guest = Guest(name, **options)
        _in_use.append(guest)
        self.guests.append(guest)
        return guest

    def adopt(self, guest):
        """A guest of a kind of its own, not started yet."""
        _in_use.append(guest)
        self.guests.append(guest)

    def disown(self, daemon):
        """A daemon that the test has ended by force."""
        self.daemons.remove(daemon)
        _in_use.remove(daemon)

    def boot(self, *guests):
        start_all(guests)
        return guests[0] if len(guests) == 1 else guests

    def forget(self, guest):
        guest.stop()
        self.guests.remove(guest)
        _in_use.remove(guest)

    def close(self):
        for guest in self.guests:
            guest.stop()
            _in_use.remove(guest)
        for daemon in self.daemons:
            _in_use.remove(daemon)
            assert daemon.is_alive(), f"vmux ended by itself with status {daemon.process.returncode}:\n{daemon.log()}"
            assert daemon.stop() == 0, f"vmux did not end cleanly:\n{daemon.log()}"


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def lan(tmp_path_factory):
    """Two VMs, `a` and `b`, on the switch of one daemon; shared by all tests that leave them as they found them."""
    made = Rig(tmp_path_factory.mktemp("lan"))
    vmux = made.vmux()
    a = made.guest("a", sockets=[vmux.add_port("a")])
    b = made.guest("b", sockets=[vmux.add_port("b")])
    made.boot(a, b)
    yield SimpleNamespace(rig=made, vmux=vmux, a=a, b=b, address_a="10.77.0.1", address_b="10.77.0.2")
    made.close()


@pytest.fixture
def pair(lan):
    """`lan` with both VMs up, addressed and in reach of each other, whatever the test before did to them."""
    for guest, address in ((lan.a, lan.address_a), (lan.b, lan.address_b)):
        if not guest.is_alive():
            guest.start()
        try:
            if guest.run("test -e /sys/class/net/eth0").status != 0:
                guest.check("modprobe e1000")
        except GuestError:
            guest.kill()
            guest.start()
        give_address(guest, f"{address}/24", mtu=1500)
    wait_for_peer(lan.a, lan.address_b)
    return lan


@pytest.fixture(scope="session", params=iavf_harness.KERNELS, ids="linux-{}".format)
def iavf_net(request, tmp_path_factory):
    """Two VMs with an iavf each; shared like `lan`. Tests run kernel by kernel, so that one pair at a time is up."""
    made = Rig(tmp_path_factory.mktemp("iavf"))
    net = iavf_harness.boot_pair(made, request.param)
    net.rounds = (lambda count: rounds(request.config, count)) if request.param == USUAL_KERNEL else lambda count: min(3, count)
    yield net
    made.close()


@pytest.fixture
def iavf(iavf_net, request):
    """The pair in reach of each other; afterwards nobody may have complained."""
    iavf_harness.make_ready(iavf_net)
    yield iavf_net
    iavf_harness.assert_content(iavf_net, was_reset=request.node.get_closest_marker("reset_behind_the_driver") is not None)
