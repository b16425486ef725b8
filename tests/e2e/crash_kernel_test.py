# SPDX-License-Identifier: BSD-3-Clause
"""A kernel that takes over from one that panicked has a network at once: what the old one's drivers had set up is still there."""
import pytest
from guest import CACHE, KERNEL_OPTIONS, KERNELS
from harness.stations import sh
from harness.traffic import put_program

TAP = "vmuxcrash0"
HOST, ADDRESSES = "10.63.{}.1", {"e1000": "10.63.1.2", "iavf": "10.63.2.2"}
# With what kdump-tools of Debian gives it.
CRASH_OPTIONS = f"{KERNEL_OPTIONS} nr_cpus=1 irqpoll reset_devices"

UP = r"""
card() { for i in /sys/bus/pci/drivers/$1/*/net/*; do test -e $i && echo ${i##*/} && return 0; done; return 1; }
until name=$(card %(model)s); do sleep 0.1; done
ip addr add %(address)s/24 dev $name; ip link set $name up
ping -q -c 1 -i 0.2 -w 30 %(host)s
"""


def come_up(guest, model):
    network = ADDRESSES[model].split(".")[2]
    return guest.run(UP % {"model": model, "address": ADDRESSES[model], "host": HOST.format(network)})


@pytest.mark.exhaustive
@pytest.mark.parametrize("any_kernel", KERNELS, ids="linux-{}".format)
def test_crash_kernel_has_a_network(rig, any_kernel):
    vmux = rig.vmux()
    vmux.ctl("uplink", "add", "host", "--backend", "tap", "--device", TAP)
    sh(f"ip addr add {HOST.format(1)}/24 dev {TAP}; ip addr add {HOST.format(2)}/24 dev {TAP}; ip link set {TAP} up")
    images = (CACHE / "kernels" / any_kernel).resolve()
    files = [images / "vmlinuz", images / "initrd"]
    guest = rig.guest("crash", kernel=any_kernel, memory=768, append="crashkernel=288M",
                      sockets=[vmux.add_port("e1000"), vmux.add_port("iavf", "--queues", "2", model="iavf")],
                      qemu_args=[word for path in files for word in ("-drive", f"file={path},format=raw,if=virtio,readonly=on")])
    rig.boot(guest)
    for model in ADDRESSES:
        assert come_up(guest, model).status == 0, model
    sizes = [path.stat().st_size for path in files]
    guest.check(f"head -c {sizes[0]} /dev/vda >/tmp/kernel; head -c {sizes[1]} /dev/vdb >/tmp/initrd; "
                f"{put_program(guest, 'kexec')} /tmp/kernel /tmp/initrd '{CRASH_OPTIONS}' && rm /tmp/kernel /tmp/initrd", timeout=600)
    # In the middle of traffic, both ways.
    for model, address in ADDRESSES.items():
        guest.spawn(f"ping -q -i 0.01 {HOST.format(address.split('.')[2])}")
    guest.crash()
    assert "reset_devices" in guest.check("cat /proc/cmdline"), "not the crash kernel"
    said = {model: come_up(guest, model) for model in ADDRESSES}
    told = guest.check("dmesg | grep -iE 'iavf|e1000'; true")
    assert {model: result.status for model, result in said.items()} == dict.fromkeys(ADDRESSES, 0), told
    model = vmux.stats("iavf")["model"]
    assert (model["refused"], model["admin_faults"]) == (0, 0), told
    assert "VIRTCHNL" not in told and "error" not in told.lower(), told
