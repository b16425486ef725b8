# SPDX-License-Identifier: BSD-3-Clause
"""What benchmarks stand on: samples that met the same machine, and a machine that is afterwards as it was before."""
import itertools
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import ROOT
from harness.vmux import wait_until

sys.path.insert(0, str(ROOT / "bench"))
import sides  # noqa: E402  (found through the line above)
from children import die_with_parent  # noqa: E402  (in lab/)
from hugepages import Hugepages  # noqa: E402

NEAR, FAR = 45, 480  # ns between two CPUs, and back


@pytest.fixture
def pair(monkeypatch):
    """Makes a Pair while the CPUs are so far from each other; samples of the reference are 10, 11, ..., ours 20, 21, ..."""
    def make(*distances):
        come = iter(distances)
        monkeypatch.setattr(sides, "distance", lambda: next(come))
        made = sides.Pair({sides.REFERENCE: itertools.count(10).__next__, sides.OURS: itertools.count(20).__next__})
        assert next(come, None) is None, "not all distances were asked for"
        return made
    return make


def test_pair_is_taken_once_while_nothing_moves(pair):
    taken = pair(90, 115, 100)
    assert taken.stood_still and taken.samples == {sides.REFERENCE: 10, sides.OURS: 20}
    assert taken.ratio == 2.0


def test_pair_is_taken_again_when_the_cpus_moved_under_its_first_sample(pair):
    assert pair(NEAR, FAR, FAR, FAR, FAR).samples == {sides.REFERENCE: 11, sides.OURS: 20}


def test_pair_is_taken_again_when_the_cpus_moved_under_its_second_sample(pair):
    assert pair(NEAR, NEAR, FAR, FAR, FAR, FAR).samples == {sides.REFERENCE: 11, sides.OURS: 21}


def test_pair_of_cpus_that_came_back_counts(pair):
    """Told from each other is what the distances were when somebody looked, in any order."""
    assert pair(FAR, FAR, NEAR, NEAR, NEAR, NEAR).stood_still


def test_pair_is_what_there_is_when_the_cpus_never_stand_still(pair):
    taken = pair(*[NEAR, FAR] * sides.TRIES)
    assert not taken.stood_still
    assert taken.samples == {sides.REFERENCE: 10 + sides.TRIES - 1, sides.OURS: 20}


def test_ratios_are_told_by_distance(pair):
    pairs = [pair(FAR, FAR, FAR), pair(*[NEAR, FAR] * sides.TRIES), pair(90, 95, 100), pair(500, 450, 460), pair(NEAR, NEAR, NEAR)]
    pairs[3].samples[sides.OURS] = 40
    grouped = sides.pairs_by_distance(pairs)
    assert [(ns, len(group)) for ns, group in grouped] == [(NEAR, 1), (95, 1), (480, 2), (None, 1)]
    assert grouped[2][1] == [pairs[3], pairs[0]] and grouped[3][1] == [pairs[1]]
    assert sides.ratios_by_distance(pairs) == "2.00 at 45 ns (1), 2.00 at 95 ns (1), 3.00 at 480 ns (2), 1.33 while they moved (1)"


# -- what is left behind ----------------------------------------------------------------------------------------------------

@pytest.fixture
def pool(tmp_path, monkeypatch):
    """A pool of 40 pages, as the kernel shows its own, and a book of those who borrow from it."""
    monkeypatch.setattr(Hugepages, "FILE", tmp_path / "nr_hugepages")
    monkeypatch.setattr(Hugepages, "BOOK", tmp_path / "book")
    Hugepages.FILE.write_text("40")
    return Hugepages


def program(text):
    """One of its own, that has said "ready"."""
    paths = [str(ROOT / "lab"), str(ROOT / "bench")]
    made = subprocess.Popen([sys.executable, "-c", f"import sys; sys.path[:0] = {paths}\n{text}"], stdout=subprocess.PIPE, text=True,
                            preexec_fn=die_with_parent)
    return made, made.stdout.readline().split()


def borrower(pool, count):
    made, said = program(f"""
import pathlib, signal
from children import end_in_order
from hugepages import Hugepages
Hugepages.FILE, Hugepages.BOOK = pathlib.Path({str(pool.FILE)!r}), pathlib.Path({str(pool.BOOK)!r})
for number in (signal.SIGINT, signal.SIGHUP):  # what a shell runs in the background ignores the one, what nohup runs the other
    signal.signal(number, signal.SIG_DFL)
end_in_order()
with Hugepages({count}):
    print("ready", flush=True)
    signal.pause()
""")
    assert said == ["ready"]
    return made


def test_pages_are_returned_to_a_pool_that_others_use(pool):
    first, second = Hugepages(320), Hugepages(96)
    assert first.__enter__() and second.__enter__()
    assert pool.FILE.read_text() == "456"
    first.__exit__()
    assert pool.FILE.read_text() == "136"
    second.__exit__()
    assert pool.FILE.read_text() == "40"


def test_pages_that_somebody_has_taken_back_are_not_returned_again(pool):
    with Hugepages(320):
        pool.FILE.write_text("40")
    assert pool.FILE.read_text() == "40"


def test_pages_that_the_kernel_does_not_have_are_not_kept(pool, monkeypatch):
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path: str(min(100, int(read(path)))))
    with Hugepages(320) as enough:
        assert not enough
        assert read(pool.FILE) == "40"
    assert read(pool.FILE) == "40"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_pages_are_returned_by_a_program_that_is_told_to_end(pool, number):
    told = borrower(pool, 320)
    assert pool.FILE.read_text() == "360"
    told.send_signal(number)
    assert told.wait(90) == 128 + number
    assert pool.FILE.read_text() == "40"


def test_pages_of_a_program_that_was_killed_are_returned_by_the_next(pool):
    alive, killed = borrower(pool, 96), borrower(pool, 320)
    killed.kill()
    killed.wait(90)
    assert pool.FILE.read_text() == "456"
    with Hugepages(8):
        assert pool.FILE.read_text() == "144"  # of the pool, of the one that lives, and these
    assert pool.FILE.read_text() == "136"
    alive.terminate()
    alive.wait(90)
    assert pool.FILE.read_text() == "40"
    pool.FILE.write_text("8")  # and nothing is returned twice
    with Hugepages(0):
        assert pool.FILE.read_text() == "8"


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_server_of_a_benchmark_that_is_killed_ends_with_it(tmp_path):
    killed, (_, server) = program(f"""
import pathlib, signal, sides
directory = pathlib.Path({str(tmp_path)!r})
print("ready", sides.start_vmux(["--rpc", str(directory / "rpc.sock")], directory / "log", [directory / "rpc.sock"]).pid, flush=True)
signal.pause()
""")
    assert is_alive(server)
    killed.kill()
    killed.wait(90)
    wait_until(lambda: not is_alive(server), "vmux to end with the benchmark that started it")
