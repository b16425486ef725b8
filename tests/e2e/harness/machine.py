# SPDX-License-Identifier: BSD-3-Clause
"""A machine without a program: QEMU's test protocol (-accel qtest) does what a guest's processor would do."""
import socket
import subprocess
import time

from children import die_with_parent
from guest import Qmp


def _connect(path, process):
    """To a UNIX socket that QEMU opens when it is ready to."""
    deadline = time.monotonic() + 180
    while True:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.connect(str(path))
            made.settimeout(180)
            return made
        except OSError:
            made.close()
            assert process.poll() is None and time.monotonic() < deadline, f"QEMU has not opened {path}"
            time.sleep(0.02)


class TestedMachine:
    __test__ = False  # not a test, whatever its name

    def __init__(self, directory, name, command_line):
        """`command_line` makes the whole of it from the options that are ours."""
        self.log_path = directory / f"{name}.log"
        test, monitor = directory / f"{name}.qtest", directory / f"{name}.qmp"
        line = command_line(["-accel", "qtest", "-qtest", f"unix:{test},server=on,wait=off", "-qtest-log", "none",
                             "-qmp", f"unix:{monitor},server=on,wait=off"])
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=die_with_parent)
        try:
            self.monitor = Qmp(_connect(monitor, self.process))
            self.test = _connect(test, self.process)
            self.answers = self.test.makefile("r")
        except BaseException:
            print(self.log()[-4000:])
            self.process.kill()
            self.process.wait()
            raise

    def _do(self, command):
        self.test.sendall(command.encode() + b"\n")
        answer = self.answers.readline().split()
        assert answer and answer[0] == "OK", f"{command}: {answer}"
        return answer[1:]

    def write(self, address, value, size):
        self._do(f"write{ {4: 'l', 8: 'q'}[size] } {address:#x} {value:#x}")

    def read(self, address, size):
        return int(self._do(f"read{ {4: 'l', 8: 'q'}[size] } {address:#x}")[0], 16)

    def write_config(self, slot, register, value):
        """32 bits of a function's config space on bus 0 (ports CF8 and CFC)."""
        self._do(f"outl 0xcf8 {1 << 31 | slot << 11 | register:#x}")
        self._do(f"outl 0xcfc {value:#x}")

    def qmp(self, command, **arguments):
        return self.monitor.execute(command, **arguments)

    def wait_for_migration(self, timeout=180):
        """How it ended."""
        deadline = time.monotonic() + timeout
        while (status := self.qmp("query-migrate").get("status")) not in ("completed", "failed", "cancelled"):
            assert time.monotonic() < deadline, f"the migration is still {status}"
            time.sleep(0.02)
        return status

    def log(self):
        return self.log_path.read_text(errors="replace")

    def close(self):
        self.answers.close()
        self.test.close()
        self.monitor.close()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
