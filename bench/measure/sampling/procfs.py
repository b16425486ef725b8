# SPDX-License-Identifier: BSD-3-Clause
"""Text of /proc turned into counters, and two readings of counters into rates. Pure functions: they open nothing."""
import re
from typing import NamedTuple

# proc(5), /proc/stat: jiffies since boot in these columns. guest and guest_nice are contained in user and nice.
CPU_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
IDLE_COLUMNS = ("idle", "iowait")


class ThreadTimes(NamedTuple):
    """proc(5), /proc/PID/task/TID/stat: fields 2, 14, 15 and 43, in clock ticks."""

    name: str
    user: int
    system: int
    guest: int


def cpu_times(text):
    """/proc/stat: {"cpu": {...}, "cpu0": {...}}, each column by name."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if words and re.fullmatch(r"cpu\d*", words[0]):
            found[words[0]] = dict(zip(CPU_COLUMNS, map(int, words[1:])))
    return found


def cpu_shares(before, after):
    """What one CPU (or all of them: the line "cpu") did between two readings, in percent of its time; "busy" is the sum but idle."""
    spent = {name: max(0, after[name] - before.get(name, 0)) for name in after}
    total = sum(value for name, value in spent.items() if not name.startswith("guest"))
    if total == 0:
        return {}
    shares = {name: 100 * value / total for name, value in spent.items()}
    shares["busy"] = 100 - sum(shares.get(name, 0) for name in IDLE_COLUMNS)
    return shares


def thread_times(text):
    """One /proc/PID/task/TID/stat. The name may hold spaces and parentheses, so it ends at the last one."""
    opened, closed = text.index("("), text.rindex(")")
    fields = text[closed + 2 :].split()  # fields[0] is field 3, the state
    guest = int(fields[40]) if len(fields) > 40 else 0
    return ThreadTimes(text[opened + 1 : closed], int(fields[11]), int(fields[12]), guest)


def context_switches(text):
    """/proc/PID/task/TID/status: voluntary and forced switches together."""
    return sum(int(count) for count in re.findall(r"^(?:non)?voluntary_ctxt_switches:\s*(\d+)", text, re.M))


def interrupts(text):
    """/proc/interrupts: {"LOC Local timer interrupts": total over the CPUs, "24 eth0-rx-0": ...}."""
    lines = text.splitlines()
    if not lines:
        return {}
    cpus = len(lines[0].split())
    found = {}
    for line in lines[1:]:
        number, colon, rest = line.partition(":")
        if not colon:
            continue
        words = rest.split()
        counts = []
        while words and len(counts) < cpus and words[0].isdigit():
            counts.append(int(words.pop(0)))
        number = number.strip()
        # A device's line ends with its name; before that stand controller and pin, which say nothing to a reader.
        label = " ".join(words[-1:] if number.isdigit() else words)
        found[f"{number} {label}".strip()] = sum(counts)
    return found


def interface_counters(text):
    """/proc/net/dev: {"eth0": {"rx_bytes", "rx_packets", "rx_drops", "tx_bytes", "tx_packets", "tx_drops"}}, without lo."""
    found = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        numbers = rest.split()
        if colon and len(numbers) == 16 and name.strip() != "lo":
            columns = {"rx_bytes": 0, "rx_packets": 1, "rx_drops": 3, "tx_bytes": 8, "tx_packets": 9, "tx_drops": 11}
            found[name.strip()] = {key: int(numbers[at]) for key, at in columns.items()}
    return found


def rates(before, after, seconds):
    """Counters per second. One that is new counts from zero; one that went back was reset, and counts from zero too."""
    if seconds <= 0:
        return {}
    return {
        name: (value - (before.get(name, 0) if before.get(name, 0) <= value else 0)) / seconds for name, value in after.items()
    }


def flatten(value, prefix=""):
    """A tree of dictionaries as {"a.b": number}; anything but numbers is left out."""
    if isinstance(value, dict):
        flat = {}
        for key, inner in value.items():
            flat.update(flatten(inner, f"{prefix}.{key}" if prefix else str(key)))
        return flat
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {prefix: value}
    return {}
