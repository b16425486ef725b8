# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's testpmd on a pseudo terminal."""
import contextlib
import itertools
import os
import pty
import re
import select
import subprocess
import time

from children import die_with_parent

_numbers = itertools.count()


class TestpmdError(AssertionError):
    """testpmd did not do what it should."""

    __test__ = False


class Testpmd:
    """An interactive testpmd. Its commands are run one at a time."""

    __test__ = False  # not a test, whatever its name

    PROMPT = "testpmd> "
    POLLED = re.compile(r"show port stats \d+\n\n  #+ NIC[^#]*#+\n[^#]*#+\ntestpmd> ")
    # What other threads say may come in the middle of it.
    NEWS = re.compile(r"\n?Port \d+: [a-z ]+ event\n|iavf_\w+\(\): [^\n]*\n")

    def __init__(self, name, eal, options=(), wrap=lambda command: command):
        """`wrap` makes the command line that runs the command line it is given."""
        self.name, self.text = name, ""
        command = ["dpdk-testpmd", "--no-telemetry", f"--file-prefix={name}-{os.getpid()}-{next(_numbers)}", *eal,
                   "--", "-i", "--no-mlockall", "--no-flush-rx", *options]
        terminal, inner = pty.openpty()
        self.terminal = terminal
        self.process = subprocess.Popen(wrap(command), stdin=inner, stdout=inner, stderr=inner, close_fds=True,
                                        preexec_fn=die_with_parent)
        os.close(inner)
        try:
            self._until_prompt(400)
        except BaseException:
            self.kill()
            raise

    def run(self, command, timeout=240):
        """What it says to a command."""
        os.write(self.terminal, command.encode() + b"\n")
        return self._until_prompt(timeout)

    def begin(self, command):
        """Forwarding is started and told not to be waited for: what it prints may come in the middle of the prompt."""
        os.write(self.terminal, command.encode() + b"\n")

    def end(self, timeout=240):
        """Stops forwarding; behind that, prompts are whole again."""
        start = len(self.text)
        os.write(self.terminal, b"stop\n")
        done = ("\nDone.\n", "Packet forwarding not started")

        def is_over():
            at = max(self.text.find(word, start) for word in done)
            return at >= 0 and self.text.find(self.PROMPT, at) >= 0

        if not self._read_until(is_over, timeout):
            raise TestpmdError(f"{self.name}: did not stop within {timeout} s; it said:\n{self.said()}")
        return self.text[start:]

    def statistics(self, port=0):
        """`show port stats`: RX-packets, TX-bytes and so on."""
        return {key: int(value) for key, value in re.findall(r"([RT]X-[a-z-]+): +(\d+)", self.run(f"show port stats {port}"))}

    def port(self, device):
        """testpmd's number of a device, by its name."""
        shown = self.run("show port info all").replace("MAC address: ", "").replace("\n", " ")
        found = re.search(r"Infos for port (\d+) [^D]*Device name: " + re.escape(device), shown)
        if not found:
            raise TestpmdError(f"{self.name} has no device {device}")
        return int(found.group(1))

    def wait_for(self, condition, what, port=0, timeout=240):
        """Until condition(statistics) holds; those statistics."""
        deadline = time.monotonic() + timeout
        while True:
            statistics = self.statistics(port)
            if condition(statistics):
                return statistics
            if time.monotonic() > deadline:
                raise TestpmdError(f"{self.name}: not within {timeout} s: {what}: {statistics}")
            time.sleep(0.05)

    def story(self):
        """What it said last, and, if it still answers, what each of its ports has counted."""
        said, mark = self.said(), len(self.text)
        with contextlib.suppress(OSError, TestpmdError):
            if self.process.poll() is None:
                for what in ("fwd stats", "port stats", "port xstats"):
                    self.run(f"show {what} all", timeout=20)
        return f"--- {self.name} said\n{said}\n--- {self.name} counted\n{self.text[mark:]}"

    def said(self):
        """Without what it was asked again and again."""
        return self.POLLED.sub("", self.text[-100000:])[-6000:]

    def stop(self):
        """`quit`, as a user would; the exit status."""
        try:
            if self.process.poll() is None:
                os.write(self.terminal, b"stop\nquit\n")
                self._read_until(lambda: False, 240)
                self.process.wait(60)
        except (OSError, subprocess.TimeoutExpired):
            pass
        finally:
            self.kill()
        os.close(self.terminal)
        return self.process.returncode

    def kill(self):
        self.process.kill()
        self.process.wait()

    def _until_prompt(self, timeout):
        start = len(self.text)
        # One prompt for each command; an event may be told after it.
        found = self._read_until(lambda: self.PROMPT in self.NEWS.sub("", self.text[start:]), timeout)
        if not found:
            raise TestpmdError(f"{self.name}: no prompt within {timeout} s; it said:\n{self.said()}")
        return self.text[start:]

    def _read_until(self, condition, timeout):
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.terminal], [], [], left)[0]:
                return False
            try:
                data = os.read(self.terminal, 65536)
            except OSError:  # the program has ended
                return condition()
            if not data:
                return condition()
            self.text += re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", data.decode(errors="replace")).replace("\r", "")
        return True
