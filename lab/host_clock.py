# SPDX-License-Identifier: BSD-3-Clause
"""How fast this machine's time stamp counter runs.

An emulated guest reads the host's counter and, at boot, finds out its speed by comparing it with an emulated timer. When
QEMU does not get its CPU in those milliseconds the guest is wrong by any factor (40 was seen), and all its time-outs
with it: lost "answers", soft lock-ups, stalls of RCU. So it is told.
"""
import ctypes
import mmap
import platform
import time

# rdtsc; shl rdx, 32; or rax, rdx; ret
READ_COUNTER = bytes.fromhex("0f31" "48c1e220" "4809d0" "c3")
WANTED_FLAGS = {"constant_tsc", "nonstop_tsc"}


def counter_khz(seconds=0.05):
    """Its frequency, or None where there is no such counter or no way to read it."""
    try:
        flags = set(next(line for line in open("/proc/cpuinfo") if line.startswith("flags")).split())
        if platform.machine() != "x86_64" or not WANTED_FLAGS <= flags:
            return None
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except (OSError, StopIteration):
        return None
    page.write(READ_COUNTER)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))

    def sample():
        """(ns, ticks) of one moment: the narrowest of a few looks, in case this process is interrupted."""
        looks = []
        for _ in range(20):
            before, ticks, after = time.monotonic_ns(), read(), time.monotonic_ns()
            looks.append((after - before, (before + after) // 2, ticks))
        return min(looks)[1:]

    start_ns, start = sample()
    time.sleep(seconds)
    end_ns, end = sample()
    return round((end - start) * 1_000_000 / (end_ns - start_ns))
