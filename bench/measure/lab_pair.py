# SPDX-License-Identifier: BSD-3-Clause
"""Two guests of the lab, joined by vMux or by QEMU alone: what is measured when there is no VM at hand."""
import importlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .access import LabPlace, end_process, start_process
from .rundir import Trouble

TOP = Path(__file__).resolve().parent.parent.parent
ADDRESSES = ("10.78.3.1", "10.78.3.2")
SOCKPERF = "/opt/sockperf"  # in the guests


def load(module="guest"):
    """A module of lab/, which is there in the source tree only."""
    if not (TOP / "lab" / "guest.py").exists():
        raise Trouble(
            "'lab' needs the source tree of vMux (lab/): run vmux-bench from a build in there, or measure a VM of yours with 'run'"
        )
    sys.path.insert(0, str(TOP / "lab"))
    return importlib.import_module(module)


def build():
    done = subprocess.run([str(TOP / "lab/build")], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Trouble(f"the lab cannot be built: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")


def find_program(name):
    """One of vMux's programs: of the build in this tree, else of the PATH."""
    built = TOP / "build" / "release" / "bin" / name
    found = str(built) if os.access(built, os.X_OK) else shutil.which(name)
    if not found:
        raise Trouble(f"there is no {name}: build it (make build) or install vMux")
    return found


def extended_initrd(base, directory, run):
    """The guests' initrd with sockperf in it, which is no part of the lab. Its libraries come along: the guests' are of another Debian."""
    program = shutil.which("sockperf")
    if not program or not shutil.which("cpio"):
        run.missing("round trips by sockperf: it is not installed (or cpio is not)", "apt-get install sockperf cpio")
        return base
    tree = directory / "initrd" / SOCKPERF.lstrip("/")
    tree.mkdir(parents=True)
    shutil.copy(program, tree / "sockperf")
    for line in subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.splitlines():
        path = next((word for word in line.split() if word.startswith("/")), None)
        if path:
            shutil.copy(path, tree / ("ld.so" if "ld-linux" in path else os.path.basename(path)))
    names = subprocess.run(["find", ".", "-print"], cwd=directory / "initrd", capture_output=True, check=True).stdout
    archive = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"],
        cwd=directory / "initrd",
        input=names,
        capture_output=True,
        check=True,
    ).stdout
    image = directory / "initrd.img"
    # The kernel unpacks archives that follow each other.
    image.write_bytes(Path(base).read_bytes() + archive)
    return image


class Pair:
    """Guests "a" (where traffic is started) and "b" (the measured VM), and the daemon between them, if one is."""

    def __init__(self, run, directory, options):
        self.run, self.directory, self.options = run, Path(directory), options
        self.lab, self.guests, self.daemon, self.rpc = load(), [], None, None
        self.streams = [self.run.raw(f"guest-{name}.log") for name in "ab"]

    def start(self, progress):
        build()
        if not self.options.qemu_nic:
            progress.begin("starting vmux", 0)
            self._start_daemon()
        progress.begin("booting two guests", 0)
        initrd = extended_initrd(self.lab.CACHE / "kernels" / self.options.kernel / "initrd", self.directory, self.run)
        self.guests = [self._guest(number, name, initrd) for number, name in enumerate("ab")]
        self.lab.start_all(self.guests)
        for guest, address in zip(self.guests, ADDRESSES):
            guest.check(f"ip addr add {address}/24 dev eth0 && ip link set eth0 up")
        self.guests[0].check(
            f"for i in 1 2 3 4 5 6 7 8 9 10; do ping -c1 -W1 {ADDRESSES[1]} && exit 0; sleep 0.5; done; exit 1", 40
        )
        progress.end()

    def _start_daemon(self):
        self.rpc = self.directory / "rpc.sock"
        with open(self.run.raw("vmux.log"), "wb") as log:
            self.daemon = start_process(
                [find_program("vmux"), "--rpc", str(self.rpc), *self.options.vmux], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 10
        while not self.rpc.exists():
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                raise Trouble(f"vmux did not start: {self.run.raw('vmux.log').read_text(errors='replace').strip()[-400:]}")
            time.sleep(0.05)
        for name in "ab":
            done = subprocess.run(
                [
                    find_program("vmuxctl"),
                    "--rpc",
                    str(self.rpc),
                    "port",
                    "add",
                    name,
                    "--model",
                    self.options.model,
                    "--socket",
                    str(self.directory / f"{name}.sock"),
                    *self.options.port,
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise Trouble(f"vmuxctl port add {name} --model {self.options.model}: {(done.stderr or done.stdout).strip()}")

    def _guest(self, number, name, initrd):
        # The port of -netdev socket: from the pid, so that runs side by side do not meet.
        end = f"127.0.0.1:{20000 + os.getpid() % 20000}"
        args = LabPlace.qemu_args([self.streams[number]])
        if self.options.qemu_nic:
            args += [
                "-netdev",
                f"socket,id=n0,{('listen', 'connect')[number]}={end}",
                "-device",
                f"{self.options.qemu_nic},netdev=n0,romfile=,mac=52:54:00:00:03:0{number + 1}",
            ]
        directory, sockets = self.directory / name, [] if self.options.qemu_nic else [self.directory / f"{name}.sock"]

        class MeasuredGuest(self.lab.Guest):
            def command_line(self):
                line = super().command_line()
                line[line.index("-initrd") + 1] = str(initrd)
                line[line.index("-name") + 1] += ",debug-threads=on"  # threads by what they do
                return line

        return MeasuredGuest(
            name, kernel=self.options.kernel, cpus=self.options.cpus, sockets=sockets, qemu_args=args, directory=directory
        )

    @property
    def places(self):
        return [LabPlace(guest, [stream]) for guest, stream in zip(self.guests, self.streams)]

    @property
    def processes(self):
        found = [guest.process.pid for guest in self.guests]
        return [str(pid) for pid in ([self.daemon.pid] if self.daemon else []) + found]

    @property
    def subject(self):
        joined = (
            f"QEMU's {self.options.qemu_nic}, -netdev socket"
            if self.options.qemu_nic
            else " ".join(["vMux,", self.options.model, *self.options.port, *self.options.vmux])
        )
        return (
            f"two guests of the lab (Linux {self.options.kernel}, {self.options.cpus} CPU, {self.lab.accelerator()}) on {joined}"
        )

    def stop(self):
        for guest in self.guests:
            guest.kill()
        if self.daemon:
            end_process(self.daemon)
