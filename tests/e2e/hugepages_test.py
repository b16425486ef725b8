# SPDX-License-Identifier: BSD-3-Clause
"""A VM whose memory is on hugetlbfs: mapped, used, and given back to the host when the VM goes."""
import re
from pathlib import Path

import pytest
from conftest import Guest
from hugepages import Hugepages
from harness.traffic import give_address, iperf, mbits, ping, wait_for_peer
from harness.vmux import wait_until

POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
MEGABYTES = 192


class HugeGuest(Guest):
    def command_line(self):
        return [part.replace("share=on", "share=on,hugetlb=on,hugetlbsize=2M") for part in super().command_line()]


def used_pages():
    """Of the whole machine: other tests borrow some meanwhile, use them, and give them back."""
    seen = dict(re.findall(r"HugePages_(\w+): +(\d+)", Path("/proc/meminfo").read_text()))
    return int(seen["Total"]) - int(seen["Free"])


@pytest.fixture
def pages():
    """Enough huge pages for the VM; afterwards as many as there were before."""
    if not POOL.exists():
        pytest.skip("no 2 MiB huge pages in this kernel")
    with Hugepages(MEGABYTES // 2) as enough:
        if not enough:
            pytest.skip("the kernel has no 2 MiB pages to give")
        yield


def huge_mappings(daemon):
    """The daemon's mappings of guest memory that the kernel keeps in huge pages."""
    blocks = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{daemon.process.pid}/smaps").read_text())
    return [block.splitlines()[0] for block in blocks if re.search(r"KernelPageSize: +2048 kB", block)]


def test_memory_on_hugetlbfs_is_mapped_used_and_given_back(pair, pages):
    used = used_pages()
    socket = pair.vmux.add_port("huge")
    guest = HugeGuest("huge", memory=MEGABYTES, sockets=[socket])
    pair.rig.adopt(guest)
    try:
        guest.start()
        give_address(guest, "10.77.0.7/24")
        wait_for_peer(guest, pair.address_a)
        assert ping(guest, pair.address_a, count=20).loss == 0
        assert mbits(iperf(pair.a, guest, "10.77.0.7")) > 1
        assert len(huge_mappings(pair.vmux)) == 1, "guest memory is one file, mapped once, in huge pages"
        guest.kill()
        wait_until(lambda: not pair.vmux.is_connected("huge"), "vmux to notice that the VM is gone")
        wait_until(lambda: huge_mappings(pair.vmux) == [], "vmux to let go of the VM's memory")
        wait_until(lambda: used_pages() <= used, "the kernel to have all huge pages back")
        assert ping(pair.b, pair.address_a).loss == 0
    finally:
        pair.rig.forget(guest)
        pair.vmux.remove_port("huge")
