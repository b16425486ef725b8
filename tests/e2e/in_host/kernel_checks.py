# SPDX-License-Identifier: BSD-3-Clause
"""The interposer beside the kernel's own VFIO: the same card, asked the same by the same program, answers the same."""
from rig import BIN, probe

# What differs, and why that is right.
KNOWN = {
    "check_extension_4_with_iommu": "a server sees memory as a CPU does; the emulated VT-d controls no snooping",
    "check_extension_10_with_iommu": "UPDATE_VADDR is not offered",
    "map_vaddr_flag": "UPDATE_VADDR is not offered",
    "unmap_vaddr": "UPDATE_VADDR is not offered",
    "device_info": "the server resets a card that has no reset of its own with its bus, and says that it can be reset",
    "device_reset": "the same",
    "hot_reset_info": "the program has no bus that it could reset, on which the kernel's answer is ENODEV",
    "hot_reset_no_groups": "the same",
    "hot_reset_with_what_is_no_group": "the same",
}


def answers(text):
    lines = [line.partition(" ") for line in text.splitlines() if line]
    return {name: answer for name, _, answer in lines}


def test_interposer_answers_as_the_kernel(daemon, kernels_answers):
    theirs = answers(kernels_answers)
    ours = answers(probe("0000:40:00.0", BIN / "vmux-vfio-run", "-d", f"0000:40:00.0={daemon.socket('card')}", "--"))
    assert len(theirs) > 300 and list(theirs) == list(ours), kernels_answers
    differing = {name for name in theirs if theirs[name] != ours[name]}
    text = [f"{name}: the kernel {theirs[name]}, the interposer {ours[name]}" for name in sorted(differing - set(KNOWN))]
    text += [f"{name}: no difference any more" for name in sorted(set(KNOWN) - differing)]
    assert not text, "\n".join(text)
