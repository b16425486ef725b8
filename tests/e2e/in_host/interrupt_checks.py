# SPDX-License-Identifier: BSD-3-Clause
"""INTx, MSI and MSI-X of real cards, to eventfds."""
import os

from rig import ICR, VF_EIAM, VF_EICR, VF_EICS, VF_EIMS, check_intx, raise_cause, vu, wait_until


def test_intx_is_masked_by_firing_and_unmasked_by_message_or_eventfd(card):
    assert card.irq(vu.INTX) == (7, 1)
    check_intx(card)


def test_msi(card):
    eventfd = card.listen(vu.MSI)
    for _ in range(3):
        raise_cause(card)
        assert vu.heard(eventfd) >= 1
        card.read32(vu.BAR0, ICR)


def fire(vmm, vector):
    vmm.write32(vu.BAR0, VF_EICR, 7)  # what is pending already is not raised again
    vmm.write32(vu.BAR0, VF_EICS, 1 << vector)


def prepare_vectors(vmm):
    vmm.write32(vu.BAR0, VF_EIAM, 0)
    vmm.write32(vu.BAR0, VF_EIMS, 7)


def test_msix_vectors_come_one_by_one(vf):
    assert vf.irq(vu.MSIX)[1] == 3
    prepare_vectors(vf)
    sinks = []
    for vector in range(3):
        sinks.append(vf.listen(vu.MSIX, start=vector))
        vf.write32(vu.BAR0, VF_EIMS, 7)
        for earlier, sink in enumerate(sinks):
            fire(vf, earlier)
            assert vu.heard(sink) >= 1, f"vector {earlier} of {len(sinks)}"
    silent = os.eventfd(0, os.EFD_NONBLOCK)
    vf.set_irqs(vu.MSIX, vu.EVENTFD | vu.TRIGGER, start=1, fds=[silent])  # another sink for a live vector
    fire(vf, 1)
    assert vu.heard(silent) >= 1 and vu.heard(sinks[1], 0.2) == 0


def test_msix_enabled_without_a_sink_and_masked_in_the_table(vf):
    prepare_vectors(vf)
    vf.set_irqs(vu.MSIX, vu.EVENTFD | vu.TRIGGER, count=3)  # as QEMU does it: vectors without sinks
    sink = vf.listen(vu.MSIX, start=0)
    vf.write32(vu.BAR0, VF_EIMS, 7)
    vf.write32(vu.BAR3, 12, 1)
    fire(vf, 0)
    pba = 0x2000
    wait_until(lambda: vf.read32(vu.BAR3, pba) & 1, "the pending bit")
    assert vu.heard(sink, 0.2) == 0
    vf.write32(vu.BAR3, 12, 0)
    assert vu.heard(sink) >= 1
    assert vf.read32(vu.BAR3, pba) & 1 == 0
