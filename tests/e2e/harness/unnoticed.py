# SPDX-License-Identifier: BSD-3-Clause
"""What a guest could notice of a server that is replaced under it: its carrier, and what its kernel says."""
import contextlib
import re

from .iavf import script

# A kernel's own words about a machine whose processor was away for a while: an emulated one on a busy host.
OF_THE_CLOCK = re.compile(r"hrtimer: interrupt took|clocksource:|perf: interrupt took too long|sched: RT throttling|"
                          r"workqueue: .* hogged CPU|rcu: .*(stall|starved)")


def card_of(guest, driver):
    """The interface of a driver, which may come a moment after its guest has booted."""
    return script(guest, f"until_true card {driver}; card {driver}").strip()


def carrier_changes(guest, interface):
    return guest.check(f"cat /sys/class/net/{interface}/carrier_changes").strip()


def settle(cards):
    """{guest: interface}: waits for the last that Linux says of a link that has come up, up to a second later."""
    for guest, interface in cards.items():
        script(guest, f"has_address() {{ ip -6 addr show dev {interface} | grep -q fe80; }}; until_true has_address")


@contextlib.contextmanager
def nothing(cards):
    """{guest: interface}: meanwhile no carrier changes and no kernel has anything to say. A guest's last words may be asked of another
    that has taken its place: what is yielded is a dictionary, {guest: the one to ask}."""
    changes = {guest: carrier_changes(guest, interface) for guest, interface in cards.items()}
    for guest in cards:
        guest.check("dmesg -c >/dev/null")
    places = {guest: guest for guest in cards}
    yield places
    for guest, interface in cards.items():
        assert carrier_changes(places[guest], interface) == changes[guest]
        said = places[guest].check("dmesg").splitlines()
        assert [line for line in said if not OF_THE_CLOCK.search(line)] == []
