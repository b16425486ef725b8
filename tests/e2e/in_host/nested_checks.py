# SPDX-License-Identifier: BSD-3-Clause
"""A VM with Linux's own drivers for physical functions, and an IOMMU of its own: QEMU on the KVM of the host VM (its
emulated CPU has SVM), so a VM in a VM. One boot for all."""
import json
import re
from pathlib import Path

import pytest
from rig import BIN, E1000A, ENABLE, PF, VF_RXDCTL, bind, interface_of, model, sh, vu, wait_until
from guest import Guest
from harness import ROOT

VF, CARD, OLD = "52:54:00:00:01:10", "52:54:00:00:02:00", "52:54:00:00:04:00"
CARD_WIRE, OLD_WIRE = "52:54:00:00:02:01", "52:54:00:00:04:01"
MEMORY = 160  # MiB


class Inner(Guest):
    """Its interfaces by MAC, its IOMMU groups by interface."""

    def name_of(self, mac):
        return self.check(f"grep -l {mac} /sys/class/net/*/address").split("/")[4]

    def interrupts(self, mac):
        """How many came, and by which means, of each vector that carries the interface's name."""
        lines = self.check(f"grep {self.name_of(mac)} /proc/interrupts").splitlines()
        return [(int(line.split()[1]), " ".join(line.split()[2:])) for line in lines]

    def reaches(self, mac, mine, there, timeout=120):
        """Five pings to the host VM, each waited for by itself, after giving the interface its address."""
        name = self.name_of(mac)
        self.check(f"ip addr replace {mine}/24 dev {name}; ip link set {name} up")
        wait_until(lambda: self.check(f"cat /sys/class/net/{name}/carrier").strip() == "1", f"link of {name}", timeout, 0.5)
        self.check(f"for i in 1 2 3 4 5; do ping -c 1 -W 10 {there} || exit 1; done", timeout)

    def translate(self, mac, kind):
        """The kernel's way of mapping for one device: DMA (strict), DMA-FQ (lazy), identity (passthrough)."""
        name = self.name_of(mac)
        self.check(f"device=/sys/class/net/{name}/device; address=$(basename $(readlink $device)); "
                   f"driver=$(readlink -f $device/driver); group=$(readlink -f $device/iommu_group); "
                   f"echo $address >$driver/unbind && echo {kind} >$group/type && echo $address >$driver/bind && "
                   f"test $(cat $group/type) = {kind}")


@pytest.fixture(scope="module")
def inner(daemon):
    sh("modprobe kvm_amd")
    if "old" not in {port["name"] for port in daemon.ctl("port", "list")}:
        for port in [port["name"] for port in daemon.ctl("port", "list") if port["name"].startswith("twin")]:
            daemon.remove_port(port)
        sh(f"{BIN}/vmuxctl host bind {E1000A} --group")
        daemon.add_port("old", "--device", E1000A, model="passthrough")
    sh(f"ip addr add 10.9.2.1/24 dev {interface_of(CARD_WIRE)}; ip addr add 10.9.4.1/24 dev {interface_of(OLD_WIRE)}")
    cards = [argument for port in ("vf0", "card", "old")
             for argument in ("-device", str(Guest.device(daemon.socket(port), port)).replace("'", '"'))]
    clock = re.search(r"tsc_early_khz=\d+", Path("/proc/cmdline").read_text())  # the counter is this machine's, too
    guest = Inner("inner", memory=MEMORY, accel="kvm", has_memory_ready=True,
                  append=f"mitigations=off rodata=off ipv6.disable=1 zswap.enabled=0 intel_iommu=on iommu=pt "
                         f"{clock.group() if clock else ''}",
                  qemu_args=["-machine", "kernel-irqchip=split", "-device", "intel-iommu,caching-mode=on,intremap=on",
                             *cards])
    try:
        guest.start(timeout=600)
        sh("iperf3 -s -D -I /run/iperf3.pid")
        yield guest
    finally:
        guest.stop()
        sh("kill $(tr -d '\\0' </run/iperf3.pid)", check=False)
        print(guest.story())


def test_linux_drives_a_vf(inner, daemon):
    """Link, pings, iperf3 both ways, MSI-X; and no register of the data path leaves the VM."""
    before = model(daemon, "vf0")
    inner.reaches(VF, "10.9.0.2", "10.9.0.1")
    for direction in ("", "-R"):
        said = inner.check(f"iperf3 -c 10.9.0.1 -t 2 {direction}", timeout=180)
        assert float(re.search(r"([\d.]+) \SBytes .*receiver", said).group(1)) > 0, said
    (tx, tx_kind), (rx, rx_kind), _ = inner.interrupts(VF)
    assert tx > 0 and rx > 0 and "MSI" in tx_kind and "MSI" in rx_kind
    after = model(daemon, "vf0")
    assert (after["bar.reads"], after["bar.writes"]) == (before["bar.reads"], before["bar.writes"])


@pytest.mark.parametrize("mode, vectors, kind", [(2, 3, "MSI"), (0, 1, "fasteoi")], ids=["msix", "intx"])
def test_linux_drives_an_e1000e(inner, mode, vectors, kind):
    """MSI is in interrupt_checks.py: Linux's driver tries it for a tenth of a second and may decide for INTx."""
    inner.check(f"rmmod e1000e; modprobe e1000e IntMode={mode}")
    inner.reaches(CARD, "10.9.2.2", "10.9.2.1")
    seen = inner.interrupts(CARD)
    assert len(seen) == vectors and sum(count for count, _ in seen) > 0
    assert all(kind in how for _, how in seen), seen


def test_linux_drives_an_e1000_by_intx(inner):
    inner.reaches(OLD, "10.9.4.2", "10.9.4.1")
    assert inner.interrupts(OLD)[0][0] > 0


@pytest.mark.parametrize("kind", ["DMA", "DMA-FQ", "identity"])
def test_a_vm_with_an_iommu_of_its_own(inner, daemon, kind):
    """Passthrough: all memory is mapped once. Strict and lazy: its driver's buffers come and go, a page at a time."""
    inner.translate(VF, kind)
    inner.reaches(VF, "10.9.0.2", "10.9.0.1")
    before = model(daemon, "vf0")
    inner.check("ping -q -c 40 -i 0.02 -w 60 10.9.0.1 && iperf3 -c 10.9.0.1 -n 200K", timeout=180)
    after = model(daemon, "vf0")
    maps, unmaps = after["dma.maps"] - before["dma.maps"], after["dma.unmaps"] - before["dma.unmaps"]
    pages = MEMORY << 20 >> 12
    print(f"{kind}: {maps} maps, {unmaps} unmaps, {after['dma.pages_pinned']} pages pinned, "
          f"{after['dma.map_us'] - before['dma.map_us']} us and {after['dma.unmap_us'] - before['dma.unmap_us']} us")
    assert after["dma.refused"] == 0
    if kind == "identity":
        assert (maps, unmaps) == (0, 0) and after["dma.pages_pinned"] >= 0.9 * pages
    else:
        assert maps >= 40 and unmaps >= 40 and 0 < after["dma.pages_pinned"] < pages / 4
        assert after["dma.map_us"] > before["dma.map_us"] and after["dma.unmap_us"] > before["dma.unmap_us"]


def test_what_it_costs_is_measured(inner, daemon, tmp_path):
    """vmux-bench vm beside a passthrough port: exits as KVM counts them, interrupts of the host, vMux's counters."""
    sh("mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug")
    inner.check("iperf3 -s -D")
    sh(f"{ROOT}/bench/vm run 10.9.0.2 -o {tmp_path}/run --phases tcp --seconds 2 --rounds 1 --no-profile "
       f"--rpc {daemon.rpc} --process {inner.process.pid}", timeout=300)
    seen = {}
    for line in (tmp_path / "run/samples.jsonl").read_text().splitlines():
        sample = json.loads(line)
        seen.setdefault((sample["source"], sample["who"]), []).append(sample["values"])
    (exits,) = [values for (source, _), values in seen.items() if source == "exits"]
    assert max(each["exits"] for each in exits) > 0
    assert seen["vmux", "vf0"][-1]["model.dma.pages_pinned"] > 0
    assert any("vfio" in name for values in seen["interrupts", "host"] for name in values), seen["interrupts", "host"]
    assert json.loads((tmp_path / "run/phases.jsonl").read_text())["throughput"]["mbits"] > 0


def test_a_reset_and_a_kill_in_the_middle_of_traffic_leave_clean_devices(inner, daemon):
    """The VM's end while its devices read and write its memory: first its own reset, then QEMU's death."""
    before = model(daemon, "vf0")["resets"]
    inner.spawn("iperf3 -R -c 10.9.0.1 -t 60")
    inner.qmp("system_reset")
    wait_until(lambda: model(daemon, "vf0")["resets"] > before, "the reset of the VM to reach its device")
    inner.kill()
    with vu.Vmm(daemon.socket("vf0")) as vmm:
        vmm.enable()
        assert vmm.read32(vu.BAR0, VF_RXDCTL) & ENABLE == 0
        assert model(daemon, "vf0")["dma.pages_pinned"] == 0
