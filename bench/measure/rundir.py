# SPDX-License-Identifier: BSD-3-Clause
"""A run is a directory. What is measured is appended to it line by line, so whatever ends the run, what was seen stays.

    run.json        what was run on what, how it ended, what was missing (and the command that mends it)
    phases.jsonl    one line per phase: name, round, start, end (seconds since the run's start), its own figures
    samples.jsonl   one line per reading: t, source, who, values
    profile.folded  stacks with their counts, if there was a profile
    raw/            what the tools said, word for word; while the run lasts, `reserve`: room for its last lines on a full disk
    summary.json, summary.txt, report.html, flame.svg    made from the above (`vmux-bench vm show` makes them again)
"""
import json
import math
import os
import threading
import time
from pathlib import Path

FORMAT = 1
RESERVE = 64 * 1024  # bytes kept free for run.json, for the case that the disk is full at the end


class Trouble(Exception):
    """What a user can mend: one sentence, shown without a traceback."""


def write(path, text):
    """A whole file; names that are no UTF-8 are written with escapes."""
    try:
        Path(path).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as problem:
        raise Trouble(f"cannot write {path}: {problem.strerror}") from None


def must_be_new(path):
    """Refuses what a run cannot be written into: a file, or a directory that holds something."""
    try:
        if path.exists() and any(path.iterdir()):
            raise Trouble(f"{path} is there already and not empty: choose another directory with -o")
    except (OSError, ValueError) as problem:  # ValueError: a zero byte
        raise Trouble(f"cannot make {path}: {getattr(problem, 'strerror', None) or problem}") from None


def is_figure(value):
    """A number that can be reckoned with: not NaN, not null, not true."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


class RunDirectory:
    """A run being recorded."""

    def __init__(self, path, about):
        self.path = Path(path)
        must_be_new(self.path)
        (self.path / "raw").mkdir(parents=True, exist_ok=True)
        self._reserve = self.raw("reserve")
        self._reserve.write_bytes(bytes(RESERVE))
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self.trouble = None  # why nothing more can be recorded
        self.about = {
            "format": FORMAT,
            "status": "running",
            "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "missing": [],
            **about,
        }
        self._samples = open(self.path / "samples.jsonl", "w", encoding="utf-8", buffering=1)
        self._phases = open(self.path / "phases.jsonl", "w", encoding="utf-8", buffering=1)
        self._save()

    def now(self):
        return time.monotonic() - self._started

    def raw(self, name):
        return self.path / "raw" / name

    def sample(self, source, who, values, t=None):
        """One reading of one thing: numbers by name."""
        rounded = {name: round(value, 4) for name, value in values.items() if is_figure(value)}
        line = json.dumps({"t": round(self.now() if t is None else t, 3), "source": source, "who": who, "values": rounded})
        with self._lock:
            if not self._samples.closed:
                self._append(self._samples, line)

    def phase(self, record):
        with self._lock:
            if self.trouble:
                self._reserve.unlink(missing_ok=True)  # there is room for one line more
            self._append(self._phases, json.dumps(record))
        if self.trouble:
            raise Trouble(self.trouble)

    def _append(self, file, line):
        """What cannot be written is not lost in silence: `trouble` says so, and the phase ends the run."""
        if self.trouble and file is self._samples:
            return
        try:
            file.write(line + "\n")
        except OSError as problem:
            self.trouble = f"cannot write {file.name}: {problem.strerror}"

    def missing(self, what, mend):
        """Something that could not be measured, and what would mend it. Said once."""
        entry = {"what": what, "mend": mend}
        with self._lock:
            if entry in self.about["missing"]:
                return
            self.about["missing"].append(entry)
            self._try_save()

    def describe(self, **facts):
        with self._lock:
            self.about.update(facts)
            self._try_save()

    def finish(self, status):
        with self._lock:
            self.about.update(status=status, seconds=round(self.now(), 1))
            for file in (self._samples, self._phases):
                try:
                    file.close()
                except OSError as problem:
                    self.trouble = self.trouble or f"cannot write {file.name}: {problem.strerror}"
            self._reserve.unlink(missing_ok=True)
            self._save()

    def _try_save(self):
        """While the run lasts. Its end writes again, into the space that was kept for it."""
        try:
            self._save()
        except Trouble as problem:
            self.trouble = self.trouble or str(problem)

    def _save(self):
        new = self.path / "run.json.new"
        write(new, json.dumps(self.about, indent=2) + "\n")
        os.replace(new, self.path / "run.json")


class Recorded:
    """A run that was recorded, whole or not."""

    def __init__(self, path):
        self.path = Path(path)
        if not (self.path / "run.json").is_file():
            raise Trouble(f"{self.path} is not a run: there is no run.json in it")
        try:
            self.about = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as problem:
            raise Trouble(f"{self.path}/run.json cannot be read: {problem}") from None
        if not isinstance(self.about, dict):
            raise Trouble(f"{self.path}/run.json is not that of a run")
        if self.about.get("format") != FORMAT:
            raise Trouble(f"{self.path} has format {self.about.get('format')}; this program reads format {FORMAT}")
        self.about = {"started": "?", **self.about, "missing": _entries(self.about.get("missing"))}
        self.phases = [phase for phase in map(_phase, _lines(self.path / "phases.jsonl")) if phase]
        self.samples = [sample for sample in map(_sample, _lines(self.path / "samples.jsonl")) if sample]

    @property
    def title(self):
        return self.about.get("title") or self.path.name

    def series(self, source, name):
        """{who: [(t, value)]} of one named value."""
        found = {}
        for sample in self.samples:
            if sample["source"] == source and name in sample["values"]:
                found.setdefault(sample["who"], []).append((sample["t"], sample["values"][name]))
        return found

    def names(self, source):
        """Every (who, name) that was sampled from this source, in the order of appearance."""
        return list(
            dict.fromkeys(
                (sample["who"], name) for sample in self.samples if sample["source"] == source for name in sample["values"]
            )
        )


def _entries(listed):
    entries = listed if isinstance(listed, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and {"what", "mend"} <= entry.keys()]


def _sample(line):
    """A reading with the figures that are some; None if it is no reading."""
    values = line.get("values")
    is_one = is_figure(line.get("t")) and all(isinstance(line.get(key), str) for key in ("source", "who"))
    if not is_one or not isinstance(values, dict):
        return None
    return {**line, "values": {name: value for name, value in values.items() if is_figure(value)}}


def _phase(line):
    """A phase whose figures can be reckoned with; one that has others has failed. None if it is no phase."""
    if not isinstance(line.get("phase"), str) or not all(is_figure(line.get(key)) for key in ("round", "start", "end")):
        return None
    if not all(_is_report(line[key]) for key in ("throughput", "latency") if key in line):
        kept = {key: value for key, value in line.items() if key not in ("throughput", "latency")}
        return {**kept, "failed": "its recorded figures make no sense"}
    return line


def _is_report(report):
    if not isinstance(report, dict) or not isinstance(report.get("seconds", []), list):
        return False
    figures = [value for key, value in report.items() if key not in ("seconds", "percentiles")] + report.get("seconds", [])
    points = report.get("percentiles", [])
    return (
        all(map(is_figure, figures))
        and ("mbits" in report or "mean_us" in report)
        and isinstance(points, list)
        and all(isinstance(point, list) and len(point) == 2 and all(map(is_figure, point)) for point in points)
    )


def _lines(path):
    """JSON lines; a last line that was cut off by the end of the run is left out."""
    found = []
    if path.exists():
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as problem:
            raise Trouble(f"cannot read {path}: {problem.strerror}") from None
        for line in lines:
            try:
                found.append(json.loads(line))
            except (ValueError, RecursionError):
                continue
    return [line for line in found if isinstance(line, dict)]
