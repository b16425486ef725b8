# SPDX-License-Identifier: BSD-3-Clause
"""The host VM's cards and what the checks do with them. Registers: 82574L (e1000e), 82540EM (e1000) and 82576 (VF) manuals."""
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]
import vfio_user as vu  # noqa: E402
from harness import BIN  # noqa: E402
from harness.vmux import wait_until  # noqa: E402

PF, VF0, VF1, E1000E, E1000A, E1000B = ("0000:01:00.0", "0000:01:10.0", "0000:01:10.2", "0000:02:00.0", "0000:04:01.0",
                                        "0000:04:02.0")
STATUS, CTRL, VET, ICR, ITR, ICS, IMS, IMC = 0x8, 0x0, 0x38, 0xc0, 0xc4, 0xc8, 0xd0, 0xd8
LSC = 1 << 2  # link status change
VF_RXDCTL, VF_EICS, VF_EIMS, VF_EIAM, VF_EICR = 0x2828, 0x1520, 0x1524, 0x1530, 0x1580
ENABLE = 1 << 25  # of a receive queue; a reset clears it


def sh(command, check=True, timeout=180):
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def sysfs(address):
    return Path("/sys/bus/pci/devices") / address


def interface(address):
    return next((sysfs(address) / "net").iterdir()).name


def interface_of(mac):
    return next(path.parent.name for path in Path("/sys/class/net").glob("*/address")
                if path.read_text().strip() == mac and path.parent.name != "lo")


def bind(*addresses):
    sh(f"{BIN}/vmuxctl host bind {' '.join(addresses)}")


def driver(address):
    link = sysfs(address) / "driver"
    return link.resolve().name if link.exists() else None


def model(daemon, port):
    return daemon.stats(port)["model"]


def raise_cause(vmm):
    vmm.write32(vu.BAR0, IMS, LSC)
    vmm.write32(vu.BAR0, ICS, LSC)


def probe(program, *arguments, before=()):
    """The answers that vfio_probe.py or server_probe.py, run behind `before`, hears, by question and in order."""
    done = subprocess.run([*map(str, before), sys.executable, Path(__file__).with_name(program), *map(str, arguments)],
                          capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    answers = {name: answer for name, _, answer in lines}
    assert len(answers) == len(lines), "two questions have one name"
    return answers


def unexplained(theirs, ours, known):
    """Lines for answers that differ though no pattern of `known` has the question, and for patterns without a difference."""
    differing = [name for name in ours if theirs[name] != ours[name]]
    wrong = [name for name in differing if not any(fnmatchcase(name, pattern) for pattern in known)]
    return ([f"{name}: the kernel {theirs[name]}, we {ours[name]}" for name in wrong] +
            [f"{pattern}: no difference any more" for pattern in known if not any(fnmatchcase(name, pattern) for name in differing)])


def check_intx(vmm):
    eventfd = vmm.listen(vu.INTX)
    raise_cause(vmm)
    assert vu.heard(eventfd) == 1
    vmm.read32(vu.BAR0, ICR)  # the cause is gone, the line is masked
    raise_cause(vmm)
    assert vu.heard(eventfd, 0.3) == 0
    vmm.set_irqs(vu.INTX, vu.NONE | vu.UNMASK)
    assert vu.heard(eventfd) == 1  # still high
    vmm.set_irqs(vu.INTX, vu.NONE | vu.UNMASK)
    assert vu.heard(eventfd) == 1  # and again: a level
    resample = os.eventfd(0, os.EFD_NONBLOCK)
    vmm.set_irqs(vu.INTX, vu.EVENTFD | vu.UNMASK, fds=[resample])
    vmm.read32(vu.BAR0, ICR)
    os.eventfd_write(resample, 1)
    assert vu.heard(eventfd, 0.3) == 0
    raise_cause(vmm)
    assert vu.heard(eventfd) == 1
    vmm.read32(vu.BAR0, ICR)
    os.eventfd_write(resample, 1)
    wait_until(lambda: vmm.read32(vu.BAR0, ICS) is not None, "the card")
    vmm.set_irqs(vu.INTX, vu.NONE | vu.MASK)
    raise_cause(vmm)
    assert vu.heard(eventfd, 0.3) == 0
    vmm.set_irqs(vu.INTX, vu.NONE | vu.UNMASK)
    assert vu.heard(eventfd) == 1
    vmm.read32(vu.BAR0, ICR)
    vmm.set_irqs(vu.INTX, vu.NONE | vu.TRIGGER, count=0)
    os.close(resample)
