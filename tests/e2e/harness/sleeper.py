# SPDX-License-Identifier: BSD-3-Clause
"""tests/dpdk/sleeper.cpp: a DPDK program that sleeps until a frame arrives and sends it back."""
import itertools
import json
import os
import select
import signal
import subprocess
import time

from children import die_with_parent

from . import BIN
from .interposer import behind_interposer

_numbers = itertools.count()


class Sleeper:
    """Asleep when made. It has the ports on `sockets`, at 0000:40:00.0, .1, ..., with as many queues that receive and one that sends."""

    def __init__(self, sockets, queues=1, eal=("--no-huge", "-m", "128"), log=None):
        line = [str(BIN.parent / "tests" / "dpdk-sleeper"), "-l", "0", "--no-telemetry", *eal,
                f"--file-prefix=sleeper-{os.getpid()}-{next(_numbers)}"]
        for number in range(len(sockets)):
            line += ["-a", f"0000:40:00.{number}"]
        self.log = log
        self.process = subprocess.Popen(behind_interposer(sockets, [*line, "--", str(queues)]), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=log, bufsize=0, preexec_fn=die_with_parent)
        self.pending = b""
        try:
            while self._line(300) != "ready":  # the EAL talks on standard output as well
                pass
        except BaseException:
            self.kill()
            raise

    def show(self):
        """{"cpu_us": ..., "ports": [{"driver", "mac", "queues": [{"wakes", "frames", ...}]}]}. Afterwards it sleeps again."""
        self.process.stdin.write(b"show\n")
        return json.loads(self._line(120))

    def queues(self, port=0):
        return self.show()["ports"][port]["queues"]

    def until(self, condition, what, timeout=120):
        """Until condition(show()) holds; what it showed. Each look wakes the program, but by its standard input."""
        deadline = time.monotonic() + timeout
        while True:
            shown = self.show()
            if condition(shown):
                return shown
            assert time.monotonic() < deadline, f"dpdk-sleeper: not within {timeout} s: {what}: {shown}"
            time.sleep(0.05)

    def pause(self):
        """Stops the process, as a debugger would: what arrives meanwhile waits for it."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        """`quit`; the exit status."""
        try:
            self.process.stdin.write(b"quit\n")
            self.process.wait(120)
        except (OSError, subprocess.TimeoutExpired):
            pass
        finally:
            self.kill()
        return self.process.returncode

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def _line(self, timeout):
        deadline = time.monotonic() + timeout
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.process.stdout], [], [], left)[0], \
                f"dpdk-sleeper: silent for {timeout} s"
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, f"dpdk-sleeper has ended with status {self.process.wait()}"
            self.pending += data
        line, _, self.pending = self.pending.partition(b"\n")
        return line.decode().strip()
