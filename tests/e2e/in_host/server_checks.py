# SPDX-License-Identifier: BSD-3-Clause
"""The server beside the kernel's own VFIO: the same questions, call by call and message by message, of three pairs of devices. A
physical card and the same card served; an 82540EM and its model; a virtual function with MSI-X and a model that has MSI-X."""
import pytest
from rig import E1000A, E1000E, VF0, probe, unexplained

ADDRESS = "memory comes by descriptor: there is no address to renew"
FILE = "memory comes by descriptor: what its file does not give is told as mmap() tells it"
WHOLE = "a message's reply is whole or an error: there are no short reads and writes"
SOFT = "clients turn off what was never on, and trigger what they have not wired yet"
MASKABLE = "messages can be masked here, as linux/vfio.h describes it"
ABSENT = "an absent kind has no flags: DPDK takes the last kind with eventfds, and not the last with vectors"
RESIZE = "vectors are wired and triggered while others are live, and before them"
FEATURE = "vfio-user has no such feature"
MIGRATES = "the state of a model can be saved and loaded, that of the card cannot"
LOGGING = "a model's DMA can be logged, which no physical card's can"
BUS = "a card without a reset of its own is reset with its bus, or stopped, and told to be resettable"
NO_IOMMU = "a model has no IOMMU: no window where messages go, and no end of addresses"

# What differs, and why that is right, by question. Of memory and accesses ...
MEMORY = {
    "map_vaddr_flag": ADDRESS,
    "map_flags_0x4": ADDRESS,
    "unmap_vaddr": ADDRESS,
    "unmap_flags_0x4_size_0x1000": ADDRESS,
    "unmap_flags_0x6_size_0x0": ADDRESS,
    "map_*_the_end_of_the_file": FILE,
    "map_what_cannot_be_written": FILE,
    "unmap_with_bitmap": "bitmaps with UNMAP are gone from the specification",
    "*_bar_over_the_end": WHOLE,
    "read_[48]_of_region_[0-5]_at_last": WHOLE,
    "read_8_of_region_[0-5]_at_last_but_3": WHOLE,
    "feature_[345]_*": FEATURE,
}
# ... of any interrupt ...
IRQS = {
    "region_8": "cloud-hypervisor asks for every region, and must not fail",
    "*_disable_when_off": SOFT,
    "*_disable_again": SOFT,
    "*_disable": SOFT,
    "*_trigger_when_off": SOFT,
    "*_off_trigger_none_*": SOFT,
}
# ... of messages ...
MESSAGES = {
    "msi*_*mask*": MASKABLE,
    "msi*_trigger_by_bool_when_off": SOFT,
    "msi*_off_trigger_bool_*": SOFT,
    "msi*_off_trigger_eventfd_0_none": "EINVAL for a count of 0, not what the kernel's allocator says of it",
    "msix_one_more": RESIZE,
    "msix_on_trigger_*": RESIZE,
}
# ... of INTx ...
INTX = {"irqs_argsz_without_data": "clients leave the descriptors, which are beside the message, out of argsz"}
# ... and of one device.
PASSTHROUGH = {
    **MEMORY,
    **IRQS,
    **MESSAGES,
    **INTX,
    "*_on_while_*_is_on": "what the device signals by, configuration space decides: clients wire one kind while another is live",
    "device_info": BUS,
    "device_reset": BUS,
    "region_[01]": "the list of areas comes always: without one a client maps all",
}
E1000 = {
    **MEMORY,
    **IRQS,
    **INTX,
    "map_*_msi_window": NO_IOMMU,
    "map_far_*": NO_IOMMU,
    "intx_*mask_when_off": SOFT,
    "intx_trigger_by_bool_when_off": SOFT,
    "intx_off_*mask_*_0_one": SOFT,
    "intx_off_trigger_bool_0_one": SOFT,
    "intx_flags_0x[9ac]": SOFT,
    "intx_flags_0x[12][124]": SOFT,
    "err_*": "a model has an ERR, of conventional PCI too",
    "irq_3": "a model has an ERR, of conventional PCI too",
    "irq_[12]": ABSENT,
    "irq_4": RESIZE,
    "feature_nothing": MIGRATES,
    "feature_migration_*": MIGRATES,
    "feature_state_*": MIGRATES,
    "feature_[12]_*": MIGRATES,
    "feature_log_*": LOGGING,
    "feature_[678]_*": LOGGING,
    "region_[0-7]": "the list of areas comes always",
    "config_class": "a stepping of its own",
    "config_subsystem": "a board of its own",
    "device_info": "a model can be reset",
    "device_reset": "a model can be reset",
}


IAVF = {
    **IRQS,
    **MESSAGES,
    "region_[03]": "another part than the physical one",
    "irq_2": "another part than the physical one",
    "irq_[134]": RESIZE,
    "irq_0": ABSENT,
}


@pytest.fixture(scope="module")
def iavf(daemon):
    """The port of a model that no other check has."""
    daemon.add_port("answers-iavf", model="iavf")
    yield
    daemon.remove_port("answers-iavf")


@pytest.mark.parametrize("port, part, twin, known", [("card", (), E1000E, PASSTHROUGH), ("emulated", (), E1000A, E1000),
                                                     ("answers-iavf", ("irqs",), VF0, IAVF)], ids=["card", "e1000", "iavf"])
def test_server_answers_as_the_kernel(daemon, kernels_answers, iavf, port, part, twin, known):
    theirs = kernels_answers[twin]
    said = probe("server_probe.py", daemon.socket(port), *part)
    ours = {name: answer for name, answer in said.items() if answer != "-" and name in theirs}
    assert len(ours) > (700 if part else 1200)
    assert not (text := unexplained(theirs, ours, known)), "\n".join(text)
