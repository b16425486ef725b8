# SPDX-License-Identifier: BSD-3-Clause
"""What a guest sees of a physical function: configuration space and registers."""
import struct

from rig import E1000E, STATUS, VET, VF0, sysfs, vu


def test_ports_of_all_kinds_live_in_one_daemon(daemon):
    ports = {port["name"]: port for port in daemon.ctl("port", "list")}
    assert ports["card"]["device"] == E1000E and ports["card"]["ready"]
    assert "switch" not in ports["card"] and "mac" not in ports["card"]
    assert ports["emulated"]["switch"] == "default"
    assert daemon.stats("card")["counters"] is None


def test_config_space_is_the_devices_without_what_guests_must_not_see(vf):
    assert (vf.config16(0), vf.config16(2)) == (0x8086, 0x10ca)
    hidden_ari, aer = 0x0e, 0x01
    with open(sysfs(VF0) / "config", "rb") as file:
        raw = file.read()
    assert int.from_bytes(raw[0x150:0x152], "little") == hidden_ari, "the device has lost what this test looks for"
    assert set(vf.extended_capabilities()) == {aer}
    assert vf.read32(vu.CONFIG, 0x150) == 0
    assert set(vf.capabilities()) == {0x10, 0x11}


def test_the_emulated_card_shows_power_msi_msix_pcie_and_its_serial_number(card):
    assert set(card.capabilities()) == {0x01, 0x05, 0x10, 0x11}
    assert set(card.extended_capabilities()) == {0x01, 0x03}
    assert card.read(vu.CONFIG, 0x0e, 1)[0] & 0x80 == 0  # not part of a multi-function card


def test_mapped_registers_and_messages_are_the_same_device(card):
    start, memory = card.map_bar(vu.BAR0)
    with memory:
        assert start == 0 and struct.unpack_from("<I", memory, STATUS)[0] == card.read32(vu.BAR0, STATUS)
        struct.pack_into("<I", memory, VET, 0x88a8)
        assert card.read32(vu.BAR0, VET) == 0x88a8
        card.write32(vu.BAR0, VET, 0x8100)
        assert struct.unpack_from("<I", memory, VET)[0] == 0x8100


def test_the_msix_table_is_not_mapped_and_keeps_what_a_guest_writes(card):
    size, _, _, areas = card.region(vu.BAR3)
    assert areas == [(0x1000, size - 0x1000)]
    card.write(vu.BAR3, 0, struct.pack("<QII", 0xfee01000, 0x41, 1))
    assert card.read(vu.BAR3, 0, 16) == struct.pack("<QII", 0xfee01000, 0x41, 1)


def test_registers_do_not_answer_while_memory_space_is_off(card):
    card.enable(bits=0)
    assert card.read32(vu.BAR0, STATUS) == 0xffffffff
    card.enable()
    assert card.read32(vu.BAR0, STATUS) != 0xffffffff
