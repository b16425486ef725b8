# SPDX-License-Identifier: BSD-3-Clause
"""A test guest: a Debian kernel in QEMU, run by commands from the host.

    guest = Guest("a", sockets=["/tmp/a.sock"])
    guest.start()                                   # or start_all([a, b]): they boot side by side
    status, output = guest.run("ip -br link", timeout=10)
    guest.stop()

Commands run one at a time through an agent on a virtio-serial port (lab/guest/agent.c has the protocol), so the console's
noise never mixes with their output. Background work is started with spawn() and collected with its wait().
"""
import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from children import die_with_parent
from host_clock import counter_khz

LAB = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("VMUX_LAB_CACHE") or LAB.parent / "build" / "lab")
KERNELS = ("6.1", "6.12", "7.2")
# The self-tests of the kernel's ciphers are a third of an emulated guest's boot.
KERNEL_OPTIONS = "console=ttyS0 quiet panic=-1 net.ifnames=0 tsc=reliable no_timer_check nokaslr cryptomgr.notests"
if _khz := counter_khz():
    KERNEL_OPTIONS += f" tsc_early_khz={_khz}"
BOOT_SECONDS = 300  # far more than a boot takes (4-6 s); only a guest that will never come up gets here
LONGEST_COMMAND = 120 * 1024  # as in lab/guest/agent.c
COMMAND_SECONDS = 120  # as much more than a command takes that has nothing to wait for


class GuestError(Exception):
    """The guest itself (not a command in it) failed: did not boot, died, or stopped answering."""


class Result(NamedTuple):
    status: int
    output: str


def accelerator():
    """`kvm` where it was seen to boot a guest (lab/lib/probe-accel), else `tcg`."""
    try:
        return (CACHE / "accel").read_text().split()[0]
    except (OSError, IndexError):
        return "tcg"


class Background:
    """A command started with Guest.spawn()."""

    def __init__(self, guest, name):
        self.guest, self.name = guest, name

    def done(self):
        return self.guest.run(f"test -s /run/bg/{self.name}.status").status == 0

    def output(self):
        return self.guest.run(f"cat /run/bg/{self.name}.out").output

    def wait(self, timeout=COMMAND_SECONDS):
        """Its status and output, once it has ended."""
        script = f"while ! test -s /run/bg/{self.name}.status; do sleep 0.1; done; cat /run/bg/{self.name}.status"
        status, text = self.guest.run(script, timeout)
        if status != 0:
            raise GuestError(f"{self.guest.name}: background command still running after {timeout} s:\n{self.output()}")
        return Result(int(text), self.output())

    def kill(self, signal_name="TERM"):
        self.guest.run(f"kill -{signal_name} -$(cat /run/bg/{self.name}.pid)")


class Guest:
    def __init__(self, name, kernel="6.1", memory=256, cpus=1, sockets=(), qemu_args=(), append="", directory=None,
                 may_reboot=True, accel=None, has_memory_ready=False, kernel_file=None, modules=None):
        self.name, self.kernel, self.memory, self.cpus = name, kernel, memory, cpus
        self.sockets, self.qemu_args, self.append = list(sockets), list(qemu_args), append
        self.may_reboot, self.accel = may_reboot, accel or accelerator()
        self.has_memory_ready = has_memory_ready  # QEMU makes all pages before anyone is asked to pin them
        self.kernel_file, self.modules = kernel_file, modules  # instead of the lab's kernel; a directory of more modules
        self._own_directory = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix=f"guest-{name}-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.process = self.boot_id = None
        self._agent = self._listener = self._qmp = self._qmp_listener = None
        self._pending = b""
        self._spawned = 0

    # -- life ---------------------------------------------------------------------------------------------------------

    def command_line(self):
        images = CACHE / "kernels" / self.kernel
        size = f"{self.memory}M"
        line = [
            str(CACHE / "bin" / "qemu-system-x86_64"), "-name", self.name, "-nodefaults", "-no-user-config",
            "-machine", "q35,memory-backend=ram", "-accel", "tcg,thread=multi" if self.accel == "tcg" else self.accel,
            "-cpu", "max", "-smp", str(self.cpus), "-m", size,
            "-object", f"memory-backend-memfd,id=ram,size={size},share=on"
                       + (",prealloc=on" if self.has_memory_ready else ""),
            "-display", "none", "-serial", f"file:{self.directory}/console.log",
            "-kernel", str(self.kernel_file or images / "vmlinux"), "-initrd", str(self._initrd(images / "initrd")),
            "-append", f"{KERNEL_OPTIONS} {self.append}",
            "-device", "virtio-serial-pci,id=agentbus", "-chardev", f"socket,id=agent,path={self.directory}/agent",
            "-device", "virtserialport,bus=agentbus.0,chardev=agent,name=vmux.agent",
            "-qmp", f"unix:{self.directory}/qmp",
        ]
        if not self.may_reboot:
            line.append("-no-reboot")
        for number, path in enumerate(self.sockets):
            line += ["-device", json.dumps(self.device(path, f"nic{number}"))]
        return line + self.qemu_args

    def _initrd(self, usual):
        """The lab's, and behind it (the kernel unpacks one archive after another) modules of one's own: /modules."""
        if self.modules is None:
            return usual
        whole, tree = self.directory / "initrd", self.directory / "more"
        (tree / "modules").mkdir(parents=True, exist_ok=True)
        for module in Path(self.modules).glob("*.ko"):
            shutil.copy(module, tree / "modules" / module.name)
        names = "\n".join(["modules", *(f"modules/{each.name}" for each in sorted((tree / "modules").iterdir()))])
        archive = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], input=names.encode(), cwd=tree,
                                 stdout=subprocess.PIPE, check=True).stdout
        whole.write_bytes(Path(usual).read_bytes() + archive)
        return whole

    @staticmethod
    def device(path, identity):
        return {"driver": "vfio-user-pci", "id": identity, "socket": {"type": "unix", "path": str(path)}}

    def launch(self):
        """Starts QEMU without waiting for the guest to boot."""
        if not (CACHE / "kernels" / self.kernel / "initrd").exists():
            raise GuestError(f"the lab has no kernel {self.kernel}: run lab/build")
        self._listener = self._listen("agent")
        self._qmp_listener = self._listen("qmp")
        self._pending, self._agent, self._qmp = b"", None, None
        with open(self.directory / "qemu.log", "wb") as log:
            self.process = subprocess.Popen(self.command_line(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, preexec_fn=die_with_parent)

    def wait_for_boot(self, timeout=BOOT_SECONDS):
        deadline = time.monotonic() + timeout
        if self._agent is None:
            self._agent = self._accept(self._listener, deadline)
            try:
                self._qmp = Qmp(self._accept(self._qmp_listener, deadline))
            except (ConnectionError, ValueError):  # ValueError: the stream ended where an answer was due
                raise GuestError(f"{self.name}: QEMU ended at its start\n{self.story()}") from None
        while True:
            line = self._read_until(b"\n", deadline, "boot")
            if line.startswith(b"HELLO "):
                self.boot_id = line.split()[1].decode()
                return self

    def start(self, timeout=BOOT_SECONDS):
        self.launch()
        return self.wait_for_boot(timeout)

    def reboot(self, timeout=BOOT_SECONDS):
        """Reboots from inside, and waits until the guest is up again."""
        before = self.boot_id
        self._send("reboot -f", timeout)
        self.wait_for_boot(timeout)
        if self.boot_id == before:
            raise GuestError(f"{self.name}: did not reboot")
        return self

    def crash(self, timeout=BOOT_SECONDS):
        """Has the kernel panic, and waits until the one that was loaded for this case (kexec) is up."""
        before = self.boot_id
        self._send("echo c >/proc/sysrq-trigger", timeout)
        self.wait_for_boot(timeout)
        if self.boot_id == before:
            raise GuestError(f"{self.name}: did not crash")
        return self

    def kill(self):
        """As a crash would: SIGKILL, no goodbye to anyone."""
        if self.process:
            self.process.kill()
            self.process.wait()
        self._close()

    def stop(self):
        """Ends QEMU (its clean way, SIGKILL after 5 s) and forgets the guest's files."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._close()
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    # -- commands -----------------------------------------------------------------------------------------------------

    def run(self, command, timeout=COMMAND_SECONDS, on_output=None):
        """Runs a shell command in the guest: its exit status and output (stdout and stderr as they came).

        A command that outlives `timeout` is killed in the guest and yields status 137 or 143. on_output, if given, gets
        the output's bytes as they arrive."""
        token = self._send(command, timeout)
        end = b"\n" + token + b" "
        deadline = time.monotonic() + timeout + 20
        output = self._read_until(end, deadline, command, on_output)
        status = int(self._read_until(b"\n", deadline, command))
        return Result(status, output.decode(errors="replace"))

    def check(self, command, timeout=COMMAND_SECONDS):
        """Runs a command that has to succeed, and gives its output."""
        status, output = self.run(command, timeout)
        if status != 0:
            raise AssertionError(f"{self.name}: `{command}` ended with status {status}:\n{output}")
        return output

    def spawn(self, command):
        """Starts a command in the background."""
        self._spawned += 1
        name = str(self._spawned)
        script = f"({command}) >/run/bg/{name}.out 2>&1 </dev/null; echo $? >/run/bg/{name}.status"
        self.check(f"mkdir -p /run/bg; setsid /bin/sh -c {shlex.quote(script)} >/dev/null 2>&1 & echo $! >/run/bg/{name}.pid")
        return Background(self, name)

    def qmp(self, command, **arguments):
        """A QMP command to this guest's QEMU (device_add, device_del, system_reset, ...): its return value."""
        return self._qmp.execute(command, **arguments)

    def console(self):
        """What the guest's kernel wrote on its console so far."""
        try:
            return (self.directory / "console.log").read_text(errors="replace")
        except OSError:
            return ""

    def story(self):
        """For the log of a test that failed."""
        log = self.directory / "qemu.log"
        qemu = log.read_text(errors="replace") if log.exists() else ""
        return f"--- {self.name}: QEMU said\n{qemu[-2000:]}\n--- {self.name}: console\n{self.console()[-4000:]}"

    # -- inside -------------------------------------------------------------------------------------------------------

    def _listen(self, name):
        path = self.directory / name
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1)
        return listener

    def _accept(self, listener, deadline):
        while True:
            listener.settimeout(0.2)
            try:
                return listener.accept()[0]
            except socket.timeout:
                if not self.is_alive():
                    raise GuestError(f"{self.name}: QEMU ended at its start\n{self.story()}") from None
                if time.monotonic() > deadline:
                    raise GuestError(f"{self.name}: QEMU did not start\n{self.story()}") from None

    def _send(self, command, timeout):
        token = secrets.token_hex(8).encode()
        script = command.encode()
        if len(script) > LONGEST_COMMAND:
            raise ValueError("command too long for the guest's agent")
        self._agent.settimeout(60)
        try:
            self._agent.sendall(b"%s %d %d\n%s" % (token, int(timeout) + 1, len(script), script))
        except OSError as problem:
            raise GuestError(f"{self.name}: cannot be reached: {problem}\n{self.story()}") from problem
        return token

    def _read_until(self, end, deadline, doing, on_output=None):
        """Reads up to and including `end`; returns what came before it."""
        passed = bytearray()
        while end not in self._pending:
            if on_output and len(self._pending) > len(end):  # the tail may be the beginning of `end`
                ready, self._pending = self._pending[:-len(end)], self._pending[-len(end):]
                on_output(ready)
                passed += ready
            elif len(self._pending) > 65536:
                passed += self._pending[:-len(end)]
                self._pending = self._pending[-len(end):]
            self._agent.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self._agent.recv(65536)
            except socket.timeout:
                raise GuestError(f"{self.name}: no answer in time to: {doing}\n{self.story()}") from None
            except OSError as problem:
                raise GuestError(f"{self.name}: lost during: {doing}: {problem}\n{self.story()}") from problem
            if not data:
                raise GuestError(f"{self.name}: QEMU ended during: {doing}\n{self.story()}")
            self._pending += data
        before, self._pending = self._pending.split(end, 1)
        if on_output and before:
            on_output(before)
        return bytes(passed) + before

    def _close(self):
        for thing in (self._agent, self._listener, self._qmp, self._qmp_listener):
            if thing:
                thing.close()
        self._agent = self._listener = self._qmp = self._qmp_listener = None


class Qmp:
    """QEMU's monitor protocol: one JSON object a line; events between replies are kept in `events`."""

    def __init__(self, connection):
        self._connection = connection
        self._connection.settimeout(120)
        self._file = connection.makefile("rw", encoding="utf-8")
        self.events = []
        self._file.readline()  # greeting
        self.execute("qmp_capabilities")

    def execute(self, command, **arguments):
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        while True:
            line = self._file.readline()
            if not line:
                raise GuestError(f"QEMU ended during QMP {command}")
            reply = json.loads(line)
            if "event" in reply:
                self.events.append(reply)
            elif "error" in reply:
                raise GuestError(f"QMP {command}: {reply['error']['desc']}")
            else:
                return reply.get("return")

    def close(self):
        self._file.close()
        self._connection.close()


def start_all(guests, timeout=BOOT_SECONDS):
    """Boots guests side by side."""
    for guest in guests:
        guest.launch()
    for guest in guests:
        guest.wait_for_boot(timeout)
    return guests
