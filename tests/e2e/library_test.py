# SPDX-License-Identifier: BSD-3-Clause
"""The device library's samples under a stock kernel and driver, and vfu-info on whatever serves vfio-user."""
import contextlib
import json
import subprocess

import pytest
from harness import BIN
from harness.vmux import wait_until

TOGGLING = "0 0 0 1 1 1 0 0 0 1 1 1"


@contextlib.contextmanager
def sample(directory, *command):
    """A sample program on a socket of its own; it has to end cleanly on SIGTERM."""
    path = directory / "sample.sock"
    with open(directory / "sample.log", "w") as log:
        process = subprocess.Popen([str(BIN / command[0]), *command[1:], str(path)], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log)
    try:
        wait_until(path.exists, "the sample's socket")
        yield path
        assert process.poll() is None, (directory / "sample.log").read_text()
        process.terminate()
        assert process.wait(90) in (0, -15)
    finally:
        process.kill()
        process.wait()


def info(path):
    done = subprocess.run([str(BIN / "vfu-info"), str(path), "--json"], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kernel", ["6.1", "7.2"])
def test_gpio_inputs_toggle_every_third_read_for_the_linux_driver(rig, kernel, tmp_path):
    with sample(tmp_path, "gpio-pci-idio-16", "-v") as path:
        guest = rig.boot(rig.guest("gpio", kernel=kernel, sockets=[path]))
        guest.check("modprobe gpio-pci-idio-16; gpiodetect | grep -q '32 lines'")
        # Line 16 is the first of the 16 inputs.
        values = guest.check("for i in $(seq 12); do gpioget --numeric -c gpiochip0 16; done").split()
        assert " ".join(values) == TOGGLING
        guest.check("gpioset -t0 -c gpiochip0 3=1")
        wait_until(lambda: "wrote 0x8 to (0:1)" in (tmp_path / "sample.log").read_text(), "the output to be written")


def test_device_in_c_is_a_gpio_card_for_the_linux_driver(rig, tmp_path):
    with sample(tmp_path, BIN.parent / "tests" / "capi-device") as path:
        assert "494f:0dc8" in subprocess.run([str(BIN / "vfu-info"), str(path)], capture_output=True, text=True,
                                             timeout=90).stdout
        guest = rig.boot(rig.guest("gpio-in-c", sockets=[path]))
        card = guest.check("dirname $(grep -l 0x0dc8 /sys/bus/pci/devices/*/device)").strip()
        assert guest.check(f"stat -c %s {card}/resource0 {card}/resource2").split() == ["4096", "256"]
        guest.check("modprobe gpio-pci-idio-16; gpiodetect | grep -q '32 lines'")
        values = guest.check("for i in $(seq 12); do gpioget --numeric -c gpiochip0 16; done").split()
        assert " ".join(values) == TOGGLING
        guest.check("gpioset -t0 -c gpiochip0 3=1")
        wait_until(lambda: "wrote 0x8 to output 0" in (tmp_path / "sample.log").read_text(), "the output to be written")
        # The guest's store goes to a page that QEMU maps: no message tells of it.
        bell = int(guest.check(f"sed -n 5p {card}/resource").split()[0], 16)
        guest.check(f"busybox devmem {bell:#x} 32 0x2a")
        wait_until(lambda: "doorbell 42" in (tmp_path / "sample.log").read_text(), "the doorbell to be heard")
        guest.kill()
        assert info(path)


def test_gpio_serves_one_client_after_another(rig, tmp_path):
    with sample(tmp_path, "gpio-pci-idio-16") as path:
        for _ in range(5):
            assert info(path)
        guest = rig.boot(rig.guest("gpio", sockets=[path]))
        guest.kill()
        assert info(path)


@pytest.mark.parametrize("program", ["gpio-pci-idio-16", "vfu-info", "null"])
def test_samples_say_what_is_wrong_with_their_command_line(program):
    done = subprocess.run([str(BIN / program), "--nonsense"], capture_output=True, text=True, timeout=90)
    assert done.returncode == 2
    assert "--nonsense" in done.stderr or "SOCKET" in done.stderr
    assert done.stdout == ""


def test_vfu_info_names_identity_regions_and_interrupts(tmp_path):
    with sample(tmp_path, "gpio-pci-idio-16") as path:
        text = subprocess.run([str(BIN / "vfu-info"), str(path)], capture_output=True, text=True, timeout=90).stdout
        assert "494f:0dc8" in text
        assert "Region 2" in text


def test_vfu_info_on_a_port_of_vmux(pair):
    path = pair.vmux.add_port("looked-at")
    try:
        text = json.dumps(info(path))
        assert "8086" in text or str(0x8086) in text, text
    finally:
        pair.vmux.remove_port("looked-at")
