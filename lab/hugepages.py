# SPDX-License-Identifier: BSD-3-Clause
"""Huge pages that are borrowed from the kernel, and returned whatever becomes of the borrower."""
import contextlib
import fcntl
import os
from pathlib import Path


class Hugepages:
    """2 MB pages for the length of a `with`: as many as asked for on top of what there is.

    What is borrowed stands in a file that its borrower keeps locked. A program that was killed leaves one that nobody
    locks: the next to borrow returns what that one had.
    """

    FILE = Path("/proc/sys/vm/nr_hugepages")
    BOOK = Path("/run/vmux-hugepages")  # gone after a boot, as the pages are

    def __init__(self, count):
        self.count, self.entry = count, None

    def __enter__(self):
        """True when they could be had."""
        if self.count == 0:
            return True
        try:
            with self._open_book():
                return self._borrow()
        except OSError:
            return False

    def __exit__(self, *_):
        if self.entry:
            with self._open_book():
                self._return(self.entry, self.count)

    @contextlib.contextmanager
    def _open_book(self):
        self.BOOK.mkdir(exist_ok=True)
        with open(self.BOOK / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for path in self.BOOK.glob("borrower-*"):
                self._return_if_dead(path)
            yield

    def _borrow(self):
        before = int(self.FILE.read_text())
        self.entry = open(self.BOOK / f"borrower-{os.getpid()}-{id(self)}", "w+")
        fcntl.flock(self.entry, fcntl.LOCK_EX)
        self.entry.write(str(self.count))
        self.entry.flush()
        self.FILE.write_text(str(before + self.count))
        if int(self.FILE.read_text()) >= before + self.count:
            return True
        self.FILE.write_text(str(before))
        self._strike(self.entry)
        self.entry = None
        return False

    def _return_if_dead(self, path):
        with open(path, "r+") as entry:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(entry, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._return(entry, int(entry.read() or 0))

    def _return(self, entry, count):
        now = int(self.FILE.read_text())
        if now >= count:  # else somebody has taken them back by hand
            self.FILE.write_text(str(now - count))
        self._strike(entry)

    @staticmethod
    def _strike(entry):
        os.unlink(entry.name)
        entry.close()
