# SPDX-License-Identifier: BSD-3-Clause
"""A program's end: it takes along what it started, and gives back what it borrowed."""
import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent():
    """For Popen's preexec_fn: however this program ends, what it started ends with it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_in_order():
    """From now on signals end this program by an exception, so that every `with` and `finally` is left as it should be."""
    ours = [number for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT) if signal.getsignal(number) != signal.SIG_IGN]

    def end(number, _frame):
        for each in ours:  # another one must not come between
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    for number in ours:
        signal.signal(number, end)
