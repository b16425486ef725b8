# SPDX-License-Identifier: BSD-3-Clause
"""The interposer beside the kernel's own VFIO: the same card, asked the same by the same program, answers the same."""
from rig import BIN, E1000E, probe, unexplained

# What differs, and why that is right.
KNOWN = {
    "check_extension_4_with_iommu": "a server sees memory as a CPU does; the emulated VT-d controls no snooping",
    "check_extension_10_with_iommu": "UPDATE_VADDR is not offered",
    "map_vaddr_flag": "UPDATE_VADDR is not offered",
    "map_flags_0x4": "UPDATE_VADDR is not offered",
    "unmap_vaddr": "UPDATE_VADDR is not offered",
    "unmap_flags_0x[46]_*": "UPDATE_VADDR is not offered",
    "map_far_*": "a server's memory has no IOMMU that would know fewer than 64 bits",
    "region_[01]": "a list of areas comes with each BAR, so that QEMU traps what a server does not share",
    "feature_[345]_*": "vfio-user cannot put a device to sleep",
    "device_info": "the server resets a card that has no reset of its own with its bus, and says that it can be reset",
    "device_reset": "the same",
    "hot_reset_info": "the program has no bus that it could reset, on which the kernel's answer is ENODEV",
    "hot_reset_no_groups": "the same",
    "hot_reset_with_what_is_no_group": "the same",
}


def test_interposer_answers_as_the_kernel(daemon, kernels_answers):
    theirs = kernels_answers[E1000E]
    ours = probe("vfio_probe.py", "0000:40:00.0",
                 before=[BIN / "vmux-vfio-run", "-d", f"0000:40:00.0={daemon.socket('card')}", "--"])
    assert len(theirs) > 1500 and list(theirs) == list(ours)
    assert not (text := unexplained(theirs, ours, KNOWN)), "\n".join(text)
