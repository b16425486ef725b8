# SPDX-License-Identifier: BSD-3-Clause
"""VMs' cards that all have traffic (`vmux-bench crowd`), and what they see while their daemon dies or is replaced."""
import json
import os
import subprocess

from children import die_with_parent


def ports_of(directory, count):
    """As `port add` is to be told, by name: `vmN`, whose addresses the crowd knows, in pairs of peers, and one whose registers are read."""
    ports = {f"vm{number}": {"mac": f"02:00:00:00:36:{number:02x}", "doorbell": "poll"} for number in range(count)}
    ports["register"] = {"mac": "02:00:00:00:37:00"}
    return {name: {"model": "e1000", "socket": os.path.join(directory, f"{name}.sock"), **options} for name, options in ports.items()}


class CrowdError(AssertionError):
    """It ended, or did not answer."""


class Crowd:
    def __init__(self, program, directory, ports, memory_mib, interval_us=100, wrap=lambda command: command):
        self.process = subprocess.Popen(
            wrap([str(program), "crowd", str(directory), "--ports", str(ports), "--memory", str(memory_mib), "--interval", str(interval_us)]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        self._hear()

    def _hear(self):
        line = self.process.stdout.readline()
        if not line:
            raise CrowdError(f"the crowd ended with status {self.process.wait()}")
        return json.loads(line)

    def _say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self._hear()

    def begin(self):
        """A window begins."""
        self._say("begin")

    def end(self):
        """What was seen since, once every port has heard of its peer again."""
        return self._say("end")

    def poison(self, how="poison"):
        """The first of them sends a frame that a daemon dies of which is made for it (tests/poison): as it takes the frame, or, with
        "poison delivery", as it delivers it to the second."""
        self._say(how)

    def close(self):
        self.process.stdin.close()
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
