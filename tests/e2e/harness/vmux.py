# SPDX-License-Identifier: BSD-3-Clause
"""The daemon under test, and vmuxctl."""
import contextlib
import json
import os
import shlex
import subprocess
import time
from pathlib import Path

from children import die_with_parent

from . import BIN


class CtlError(Exception):
    """vmuxctl said no."""


def vhost_user_args(vmux, name):
    """What `vm-args` says of a port, but for the guest's memory, which the lab's guests have so already."""
    lines = vmux.ctl("vm-args", name, "--vmm", "qemu")["lines"]
    return [word for line in lines if line.startswith(("-chardev", "-netdev", "-device")) for word in shlex.split(line)]


def wait_until(condition, what, timeout=90, pause=0.05):
    """Polls until `condition()` is true; its value. Time decides only when to give up."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(pause)


class Vmux:
    """One daemon with its RPC socket and its VM sockets in `directory`. `wrap`: makes of its command the one that is run."""

    def __init__(self, directory, *flags, wrap=lambda command: command):
        self.wrap = wrap
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.rpc = self.directory / "rpc.sock"
        self.flags = [str(flag) for flag in flags]
        self.log_path = self.directory / "vmux.log"
        self.process = None

    def socket(self, name):
        return self.directory / f"{name}.sock"

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.wrap([str(BIN / "vmux"), "--rpc", str(self.rpc), *self.flags]),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            preexec_fn=die_with_parent)
        wait_until(self.is_ready, f"vmux to answer; it said:\n{self.log()}")
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"vmux ended with status {self.process.returncode}:\n{self.log()}")
        return self.rpc.exists() and self.ctl_run("version").returncode == 0

    def ctl_run(self, *arguments):
        """Runs vmuxctl and lets the caller judge."""
        return subprocess.run([str(BIN / "vmuxctl"), *map(str, arguments)], capture_output=True, text=True, timeout=90,
                              env={**os.environ, "VMUX_RPC": str(self.rpc)})

    def ctl(self, *arguments):
        """Runs `vmuxctl ... --json`; the answer, or CtlError."""
        done = self.ctl_run(*arguments, "--json")
        if done.returncode != 0:
            raise CtlError(f"vmuxctl {' '.join(map(str, arguments))}: status {done.returncode}: {done.stderr}{done.stdout}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def add_port(self, name, *options, model="e1000"):
        """Adds a port on the socket of its name; the path of that socket."""
        self.ctl("port", "add", name, "--model", model, "--socket", self.socket(name), *options)
        assert self.socket(name).exists(), f"port {name} was added but there is no socket"
        return self.socket(name)

    def remove_port(self, name):
        self.ctl("port", "remove", name)

    def stats(self, name):
        """`port stats NAME`: its counters, those of the model, and those of the client's session."""
        return self.ctl("port", "stats", name)[0]

    def is_connected(self, name):
        return self.stats(name)["connected"]

    def stop(self, timeout=60):
        """SIGTERM, as an operator would; the exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"vmux did not stop within {timeout} s of SIGTERM:\n{self.log()}") from None
        return self.process.returncode

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def story(self):
        """For the log of a test that failed: what was said, and what every port has counted and dropped."""
        counted = []
        with contextlib.suppress(CtlError, subprocess.TimeoutExpired):
            for port in self.ctl("port", "stats") if self.is_alive() else []:
                parts = [(part, port.get(part) or {}) for part in ("counters", "model", "client")]
                counted.append(f"{port['name']}: " + ", ".join(f"{part}.{key} {value}" for part, values in parts for key, value in values.items() if value))
        return "\n".join([f"--- vmux said\n{self.log()}--- vmux counted, but for what is 0", *counted])

    def log(self):
        return self.log_path.read_text(errors="replace")[-8000:] if self.log_path.exists() else ""
