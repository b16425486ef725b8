# SPDX-License-Identifier: BSD-3-Clause
"""How commands are run in a place: on this machine, in a VM behind a command such as ssh, or in a guest of the lab.

A place can run a command and wait (`run`), start one that is ended later (`start`), and let a command write to a file on
this machine for as long as it runs (`stream`)."""
import ctypes
import os
import shlex
import signal
import subprocess
from typing import NamedTuple

from .rundir import Trouble


class Answer(NamedTuple):
    status: int
    output: str
    errors: str = ""


def die_with_parent():
    # A run that is killed takes along what it started. 1 is PR_SET_PDEATHSIG.
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def plain_language():
    """The environment of programs whose words are read: numbers with a point, messages in English."""
    return {**os.environ, "LC_ALL": "C"}


def start_process(command, **options):
    """A child of its own process group, so that a ctrl-C in the terminal reaches this program alone, which ends the child in order."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent, start_new_session=True, env=plain_language(), **options
    )


def end_process(process, number=signal.SIGTERM, patience=3):
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _Started:
    """A process that was started, to be ended."""

    def __init__(self, process, cleanup=None):
        self.process, self.cleanup = process, cleanup

    def end(self):
        if self.cleanup:
            self.cleanup()
        end_process(self.process)


class CommandPlace:
    """Commands behind a prefix: `ssh root@vm`, `podman exec vm sh -c`; no prefix is this machine."""

    def __init__(self, name, prefix=""):
        self.name = self.title = name
        try:
            self.prefix = shlex.split(prefix)
        except ValueError as problem:
            raise Trouble(f"cannot read the command prefix {prefix!r}: {problem}") from None

    @property
    def is_local(self):
        return not self.prefix

    def command(self, line):
        # The far side has a language of its own.
        return [*self.prefix, f"export LC_ALL=C; {line}"] if self.prefix else ["/bin/sh", "-c", line]

    def _spawn(self, line, **options):
        try:
            return start_process(self.command(line), **options)
        except (OSError, ValueError) as problem:  # ValueError: a zero byte
            raise Trouble(f"cannot run {self.command(line)[0]}: {getattr(problem, 'strerror', None) or problem}") from None

    def run(self, line, timeout=30):
        process = self._spawn(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        try:
            output, errors = process.communicate(timeout=timeout)
            return Answer(process.returncode, output, errors)
        except subprocess.TimeoutExpired:
            return Answer(124, "", f"no end within {timeout} s")
        finally:
            end_process(process)

    def start(self, line):
        if self.is_local:
            return _Started(self._spawn(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        # Ending ssh does not end what it started: the far side notes its own pid, and is ended by it.
        mark = f"/tmp/vmux-bench-{id(self):x}-{abs(hash(line)):x}.pid"
        process = self._spawn(f"echo $$ >{mark}; exec {line}", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return _Started(process, lambda: self.run(f"kill $(cat {mark}); rm -f {mark}", 10))

    def stream(self, line, path):
        # What writes to a closed connection ends at its next write, here or far away.
        with open(path, "wb") as file:
            return _Started(self._spawn(line, stdout=file, stderr=subprocess.DEVNULL))

    def has(self, program):
        return self.run(f"command -v {program}", 20).status == 0


class LabPlace:
    """A guest of the lab. It streams through virtio ports of its own, so that its agent stays free for commands."""

    is_local = False

    def __init__(self, guest, streams, title=None):
        """streams: the files on this machine that it may stream to, as qemu_args() was given them."""
        self.guest, self.name, self.streams = guest, guest.name, [str(path) for path in streams]
        self.title = title or f"VM {guest.name}"

    @staticmethod
    def qemu_args(streams):
        args = []
        for number, path in enumerate(streams):
            args += [
                "-chardev",
                f"file,id=measure{number},path={path}",
                "-device",
                f"virtserialport,bus=agentbus.0,chardev=measure{number},name=vmux.measure{number}",
            ]
        return args

    def run(self, line, timeout=30):
        status, output = self.guest.run(line, timeout)
        return Answer(status, output)

    def start(self, line):
        return _LabTask(self.guest.spawn(line))

    def stream(self, line, path):
        name = f"vmux.measure{self.streams.index(str(path))}"
        port = self.run(
            f'for d in /sys/class/virtio-ports/*; do test "$(cat $d/name)" = {name} && echo /dev/${{d##*/}}; done'
        ).output.strip()
        return self.start(f"exec 1>{port}; {line}")

    def has(self, program):
        return self.run(f"command -v {program}").status == 0


class NamespacePlace(LabPlace):
    """A network namespace in a guest of the lab: another machine, as far as its traffic goes."""

    def __init__(self, guest, namespace):
        super().__init__(guest, [])
        self.enter = f"ip netns exec {namespace} sh -c "

    def run(self, line, timeout=30):
        return super().run(self.enter + shlex.quote(line), timeout)

    def start(self, line):
        return super().start(self.enter + shlex.quote(line))


class _LabTask:
    def __init__(self, task):
        self.task = task

    def end(self):
        """Nothing: the guest ends with the run, and after a ctrl-C its agent is still busy with the command that was cut short."""
